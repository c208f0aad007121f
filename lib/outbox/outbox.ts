/**
 * Background notifications: accepted immediately, sent after the response, at least once each, and never silently dropped.
 *
 * A notification is batched with the others of its visitor in the same tick (one Delivery API call carries one visitor), queued
 * in its session's lane, moved to the ready queue when it is first there, and sent when the call window lets it through. If that
 * fails it is retried after a delay, or held while its host must not be called; if the edge refuses it, its batch is halved. It
 * ends as sent, failed or dropped, and `accepted = pending + sent + failed + dropped` always holds. With a store, the journal
 * also writes everything that would be lost with the process.
 *
 * The timers are unref'd: the server, other work, and `close()`, which waits for the rest, keep a process alive. A script that
 * ends without `close()` loses what is still waiting; a script that cannot end during an outage would be worse.
 */
import { AsyncResource } from 'node:async_hooks'
import type { Notification } from '../schema/index.ts'
import type { TargetLogger } from '../diagnostics.ts'
import { backoff } from '../retries.ts'
import { failure, isTargetError, type TargetError } from '../errors.ts'
import { Backlog } from './backlog.ts'
import { Batch } from './batch.ts'
import { CallWindow, type CallOutcome } from './call-window.ts'
import { Holds, isPause } from './holds.ts'
import { Journal } from './journal.ts'
import { Lanes, MAX_PER_CALL } from './lanes.ts'
import { OutboxAccount, type OnNotificationFailed, type OutboxCounts } from './ledger.ts'
import { Queue } from './queue.ts'
import type { OutboxRecord } from './record.ts'
import { estimateBytes, PER_BATCH } from './size.ts'
import type { OutboxStore, OutboxTransform } from './store.ts'

export type { OnNotificationFailed, OutboxCounts } from './ledger.ts'

/** The option `notifications`; its defaults are with the other options. */
export interface OutboxSettings {
  /** Maximum number of concurrent calls; the actual number adapts, see {@link CallWindow}. */
  concurrency: number
  /** Maximum number of notifications kept, including those in flight; beyond that the oldest waiting one is dropped. */
  maxQueue: number
  /** Maximum memory of waiting notifications in bytes, estimated; beyond that the oldest waiting ones are dropped. */
  maxBytes: number
  /** Maximum number of retries; only tries that end in a 5xx, a temporary 4xx, an invalid response or a lost connection count. */
  retries: number
  /** ms after which an unsent notification counts as failed. */
  maxAge: number
  /** ms from `beginClose()` until remaining notifications are given up. */
  closeTimeout: number
  /** Keeps notifications beyond the process. */
  store?: OutboxStore | undefined
  /** Changes records on their way into the store and back. */
  transform?: OutboxTransform | undefined
}

/**
 * Sends the notifications of one visitor in one call.
 *
 * Resolves with the ids that the edge reports as processed; rejects with one of this package's errors.
 */
export type OutboxSend<Visitor> = (visitor: Visitor, notifications: Notification[]) => Promise<ReadonlySet<string>>

/** What the outbox needs in addition to its settings. */
export interface OutboxOptions {
  /** Target client code, written into the records of a store. */
  client: string
  /** Receives one line per kind of loss and interval, and one with the counts at the end. */
  logger: TargetLogger
  /**
   * Called with each notification that is given up, outside any request's async context: a failed one with its last error, a
   * dropped one with OVERLOAD (the outbox was full) or CLOSED (`closeTimeout` had passed).
   */
  onFailed?: OnNotificationFailed | undefined
  /** From 0 to below 1, for the jitter. Default: `Math.random`. */
  random?: (() => number) | undefined
}

/** The state of the outbox. */
export interface OutboxReport extends OutboxCounts {
  /** Estimated bytes of the waiting notifications. */
  bytes: number
  /** Number of calls that may currently be in flight. */
  concurrency: number
  /** Whether the backlog has grown for five seconds, and is more than a tenth of `maxQueue`. */
  growing: boolean
  /** Whether accepted notifications survive the process: there is a store and none of its operations is failing. */
  durable: boolean
}

/** Delays between tries, in ms. Ten retries take about a minute and a half. */
const RETRY = { first: 250, max: 30_000, jitter: [0.5, 1] } as const

/** ms between checks of the backlog and for notifications beyond `maxAge`. */
const LOOK_INTERVAL = 1000

/** ms beyond `closeTimeout` for the store to write what was accepted last. */
const LAST_WRITES = 1000

/** Recovered notifications leave this share of the queue to those of pages. */
const RECOVERY_SHARE = 0.8

