/**
 * How many calls may be on their way at a time: as many as are needed and as the edge bears, found by trying.
 *
 * The window doubles from round to round while calls succeed in steady time and more are waiting, then grows by an eighth. It
 * is halved when the edge pushes back (420, 429, 503, timeouts) or most calls fail, and cut by three tenths when calls take
 * longer than they do on an edge at rest. If the next calls take as long all the same, fewer calls are no help: the edge, the
 * network or this process is slow for another reason, the cut is taken back, and that time is the time at rest. A few failures among many successes are not a sign of load: each of those calls waits by
 * itself, and a window that shrank for them would fall to nothing at an edge that fails every third call.
 */

/** How a call ended, as far as it says something about load. */
export type CallOutcome = 'answered' | 'failed' | 'pushback'

/** Calls at a time before anything is known. */
const FIRST = 8

/** Rising latency alone never makes it smaller. So few calls are no load, so this is also where the latency at rest is measured. */
const MIN_FOR_LATENCY = 4

/** Calls may take this many times the time at rest, and some ms for the event loop at both ends. */
const SLOW = { times: 2, plus: 25 }

/** What is left of the window after a cut for that. */
const CUT = 0.7

/** Shares of a round's calls. */
const MAX_PUSHBACK = 0.05
const MAX_FAILED = 0.5

/** Finds the number of calls that are sent at a time. */
export class CallWindow {
  readonly #max: number
  #size: number
  /** Doubles in the present round; over with the first setback. */
  #doubling = true
  /** ms that a call takes on an edge at rest. */
  #atRest = Infinity
  /** The window and the time of a call before the last cut, until it is known whether it helped. */
  #cut: { size: number, elapsed: number } | undefined
  #elapsed: number[] = []
  #failed = 0
  #pushback = 0
  #full = false
  /** Calls that were sent before the window last shrank: they tell about the load before. */
  #outdated = 0
  #underWay = 0
  #typical = 0

  /** @param max upper bound, at least 1 */
  constructor (max: number) {
    this.#max = max
    this.#size = Math.min(FIRST, max)
  }

  /** Calls that may be on their way now, a whole number from 1. */
  get size (): number {
    return Math.floor(this.#size)
  }

  /** Calls on their way. */
  get underWay (): number {
    return this.#underWay
  }

  /** Whether one more may be sent. */
  get open (): boolean {
    return this.#underWay < this.size
  }

  /** Whether only the upper bound keeps it from growing. */
  get atMax (): boolean {
    return this.size >= this.#max
  }

  /** ms that a call took in the last round, typically; 0 before the first. */
  get typical (): number {
    return this.#typical
  }

  /** A call is sent. */
  begin (): void {
    this.#underWay += 1
  }

  /** More calls are waiting than the window lets through. */
  markFull (): void {
    this.#full = true
  }

  /** A call ended. @param outcome undefined if it was not sent at all */
  end (outcome: CallOutcome | undefined, elapsed: number): void {
    this.#underWay -= 1
    if (outcome === undefined) return
    if (this.#outdated > 0) {
      this.#outdated -= 1
      return
    }
    if (outcome === 'failed') this.#failed += 1
    else if (outcome === 'pushback') this.#pushback += 1
    else this.#elapsed.push(elapsed)
    if (this.#elapsed.length + this.#failed + this.#pushback >= this.size) this.#endRound()
  }

  #endRound (): void {
    const calls = this.#elapsed.length + this.#failed + this.#pushback
    // The lower quartile: calls that had to open their connection are not what is looked for.
    const elapsed = this.#elapsed.length === 0 ? undefined : this.#elapsed.sort((a, b) => a - b)[this.#elapsed.length >> 2]!
    if (elapsed !== undefined) {
      this.#typical = elapsed
      this.#atRest = this.size <= MIN_FOR_LATENCY ? elapsed : Math.min(this.#atRest, elapsed)
    }
    const slow = elapsed !== undefined && elapsed > this.#atRest * SLOW.times + SLOW.plus
    if (!slow) this.#cut = undefined
    if (this.#pushback > calls * MAX_PUSHBACK || this.#failed > calls * MAX_FAILED) this.#shrink(Math.max(1, this.#size / 2))
    else if (slow) this.#slowed(elapsed)
    else if (this.#full) this.#size = Math.min(this.#max, this.#doubling ? this.#size * 2 : Math.max(this.#size + 1, this.#size * 1.125))
    this.#elapsed = []
    this.#failed = this.#pushback = 0
    this.#full = false
  }

  #slowed (elapsed: number): void {
    const cut = this.#cut
    this.#cut = undefined
    // If the calls were in each other's way, they now take less time in the same proportion; half of that is enough.
    if (cut !== undefined && elapsed > cut.elapsed * (1 + CUT) / 2) {
      this.#atRest = elapsed
      this.#size = Math.max(this.#size, cut.size)
      return
    }
    this.#cut = { size: this.#size, elapsed }
    this.#shrink(Math.max(MIN_FOR_LATENCY, this.#size * CUT))
  }

  #shrink (size: number): void {
    this.#doubling = false
    if (size >= this.#size) return
    this.#size = size
    this.#outdated = this.#underWay
  }
}
