/** One host that is talked to: its pool, its queue and its breaker. */
import type { AsyncResource } from 'node:async_hooks'
import type { Dispatcher } from 'undici'
import { channels } from '../diagnostics.ts'
import { Breaker, type BreakerSettings } from './breaker.ts'
import { ConnectionPool, type Connection, type PoolSettings } from './pool.ts'

/** A call as its host sees it. */
export interface Guest {
  /** It is its turn: it is to send itself, and to {@link Host.leave} when that is over. */
  go (): void
  /** Ends what is left of it. */
  cut (): void
}

/** What all hosts of one client share. */
export interface HostSettings {
  pool: PoolSettings
  breaker: BreakerSettings | false
  /** A dispatcher that was lent: it brings its own connections, so calls do not queue here, their number is bounded. */
  dispatcher: Dispatcher | undefined
  /** The async context of what outlives a request. */
  outside: AsyncResource
}

/** See the top of the file. */
export class Host {
  readonly origin: string
  /** Host name and port. */
  readonly name: string
  readonly breaker: Breaker | undefined
  /** Whether calls of the Delivery API go there; the breaker of any other host is never asked. */
  isEdge = false
  readonly #settings: HostSettings
  /** Most calls that may go on at once, most that may wait, most that may go on past their deadline. */
  readonly #limits: { running: number, waiting: number, stragglers: number }
  readonly #waiting = new Set<Guest>()
  /** Calls that go on past their deadline, each with the timer that ends it. */
  readonly #stragglers = new Map<Guest, NodeJS.Timeout>()
  /** The present pool, and older ones whose calls have not ended. */
  readonly #pools = new Set<ConnectionPool>()
  #pool: ConnectionPool | undefined
  #running = 0
  /** Told when the host has closed; set when it is to close. */
  #onGone: (() => void) | undefined
  /** The higher, the later it was asked for. */
  lastUse = 0

  /** @throws TypeError when the origin is none */
  constructor (origin: string, settings: HostSettings) {
    const { connections, maxQueue } = settings.pool
    this.name = new URL(origin).host
    this.origin = origin
    this.#settings = settings
    this.#limits = {
      running: settings.dispatcher === undefined ? connections : connections + maxQueue,
      waiting: settings.dispatcher === undefined ? maxQueue : 0,
      // Calls that nobody waits for any more must not fill the connections of those that somebody does.
      stragglers: Math.max(1, Math.floor(connections / 4))
    }
    if (settings.breaker !== false) {
      this.breaker = new Breaker(settings.breaker, (state) => {
        if (channels.breaker.hasSubscribers) channels.breaker.publish({ host: this.name, state })
      })
    }
  }

  /** Whether no call is running or waiting. */
  get idle (): boolean {
    return this.#running === 0 && this.#waiting.size === 0
  }

  /** Lets a call in, now or when its turn comes. `false`: too many wait already. */
  enter (guest: Guest): boolean {
    if (this.#running < this.#limits.running) {
      this.#running += 1
      guest.go()
      return true
    }
    if (this.#waiting.size >= this.#limits.waiting) return false
    this.#waiting.add(guest)
    return true
  }

  /** A connection for one request; none where a dispatcher was lent. */
  connection (): Connection | undefined {
    return this.#settings.dispatcher === undefined ? this.#freshPool().give() : undefined
  }

  /** Sends a request over its connection, or with the dispatcher that was lent. It may fail at once. */
  dispatch (connection: Connection | undefined, request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    if (connection !== undefined) connection.dispatch(request, handler)
    // A copy of the headers: undici's ProxyAgent adds to them.
    else this.#settings.dispatcher?.dispatch({ ...request, headers: { ...request.headers } }, handler)
  }

  /** A call that was told to go has ended, and has given its connection back. */
  leave (guest: Guest): void {
    if (this.#stragglers.size > 0) this.#dismiss(guest)
    this.#running -= 1
    // Not at once: a call that fails as it starts leaves from within `go`, and a queue full of those would nest.
    if (this.#waiting.size > 0) queueMicrotask(this.#advance)
    this.#closeIfGone()
  }

  /** Takes a call out of the queue. `false` when it is not there. */
  forget (guest: Guest): boolean {
    const waited = this.#waiting.delete(guest)
    if (waited) this.#closeIfGone()
    return waited
  }

  /** Asks to go on past the deadline for `grace` ms, for the sake of the connection. `false`: enough do. */
  linger (guest: Guest, grace: number): boolean {
    if (this.#stragglers.size >= this.#limits.stragglers) return false
    const timer = this.#settings.outside.runInAsyncScope(setTimeout, undefined, cut, grace, guest) as NodeJS.Timeout
    this.#stragglers.set(guest, timer.unref())
    return true
  }

  /** From now on a call ends with its deadline; those that are past it end now. */
  endGrace (): void {
    this.#limits.stragglers = 0
    for (const guest of this.#stragglers.keys()) guest.cut()
  }

  /** No new calls will come: closes when those it has have ended. */
  retire (onGone: () => void): void {
    this.#onGone = onGone
    this.#closeIfGone()
  }

  /** Closes every connection, as soon as it is idle. */
  close (): void {
    for (const pool of this.#pools) pool.close()
    this.#pools.clear()
    this.#pool = undefined
  }

  /** For a health page. */
  report (): { running: number, waiting: number, stragglers: number, sockets: number } {
    let sockets = 0
    for (const pool of this.#pools) sockets += pool.sockets
    return { running: this.#running, waiting: this.#waiting.size, stragglers: this.#stragglers.size, sockets }
  }

  #closeIfGone (): void {
    if (this.#onGone === undefined || !this.idle) return
    this.close()
    this.#onGone()
  }

  #dismiss (guest: Guest): void {
    clearTimeout(this.#stragglers.get(guest))
    this.#stragglers.delete(guest)
  }

  readonly #advance = (): void => {
    for (const guest of this.#waiting) {
      if (this.#running >= this.#limits.running) return
      this.#waiting.delete(guest)
      this.#running += 1
      guest.go()
    }
  }

  /** The pool, replaced as a whole when it is too old: name lookup and TLS start over, running calls end where they are. */
  #freshPool (): ConnectionPool {
    const old = this.#pool
    if (old !== undefined && performance.now() - old.madeAt < this.#settings.pool.maxAge) return old
    old?.close()
    for (const pool of this.#pools) if (pool.empty) this.#pools.delete(pool)
    this.#pool = new ConnectionPool(this.origin, this.#settings.pool, this.#settings.outside)
    this.#pools.add(this.#pool)
    return this.#pool
  }
}

const cut = (guest: Guest) => guest.cut()
