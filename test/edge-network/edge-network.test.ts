/** Pages of the plugin that ask Target by the Edge Network, at the local edge: requests, cookies, displays, failures, credentials. */
import type { IncomingMessage } from 'node:http'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import fastifyAdobeTarget, { createTargetClient, type FastifyAdobeTargetOptions } from '../../lib/index.ts'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import type { TargetEdge } from '../../lib/edge/index.ts'
import { Log } from '../../lib/diagnostics.ts'
import { AccessToken } from '../../lib/transport/edge-network/access-token.ts'
import { toResponse } from '../../lib/transport/edge-network/answer.ts'
import { collectBody } from '../../lib/transport/edge-network/event.ts'
import { handlesOf } from '../../lib/transport/edge-network/wire.ts'
import { client, cookiesOf, json, organizationId, startEdge, startServer } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { until } from '../support/wait.ts'

const datastreamId = 'server-datastream'
const prefix = 'kndctr_1234567890_AdobeOrg_'
const browser = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36'

type EdgeNetwork = NonNullable<FastifyAdobeTargetOptions['edgeNetwork']>

/** An app whose `edgeNetwork` is a local edge. */
async function startShop (t: Test, edge: TargetEdge, options: Partial<FastifyAdobeTargetOptions> = {}, edgeNetwork: Partial<EdgeNetwork> = {}) {
  const logged: any[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { logged.push(JSON.parse(line)) } } }, forceCloseConnections: true, trustProxy: true })
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, { client, organizationId, secure: false, edgeNetwork: { datastreamId, edgeDomain: edge.host, ...edgeNetwork }, ...options })
  app.get('/', { config: { target: ['hero', 'banner'] } }, async (request) => {
    const { content, reason } = await request.target.offer('hero', 'fallback')
    return { hero: content, reason, banner: await request.target.content('banner', 'fallback') }
  })
  app.get('/prefetch', { config: { target: { prefetch: { mboxes: ['hero'], views: ['product'], pageLoad: {} } } } }, async (request) => {
    const offer = await request.target.offer('hero')
    const view = await request.target.view('product')
    request.target.displayed('hero')
    request.target.displayed({ view: 'product' })
    request.target.clicked('hero')
    return { offer, view, pageLoad: await request.target.pageLoad(), state: request.target.webSdkState(), serverState: request.target.serverState() ?? null }
  })
  app.get('/thanks', async (request) => {
    request.target.converted('confirm', { order: { id: 'o1', total: 12.5, purchasedProductIds: ['p1', 'p2'] }, parameters: { coupon: 'yes' }, profileParameters: { buyer: true } })
    return ''
  })
  app.get('/page', { config: { target: { execute: { pageLoad: {}, mboxes: ['hero'] } } } }, async (request) => {
    await request.target.pageLoad()
    return { state: request.target.webSdkState(), script: request.target.script() }
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, url, logged }
}

/** The events that arrived, with the path and headers they came with. */
const eventsOf = (edge: TargetEdge) => edge.requests.flatMap(({ body, path, headers }) => [body.event, ...body.events ?? []].filter(Boolean).map((event) => ({ path, headers, ...event })))

t.test('a page', async (t) => {
  const edge = await startEdge(t)
  edge.offer('hero', '<b>gold</b>', { when: { level: 'gold' } })
  const { url } = await startShop(t, edge, {
    parameters: () => ({ level: 'gold' }),
    profileParameters: () => ({ seats: 3 }),
    propertyToken: 'property-1',
    visitor: () => ({ thirdPartyId: 'crm-1', customerIds: [{ id: 'x@example.com', integrationCode: 'Email', authenticatedState: 'authenticated' as const }] })
  }, { thirdPartyIdNamespace: 'CrmId' })
  const headers = { 'user-agent': browser, 'x-forwarded-for': '203.0.113.7', 'sec-ch-ua-platform': '"Linux"', 'sec-ch-ua-mobile': '?0', referer: 'https://shop.example/before' }
  const response = await fetch(`${url}/?a=1`, { headers })
  t.match(await json(response), { hero: '<b>gold</b>', reason: 'matched', banner: /Hello/ })
  await edge.until(() => edge.displays('hero') === 1 && edge.displays('banner') === 1)

  const [asked, shown, ...others] = eventsOf(edge)
  t.same(others, [], 'one call for the offers and one for what was displayed')
  t.equal(asked.path, '/ee/v2/interact')
  t.equal(asked.headers['user-agent'], browser)
  t.equal(asked.headers['x-forwarded-for'], '203.0.113.7')
  t.equal(asked.headers['sec-ch-ua-platform'], '"Linux"')
  const [{ body, query }] = edge.requests as any
  t.same(query, { datastreamId, requestId: query.requestId })
  const [ecid] = asked.xdm.identityMap.ECID
  t.match(ecid, { id: /^\d{38}$/, primary: true })
  t.match(asked, {
    xdm: {
      eventType: 'decisioning.propositionFetch',
      web: { webPageDetails: { URL: /\/\?a=1$/ }, webReferrer: { URL: 'https://shop.example/before' } },
      identityMap: { CrmId: [{ id: 'crm-1', primary: false }], Email: [{ id: 'x@example.com', authenticatedState: 'authenticated', primary: false }] }
    },
    data: { __adobe: { target: { level: 'gold', 'profile.seats': '3' } } }
  })
  t.same(body.query.personalization.decisionScopes, ['hero', 'banner'])
  t.same(body.meta.configOverrides, { com_adobe_target: { propertyToken: 'property-1' } })
  t.equal(shown.path, '/ee/v2/collect')
  t.equal(shown.xdm.eventType, 'decisioning.propositionDisplay')
  t.same(shown.xdm._experience.decisioning.propositions.map(({ scope }: any) => scope), ['hero', 'banner'], 'merged in one event')
  t.equal(shown.xdm.identityMap.ECID[0].id, ecid.id, 'of the same visitor')

  const cookies = response.headers.getSetCookie()
  t.same(cookies.map((cookie) => cookie.split('=', 1)[0]), [`${prefix}identity`, `${prefix}cluster`], 'and none of Target')
  t.match(cookies[0], new RegExp(`^${prefix}identity=${Buffer.from(`\n&${ecid.id}`).toString('base64url')}; Max-Age=34128000; Path=/; SameSite=Lax$`), 'byte for byte')
  edge.reset()
  edge.offer('hero', '<b>again</b>')
  const again = await fetch(url, { headers: { ...headers, cookie: cookiesOf(response) } })
  t.match(await json(again), { hero: '<b>again</b>' })
  const [{ path, body: second }] = edge.requests as any
  t.equal(path, '/ee/or2/v2/interact', 'to where the visitor is known')
  t.same(second.event.xdm.identityMap.ECID, [ecid])
  t.same(second.meta.state.entries.map(({ key }: any) => key), [`${prefix}identity`, `${prefix}cluster`])
})

