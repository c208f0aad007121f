/** The unit of work of the outbox: notifications of one visitor that are sent in one call. */
import type { Notification } from '../schema/index.ts'
import type { Place, Queue } from './queue.ts'

/** Notifications that are sent together, and what they are waiting for. */
export class Batch<Visitor> {
  readonly visitor: Visitor
  /** Those that are neither sent nor failed nor dropped. */
  notifications: Notification[]
  /** Tries that failed and count. */
  tries: number
  /** Its place among all batches, which are in the order of their age. */
  age: Place<Batch<Visitor>> | undefined
  /** Whether a call with it is under way. */
  onItsWay = false
  /** The batches it is sent ahead of, to see whether their host may be asked again. */
  scoutOf: Queue<Batch<Visitor>> | undefined
  #place: Place<Batch<Visitor>> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor (visitor: Visitor, notifications: Notification[] = [], tries = 0) {
    this.visitor = visitor
    this.notifications = notifications
    this.tries = tries
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
    this.stopWaiting()
    this.age?.leave()
  }
}
