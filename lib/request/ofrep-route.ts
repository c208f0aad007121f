/**
 * The `ofrepRoute` option: OpenFeature's remote evaluation protocol, so that the browser's `@openfeature/ofrep-web-provider` gets
 * Target's flags from the site's own server. Anyone can call it: the visitor comes from the cookies and never
 * from the body, only declared mboxes are evaluated, and only pages of the same origin are accepted.
 *
 * @see https://github.com/open-feature/protocol (OFREP 0.3)
 */
import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest, RegisterOptions } from 'fastify'
import { Type } from '@sinclair/typebox'
import { failure } from '../errors.ts'
import { flagPlaceOf, membersOf, mergedContent, readFlag, type FlagContext, type FlagPlace } from '../offers/flag.ts'
import type { Offer, OfferContent } from '../offers/offer.ts'
import { documented, isSameOrigin, unchecked, type RouteSettings } from './own-route.ts'
import type { RequestTarget } from './target.ts'

/** Maximum size of a body in bytes. The context in it is ignored. */
const BODY_LIMIT = 16 * 1024

/** Paths of the protocol, below the route's own. */
const BULK = '/ofrep/v1/evaluate/flags'

/** The body. Its context comes from the browser, so it is ignored. */
const Body = Type.Object({ context: Type.Optional(Type.Object({}, { additionalProperties: true })) })

export interface OfrepRouteOptions extends RouteSettings {
  /** Options of the scope that the routes get. */
  scope: RegisterOptions
  /** Name of the plugin's decorator. */
  decorator: string
  /** Names of the declared mboxes. */
  mboxes: readonly string[]
  target: (request: FastifyRequest) => RequestTarget
  /** The rule artifact in force. */
  artifact: () => FlagContext['artifact']
}

/** Adds the routes, in a scope of their own: the app's content type parsers stay as they are. */
export function addOfrepRoute (app: FastifyInstance, { path, schema, scope: options, decorator, mboxes, target, artifact }: OfrepRouteOptions): void {
  const isMbox = (name: string) => mboxes.includes(name)
  const contextOf = (target: RequestTarget): FlagContext => ({ artifact: artifact(), isFixed: target.qaMode !== undefined })
  const shared = (summary: string) => ({
    bodyLimit: BODY_LIMIT,
    schema: documented(schema, { summary, body: Body, response: { 403: 'The page is of another origin.' } }),
    validatorCompiler: unchecked,
    onRequest (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) {
      reply.header('cache-control', 'private, no-cache')
      done(isSameOrigin(request) ? undefined : failure('FST_TARGET_FOREIGN_ORIGIN', 'flags are only evaluated for pages of the same origin'))
    }
  })
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(['application/json', 'text/plain'], { parseAs: 'string' }, scope.getDefaultJsonParser('error', 'error'))

    // Prefetched: an evaluation is not a display, which the page reports itself.
    scope.post(`${path}${BULK}`, { ...shared('All flags, by OFREP'), config: { [decorator]: { prefetch: { mboxes: [...mboxes] } } } }, async (request, reply) => {
      const offers = await Promise.all(mboxes.map(async (mbox) => await target(request).offer(mbox)))
      const body = JSON.stringify({ flags: offers.flatMap((offer) => flagsOf(offer, contextOf(target(request)))) })
      const etag = `"${createHash('sha1').update(body).digest('base64url')}"`
      reply.header('etag', etag)
      if (request.headers['if-none-match'] === etag) return await reply.code(304).send()
      return await reply.type('application/json').send(body)
    })

    const asked = (request: FastifyRequest) => flagPlaceOf((request.params as { key: string }).key, isMbox)
    scope.post<{ Params: { key: string } }>(`${path}${BULK}/:key`, {
      ...shared('One flag, by OFREP'),
      config: { [decorator]: (request: FastifyRequest) => ({ prefetch: { mboxes: [isMbox(asked(request).mbox) ? asked(request).mbox : mboxes[0]] } }) }
    }, async (request, reply) => {
      const { key } = request.params
      const place = asked(request)
      if (!isMbox(place.mbox)) return await reply.code(404).type('application/json').send(JSON.stringify({ key, errorCode: 'FLAG_NOT_FOUND', errorDetails: 'there is no declared mbox of that name' }))
      const flag = flagOf(key, place, await target(request).offer(place.mbox), contextOf(target(request)))
      const status = flag.errorCode === 'FLAG_NOT_FOUND' ? 404 : flag.errorCode === undefined ? 200 : 400
      return await reply.code(status).type('application/json').send(JSON.stringify(flag))
    })
  }, options)
}

type OfrepFlag = { key: string, value?: unknown, reason?: string, variant?: string, metadata?: object, errorCode?: string, errorDetails?: string }

/** The flags of an mbox: itself, and the members of its json offers. */
function flagsOf (offer: Offer<OfferContent, unknown> & { mbox: string }, context: FlagContext): OfrepFlag[] {
  const keys = [offer.mbox, ...membersOf(mergedContent(offer.options) ?? offer.content, offer.mbox)]
  return keys.map((key) => flagOf(key, { mbox: offer.mbox, path: key === offer.mbox ? [] : key.slice(offer.mbox.length + 1).split('.') }, offer, context))
}

/** The protocol knows no reason for defaults. */
const REASONS = ['STATIC', 'TARGETING_MATCH', 'SPLIT', 'DISABLED']

function flagOf (key: string, place: FlagPlace, offer: Offer<OfferContent, unknown>, context: FlagContext): OfrepFlag {
  const reading = readFlag(offer, place, 'any', { ...context, artifact: offer.source === 'edge' ? undefined : context.artifact }, mergedContent(offer.options))
  if (reading.kind === 'error') return { key, errorCode: reading.errorCode === 'PROVIDER_NOT_READY' ? 'GENERAL' : reading.errorCode, errorDetails: reading.errorMessage }
  const reason = REASONS.includes(reading.reason) ? reading.reason : 'UNKNOWN'
  if (reading.kind === 'default') return { key, reason }
  const { tokens, variant } = reading
  const metadata = Object.entries({ activityId: tokens['activity.id'], experienceId: tokens['experience.id'], source: offer.source })
  return { key, value: reading.value, reason, ...(variant !== undefined && { variant }), metadata: Object.fromEntries(metadata.filter(([, value]) => value !== undefined && value !== null)) }
}