t.test('prefetched content counts when it is displayed, views are views', async (t) => {
  const edge = await startEdge(t)
  edge.offer('hero', { a: 1 })
  const { url } = await startShop(t, edge)
  const { offer, view, pageLoad, state, serverState } = await json(await fetch(`${url}/prefetch`))
  t.match(offer, { type: 'json', content: { a: 1 }, metrics: [{ type: 'click' }], responseTokens: { 'activity.name': 'hero' }, source: 'edge' })
  t.match(view, { view: 'product', type: 'actions', content: [{ type: 'insertAfter', selector: '#sizes', cssSelector: '#sizes' }] })
  t.match(pageLoad, { type: 'actions', content: [{ type: 'setHtml', selector: '#promise' }], metrics: [{ type: 'click', selector: '#promise' }] })
  await edge.until(() => edge.clicks('hero') === 1)
  t.equal(edge.displays('hero'), 1)
  t.equal(edge.displays({ view: 'product' }), 1)
  t.equal(edge.displays({ pageLoad: true }), 0, 'the page load is for Web SDK to render and report')
  t.equal(serverState, null, 'at.js has no part in it')
  t.equal(state.personalization.sendDisplayEvent, true)
  t.same(state.responseBody.handle.map(({ type }: any) => type), ['identity:result', 'personalization:decisions'], 'no state that the server writes')
  t.notMatch(JSON.stringify(state), /"scope":"hero"/, 'no mbox')
  t.notMatch(JSON.stringify(eventsOf(edge)), 'Max-Age')
})

t.test('the page load that was executed is reported by the server alone', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startShop(t, edge)
  const { state, script } = await json(await fetch(`${url}/page`))
  t.same(state.personalization, { sendDisplayEvent: false })
  t.match(script, /^<script>\(function\(s\)/)
  await edge.until(() => edge.displays({ pageLoad: true }) === 1 && edge.displays('hero') === 1)
  const { url: other } = await startShop(t, edge, { cookies: false })
  const given = await json(await fetch(`${other}/page`))
  t.match(given.state.responseBody.handle.at(-1), { type: 'state:store', payload: [{ key: `${prefix}identity`, maxAge: 34128000 }, { key: `${prefix}cluster`, value: 'or2' }] }, 'what the server does not write, Web SDK does')
})

t.test('attacks by cookie', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startShop(t, edge)
  const ask = async (cookie: string) => {
    const response = await fetch(url, { headers: { cookie } })
    t.equal(response.status, 200)
    t.equal((await json(response)).reason, 'matched')
    return edge.requests.findLast(({ path }) => path.endsWith('interact')) as any
  }
  for (const cluster of ['evil.example', '../../x', 'or2/../..', 'va7', 'OR2', 't35', 'or2%0d%0aHost:x', '%6fr2.evil', '']) {
    t.equal((await ask(`${prefix}cluster=${cluster}`)).path, '/ee/v2/interact', `${cluster} is no location`)
  }
  for (const identity of ['x', '%', '%E0%A4%A', 'CiY', Buffer.from('\n\x7fabc').toString('base64url'), 'a'.repeat(4097), '"><script>']) {
    const { body } = await ask(`${prefix}identity=${identity}`)
    t.match(body.event.xdm.identityMap.ECID[0].id, /^\d{38}$/, 'a visitor without an identity that can be read is a new one')
  }
  const many = Array.from({ length: 60 }, (_, index) => `${prefix}x${index}=${'v'.repeat(100)}`).join('; ')
  t.equal((await ask(many)).body.meta.state.entries.length, 20)
  const foreign = await ask('kndctr_OTHER_AdobeOrg_identity=abc; session=secret; kndctr_1234567890_AdobeOrg=1')
  t.equal(foreign.body.meta.state.entries, undefined, 'only this organization\'s cookies are passed on')
  t.notMatch(JSON.stringify(foreign), /secret/)
})

