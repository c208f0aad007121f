/** One remote host: its connection pool, its queue and its circuit breaker. */
import type { AsyncResource } from 'node:async_hooks'
import type { Dispatcher } from 'undici'
import { channels } from '../diagnostics.ts'
import { Breaker, type BreakerSettings } from './breaker.ts'
import { ConnectionPool, type Connection, type ConnectionPoolSettings } from './pool.ts'
import { DispatcherHandler, type ResponseHandler } from './response-handler.ts'

/** A call as its host sees it. */
export interface QueuedCall {
  /** A background call never queues, and no page waits for it. */
  readonly background: boolean
  /** The async context of the page that made the call; a call that had to queue is sent in it. */
  readonly scope: AsyncResource
  /** Sends the call, which must {@link Host.release} its slot when it has ended. */
  run (): void
  /** Ends whatever is left of the call. */
  cancel (): void
}

/** Settings shared by all hosts of one client. */
export interface HostSettings extends ConnectionPoolSettings {
  breaker: BreakerSettings | false
  /** The app's own dispatcher. It manages its connections, so calls do not queue here; only their number is limited. */
  dispatcher: Dispatcher | undefined
}

/** One remote host: its connection pool, its queue and its circuit breaker. */
export class Host {
  readonly origin: string
  /** Host name and port. */
  readonly name: string
  readonly breaker: Breaker | undefined
  /** Whether its calls are published on the channels. */
  readonly isPublished: boolean
  /** Whether Delivery API calls go there; downloads never consult a breaker. */
  isEdge = false
  readonly #settings: HostSettings
  /** Maximum number of calls running, waiting, and running past their deadline. */
  readonly #limits: { running: number, waiting: number, stragglers: number }
  readonly #waiting = new Set<QueuedCall>()
  /** Calls running past their deadline, each with the timer that ends it. */
  readonly #stragglers = new Map<QueuedCall, NodeJS.Timeout>()
  /** The current pool, and older ones whose calls have not ended. */
  readonly #pools = new Set<ConnectionPool>()
  #pool: ConnectionPool | undefined
  #running = 0
  /** Background calls on connections. */
  #background = 0
  /** Called once the host has closed; set when it is to close. */
  #onClosed: (() => void) | undefined
  /** Sequence number of the last use. */
  lastUse = 0