/** Accepts notifications and sends them. */
export class Outbox<Visitor extends { readonly key: string, readonly sessionId?: string }> {
  readonly #settings: OutboxSettings
  readonly #send: OutboxSend<Visitor>
  readonly #random: () => number
  readonly #account: OutboxAccount
  /** Runs all work outside the async context of the request that queued it. */
  readonly #outside = new AsyncResource('FASTIFY_ADOBE_TARGET_OUTBOX')
  readonly #byAge = new Queue<Batch<Visitor>>()
  /** The batches of this tick, by visitor. */
  readonly #gathering = new Map<string, Batch<Visitor>>()
  readonly #lanes = new Lanes<Visitor>((batch) => batch.moveTo(this.#ready))
  readonly #ready = new Queue<Batch<Visitor>>()
  readonly #resting = new Queue<Batch<Visitor>>()
  readonly #holds: Holds<Visitor>
  readonly #window: CallWindow
  readonly #backlog: Backlog
  readonly #journal: Journal<Visitor> | undefined
  #batches = 0
  #bytes = 0
  #workIsScheduled = false
  #looking: NodeJS.Timeout | undefined
  /** When to give up, by `performance.now()`; finite only while closing. */
  #deadline = Infinity
  #end: Promise<void> | undefined
  #closed = false
  #onEmpty: (() => void) | undefined