t.test('an edge that writes what is not its own', async (t) => {
  const payload = [
    { key: 'session', value: 'stolen', maxAge: 9 }, { key: `${prefix}identity`, value: 'a\r\nSet-Cookie: x=1', maxAge: 9 }, { key: `${prefix}a b`, value: 'x' },
    null, 7, { key: `${prefix}ok`, value: 'a;b "c', maxAge: 1.5 }, { key: `${prefix}long`, value: 'x'.repeat(5000) }
  ]
  const host = await startServer(t, (request, response) => {
    request.resume().on('end', () => response.end(JSON.stringify({ handle: [{ type: 'state:store', payload }, { type: 'personalization:decisions', payload: [null, { id: 1 }, { id: 'a', scope: 'hero', scopeDetails: {}, items: [null, { schema: 's' }] }] }, 5, { type: 'x' }] })))
  })
  const { url } = await startShop(t, { host } as TargetEdge)
  const response = await fetch(url)
  t.equal((await json(response)).reason, 'no-offer')
  t.same(response.headers.getSetCookie(), [`${prefix}ok=a%3Bb%20%22c; Path=/; SameSite=Lax`])
})

t.test('first-party device id', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startShop(t, edge, { firstPartyId: true })
  const device = '0f5e2a9c-6b7a-4c1e-9f57-1b2d3c4e5f60'
  const response = await fetch(url, { headers: { cookie: `FPID=${device}` } })
  await edge.until(() => edge.displays('hero') === 1)
  const [asked, shown] = eventsOf(edge)
  t.same(asked.xdm.identityMap, { FPID: [{ id: device, authenticatedState: 'ambiguous', primary: true }] })
  t.match(shown.xdm.identityMap, { ECID: [{ id: /^\d{38}$/ }] }, 'once the Edge Network has said the ECID, that is the visitor')
  t.match(cookiesOf(response), /_identity=.*FPID=0f5e2a9c/)
})

t.test('consent', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startShop(t, edge, {}, { defaultConsent: 'pending' })
  const pending = await fetch(`${url}/page`)
  t.same(await json(pending), { script: '' })
  t.same(pending.headers.getSetCookie(), [])
  const out = await fetch(url, { headers: { cookie: `${prefix}consent=general=out` } })
  t.match(await json(out), { hero: 'fallback', reason: 'opted-out' })
  t.same(edge.requests, [], 'nothing is sent')
  const given = await fetch(url, { headers: { cookie: `${prefix}consent=general%3Din` } })
  t.equal((await json(given)).reason, 'matched')
  const { url: other } = await startShop(t, edge)
  t.equal((await json(await fetch(other, { headers: { cookie: `${prefix}consent=general=out` } }))).reason, 'opted-out')
})

t.test('QA links', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startShop(t, edge)
  const link = edge.qaLink(url, { activities: [sampleArtifact.rules.mboxes.hero[0]!.activityId], previewIndexes: [{ activityIndex: 1, experienceIndex: 1 }] })
  t.equal((await json(await fetch(link))).reason, 'matched')
  const [{ body }] = edge.requests as any
  t.match(body.meta.state.entries.at(-1), { key: 'at_qa_mode', value: /"token"/ })
  await edge.until(() => edge.requests.length === 2)
  t.equal(edge.displays('hero'), 0, 'QA is kept out of the reports')
})

t.test('failures end as those of the Delivery API', async (t) => {
  const edge = await startEdge(t)
  // Without connections that are open before, so that a reset one is not retried.
  const { url, app, logged } = await startShop(t, edge, { timeout: 1000, preconnect: 0, breaker: { failures: 4, cooldown: 60_000 } })
  const reasons: Record<string, [string, string]> = {
    hang: ['timeout', 'FST_TARGET_TIMEOUT'],
    reset: ['error', 'FST_TARGET_CONNECTION'],
    'bad-json': ['error', 'FST_TARGET_INVALID_RESPONSE'],
    'status-in-body': ['error', 'FST_TARGET_HTTP'],
    'status:429': ['error', 'FST_TARGET_HTTP'],
    'status:503': ['error', 'FST_TARGET_HTTP']
  }
  for (const [kind, [reason, code]] of Object.entries(reasons)) {
    edge.fault(kind as 'hang', { times: 1 })
    t.equal((await json(await fetch(url))).reason, reason, kind)
    t.ok(logged.some(({ err }) => err?.code === code), `${kind}: ${code}`)
  }
  t.match(logged.map(({ msg }) => msg).join('\n'), /503: A fault was requested of the 'com\.adobe\.target' service/)
  edge.fault('status:500')
  for (let call = 0; call < 4; call++) await fetch(url)
  const breaker = () => Object.values(app.target.health().breaker)[0]!
  t.match(breaker(), { state: /open/ }, 'open, or to be probed')
  // The first pauses are short; this one lasts longer than a visit.
  await until(async () => { await fetch(url); return breaker().retryIn > 600 })
  t.equal((await json(await fetch(url))).reason, 'breaker-open')
  t.equal(app.target.health().status, 'down')
})

t.test('displays are sent until they arrive, once each', async (t) => {
  const edge = await startEdge(t)
  const { url, app } = await startShop(t, edge)
  edge.fault('slow:1', { times: 1 })
  const page = fetch(url)
  await edge.nextRequest()
  await page
  edge.fault('status:503', { times: 1 })
  await until(() => edge.displays('hero') === 1)
  t.equal(edge.displays('banner'), 1)
  await until(() => app.target.health().outbox.pending === 0)
  t.match(app.target.health().outbox, { accepted: 2, sent: 2, failed: 0, dropped: 0 })
  app.target.notify({ key: 'k', request: { context: { channel: 'web' } }, sessionId: 's', locationHint: undefined }, [{ id: 'n1', type: 'click', timestamp: 1, tokens: ['forged'] }])
  await until(() => app.target.health().outbox.failed === 1)
  t.equal(edge.clicks('hero'), 0, 'a token that is not the Edge Network\'s is given up, and not sent')
})

