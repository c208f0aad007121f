/**
 * One call of a page and those who wait for it. It settles once and never rejects.
 */
import { failure, type TargetError } from '../errors.ts'
import type { Answer } from '../offers/offer.ts'
import { EMPTY_PLAN, type TargetPlan } from './route-config.ts'
import type { Abortable } from '../delivery/abort-listeners.ts'

/** How a call ended, or that there was none: Target may not be asked about this visitor. */
export type Outcome =
  { answer: Answer, error?: undefined, optedOut?: undefined } |
  { answer?: undefined, error: TargetError, optedOut?: undefined } |
  { answer?: undefined, error?: undefined, optedOut: true }

/** What waiting for a call gave: how it ended, or that the wait was over before. */
export type Waited = Outcome | 'max-wait'

/** One call of a page. */
export class PageCall {
  /** What it asks for beside mboxes is looked up here. */
  readonly plan: TargetPlan
  /** Names of the mboxes it asks for. */
  readonly mboxes: ReadonlySet<string>
  readonly startedAt = performance.now()
  endedAt: number | undefined
  outcome: Outcome | undefined
  /** Of the Delivery API request, once that is made. */
  requestId: string | undefined
  /** Set once the call is on its way. */
  running: Abortable | undefined
  /** A notification waits for the answer, so the call goes on when the client leaves. */
  needed = false
  #waiting: ((outcome: Outcome) => void)[] | undefined

  /** @param mboxes where they are not the plan's */
  constructor (plan: TargetPlan, mboxes = plan.mboxes) {
    this.plan = plan
    this.mboxes = mboxes
  }

  /** Ends the call for all who wait; only the first end counts. */
  settle (outcome: Outcome): void {
    if (this.outcome !== undefined) return
    this.outcome = outcome
    this.endedAt = performance.now()
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) for (const done of waiting) done(outcome)
  }

  /**
   * Waits for the end of a call that has not ended, at most `maxWait` ms.
   *
   * @param maxWait undefined: as long as it takes, which the call's own deadline bounds
   * @param done told once; must not throw
   */
  wait (maxWait: number | undefined, done: (waited: Waited) => void): void {
    const waiting = this.#waiting ??= []
    if (maxWait === undefined) {
      waiting.push(done)
      return
    }
    const ended = (outcome: Outcome) => {
      clearTimeout(timer)
      done(outcome)
    }
    const timer = setTimeout(() => {
      this.#waiting = this.#waiting?.filter((one) => one !== ended)
      done('max-wait')
    }, maxWait)
    waiting.push(ended)
  }

  /** Nobody needs the call any more. */
  abort (): void {
    if (this.outcome !== undefined) return
    this.running?.abort()
    this.settle({ error: failure('FST_TARGET_ABORTED', 'the client left') })
  }
}

/** Stands for every call where Target may not be asked. */
export const REFUSED_CALL = new PageCall(EMPTY_PLAN)
REFUSED_CALL.settle({ optedOut: true })
