/**
 * The journal: writes notifications to a store behind the outbox, and brings back what other instances left there.
 *
 * Nothing waits for it. It makes one `append` and one `settle` at a time, each with everything that has come together
 * meanwhile, so a slow store gets larger groups and not more calls. A store that throws, rejects or never answers leaves the
 * notifications in memory; what is still unsent when it works again is written then.
 */
import type { Notification } from '../schema/index.ts'
import { backoff, Log, type TargetLogger } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { readRecord, writeRecord, type OutboxRecord } from './record.ts'
import type { OutboxStore, OutboxTransform, StoredRecord } from './store.ts'

/** A record on its way into the store, or in it. */
interface Entry {
  /** Notifications in it that are not settled. */
  left: number
  /** Its text, until it is written. */
  text: string | undefined
  /** By which the store knows it: more than one if a write was repeated. */
  readonly ids: string[]
}

/** What the journal works with, beside the store. */
export interface JournalOptions<Visitor> {
  /** Target client code, written into each record: a store of another client is not emptied. */
  client: string
  transform: OutboxTransform | undefined
  logger: TargetLogger
  /** Runs work outside the async context of a request. */
  outside: { runInAsyncScope: (work: () => void) => void }
  /** Whether the outbox has room for recovered notifications. */
  hasRoom: () => boolean
  /** Takes a recovered record; its notifications are to be settled like any other. */
  onRecovered: (record: OutboxRecord<Visitor>) => void
  /** A record cannot be read and is removed. */
  onUnreadable: () => void
}

type Step = 'append' | 'settle' | 'recover' | 'close'

/** ms until a call of the store counts as failed; whatever it does later is taken into account then. */
const PATIENCE = { append: 2000, settle: 2000, recover: 10_000, close: 1000 }

/** Waits until a failed step is tried again, in ms. */
const RETRY = { first: 1000, max: 30_000, jitter: [0.8, 1] } as const

/** ms from the end of one recovery to the next. */
const RECOVERY_INTERVAL = 30_000

/** ms between two looks whether the outbox has room again. */
const ROOM_INTERVAL = 20

/** Records in one call of the store, so that its memory and time are bounded. */
const MAX_APPEND = 1000
const MAX_SETTLE = 5000

/** Ids that are kept for a store that does not settle them. Beyond that they are forgotten, and their records sent again some day. */
const MAX_UNSETTLED = 200_000

/** Recovered records between two turns of the event loop. */
const RECORDS_PER_TURN = 100

/** Writes behind one outbox. */
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
    // Not at once: what the store does first is not a part of the registration.
    options.outside.runInAsyncScope(() => setImmediate(() => this.#recover()))
  }

  /** Whether the store has done all that was asked of it lately. */
  get durable (): boolean {
    return this.#failing.size === 0
  }

  /** Writes notifications of one visitor; returns at once. */
  write (senderJson: string | undefined, notifications: readonly Notification[], age: number): void {
    const text = senderJson === undefined ? undefined : writeRecord(this.#options.client, senderJson, notifications, Date.now() - age)
    // What is not JSON cannot be sent either, and will be reported for that.
    if (text === undefined) return
    const entry: Entry = { left: notifications.length, text, ids: [] }
    for (const notification of notifications) this.#entries.set(notification, entry)
    this.#unwritten.add(entry)
  }

  /** Notifications are sent, given up or dropped: their record goes when all of it are. */
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

  /** Starts what there is to do. To be called after a series of {@link write} and {@link settle}. */
  flush (): void {
    if (this.#unwritten.size > 0) this.#run('append', () => this.#append())
    if (this.#unsettled.length > 0) this.#run('settle', () => this.#settle())
  }

  /** Waits until all is written and settled, unless the store fails or the time is over. */
  async drain (ms: number): Promise<void> {
    this.flush()
    if (!this.#busy) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#onIdle = () => { clearTimeout(timer); resolve() }
    })
    this.#onIdle = undefined
  }

  /** Takes nothing more out of the store. */
  stop (): void {
    this.#closing = true
  }

  /** Closes the store; never rejects, and waits for at most a second. */
  async close (): Promise<void> {
    this.stop()
    // The shutdown waits for it, unlike all that is done in the background.
    const alive = setTimeout(ignore, PATIENCE.close + 1)
    try {
      await within(PATIENCE.close, async () => await this.#store.close())
    } catch (error) {
      this.#failed('close', error)
    }
    clearTimeout(alive)
  }

  get #busy (): boolean {
    return (this.#unwritten.size > 0 && !this.#failing.has('append')) || (this.#unsettled.length > 0 && !this.#failing.has('settle')) ||
      this.#working.has('append') || this.#working.has('settle')
  }

  /** One step at a time of its kind, and not before a failed one may be tried again. */
  async #run (step: 'append' | 'settle', work: () => Promise<void>): Promise<void> {
    if (this.#working.has(step) || performance.now() < (this.#failing.get(step)?.until ?? 0)) return
    this.#working.add(step)
    try {
      await work()
      this.#succeeded(step)
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
      }, written)
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
        await pause(ROOM_INTERVAL)
        continue
      }
      let taken: Promise<void> | undefined
      const result = await within(PATIENCE.recover, async () => await records.next(), ({ done, value }) => {
        if (done !== true) taken = this.#take(value)
      })
      if (result.done === true) return
      await taken
      count += 1
      if (count % RECORDS_PER_TURN === 0) await new Promise((resolve) => { setImmediate(resolve) })
    }
    // Without waiting for it: the outbox is closing.
    Promise.resolve(records.return?.()).catch(ignore)
  }

  async #take ({ id, payload }: StoredRecord): Promise<void> {
    const { client, transform, onRecovered, onUnreadable } = this.#options
    let record: OutboxRecord<Visitor> | 'foreign' | undefined
    try {
      record = readRecord<Visitor>(client, transform === undefined ? payload : await transform.decode(payload))
    } catch {
      // The function's own error may hold what it could not read.
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

  /** One line when it begins to fail, however many steps fail and however often. */
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
    const err = failure('FST_TARGET_STORE', 'it holds notifications of another Target client, which are left alone; give each client a directory or stream of its own')
    this.#log.error(err.message, { err })
  }
}

/**
 * The result of a call that may never end.
 *
 * @param onResult called with the result, also if it comes too late
 */
async function within<Result> (ms: number, call: () => Promise<Result>, onResult: (result: Result) => void = ignore): Promise<Result> {
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
    call().then((result) => {
      clearTimeout(timer)
      onResult(result)
      resolve(result)
    }).catch((error) => {
      clearTimeout(timer)
      reject(error)
    })
    timer.unref()
  })
}

function * take<Value> (values: Iterable<Value>, most: number): Generator<Value> {
  let left = most
  for (const value of values) {
    if (left-- === 0) return
    yield value
  }
}

/** Short, because some databases repeat the beginning of a command's arguments in their errors. */
function describe (thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'unknown reason'
  const { code } = thrown as { code?: unknown }
  return `${typeof code === 'string' && !thrown.message.includes(code) ? `${code} ` : ''}${thrown.message}`.slice(0, 'syscall' in thrown ? 300 : 80)
}

const pause = (ms: number) => new Promise<void>((resolve) => { setTimeout(resolve, ms).unref() })

const ignore = () => {}
