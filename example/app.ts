/**
 * The shop. `GET /` is the personalised page: the route declares its mboxes, the plugin calls Target as soon as the request
 * arrives, and by the time the shop has its products the offers are there.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import fastifyCookie from '@fastify/cookie'
import { Type, type Static } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import fastifyAdobeTarget from 'fastify-adobe-target'
import targetInspector from 'fastify-adobe-target/inspector'
import { client, datastreams, organizationId } from './account.ts'
import { browserRoutes } from './browser.ts'
import { CheckoutFlagsSchema } from './checkout-flags.ts'
import { renderPage } from './page.ts'
import { fetchProducts } from './products.ts'
import { sampleRoutes } from './sample-routes.ts'
import { clearTargetCookies, setTargetCookies, visitorOptions } from './target-cookies.ts'
import type { TargetState } from './target-states.ts'
import { webSdkRoutes } from './web-sdk.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** When the request arrived, on the clock of `performance.now()`. */
    arrival: number
  }
}

export interface AppOptions {
  /** Host and port of the edge. For a real account, remove `serverDomain`, `edgeDomain` and `secure` below. */
  edge: string
  /** Address of the product service. */
  productService: string
  /** Makes the edge as it is to be from now on. Only a local edge can be made slow. */
  setEdge?: (state: TargetState) => void
  /** Calls Target through the Edge Network, for pages with Adobe's Web SDK. Default: the Delivery API, for pages with at.js. */
  webSdk?: boolean
  /** Default `false`. */
  logger?: FastifyServerOptions['logger']
}

const PageQuery = Type.Object({ member: Type.Optional(Type.String()) })
// A token of the Edge Network is longer than one of the Delivery API.
const ClickBody = Type.Object({ token: Type.String({ minLength: 1, maxLength: 8192 }) })
const StateBody = Type.Object({ state: Type.Union([Type.Literal('fine'), Type.Literal('slow'), Type.Literal('broken'), Type.Literal('gone')]) })

/** Milliseconds, for the `Server-Timing` header. */
const duration = (name: string, milliseconds: number) => `${name};dur=${milliseconds.toFixed(1)}`

export async function createApp ({ edge, productService, setEdge, webSdk = false, logger = false }: AppOptions): Promise<FastifyInstance> {
  // Browsers keep connections open; without this, closing would wait for them.
  const app = Fastify({ logger, forceCloseConnections: true })

  app.decorateRequest('arrival', 0)
  app.addHook('onRequest', (request, _reply, done) => {
    request.arrival = performance.now()
    done()
  })
  await app.register(fastifyCookie)
  await app.register(fastifyAdobeTarget, {
    client,
    organizationId,
    ...webSdk
      ? { edgeNetwork: { datastreamId: datastreams.server, edgeDomain: edge } }
      : { serverDomain: edge, artifactLocation: `http://${edge}/${client}/production/v1/rules.json` }, // for the inspector, which explains by it
    secure: false,
    serverTiming: true,
    notificationsRoute: true // the page's script reports clicks and displays there
  })
  await app.register(targetInspector, { artifact: !webSdk, enabled: process.env.NODE_ENV !== 'production' })
  await app.register(sampleRoutes)
  await app.register(webSdk ? webSdkRoutes : browserRoutes, { edge, productService })

  // Clicks by event token, so one count for each variant. Only tokens that Target accepted.
  const clicks = new Map<string, number>()
  let state: TargetState = 'fine'

  app.get<{ Querystring: Static<typeof PageQuery> }>('/', {
    schema: { querystring: PageQuery },
    // Executed offers count as displayed; the banner is prefetched, and counts once it is visible.
    config: { target: { execute: { mboxes: ['hero', 'checkout-flags'] }, prefetch: { mboxes: ['banner'] }, maxWait: 100 } }
  }, async (request, reply) => {
    const { target, arrival } = request
    const elapsed = () => performance.now() - arrival
    const asked = elapsed()
    const products = await fetchProducts(productService) // the Target call is already running
    const listed = elapsed()

    const [hero, banner, flagsOffer, flags] = await Promise.all([
      target.offer('hero'),
      target.offer('banner'),
      target.offer('checkout-flags'),
      target.attributes('checkout-flags', CheckoutFlagsSchema)
    ])
    const clickToken = hero.metrics.find(({ type }) => type === 'click')?.eventToken

    const nonce = randomBytes(16).toString('base64')
    const page = renderPage({
      nonce,
      state: setEdge === undefined ? undefined : state,
      toolbar: target.toolbar({ nonce }),
      webSdk,
      products,
      hero,
      banner,
      flags,
      offers: [hero, banner, flagsOffer],
      isGold: request.query.member === 'gold',
      click: clickToken === undefined ? undefined : { token: clickToken, count: clicks.get(clickToken) ?? 0 },
      timeline: { asked, listed, answered: elapsed(), target: target.timing }
    })
    return reply
      .type('text/html; charset=utf-8')
      .header('cache-control', 'private, no-cache') // one visitor's page must not be served to another
      .header('content-security-policy', `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`)
      .header('server-timing', [duration('page', elapsed()), duration('products', listed - asked)].join(', '))
      .send(page)
  })

  // Forms work without JavaScript, and redirect, so that reloading the page repeats nothing.
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
  const pageFor = ({ member }: Static<typeof PageQuery>) => member === 'gold' ? '/?member=gold' : '/'
  const behind = (query: Static<typeof PageQuery>) => `${pageFor(query)}#behind`

  app.post<{ Body: Static<typeof ClickBody>, Querystring: Static<typeof PageQuery> }>('/click', {
    schema: { body: ClickBody, querystring: PageQuery }
  }, async (request, reply) => {
    const { token } = request.body
    const click = { id: randomUUID(), type: 'click' as const, timestamp: Date.now(), tokens: [token], mbox: { name: 'hero' } }
    try {
      const result = await app.target.sendNotifications({ ...visitorOptions(request), request: { notifications: [click] } })
      setTargetCookies(reply, result)
      // Processed notifications come back by id.
      if (result.response.notifications?.some(({ id }) => id === click.id)) clicks.set(token, (clicks.get(token) ?? 0) + 1)
    } catch (error) {
      // A click that cannot be counted is no reason to show an error to the person who clicked.
      request.log.error(error, 'a click was not counted')
    }
    // The page's script asks for the number, and shows it where it stands.
    if (request.headers.accept === 'application/json') return { count: clicks.get(token) ?? 0 }
    return reply.redirect(behind(request.query), 303)
  })

  app.post<{ Body: Static<typeof StateBody>, Querystring: Static<typeof PageQuery> }>('/target-is', {
    schema: { body: StateBody, querystring: PageQuery }
  }, async (request, reply) => {
    if (setEdge !== undefined) setEdge(state = request.body.state)
    return reply.redirect(behind(request.query), 303)
  })

  app.post<{ Querystring: Static<typeof PageQuery> }>('/new-visitor', {
    schema: { querystring: PageQuery }
  }, async (request, reply) => {
    clearTargetCookies(request, reply)
    return reply.redirect(pageFor(request.query), 303)
  })

  return app
}
