/**
 * Connections to one origin, on undici's `Client`. Not its `Pool`: that may put a second request on a client, which aborting
 * the first one then kills, and it drops a client whose connection failed.
 */
import type { AsyncResource } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { buildConnector, Client, type Dispatcher } from 'undici'

/** Connections to a host and the queue in front of them, each per host. */
export interface PoolSettings {
  /** Maximum number of calls on connections. */
  connections: number
  /** ms for which an idle connection is kept; a server's `Keep-Alive` can shorten it, but never extend it. */
  keepAliveTimeout: number
  /** Age in ms at which the pool is replaced by a fresh one, so that a change in DNS is noticed even under constant load. */
  maxAge: number
  /** Whether HTTP/2 is used if the server offers it. */
  allowH2: boolean
  /** Maximum size of a response in bytes. */
  maxResponseSize: number
  /** Maximum number of calls waiting for a connection; further ones are refused. */
  maxQueue: number
}

/** Maximum time to connect in ms; the call that waits for it is likely to give up earlier. */
const CONNECT_TIMEOUT = 10_000

/**
 * One connection: an undici client, which opens one socket after another. It carries one request at a time, and that request's
 * `Transfer` owns it until it calls {@link release}.
 */
export class Connection {
  readonly #pool: ConnectionPool
  readonly #client: Client
  #socket: Socket | undefined
  #destroyed = false
  /** Responses received over the current socket. With 0 it is fresh, so its failure says something about the host. */
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

  /** Whether it has a socket or is opening one. */
  get open (): boolean {
    return this.#socket?.destroyed === false
  }

  get destroyed (): boolean {
    return this.#destroyed
  }

  dispatch (request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#client.dispatch(request, handler)
  }

  /** Returns it to its pool. */
  release (): void {
    this.#pool.release(this)
  }

  /**
   * Closes it permanently; the request on it, if any, fails.
   *
   * A cancelled request takes its connection with it. If it were only aborted, undici would open another socket, which can take
   * long if the host does not answer, and the next request would have to wait for that.
   */
  destroy (reason: Error): void {
    if (this.#destroyed) return
    this.#destroyed = true
    this.#client.destroy(reason).catch(ignore)
    // A socket that is still connecting does not belong to the client yet.
    this.#socket?.destroy(reason)
  }
}

/** Opens a socket and returns it immediately, while it is connecting. */
type Connect = (...args: Parameters<buildConnector.connector>) => Socket | undefined

/**
 * Connections to one origin: one per concurrent request, whose number {@link Host} limits.
 *
 * Not undici's `Pool`. That has its own queue, in which a request cannot be cancelled; it loses a client to each request that it
 * refuses and to each failed connection; it may put two requests on one client; and its `clientTtl` hangs
 * (nodejs/undici#5144). With our queue in front of it, there is nothing left for it to do.
 */
export class ConnectionPool {
  readonly #origin: string
  readonly #options: Client.Options
  readonly #connect: Connect
  readonly #all = new Set<Connection>()
  /** The most recently used one is reused first, so that the others can time out and close. */
  readonly #idle: Connection[] = []
  #closing = false
  /** When it was created, by `performance.now()`. */
  readonly madeAt = performance.now()

  /** @param outside the async context for sockets, which outlive the request that first needs them */
  constructor (origin: string, settings: PoolSettings, outside: AsyncResource) {
    const { allowH2, keepAliveTimeout } = settings
    this.#origin = origin
    // Transfers have their own deadlines, so undici needs no timeouts.
    this.#options = { pipelining: 1, allowH2, keepAliveTimeout, keepAliveMaxTimeout: keepAliveTimeout, headersTimeout: 0, bodyTimeout: 0 }
    const connector = buildConnector({ allowH2, timeout: CONNECT_TIMEOUT })
    this.#connect = (target, callback) => {
      // undici's connector returns the socket, although its type does not say so. Without it, only CONNECT_TIMEOUT would end an
      // attempt that is no longer needed.
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

  /** Returns a connection to the pool. */
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

/** Failures reach the calls they belong to; one that belongs to none must not crash the process. */
const ignore = () => {}
