/**
 * Deadlines of many calls with few timers. Most calls have the same timeout, so they expire in the order in which they began,
 * and a timer for the first of them will do: hardly a call lives to see its deadline.
 */

import type { AsyncResource } from 'node:async_hooks'

/** Something with a deadline. */
export interface Expiring {
  /** ms by which its deadline has passed; negative before. */
  readonly overdue: number
  /** Its deadline is over. */
  expire (): void
}

/** A timer that fires this much too late, in ms, says that the event loop was held up. */
const HELD_UP = 5

/** Calls of one timeout, the first to expire first. */
class Row {
  readonly #calls = new Set<Expiring>()
  readonly #outside: AsyncResource
  readonly #onEmpty: () => void
  #timer: NodeJS.Timeout

  constructor (timeout: number, outside: AsyncResource, onEmpty: () => void) {
    this.#outside = outside
    this.#onEmpty = onEmpty
    this.#timer = this.#lookAfter(timeout)
  }

  add (call: Expiring): void {
    // A process may end when nobody waits.
    if (this.#calls.size === 0) this.#timer.ref()
    this.#calls.add(call)
  }

  delete (call: Expiring): void {
    if (this.#calls.delete(call) && this.#calls.size === 0) this.#timer.unref()
  }

  #lookAfter (ms: number): NodeJS.Timeout {
    return this.#outside.runInAsyncScope(setTimeout, undefined, this.#look, ms) as NodeJS.Timeout
  }

  readonly #look = (): void => {
    for (const call of this.#calls) {
      const { overdue } = call
      if (overdue < 0) {
        this.#timer = this.#lookAfter(Math.ceil(-overdue))
        return
      }
      this.#calls.delete(call)
      // Then an answer may be lying there unread: it gets one turn to be read before it is too late.
      if (overdue > HELD_UP) setImmediate(() => call.expire())
      else call.expire()
    }
    this.#onEmpty()
  }
}

/** See the top of the file. */
export class Deadlines {
  readonly #outside: AsyncResource
  readonly #rows = new Map<number, Row>()

  /** @param outside the async context of the timers, which serve the calls of many requests */
  constructor (outside: AsyncResource) {
    this.#outside = outside
  }

  /** Has a call expire after `timeout` ms. */
  add (timeout: number, call: Expiring): void {
    let row = this.#rows.get(timeout)
    if (row === undefined) {
      row = new Row(timeout, this.#outside, () => this.#rows.delete(timeout))
      this.#rows.set(timeout, row)
    }
    row.add(call)
  }

  /** The call has ended. */
  delete (timeout: number, call: Expiring): void {
    this.#rows.get(timeout)?.delete(call)
  }
}
