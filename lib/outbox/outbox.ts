/**
 * Notifications in the background: taken at once, sent after the response, at least once each, and never lost in silence.
 *
 * What a notification goes through: it is gathered with the others of its visitor in the same tick (one Delivery API call
 * carries one visitor), stands in the ready queue, and is sent. If that fails it rests for a while, or is held while its
 * host is not to be asked; if the edge refuses it, its batch is halved. It ends as sent, failed or dropped, and at every
 * moment `accepted = pending + sent + failed + dropped`.
 *
 * The timers are unref'd: a process lives on for its server, its other work, and for `close()`, which waits for the rest.
 * A script that ends without `close()` loses what is still waiting; one that cannot end during an outage would be worse.
 */
import { AsyncResource } from 'node:async_hooks'
import type { Notification } from '../schema/index.ts'
import type { TargetLogger } from '../diagnostics.ts'
import { failure, isTargetError, type TargetError } from '../errors.ts'
import { OutboxAccount, type OnNotificationFailed, type OutboxReport } from './ledger.ts'
import { Batch } from './batch.ts'
import { Holds, isPause } from './holds.ts'
import { Queue } from './queue.ts'

export type { OnNotificationFailed, OutboxReport } from './ledger.ts'

/** The option `notifications`. */
export interface OutboxSettings {
  /** Most calls at a time. Default: 8. */
  concurrency: number
  /** Most notifications kept, those on their way included; past that the oldest waiting one is dropped. Default: 10000. */
  maxQueue: number
  /** Most tries after the first; only those count that end in a 5xx, a useless answer, or a lost connection. Default: 10. */
  retries: number
  /** ms from `beginClose()` until what is left is given up. Default: 5000. */
  closeTimeout: number
}

/**
 * Sends the notifications of one visitor in one call.
 *
 * Resolves with the ids that the edge says it has processed; rejects with one of this package's errors.
 */
export type OutboxSend<Visitor> = (visitor: Visitor, notifications: Notification[]) => Promise<ReadonlySet<string>>

/** What the outbox works with, beside the settings. */
export interface OutboxOptions {
  /** Gets one line per kind of loss and interval, and one with the counts at the end. */
  logger: TargetLogger
  /**
   * Told of each notification that is given up, outside any request's async context: a failed one with its last error, a
   * dropped one with OVERLOAD (the outbox was full) or CLOSED (`closeTimeout` was over).
   */
  onFailed?: OnNotificationFailed | undefined
  /** From 0 to below 1, for the jitter. Default: `Math.random`. */
  random?: (() => number) | undefined
}

/** Wait before the first retry, in ms; it doubles from try to try. Ten retries take about a minute and a half. */
const FIRST_WAIT = 250

/** Longest wait between two tries, in ms. */
const LONGEST_WAIT = 30_000

/** The 4xx that pass: Request Timeout (RFC 9110), Too Early (RFC 8470), Too Many Requests (RFC 6585). */
const PASSING = [408, 425, 429]

/** See the top of the file. */
export class Outbox<Visitor extends { readonly key: string }> {
  readonly #settings: OutboxSettings
  readonly #send: OutboxSend<Visitor>
  readonly #random: () => number
  readonly #account: OutboxAccount
  /** Where all work is done, lest it runs in the async context of whichever request added something. */
  readonly #outside = new AsyncResource('FASTIFY_ADOBE_TARGET_OUTBOX')
  readonly #byAge = new Queue<Batch<Visitor>>()
  /** The batches of this tick, by visitor. */
  readonly #gathering = new Map<string, Batch<Visitor>>()
  readonly #ready = new Queue<Batch<Visitor>>()
  readonly #resting = new Queue<Batch<Visitor>>()
  readonly #holds: Holds<Visitor>
  #callsOnTheirWay = 0
  #workIsScheduled = false
  /** When to give up, by `performance.now()`; finite once the outbox is closing. */
  #deadline = Infinity
  #end: Promise<void> | undefined
  #closed = false
  #onEmpty: (() => void) | undefined

