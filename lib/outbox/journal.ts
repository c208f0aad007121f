/**
 * The journal: writes notifications to a store behind the outbox, and recovers those that other instances left there.
 *
 * Nothing waits for it. It makes one `append` and one `settle` call at a time, a few ms apart, each with everything that has
 * accumulated meanwhile, so a slow store gets larger groups, not more calls. If a store throws, rejects or never answers, notifications
 * stay in memory; those still unsent when it works again are written then.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Notification } from '../schema/index.ts'
import { Log, type TargetLogger } from '../diagnostics.ts'
import { backoff, within } from '../retries.ts'
import { failure } from '../errors.ts'
import { readRecord, writeRecord, type OutboxRecord } from './record.ts'
import type { OutboxStore, OutboxTransform, StoredRecord } from './store.ts'

/** A record that is in the store or being written to it. */
interface Entry {
  /** Number of its notifications that are not settled. */
  left: number
  /** Its text; undefined once written. */
  text: string | undefined
  /** Its ids in the store: more than one if a write was repeated. */
  readonly ids: string[]
}

/** Options of a {@link Journal}. */
export interface JournalOptions<Visitor> {
  /** Target client code, written into each record so that records of another client are left alone. */
  client: string
  transform: OutboxTransform | undefined
  logger: TargetLogger
  /** Runs work outside the async context of a request. */
  outside: { runInAsyncScope: (work: () => void) => void }
  /** Whether the outbox has room for recovered notifications. */
  hasRoom: () => boolean
  /** Called with a recovered record; its notifications must be settled like any others. */
  onRecovered: (record: OutboxRecord<Visitor>) => void
  /** Called when a record cannot be read and is removed. */
  onUnreadable: () => void
}

type Step = 'append' | 'settle' | 'recover' | 'close'

/** ms until a call to the store counts as failed; if it succeeds later, the result is still used. */
const PATIENCE = { append: 2000, settle: 2000, recover: 10_000, close: 1000 }

/**
 * ms from the end of one call to the next of its kind, so that under load few calls carry many records. The first is made at once. A
 * crash within that time loses what a write in progress would lose; what is not settled then is sent again with the same id.
 */
const REST = { append: 5, settle: 50 }

/** Delays before a failed step is tried again, in ms. */
const RETRY = { first: 1000, max: 30_000, jitter: [0.8, 1] } as const

/** ms from the end of one recovery to the next. */
const RECOVERY_INTERVAL = 30_000

/** ms between checks whether the outbox has room again. */
const ROOM_INTERVAL = 20

/** Maximum number of records in one call to the store, to bound its memory and time. */
const MAX_APPEND = 1000
const MAX_SETTLE = 5000

/** Maximum number of ids kept for a store that fails to settle them. Beyond that the oldest are dropped; their records are sent again. */
const MAX_UNSETTLED = 200_000

/** Recovered records per turn of the event loop. */
const RECORDS_PER_TURN = 100

/** The journal behind one outbox. */
export class Journal<Visitor> {
  readonly #store: OutboxStore
  readonly #options: JournalOptions<Visitor>
  readonly #log: Log
  readonly #entries = new WeakMap<Notification, Entry>()
  readonly #unwritten = new Set<Entry>()
  #unsettled: string[] = []
  readonly #failing = new Map<Step, { times: number, wait: number, until: number }>()
  readonly #working = new Set<Step>()
  #closing = false
  #onIdle: (() => void) | undefined

