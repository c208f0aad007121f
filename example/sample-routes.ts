/**
 * The routes of the sample application of Adobe's Python SDK (target-python-sdk, `samples/app.py`), in this plugin. They
 * use the client's methods, which are named as in Adobe's SDKs, and answer with the Delivery API's response as JSON.
 *
 * | route | requests |
 * |---|---|
 * | `GET /executePageload`, `/executePageLoad` | the page load |
 * | `GET /executeMbox?mbox=a,b` | executed mboxes |
 * | `GET /prefetchMbox?mbox=a&prefetch=b,c` | executed and prefetched mboxes, in one call |
 * | `GET /prefetchView?view=a` | prefetched views, in the callback style |
 * | `GET /prefetchViewAsyncio?view=a`, `/prefetchViewAsync` | prefetched views, awaited |
 * | `POST /sendNotifications` | nothing: reports that the prefetched views and mboxes in the body were displayed |
 *
 * The commands of the original's README work here. As there, the ids of a visitor may be given in the query string (`tntId`,
 * `thirdPartyId`, `mcid`), an empty one counts as absent, the first of several counts, a body is JSON whatever its content
 * type says, `async` is accepted (every call is asynchronous), and if nothing is requested the response is 204.
 *
 * On purpose different: Target's failures are answered with their code, e.g. 504 and FST_TARGET_TIMEOUT, not with 500; what
 * was prefetched without an offer counts no display; a body without anything to report gets 204, not 500. These
 * are an API for tests. For a page, use `request.target`, which has a fallback instead of an error.
 */
import { randomUUID } from 'node:crypto'
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { schemas, type GetOffersOptions, type TargetResult } from 'fastify-adobe-target'
import { setTargetCookies, visitorOptions } from './target-cookies.ts'

const names = (what: string) => Type.String({ default: '', maxLength: 2000, description: `${what}, separated by commas.` })
const id = Type.Optional(Type.String())

const VisitorQuery = Type.Object({ tntId: id, thirdPartyId: id, mcid: id })
const MboxQuery = Type.Object({ ...VisitorQuery.properties, mbox: names('Mboxes to execute') })
const PrefetchQuery = Type.Object({ ...MboxQuery.properties, prefetch: names('Mboxes to prefetch') })
const ViewQuery = Type.Object({ ...VisitorQuery.properties, view: names('Views to prefetch') })

/** A prefetched mbox or view as the Delivery API returned it, or with its tokens in a list, as in the Python sample. */
const Prefetched = Type.Object({
  name: Type.Optional(Type.String()),
  key: Type.Optional(Type.String()),
  state: Type.Optional(Type.String()),
  options: Type.Array(Type.Object({ eventToken: Type.Optional(Type.String()) }), { default: [] }),
  event_tokens: Type.Array(Type.String(), { default: [] })
})
const PrefetchedBody = Type.Object({
  mboxes: Type.Array(Prefetched, { default: [] }),
  views: Type.Array(Prefetched, { default: [] })
})

type VisitorRequest<Query = Static<typeof VisitorQuery>> = FastifyRequest<{ Querystring: Query & Static<typeof VisitorQuery> }>

const response = { 200: schemas.DeliveryResponse }

