/**
 * The order of one session's calls: a batch is sent when the batches before it in the same session are done with.
 *
 * A click never overtakes its display. And Target, which answers 420 to more than 100 calls of one session at a time, gets
 * few from here, whatever a load test or a shared cookie does. Batches that wait are joined: a session that notifies faster
 * than the edge answers needs fewer calls, not more. Only a session that no person could keep so busy, with full calls or many
 * of them waiting, gets a few at a time, which still begin in order.
 */
import type { Batch } from './batch.ts'

/** Most notifications in a call. */
export const MAX_PER_CALL = 50

/** Most calls of a busy session at a time. */
const MAX_PER_SESSION = 4

/** Batches that wait in a busy session, unless the first of them is full. */
const MANY_WAITING = 8

/** ms between two batches that are joined: the whole has the age of the older. */
const MAX_SPREAD = 10_000

interface Lane<Visitor> {
  /** In order. */
  readonly batches: Batch<Visitor>[]
  /** How many of them, from the front, may be sent. */
  released: number
}

/** The batches of each session that has any. */
export class Lanes<Visitor extends { readonly key: string, readonly sessionId?: string }> {
  readonly #lanes = new Map<string, Lane<Visitor>>()
  readonly #onReleased: (batch: Batch<Visitor>) => void

  /** @param onReleased called with a batch whose turn it is */
  constructor (onReleased: (batch: Batch<Visitor>) => void) {
    this.#onReleased = onReleased
  }

  /** Puts a batch behind those of its session. */
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

  /** The batch that a new one of the same visitor can be joined to, instead of entering. */
  joinable (batch: Batch<Visitor>): Batch<Visitor> | undefined {
    const last = this.#lanes.get(sessionOf(batch))?.batches.at(-1)
    if (last === undefined || last.onItsWay || last.tries > 0 || last.isPart) return undefined
    if (Math.abs(batch.acceptedAt - last.acceptedAt) > MAX_SPREAD) return undefined
    if (last.notifications.length + batch.notifications.length > MAX_PER_CALL) return undefined
    return last.visitor.key === batch.visitor.key && last.senderJson !== undefined && last.senderJson === batch.senderJson ? last : undefined
  }

  /** Puts the second half of a batch directly behind the first. */
  insertBehind (batch: Batch<Visitor>, half: Batch<Visitor>): void {
    const lane = this.#lanes.get(sessionOf(batch))
    if (lane === undefined) return
    const index = lane.batches.indexOf(batch) + 1
    lane.batches.splice(index, 0, half)
    if (index >= lane.released) return
    lane.released += 1
    this.#onReleased(half)
  }

  /** A batch is done with: others of its session may be sent. */
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
