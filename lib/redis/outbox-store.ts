/**
 * Notifications in a Redis stream, shared by the instances of one client: survivors take over from those that die.
 *
 * Each instance is a consumer of one group. It owns what it has appended, and sends a heartbeat every `claimAfter / 4` ms.
 * XAUTOCLAIM would not do: it goes by the age of a record, and a record may be old because the edge is down while its instance
 * is alive and well. So whole consumers are taken over, by the time since their last sign of life.
 */
import { Type } from '@sinclair/typebox'
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { OutboxStore, StoredRecord } from '../outbox/store.ts'
import { checkOptions, integer, MAX_MILLISECONDS, strict } from '../validation.ts'
import { key, lentClient, senderOf, type RedisClient, type RedisSend } from './client.ts'
import { ADOPT, APPEND, CLOSED, LAST_ID, LEAVE, SETTLE } from './scripts.ts'

/** Options of {@link redisStore}. */
export interface RedisStoreOptions {
  /** The app's client of `ioredis` or `redis`: shared with the app's own commands and never closed. */
  client: RedisClient
  /** Key of the stream; each Target client needs its own. Default `fastify-adobe-target:outbox`. */
  stream?: string
  /** Maximum number of records in the stream. Beyond that nothing is added, and notifications stay in memory. Default 1000000. */
  maxLength?: number
  /** ms without a sign of life after which an instance counts as dead, from 1000. Default 60000. */
  claimAfter?: number
}

const OptionsSchema = Type.Object({
  client: lentClient,
  stream: Type.Optional(key),
  maxLength: Type.Optional(integer(1)),
  claimAfter: Type.Optional(Type.Integer({ minimum: 1000, maximum: MAX_MILLISECONDS, expected: 'a number of ms, an integer ≥ 1000' }))
}, strict)

const GROUP = 'fastify-adobe-target'

/** Maximum number of records in one command, which blocks Redis for a few ms at most. */
const MAX_APPEND = 250
const MAX_ADOPT = 500
const MAX_SETTLE = 1000

/**
 * Keeps notifications in a Redis stream, for the option `notifications.store`. Needs Redis 5, or Valkey.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function redisStore (options: RedisStoreOptions): OutboxStore {
  const { client, ...settings } = checkOptions<RedisStoreOptions>(OptionsSchema, options, { call: 'redisStore()' })
  return new RedisStore(senderOf(client), { stream: 'fastify-adobe-target:outbox', maxLength: 1_000_000, claimAfter: 60_000, ...settings })
}

class RedisStore implements OutboxStore {
  readonly #send: RedisSend
  readonly #settings: Required<Omit<RedisStoreOptions, 'client'>>
  readonly #consumer = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`
  /** Ids of records that this instance delivers and must not recover again. */
  readonly #owned = new Set<string>()
  /** Steps that Redis has not answered yet. While Redis is unreachable, clients queue commands; this bounds how many. */
  readonly #waiting = new Set<string>()
  #heartbeat: NodeJS.Timeout | undefined
  #closed = false

  constructor (send: RedisSend, settings: Required<Omit<RedisStoreOptions, 'client'>>) {
    this.#send = send
    this.#settings = settings
  }

  async append (payloads: readonly string[]): Promise<string[]> {
    this.#live()
    return await this.#alone('append', async () => {
      const ids: string[] = []
      try {
        for (let start = 0; start < payloads.length; start += MAX_APPEND) {
          const added = await this.#run(APPEND, String(this.#settings.maxLength), ...payloads.slice(start, start + MAX_APPEND)) as unknown[]
          ids.push(...added.map(String))
        }
      } catch (error) {
        // The outbox appends all of them again, so remove those already added.
        this.#remove(ids).catch(() => {})
        throw error
      }
      for (const id of ids) this.#owned.add(id)
      return ids
    })
  }

  async settle (ids: readonly string[]): Promise<void> {
    await this.#alone('settle', () => this.#remove(ids))
    for (const id of ids) this.#owned.delete(id)
  }

  async * recover (): AsyncGenerator<StoredRecord, void> {
    this.#live()
    const adopt = () => this.#alone('recover', () => this.#adopt())
    let records: StoredRecord[] = []
    let next = adopt()
    try {
      while (!this.#closed) {
        records = await next
        if (records.length === 0) return
        // Fetch the next records while the reader works on these.
        next = adopt()
        next.catch(() => {})
        for (let record = records.shift(); record !== undefined; record = records.shift()) yield record
      }
    } finally {
      next.then((more) => this.#giveBack([...records, ...more]), () => this.#giveBack(records))
    }
  }

  async close (): Promise<void> {
    this.#closed = true
    clearInterval(this.#heartbeat)
    // Hand the remaining records to other instances now, rather than after `claimAfter`.
    while (await this.#run(LEAVE, String(MAX_SETTLE)) !== 0);
  }

  async #remove (ids: readonly string[]): Promise<void> {
    for (let start = 0; start < ids.length; start += MAX_SETTLE) await this.#run(SETTLE, ...ids.slice(start, start + MAX_SETTLE))
  }

  /** Takes over some records. */
  async #adopt (): Promise<StoredRecord[]> {
    while (true) {
      const entries = await this.#run(ADOPT, String(this.#settings.claimAfter), String(MAX_ADOPT)) as Array<[unknown, unknown[]]>
      // If others took over from this instance while it was paused, and it now takes over from them, it already has these records.
      const records = entries.map(([id, fields]) => ({ id: String(id), payload: String(fields[1]) })).filter(({ id }) => !this.#owned.has(id))
      for (const { id } of records) this.#owned.add(id)
      if (records.length > 0 || entries.length === 0) return records
    }
  }

  /** Returns records that were taken over but not yielded. */
  #giveBack (records: StoredRecord[]): void {
    const ids = records.map(({ id }) => id)
    if (ids.length === 0) return
    const { stream } = this.#settings
    for (const id of ids) this.#owned.delete(id)
    // If that fails, others take them over when this instance ends.
    this.#send(stream, 'XCLAIM', stream, GROUP, CLOSED, '0', ...ids, 'JUSTID').catch(() => {})
  }

  /** Starts the heartbeat. */
  #live (): void {
    if (this.#heartbeat !== undefined || this.#closed) return
    const { stream, claimAfter } = this.#settings
    this.#heartbeat = setInterval(() => {
      this.#alone('heartbeat', () => this.#send(stream, 'XREADGROUP', 'GROUP', GROUP, this.#consumer, 'COUNT', '1', 'STREAMS', stream, LAST_ID))
        // Redis is unreachable or empty.
        .catch(() => {})
    }, claimAfter / 4).unref()
  }

  async #alone<Result> (step: string, work: () => Promise<Result>): Promise<Result> {
    if (this.#waiting.has(step)) throw new Error('Redis has not answered yet')
    this.#waiting.add(step)
    try {
      return await work()
    } finally {
      this.#waiting.delete(step)
    }
  }

  #run (script: string, ...parameters: string[]): Promise<unknown> {
    const { stream } = this.#settings
    return this.#send(stream, 'EVAL', script, '1', stream, GROUP, this.#consumer, ...parameters)
  }
}
