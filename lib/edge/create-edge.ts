/**
 * The local edge: a Fastify app that speaks the Delivery API from a rule artifact, for development and tests.
 */
import { inspect } from 'node:util'
import Fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { compileArtifact, type CompiledArtifact } from '../decisioning/compile.ts'
import type { Notification } from '../delivery/schema/index.ts'
import { failure } from '../errors.ts'
import { activityTokens } from './answer.ts'
import { artifactRoutes } from './artifact-route.ts'
import { deliveryRoute } from './delivery-route.ts'
import { Faults, type FaultKind, type FaultOptions } from './faults.ts'
import { Pauses } from './pauses.ts'
import { Recorder, type RecordedRequest } from './recorder.ts'
import { sampleArtifact } from './sample-artifact.ts'
import { EventTokens } from './tokens.ts'

export interface EdgeOptions {
  /**
   * The rule artifact to decide from and to serve, of format version 1. Options and metrics without an event token get one.
   * Default: a sample with the mboxes `hero`, `banner` and `checkout-flags`, a page load and the view `product`.
   */
  artifact?: object
  /** Client code to answer with and to split visitors by; artifacts of others are not found. Default: the artifact's own, and any artifact path. */
  client?: string
  /** IMS organization id; requests for another one are refused, and `rules.bin` is served. Default: any, and no `rules.bin`. */
  organizationId?: string
  /** Milliseconds that a delivery takes, or a function that gives them for each. Default 0. */
  latency?: number | (() => number)
  /** Fastify's own `logger` option, or a logger such as another app's `log`. Default `false`. */
  logger?: FastifyServerOptions['logger'] | FastifyBaseLogger
}

/** A Fastify app with a test kit. */
export type TargetEdge = FastifyInstance & {
  /** The delivery requests that arrived with a JSON body, refused ones too, oldest first; the last 10,000. */
  readonly requests: readonly RecordedRequest[]
  /** The notifications that were accepted, oldest first, repeated ones too; the last 100,000. */
  readonly notifications: readonly Notification[]
  /** Impressions counted for an activity, or for all: what was executed or notified as displayed, once for an `impressionId`. */
  impressions (activityId?: number | string): number
  /** Resolves with the next delivery request to arrive. */
  nextRequest (): Promise<RecordedRequest>
  /** Forgets what was recorded and counted, and ends all faults. */
  reset (): void
  /** Makes requests fail from now on; see `FaultKind`. Throws FST_TARGET_INVALID_OPTIONS. */
  fault (kind: FaultKind, options?: FaultOptions): void
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
const isText = (value: unknown) => typeof value === 'string' && value !== ''
const isDuration = (value: unknown) => typeof value === 'number' && value >= 0

const allowed: Record<keyof EdgeOptions, { what: string, test: (value: unknown) => boolean }> = {
  artifact: { what: 'an object', test: isObject },
  client: { what: 'a string', test: isText },
  organizationId: { what: 'a string', test: isText },
  latency: { what: 'milliseconds or a function that returns them', test: (value) => isDuration(value) || typeof value === 'function' },
  logger: { what: 'a boolean or an object', test: (value) => typeof value === 'boolean' || isObject(value) }
}

/**
 * Makes a local edge. Start it with `listen()`, or use `inject()`.
 *
 * `ready()` and `listen()` reject with FST_TARGET_ARTIFACT if the artifact is not usable; `close()` ends every connection
 * at once, answered or not.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function createEdge (options: EdgeOptions = {}): TargetEdge {
  checkOptions(options)
  const { artifact = sampleArtifact, organizationId, latency = 0, logger = false } = options
  const app = Fastify({
    ...(typeof logger === 'object' && 'child' in logger ? { loggerInstance: logger } : { logger }),
    forceCloseConnections: true,
    // The real edge takes what is sent as it is: no default, no conversion, no member dropped.
    ajv: { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false } }
  })

  const recorder = new Recorder()
  const pauses = new Pauses()
  const faults = new Faults(pauses)
  const tokens = new EventTokens(artifact)
  const { meta, responseTokens } = tokens.artifact as { meta?: { clientCode?: unknown }, responseTokens?: unknown }
  const listed = Array.isArray(responseTokens) ? responseTokens.map(String) : []

  let compiled: CompiledArtifact
  app.addHook('onReady', async () => {
    const report = (problem: string) => app.log.warn(problem)
    compiled = await compileArtifact({ ...tokens.artifact, responseTokens: [...new Set([...listed, ...activityTokens])] }, { report })
  })
  app.addHook('preClose', async () => pauses.end())

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) request.log.error(error)
    reply.code(status).send({ status, message: error.message })
  })
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).send({ status: 404, message: `there is no ${request.method} ${request.url}` })
  })
  // at.js sends its JSON as text/plain, to save the browser a CORS preflight. A member named __proto__ is data like any other.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(['application/json', 'text/plain'], { parseAs: 'string' }, app.getDefaultJsonParser('ignore', 'ignore'))

  deliveryRoute(app, {
    client: options.client ?? String(meta?.clientCode ?? 'local'),
    organizationId,
    artifact: () => compiled,
    responseTokens: new Set(listed),
    tokens,
    recorder,
    faults,
    delay: () => pauses.wait(typeof latency === 'function' ? latency() : latency)
  })
  artifactRoutes(app, { artifact: tokens.artifact, client: options.client, organizationId, faults })

  return Object.assign(app, {
    requests: recorder.requests,
    notifications: recorder.notifications,
    impressions: (activityId?: number | string) => recorder.impressions(activityId),
    nextRequest: () => recorder.nextRequest(),
    reset: () => {
      recorder.reset()
      faults.clear()
    },
    fault: (kind: FaultKind, faultOptions?: FaultOptions) => faults.set(kind, faultOptions)
  })
}

function checkOptions (options: EdgeOptions) {
  if (!isObject(options)) throw failure('FST_TARGET_INVALID_OPTIONS', 'createEdge() takes an object')
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(allowed, name) ? allowed[name as keyof EdgeOptions] : undefined
    if (rule === undefined) throw failure('FST_TARGET_INVALID_OPTIONS', `createEdge() knows no option "${name}", only ${Object.keys(allowed).join(', ')}`)
    if (value !== undefined && !rule.test(value)) throw failure('FST_TARGET_INVALID_OPTIONS', `createEdge() option "${name}" must be ${rule.what}, not ${inspect(value, { depth: 0 })}`)
  }
}