t.test('conversions', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startShop(t, edge)
  const response = await fetch(`${url}/thanks`)
  t.equal(response.status, 200)
  await edge.until(() => edge.orders('confirm').length === 1 && edge.requests.length === 1)
  t.match(edge.orders('confirm'), [{ id: 'o1', total: 12.5, purchasedProductIds: ['p1', 'p2'], parameters: { coupon: 'yes' } }])
  const [{ xdm, data }] = eventsOf(edge)
  t.match(xdm, { eventType: 'decisioning.propositionDisplay', _experience: { decisioning: { propositions: [{ scope: 'confirm' }] } } })
  t.match(data, { __adobe: { target: { orderId: 'o1', orderTotal: 12.5, productPurchasedId: 'p1,p2', coupon: 'yes', 'profile.buyer': 'true' } } })
})

t.test('OAuth server-to-server credentials', async (t) => {
  const edge = await startEdge(t)
  const credentials = { clientId: 'client-1', clientSecret: 'top-secret', tokenUrl: `http://${edge.host}/ims/token/v3` }
  const { url, logged } = await startShop(t, edge, {}, { credentials })
  t.equal((await json(await fetch(url))).reason, 'matched')
  await edge.until(() => edge.displays('hero') === 1)
  for (const { headers } of edge.requests) {
    t.match(headers, { authorization: /^Bearer \d+\./, 'x-api-key': 'client-1', 'x-gw-ims-org-id': organizationId })
  }
  t.equal(new Set(edge.requests.map(({ headers }) => headers.authorization)).size, 1, 'one token for all')
  t.same(logged, [])

  // A gateway that takes no token of before.
  let refusals = 0
  const gateway = await startServer(t, (request, response) => {
    let body = ''
    request.on('data', (chunk) => { body += chunk }).on('end', async () => {
      if (refusals++ === 0) return response.writeHead(401, { 'content-type': 'application/problem+json' }).end('{"type":"https://ns.adobe.com/aep/errors/EXEG-0503-401","status":401,"title":"Invalid authorization token"}')
      const answer = await fetch(`http://${edge.host}${request.url}`, { method: 'POST', headers: forwarded(request), body })
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
    })
  })
  const { url: other } = await startShop(t, edge, {}, { credentials, edgeDomain: gateway })
  t.equal((await json(await fetch(other))).reason, 'matched', 'a token that is no longer taken is replaced within the call')

  const { url: broken, logged: lines } = await startShop(t, edge, { timeout: 400 }, { credentials: { ...credentials, tokenUrl: `http://${edge.host}/nothing` } })
  t.equal((await json(await fetch(broken))).reason, 'error')
  t.match(lines.map(({ msg }) => msg).join('\n'), /no access token for the Edge Network/)
  t.notMatch(JSON.stringify(lines), /top-secret/)
})

const forwarded = ({ headers }: IncomingMessage) => Object.fromEntries(Object.entries(headers).filter(([name]) => !['host', 'connection', 'content-length', 'transfer-encoding'].includes(name))) as Record<string, string>

t.test('a token is renewed before it ends, once for everybody', async (t) => {
  let calls = 0
  const post = async () => {
    calls += 1
    if (calls === 2) return { status: 503, body: [] }
    return { status: 200, body: [Buffer.from(JSON.stringify({ access_token: `token-${calls}`, expires_in: calls === 3 ? 3 : 0.5 }))] }
  }
  const token = new AccessToken({ clientId: 'a', clientSecret: 'b' }, post, Log.of({ debug () {}, error () {} }))
  t.teardown(() => token.close())
  t.same(await Promise.all([token.current, token.current]), ['token-1', 'token-1'])
  t.equal(calls, 1)
  await until(() => calls === 3)
  t.equal(await token.current, 'token-3', 'after a failure it is tried again')
  await until(() => calls >= 4)
})

