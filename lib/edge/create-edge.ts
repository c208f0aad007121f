/**
 * The local edge: a Fastify app that speaks the Delivery API and the Edge Network from a rule artifact, for development and
 * tests.
 */
import { Type } from '@sinclair/typebox'
import { isIPv6, type AddressInfo } from 'node:net'
import Fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { failure } from '../errors.ts'
import type { Notification, VisitorId } from '../schema/index.ts'
import { checkOptions, isObject, MAX_MILLISECONDS, MillisecondsOrZero, passing, strict } from '../validation.ts'
import { artifactRoutes } from './artifact-route.ts'
import { allowBrowsers } from './cors.ts'
import { deliveryRoute } from './delivery-route.ts'
import { edgeNetworkRoutes } from './edge-network/routes.ts'
import { Faults, type FaultKind, type FaultOptions } from './testing/faults.ts'
import type { FixedContent, FixedOfferOptions } from './testing/offer-input.ts'
import { locationOf, type Place } from './testing/place.ts'
import { Qa, type QaLink } from './qa.ts'
import { Recorder, type RecordedOrder, type RecordedRequest } from './testing/recorder.ts'
import { Rules } from './testing/rule-set.ts'
import { sampleArtifact } from './sample-artifact.ts'
import { EventTokens } from './tokens.ts'
import { visitorFor, type Variant, type VariantVisitor } from './testing/visitor-for.ts'
import { Pauses, Watch } from './testing/waits.ts'

export interface EdgeOptions {
  /**
   * The rule artifact to decide with and to serve, of format version 1. Options and metrics without an event token get one.
   * Default: a sample with the mboxes `hero`, `banner` and `checkout-flags`, a page load and the view `product`.
   */
  artifact?: object
  /** Client code in responses and for splits; other clients' artifacts get a 404. Default: the artifact's own, and any artifact path. */
  client?: string
  /**
   * IMS organization id: requests for another one are refused, `rules.bin` is served, and Web SDK's cookies are named after it.
   * Default: any, no `rules.bin`, and on the Edge Network only callers that name one.
   */
  organizationId?: string
  /** Milliseconds that a delivery takes, or a function that returns them for each. Default 0. */
  latency?: number | (() => number)
  /** Fastify's own `logger` option, or a logger such as another app's `log`. Default `false`. */
  logger?: FastifyServerOptions['logger'] | FastifyBaseLogger
}

/** A Fastify app with a test kit. */
export type TargetEdge = FastifyInstance & TestKit

/** The test kit of an edge. */
interface TestKit {
  /** Host and port, for the plugin's `serverDomain`. Throws FST_TARGET_NOT_READY before it listens. */
  readonly host: string
  /**
   * Fixes a place's offer from the next request on, taking precedence over the artifact's own rules: html for a string, json for
   * an object, actions for a list, nothing for null. A later offer whose `when` or `visitor` matches wins over an earlier one;
   * one without `when` and `visitor` is for all others. On-device it applies once the artifact is fetched again.
   *
   * Its activity is named after the place, its experiences A, B, … in the order in which they were fixed.
   *
   * Throws FST_TARGET_INVALID_OPTIONS.
   */
  offer (place: Place, content: FixedContent, options?: FixedOfferOptions): void
  /**
   * A visitor who gets an experience of an A/B activity, at the edge and on-device, the same each time; if the activity has an
   * audience, provided the visitor is in it. The edge must have the `client` of the app.
   *
   * Throws FST_TARGET_INVALID_OPTIONS if the artifact has no such experience.
   */
  visitorFor (variant: Variant): VariantVisitor
  /** How often offers of a place were displayed: executed or notified, once for an `impressionId`. Throws FST_TARGET_INVALID_OPTIONS. */
  displays (place: Place): number
  /** How often clicks of a place were notified, once for a notification's id. Throws FST_TARGET_INVALID_OPTIONS. */
  clicks (place: Place): number
  /**
   * The orders received, oldest first: with executed or prefetched mboxes and page loads, and with notifications such as those of
   * `request.target.converted()`; a repeated one is not counted again. With a name, those of one mbox. The last 10,000.
   */
  orders (mbox?: string): RecordedOrder[]
  /**
   * Resolves when the condition holds: checked now and each time the edge receives or answers a delivery request.
   *
   * Rejects with FST_TARGET_TIMEOUT after `timeout` ms (default 5000), with FST_TARGET_CLOSED if the edge is closed, or with
   * the condition's own error.
   */
  until (condition: () => unknown, options?: { timeout?: number }): Promise<void>
  /** The delivery requests received with a JSON body, including refused ones, oldest first; the last 10,000. */
  readonly requests: readonly RecordedRequest[]
  /** The accepted notifications, including repeated ones, oldest first; the last 100,000. */
  readonly notifications: readonly Notification[]
  /** Impressions counted for an activity, or for all: executed or notified displays, once for an `impressionId`. */
  impressions (activityId?: number | string): number
  /** Resolves with the next delivery request to arrive. */
  nextRequest (): Promise<RecordedRequest>
  /** Clears records and counts, and ends all faults and fixed offers. */
  reset (): void
  /** Makes a QA link from an address, for activities of the artifact, as Target's "Activity QA" does. Throws FST_TARGET_INVALID_OPTIONS. */
  qaLink (url: string, link: QaLink): string
  /**
   * Replaces the current artifact, as a change in Target's user interface does. Apps that decide on-device have it after their
   * next poll. Fixed offers stay.
   *
   * Rejects with FST_TARGET_ARTIFACT if it is unusable; the old one then stays.
   */
  publish (artifact: object): Promise<void>
  /** Makes requests fail from now on; see `FaultKind`. Throws FST_TARGET_INVALID_OPTIONS. */
  fault (kind: FaultKind, options?: FaultOptions): void
}

