/** Connections to one origin: undici's pool, and what has to be known about each connection beyond what undici tells. */
import type { AsyncResource } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { buildConnector, Client, Pool, type Dispatcher } from 'undici'

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

/** Time to connect, in ms, where no call is left to give up on it. */
const CONNECT_TIMEOUT = 10_000

/** The connection of one undici `Client`: sockets one after the other. */
export class Connection {
  readonly #connector: buildConnector.connector
  readonly #sockets: Set<Socket>
  readonly #outside: AsyncResource
  #connecting: Socket | undefined
  /** Answers that came over the present socket. With none it is fresh: its failure says something about the host. */
  served = 0

  constructor (connector: buildConnector.connector, sockets: Set<Socket>, outside: AsyncResource) {
    this.#connector = connector
    this.#sockets = sockets
    this.#outside = outside
  }

  /** Opens the next socket; not in the async context of the request that happens to need one, since it outlives that. */
  readonly connect: buildConnector.connector = (options, callback) => {
    this.served = 0
    // undici's connector returns the socket that is connecting, although its type does not say so. Without it a call
    // that gives up could not take its half-open connection along, and CONNECT_TIMEOUT would have to end it.
    const socket: unknown = this.#outside.runInAsyncScope(this.#connector, undefined, options, (...result: Parameters<buildConnector.Callback>) => {
      this.#connecting = undefined
      callback(...result)
    })
    if (!(socket instanceof Socket)) return
    this.#connecting = socket
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  /** Ends an attempt to connect, if there is one. */
  cancel (reason: Error): void {
    this.#connecting?.destroy(reason)
  }
}

/** A request to a {@link ConnectionPool}. */
export interface PooledRequest extends Dispatcher.DispatchOptions {
  /**
   * Who sent it, and is told which connection the pool chose: undici carries one request at a time on each, so it is this
   * request's own until it has `left`.
   */
  sender: { connection: Connection | undefined, readonly left: boolean }
}

/** A client of undici's that tells a request which connection it is on. */
class ConnectedClient extends Client {
  readonly #connection: Connection

  constructor (origin: URL, options: Client.Options, connection: Connection) {
    super(origin, { ...options, connect: connection.connect })
    this.#connection = connection
  }

  override dispatch (request: PooledRequest, handler: Dispatcher.DispatchHandler): boolean {
    request.sender.connection = this.#connection
    // `false` tells the pool to wait until this client has drained. That never comes after a request that was refused
    // at once, for a bad path say: such a request would cost the pool this client.
    return super.dispatch(request, handler) || request.sender.left
  }
}

/** A pool of connections to one origin. */
export class ConnectionPool {
  readonly #pool: Pool
  readonly #sockets = new Set<Socket>()
  /** When it was made, in ms of `performance.now()`. */
  readonly madeAt = performance.now()

  /** @param outside the async context in which sockets live */
  constructor (origin: string, settings: PoolSettings, outside: AsyncResource) {
    const connector = buildConnector({ allowH2: settings.allowH2, timeout: CONNECT_TIMEOUT })
    // undici's `clientTtl` would replace connections one by one, but hangs at the cap (nodejs/undici#5144): see Host.
    this.#pool = new Pool(origin, {
      connections: settings.connections,
      pipelining: 1,
      allowH2: settings.allowH2,
      keepAliveTimeout: settings.keepAliveTimeout,
      keepAliveMaxTimeout: settings.keepAliveTimeout,
      factory: (url, options) => new ConnectedClient(url, options, new Connection(connector, this.#sockets, outside))
    })
    const emitter: EventEmitter = this.#pool
    emitter.on('error', ignore)
  }

  /** Sockets that are open or being opened. */
  get sockets (): number {
    return this.#sockets.size
  }

  dispatch (request: PooledRequest, handler: Dispatcher.DispatchHandler): void {
    this.#pool.dispatch(request, handler)
  }

  /** Takes no more calls, lets those it has end, then closes its sockets. Never rejects. */
  async close (): Promise<void> {
    await this.#pool.close().catch(ignore)
    await this.destroy()
  }

  /** Closes at once, with whatever is going on. Never rejects. */
  async destroy (): Promise<void> {
    await this.#pool.destroy().catch(ignore)
    // A client that once failed to connect is no longer in undici's pool, which then does not close it.
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** Every failure reaches the call it belongs to; one that belongs to none must not end the process. */
const ignore = () => {}