t.test('what the Edge Network cannot do is refused at registration', async (t) => {
  const base = { client, organizationId, edgeNetwork: { datastreamId } }
  const refused: [object, RegExp][] = [
    [{ decisioningMethod: 'on-device' }, /`decisioningMethod` must be 'server-side' with `edgeNetwork`, got 'on-device'/],
    [{ serverDomain: 'a.example' }, /`serverDomain` cannot be used with `edgeNetwork`: set `edgeNetwork\.edgeDomain`/],
    [{ environmentId: 4 }, /`environmentId` cannot be used with `edgeNetwork`/],
    [{ artifactPayload: {} }, /`artifactPayload` cannot be used/],
    [{ telemetryEnabled: true }, /`telemetryEnabled` cannot be used/],
    [{ edgeNetwork: { datastreamId, edgeDomian: 'x' } }, /unknown option `edgeNetwork\.edgeDomian` \(did you mean `edgeDomain`\?\)/],
    [{ edgeNetwork: {} }, /`edgeNetwork\.datastreamId` is required/],
    [{ edgeNetwork: { datastreamId, edgeDomain: 'https://x/' } }, /`edgeNetwork\.edgeDomain` must be a host/],
    [{ edgeNetwork: { datastreamId, edgeBasePath: '../x' } }, /`edgeNetwork\.edgeBasePath` must be/],
    [{ edgeNetwork: { datastreamId, credentials: { clientId: 'x' } } }, /`edgeNetwork\.credentials\.clientSecret` /]
  ]
  for (const [options, message] of refused) t.throws(() => createTargetClient({ ...base, ...options } as typeof base), { code: 'FST_TARGET_INVALID_OPTIONS', message })
  const routes: [object, RegExp][] = [
    [{ execute: { mboxes: ['a'] }, trace: { authorizationToken: 'x' } }, /config\.target of GET \/: `trace` cannot be used with `edgeNetwork`/],
    [{ execute: { mboxes: ['a'] }, environmentId: 1 }, /`environmentId` cannot be used/],
    [{ execute: { mboxes: ['a'] }, decisioningMethod: 'hybrid' }, /`decisioningMethod` must be 'server-side'/],
    [{ execute: { mboxes: [{ name: 'a', parameters: { x: '1' } }, { name: 'b', parameters: { x: '2' } }] } }, /the parameter "x" cannot have two values/]
  ]
  for (const [target, message] of routes) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.register(fastifyAdobeTarget, base)
    app.register(async (app) => { app.get('/', { config: { target: target as never } }, async () => '') })
    await t.rejects(async () => { await app.ready() }, { code: 'FST_TARGET_INVALID_OPTIONS', message })
  }
  const target = createTargetClient(base)
  t.teardown(() => target.close())
  await t.rejects(target.getOffers({ request: { execute: { mboxes: [{ name: 'a', index: 0 }] } }, decisioningMethod: 'on-device' }), { code: 'FST_TARGET_INVALID_OPTIONS' })
})

t.test('the client: getOffers() and sendNotifications()', async (t) => {
  const edge = await startEdge(t)
  const target = createTargetClient({ client, organizationId, secure: false, edgeNetwork: { datastreamId, edgeDomain: edge.host } })
  t.teardown(() => target.close())
  const { response } = await target.getOffers({ request: { id: { marketingCloudVisitorId: '1'.repeat(38) }, prefetch: { mboxes: [{ name: 'hero', index: 7 }] } } })
  const [mbox] = response.prefetch!.mboxes!
  t.match(mbox, { name: 'hero', index: 7, state: undefined, options: [{ type: 'html', eventToken: String }] })
  const result = await target.sendNotifications({ request: { id: response.id, notifications: [{ id: 'n', type: 'display', timestamp: Date.now(), mbox: { name: 'hero' }, tokens: [mbox!.options![0]!.eventToken!] }] } })
  t.same(result.response.notifications, [{ id: 'n' }])
  t.equal(edge.displays('hero'), 1)
})

/** Web SDK's identity cookie of an ECID, its protobuf written by hand. */
const identityOf = (ecid: string) => Buffer.from(`\n${String.fromCharCode(ecid.length)}${ecid}`).toString('base64url')