  constructor (settings: OutboxSettings, send: OutboxSend<Visitor>, { logger, onFailed, random = Math.random }: OutboxOptions) {
    this.#settings = settings
    this.#send = send
    this.#random = random
    this.#account = new OutboxAccount(logger, onFailed)
    this.#holds = new Holds(random, (batch) => this.#makeReady(batch))
  }

  /**
   * Takes notifications and returns at once; never throws. After `close()` they are counted as accepted and dropped.
   *
   * @param visitor whose they are; of the objects that come with one `key` in one tick, the first is used
   * @param notifications each is sent as it is, the same object on every try, and must not be changed any more
   */
  add (visitor: Visitor, notifications: readonly Notification[]): void {
    if (notifications.length === 0) return
    this.#account.accept(notifications)
    for (const notification of notifications) {
      if (this.#closed) this.#account.markDropped(notification)
      else this.#gather(visitor, notification)
    }
    this.#schedule()
  }

  /** The counts as they are now; no I/O. */
  report (): OutboxReport {
    return this.#account.report()
  }

  /** Starts the clock of `closeTimeout` and sends at once what was resting; still takes notifications. */
  beginClose (): void {
    if (this.#deadline < Infinity) return
    this.#deadline = performance.now() + this.#settings.closeTimeout
    for (const batch of this.#resting) this.#makeReady(batch)
  }

  /**
   * Sends the rest until `closeTimeout` has passed since `beginClose()`; never rejects. What is left then counts as
   * dropped, also what is on its way: an answer would come too late to be counted.
   */
  close (): Promise<void> {
    this.#end ??= this.#close()
    return this.#end
  }

  async #close (): Promise<void> {
    this.beginClose()
    if (this.#account.pending > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#timeLeft)
        this.#onEmpty = () => { clearTimeout(timer); resolve() }
      })
    }
    this.#outside.runInAsyncScope(() => this.#giveUpTheRest())
  }

