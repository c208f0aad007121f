/**
 * Checks of content, of whatever kind the schema is. They are synchronous unless the schema has asynchronous parts.
 */
import { isThenable } from '../diagnostics.ts'

/** Content as a page gets it, or the problem: a path and what is expected there, never a value. */
export type Checked = { content: unknown, problem?: undefined } | { content?: undefined, problem: string }

/** A promise only if a schema has asynchronous parts. */
export type MaybePromise<Result> = Result | Promise<Result>

/** A prepared schema. Its checks never throw, reject or change the content. */
export interface ContentSchema {
  /** Whether a check may take time. */
  readonly mayWait: boolean
  /**
   * Checks content.
   *
   * @param isOwn it is the app's own, so that a problem may show values
   */
  check (content: unknown, isOwn?: boolean): MaybePromise<Checked>
  /**
   * The schema's own defaults; a problem if it requires an object that they do not complete.
   *
   * @throws the error of a default that is a function
   */
  standIn (): MaybePromise<Checked>
}

/** Continues now, or once a promise has resolved. */
export function after<Value, Result> (value: MaybePromise<Value>, next: (value: Value) => MaybePromise<Result>): MaybePromise<Result> {
  // A validator's own promise may have no more than `then`.
  return isThenable(value) ? Promise.resolve(value).then(next) : next(value)
}
