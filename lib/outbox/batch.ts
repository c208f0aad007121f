/** The unit of work of the outbox: notifications of one visitor that are sent in one call. */
import type { Notification } from '../schema/index.ts'
import type { Place, Queue } from './queue.ts'

/** Notifications that are sent together, and what they are waiting for. */
export class Batch<Visitor> {
  readonly visitor: Visitor
  /** Those that are neither sent nor failed nor dropped. */
  notifications: Notification[]
  /** When they were accepted, on the clock of `performance.now()`: the system's clock may jump. */
  readonly acceptedAt: number
  /** Tries that failed and count. */
  tries = 0
  /** Whether it was split off, or was cut in two, because the edge refused the whole. */
  isPart = false
  /** Estimated bytes of memory; 0 until it has to wait. */
  bytes = 0
  /** Its place among all batches, which are in the order of their age. */
  age: Place<Batch<Visitor>> | undefined
  /** Whether a call with it is under way. */
  onItsWay = false
  ended = false
  /** The batches it is sent ahead of, to see whether their host may be asked again. */
  scoutOf: Queue<Batch<Visitor>> | undefined
  #place: Place<Batch<Visitor>> | undefined
  #timer: NodeJS.Timeout | undefined
  #senderJson: string | undefined | null

  constructor (visitor: Visitor, notifications: Notification[], acceptedAt: number) {
    this.visitor = visitor
    this.notifications = notifications
    this.acceptedAt = acceptedAt
  }

  /** The visitor's own data as JSON, made once and only when it is asked for; undefined if it is not JSON. */
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

  /** Splits off what is behind the first `count` notifications. */
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

  /** Stops waiting for one thing and starts waiting for another. */
  moveTo (queue: Queue<Batch<Visitor>>): void {
    this.stopWaiting()
    this.#place = queue.push(this)
  }

  /** Waits in a queue for some ms, unless it is moved or ended before. */
  restIn (queue: Queue<Batch<Visitor>>, wait: number, onRested: () => void): void {
    this.moveTo(queue)
    this.#timer = setTimeout(onRested, wait).unref()
  }

  /** Leaves what it is waiting in, if anything. */
  stopWaiting (): void {
    this.#place?.leave()
    this.#place = undefined
    clearTimeout(this.#timer)
  }

  /** Is done with. */
  end (): void {
    this.ended = true
    this.stopWaiting()
    this.age?.leave()
  }
}
