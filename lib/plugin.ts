/**
 * The plugin: from options to a client, decorators and hooks. Everything that can be done once is done here.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { TargetClient } from './client/client.ts'
import { cookieSerializer } from './visitor/cookies.ts'
import { failure, isTargetError } from './errors.ts'
import { contentReporter } from './offers/mboxes.ts'
import { addNotificationsRoute } from './request/notifications-route.ts'
import { resolvePluginOptions, type FastifyAdobeTargetOptions } from './options.ts'
import { Page } from './request/calls.ts'
import { keepPrivate, mayBeQaLink, readQaVisit, writeQaCookie, type QaVisit } from './visitor/qa-mode.ts'
import { RequestTarget } from './request/target.ts'
import { compileForm, compileRoute, type RoutePlan, type TargetRouteConfig } from './request/route-config.ts'
import { Visitor, visitorSettings } from './visitor/visitor.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The pooled Target client. */
    target: TargetClient
  }
  interface FastifyRequest {
    /** Target's offers for this request. */
    target: RequestTarget
  }
  interface FastifyContextConfig {
    /** What this route asks Target for; `false` for nothing. */
    target?: TargetRouteConfig
  }
}

/** What the plugin keeps on requests, under symbols of each instance. */
type Decorated = FastifyRequest & Record<symbol, unknown>

/** A visitor's cookies are written once, whichever instance comes first. */
interface SharedVisitor { visitor: Visitor, written: boolean }

/** What the plugin knows of a route. */
interface Route {
  plan: RoutePlan
  /** Whether it has the hook that comes after all others. A route that was there before this plugin had loaded has not. */
  finishes: boolean
}

/** 404s start nothing by themselves, also with `global`. */
const NOT_FOUND: Route = { plan: undefined, finishes: false }