  /** @throws TypeError when the origin is not a URL */
  constructor (origin: string, settings: HostSettings) {
    const { connections, maxQueue } = settings.pool
    this.name = new URL(origin).host
    this.origin = origin
    this.isPublished = settings.warmUpConnector === undefined
    this.#settings = settings
    this.#limits = {
      running: settings.dispatcher === undefined ? connections : connections + maxQueue,
      waiting: settings.dispatcher === undefined ? maxQueue : 0,
      // Calls whose result is no longer needed must not use up the connections of others.
      stragglers: Math.max(1, Math.floor(connections / 4))
    }
    if (settings.breaker !== false) {
      this.breaker = new Breaker(settings.breaker, (state, kind) => {
        if (channels.breaker.hasSubscribers) channels.breaker.publish({ host: this.name, state, kind })
      })
    }
  }

  /** Whether no call is running or waiting. */
  get idle (): boolean {
    return this.#running === 0 && this.#background === 0 && this.#waiting.size === 0
  }

  /** Runs a call now, or queues it. Returns `false` if the queue is full. */
  enqueue (call: QueuedCall): boolean {
    if (call.background) {
      this.#background += 1
      call.run()
      return true
    }
    if (this.#running < this.#limits.running) {
      this.#running += 1
      call.run()
      return true
    }
    if (this.#waiting.size >= this.#limits.waiting) return false
    this.#waiting.add(call)
    return true
  }

  /** A connection for one request; `undefined` with the app's own dispatcher. */
  acquire (): Connection | undefined {
    return this.#settings.dispatcher === undefined ? this.#currentPool().acquire() : undefined
  }

  /** Opens connections before there are calls for them. Never rejects. */
  preconnect (count: number): Promise<PromiseSettledResult<void>[]> {
    const pool = this.#currentPool()
    return Promise.allSettled(Array.from({ length: Math.min(count, this.#settings.pool.connections) }, () => pool.preconnect()))
  }

  /** Sends a request over its connection, or with the app's own dispatcher. The handler may be called before this returns. */
  dispatch (connection: Connection | undefined, request: Dispatcher.DispatchOptions, handler: ResponseHandler): void {
    if (connection !== undefined) connection.dispatch(request, handler)
    // A copy of the headers: undici's ProxyAgent adds to them.
    else this.#settings.dispatcher?.dispatch({ ...request, headers: { ...request.headers } }, new DispatcherHandler(handler))
  }

  /** Frees the slot of a call that has ended and has released its connection. */
  release (call: QueuedCall): void {
    if (this.#stragglers.size > 0) this.#forgetStraggler(call)
    if (call.background) this.#background -= 1
    else this.#running -= 1
    // Deferred: a call that fails immediately gets here from within `run`, and a queue full of such calls would recurse.
    if (this.#waiting.size > 0) queueMicrotask(this.#advance)
    this.#closeIfDone()
  }

  /** Removes a call from the queue. Returns `false` if it was not queued. */
  dequeue (call: QueuedCall): boolean {
    const queued = this.#waiting.delete(call)
    if (queued) this.#closeIfDone()
    return queued
  }

  /**
   * Lets a call run past its deadline for up to `grace` ms, to keep its connection. Returns `false` if too many already do.
   */
  extend (call: QueuedCall, grace: number): boolean {
    if (this.#stragglers.size >= this.#limits.stragglers) return false
    const timer = this.#settings.outside.runInAsyncScope(setTimeout, undefined, cancel, grace, call) as NodeJS.Timeout
    this.#stragglers.set(call, timer.unref())
    return true
  }

  /** Ends grace periods: from now on calls end at their deadline, and those past it end now. */
  endGrace (): void {
    this.#limits.stragglers = 0
    for (const call of this.#stragglers.keys()) call.cancel()
  }

  /** Closes once its calls have ended; no new ones will come. */
  retire (onClosed: () => void): void {
    this.#onClosed = onClosed
    this.#closeIfDone()
  }

  /** Closes every connection as soon as it is idle. */
  close (): void {
    for (const pool of this.#pools) pool.close()
    this.#pools.clear()
    this.#pool = undefined
  }

  /** Figures for `health()`. */
  report (): { running: number, waiting: number, stragglers: number, sockets: number } {
    let sockets = 0
    for (const pool of this.#pools) sockets += pool.sockets
    return { running: this.#running + this.#background, waiting: this.#waiting.size, stragglers: this.#stragglers.size, sockets }
  }

  #closeIfDone (): void {
    if (this.#onClosed === undefined || !this.idle) return
    this.close()
    this.#onClosed()
  }

  #forgetStraggler (call: QueuedCall): void {
    clearTimeout(this.#stragglers.get(call))
    this.#stragglers.delete(call)
  }

  /** Runs queued calls, each in its page's async context rather than in that of the call that freed the slot. */
  readonly #advance = (): void => {
    for (const call of this.#waiting) {
      if (this.#running >= this.#limits.running) return
      this.#waiting.delete(call)
      this.#running += 1
      call.scope.runInAsyncScope(call.run, call)
    }
  }

  /** The pool, replaced once too old, for fresh DNS lookups and TLS sessions; running calls stay on the old one. */
  #currentPool (): ConnectionPool {
    const old = this.#pool
    if (old !== undefined && performance.now() - old.madeAt < this.#settings.pool.maxAge) return old
    old?.close()
    for (const pool of this.#pools) if (pool.empty) this.#pools.delete(pool)
    this.#pool = new ConnectionPool(this.origin, this.#settings)
    this.#pools.add(this.#pool)
    return this.#pool
  }
}

const cancel = (call: QueuedCall) => call.cancel()