t.test('the client: Web SDK\'s cookies in and out, without Fastify', async (t) => {
  const edge = await startEdge(t)
  const target = createTargetClient({ client, organizationId, secure: false, edgeNetwork: { datastreamId, edgeDomain: edge.host, defaultConsent: 'pending', thirdPartyIdNamespace: 'Crm' } })
  t.teardown(() => target.close())
  const request = { execute: { mboxes: [{ name: 'hero' }], pageLoad: {} } }
  const given = `${prefix}consent=general%3Din`
  const asked = () => edge.requests.findLast(({ path }) => path.endsWith('interact')) as any

  const pending = await target.getOffers({ request })
  t.match(pending, { response: { status: 204 }, edgeCookies: [] }, 'without consent nothing is sent')
  await target.sendNotifications({ request: { notifications: [{ id: 'n', type: 'display', timestamp: 1, mbox: { name: 'hero' } }] }, edgeCookies: { [`${prefix}consent`]: 'general=out' } })
  target.converted('confirm', { order: { id: 'o1' } }, { marketingCloudVisitorId: '7'.repeat(38), edgeCookies: `${prefix}consent=general=out` })
  t.same([edge.requests, target.health().outbox.pending], [[], 0])

  const first = await target.getOffers({ request, edgeCookies: given })
  t.equal(first.response.execute!.mboxes![0]!.options!.length, 1)
  const { id: ecid } = asked().body.event.xdm.identityMap.ECID[0]
  t.match(ecid, /^\d{38}$/, 'a new visitor is known from the first call on')
  t.same(first.edgeCookies, [{ name: `${prefix}identity`, value: identityOf(ecid), maxAge: 34_128_000 }, { name: `${prefix}cluster`, value: 'or2', maxAge: 1800 }])
  t.equal(first.targetLocationHintCookie, undefined, 'a location of the Edge Network is not a cluster of Target')
  t.match(first.webSdkState, { renderDecisions: true, personalization: { sendDisplayEvent: false }, responseBody: { handle: [{ type: 'identity:result' }, { type: 'personalization:decisions' }] } })
  await edge.until(() => edge.displays('hero') === 1 && edge.displays({ pageLoad: true }) === 1)

  const cookies = Object.fromEntries(first.edgeCookies!.map(({ name, value }) => [name, decodeURIComponent(value)]))
  const header = `session=x; ${given}; ${Object.entries(cookies).map((pair) => pair.join('=')).join('; ')}`
  for (const edgeCookies of [header, { ...cookies, [`${prefix}consent`]: 'general=in', session: 'x', kndctr_OTHER_identity: 'y' }]) {
    await target.getAttributes(['flag'], { edgeCookies })
    const { path, body } = asked()
    t.equal(path, '/ee/or2/v2/interact', 'to where the visitor is known')
    t.equal(body.event.xdm.identityMap.ECID[0].id, ecid)
    t.same(body.meta.state.entries.map(({ key }: any) => key.slice(prefix.length)).sort(), ['cluster', 'consent', 'identity'], 'and nothing else')
  }
  await target.getOffers({ request: { ...request, id: { marketingCloudVisitorId: '8'.repeat(38) } }, edgeCookies: header })
  t.notMatch(JSON.stringify(asked().body), identityOf(ecid), 'the caller\'s own id wins, and the cookie does not say otherwise')
  await target.getOffers({ request, edgeCookies: given, visitorCookie: `MCMID|${'9'.repeat(38)}` })
  t.equal(asked().body.event.xdm.identityMap.ECID[0].id, '9'.repeat(38), 'who comes from at.js keeps the id')
  for (const [name, value] of [['identity', 'CiY'], ['identity', 'x'.repeat(5000)], ['cluster', 'evil.example/'], ['cluster', 'or2\r\nhost: x'], ['__proto__', '1']] as const) {
    await target.getOffers({ request, edgeCookies: { [`${prefix}consent`]: 'general=in', [prefix + name]: value } })
    t.match(asked(), { path: '/ee/v2/interact', body: { event: { xdm: { identityMap: { ECID: [{ id: /^\d{38}$/ }] } } } } }, `${name}: ${value.slice(0, 20)}`)
  }
  await t.rejects(target.getOffers({ request, edgeCookies: 7 as never }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`edgeCookies` must be a Cookie header, or an object of cookies by name/ })

  target.converted('confirm', { order: { id: 'o2', total: 3 } }, { edgeCookies: header })
  target.profile({ level: 'gold' }, { edgeCookies: given, thirdPartyId: 'crm-1' })
  t.throws(() => target.converted('confirm', {}, { edgeCookies: given, tntId: 'a.35_0' }), { code: 'FST_TARGET_INVALID_REQUEST', message: /the visitor must have `edgeCookies` or a `visitorCookie` with an ECID/ })
  t.same(await target.flush(), { left: 0 })
  t.match(edge.orders('confirm'), [{ id: 'o2', total: 3 }])
  const told = edge.requests.filter(({ path }) => path.endsWith('collect')).flatMap(({ body }) => body.events)
  t.equal(told.find(({ data }) => data?.__adobe.target.orderId === 'o2').xdm.identityMap.ECID[0].id, ecid)
  const profile = told.find(({ data }) => data?.__adobe.target['profile.level'] === 'gold')
  t.same(profile.xdm.identityMap, { Crm: [{ id: 'crm-1', authenticatedState: 'authenticated', primary: true }] }, 'an event has a primary identity')
  t.match(profile.xdm._experience.decisioning, { propositions: [{ scope: 'profile-update' }], propositionEventType: { display: 1 } })
})

t.test('a request of no form does not hang', async (t) => {
  const edge = await startEdge(t)
  const target = createTargetClient({ client, organizationId, secure: false, edgeNetwork: { datastreamId, edgeDomain: edge.host } })
  t.teardown(() => target.close())
  const { response } = await target.getOffers({ request: { prefetch: { views: [{ name: ['product'] as never }, { name: 'PRODUCT' }] } } })
  t.match(response.prefetch!.views, [{ name: 'PRODUCT', options: [{ type: 'actions' }] }])
  let read = 0
  const strange = { get name () { if (read++ > 3) throw new Error('no'); return 'hero' }, index: 0 }
  await t.rejects(target.getOffers({ request: { execute: { mboxes: [strange] } } }), { code: /FST_TARGET_/ }, 'nor one that cannot be read')
})

t.test('more than 29 mboxes are several calls of one visitor', async (t) => {
  const edge = await startEdge(t)
  const names = Array.from({ length: 59 }, (_, index) => `m${index}`)
  for (const name of names) edge.offer(name, name)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, { client, organizationId, secure: false, edgeNetwork: { datastreamId, edgeDomain: edge.host } })
  app.get('/many', { config: { target: { execute: { pageLoad: {}, mboxes: names } } } }, async ({ target }) => {
    const offers = await Promise.all(names.map((name) => target.content(name, 'fallback')))
    return { offers, state: target.webSdkState() }
  })
  const first = await app.inject('/many')
  t.same(first.json().offers, names)
  t.ok(first.json().state.responseBody.handle[1].payload.length > 0, 'Web SDK gets the page load')
  const asked = () => edge.requests.filter(({ path }) => path.endsWith('interact'))
  t.same(asked().map(({ body }) => body.query.personalization.decisionScopes.length).sort(), [1, 29, 30])
  t.equal(new Set(asked().map(({ body }) => body.event.xdm.identityMap.ECID[0].id)).size, 1, 'a new visitor is one')
  t.equal(first.cookies.filter(({ name }) => name.endsWith('_identity')).length, 1)
  await edge.until(() => names.every((name) => edge.displays(name) === 1) && edge.displays({ pageLoad: true }) === 1)
  t.equal(edge.impressions(), 60, 'each is counted once')

  edge.reset()
  for (const name of names) edge.offer(name, name)
  edge.fault('status:503', { times: 1 })
  const partly = (await app.inject('/many')).json().offers.filter((offer: string) => offer === 'fallback')
  t.ok([1, 29].includes(partly.length), `a part that fails has fallbacks, and the others their offers: ${partly.length}`)
})

