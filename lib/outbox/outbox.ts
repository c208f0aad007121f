/**
 * Notifications in the background: taken at once, sent after the response, at least once each, and never silently dropped.
 *
 * A notification is gathered with the others of its visitor in the same tick (one Delivery API call carries one visitor),
 * takes its place in its session's lane, stands in the ready queue when it is first there, and is sent when the call window
 * lets it through. If that fails it rests for a while, or is held while its host is not to be asked; if the edge refuses it,
 * its batch is halved. It ends as sent, failed or dropped, and at every moment `accepted = pending + sent + failed + dropped`.
 * With a store, the journal writes beside all this what would be lost with the process.
 *
 * The timers are unref'd: a process lives on for its server, its other work, and for `close()`, which waits for the rest.
 * A script that ends without `close()` loses what is still waiting; one that cannot end during an outage would be worse.
 */
import { AsyncResource } from 'node:async_hooks'
import type { Notification } from '../schema/index.ts'
import { backoff, type TargetLogger } from '../diagnostics.ts'
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
  /** Most calls at a time; how many there are is found out, see {@link CallWindow}. */
  concurrency: number
  /** Most notifications kept, those on their way included; past that the oldest waiting one is dropped. */
  maxQueue: number
  /** Most memory of notifications that wait, in bytes, estimated; past that the oldest waiting ones are dropped. */
  maxBytes: number
  /** Most tries after the first; only those count that end in a 5xx, a temporary 4xx, a useless answer, or a lost connection. */
  retries: number
  /** ms after which a notification that could not be sent counts as failed. */
  maxAge: number
  /** ms from `beginClose()` until what is left is given up. */
  closeTimeout: number
  /** Keeps notifications beyond the process. */
  store?: OutboxStore | undefined
  /** Changes records on their way into the store and back. */
  transform?: OutboxTransform | undefined
}

/**
 * Sends the notifications of one visitor in one call.
 *
 * Resolves with the ids that the edge says it has processed; rejects with one of this package's errors.
 */
export type OutboxSend<Visitor> = (visitor: Visitor, notifications: Notification[]) => Promise<ReadonlySet<string>>

/** What the outbox works with, beside the settings. */
export interface OutboxOptions {
  /** Target client code, written into the records of a store. */
  client: string
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

/** How the outbox is. */
export interface OutboxReport extends OutboxCounts {
  /** Estimated bytes of the notifications that wait. */
  bytes: number
  /** Calls that may be on their way at a time, as found out so far. */
  concurrency: number
  /** Whether the backlog has grown for five seconds, and is more than a tenth of `maxQueue`. */
  growing: boolean
  /** Whether what is accepted survives the process: there is a store, and it has done all that was asked of it lately. */
  durable: boolean
}

/** Waits between tries, in ms. Ten retries take about a minute and a half. */
const RETRY = { first: 250, max: 30_000, jitter: [0.5, 1] } as const

/** ms between two looks at the backlog and at what is too old. */
const LOOK_INTERVAL = 1000

/** ms that the store has, past `closeTimeout`, to write what was accepted last. */
const LAST_WRITES = 1000

/** Recovered notifications leave this share of the queue to those of pages. */
const RECOVERY_SHARE = 0.8

/** Takes notifications and sends them. */
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
  /** When to give up, by `performance.now()`; finite once the outbox is closing. */
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

  /** How it is now; no I/O. */
  report (): OutboxReport {
    return {
      ...this.#account.counts,
      bytes: Math.round(this.#bytes),
      concurrency: this.#window.size,
      growing: this.#backlog.growing,
      durable: this.#journal?.durable === true
    }
  }

  /** Whether something is wrong: dropped in the last minute, nearly full, growing, or a store that fails. */
  get degraded (): boolean {
    const { maxQueue, maxBytes } = this.#settings
    return this.#account.droppedLastMinute || this.#account.pending > 0.8 * maxQueue || this.#bytes > 0.8 * maxBytes ||
      this.#backlog.growing || this.#journal?.durable === false
  }

  /** Starts the clock of `closeTimeout` and sends at once what was resting; still takes notifications. */
  beginClose (): void {
    if (this.#deadline < Infinity) return
    this.#deadline = performance.now() + this.#settings.closeTimeout
    this.#journal?.stop()
    for (const batch of this.#resting) this.#makeReady(batch)
  }

  /**
   * Sends the rest until `closeTimeout` has passed since `beginClose()`; never rejects. What is left then stays in the store;
   * without one it counts as dropped, also what is on its way: an answer would come too late to be counted.
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

  /** A record of the store that belongs to nobody else. */
  #recover ({ visitor, notifications, acceptedAt }: OutboxRecord<Visitor>): void {
    this.#account.recover(notifications)
    // A clock that was set back must not make it younger than new.
    const age = Math.max(0, Date.now() - acceptedAt)
    const batch = new Batch(visitor, notifications, performance.now() - age)
    batch.age = this.#byAge.push(batch)
    this.#lanes.enter(batch)
    this.#measure(batch)
    this.#schedule()
  }

  /** What is on its way may well be processed, so the oldest is looked for behind that: at most `concurrency` steps. `false`: there is none. */
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
    // Only what has to wait is measured: most batches are on their way by now.
    for (const batch of gathered) this.#measure(batch)
    this.#reportDropped()
    this.#journal?.flush()
  }

  /** A batch of this tick: cut to calls, written to the journal, put in its lane or joined to what waits there. */
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

  /** Nothing is left of a batch: the next one of its session may be sent. */
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
    // While closing, the tries that are left are spread over the time that is left: an outage must not use them up too early.
    const triesLeft = this.#settings.retries - batch.tries + 1
    const max = Math.min(RETRY.max, this.#timeLeft / (triesLeft + 1))
    const wait = backoff(batch.tries, { ...RETRY, max, random: this.#random })
    batch.restIn(this.#resting, wait, () => this.#makeReady(batch))
    this.#measure(batch)
  }

  /** The edge refuses a request as a whole: halving finds the notification it means, and the others get through. */
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

  /** Once a second. */
  #look (): void {
    const { accepted, pending } = this.#account.counts
    this.#backlog.look({ now: performance.now(), accepted, pending, batches: this.#batches })
    if (this.#backlog.growing) this.#account.warn(this.#backlog.describe(this.#window, this.#settings.concurrency), 'backlog')
    for (const batch of this.#byAge) if (!batch.onItsWay && this.#isTooOld(batch)) this.#fail(batch, this.#tooOld())
    this.#schedule()
  }
}

/** The same request would be refused again: by the Delivery API itself, or already here, since it cannot be written as JSON. */
function isRefusal ({ code, meta }: TargetError): boolean {
  return code === 'FST_TARGET_HTTP' ? meta?.refused === true : code === 'FST_TARGET_INVALID_REQUEST'
}

/** What a call's end says about load; undefined for one that was not sent. */
function outcomeOf (result: ReadonlySet<string> | TargetError): CallOutcome | undefined {
  if (!(result instanceof Error) || result.meta?.refused === true) return 'answered'
  if (isPause(result) || result.code === 'FST_TARGET_INVALID_REQUEST') return undefined
  return 'bad'
}
