/** What became of the notifications: counted one by one, logged a line per kind and interval, published, told to the user. */
import type { Notification } from '../schema/index.ts'
import { counted, Log, publishOutbox, type TargetLogger } from '../diagnostics.ts'
import { failure, type TargetError } from '../errors.ts'

/** Counts of notifications since the start: `accepted = pending + sent + failed + dropped`, at every moment. */
export interface OutboxCounts {
  /** Taken from pages, or recovered from the store. */
  accepted: number
  /** Those of `accepted` that came from the store: left there by instances that ended. */
  recovered: number
  /** Waiting or on their way. After the end: left in the store for the next start. */
  pending: number
  /** The edge said that it has processed them. */
  sent: number
  /** Refused by the edge, out of retries, or older than `maxAge`. */
  failed: number
  /** The outbox was full or closed, or `closeTimeout` was over. */
  dropped: number
}

/** Told of a notification that is given up, and why. */
export type OnNotificationFailed = (notification: Notification, error: TargetError) => void

const MINUTE = 60_000

/** Counts, logs and publishes the outcome of every notification. */
export class OutboxAccount {
  readonly #log: Log
  readonly #onFailed: OnNotificationFailed | undefined
  readonly #counts: OutboxCounts = { accepted: 0, recovered: 0, pending: 0, sent: 0, failed: 0, dropped: 0 }
  #unreported: Notification[] = []
  #droppedAt = -Infinity

  constructor (logger: TargetLogger, onFailed: OnNotificationFailed | undefined) {
    this.#log = Log.of(logger)
    this.#onFailed = onFailed && this.#log.guard(onFailed, 'onFailed')
  }

  get pending (): number {
    return this.#counts.pending
  }

  accept (notifications: readonly Notification[]): void {
    this.#counts.accepted += notifications.length
    this.#counts.pending += notifications.length
    publishOutbox('accepted', notifications)
  }

  /** Accepts notifications that come from the store. */
  recover (notifications: readonly Notification[]): void {
    this.#counts.recovered += notifications.length
    this.accept(notifications)
  }

  markSent (notifications: Notification[]): void {
    this.#settle('sent', notifications.length)
    publishOutbox('sent', notifications)
  }

  markFailed (notifications: Notification[], error: TargetError): void {
    this.#settle('failed', notifications.length)
    this.#giveUp('failed', notifications, error)
  }

  /** Only counts: the time and the async context are those of a request. To be followed by {@link reportDropped}. */
  markDropped (notification: Notification): void {
    this.#settle('dropped', 1)
    this.#droppedAt = performance.now()
    this.#unreported.push(notification)
  }

  /** @param code why they were dropped: the outbox was full, or it was closed */
  reportDropped (code: 'FST_TARGET_OVERLOAD' | 'FST_TARGET_CLOSED'): void {
    if (this.#unreported.length === 0) return
    const dropped = this.#unreported
    this.#unreported = []
    const why = code === 'FST_TARGET_CLOSED' ? 'the outbox was closed before they were sent' : 'the outbox is full and drops the oldest: see `notifications.maxQueue`, `maxBytes` and `concurrency`'
    this.#giveUp('dropped', dropped, failure(code, why))
  }

  /** A record of the store cannot be read. What it held is not known, so it counts as one. */
  markUnreadable (): void {
    this.#counts.accepted += 1
    this.#counts.recovered += 1
    this.#counts.failed += 1
    const error = failure('FST_TARGET_STORE', 'a stored record cannot be read and is removed; was it written with another `notifications.transform`?')
    this.#log.failure(error, { kind: 'unreadable' })
  }

  /** A warning about the whole, a line per kind and interval. */
  warn (error: TargetError, kind: string): void {
    this.#log.failure(error, { kind, level: 'warn' })
  }

  get counts (): OutboxCounts {
    return { ...this.#counts }
  }

  /** Whether any was dropped in the last 60 s. */
  get droppedLastMinute (): boolean {
    return performance.now() - this.#droppedAt < MINUTE
  }

  /** The last line. It has the exact counts, whatever the lines before it left out. */
  logEnd (): void {
    const { failed, dropped, pending } = this.#counts
    const kept = pending > 0 ? `; ${counted(pending, 'notification')} left in the store for the next start` : ''
    this.#log[failed + dropped > 0 ? 'error' : 'debug'](`the outbox is closed${kept}`, { outbox: { ...this.#counts } })
  }

  #settle (outcome: 'sent' | 'failed' | 'dropped', count: number): void {
    this.#counts.pending -= count
    this.#counts[outcome] += count
  }

  #giveUp (event: 'failed' | 'dropped', notifications: Notification[], error: TargetError): void {
    const count = notifications.length
    publishOutbox(event, notifications, error)
    this.#log.failure(error, { message: `notifications ${event}: ${count}. ${error.message}`, count, kind: `outbox ${event} ${error.code} ${error.meta?.status ?? ''}` })
    if (this.#onFailed === undefined) return
    for (const notification of notifications) this.#onFailed(notification, error)
  }
}