t.test('clicks and displays are sent until they arrive, as Web SDK would tell them', async (t) => {
  const edge = await startEdge(t)
  const { url, app } = await startShop(t, edge, { notificationsRoute: true })
  const offer = await json(await fetch(`${url}/prefetch`))
  const report = async (token: string) => (await fetch(`${url}/target/notifications`, {
    method: 'POST',
    headers: { origin: url, cookie: `${prefix}identity=${identityOf('1'.repeat(38))}` },
    body: JSON.stringify({ notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: [token] }] })
  })).status
  const { eventToken } = offer.offer.options[0]
  const { scopeDetails, ...proposition } = JSON.parse(Buffer.from(eventToken, 'base64url').toString())
  const long = Buffer.from(JSON.stringify({ ...proposition, scopeDetails: { ...scopeDetails, more: 'x'.repeat(5000) } })).toString('base64url')
  t.same([await report(long), await report('x'.repeat(8193))], [204, 400], 'the page may report a proposition, which is longer than a token of the Delivery API')
  await edge.until(() => edge.clicks('hero') === 2)
  edge.fault('status:503', { times: 2 })
  await fetch(`${url}/thanks`)
  await until(() => app.target.health().outbox.pending === 0)
  t.match(app.target.health().outbox, { failed: 0, dropped: 0 })
  t.same([edge.displays('hero'), edge.displays({ view: 'product' }), edge.clicks('hero'), edge.orders('confirm').length], [1, 1, 2, 1], 'each once')
  const events = eventsOf(edge).filter(({ path }) => path.endsWith('collect'))
  const ofType = (type: string) => events.filter(({ xdm }) => xdm.eventType === `decisioning.${type}`)
  const [click] = ofType('propositionInteract')
  t.match(click.xdm._experience.decisioning, { propositionEventType: { interact: 1 }, propositions: [{ id: /^AT:/, scope: 'hero', scopeDetails: { decisionProvider: 'TGT', characteristics: { eventTokens: { click: String } } } }] })
  t.ok(events.length > 5, 'some were sent again')
  t.equal(new Set(events.map(({ xdm }) => xdm._id)).size, 5, 'with the same ids')
  const view = ofType('propositionDisplay').find(({ xdm }) => xdm.web.webPageDetails.viewName === 'product')
  t.match(view.xdm._experience.decisioning.propositions, [{ scope: 'product', scopeDetails: { characteristics: { scopeType: 'view' } } }])
})

