/**
 * The network: one object per client, which keeps the hosts it talks to and sends calls to them.
 *
 * The path of a call: `Delivery.send`, the host's breaker, its queue (`host.ts`), its connections (`pool.ts`), the deadline,
 * retry and grace of one transfer (`transfer.ts`), and the interpretation of the response (`exchange.ts`).
 */
import { AsyncResource } from 'node:async_hooks'
import type { buildConnector, Dispatcher } from 'undici'
import { Log, type TargetLogger } from '../diagnostics.ts'
import { failure, type TargetError } from '../errors.ts'
import { NOTHING_TO_ABORT, type Abortable } from './abort-listeners.ts'
import type { Breaker, BreakerSettings } from './breaker.ts'
import { Download, redirectOf, type DownloadAnswer, type DownloadOptions } from './download.ts'
import { DeliveryExchange, type DeliveryAnswer, type DeliveryCall, type Settled } from './exchange.ts'
import { Host, type HostSettings } from './host.ts'
import type { PoolSettings } from './pool.ts'
import { loadedUndici, loadUndici } from './undici.ts'

export type { BreakerKind, BreakerReport, BreakerSettings, BreakerState } from './breaker.ts'
export type { DownloadAnswer, DownloadOptions } from './download.ts'
export type { DeliveryAnswer, DeliveryCall, Settled } from './exchange.ts'
export type { PoolSettings } from './pool.ts'

/** How to talk to edges. */
export interface DeliverySettings {
  pool: PoolSettings
  /** `false` turns it off, `Retry-After` included. */
  breaker: BreakerSettings | false
  /** The app's own: used for every call, never closed. */
  dispatcher?: Dispatcher | undefined
  /** Connects the warm-up's calls, in place of undici's own connector. They are not published. */
  warmUpConnector?: buildConnector.connector | undefined
  /** Receives one line per kind of failure and interval. */
  logger: TargetLogger
}

/** State of the network, by host name and port. */
export interface DeliveryHealth {
  /** State for calls of pages; `notifications` if theirs is not closed. Empty if the breaker is off. */
  breaker: Record<string, ReturnType<Breaker['report']>>
  /** Calls on connections, calls in the queue, calls past their deadline, open sockets (0 with the app's own dispatcher). */
  pool: Record<string, { running: number, waiting: number, stragglers: number, sockets: number }>
}

/** Maximum number of hosts kept: a visitor's location hint picks one, and there are about as many edges in the world. */
const MAX_HOSTS = 16

/** Maximum time in ms for which {@link Delivery.preconnect} holds the start. */
const PATIENCE = 500

/** The same limit as in `fetch`. */
const MAX_REDIRECTS = 20

let hasSent = false

/** Whether any client of this process has sent a call. */
export const hasSentCalls = (): boolean => hasSent

