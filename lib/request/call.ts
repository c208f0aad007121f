/**
 * One of a request's calls to Target, and the reads that wait for it. It settles once and never rejects.
 */
import type { Abortable } from '../delivery/abort-listeners.ts'
import { failure, type TargetError } from '../errors.ts'
import type { Answer } from '../offers/result.ts'
import type { TargetPlan } from './route-config.ts'

/** The outcome of a call, or why there was none. */
export type Outcome =
  | { readonly kind: 'answered', readonly answer: Answer }
  | { readonly kind: 'failed', readonly error: TargetError }
  /** The app's `enabled` function does not allow calls for this visitor. */
  | { readonly kind: 'opted-out' }
  /** Nothing was requested, and nothing can be. */
  | { readonly kind: 'not-requested' }

/** The outcome where there is no call. */
export const NOT_REQUESTED: Outcome = { kind: 'not-requested' }

/** The result of waiting for a call: its outcome, or that `maxWait` passed first. */
export type Waited = Outcome | { readonly kind: 'max-wait' }

/** Why a call was made: for the route's config, for `start()`, or because a handler read mboxes that no call had. */
export type CallKind = 'route' | 'started' | 'asked'

/** One call. */
export class PendingCall {
  readonly kind: CallKind
  readonly plan: TargetPlan
  readonly startedAt = performance.now()
  endedAt: number | undefined
  outcome: Outcome | undefined
  /** The id of the Delivery API request, once that is made. */
  requestId: string | undefined
  /** Set as soon as the call was sent. */
  running: Abortable | undefined
  /** Whether a notification waits for the response, so that the call continues if the browser disconnects. */
  needed = false
  /** Whether a read stopped waiting for it. */
  maxWaitPassed = false
  #waiting: ((outcome: Outcome) => void)[] | undefined

  constructor (kind: CallKind, plan: TargetPlan) {
    this.kind = kind
    this.plan = plan
  }

  /** Ends the call for everything that waits for it; only the first outcome counts. */
  settle (outcome: Outcome): void {
    if (this.outcome !== undefined) return
    this.outcome = outcome
    this.endedAt = performance.now()
    // It holds request and response, and the page may go on for long.
    this.running = undefined
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) for (const done of waiting) done(outcome)
  }

  /**
   * Waits for the end of a call that has not settled.
   *
   * @param maxWait ms. undefined: until the call's own deadline
   * @param done called exactly once; must not throw
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
      this.maxWaitPassed = true
      done({ kind: 'max-wait' })
    }, maxWait)
    waiting.push(ended)
  }

  /** Cancels the call, which is no longer needed. */
  abort (): void {
    if (this.outcome !== undefined) return
    this.running?.abort()
    this.settle({ kind: 'failed', error: failure('FST_TARGET_ABORTED', 'the browser disconnected') })
  }
}
