/** The outcome of notifications: counted individually, logged once per kind and interval, published, reported to the app. */
import type { Notification } from '../schema/index.ts'
import { counted, Log, publishOutbox, type TargetLogger } from '../diagnostics.ts'
import { failure, type TargetError } from '../errors.ts'

/** Counts of notifications since the start; `accepted = pending + sent + failed + dropped` always holds. */
export interface OutboxCounts {
  /** Accepted from pages, or recovered from the store. */
  accepted: number
  /** The part of `accepted` that was recovered from the store, where ended instances had left it. */
  recovered: number
  /** Waiting or in flight. After closing: left in the store for the next start. */
  pending: number
  /** Confirmed by the edge as processed. */
  sent: number
  /** Refused by the edge, out of retries, or older than `maxAge`. */
  failed: number
  /** The outbox was full or closed, or `closeTimeout` had passed. */
  dropped: number
}

/** Called with a notification that is given up, and the reason. */
export type OnNotificationFailed = (notification: Notification, error: TargetError) => void

const MINUTE = 60_000

/** Counts, logs and publishes the outcome of every notification. */
export class OutboxAccount {
  readonly #log: Log
  readonly #onFailed: OnNotificationFailed | undefined
  readonly #counts: OutboxCounts = { accepted: 0, recovered: 0, pending: 0, sent: 0, failed: 0, dropped: 0 }
  #unreported: Notification[] = []
  readonly #watches = new Set<(settled: readonly Notification[]) => void>()
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

  /** Counts notifications recovered from the store. */
  recover (notifications: readonly Notification[]): void {
    this.#counts.recovered += notifications.length
    this.accept(notifications)
  }

  /**
   * Calls a function with notifications as they end, however they do.
   *
   * @returns ends that
   */
  watch (onSettled: (settled: readonly Notification[]) => void): () => void {
    this.#watches.add(onSettled)
    return () => this.#watches.delete(onSettled)
  }

  markSent (notifications: Notification[]): void {
    this.#settle('sent', notifications)
    publishOutbox('sent', notifications)
  }

  markFailed (notifications: Notification[], error: TargetError): void {
    this.#settle('failed', notifications)
    this.#giveUp('failed', notifications, error)
  }

  /** Only counts, since it runs in a request's time and async context. {@link reportDropped} must follow. */
  markDropped (notification: Notification): void {
    this.#settle('dropped', [notification])
    this.#droppedAt = performance.now()
    this.#unreported.push(notification)
  }

  /** @param code why they were dropped: the outbox was full, or it was closed */
  reportDropped (code: 'FST_TARGET_OVERLOAD' | 'FST_TARGET_CLOSED'): void {
    if (this.#unreported.length === 0) return
    const dropped = this.#unreported
    this.#unreported = []
    const why = code === 'FST_TARGET_CLOSED' ? 'the outbox was closed before they were sent' : 'the outbox is full and drops the oldest; see `notifications.maxQueue`, `maxBytes` and `concurrency`'
    this.#giveUp('dropped', dropped, failure(code, why))
  }

  /** Counts a record of the store that cannot be read as one notification, since its contents are unknown. */
  markUnreadable (): void {
    this.#counts.accepted += 1
    this.#counts.recovered += 1
    this.#counts.failed += 1
    const error = failure('FST_TARGET_STORE', 'a stored record could not be read and was removed; was it written with a different `notifications.transform`?')
    this.#log.failure(error, { kind: 'unreadable' })
  }

  /** Logs a warning about the outbox as a whole, one line per kind and interval. */
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

  /** Logs the final line with the exact counts, including losses that earlier lines left out. */
  logEnd (): void {
    const { failed, dropped, pending } = this.#counts
    const kept = pending > 0 ? `; ${counted(pending, 'notification')} left in the store for the next start` : ''
    this.#log[failed + dropped > 0 ? 'error' : 'debug'](`the outbox is closed${kept}`, { outbox: { ...this.#counts } })
  }

  #settle (outcome: 'sent' | 'failed' | 'dropped', notifications: readonly Notification[]): void {
    this.#counts.pending -= notifications.length
    this.#counts[outcome] += notifications.length
    for (const onSettled of this.#watches) onSettled(notifications)
  }

  #giveUp (event: 'failed' | 'dropped', notifications: Notification[], error: TargetError): void {
    const count = notifications.length
    publishOutbox(event, notifications, error)
    this.#log.failure(error, { message: `notifications ${event}: ${count}. ${error.message}`, count, kind: `outbox ${event} ${error.code} ${error.meta?.status ?? ''}` })
    if (this.#onFailed === undefined) return
    for (const notification of notifications) this.#onFailed(notification, error)
  }
}