async function adobeTarget (app: FastifyInstance, given: FastifyAdobeTargetOptions): Promise<void> {
  const options = resolvePluginOptions(given, app.log.child({ plugin: 'fastify-adobe-target' }))
  const { decorator: name, hook } = options
  const { logger, organizationId, targetLocationHint, timeout, grace, propertyToken, environmentId, decisioningMethod } = options.client
  const defaults = {
    request: options.request === undefined ? undefined : compileForm(options.request, { root: 'request' }, options.client.report),
    global: options.global
  }
  const client = new TargetClient(options.client)
  const identity = visitorSettings(organizationId, targetLocationHint, options.client.report)
  const settings = {
    ...options,
    client,
    timeout,
    grace,
    propertyToken,
    environmentId,
    decisioningMethod,
    logger,
    report: options.client.report,
    contentFailed: contentReporter(logger),
    functionFailed (place: string, error: unknown, taken?: string) {
      if (logger.once(`${place} threw`)) logger.error(`\`${place}\` threw and was ${taken === undefined ? 'ignored' : `taken as ${taken}`}; further errors from it will not be logged`, { err: error })
    }
  }

  const TARGET = Symbol(`fastify-adobe-target:${name}`)
  const REPLY = Symbol(`fastify-adobe-target:${name}:reply`)
  const ARRIVAL = Symbol(`fastify-adobe-target:${name}:arrival`)
  const ROUTE = Symbol(`fastify-adobe-target:${name}:route`)
  // Shared by all instances of the plugin with one client code: one person has one session.
  const VISITOR = Symbol.for(`fastify-adobe-target:visitor:${options.client.client}`)

  const targetOf = (request: FastifyRequest): RequestTarget => {
    const decorated = request as Decorated
    return (decorated[TARGET] ??= new RequestTarget(
      settings, new Page(settings, request, decorated[REPLY] as FastifyReply, routeOf(request).plan, sharedVisitor(request).visitor), decorated[ARRIVAL] as number
    )) as RequestTarget
  }

  const sharedVisitor = (request: FastifyRequest): SharedVisitor => {
    const decorated = request as Decorated
    return (decorated[VISITOR] ??= { visitor: new Visitor(identity, request.headers.cookie), written: false }) as SharedVisitor
  }

  const compile = (config: unknown, method: unknown, url: string | undefined): RoutePlan => {
    const plan = compileRoute(config, defaults, name, `${String(method)} ${url}`, options.client.report)
    if (typeof plan === 'object' && plan.decisioningMethod !== undefined && plan.decisioningMethod !== 'server-side') client.loadArtifact()
    return plan
  }

  const routeOf = (request: FastifyRequest): Route => {
    const decorated = request as Decorated
    // Kept from the beginning: `callNotFound()` makes the request a 404, while the reply stays the route's.
    return (decorated[ROUTE] ??= request.is404 ? NOT_FOUND : findRoute(request)) as Route
  }

  const findRoute = (request: FastifyRequest): Route => {
    const { config, method } = request.routeOptions
    const known = config as unknown as Record<string | symbol, unknown>
    if (request.method === 'OPTIONS') return { plan: undefined, finishes: Object.hasOwn(known, ROUTE) }
    if (Object.hasOwn(known, ROUTE)) return known[ROUTE] as Route
    // It was there before this plugin had loaded.
    const route: Route = { plan: false, finishes: false }
    known[ROUTE] = route
    try {
      const added = method === 'HEAD' && config.url !== undefined && app.hasRoute({ method: 'GET', url: config.url })
      if (!added) route.plan = compile(known[name], method, config.url)
    } catch (error) {
      logger.error('a route is misconfigured and gets no offers', { err: error })
    }
    return route
  }

  decorate(app, name, client, { getter (this: FastifyRequest) { return targetOf(this) } })
  app.decorateRequest(TARGET, null)
  app.decorateRequest(REPLY, null)
  app.decorateRequest(ARRIVAL, 0)
  app.decorateRequest(ROUTE, null)
  if (!app.hasRequestDecorator(VISITOR)) app.decorateRequest(VISITOR, null)

  const start = (request: FastifyRequest): void => { if (routeOf(request).plan) targetOf(request).start() }
  app.addHook('onRequest', (request, reply, done) => {
    const decorated = request as Decorated
    decorated[REPLY] = reply
    decorated[ARRIVAL] = performance.now() - reply.elapsedTime
    if (hook === 'onRequest') start(request)
    done()
  })
  if (hook === 'preParsing') app.addHook(hook, (request, _reply, payload, done) => { start(request); done(null, payload) })
  else if (hook !== false && hook !== 'onRequest') app.addHook(hook, (request: FastifyRequest, _reply: FastifyReply, done: () => void) => { start(request); done() })

  const serialize = options.cookies === false ? undefined : cookieSerializer(options.cookies)
  let closing = false
  /** Whether a response is publicly cacheable, which is logged once for each route. */
  const isForAll = (request: FastifyRequest, reply: FastifyReply): boolean => {
    if (!isPubliclyCacheable(reply)) return false
    const route = `${request.method} ${request.routeOptions.url ?? ''}`
    if (logger.once(`cacheable ${route}`)) {
      logger.warn('the response is personalized but publicly cacheable, so the visitor\'s cookies were not written; send `Cache-Control: private`', { route })
    }
    return true
  }
  const isQaLink = (request: FastifyRequest): boolean => options.qa && mayBeQaLink(request.originalUrl)
  const finish = (request: FastifyRequest, reply: FastifyReply): QaVisit | undefined => {
    const target = (request as Decorated)[TARGET] as RequestTarget | null
    const used = target !== null && target.used
    // A link may lead to a page without offers, or to a redirect that drops the query string.
    const qaVisit = used ? target.qaVisit : isQaLink(request) && routeOf(request).plan !== false && targetOf(request).enabled ? readQaVisit(request.originalUrl, undefined) : undefined
    if (qaVisit !== undefined) {
      keepPrivate(reply)
      if (serialize !== undefined) writeQaCookie(reply, serialize(qaVisit.cookie, request.protocol === 'https'))
    }
    if (!used) return qaVisit
    if (options.serverTiming) addServerTiming(reply, target)
    if (isForAll(request, reply)) return qaVisit
    const shared = sharedVisitor(request)
    if (serialize === undefined || shared.written) return qaVisit
    shared.written = true
    const https = request.protocol === 'https'
    for (const cookie of shared.visitor.cookies) reply.header('set-cookie', serialize(cookie, https))
    return qaVisit
  }
  const finishLast = (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: (error: null, payload: unknown) => void): void => {
    finish(request, reply)
    done(null, payload)
  }

  let misconfigured: Error | undefined
  const isAddedHead = headRouteDetector(app)
  app.addHook('onRoute', (route) => {
    const config = route.config as Record<string, unknown> | undefined
    let plan: RoutePlan = false
    try {
      if (!isAddedHead(route)) plan = compile(config?.[name], route.method, route.url)
    } catch (error) {
      misconfigured ??= error as Error
    }
    // A route's own hooks come after all others, which may still make the answer public.
    route.onSend = [route.onSend ?? [], finishLast].flat() as typeof route.onSend
    route.config = { ...route.config, [ROUTE]: { plan, finishes: true } } as typeof route.config
  })
  app.addHook('onReady', (done) => done(misconfigured))

  // 404s, and routes that were there before this plugin had loaded.
  app.addHook('onSend', (request, reply, payload, done) => {
    // Fastify waits for keep-alive clients before it closes its plugins; told so, they go.
    if (closing) reply.header('connection', 'close')
    if (!routeOf(request).finishes && ((request as Decorated)[TARGET] !== null || isQaLink(request))) {
      const qaVisit = finish(request, reply)
      beforeHead(reply, () => {
        if (qaVisit !== undefined) keepPrivate(reply)
        else if (isForAll(request, reply)) removeCookies(reply, sharedVisitor(request).visitor.cookies.map(({ name }) => name))
      })
    }
    done(null, payload)
  })

  if (options.notificationsRoute !== undefined) {
    addNotificationsRoute(app, {
      path: options.notificationsRoute,
      decorator: name,
      notify: (request, notifications) => targetOf(request).notifyIfKnown(notifications)
    })
  }

  app.addHook('preClose', (done) => {
    closing = true
    client.beginClose()
    done()
  })
  app.addHook('onClose', async () => { await client.close() })
}

