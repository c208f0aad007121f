/**
 * Connections to one origin, on undici's `Client`. Not its `Pool`: that may put a second request on a client, which aborting
 * the first one then kills, and it drops a client whose connection failed.
 */
import type { AsyncResource } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import type { buildConnector, Client, Dispatcher } from 'undici'
import type { ResponseHandler } from './response-handler.ts'
import { loadedUndici } from './undici.ts'

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

/** What a pool needs of its client. */
export interface ConnectionPoolSettings {
  pool: PoolSettings
  /** In place of undici's own connector. */
  warmUpConnector: buildConnector.connector | undefined
  /** The async context of whatever outlives a request, such as a socket. */
  outside: AsyncResource
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
  readonly #connect: Connect
  readonly #keepAliveTimeout: number
  /** A socket that was opened ahead, until the first request takes it. */
  #ahead: Socket | undefined
  /**
   * Whether the current socket was open before the current request, so that it can have died in between. The failure of a
   * fresh one says something about the host.
   */
  isReused = false

  constructor (pool: ConnectionPool, origin: string, options: ConnectionOptions, connect: Connect, outside: AsyncResource) {
    this.#pool = pool
    this.#connect = connect
    this.#keepAliveTimeout = options.keepAliveTimeout
    this.#client = new (loadedUndici()!.Client)(origin, {
      ...options,
      connect: (target, callback) => {
        const ahead = this.#ahead
        this.#ahead = undefined
        this.isReused = false
        if (ahead === undefined) this.#open(target, callback)
        // As undici does before it reuses a socket: its end, if that has arrived, is noticed first.
        else outside.runInAsyncScope(setImmediate, undefined, () => this.#take(ahead, target, callback))
      }
    })
    const emitter: EventEmitter = this.#client
    emitter.on('error', ignore)
  }

  #open (target: buildConnector.Options, callback: buildConnector.Callback): Socket | undefined {
    const socket = this.#connect(target, callback)
    this.#socket = socket
    // Drop the reference: this connection can sit idle long after its socket has closed.
    socket?.once('close', () => { if (this.#socket === socket) this.#socket = undefined })
    return socket
  }

  /**
   * Opens a socket for the first request, and sends nothing. As with undici's own idle sockets, it is closed after
   * `keepAliveTimeout`, and the process may end meanwhile.
   *
   * @param done called once, with an error if it cannot be opened
   */
  openAhead (target: buildConnector.Options, done: (error: Error | null) => void): void {
    this.#open(target, (error, socket) => {
      if (error === null) this.#ahead = socket.unref().setTimeout(this.#keepAliveTimeout, closeIdle)
      done(error)
    })?.unref()
  }

  /** Gives undici the socket that was opened ahead, or another one if that has ended. */
  #take (ahead: Socket, target: buildConnector.Options, callback: buildConnector.Callback): void {
    if (this.#destroyed) return callback(CLOSED, null)
    if (ahead.readable && ahead.writable) {
      this.isReused = true
      callback(null, ahead.setTimeout(0, closeIdle).ref())
    } else {
      this.#open(target, callback)
    }
  }

  /** Whether it has a socket or is opening one. */
  get open (): boolean {
    return this.#socket?.destroyed === false
  }

  get destroyed (): boolean {
    return this.#destroyed
  }

  dispatch (request: Dispatcher.DispatchOptions, handler: ResponseHandler): void {
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

function closeIdle (this: Socket): void {
  this.destroy()
}

/** Options of undici's client, those of every pool. */
type ConnectionOptions = Client.Options & { keepAliveTimeout: number }

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
  readonly #options: ConnectionOptions
  readonly #connect: Connect
  readonly #outside: AsyncResource
  readonly #all = new Set<Connection>()
  /** The most recently used one is reused first, so that the others can time out and close. */
  readonly #idle: Connection[] = []
  /** Those whose sockets are being opened ahead. */
  readonly #opening = new Set<Connection>()
  #closing = false
  /** When it was created, by `performance.now()`. */
  readonly madeAt = performance.now()

  constructor (origin: string, { pool: { allowH2, keepAliveTimeout }, warmUpConnector, outside }: ConnectionPoolSettings) {
    this.#origin = origin
    this.#outside = outside
    // Transfers have their own deadlines, so undici needs no timeouts.
    this.#options = { pipelining: 1, allowH2, keepAliveTimeout, keepAliveMaxTimeout: keepAliveTimeout, headersTimeout: 0, bodyTimeout: 0 }
    const connector = warmUpConnector ?? loadedUndici()!.buildConnector({ allowH2, timeout: CONNECT_TIMEOUT })
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
    return this.#idle.pop() ?? this.#add()
  }

  #add (): Connection {
    const connection = new Connection(this, this.#origin, this.#options, this.#connect, this.#outside)
    this.#all.add(connection)
    return connection
  }

  /** Opens a connection before there is a request for it. Rejects if it cannot be opened. */
  preconnect (): Promise<void> {
    const { protocol, host, hostname, port } = new URL(this.#origin)
    const connection = this.#add()
    this.#opening.add(connection)
    return new Promise((resolve, reject) => {
      // As undici does it: an IPv6 address without its brackets.
      connection.openAhead({ protocol, host, hostname: hostname.replace(/^\[|\]$/g, ''), port }, (error) => {
        this.#opening.delete(connection)
        if (error === null) {
          // The oldest is used first: a server that is still accepting them reads calls in the order in which they were sent.
          this.#idle.unshift(connection)
          return resolve()
        }
        connection.destroy(error)
        this.release(connection)
        reject(error)
      })
    })
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
    for (const connection of this.#opening) connection.destroy(CLOSED)
  }
}

const CLOSED = new Error('The pool is closed')

/** Failures reach the calls they belong to; one that belongs to none must not crash the process. */
const ignore = () => {}
