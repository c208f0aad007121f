/**
 * How many calls may be on their way at a time: as many as are needed and as the edge bears, found by trying.
 *
 * The window doubles from round to round while calls succeed in steady time and more are waiting, then grows by an eighth. It
 * is halved when calls fail or the edge pushes back (420, 429, 503, timeouts), and cut by three tenths when they take longer
 * than they do on an edge at rest. If the next calls fare no better, fewer calls are no help: the edge, the network or this
 * process is bad for another reason, the cut is taken back, and how they fare is what is usual. Otherwise the window would fall
 * to nothing at an edge that fails every third call, or on a machine with too much to do. Only where most calls fail nothing is
 * lost by making fewer.
 */

/** How a call ended, for the load that it shows: `bad` is any failure, and an edge that pushes back. */
export type CallOutcome = 'answered' | 'bad'

/** Calls at a time before anything is known. */
const FIRST = 8

/** Rising latency alone never makes it smaller. So few calls are no load, so this is also where the latency at rest is measured. */
const MIN_FOR_LATENCY = 4

/** Calls may take this many times the time at rest, and some ms for the event loop at both ends. */
const SLOW = { times: 2, plus: 25 }

/** What is left of the window after a cut for that. */
const CUT = 0.7

/** A share of bad calls above the usual that leads to a cut, and a share that does in any case. */
const MORE_BAD = 0.15
const MOST_BAD = 0.75

/** A cut has helped if this is left of the share of bad calls, at most. */
const HELPED = 0.75

/** Calls of which the share of bad ones is taken, at least: in a handful it is chance. */
const MIN_SAMPLE = 50

/** What there was before a cut. */
interface Cut {
  size: number
  elapsed?: number
  bad?: number
}

/** Finds the number of calls that are sent at a time. */
export class CallWindow {
  readonly #max: number
  #size: number
  /** Doubles in the present round; over with the first setback. */
  #doubling = true
  /** ms that a call takes on an edge at rest. */
  #atRest = Infinity
  /** The share of bad calls that has nothing to do with how many there are at a time. */
  #usual = 0
  /** The window before the last cut, the time of a call and the share of bad ones, until it is known whether it helped. */
  #cut: Cut | undefined
  #elapsed: number[] = []
  /** Calls since the share of bad ones was last looked at. */
  #calls = 0
  #bad = 0
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
    this.#calls += 1
    if (outcome === 'bad') this.#bad += 1
    else this.#elapsed.push(elapsed)
    if (this.#calls >= Math.max(MIN_SAMPLE, this.size)) this.#endSample()
    if (this.#elapsed.length >= this.size) this.#endRound()
  }

  /** Looks at the calls that failed. */
  #endSample (): void {
    const bad = this.#bad / this.#calls
    this.#calls = this.#bad = 0
    const cut = this.#cut
    if (bad > MOST_BAD) this.#shrink(this.#size / 2)
    else if (bad > this.#usual + MORE_BAD) this.#onBad(bad, cut)
    else {
      this.#usual += Math.min(0, bad - this.#usual) / 8
      if (cut?.bad !== undefined) this.#cut = undefined
    }
  }

  /** Looks at the time of those that were answered, and lets the window grow. */
  #endRound (): void {
    // The lower quartile: calls that had to open their connection are not what is looked for.
    const elapsed = this.#elapsed.sort((a, b) => a - b)[this.#elapsed.length >> 2]!
    this.#elapsed = []
    this.#typical = elapsed
    this.#atRest = this.size <= MIN_FOR_LATENCY ? elapsed : Math.min(this.#atRest, elapsed)
    const cut = this.#cut
    if (cut?.elapsed !== undefined) this.#cut = undefined
    if (elapsed > this.#atRest * SLOW.times + SLOW.plus) this.#onSlow(elapsed, cut)
    else if (this.#full) this.#size = Math.min(this.#max, this.#doubling ? this.#size * 2 : Math.max(this.#size + 1, this.#size * 1.125))
    this.#full = false
  }

  #onBad (bad: number, cut: Cut | undefined): void {
    this.#cut = undefined
    if (cut?.bad !== undefined && bad > cut.bad * HELPED) {
      this.#usual = bad
      this.#size = Math.max(this.#size, cut.size)
      return
    }
    this.#cut = { size: this.#size, bad }
    this.#shrink(this.#size / 2)
  }

  #onSlow (elapsed: number, cut: Cut | undefined): void {
    // If the calls were in each other's way, they now take less time in the same proportion; half of that is enough.
    if (cut?.elapsed !== undefined && elapsed > cut.elapsed * (1 + CUT) / 2) {
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
    this.#size = Math.max(1, size)
    this.#outdated = this.#underWay
  }
}