export async function sampleRoutes (app: FastifyInstance): Promise<void> {
  // curl sends forms unless it is told otherwise.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, app.getDefaultJsonParser('error', 'error'))

  app.addHook('preValidation', async (request) => { request.query = firstOfEach(request.query as Record<string, unknown>) })

  for (const path of ['/executePageload', '/executePageLoad']) {
    app.get<{ Querystring: Static<typeof VisitorQuery> }>(path, {
      schema: { querystring: VisitorQuery, response }
    }, async (request, reply) => {
      return answer(reply, await app.target.getOffers(offersOptions(request, { execute: { pageLoad: {} } })))
    })
  }

  app.get<{ Querystring: Static<typeof MboxQuery> }>('/executeMbox', {
    schema: { querystring: MboxQuery, response }
  }, async (request, reply) => {
    const mboxes = mboxRequests(request.query.mbox)
    if (mboxes.length === 0) return reply.code(204).send()
    return answer(reply, await app.target.getOffers(offersOptions(request, { execute: { mboxes } })))
  })

  app.get<{ Querystring: Static<typeof PrefetchQuery> }>('/prefetchMbox', {
    schema: { querystring: PrefetchQuery, response }
  }, async (request, reply) => {
    const execute = mboxRequests(request.query.mbox)
    const prefetch = mboxRequests(request.query.prefetch)
    if (execute.length === 0 && prefetch.length === 0) return reply.code(204).send()
    return answer(reply, await app.target.getOffers(offersOptions(request, {
      ...(execute.length > 0 && { execute: { mboxes: execute } }),
      ...(prefetch.length > 0 && { prefetch: { mboxes: prefetch } })
    })))
  })

  app.get<{ Querystring: Static<typeof ViewQuery> }>('/prefetchView', {
    schema: { querystring: ViewQuery, response }
  }, (request, reply) => {
    const views = list(request.query.view).map((name) => ({ name }))
    if (views.length === 0) return reply.code(204).send()
    app.target.getOffers(offersOptions(request, { prefetch: { views } }), (error, result) => {
      if (result === undefined) reply.send(error)
      else answer(reply, result)
    })
  })

  for (const path of ['/prefetchViewAsyncio', '/prefetchViewAsync']) {
    app.get<{ Querystring: Static<typeof ViewQuery> }>(path, {
      schema: { querystring: ViewQuery, response }
    }, async (request, reply) => {
      const views = list(request.query.view).map((name) => ({ name }))
      if (views.length === 0) return reply.code(204).send()
      return answer(reply, await app.target.getOffers(offersOptions(request, { prefetch: { views } })))
    })
  }

  app.post<{ Querystring: Static<typeof VisitorQuery>, Body: Static<typeof PrefetchedBody> }>('/sendNotifications', {
    schema: { querystring: VisitorQuery, body: PrefetchedBody, response }
  }, async (request, reply) => {
    const { mboxes, views } = request.body
    const notifications = [
      ...mboxes.map((mbox) => ({ ...display(mbox), mbox: { name: mbox.name, state: mbox.state } })),
      ...views.map((view) => ({ ...display(view), view: { name: view.name, key: view.key, state: view.state } }))
    ].filter(({ tokens }) => tokens.length > 0)
    if (notifications.length === 0) return reply.code(204).send()
    return answer(reply, await app.target.sendNotifications(offersOptions(request, { notifications })))
  })
}

/** The first value of each member of a query string, and none that is empty. */
const firstOfEach = (query: Record<string, unknown>) => Object.fromEntries(Object.entries(query)
  .map(([name, value]) => [name, Array.isArray(value) ? value[0] : value])
  .filter(([, value]) => value !== ''))

/** The parts of a comma separated list. */
const list = (text: string) => text.split(',').map((part) => part.trim()).filter((part) => part !== '')

const mboxRequests = (text: string) => list(text).map((name, index) => ({ name, index }))

/** A display notification for what was prefetched; a place without an offer has no tokens. */
function display ({ options, event_tokens: tokens }: Static<typeof Prefetched>) {
  return {
    id: randomUUID(),
    impressionId: randomUUID(),
    type: 'display' as const,
    timestamp: Date.now(),
    tokens: [...tokens, ...options.map(({ eventToken }) => eventToken).filter((token) => token !== undefined)]
  }
}

/** The request, for the visitor of this request on this page. */
function offersOptions (request: VisitorRequest, asked: GetOffersOptions['request']): GetOffersOptions {
  const { tntId, thirdPartyId, mcid: marketingCloudVisitorId } = request.query
  return {
    ...visitorOptions(request),
    request: {
      ...asked,
      id: { tntId, thirdPartyId, marketingCloudVisitorId },
      context: {
        channel: 'web',
        address: { url: `${request.protocol}://${request.host}${request.originalUrl}`, referringUrl: request.headers.referer },
        userAgent: request.headers['user-agent']
      }
    }
  }
}

/** The Delivery API's response, with Target's cookies. */
function answer (reply: FastifyReply, result: TargetResult): FastifyReply {
  setTargetCookies(reply, result)
  return reply.header('cache-control', 'private, no-cache').send(result.response)
}
