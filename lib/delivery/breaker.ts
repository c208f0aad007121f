/**
 * The circuit breaker of one edge host: after enough failures the host is left alone for a while, then tried with one call.
 *
 * Written here rather than taken from `cockatiel` or `opossum`. Cost does not decide it, a call costs less than half a
 * microsecond with either. But both wrap a promise-returning function, and neither can be told that a call says nothing
 * about the host, that the host itself asked for a pause (`Retry-After`), or that calls of two kinds are judged separately. All
 * that would be left for them is the counting.
 */
export interface BreakerSettings {
  /**
   * Failures in a row after which the breaker opens, whatever came before; and, for a host that answers now and then, the
   * number of failures within `window` after which it opens if they are at least half of all calls.
   */
  failures: number
  /** Length of the window in which calls are counted, in ms. */
  window: number
  /**
   * Longest pause between probes of the host, in ms. The longer an outage has lasted, the longer the pauses.
   */
  cooldown: number
}

/** `open` refuses all calls, `half-open` lets a single one through to see whether the host is back. */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** Calls of pages and those with notifications are judged separately: an edge may answer one kind and fail the other. */
export type BreakerKind = 'page' | 'notification'

/** How a call was admitted: normally, or as the probe. */
export type Admission = 'ordinary' | 'probe'

/**
 * What a call reveals about its host. `unreached`: there was not even a connection, which concerns calls of both kinds.
 * `late`: its deadline was shorter than `breakerTimeout`, which does not count as a failure, but not as a successful probe
 * either. `unknown`: it was aborted or never sent.
 */
export type Outcome = 'answered' | 'failed' | 'unreached' | 'late' | 'unknown'

/** State of a breaker, as `health()` reports it. `retryIn`: ms until a call may probe the host. */
export interface BreakerReport {
  state: BreakerState
  calls: number
  failures: number
  retryIn: number
}

/** The window is counted in this many slices, so that it slides by a tenth of its length. */
const SLICES = 10

/** Pauses between probes, in ms: they double from the first on, and stay below a second while an outage is young. */
const FIRST_PAUSE = 250
const MAX_EARLY_PAUSE = 750

/** Maximum pause as a share of the outage's length, once it is no longer young. An outage of half a minute is young. */
const LATER_SHARE = 1 / 40

/** Longest pause that a `Retry-After` can cause, in ms. */
const MAX_RETRY_AFTER = 60_000

/** Longest pause while the process is shutting down, in ms. */
const MAX_CLOSING_PAUSE = 1000

/** The circuit of one kind of calls. All times are those of `performance.now()`. */
class Circuit {
  readonly #settings: BreakerSettings
  readonly #onChange: (state: BreakerState) => void
  readonly #calls: number[] = new Array(SLICES).fill(0)
  readonly #failures: number[] = new Array(SLICES).fill(0)
  #slice = 0
  #failuresInARow = 0
  #state: BreakerState = 'closed'
  #maxPause: number
  /** Since when the host has been failing, and how many probes have failed. */
  #outageSince = 0
  #failedProbes = 0
  #openUntil = 0
  /** End of the pause that the host itself asked for. */
  #pausedUntil = 0
  #probing = false

  constructor (settings: BreakerSettings, onChange: (state: BreakerState) => void) {
    this.#settings = settings
    this.#maxPause = settings.cooldown
    this.#onChange = onChange
  }

  limitPauses (now: number): void {
    this.#maxPause = Math.min(this.#maxPause, MAX_CLOSING_PAUSE)
    this.#openUntil = Math.max(this.#pausedUntil, Math.min(this.#openUntil, now + this.#maxPause))
  }