  constructor (store: OutboxStore, options: JournalOptions<Visitor>) {
    this.#store = store
    this.#options = options
    this.#log = Log.of(options.logger)
    // Deferred, so that the store's first work does not delay registration.
    options.outside.runInAsyncScope(() => setImmediate(() => this.#recover()))
  }

  /** Whether no step of the store is currently failing. */
  get durable (): boolean {
    return this.#failing.size === 0
  }

  /** Queues notifications of one visitor for writing; returns immediately. */
  write (senderJson: string | undefined, notifications: readonly Notification[], age: number): void {
    const text = senderJson === undefined ? undefined : writeRecord(this.#options.client, senderJson, notifications, Date.now() - age)
    // A notification that cannot be serialized cannot be sent either, and is reported then.
    if (text === undefined) return
    const entry: Entry = { left: notifications.length, text, ids: [] }
    for (const notification of notifications) this.#entries.set(notification, entry)
    this.#unwritten.add(entry)
  }

  /** Settles notifications that were sent, given up or dropped: a record is removed when all of its notifications are settled. */
  settle (notifications: readonly Notification[]): void {
    for (const notification of notifications) {
      const entry = this.#entries.get(notification)
      if (entry === undefined) continue
      this.#entries.delete(notification)
      entry.left -= 1
      if (entry.left > 0) continue
      this.#unwritten.delete(entry)
      this.#unsettled.push(...entry.ids)
    }
    if (this.#unsettled.length > MAX_UNSETTLED) this.#unsettled.splice(0, this.#unsettled.length - MAX_UNSETTLED)
  }

  /** Whether a notification is in the store. */
  keeps (notification: Notification): boolean {
    return (this.#entries.get(notification)?.ids.length ?? 0) > 0
  }

  /** Starts pending writes and settlements. To be called after a series of {@link write} and {@link settle}. */
  flush (): void {
    if (this.#unwritten.size > 0) this.#run('append', () => this.#append())
    if (this.#unsettled.length > 0) this.#run('settle', () => this.#settle())
  }

  /** Waits until everything is written and settled, the store fails, or `ms` have passed. */
  async drain (ms: number): Promise<void> {
    this.flush()
    if (!this.#busy) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#onIdle = () => { clearTimeout(timer); resolve() }
    })
    this.#onIdle = undefined
  }

  /** Stops recovering records. */
  stop (): void {
    this.#closing = true
  }

  /** Closes the store; never rejects, and waits at most one second. */
  async close (): Promise<void> {
    this.stop()
    try {
      // Unlike background work, this must keep the process alive.
      await within(PATIENCE.close, async () => await this.#store.close(), { keepsAlive: true })
    } catch (error) {
      this.#failed('close', error)
    }
  }

  get #busy (): boolean {
    return (this.#unwritten.size > 0 && !this.#failing.has('append')) || (this.#unsettled.length > 0 && !this.#failing.has('settle')) ||
      this.#working.has('append') || this.#working.has('settle')
  }

  /** Runs one step of a kind at a time; after a failure, only once its delay is over. */
  async #run (step: 'append' | 'settle', work: () => Promise<void>): Promise<void> {
    if (this.#working.has(step) || performance.now() < (this.#failing.get(step)?.until ?? 0)) return
    this.#working.add(step)
    try {
      await work()
      this.#succeeded(step)
      if (this.#onIdle === undefined) await sleep(REST[step])
    } catch (error) {
      this.#failed(step, error)
    }
    this.#working.delete(step)
    this.flush()
    if (!this.#busy) this.#onIdle?.()
  }

  async #append (): Promise<void> {
    const entries = [...take(this.#unwritten, MAX_APPEND)]
    for (const entry of entries) this.#unwritten.delete(entry)
    const written = (ids: readonly string[]) => entries.forEach((entry, index) => {
      entry.text = undefined
      this.#unwritten.delete(entry)
      if (entry.left > 0) entry.ids.push(ids[index]!)
      else this.#unsettled.push(ids[index]!)
    })
    try {
      await within(PATIENCE.append, async () => {
        const { transform } = this.#options
        const texts = entries.map(({ text }) => text ?? '')
        const payloads = transform === undefined ? texts : await Promise.all(texts.map(async (text) => String(await transform.encode(text))))
        const ids = await this.#store.append(payloads)
        if (!Array.isArray(ids) || ids.length !== payloads.length) throw new Error('append() must resolve with one id per payload')
        return ids
      }, { onResult: written })
    } catch (error) {
      for (const entry of entries) if (entry.left > 0 && entry.text !== undefined) this.#unwritten.add(entry)
      throw error
    }
  }

  async #settle (): Promise<void> {
    const ids = this.#unsettled.splice(0, MAX_SETTLE)
    try {
      await within(PATIENCE.settle, async () => await this.#store.settle(ids))
    } catch (error) {
      this.#unsettled.unshift(...ids)
      throw error
    }
  }

  async #recover (): Promise<void> {
    if (this.#closing) return
    try {
      await this.#readAll()
      this.#succeeded('recover')
    } catch (error) {
      this.#failed('recover', error)
    }
    if (!this.#closing) setTimeout(() => this.#recover(), this.#failing.get('recover')?.wait ?? RECOVERY_INTERVAL).unref()
  }

  async #readAll (): Promise<void> {
    const records = this.#store.recover()[Symbol.asyncIterator]()
    let count = 0
    while (!this.#closing) {
      if (!this.#options.hasRoom()) {
        await sleep(ROOM_INTERVAL, undefined, { ref: false })
        continue
      }
      let taken: Promise<void> | undefined
      const result = await within(PATIENCE.recover, async () => await records.next(), {
        onResult: ({ done, value }) => { if (done !== true) taken = this.#take(value) }
      })
      if (result.done === true) return
      await taken
      count += 1
      if (count % RECORDS_PER_TURN === 0) await new Promise((resolve) => { setImmediate(resolve) })
    }
    // Not awaited: the outbox is closing.
    Promise.resolve(records.return?.()).catch(ignore)
  }

  async #take ({ id, payload }: StoredRecord): Promise<void> {
    const { client, transform, onRecovered, onUnreadable } = this.#options
    let record: OutboxRecord<Visitor> | 'foreign' | undefined
    try {
      record = readRecord<Visitor>(client, transform === undefined ? payload : await transform.decode(payload))
    } catch {
      // The error is discarded: it may contain the payload.
    }
    if (record === 'foreign') return this.#reportForeign()
    if (record === undefined) {
      this.#unsettled.push(id)
      onUnreadable()
      return this.flush()
    }
    const entry: Entry = { left: record.notifications.length, text: undefined, ids: [id] }
    for (const notification of record.notifications) this.#entries.set(notification, entry)
    onRecovered(record)
  }

  #succeeded (step: Step): void {
    if (!this.#failing.delete(step) || this.#failing.size > 0) return
    this.#log.debug('`notifications.store` works again')
  }

  /** Logs one line when the store begins to fail, however many steps fail and however often. */
  #failed (step: Step, thrown: unknown): void {
    const times = (this.#failing.get(step)?.times ?? 0) + 1
    const wait = backoff(times, RETRY)
    if (this.#failing.size === 0) {
      const err = failure('FST_TARGET_STORE', `${step}: ${describe(thrown)}`)
      this.#log.error(`notifications are kept in memory only until \`notifications.store\` works again. ${err.message}`, { err })
    }
    this.#failing.set(step, { times, wait, until: performance.now() + wait })
    if (step === 'append' || step === 'settle') setTimeout(() => this.flush(), wait + 1).unref()
  }

  #reportForeign (): void {
    if (!this.#log.once('foreign records')) return
    const err = failure('FST_TARGET_STORE', 'it contains notifications of another Target client, which were left untouched; give each client its own directory or stream')
    this.#log.error(err.message, { err })
  }
}

function * take<Value> (values: Iterable<Value>, most: number): Generator<Value> {
  let left = most
  for (const value of values) {
    if (left-- === 0) return
    yield value
  }
}

/** Kept short, because some databases quote the beginning of a command's arguments in their errors. */
function describe (thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'unknown reason'
  const { code } = thrown as { code?: unknown }
  return `${typeof code === 'string' && !thrown.message.includes(code) ? `${code} ` : ''}${thrown.message}`.slice(0, 'syscall' in thrown ? 300 : 80)
}

const ignore = () => {}