/** The network of one client: its hosts, and the calls and downloads that are running. */
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
    const { pool, breaker, dispatcher, warmUpConnector, logger } = settings
    this.#settings = { pool, breaker, dispatcher, warmUpConnector, outside: new AsyncResource('FASTIFY_ADOBE_TARGET') }
    this.#log = Log.of(logger)
  }

  /**
   * Sends a call. Never throws.
   *
   * @param settled a function and not a promise, since every page comes through here
   */
  send (call: DeliveryCall, settled: Settled<DeliveryAnswer>): Abortable {
    hasSent = true
    const host = this.#host(call.origin)
    if (host === undefined) {
      settled(undefined, addressFailure(call))
      return NOTHING_TO_ABORT
    }
    host.isEdge = true
    this.#callsUnderWay += 1
    const exchange = new DeliveryExchange(host, call, this.#settings.pool.maxResponseSize, this.#log, settled, this.#onSettled)
    this.#begin(exchange)
    return exchange
  }

  /**
   * Fetches something over the same connections: no breaker, no grace, any status resolves. Redirects are followed as by
   * `fetch`, but never from https to http.
   *
   * Rejects with TIMEOUT, CONNECTION, INVALID_RESPONSE (over `maxSize`, or a redirect that is not followed), INVALID_REQUEST,
   * OVERLOAD, ABORTED or CLOSED.
   */
  async get (url: string | URL, options: DownloadOptions): Promise<DownloadAnswer> {
    if (!URL.canParse(String(url))) throw failure('FST_TARGET_INVALID_REQUEST', 'not an http(s) URL')
    const deadline = performance.now() + options.timeout
    let target = new URL(url)
    let answer = await this.#download(target, options)
    for (let redirects = 1; ; redirects++) {
      const next = options.form === undefined ? redirectOf(answer, target) : undefined
      if (next === undefined) return answer
      if (redirects > MAX_REDIRECTS) throw failure('FST_TARGET_INVALID_RESPONSE', `more than ${MAX_REDIRECTS} redirects`)
      target = next
      answer = await this.#download(target, { ...options, timeout: deadline - performance.now() })
    }
  }

  /** Begins a transfer once undici has loaded. */
  #begin (transfer: DeliveryExchange | Download): void {
    if (this.#closed !== undefined) transfer.close()
    else if (this.#settings.dispatcher !== undefined || loadedUndici() !== undefined) transfer.begin()
    else loadUndici().then(() => { if (!transfer.isSettled) this.#begin(transfer) }, (cause) => transfer.cannotBegin(cause))
  }

  #download (target: URL, options: DownloadOptions): Promise<DownloadAnswer> {
    const host = this.#host(target.origin)
    if (host === undefined) return Promise.reject(failure('FST_TARGET_INVALID_REQUEST', 'not an http(s) URL'))
    return new Promise((resolve, reject) => {
      const download = new Download(host, target, options, (settled, answer, error) => {
        this.#downloads.delete(settled)
        if (answer === undefined) reject(error)
        else resolve(answer)
      })
      this.#downloads.add(download)
      this.#begin(download)
    })
  }

  /**
   * Opens connections to an edge before its first call, and sends nothing. Resolves when they are open or have failed, at the
   * latest after `patience` ms, at most 500; what is not open then opens in the background. Never rejects. Does nothing with the
   * app's own dispatcher.
   */
  async preconnect (origin: string, count: number, patience = PATIENCE): Promise<void> {
    if (count === 0 || this.#settings.dispatcher !== undefined || this.#closed !== undefined) return
    const host = this.#host(origin)
    if (host === undefined) return
    const failed = (err: unknown) => { if (this.#closed === undefined) this.#log.debug(`no connection to ${host.name} before the first call`, { err }) }
    try {
      await loadUndici()
    } catch (err) {
      return failed(err)
    }
    let timer: NodeJS.Timeout | undefined
    const enough = new Promise<void>((resolve) => { timer = setTimeout(resolve, Math.min(PATIENCE, patience)) })
    await Promise.race([enough, host.preconnect(count).then((outcomes) => {
      const rejected = outcomes.find((outcome) => outcome.status === 'rejected')
      if (rejected !== undefined) failed(rejected.reason)
    })])
    clearTimeout(timer)
  }

  /** A plain object, made without I/O; works even after `close()`. */
  health (): DeliveryHealth {
    const now = performance.now()
    const health: DeliveryHealth = { breaker: {}, pool: {} }
    for (const host of this.#hosts.values()) {
      if (host.isEdge && host.breaker !== undefined) health.breaker[host.name] = host.breaker.report(now)
      health.pool[host.name] = host.report()
    }
    return health
  }

  /** Prepares for closing: from now on no breaker makes notifications wait longer than a second. */
  beginClose (): void {
    this.#closing = true
    for (const host of this.#hosts.values()) host.breaker?.limitPauses(performance.now())
  }

  /**
   * Accepts no more calls. Calls in flight end by their own deadlines at the latest; downloads and calls past their deadline
   * end now. Then closes the connections, except those of the app's own dispatcher. Never rejects.
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

  /** The host of an origin, created if new; `undefined` if it is not an http(s) origin. */
  #host (origin: string): Host | undefined {
    let host = this.#hosts.get(origin)
    if (host === undefined) {
      if (!/^https?:\/\/[^/]+$/.test(origin) || !URL.canParse(origin)) return undefined
      host = new Host(origin, this.#settings)
      if (this.#closing) host.breaker?.limitPauses(performance.now())
      this.#hosts.set(origin, host)
      if (this.#hosts.size > MAX_HOSTS) this.#retireOne(host)
    }
    host.lastUse = ++this.#uses
    return host
  }

  /** Retires the least recently used host, an idle one before a busy one. */
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

/** The error of a call without a valid address. */
function addressFailure ({ requestId, origin }: DeliveryCall): TargetError {
  const meta = { requestId, phase: 'request' as const, attempts: 0, elapsed: 0, host: origin }
  return failure('FST_TARGET_INVALID_REQUEST', `not an http(s) origin: ${origin}`, { meta })
}