const OptionsSchema = Type.Object({
  artifact: Type.Optional(passing(isObject, 'a rule artifact, as an object')),
  client: Type.Optional(Type.String({ minLength: 1 })),
  organizationId: Type.Optional(Type.String({ minLength: 1 })),
  latency: Type.Optional(Type.Union([MillisecondsOrZero, Type.Function([], Type.Number())])),
  logger: Type.Optional(passing((value) => typeof value === 'boolean' || isObject(value), 'true, false, an object of logger options or a logger'))
}, strict)

/**
 * Makes a local edge. Start it with `listen()`, or use `inject()`.
 *
 * `ready()` and `listen()` reject with FST_TARGET_ARTIFACT if the artifact is unusable; `close()` ends every connection
 * immediately, even with requests in progress.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function createEdge (options: EdgeOptions = {}): TargetEdge {
  const { artifact = sampleArtifact, organizationId: given, latency = 0, logger = false } = checkOptions<EdgeOptions>(OptionsSchema, options, { call: 'createEdge()' })
  // The client adds it too.
  const organizationId = given === undefined || given.includes('@') ? given : `${given}@AdobeOrg`
  const app = Fastify({
    ...(typeof logger === 'object' && 'child' in logger ? { loggerInstance: logger } : { logger }),
    forceCloseConnections: true,
    // The real edge accepts bodies unchanged: no defaults, no conversion, no members removed.
    ajv: { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false } }
  })

  const recorder = new Recorder()
  const pauses = new Pauses()
  const faults = new Faults(pauses)
  const tokens = new EventTokens(artifact)
  const { meta } = tokens.artifact as { meta?: { clientCode?: unknown } }
  const client = options.client ?? String(meta?.clientCode ?? 'local')
  const rules = new Rules(tokens, (problem) => app.log.warn(problem))
  const watch = new Watch()

  let compiled: CompiledArtifact | undefined
  app.addHook('onReady', async () => { compiled = await rules.ready() })
  app.addHook('preClose', async () => {
    pauses.end()
    watch.end()
  })

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) request.log.error(error)
    reply.code(status).send({ status, message: error.message })
  })
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).send({ status: 404, message: `route ${request.method} ${request.url} not found` })
  })
  // at.js sends its JSON as text/plain, to save the browser a CORS preflight. A member named __proto__ is ordinary data.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(['application/json', 'text/plain'], { parseAs: 'string' }, app.getDefaultJsonParser('ignore', 'ignore'))

  const qa = new Qa(client, () => compiled)
  allowBrowsers(app)
  const shared = {
    client,
    artifactFor: (id: VisitorId) => rules.compiledFor(id),
    responseTokens: () => rules.responseTokens,
    tokens,
    qa,
    recorder,
    watch,
    faults,
    delay: () => pauses.wait(typeof latency === 'function' ? Math.min(latency(), MAX_MILLISECONDS) : latency)
  }
  deliveryRoute(app, { ...shared, callers: { client: options.client, organizationId } })
  edgeNetworkRoutes(app, { ...shared, organizationId })
  artifactRoutes(app, { artifact: () => rules.served, client: options.client, organizationId, faults })

  const located = (place: Place, method: string) => locationOf(place, rules.globalMbox, method)
  const kit: Omit<TestKit, 'host'> = {
    offer: (place, content, offerOptions) => rules.offer(place, content, offerOptions),
    visitorFor: (variant) => visitorFor(tokens.artifact, client, variant),
    displays: (place) => recorder.displays(located(place, 'edge.displays()')),
    clicks: (place) => recorder.clicks(located(place, 'edge.clicks()')),
    orders: (mbox) => recorder.orders.filter((order) => mbox === undefined || order.mbox === mbox),
    until: (condition, untilOptions) => watch.until(condition, untilOptions),
    requests: recorder.requests,
    notifications: recorder.notifications,
    impressions: (activityId) => recorder.impressions(activityId),
    nextRequest: () => recorder.nextRequest(),
    reset: () => {
      recorder.reset()
      faults.clear()
      rules.reset()
    },
    qaLink: (url, link) => qa.link(url, link),
    publish: async (published) => { compiled = await rules.publish(published) },
    fault: (kind, faultOptions) => faults.set(kind, faultOptions)
  }
  for (const [name, member] of Object.entries(kit)) app.decorate(name, member as unknown)
  app.decorate('host', { getter: () => hostOf(app.addresses()) })
  return app as FastifyInstance as TargetEdge
}

const LOOPBACK = new Map([['0.0.0.0', '127.0.0.1'], ['::', '::1']])

/**
 * Host and port of a server, as in a URL; IPv4 before IPv6.
 *
 * @param addresses that it listens on; a string is a socket's path
 * @throws FST_TARGET_NOT_READY if there is none: otherwise a client would call the real edge
 */
function hostOf (addresses: ReadonlyArray<AddressInfo | string>): string {
  const listening = addresses.filter((address) => typeof address === 'object')
  const first = listening.find(({ address }) => !isIPv6(address)) ?? listening[0]
  if (first === undefined) throw failure('FST_TARGET_NOT_READY', 'edge.host is available once the edge listens on a port')
  const address = LOOPBACK.get(first.address) ?? first.address
  return `${isIPv6(address) ? `[${address}]` : address}:${first.port}`
}