  #giveUpTheRest (): void {
    this.#reportDropped()
    this.#closed = true
    this.#holds.close()
    for (const batch of this.#byAge) {
      for (const notification of batch.notifications) this.#account.markDropped(notification)
      batch.end()
    }
    this.#reportDropped()
    this.#account.logEnd()
  }

  /** ms until it is time to give up; `Infinity` unless closing. */
  get #timeLeft (): number {
    return Math.max(0, this.#deadline - performance.now())
  }

  #gather (visitor: Visitor, notification: Notification): void {
    let batch = this.#gathering.get(visitor.key)
    if (batch === undefined) {
      batch = new Batch(visitor)
      batch.age = this.#byAge.push(batch)
      this.#gathering.set(visitor.key, batch)
    }
    batch.notifications.push(notification)
    if (this.#account.pending > this.#settings.maxQueue) this.#dropOldest()
  }

  /** What is on its way may well be processed, so the oldest is looked for behind that: at most `concurrency` steps. */
  #dropOldest (): void {
    for (const batch of this.#byAge) {
      if (batch.onItsWay) continue
      this.#account.markDropped(batch.notifications.shift()!)
      if (batch.notifications.length > 0) return
      batch.end()
      if (this.#gathering.get(batch.visitor.key) === batch) this.#gathering.delete(batch.visitor.key)
      return
    }
  }

  #reportDropped (): void {
    this.#account.reportDropped(this.#closed ? 'FST_TARGET_CLOSED' : 'FST_TARGET_OVERLOAD')
  }

  #makeReady (batch: Batch<Visitor>): void {
    batch.moveTo(this.#ready)
    this.#schedule()
  }

  /** All work begins here, at most once per turn of the event loop: after all of a tick's promise jobs have added theirs. */
  #schedule (): void {
    if (this.#workIsScheduled) return
    this.#workIsScheduled = true
    this.#outside.runInAsyncScope(() => setImmediate(() => {
      this.#workIsScheduled = false
      this.#work()
    }))
  }

  #work (): void {
    this.#reportDropped()
    for (const batch of this.#gathering.values()) batch.moveTo(this.#ready)
    this.#gathering.clear()
    while (this.#callsOnTheirWay < this.#settings.concurrency) {
      const batch = this.#ready.first
      if (batch === undefined) return
      this.#try(batch)
    }
  }

  async #try (batch: Batch<Visitor>): Promise<void> {
    batch.stopWaiting()
    batch.onItsWay = true
    this.#callsOnTheirWay += 1
    let result: ReadonlySet<string> | TargetError
    try {
      result = await this.#send(batch.visitor, batch.notifications)
    } catch (thrown) {
      result = isTargetError(thrown) ? thrown : failure('FST_TARGET_INVALID_REQUEST', 'the call could not be made', { cause: thrown })
    }
    if (this.#closed) return
    this.#callsOnTheirWay -= 1
    batch.onItsWay = false
    this.#judge(batch, result)
    if (this.#account.pending === 0) this.#onEmpty?.()
    this.#schedule()
  }

  #judge (batch: Batch<Visitor>, result: ReadonlySet<string> | TargetError): void {
    const { scoutOf } = batch
    batch.scoutOf = undefined
    if (result instanceof Error && isPause(result)) return this.#holds.add(batch, result)
    if (result instanceof Error && !isRefusal(result)) return this.#retry(batch, result)
    if (scoutOf !== undefined) this.#holds.release(scoutOf)
    if (result instanceof Error) this.#halve(batch, result)
    else this.#markSent(batch, result)
  }

  #markSent (batch: Batch<Visitor>, processed: ReadonlySet<string>): void {
    const left = batch.notifications.filter(({ id }) => !processed.has(id))
    if (left.length < batch.notifications.length) this.#account.markSent(batch.notifications.filter(({ id }) => processed.has(id)))
    batch.notifications = left
    if (left.length === 0) batch.end()
    else this.#retry(batch, failure('FST_TARGET_INVALID_RESPONSE', 'an answer without the ids of all notifications'))
  }

  #retry (batch: Batch<Visitor>, error: TargetError): void {
    batch.tries += 1
    if (batch.tries > this.#settings.retries) return this.#fail(batch, error)
    // While closing, the tries that are left are spread over the time that is left: an outage must not use them up too early.
    const triesLeft = this.#settings.retries - batch.tries + 1
    const longest = Math.min(FIRST_WAIT * 2 ** (batch.tries - 1), LONGEST_WAIT, this.#timeLeft / (triesLeft + 1))
    const wait = longest * (0.5 + this.#random() / 2)
    batch.restIn(this.#resting, wait, () => this.#makeReady(batch))
  }

  /** The edge refuses a request as a whole: halving finds the notification it means, and the others get through. */
  #halve (batch: Batch<Visitor>, error: TargetError): void {
    const { visitor, notifications, tries } = batch
    if (notifications.length === 1) return this.#fail(batch, error)
    const middle = Math.ceil(notifications.length / 2)
    const half = new Batch(visitor, notifications.slice(middle), tries)
    half.age = batch.age!.append(half)
    batch.notifications = notifications.slice(0, middle)
    batch.moveTo(this.#ready)
    half.moveTo(this.#ready)
  }

  #fail (batch: Batch<Visitor>, error: TargetError): void {
    batch.end()
    this.#account.markFailed(batch.notifications, error)
  }
}

/** The same request would be refused again: by the edge with a 4xx, or already here, since it cannot be written as JSON. */
function isRefusal ({ code, meta }: TargetError): boolean {
  if (code !== 'FST_TARGET_HTTP') return code === 'FST_TARGET_INVALID_REQUEST'
  const status = meta?.status ?? 0
  return status >= 400 && status < 500 && !PASSING.includes(status)
}
