/**
 * The plugin: from options to a client, decorators and hooks.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyReply, FastifyRequest, RegisterOptions } from 'fastify'
import { TargetClient } from './client/client.ts'
import { loadUndici } from './delivery/undici.ts'
import { failure, isTargetError } from './errors.ts'
import { loadAppTypeBox } from './offers/app-typebox.ts'
import { attributesExpecter } from './offers/attributes.ts'
import { hasTypeBoxSchema } from './offers/mbox-declarations.ts'
import { contentReporter } from './offers/page-mboxes.ts'
import { resolvePluginOptions, type FastifyAdobeTargetOptions, type OpenFeatureOptions } from './options.ts'
import { EarlyBody } from './request/early-body.ts'
import { addHealthRoute } from './request/health-route.ts'
import { addNotificationsRoute } from './request/notifications-route.ts'
import { addOfrepRoute } from './request/ofrep-route.ts'
import { standInOutside } from './request/outside.ts'
import { Responses } from './request/response.ts'
import { compileForm, type MisspelledConfig, type TargetPlan, type TargetRouteConfig } from './request/route-config.ts'
import { Routes } from './request/routes.ts'
import { schemaCompiler } from './request/schema-compiler.ts'
import { RequestState } from './request/state.ts'
import type { RequestTarget } from './request/target.ts'
import { warmUpPage } from './request/warm-up.ts'
import { cookieSuffixOf } from './visitor/cookie-owner.ts'
import { visitorSettings } from './visitor/visitor.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The pooled Target client. */
    target: TargetClient
  }
  interface FastifyRequest {
    /** Target's offers for this request. */
    target: RequestTarget
  }
  interface FastifyContextConfig extends MisspelledConfig {
    /** The request to Target for this route; `false` for none. */
    target?: TargetRouteConfig
  }
}

