/**
 * Connections to one origin, on undici's `Client`. Not its `Pool`: that may put a second request on a client, which the abort
 * of the first then kills, and a client whose connection failed leaves its list.
 */
import type { AsyncResource } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { buildConnector, Client, type Dispatcher } from 'undici'

/** Connections to a host and the queue before them; each per host. */
export interface PoolSettings {
  /** Calls that may be on connections at once. */
  connections: number
  /** Time an idle connection is kept, in ms; a server's `Keep-Alive` can shorten it, never prolong it. */
  keepAliveTimeout: number
  /** Age at which the pool is replaced by a fresh one, in ms, so that a change in DNS is noticed under constant load too. */
  maxAge: number
  /** Whether HTTP/2 is used where the server offers it. */
  allowH2: boolean
  /** Largest answer, in bytes. */
  maxResponseSize: number
  /** Calls that may wait for a connection; one more is refused. */
  maxQueue: number
}

/** Most time to connect, in ms; the call that waits for it is likely to give up before. */
const CONNECT_TIMEOUT = 10_000

/**
 * One connection: a client of undici's, which opens one socket after the other. It carries one request at a time, and that
 * request's `Transfer` owns it until it calls {@link release}.
 */
export class Connection {
  readonly #pool: ConnectionPool
  readonly #client: Client
  #socket: Socket | undefined
  #destroyed = false
  /** Answers that came over the present socket. With none it is fresh: its failure says something about the host. */
  served = 0

  constructor (pool: ConnectionPool, origin: string, options: Client.Options, connect: Connect) {
    this.#pool = pool
    this.#client = new Client(origin, {
      ...options,
      connect: (target, callback) => {
        this.served = 0
        const socket = connect(target, callback)
        this.#socket = socket
        // Drop the reference: this connection can sit idle long after its socket has closed.
        socket?.once('close', () => { if (this.#socket === socket) this.#socket = undefined })
      }
    })
    const emitter: EventEmitter = this.#client
    emitter.on('error', ignore)
  }

  /** Whether it has a socket, or is opening one. */
  get open (): boolean {
    return this.#socket?.destroyed === false
  }

  get destroyed (): boolean {
    return this.#destroyed
  }

  dispatch (request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#client.dispatch(request, handler)
  }

  /** Gives it back to its pool. */
  release (): void {
    this.#pool.release(this)
  }

  /**
   * Closes it for good; the request on it, if any, fails.
   *
   * A request that is given up takes its connection with it. If it were only aborted, undici would open another socket for
   * it, which can take long where the host does not answer, and the next request would have to wait for that.
   */
  destroy (reason: Error): void {
    if (this.#destroyed) return
    this.#destroyed = true
    this.#client.destroy(reason).catch(ignore)
    // A socket that is still connecting is not the client's yet.
    this.#socket?.destroy(reason)
  }
}

/** Opens a socket and returns it at once, while it is connecting. */
type Connect = (...args: Parameters<buildConnector.connector>) => Socket | undefined

/**
 * Connections to one origin: as many as there are requests at one time, which {@link Host} limits.
 *
 * Not undici's `Pool`. That has a queue of its own, in which a request cannot be given up; it loses a client to a request
 * that it refuses, and one to each failure to connect; it may put two requests on one client; and its `clientTtl` hangs
 * (nodejs/undici#5144). With the queue in front of it, there is nothing left for it to do.
 */
export class ConnectionPool {
  readonly #origin: string
  readonly #options: Client.Options
  readonly #connect: Connect
  readonly #all = new Set<Connection>()
  /** The last one used is used first: the others may grow old and close. */
  readonly #idle: Connection[] = []
  #closing = false
  /** When it was made, in ms of `performance.now()`. */
  readonly madeAt = performance.now()

  /** @param outside the async context for sockets, which outlive the request that happens to need them first */
  constructor (origin: string, settings: PoolSettings, outside: AsyncResource) {
    const { allowH2, keepAliveTimeout } = settings
    this.#origin = origin
    // A transfer has a deadline of its own, so undici needs to watch no request.
    this.#options = { pipelining: 1, allowH2, keepAliveTimeout, keepAliveMaxTimeout: keepAliveTimeout, headersTimeout: 0, bodyTimeout: 0 }
    const connector = buildConnector({ allowH2, timeout: CONNECT_TIMEOUT })
    this.#connect = (target, callback) => {
      // undici's connector returns the socket, although its type does not say so. Without it CONNECT_TIMEOUT would have to
      // end an attempt that nobody waits for any more.
      const socket: unknown = outside.runInAsyncScope(connector, undefined, target, callback)
      return socket instanceof Socket ? socket : undefined
    }
  }

  /** Whether all its connections are gone. */
  get empty (): boolean {
    return this.#all.size === 0
  }

  /** Sockets that are open or being opened. */
  get sockets (): number {
    let sockets = 0
    for (const connection of this.#all) if (connection.open) sockets += 1
    return sockets
  }

  /** A connection for one request. */
  acquire (): Connection {
    const idle = this.#idle.pop()
    if (idle !== undefined) return idle
    const connection = new Connection(this, this.#origin, this.#options, this.#connect)
    this.#all.add(connection)
    return connection
  }

  /** Takes a connection back. */
  release (connection: Connection): void {
    if (this.#closing) connection.destroy(CLOSED)
    if (connection.destroyed) this.#all.delete(connection)
    else this.#idle.push(connection)
  }

  /** Closes every connection, as soon as it is idle. */
  close (): void {
    this.#closing = true
    for (const connection of this.#idle.splice(0)) this.release(connection)
  }
}

const CLOSED = new Error('The pool is closed')

/** Every failure reaches the call it belongs to; one that belongs to none must not end the process. */
const ignore = () => {}
