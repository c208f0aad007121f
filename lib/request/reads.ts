/**
 * The reads of one request: each waits for its call, no longer than it may, and the time for which they delayed the handler is
 * counted.
 */
import { failure } from '../errors.ts'
import { PendingCall, type Outcome, type Waited } from './call.ts'

/** What must be done before a result is read; a promise that never rejects if it takes time. */
export type Preparation = (waited: Waited) => Promise<unknown> | undefined

/** The reads of one request, and the time they waited. */
export class Reads {
  readonly #timeout: number
  /** Number of waiting reads, since when there are any, and the time before that. */
  #open = 0
  #openSince = 0
  #waited = 0

  /** @param timeout ms for a whole call, unless its plan has its own */
  constructor (timeout: number) {
    this.#timeout = timeout
  }

  /** ms during which at least one read was waiting. */
  get waited (): number {
    return this.#open === 0 ? this.#waited : this.#waited + performance.now() - this.#openSince
  }

  /**
   * Waits for a call, counts the time, and reads the result. Every read of every page comes through here, so it makes one
   * promise and no more.
   *
   * @param maxWait ms. undefined: until the call's own deadline
   * @param prepare done before the result is read, within the same time
   */
  wait<Result> (call: PendingCall | Outcome, maxWait: number | undefined, read: (waited: Waited) => Result | PromiseLike<Result>, prepare?: Preparation): Promise<Result> {
    return new Promise((resolve, reject) => {
      const outcome = call instanceof PendingCall ? call.outcome : call
      if (outcome !== undefined && prepare === undefined) return resolve(read(outcome))
      if (this.#open++ === 0) this.#openSince = performance.now()
      const done = (waited: Waited, endedAt = performance.now()) => {
        if (--this.#open === 0) this.#waited += endedAt - this.#openSince
        try {
          resolve(read(waited))
        } catch (error) {
          reject(error)
        }
      }
      if (prepare === undefined) return (call as PendingCall).wait(maxWait, (waited) => done(waited, (call as PendingCall).endedAt))
      const askedAt = performance.now()
      const prepared = (waited: Waited) => this.#prepared(call, waited, maxWait === undefined ? undefined : maxWait - (performance.now() - askedAt), prepare, done)
      if (outcome !== undefined) prepared(outcome)
      else (call as PendingCall).wait(maxWait, prepared)
    })
  }

  /** Prepares the reading of a result within the call's remaining time. Beyond that it counts as a late response. */
  #prepared (call: PendingCall | Outcome, waited: Waited, maxWait = Infinity, prepare: Preparation, done: (waited: Waited) => void): void {
    const preparing = prepare(waited)
    if (preparing === undefined) return done(waited)
    const timeout = (call instanceof PendingCall ? call.plan.timeout : undefined) ?? this.#timeout
    const left = timeout - (call instanceof PendingCall && call.endedAt !== undefined ? call.endedAt - call.startedAt : 0)
    let late: Waited | undefined
    const timer = setTimeout(() => {
      late = maxWait < left
        ? { kind: 'max-wait' }
        : { kind: 'failed', error: failure('FST_TARGET_TIMEOUT', `the validation of the content did not finish within ${timeout} ms`, { meta: { phase: 'answer', attempts: 1, elapsed: timeout } }) }
      done(late)
    }, Math.max(0, Math.min(left, maxWait)))
    preparing.then(() => {
      clearTimeout(timer)
      if (late === undefined) done(waited)
    })
  }
}
