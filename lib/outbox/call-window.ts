/**
 * How many calls may be in flight: as many as are needed and as the edge can handle, found by trial.
 *
 * The window doubles from round to round while calls succeed in steady time and more are waiting, then grows by an eighth. It
 * is halved when calls fail or the edge pushes back (420, 429, 503, timeouts), and cut by three tenths when they take longer
 * than on an idle edge. If the next calls do no better, load is not the cause: the edge, the network or this process is slow or
 * failing for another reason. The cut is then undone and the new rate becomes the baseline. Otherwise the window would shrink
 * to nothing on an edge that fails every third call, or on an overloaded machine. Only if most calls fail does the cut stay:
 * there, making fewer calls costs nothing.
 */

/** A call's outcome as a sign of load: `bad` is any failure, and an edge that pushes back. */
export type CallOutcome = 'answered' | 'bad'

/** Initial number of concurrent calls. */
const FIRST = 8

/** Rising latency never shrinks the window below this. So few calls are no load, so the idle latency is measured here too. */
const MIN_FOR_LATENCY = 4

/** Calls are slow beyond `times` the idle latency plus some ms for the event loops at both ends. */
const SLOW = { times: 2, plus: 25 }

/** Factor by which slow calls cut the window. */
const CUT = 0.7

/** Share of bad calls above the baseline that causes a cut, and the share that causes one in any case. */
const MORE_BAD = 0.15
const MAX_BAD = 0.75

/** A cut has helped if the share of bad calls falls to this fraction or less. */
const HELPED = 0.75

/** Minimum number of calls to compute the share of bad ones from: in a handful it is chance. */
const MIN_SAMPLE = 50

/** The state before a cut. */
interface Cut {
  size: number
  elapsed?: number
  bad?: number
}

/** Finds the number of concurrent calls. */
export class CallWindow {
  readonly #max: number
  #size: number
  /** Whether the window still doubles; ends with the first setback. */
  #doubling = true
  /** ms that a call takes on an idle edge. */
  #atRest = Infinity
  /** The baseline: the share of bad calls that does not depend on the number of concurrent calls. */
  #usual = 0
  /** Window, latency or share of bad calls before the last cut, until it is known whether the cut helped. */
  #cut: Cut | undefined
  #elapsed: number[] = []
  /** Calls since the share of bad ones was last evaluated. */
  #calls = 0
  #bad = 0
  #full = false
  /** Calls still in flight from before the window last shrank: they reflect the earlier load. */
  #outdated = 0
  #underWay = 0
  #typical = 0

  /** @param max upper bound, at least 1 */
  constructor (max: number) {
    this.#max = max
    this.#size = Math.min(FIRST, max)
  }

  /** Calls that may be in flight now, an integer from 1. */
  get size (): number {
    return Math.floor(this.#size)
  }

  /** Calls in flight. */
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

  /** Typical latency of the last round in ms; 0 before the first. */
  get typical (): number {
    return this.#typical
  }

  /** To be called when a call is sent. */
  begin (): void {
    this.#underWay += 1
  }

  /** Notes that more calls are waiting than the window lets through. */
  markFull (): void {
    this.#full = true
  }

  /** To be called when a call ended. @param outcome undefined if it was never sent */
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

  /** Evaluates the share of bad calls. */
  #endSample (): void {
    const bad = this.#bad / this.#calls
    this.#calls = this.#bad = 0
    const cut = this.#cut
    if (bad > MAX_BAD) this.#shrink(this.#size / 2)
    else if (bad > this.#usual + MORE_BAD) this.#onBad(bad, cut)
    else {
      this.#usual += Math.min(0, bad - this.#usual) / 8
      if (cut?.bad !== undefined) this.#cut = undefined
    }
  }

  /** Evaluates the latency of answered calls, and lets the window grow. */
  #endRound (): void {
    // The lower quartile leaves out calls that had to open a connection.
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
    // If the load was the cause, latency falls in proportion to the cut; half of that proves it.
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
