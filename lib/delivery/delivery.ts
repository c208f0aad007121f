/**
 * The network: one object per client, which keeps the hosts it talks to and sends calls to them.
 *
 * What a call goes through, in order: `Delivery.send`, the host's breaker, its queue (`host.ts`), its connections
 * (`pool.ts`), the deadline, retry and grace of one transfer (`transfer.ts`), and what the answer means (`exchange.ts`).
 */
import { AsyncResource } from 'node:async_hooks'
import type { Dispatcher } from 'undici'
import { Log, type TargetLogger } from '../diagnostics.ts'
import { failure, type TargetError } from '../errors.ts'
import { NOTHING_TO_ABORT, type Abortable } from './abort-listeners.ts'
import type { BreakerSettings, BreakerState } from './breaker.ts'
import { Download, type DownloadAnswer, type DownloadOptions } from './download.ts'
import { DeliveryExchange, type DeliveryAnswer, type DeliveryCall, type Settled } from './exchange.ts'
import { Host, type HostSettings } from './host.ts'
import type { PoolSettings } from './pool.ts'
import { warmUp } from './warm-up.ts'

export type { BreakerSettings, BreakerState } from './breaker.ts'
export type { DownloadAnswer, DownloadOptions } from './download.ts'
export type { DeliveryAnswer, DeliveryCall, Settled } from './exchange.ts'
export type { PoolSettings } from './pool.ts'

/** How to talk to edges. */
export interface DeliverySettings {
  pool: PoolSettings
  /** `false` turns it off, `Retry-After` included. */
  breaker: BreakerSettings | false
  /** Borrowed: used for every call, never closed. */
  dispatcher?: Dispatcher | undefined
  /** Gets one line per kind of failure and interval. */
  logger: TargetLogger
}

/** State of the network, by host name and port. */
export interface DeliveryHealth {
  /** `retryIn`: ms until a call may probe the host. Empty when the breaker is off. */
  breaker: Record<string, { state: BreakerState, calls: number, failures: number, retryIn: number }>
  /** Calls on connections, calls in the queue, calls past their deadline, open sockets (0 with the app's own dispatcher). */
  pool: Record<string, { running: number, waiting: number, stragglers: number, sockets: number }>
}

/** Hosts that are kept: a visitor's location hint picks one, and there are about as many edges in the world. */
const MOST_HOSTS = 16

/** See the top of the file. */
export class Delivery {
  readonly #settings: HostSettings
  readonly #log: Log
  readonly #hosts = new Map<string, Host>()
  /** Hosts that are no longer kept, until their last call has ended. */
  readonly #leaving = new Set<Host>()
  readonly #downloads = new Set<Download>()
  #uses = 0
  #callsUnderWay = 0
  #closing = false
  #closed: Promise<void> | undefined
  #lastCallSettled: (() => void) | undefined

  constructor (settings: DeliverySettings) {
    const { pool, breaker, dispatcher, logger } = settings
    this.#settings = { pool, breaker, dispatcher, outside: new AsyncResource('FASTIFY_ADOBE_TARGET') }
    this.#log = Log.of(logger)
    if (dispatcher === undefined) warmUp()
  }

  /**
   * Sends a call. Never throws.
   *
   * @param settled a function and not a promise, since every page comes through here
   */
  send (call: DeliveryCall, settled: Settled<DeliveryAnswer>): Abortable {
    const host = this.#host(call.origin)
    if (host === undefined) {
      settled(undefined, addressFailure(call))
      return NOTHING_TO_ABORT
    }
    host.isEdge = true
    this.#callsUnderWay += 1
    const exchange = new DeliveryExchange(host, call, this.#settings.pool.maxResponseSize, this.#log, settled, this.#onSettled)
    if (this.#closed === undefined) exchange.begin()
    else exchange.close()
    return exchange
  }

  /**
   * Fetches something over the same connections: no breaker, no grace, no redirects, any status is an answer.
   *
   * Rejects with TIMEOUT, CONNECTION, INVALID_RESPONSE (over `maxSize`), INVALID_REQUEST, OVERLOAD, ABORTED or CLOSED.
   */
  get (url: string | URL, options: DownloadOptions): Promise<DownloadAnswer> {
    const target = URL.canParse(String(url)) ? new URL(url) : undefined
    const host = target && this.#host(target.origin)
    if (target === undefined || host === undefined) return Promise.reject(failure('FST_TARGET_INVALID_REQUEST', 'not an http or https URL'))
    return new Promise((resolve, reject) => {
      const download = new Download(host, target, options, (settled, answer, error) => {
        this.#downloads.delete(settled)
        if (answer === undefined) reject(error)
        else resolve(answer)
      })
      this.#downloads.add(download)
      if (this.#closed === undefined) download.begin()
      else download.close()
    })
  }

  /** A plain object, made without I/O; also after `close()`. */
  health (): DeliveryHealth {
    const now = performance.now()
    const health: DeliveryHealth = { breaker: {}, pool: {} }
    for (const host of this.#hosts.values()) {
      if (host.isEdge && host.breaker !== undefined) health.breaker[host.name] = host.breaker.report(now)
      health.pool[host.name] = host.report()
    }
    return health
  }

  /** The client is about to close: no breaker keeps notifications waiting for longer than a second. */
  beginClose (): void {
    this.#closing = true
    for (const host of this.#hosts.values()) host.breaker?.hurry(performance.now())
  }

  /**
   * Takes no more calls. Those under way end by their own deadlines at the latest, downloads and calls past their deadline
   * end now. Then closes the connections, but not those of a dispatcher that was lent. Never rejects.
   */
  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close (): Promise<void> {
    for (const download of this.#downloads) download.close()
    const hosts = [...this.#hosts.values(), ...this.#leaving]
    for (const host of hosts) host.endGrace()
    if (this.#callsUnderWay > 0) await new Promise<void>((resolve) => { this.#lastCallSettled = resolve })
    for (const host of hosts) host.close()
  }

  readonly #onSettled = (): void => {
    this.#callsUnderWay -= 1
    if (this.#callsUnderWay === 0) this.#lastCallSettled?.()
  }

  /** The host of an origin, made when it is new; `undefined` when the origin is none. */
  #host (origin: string): Host | undefined {
    let host = this.#hosts.get(origin)
    if (host === undefined) {
      if (!/^https?:\/\/[^/]+$/.test(origin) || !URL.canParse(origin)) return undefined
      host = new Host(origin, this.#settings)
      if (this.#closing) host.breaker?.hurry(performance.now())
      this.#hosts.set(origin, host)
      if (this.#hosts.size > MOST_HOSTS) this.#retireOne(host)
    }
    host.lastUse = ++this.#uses
    return host
  }

  /** Lets the host go that was not used for the longest time, an idle one before a busy one. */
  #retireOne (newest: Host): void {
    let chosen: Host | undefined
    for (const host of this.#hosts.values()) {
      if (host !== newest && (chosen === undefined || precedes(host, chosen))) chosen = host
    }
    const leaving = chosen!
    this.#hosts.delete(leaving.origin)
    this.#leaving.add(leaving)
    leaving.retire(() => this.#leaving.delete(leaving))
  }
}

const precedes = (a: Host, b: Host): boolean => a.idle === b.idle ? a.lastUse < b.lastUse : a.idle

/** A call to no address at all. */
function addressFailure ({ requestId, origin }: DeliveryCall): TargetError {
  const meta = { requestId, phase: 'request' as const, attempts: 0, elapsed: 0, host: origin }
  return failure('FST_TARGET_INVALID_REQUEST', 'the edge\'s address is no http or https origin', { meta })
}
