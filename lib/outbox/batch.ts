/** The outbox's unit of work: notifications of one visitor that are sent in one call. */
import type { Notification } from '../schema/index.ts'
import type { Place, Queue } from './queue.ts'

/** Notifications that are sent together, and what they are waiting for. */
export class Batch<Visitor> {
  readonly visitor: Visitor
  /** Notifications that are neither sent nor failed nor dropped. */
  notifications: Notification[]
  /** When they were accepted, by `performance.now()`: the system clock may jump. */
  readonly acceptedAt: number
  /** Failed tries that count towards `retries`. */
  tries = 0
  /** Whether this is one of the halves of a batch that the edge refused. */
  isPart = false
  /** Estimated bytes of memory; 0 until it has to wait. */
  bytes = 0
  /** Its place in the queue of all batches, which is ordered by age. */
  age: Place<Batch<Visitor>> | undefined
  /** Whether a call with it is in flight. */
  onItsWay = false
  ended = false
  /** The batches it is sent ahead of, to probe whether their host accepts calls again. */
  scoutOf: Queue<Batch<Visitor>> | undefined
  #place: Place<Batch<Visitor>> | undefined
  #timer: NodeJS.Timeout | undefined
  #senderJson: string | undefined | null

  constructor (visitor: Visitor, notifications: Notification[], acceptedAt: number) {
    this.visitor = visitor
    this.notifications = notifications
    this.acceptedAt = acceptedAt
  }

  /** The visitor's data as JSON, serialized once on first use; undefined if it cannot be serialized. */
  get senderJson (): string | undefined {
    if (this.#senderJson === undefined) {
      try {
        this.#senderJson = JSON.stringify(this.visitor)
      } catch {
        this.#senderJson = null
      }
    }
    return this.#senderJson ?? undefined
  }

  /** Splits off everything after the first `count` notifications. */
  split (count: number): Batch<Visitor> {
    const rest = new Batch(this.visitor, this.notifications.slice(count), this.acceptedAt)
    rest.tries = this.tries
    rest.bytes = this.bytes / 2
    this.bytes /= 2
    rest.#senderJson = this.#senderJson
    rest.age = this.age?.append(rest)
    this.notifications = this.notifications.slice(0, count)
    return rest
  }

  /** Leaves its current queue, if any, and joins another. */
  moveTo (queue: Queue<Batch<Visitor>>): void {
    this.stopWaiting()
    this.#place = queue.push(this)
  }

  /** Waits in a queue for `wait` ms, unless it is moved or ended earlier. */
  restIn (queue: Queue<Batch<Visitor>>, wait: number, onRested: () => void): void {
    this.moveTo(queue)
    this.#timer = setTimeout(onRested, wait).unref()
  }

  /** Leaves its current queue, if any. */
  stopWaiting (): void {
    this.#place?.leave()
    this.#place = undefined
    clearTimeout(this.#timer)
  }

  /** Marks the batch as finished and removes it from all queues. */
  end (): void {
    this.ended = true
    this.stopWaiting()
    this.age?.leave()
  }
}
