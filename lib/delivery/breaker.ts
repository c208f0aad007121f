/**
 * The circuit breaker of one edge host: after enough failures the host is left alone for a while, then tried with one call.
 *
 * Written here rather than taken from `cockatiel` or `opossum`. Cost does not decide it, a call costs less than half a
 * microsecond with either. But both wrap a promise-returning function, and neither can be told that a call says nothing
 * about the host, that the host itself asked for a pause (`Retry-After`), or that only some calls may probe. What would be
 * left to take from them is the counting.
 */
export interface BreakerSettings {
  /** Calls that must have failed within `window` before the breaker opens; and they must be half of all or more. */
  failures: number
  /** Length of the window in which calls are counted, in ms. */
  window: number
  /** Time the breaker stays open before a call may probe the host, in ms. */
  cooldown: number
}

/** `open` refuses all calls, `half-open` lets a single one through to see whether the host is back. */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** How a call got past the breaker: in the ordinary way, as the probe, or as a notification's own careful try. */
export type Passage = 'ordinary' | 'probe' | 'trial'

/** What a call told about its host; `unknown` for one that was aborted, or had a deadline shorter than the host's. */
export type Outcome = 'answered' | 'failed' | 'unknown'

/** The window is counted in this many slices, so that it slides by a tenth of its length. */
const SLICES = 10

/** Longest pause that a `Retry-After` can bring about, in ms. */
const LONGEST_PAUSE = 60_000

/** Longest time between two tries of notifications while no page call has probed, in ms. */
const TRIAL_INTERVAL = 1000

/** See the top of the file. All times are those of `performance.now()`. */
export class Breaker {
  readonly #settings: BreakerSettings
  readonly #onChange: (state: BreakerState) => void
  readonly #calls: number[] = new Array(SLICES).fill(0)
  readonly #failures: number[] = new Array(SLICES).fill(0)
  #slice = 0
  #state: BreakerState = 'closed'
  #openUntil = 0
  /** Until when the host itself asked to be left alone. */
  #pausedUntil = 0
  #cooldown: number
  #probing = false
  #trying = false
  #nextTrial = 0

  /** @param onChange told of each change of state, when a call brings it about */
  constructor (settings: BreakerSettings, onChange: (state: BreakerState) => void) {
    this.#settings = settings
    this.#cooldown = settings.cooldown
    this.#onChange = onChange
  }

  /**
   * The process is about to end, and notifications cannot wait out a long cooldown: from now on a second of it must do.
   * A pause that the host asked for is kept.
   */
  hurry (now: number): void {
    this.#cooldown = Math.min(this.#cooldown, TRIAL_INTERVAL)
    this.#openUntil = Math.max(this.#pausedUntil, Math.min(this.#openUntil, now + this.#cooldown))
    this.#nextTrial = Math.min(this.#nextTrial, this.#openUntil)
  }

  /**
   * Asks to send a call; a passage must be given back with {@link settle}.
   *
   * The probe is for page calls alone. A notification has a try of its own beside it, else a process that only sends
   * notifications, or one that is shutting down, would never find out that the host is back.
   */
  admit (kind: 'page' | 'notification', now: number): Passage | undefined {
    if (this.#state === 'closed') return 'ordinary'
    if (now < this.#openUntil) return undefined
    if (this.#state === 'open') this.#become('half-open')
    if (this.#probing) return undefined
    if (kind === 'page') {
      this.#probing = true
      return 'probe'
    }
    if (this.#trying || now < this.#nextTrial) return undefined
    this.#trying = true
    return 'trial'
  }

  /** @param retryAfter the pause the host asked for, in ms; taken for at most a minute */
  settle (passage: Passage, outcome: Outcome, now: number, retryAfter = 0): void {
    if (passage === 'probe') this.#probing = false
    else if (passage === 'trial') this.#trying = false

    if (retryAfter > 0) {
      const pause = Math.min(retryAfter, LONGEST_PAUSE)
      this.#pausedUntil = Math.max(this.#pausedUntil, now + pause)
      this.#open(now, pause)
    } else if (passage !== 'ordinary') this.#judge(passage, outcome, now)
    else if (this.#state === 'closed' && outcome !== 'unknown') this.#count(outcome, now)
  }

  /** For a health page: the state as a call would find it, and the counts that led there. */
  report (now: number): { state: BreakerState, calls: number, failures: number, retryIn: number } {
    const retryIn = this.#state === 'open' ? Math.max(0, this.#openUntil - now) : 0
    const state = this.#state === 'open' && retryIn === 0 ? 'half-open' : this.#state
    this.#slide(now)
    return { state, calls: sum(this.#calls), failures: sum(this.#failures), retryIn: Math.ceil(retryIn) }
  }

  /** A `Retry-After` may have opened the breaker again while a probe was out; then the probe no longer decides. */
  #judge (passage: Passage, outcome: Outcome, now: number): void {
    if (this.#state !== 'half-open') return
    if (outcome === 'answered') {
      this.#calls.fill(0)
      this.#failures.fill(0)
      this.#become('closed')
    } else if (outcome === 'failed') {
      if (passage === 'probe') this.#open(now, this.#cooldown)
      else this.#nextTrial = now + Math.min(TRIAL_INTERVAL, this.#cooldown)
    }
  }

  #count (outcome: Outcome, now: number): void {
    const at = this.#slide(now)
    this.#calls[at]! += 1
    if (outcome === 'answered') return
    this.#failures[at]! += 1
    const failures = sum(this.#failures)
    if (failures >= this.#settings.failures && failures * 2 >= sum(this.#calls)) this.#open(now, this.#cooldown)
  }

  /** Forgets the slices that have left the window and returns the index of the present one. */
  #slide (now: number): number {
    const slice = Math.floor(now / (this.#settings.window / SLICES))
    const from = Math.max(this.#slice, slice - SLICES)
    for (let past = from + 1; past <= slice; past++) this.#calls[past % SLICES] = this.#failures[past % SLICES] = 0
    this.#slice = slice
    return slice % SLICES
  }

  #open (now: number, pause: number): void {
    this.#openUntil = Math.max(this.#openUntil, now + pause)
    this.#nextTrial = this.#openUntil
    if (this.#state !== 'open') this.#become('open')
  }

  #become (state: BreakerState): void {
    this.#state = state
    this.#onChange(state)
  }
}

const sum = (counts: number[]): number => {
  let total = 0
  for (const count of counts) total += count
  return total
}

/**
 * Reads a `Retry-After` header: seconds or an HTTP date (RFC 9110, 10.2.3).
 *
 * @param wallClock `Date.now()`
 * @returns ms from now, 0 when there is none to go by
 */
export function readRetryAfter (value: string | string[] | undefined, wallClock: number): number {
  if (typeof value !== 'string') return 0
  const pause = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - wallClock
  return pause > 0 ? pause : 0
}