  admit (now: number): Admission | undefined {
    if (this.#state === 'closed') return 'ordinary'
    if (now < this.#openUntil || this.#probing) return undefined
    if (this.#state === 'open') this.#become('half-open')
    this.#probing = true
    return 'probe'
  }

  settle (admission: Admission, outcome: Outcome, now: number, retryAfter: number): void {
    if (admission === 'probe') this.#probing = false
    if (retryAfter > 0) {
      const pause = Math.min(retryAfter, MAX_RETRY_AFTER)
      this.#pausedUntil = Math.max(this.#pausedUntil, now + pause)
      this.#open(now, pause)
    } else if (admission === 'probe') this.#judge(outcome, now)
    else if (this.#state === 'closed') this.#count(outcome, now)
  }

  /** Notes that a call of the other kind did not reach the host. */
  unreached (now: number): void {
    if (this.#state === 'closed') this.#count('unreached', now)
  }

  /** Notes that a call of the other kind reached the host again, so the next call may probe it. */
  reached (now: number): void {
    if (this.#state === 'open') this.#openUntil = Math.max(this.#pausedUntil, Math.min(this.#openUntil, now))
  }

  report (now: number): BreakerReport {
    const retryIn = this.#state === 'open' ? Math.max(0, this.#openUntil - now) : 0
    const state = this.#state === 'open' && retryIn === 0 ? 'half-open' : this.#state
    this.#slide(now)
    return { state, calls: sum(this.#calls), failures: sum(this.#failures), retryIn: Math.ceil(retryIn) }
  }

  /** A `Retry-After` may have reopened the breaker while a probe was in flight; then the probe no longer decides. */
  #judge (outcome: Outcome, now: number): void {
    if (this.#state !== 'half-open' || outcome === 'unknown') return
    if (outcome === 'answered') {
      this.#calls.fill(0)
      this.#failures.fill(0)
      this.#failuresInARow = 0
      this.#become('closed')
    } else {
      this.#failedProbes += 1
      this.#open(now, this.#pause(now))
    }
  }

  #pause (now: number): number {
    const early = Math.min(FIRST_PAUSE * 2 ** this.#failedProbes, MAX_EARLY_PAUSE)
    return Math.min(this.#maxPause, Math.max(early, (now - this.#outageSince) * LATER_SHARE))
  }

  #count (outcome: Outcome, now: number): void {
    if (outcome === 'unknown' || outcome === 'late') return
    const at = this.#slide(now)
    this.#calls[at]! += 1
    if (outcome === 'answered') {
      this.#failuresInARow = 0
      return
    }
    this.#failures[at]! += 1
    if (this.#failuresInARow++ === 0) this.#outageSince = now
    const failures = sum(this.#failures)
    const limit = this.#settings.failures
    if (this.#failuresInARow < limit && (failures < limit || failures * 2 < sum(this.#calls))) return
    this.#failedProbes = 0
    this.#open(now, this.#pause(now))
  }

  /** Forgets the slices that have left the window and returns the index of the current one. */
  #slide (now: number): number {
    const slice = Math.floor(now / (this.#settings.window / SLICES))
    const from = Math.max(this.#slice, slice - SLICES)
    for (let past = from + 1; past <= slice; past++) this.#calls[past % SLICES] = this.#failures[past % SLICES] = 0
    this.#slice = slice
    return slice % SLICES
  }

  #open (now: number, pause: number): void {
    this.#openUntil = Math.max(this.#openUntil, now + pause)
    if (this.#state !== 'open') this.#become('open')
  }

  #become (state: BreakerState): void {
    this.#state = state
    this.#onChange(state)
  }
}

/** The circuit breaker of one edge host. All times are those of `performance.now()`. */
export class Breaker {
  readonly #circuits: Record<BreakerKind, Circuit>

  /** @param onChange called on each change of state caused by a call */
  constructor (settings: BreakerSettings, onChange: (state: BreakerState, kind: BreakerKind) => void) {
    this.#circuits = {
      page: new Circuit(settings, (state) => onChange(state, 'page')),
      notification: new Circuit(settings, (state) => onChange(state, 'notification'))
    }
  }

  /**
   * Limits pauses to a second from now on: the process is shutting down, and notifications cannot wait longer. A pause that the
   * host asked for is kept.
   */
  limitPauses (now: number): void {
    this.#circuits.page.limitPauses(now)
    this.#circuits.notification.limitPauses(now)
  }

  /** Requests permission to send a call. An admitted call must be reported with {@link settle}. */
  admit (kind: BreakerKind, now: number): Admission | undefined {
    return this.#circuits[kind].admit(now)
  }

  /** @param retryAfter the pause the host asked for, in ms; at most a minute counts */
  settle (kind: BreakerKind, admission: Admission, outcome: Outcome, now: number, retryAfter = 0): void {
    this.#circuits[kind].settle(admission, outcome, now, retryAfter)
    const other = this.#circuits[kind === 'page' ? 'notification' : 'page']
    if (outcome === 'unreached') other.unreached(now)
    else if (outcome === 'answered' && admission === 'probe') other.reached(now)
  }

  /** For `health()`: the state that a page's call would find and the counts behind it; that of notifications unless `closed`. */
  report (now: number): BreakerReport & { notifications?: BreakerReport } {
    const page = this.#circuits.page.report(now)
    const notifications = this.#circuits.notification.report(now)
    return notifications.state === 'closed' ? page : { ...page, notifications }
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
 * @returns ms from now, 0 if absent or invalid
 */
export function readRetryAfter (value: string | string[] | undefined, wallClock: number): number {
  if (typeof value !== 'string') return 0
  const pause = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - wallClock
  return pause > 0 ? pause : 0
}