  constructor (settings: OutboxSettings, send: OutboxSend<Visitor>, { client, logger, onFailed, random = Math.random }: OutboxOptions) {
    this.#settings = settings
    this.#send = send
    this.#random = random
    this.#account = new OutboxAccount(logger, onFailed)
    this.#holds = new Holds(random, (batch) => this.#makeReady(batch))
    this.#window = new CallWindow(settings.concurrency)
    this.#backlog = new Backlog(settings.maxQueue)
    if (settings.store !== undefined) {
      this.#journal = new Journal(settings.store, {
        client,
        transform: settings.transform,
        logger,
        outside: this.#outside,
        hasRoom: () => this.#account.pending < settings.maxQueue * RECOVERY_SHARE && this.#bytes < settings.maxBytes * RECOVERY_SHARE,
        onRecovered: (record) => this.#recover(record),
        onUnreadable: () => this.#account.markUnreadable()
      })
    }
  }

  /**
   * Accepts notifications and returns immediately; never throws. After `close()` they are counted as accepted and dropped.
   *
   * @param visitor their visitor; if several objects have the same `key` in one tick, the first is used
   * @param notifications sent as they are, the same objects on every try; they must not be changed afterwards
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

  /** The current state; no I/O. */
  report (): OutboxReport {
    return {
      ...this.#account.counts,
      bytes: Math.round(this.#bytes),
      concurrency: this.#window.size,
      growing: this.#backlog.growing,
      durable: this.#journal?.durable === true
    }
  }

  /** Whether something is wrong: notifications dropped in the last minute, a nearly full or growing queue, or a failing store. */
  get degraded (): boolean {
    const { maxQueue, maxBytes } = this.#settings
    return this.#account.droppedLastMinute || this.#account.pending > 0.8 * maxQueue || this.#bytes > 0.8 * maxBytes ||
      this.#backlog.growing || this.#journal?.durable === false
  }

  /** Starts the clock of `closeTimeout` and sends delayed batches immediately; still accepts notifications. */
  beginClose (): void {
    if (this.#deadline < Infinity) return
    this.#deadline = performance.now() + this.#settings.closeTimeout
    this.#journal?.stop()
    for (const batch of this.#resting) this.#makeReady(batch)
  }

  /**
   * Sends what has been accepted so far, without a pause for what was waiting for its next try, and waits until all of it has
   * ended; never rejects.
   *
   * @param timeout ms, the longest it waits
   * @returns how many of these notifications have not ended
   */
  async flush (timeout: number): Promise<number> {
    const left = new Set<Notification>()
    for (const batch of this.#byAge) for (const notification of batch.notifications) left.add(notification)
    if (left.size === 0) return 0
    for (const batch of this.#resting) this.#makeReady(batch)
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        stop()
        resolve()
      }
      const timer = setTimeout(done, timeout)
      const stop = this.#account.watch((settled) => {
        for (const notification of settled) left.delete(notification)
        if (left.size === 0) done()
      })
    })
    return left.size
  }

  /**
   * Sends the rest until `closeTimeout` has passed since `beginClose()`; never rejects. What is left then stays in the store;
   * without one it counts as dropped, even if in flight: a response would come too late to be counted.
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
    if (this.#journal !== undefined && this.#account.pending > 0) {
      this.#outside.runInAsyncScope(() => this.#work())
      await this.#journal.drain(LAST_WRITES)
    }
    this.#outside.runInAsyncScope(() => this.#giveUpTheRest())
    if (this.#journal === undefined) return
    await this.#journal.drain(LAST_WRITES)
    await this.#journal.close()
  }

  #giveUpTheRest (): void {
    this.#reportDropped()
    this.#closed = true
    this.#holds.close()
    clearInterval(this.#looking)
    for (const batch of this.#byAge) {
      for (const notification of batch.notifications) {
        if (this.#journal?.keeps(notification) !== true) this.#drop(notification)
      }
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
      batch = new Batch(visitor, [], performance.now())
      batch.age = this.#byAge.push(batch)
      this.#gathering.set(visitor.key, batch)
    }
    batch.notifications.push(notification)
    if (this.#account.pending > this.#settings.maxQueue) this.#dropOldest(1)
  }

  /** Queues a record that this instance has recovered from the store. */
  #recover ({ visitor, notifications, acceptedAt }: OutboxRecord<Visitor>): void {
    this.#account.recover(notifications)
    // Never negative, even if the clock was set back.
    const age = Math.max(0, Date.now() - acceptedAt)
    const batch = new Batch(visitor, notifications, performance.now() - age)
    batch.age = this.#byAge.push(batch)
    this.#lanes.enter(batch)
    this.#measure(batch)
    this.#schedule()
  }

  /** Skips batches in flight, which may well be processed: at most `concurrency` steps. Returns `false` if none is waiting. */
  #dropOldest (most: number): boolean {
    for (const batch of this.#byAge) {
      if (batch.onItsWay) continue
      for (const notification of batch.notifications.splice(0, most)) this.#drop(notification)
      if (batch.notifications.length > 0) return true
      if (this.#gathering.get(batch.visitor.key) === batch) this.#gathering.delete(batch.visitor.key)
      this.#endBatch(batch)
      return true
    }
    return false
  }

  #drop (notification: Notification): void {
    this.#account.markDropped(notification)
    this.#journal?.settle([notification])
  }

  #reportDropped (): void {
    this.#account.reportDropped(this.#closed ? 'FST_TARGET_CLOSED' : 'FST_TARGET_OVERLOAD')
  }

  #makeReady (batch: Batch<Visitor>): void {
    batch.moveTo(this.#ready)
    this.#schedule()
  }

  /** Starts all work, at most once per turn of the event loop, after all promise jobs of the tick have added their notifications. */
  #schedule (): void {
    if (this.#workIsScheduled) return
    this.#workIsScheduled = true
    this.#outside.runInAsyncScope(() => setImmediate(() => {
      this.#workIsScheduled = false
      this.#work()
    }))
  }

  #work (): void {
    if (this.#closed) return this.#reportDropped()
    this.#looking ??= setInterval(() => this.#look(), LOOK_INTERVAL).unref()
    const gathered = [...this.#gathering.values()]
    this.#gathering.clear()
    for (const batch of gathered) this.#takeIn(batch)
    while (this.#window.open) {
      const batch = this.#ready.first
      if (batch === undefined) break
      this.#try(batch)
    }
    if (this.#ready.first !== undefined) this.#window.markFull()
    // Only batches that have to wait are measured: most are in flight by now.
    for (const batch of gathered) this.#measure(batch)
    this.#reportDropped()
    this.#journal?.flush()
  }

  /** Splits a batch of this tick into calls, writes them to the journal, and queues or joins them in their lane. */
  #takeIn (batch: Batch<Visitor>): void {
    for (let part = batch; ;) {
      const rest = part.notifications.length > MAX_PER_CALL ? part.split(MAX_PER_CALL) : undefined
      this.#journal?.write(part.senderJson, part.notifications, performance.now() - part.acceptedAt)
      this.#batches += 1
      this.#enter(part)
      if (rest === undefined) return
      part = rest
    }
  }

  #enter (batch: Batch<Visitor>): void {
    const other = this.#lanes.joinable(batch)
    if (other !== undefined) {
      other.notifications = [...other.notifications, ...batch.notifications]
      if (other.bytes > 0) {
        const bytes = estimateBytes(batch.notifications)
        other.bytes += bytes
        this.#bytes += bytes
      }
      return batch.end()
    }
    this.#lanes.enter(batch)
  }

  #measure (batch: Batch<Visitor>): void {
    if (batch.onItsWay || batch.bytes > 0 || batch.ended) return
    batch.bytes = PER_BATCH + estimateBytes(batch.visitor) + estimateBytes(batch.notifications)
    this.#bytes += batch.bytes
    while (this.#bytes > this.#settings.maxBytes && this.#dropOldest(MAX_PER_CALL)) this.#schedule()
  }

  /** Ends a batch, so that the next one of its session may be sent. */
  #endBatch (batch: Batch<Visitor>): void {
    batch.end()
    this.#bytes -= batch.bytes
    this.#lanes.leave(batch)
  }

  async #try (batch: Batch<Visitor>): Promise<void> {
    batch.stopWaiting()
    if (this.#isTooOld(batch)) return this.#fail(batch, this.#tooOld())
    batch.onItsWay = true
    this.#window.begin()
    const startedAt = performance.now()
    let result: ReadonlySet<string> | TargetError
    try {
      result = await this.#send(batch.visitor, batch.notifications)
    } catch (thrown) {
      result = isTargetError(thrown) ? thrown : failure('FST_TARGET_INVALID_REQUEST', 'the call could not be made', { cause: thrown })
    }
    if (this.#closed) return
    this.#window.end(outcomeOf(result), performance.now() - startedAt)
    batch.onItsWay = false
    this.#judge(batch, result)
    if (this.#account.pending === 0) this.#onEmpty?.()
    this.#schedule()
  }

  #judge (batch: Batch<Visitor>, result: ReadonlySet<string> | TargetError): void {
    const { scoutOf } = batch
    batch.scoutOf = undefined
    if (result instanceof Error && isPause(result)) {
      this.#holds.add(batch, result)
      return this.#measure(batch)
    }
    if (result instanceof Error && !isRefusal(result)) return this.#retry(batch, result)
    if (scoutOf !== undefined) this.#holds.release(scoutOf)
    if (result instanceof Error) this.#halve(batch, result)
    else this.#markSent(batch, result)
  }

  #markSent (batch: Batch<Visitor>, processed: ReadonlySet<string>): void {
    const sent = batch.notifications.filter(({ id }) => processed.has(id))
    if (sent.length > 0) {
      this.#account.markSent(sent)
      this.#journal?.settle(sent)
      batch.notifications = batch.notifications.filter(({ id }) => !processed.has(id))
    }
    if (batch.notifications.length === 0) this.#endBatch(batch)
    else this.#retry(batch, failure('FST_TARGET_INVALID_RESPONSE', 'the response does not have the ids of all notifications'))
  }

  #retry (batch: Batch<Visitor>, error: TargetError): void {
    batch.tries += 1
    if (batch.tries > this.#settings.retries) return this.#fail(batch, error)
    // While closing, spread the remaining tries over the remaining time: an outage must not use them up too early.
    const triesLeft = this.#settings.retries - batch.tries + 1
    const max = Math.min(RETRY.max, this.#timeLeft / (triesLeft + 1))
    const wait = backoff(batch.tries, { ...RETRY, max, random: this.#random })
    batch.restIn(this.#resting, wait, () => this.#makeReady(batch))
    this.#measure(batch)
  }

  /** The edge refuses a request as a whole: halving isolates the notification at fault and lets the others through. */
  #halve (batch: Batch<Visitor>, error: TargetError): void {
    if (batch.notifications.length === 1) return this.#fail(batch, error)
    const half = batch.split(Math.ceil(batch.notifications.length / 2))
    batch.isPart = half.isPart = true
    batch.moveTo(this.#ready)
    this.#lanes.insertBehind(batch, half)
  }

  #fail (batch: Batch<Visitor>, error: TargetError): void {
    this.#endBatch(batch)
    this.#journal?.settle(batch.notifications)
    this.#account.markFailed(batch.notifications, error)
    if (this.#account.pending === 0) this.#onEmpty?.()
  }

  #isTooOld (batch: Batch<Visitor>): boolean {
    return performance.now() - batch.acceptedAt > this.#settings.maxAge
  }

  #tooOld (): TargetError {
    return failure('FST_TARGET_TIMEOUT', `not delivered within \`notifications.maxAge\`, ${this.#settings.maxAge} ms`)
  }

  /** Runs once a second. */
  #look (): void {
    const { accepted, pending } = this.#account.counts
    this.#backlog.look({ now: performance.now(), accepted, pending, batches: this.#batches })
    if (this.#backlog.growing) this.#account.warn(this.#backlog.describe(this.#window, this.#settings.concurrency), 'backlog')
    for (const batch of this.#byAge) if (!batch.onItsWay && this.#isTooOld(batch)) this.#fail(batch, this.#tooOld())
    this.#schedule()
  }
}

/** Whether the same request would be refused again: by the Delivery API, or here, since it cannot be serialized. */
function isRefusal ({ code, meta }: TargetError): boolean {
  return code === 'FST_TARGET_HTTP' ? meta?.refused === true : code === 'FST_TARGET_INVALID_REQUEST'
}

/** A call's outcome as a sign of load; undefined if it was not sent. */
function outcomeOf (result: ReadonlySet<string> | TargetError): CallOutcome | undefined {
  if (!(result instanceof Error) || result.meta?.refused === true) return 'answered'
  if (isPause(result) || result.code === 'FST_TARGET_INVALID_REQUEST') return undefined
  return 'bad'
}
