/**
 * The order of one session's calls: a batch is sent once the earlier batches of the same session are finished.
 *
 * A click never overtakes its display. And Target, which answers 420 to more than 100 concurrent calls of one session, gets only
 * a few from here, even under a load test or with a shared cookie. Waiting batches are joined: a session that notifies faster
 * than the edge answers needs fewer calls, not more. Only a session busier than any person could keep it, with full or many
 * batches waiting, gets a few concurrent calls, which still start in order.
 */
import type { Batch } from './batch.ts'

/** Maximum number of notifications in a call. */
export const MAX_PER_CALL = 50

/** Maximum number of concurrent calls of a busy session. */
const MAX_PER_SESSION = 4

/** Number of waiting batches from which a session counts as busy; a full first batch also makes it so. */
const MANY_WAITING = 8

/** Maximum age difference of joined batches in ms: the result has the age of the older. */
const MAX_SPREAD = 10_000

interface Lane<Visitor> {
  /** In order. */
  readonly batches: Batch<Visitor>[]
  /** How many of them, from the front, have been released to be sent. */
  released: number
}

/** The batches of each active session. */
export class Lanes<Visitor extends { readonly key: string, readonly sessionId?: string }> {
  readonly #lanes = new Map<string, Lane<Visitor>>()
  readonly #onReleased: (batch: Batch<Visitor>) => void

  /** @param onReleased called with a batch whose turn it is */
  constructor (onReleased: (batch: Batch<Visitor>) => void) {
    this.#onReleased = onReleased
  }

  /** Adds a batch behind the others of its session. */
  enter (batch: Batch<Visitor>): void {
    const session = sessionOf(batch)
    const lane = this.#lanes.get(session)
    if (lane !== undefined) {
      lane.batches.push(batch)
      return this.#release(lane)
    }
    this.#lanes.set(session, { batches: [batch], released: 1 })
    this.#onReleased(batch)
  }

  /** The waiting batch that a new one of the same visitor can be joined to, if any. */
  joinable (batch: Batch<Visitor>): Batch<Visitor> | undefined {
    const last = this.#lanes.get(sessionOf(batch))?.batches.at(-1)
    if (last === undefined || last.onItsWay || last.tries > 0 || last.isPart) return undefined
    if (Math.abs(batch.acceptedAt - last.acceptedAt) > MAX_SPREAD) return undefined
    if (last.notifications.length + batch.notifications.length > MAX_PER_CALL) return undefined
    return last.visitor.key === batch.visitor.key && last.senderJson !== undefined && last.senderJson === batch.senderJson ? last : undefined
  }

  /** Inserts the second half of a batch directly behind the first. */
  insertBehind (batch: Batch<Visitor>, half: Batch<Visitor>): void {
    const lane = this.#lanes.get(sessionOf(batch))
    if (lane === undefined) return
    const index = lane.batches.indexOf(batch) + 1
    lane.batches.splice(index, 0, half)
    if (index >= lane.released) return
    lane.released += 1
    this.#onReleased(half)
  }

  /** Removes a finished batch, so that the next of its session may be sent. */
  leave (batch: Batch<Visitor>): void {
    const session = sessionOf(batch)
    const lane = this.#lanes.get(session)
    const index = lane?.batches.indexOf(batch) ?? -1
    if (lane === undefined || index < 0) return
    lane.batches.splice(index, 1)
    if (lane.batches.length === 0) {
      this.#lanes.delete(session)
      return
    }
    if (index >= lane.released) return
    lane.released -= 1
    this.#release(lane)
  }

  #release (lane: Lane<Visitor>): void {
    while (lane.released < MAX_PER_SESSION) {
      const next = lane.batches[lane.released]
      if (next === undefined) return
      const isBusy = next.notifications.length >= MAX_PER_CALL || lane.batches.length - lane.released >= MANY_WAITING
      if (lane.released > 0 && !isBusy) return
      lane.released += 1
      this.#onReleased(next)
    }
  }
}

const sessionOf = <Visitor extends { readonly key: string, readonly sessionId?: string }>({ visitor }: Batch<Visitor>): string => visitor.sessionId ?? visitor.key