async function adobeTarget (app: FastifyInstance, registered: FastifyAdobeTargetOptions): Promise<void> {
  // Fastify's own options of `register`: for this plugin's routes and log lines.
  const { prefix, logLevel, logSerializers, ...given } = registered as FastifyAdobeTargetOptions & RegisterOptions
  const scope: RegisterOptions = { prefix, logLevel, logSerializers }
  const log = app.log.child({ plugin: 'fastify-adobe-target' }, { ...(logLevel !== undefined && { level: logLevel }), ...(logSerializers !== undefined && { serializers: logSerializers }) })
  const compileSchema = schemaCompiler(app)
  if (hasTypeBoxSchema(given.mboxes)) await loadAppTypeBox()
  const options = resolvePluginOptions(given, log, compileSchema)
  const mboxes = options.mboxes instanceof Promise ? await options.mboxes : options.mboxes
  const { decorator, hook } = options
  const { logger, report, organizationId, targetLocationHint } = options.client
  const request = options.request === undefined ? undefined : compileForm(options.request, { root: 'request' }, report)
  if (options.ofrepRoute !== undefined && mboxes.size === 0) throw failure('FST_TARGET_INVALID_OPTIONS', '`ofrepRoute` requires `mboxes`: only declared mboxes are evaluated')
  // No page is to wait for it.
  if (options.client.dispatcher === undefined) await loadUndici()
  const client = new TargetClient(options.client)
  const checkPlan = ({ execute, prefetch, members, decisioningMethod }: TargetPlan, name: string) => {
    const problem = client.problemIn({ ...members, ...(execute !== undefined && { execute }), ...(prefetch !== undefined && { prefetch }), decisioningMethod })
    if (problem !== undefined) throw failure('FST_TARGET_INVALID_OPTIONS', `${name}: ${problem}`)
  }
  const routes = new Routes({
    decorator,
    request,
    global: options.global,
    logger,
    report,
    onPlan (route, name) {
      if (route.kind !== 'fixed') return
      checkPlan(route.plan, `config.${decorator} of ${name}`)
      const { decisioningMethod } = route.plan
      if (decisioningMethod !== undefined && decisioningMethod !== 'server-side') client.loadArtifact()
    }
  })
  const state = new RequestState({
    ...options.client,
    ...options,
    client,
    warnings: client.warnings,
    clientCode: options.client.client,
    handOver: options.client.edgeNetwork === undefined ? 'at.js' : 'Web SDK',
    identity: visitorSettings(organizationId, {
      targetLocationHint, report, edgeNetwork: options.client.edgeNetwork, firstPartyId: options.firstPartyId, cookieSuffix: cookieSuffixOf(app.server, options.client.client)
    }),
    mboxes,
    contentFailed: contentReporter(logger),
    earlyBody: new EarlyBody(logger, hook, decorator),
    expectAttributes: attributesExpecter(compileSchema),
    functionFailed (name, error, outcome = 'ignored') {
      if (logger.once(`${name} threw`)) logger.error(`\`${name}\` threw and was ${outcome}; further errors from it will not be logged`, { err: error })
    },
    onWriteCookies: (request, reply) => responses.writeCookies(request, reply),
    onBypass: (request, reply) => responses.finishWithHead(request, reply),
    onBypassed: (request) => responses.bypassed(request)
  }, routes)
  const responses: Responses = new Responses({ ...options, warnings: client.warnings, logger }, state)

  decorate(app, decorator, client, { getter (this: FastifyRequest) { return state.target(this) } })
  state.decorate(app)
  standInOutside(app, decorator, logger, (request) => state.outside(request))

  if (options.openFeature !== undefined) await connectOpenFeature(app, client, { ...options.openFeature, decorator })

  // Earlier hooks may refuse a request, or throw, before the plugin has seen it.
  app.addHook('onError', (request, reply, _error, done) => {
    state.arrive(request, reply)
    done()
  })

  const finishLast: OnSend = (request, reply, payload, done) => {
    responses.finish(request, reply)
    done(null, payload)
  }
  app.addHook('onRoute', (route) => {
    routes.add(route)
    // A route's own hooks come after all others, which may still make the response public.
    route.onSend = [route.onSend ?? [], finishLast].flat() as typeof route.onSend
  })
  app.addHook('onReady', (done) => {
    routes.warnOfMisplaced((name) => app.hasRequestDecorator(name))
    done(routes.misconfigured)
  })
  app.addHook('onReady', () => {
    // While the connections open. Not awaited: the start must not depend on it.
    if (options.client.dispatcher === undefined) setImmediate(warmUpPage).unref()
    return client.preconnect()
  })

  app.addHook('onRequest', (request, reply, done) => {
    state.arrive(request, reply)
    if (hook === 'onRequest') state.start(request)
    done()
  })
  if (hook === 'preParsing') app.addHook(hook, (request, _reply, payload, done) => { state.start(request); done(null, payload) })
  else if (hook !== false && hook !== 'onRequest') app.addHook(hook, (request: FastifyRequest, _reply: unknown, done: () => void) => { state.start(request); done() })

  let closing = false
  app.addHook('onSend', (request, reply, payload, done) => {
    // Fastify waits for keep-alive clients before it closes its plugins; this makes them go. HTTP/2 has no such header.
    if (closing && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
    state.arrive(request, reply)
    // 404s, and routes that were added before the plugin had loaded.
    if (!state.route(request).hasLastHook) responses.finishWithHead(request, reply)
    done(null, payload)
  })

  if (options.notificationsRoute !== undefined) {
    addNotificationsRoute(app, {
      ...options.notificationsRoute,
      scope,
      decorator,
      transport: options.client.edgeNetwork === undefined ? 'deliveryApi' : 'edgeNetwork',
      notify: (request, notifications) => state.calls(request).notifications.addIfKnown(notifications)
    })
  }
  if (options.healthRoute !== undefined) addHealthRoute(app, { ...options.healthRoute, scope, decorator, health: () => client.health() })

  if (options.ofrepRoute !== undefined) {
    addOfrepRoute(app, { ...options.ofrepRoute, scope, decorator, mboxes: [...mboxes.keys()], target: (request) => state.target(request), artifact: () => client.decisions.artifact })
  }

  app.addHook('preClose', (done) => {
    closing = true
    client.beginClose()
    done()
  })
  app.addHook('onClose', async () => { await client.close() })
}

type OnSend = (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: (error: null, payload: unknown) => void) => void

/** Decorates instance and request, or names the option that makes it possible. */
function decorate (app: FastifyInstance, name: string, client: TargetClient, property: { getter (this: FastifyRequest): RequestTarget }): void {
  try {
    app.decorate(name as 'target', client)
    app.decorateRequest(name as 'target', property)
  } catch (cause) {
    // The hooks that close it are not there yet.
    client.close()
    if (isTargetError(cause) || (cause as { code?: string }).code !== 'FST_ERR_DEC_ALREADY_PRESENT') throw cause
    throw failure('FST_TARGET_DECORATOR_PRESENT', `\`${name}\` is already in use; choose another name with the \`decorator\` option`, { cause })
  }
}

/** Loads what needs a package that few apps have. */
async function connectOpenFeature (app: FastifyInstance, client: TargetClient, options: OpenFeatureOptions & { decorator: string }): Promise<void> {
  try {
    const { connectOpenFeature } = await import('./openfeature/connect.ts')
    connectOpenFeature(app, client, options)
  } catch (cause) {
    // The hooks that close it are not there yet.
    client.close()
    if ((cause as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw failure('FST_TARGET_INVALID_OPTIONS', '`openFeature` requires @openfeature/server-sdk; run npm install @openfeature/server-sdk', { cause })
  }
}

/** The plugin. */
export const fastifyAdobeTarget = fp(adobeTarget, { fastify: '5.x', name: 'fastify-adobe-target' })
export default fastifyAdobeTarget
