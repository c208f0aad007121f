/**
 * State that a plugin instance keeps on each request. All of it is created on demand, and released with the request.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Visitor, type VisitorSettings } from '../visitor/visitor.ts'
import { RequestCalls, type RequestCallsSettings } from './calls.ts'
import { OUTSIDE, type Route, type Routes } from './routes.ts'
import { RequestTarget, type RequestTargetSettings } from './target.ts'

/** Requests have the symbols of each instance. */
type Decorated = FastifyRequest & Record<symbol, unknown>

/** A visitor, and whether the cookies were written: only once, by the first instance. */
export interface SharedVisitor {
  readonly visitor: Visitor
  written: boolean
}

/** Shared by all requests of a plugin instance. */
export interface RequestStateSettings extends RequestCallsSettings, RequestTargetSettings {
  /** Name of the decorator. */
  decorator: string
  /** Target client code. */
  clientCode: string
  identity: VisitorSettings
  /** Called for `request.target.writeCookies()`. */
  onWriteCookies (request: FastifyRequest, reply: FastifyReply): void
}

/** The state of the requests of one plugin instance. */
export class RequestState {
  readonly #settings: RequestStateSettings
  readonly #routes: Routes
  readonly #REPLY: symbol
  readonly #ARRIVAL: symbol
  readonly #ROUTE: symbol
  readonly #CALLS: symbol
  readonly #TARGET: symbol
  readonly #VISITOR: symbol

  constructor (settings: RequestStateSettings, routes: Routes) {
    this.#settings = settings
    this.#routes = routes
    const symbol = (name: string) => Symbol(`fastify-adobe-target:${settings.decorator}:${name}`)
    this.#REPLY = symbol('reply')
    this.#ARRIVAL = symbol('arrival')
    this.#ROUTE = symbol('route')
    this.#CALLS = symbol('calls')
    this.#TARGET = symbol('target')
    // Shared by all instances of the plugin with the same client code: one person has one session.
    this.#VISITOR = Symbol.for(`fastify-adobe-target:visitor:${settings.clientCode}`)
  }

  /** Decorates the app's requests, so that they keep their shape. */
  decorate (app: FastifyInstance): void {
    for (const symbol of [this.#REPLY, this.#ROUTE, this.#CALLS, this.#TARGET, this.#VISITOR]) {
      if (!app.hasRequestDecorator(symbol)) app.decorateRequest(symbol, null)
    }
    app.decorateRequest(this.#ARRIVAL, 0)
  }

  /**
   * Keeps values that are known only in a hook. The plugin's `onRequest` hook does not run for a request that an earlier hook
   * refuses, and such a hook or an error handler may still need offers.
   */
  arrive (request: FastifyRequest, reply: FastifyReply): void {
    const decorated = request as Decorated
    if (decorated[this.#REPLY] !== null) return
    decorated[this.#REPLY] = reply
    decorated[this.#ARRIVAL] = performance.now() - reply.elapsedTime
    const calls = this.existing(request)
    if (calls !== undefined) calls.arrive(reply, decorated[this.#ARRIVAL] as number)
  }

  /** The route of a request, kept from the start: `callNotFound()` makes the request a 404, while the reply stays the route's. */
  route (request: FastifyRequest): Route {
    const decorated = request as Decorated
    return (decorated[this.#ROUTE] ??= this.#routes.of(request)) as Route
  }

  /** The visitor of a request. */
  visitor (request: FastifyRequest): SharedVisitor {
    const decorated = request as Decorated
    return (decorated[this.#VISITOR] ??= { visitor: new Visitor(this.#settings.identity, request.headers.cookie), written: false }) as SharedVisitor
  }

  /** The calls of a request, if anything has needed them. */
  existing (request: FastifyRequest): RequestCalls | undefined {
    return ((request as Decorated)[this.#CALLS] ?? undefined) as RequestCalls | undefined
  }

  /** The calls of a request. */
  calls (request: FastifyRequest): RequestCalls {
    const decorated = request as Decorated
    const known = decorated[this.#CALLS]
    if (known !== null) return known as RequestCalls
    const calls = new RequestCalls(this.#settings, request, this.route(request), this.visitor(request).visitor)
    decorated[this.#CALLS] = calls
    const reply = decorated[this.#REPLY]
    if (reply !== null) calls.arrive(reply as FastifyReply, decorated[this.#ARRIVAL] as number)
    return calls
  }

  /** Writes the visitor's cookies to the raw response now. */
  writeCookies (request: FastifyRequest): void {
    const reply = (request as Decorated)[this.#REPLY]
    if (reply !== null) this.#settings.onWriteCookies(request, reply as FastifyReply)
  }

  /** `request.target`. */
  target (request: FastifyRequest): RequestTarget {
    const decorated = request as Decorated
    return (decorated[this.#TARGET] ??= new RequestTarget(this.#settings, this.calls(request), () => this.writeCookies(request))) as RequestTarget
  }

  /** `request.target` of a request outside the plugin's scope: nothing starts, and every read has its fallback. */
  outside (request: FastifyRequest): RequestTarget {
    const decorated = request as Decorated
    return (decorated[this.#TARGET] ??= new RequestTarget(this.#settings, new RequestCalls(this.#settings, request, OUTSIDE, this.visitor(request).visitor), () => {})) as RequestTarget
  }

  /** Starts the call of a request's route, if there is one. */
  start (request: FastifyRequest): void {
    const { kind } = this.route(request).plan
    if (kind === 'fixed' || kind === 'per-request') this.calls(request).start()
  }
}