t.test('Adobe\'s own samples', async (t) => {
  const displayToken = 'xycjBJlZhwVV5MN0kMkmoGqipfsIHvVzTQxHolz2IpTMromRrB5ztP5VMxjHbs7c6qPG9UF4rvQTJZniWgqbOw=='
  const proposition = (id: string, scope: string, characteristics: object, items: object[]) => ({
    id, scope, scopeDetails: { decisionProvider: 'TGT', activity: { id: '140281' }, experience: { id: '0' }, strategies: [{ algorithmID: '0', trafficType: '0' }], characteristics }, items
  })
  const decided = (mbox: string, ...payload: object[]) => toResponse(
    { context: { channel: 'web' }, execute: { mboxes: [{ name: mbox, index: 0 }] } },
    handlesOf({ requestId: '10959bbf-f83d-40e1-9521-d9145f19cdc5', handle: [{ payload, type: 'personalization:decisions', eventIndex: 0 }] }),
    client
  ).execute!.mboxes![0]!
  const read = (token: string | undefined) => JSON.parse(Buffer.from(token!, 'base64url').toString())

  await t.test('Edge Network API, personalization with Target', async (t) => {
    const { options: [option] = [] } = decided('serverapimbox', proposition('AT:eyJhY3Rpdml0eUlkIjoiMTQwMjgxIiwiZXhwZXJpZW5jZUlkIjoiMCJ9', 'serverapimbox', { eventToken: displayToken }, [{
      id: '282484',
      schema: 'https://ns.adobe.com/personalization/json-content-item',
      meta: { 'activity.id': '140281', 'experience.name': 'Experience A' },
      data: { id: '282484', format: 'application/json', content: { value: 'a/b json experience a', platform: 'server' } }
    }]))
    t.match(option, { type: 'json', content: { value: 'a/b json experience a', platform: 'server' }, responseTokens: { 'experience.name': 'Experience A' } })
    t.match(read(option!.eventToken), { scope: 'serverapimbox', scopeDetails: { characteristics: { eventToken: displayToken } } })
  })

  await t.test('A4T with client-side logging: a click beside its content, and as a proposition of its own', async (t) => {
    const html = { id: '1184844', schema: 'https://ns.adobe.com/personalization/html-content-item', data: { id: '1184844', format: 'text/html', content: '<div> analytics impressions </div>' } }
    const click = { id: '434689', schema: 'https://ns.adobe.com/personalization/measurement', data: { type: 'click', format: 'application/vnd.adobe.target.metric' } }
    const tokens = { eventTokens: { display: displayToken, click: 'E0gb6q1+WyFW3FMbbQJmrg==' }, analyticsTokens: { display: '434689:0:0|2,434689:0:0|1', click: '434689:0:0|32767' } }
    const together = decided('a4t-test', proposition('AT:1', 'a4t-test', tokens, [html, click]))
    t.match(together, { options: [{ type: 'html' }], metrics: [{ type: 'click' }] })
    t.same([together.options!.length, together.metrics!.length], [1, 1])
    t.match(read(together.metrics![0]!.eventToken).scopeDetails.characteristics, tokens, 'the payload for Analytics goes back with it')
    const apart = decided('a4t-test', proposition('AT:1', 'a4t-test', { eventToken: displayToken }, [html]), proposition('AT:1', 'a4t-test', { eventToken: 'E0gb6q1+WyFW3FMbbQJmrg==' }, [click]))
    t.same([apart.options!.length, apart.metrics!.length], [1, 1])
    t.equal(read(apart.options![0]!.eventToken).scopeDetails.characteristics.eventToken, displayToken)
    t.equal(read(apart.metrics![0]!.eventToken).scopeDetails.characteristics.eventToken, 'E0gb6q1+WyFW3FMbbQJmrg==')
  })

  await t.test('displays of one impression are merged as Web SDK does it', async (t) => {
    const token = (eventToken: string) => Buffer.from(JSON.stringify({ id: 'AT:1', scope: 'a4t-test', scopeDetails: { characteristics: { eventToken } } })).toString('base64url')
    const display = (id: string, ...tokens: string[]) => ({ id, impressionId: 'i', type: 'display' as const, timestamp: 1, mbox: { name: 'a4t-test' }, tokens })
    const { events } = collectBody({ context: { channel: 'web' } }, [display('n1', token('a'), token('b')), display('n2', token('a'))], undefined, { thirdPartyIdNamespace: undefined, report () {} }) as any
    t.equal(events.length, 1)
    t.same(events[0].xdm._experience.decisioning.propositions.map(({ scopeDetails }: any) => scopeDetails.characteristics.eventToken), ['a', 'b'], 'the same one once, two of one activity both')
  })

  await t.test('requests of its samples, at the local edge', async (t) => {
    const edge = await startEdge(t)
    edge.offer('serverapimbox', { a: 1 }, { when: { eyeColor: 'brown' } })
    const ecid = '05907638112924484241029082405297151763'
    const post = async (body: object, path = '/ee/v2/interact', type = 'text/plain; charset=UTF-8') => await json(await fetch(`http://${edge.host}${path}?dataStreamId=sample`, { method: 'POST', headers: { 'content-type': type }, body: JSON.stringify(body) }))
    const web = { webPageDetails: { URL: 'https://alloystore.dev', name: 'Home Page' }, webReferrer: { URL: '' } }
    const personalization = { schemas: ['html-content-item', 'json-content-item', 'redirect-item', 'dom-action'].map((name) => `https://ns.adobe.com/personalization/${name}`), decisionScopes: ['__view__', 'serverapimbox'] }
    const { handle } = await post({
      event: { xdm: { eventType: 'web.webpagedetails.pageViews', identityMap: { ECID: [{ id: ecid, authenticatedState: 'ambiguous', primary: true }] }, web, device: { screenHeight: 1440 }, _experience: { analytics: { event1to100: { event13: { value: 1 } } } } } },
      data: { page: { products: [{ productSKU: 'abc123' }] }, '__adobe.target': { eyeColor: 'brown', 'profile.hairColor': 'brown' } },
      query: { personalization }
    }, undefined, 'application/json')
    const of = (type: string) => handle.filter((entry: any) => entry.type === type).flatMap(({ payload }: any) => payload)
    t.same([...new Set(of('personalization:decisions').map(({ scope }: any) => scope))].sort(), ['__view__', 'product', 'serverapimbox'])
    t.match(of('state:store'), [{ key: `${prefix}identity`, value: identityOf(ecid), maxAge: 34_128_000 }, { key: `${prefix}cluster`, value: 'or2', maxAge: 1800 }])

    const propositions = of('personalization:decisions').filter(({ scope }: any) => scope === 'serverapimbox').map(({ id, scope, scopeDetails }: any) => ({ id, scope, scopeDetails }))
    const entries = of('state:store').map(({ key, value }: any) => ({ key, value }))
    const told = await post({
      event: { xdm: { web, timestamp: '2022-03-23T04:45:21.193Z', eventType: 'decisioning.propositionDisplay', _experience: { decisioning: { propositions } } } },
      query: { identity: { fetch: ['ECID'] } },
      meta: { state: { domain: '', cookiesEnabled: true, entries } }
    }, '/ee/or2/v2/interact')
    t.equal(edge.displays('serverapimbox'), 1, 'the display of the hybrid sample, which does not say its type twice')
    t.match(told.handle[0], { type: 'identity:result', payload: [{ id: ecid, namespace: { code: 'ECID' } }] })
  })

  await t.test('its identity cookie, in and out', async (t) => {
    const value = 'CiYwNTkwNzYzODExMjkyNDQ4NDI0MTAyOTA4MjQwNTI5NzE1MTc2M1IOCL-pwpv9LxgBKgNPUjLwAb-pwpv9Lw=='
    const asked: any[] = []
    const host = await startServer(t, (request, response) => {
      let body = ''
      request.on('data', (chunk) => { body += chunk }).on('end', () => {
        asked.push(JSON.parse(body))
        response.end(JSON.stringify({ handle: [{ payload: [{ key: `${prefix}identity`, value, maxAge: 34_128_000 }], type: 'state:store' }] }))
      })
    })
    const { url } = await startShop(t, { host } as TargetEdge)
    const response = await fetch(url, { headers: { cookie: `${prefix}identity=${value}` } })
    t.match(asked[0], { event: { xdm: { identityMap: { ECID: [{ id: '05907638112924484241029082405297151763' }] } } }, meta: { state: { entries: [{ key: `${prefix}identity`, value }] } } })
    t.same(response.headers.getSetCookie(), [`${prefix}identity=${value}; Max-Age=34128000; Path=/; SameSite=Lax`])
  })
})