/** Decorates instance and request, or says which option makes it possible. */
function decorate (app: FastifyInstance, name: string, client: TargetClient, property: { getter (this: FastifyRequest): RequestTarget }): void {
  try {
    app.decorate(name as 'target', client)
    app.decorateRequest(name as 'target', property)
  } catch (cause) {
    // Nobody else will: the hooks that close it are not there yet.
    client.close()
    if (isTargetError(cause) || (cause as { code?: string }).code !== 'FST_ERR_DEC_ALREADY_PRESENT') throw cause
    throw failure('FST_TARGET_DECORATOR_PRESENT', `\`${name}\` is taken already; choose another name with the \`decorator\` option`, { cause })
  }
}

/**
 * Tells a HEAD route that Fastify adds for a GET from one of the app's own: it follows its GET at once, with the same
 * address, handler and config.
 */
function headRouteDetector (app: FastifyInstance): (route: RouteOptions) => boolean {
  let get: RouteOptions | undefined
  let config: unknown
  return (route) => {
    const follows = get !== undefined && route.method === 'HEAD' && get.url === route.url && get.handler === route.handler && config === route.config
    const exposes = (route as { exposeHeadRoute?: boolean }).exposeHeadRoute ?? (app.initialConfig as { exposeHeadRoutes?: boolean }).exposeHeadRoutes
    const isGet = route.method === 'GET' || (Array.isArray(route.method) && route.method.includes('GET') && !route.method.includes('HEAD'))
    get = isGet && exposes !== false && !app.hasRoute({ method: 'HEAD', url: route.url }) ? route : undefined
    config = route.config
    return follows
  }
}

/** By `Cache-Control`, or by a header for shared caches alone, which goes before it there (RFC 9213, Edge Architecture). */
function isPubliclyCacheable (reply: FastifyReply): boolean {
  const value = reply.getHeader('cache-control')
  if (value !== undefined && /\bpublic\b|\bs-maxage\s*=/i.test(String(value))) return true
  const shared = reply.getHeader('cdn-cache-control') ?? reply.getHeader('surrogate-control')
  return shared !== undefined && /\bpublic\b|\bmax-age\s*=\s*"?[1-9]/i.test(String(shared))
}

/** Calls a function when the head is about to be written, when no hook can change it any more. Too slow for every page. */
function beforeHead ({ raw }: FastifyReply, act: () => void): void {
  const { writeHead } = raw
  raw.writeHead = (...head: unknown[]) => {
    raw.writeHead = writeHead
    act()
    return writeHead.apply(raw, head as Parameters<typeof writeHead>)
  }
}

/** Takes some cookies out again. Those of a stream are on the raw response already. */
function removeCookies (reply: FastifyReply, names: string[]): void {
  const others = [reply.getHeader('set-cookie') ?? []].flat().map(String).filter((cookie) => !names.includes(cookie.split('=', 1)[0]!))
  const streamed = reply.raw.hasHeader('set-cookie')
  reply.removeHeader('set-cookie')
  if (others.length === 0) return
  reply.header('set-cookie', others)
  if (streamed) reply.raw.setHeader('set-cookie', others)
}

/** `Server-Timing: target;dur=81.2;desc="edge", target-wait;dur=0.0`, beside what is there already. */
function addServerTiming (reply: FastifyReply, target: RequestTarget): void {
  const { duration, waited } = target.timing
  const call = duration === undefined ? 'target;desc="pending"' : `target;dur=${duration.toFixed(1)};desc="${target.source}"`
  const given = reply.getHeader('server-timing')
  const timing = `${call}, target-wait;dur=${waited.toFixed(1)}`
  reply.header('server-timing', given === undefined ? timing : `${String(given)}, ${timing}`)
}

/** The plugin. */
export const fastifyAdobeTarget = fp(adobeTarget, { fastify: '5.x', name: 'fastify-adobe-target' })
export default fastifyAdobeTarget
