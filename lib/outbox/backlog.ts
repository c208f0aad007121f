/** Detects that notifications come in faster than they go out, and says what to change. */
import { failure, type TargetError } from '../errors.ts'
import type { CallWindow } from './call-window.ts'

/** Number of samples to compare; the outbox takes one a second. */
const LOOKS = 5

/** Share of the queue below which a backlog is not worth reporting. */
const MIN_SHARE = 0.1

/** Safety factor on the suggested concurrency. */
const MARGIN = 1.25

/** One sample. */
export interface BacklogLook {
  /** `performance.now()` */
  now: number
  pending: number
  /** Notifications accepted since the start. */
  accepted: number
  /** Batches formed since the start, roughly one call each. */
  batches: number
}

/** Compares the last few samples. */
export class Backlog {
  readonly #maxQueue: number
  readonly #looks: BacklogLook[] = []

  constructor (maxQueue: number) {
    this.#maxQueue = maxQueue
  }

  /** Whether the backlog has grown from sample to sample, and is no longer small. */
  get growing (): boolean {
    const last = this.#looks.at(-1)
    if (this.#looks.length < LOOKS || last === undefined || last.pending < this.#maxQueue * MIN_SHARE) return false
    return this.#looks.every(({ pending }, index) => index === 0 || pending > this.#looks[index - 1]!.pending || pending >= this.#maxQueue)
  }

  look (look: BacklogLook): void {
    this.#looks.push(look)
    if (this.#looks.length > LOOKS) this.#looks.shift()
  }

  /** The warning to log while the backlog is growing. */
  describe (window: CallWindow, concurrency: number): TargetError {
    const first = this.#looks[0]!
    const last = this.#looks.at(-1)!
    const seconds = (last.now - first.now) / 1000
    const accepted = last.accepted - first.accepted
    const growth = last.pending - first.pending
    const perSecond = (count: number) => Math.max(0, Math.round(count / seconds))
    const full = growth <= 0 ? 'is full' : `is full in ${Math.ceil((this.#maxQueue - last.pending) / growth * seconds)} s`
    const rates = `${perSecond(accepted)} notifications per second are accepted and ${perSecond(accepted - growth)} are sent; \`notifications.maxQueue\` (${this.#maxQueue}) ${full}`
    const needed = Math.ceil(perSecond(last.batches - first.batches) * window.typical / 1000 * MARGIN)
    const advice = window.atMax && needed > concurrency
      ? `set \`notifications.concurrency\` to ${needed} or more (currently ${concurrency})`
      : `the edge accepts no more (now ${window.size} concurrent calls of ${Math.round(window.typical)} ms each); increase \`notifications.maxQueue\` to outlast a peak`
    return failure('FST_TARGET_OVERLOAD', `${rates}: ${advice}`)
  }
}
