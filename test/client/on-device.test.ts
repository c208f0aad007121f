/** Decisions on-device through the plugin and the client; the engine and the artifact's life have tests of their own. */
import Fastify from 'fastify'
import t from 'tap'
import fastifyAdobeTarget, { createTargetClient, type TargetClientOptions, type TargetResult } from '../../lib/index.ts'
import { client, cookiesOf, json, organizationId, startApp, startEdge, startServer, targetCookieOf } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

const artifactOf = (host: string) => ({ artifactLocation: `http://${host}/${client}/production/v1/rules.json` })

t.test('a page is decided on-device: same variant as the edge, impressions counted there', async (t) => {
  const edge = await startEdge(t)
  const { url, app } = await startApp(t, edge.host, { decisioningMethod: 'on-device', ...artifactOf(edge.host) }, (app) => {
    app.get('/', { config: { target: ['hero', 'checkout-flags'] } }, async (request) => ({ offer: await request.target.offer('hero'), flags: await request.target.attributes('checkout-flags', { express: null }), timing: request.target.timing }))
    app.get('/edge', { config: { target: { execute: { mboxes: ['hero'] }, decisioningMethod: 'server-side' } } }, async (request) => await request.target.offer('hero'))
    app.get('/prefetch', { config: { target: { prefetch: { mboxes: ['hero'], views: [{}], pageLoad: {} } } } }, async (request) => {
      const { response } = await request.target.result()
      if ((request.query as { shown?: string }).shown) request.target.displayed('hero')
      return response.prefetch
    })
  })
  await app.target.ready({ timeout: 5000 })
  for (let visit = 0; visit < 10; visit++) {
    edge.reset()
    const first = await fetch(url)
    const { offer, flags } = await json(first)
    t.match(offer, { type: 'html', source: 'on-device', reason: 'matched', content: /class="hero/, responseTokens: { 'activity.decisioningMethod': 'on-device' } })
    t.type(flags.express, 'boolean')
    t.match(targetCookieOf(first), { session: String, PC: /^[\w-]+/ })
    await until(() => edge.notifications.length === 2)
    t.equal(edge.requests.length, 1, 'one notifications call for the page view, and no other')
    t.match(edge.requests[0], { query: { sessionId: targetCookieOf(first).session }, body: { id: { tntId: targetCookieOf(first).PC } } })
    t.equal(edge.impressions(410001), 1)
    t.equal((await json(await fetch(`${url}/edge`, { headers: { cookie: cookiesOf(first) } }))).content, offer.content, 'the edge decides alike')
  }
  edge.reset()
  t.match(await json(await fetch(`${url}/prefetch`)), { mboxes: [{ name: 'hero', options: [{ eventToken: String }] }], views: [{ name: 'product' }], pageLoad: { options: [{ type: 'actions' }] } })
  await sleep(50)
  t.equal(edge.requests.length, 0, 'what is prefetched is not counted')
  await fetch(`${url}/prefetch?shown=1`)
  await until(() => edge.notifications.length === 1)
  t.equal(edge.impressions(410001), 1, 'until its display is notified')
  t.match(app.target.health(), { status: 'ok', artifact: { state: 'ready', version: '1.0.0', age: Number } })
})

t.test('before there is an artifact: on-device gives fallbacks, hybrid asks the edge', async (t) => {
  const edge = await startEdge(t)
  edge.fault('status:404', { route: 'artifact' })
  const { url, app, logged } = await startApp(t, edge.host, { decisioningMethod: 'on-device', ...artifactOf(edge.host) }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.offer('hero', 'fallback'))
    app.get('/hybrid', { config: { target: { execute: { mboxes: ['hero'] }, decisioningMethod: 'hybrid' } } }, async (request) => ({ offer: await request.target.offer('hero'), meta: (await request.target.result()).meta }))
  })
  t.match(await json(await fetch(url)), { content: 'fallback', source: 'default', reason: 'not-ready', error: { code: 'FST_TARGET_NOT_READY' } })
  t.match(await json(await fetch(`${url}/hybrid`)), { offer: { source: 'edge' }, meta: { decisioningMethod: 'server-side', remoteMboxes: [] } })
  await t.rejects(app.target.ready({ timeout: 50 }), { code: 'FST_TARGET_NOT_READY', statusCode: 503 })
  await until(() => app.target.health().artifact?.state === 'failed')
  t.match(app.target.health(), { status: 'down', artifact: { state: 'failed', error: /404/ } })
  await t.rejects(app.target.refresh(), { code: 'FST_TARGET_ARTIFACT' })
  edge.reset()
  t.same(await app.target.refresh(), { changed: true })
  t.match(await json(await fetch(url)), { source: 'on-device' })
  t.match(await json(await fetch(`${url}/hybrid`)), { offer: { source: 'on-device' }, meta: { decisioningMethod: 'on-device' } })
  t.same(await app.target.refresh(), { changed: false }, 'the ETag is known')
  edge.fault('status:500', { route: 'artifact' })
  await t.rejects(app.target.refresh(), { code: 'FST_TARGET_ARTIFACT' })
  t.match(app.target.health(), { status: 'degraded', artifact: { state: 'stale' } })
  t.match(await json(await fetch(url)), { source: 'on-device' }, 'a bad one does not replace a good one')
  t.ok(logged.length < 8)
})

t.test('a registration that fails leaves no polling behind', async (t) => {
  let looks = 0
  const host = await startServer(t, (_request, response) => { looks++; response.writeHead(404).end() })
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorate('target', {} as never)
  await t.rejects(async () => await app.register(fastifyAdobeTarget, { client, organizationId, decisioningMethod: 'on-device', ...artifactOf(host) }), { code: 'FST_TARGET_DECORATOR_PRESENT' })
  await sleep(1500)
  t.ok(looks <= 1, `the artifact was asked for ${looks} times, and a retry comes after a second`)
})

t.test('hybrid goes to the edge only when something needs it', async (t) => {
  const edge = await startEdge(t)
  const target = clientOf(t, { decisioningMethod: 'hybrid', serverDomain: edge.host, ...artifactOf(edge.host) })
  await target.ready()
  const ask = async (...mboxes: string[]) => (await target.getOffers({ request: { execute: { mboxes: mboxes.map((name) => ({ name })) } } })).meta
  t.same(await ask('hero', 'banner'), { decisioningMethod: 'on-device', remoteMboxes: [], remoteViews: [] })
  t.same(await ask('hero', 'no-such-mbox'), { decisioningMethod: 'server-side', remoteMboxes: ['no-such-mbox'], remoteViews: [] })
  const onDevice = await target.getOffers({ request: { execute: { mboxes: [{ name: 'no-such-mbox' }] } }, decisioningMethod: 'on-device' })
  t.match([onDevice.response.status, onDevice.meta], [206, { decisioningMethod: 'on-device', remoteMboxes: ['no-such-mbox'] }])
  t.match((await target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } }, decisioningMethod: 'server-side' })).meta, { decisioningMethod: 'server-side' })
})

function clientOf (t: { teardown (fn: () => unknown): void }, options: Partial<TargetClientOptions>) {
  const target = createTargetClient({ client, organizationId, secure: false, ...options })
  t.teardown(() => target.close())
  return target
}

t.test('an artifact given as an object; events; an artifact of another version', async (t) => {
  const edge = await startEdge(t)
  const artifact = await json(await fetch(`http://${edge.host}/${client}/production/v1/rules.json`))
  const before = JSON.stringify(artifact)
  const events: string[] = []
  const note = ({ type }: { type: string }) => { events.push(type) }
  const target = clientOf(t, { serverDomain: edge.host, decisioningMethod: 'on-device', artifactPayload: artifact, pollingInterval: 0, events: { clientReady: note, artifactDownloadSucceeded: note, artifactDownloadFailed: note } })
  await target.ready()
  const { response } = await target.getOffers({ request: { execute: { mboxes: [{ name: 'checkout-flags' }] } } })
  const content = response.execute!.mboxes![0]!.options![0]!.content as { express?: unknown }
  content.express = 'changed by the caller'
  t.equal(JSON.stringify(artifact), before, 'answers are the caller\'s own')
  t.same(events, ['clientReady'])
  await target.close()
  await t.rejects(target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } }), { code: 'FST_TARGET_CLOSED' })

  const wrong = clientOf(t, { serverDomain: edge.host, decisioningMethod: 'on-device', artifactPayload: { ...artifact, version: '2.0.0' }, pollingInterval: 0 })
  await t.rejects(wrong.ready({ timeout: 100 }), { code: 'FST_TARGET_NOT_READY' })
})

t.test('geo is looked up when the artifact asks for it, within the deadline, failing open', async (t) => {
  const edge = await startEdge(t)
  const artifact = await json(await fetch(`http://${edge.host}/${client}/production/v1/rules.json`))
  artifact.geoTargetingEnabled = true
  artifact.responseTokens.push('geo.city')
  let lookups = 0
  let answer: 'city' | 'hang' = 'city'
  const host = await startServer(t, (request, response) => {
    if (request.url === '/v1/geo') {
      lookups++
      if (answer === 'city') response.end(JSON.stringify({ 'x-geo-city': `city of ${request.headers['x-forwarded-for']}${request.headers['x-forwarded-for'] === '2001:db8::1' ? ' '.repeat(50) : ''}` }))
    } else {
      response.end(JSON.stringify(artifact))
    }
  })
  const found: unknown[] = []
  const target = clientOf(t, { serverDomain: edge.host, decisioningMethod: 'on-device', ...artifactOf(host), events: { geoLocationUpdated: ({ geoContext }) => { found.push(geoContext.city) } } })
  await target.ready()
  const cityFor = async (geo: NonNullable<TargetResult['request']['context']['geo']>, timeout = 5000) =>
    (await target.getOffers({ request: { context: { channel: 'web', geo }, execute: { mboxes: [{ name: 'hero' }] } }, timeout })).responseTokens?.[0]?.['geo.city']
  t.equal(await cityFor({ ipAddress: '203.0.113.7' }), 'city of 203.0.113.7')
  t.equal(await cityFor({ ipAddress: '203.0.113.7' }), 'city of 203.0.113.7')
  t.equal(lookups, 1, 'remembered')
  t.equal(await cityFor({ city: 'Bergen' }), 'Bergen', 'what the caller says wins')
  t.ok(found.includes('city of 203.0.113.7'))
  await until(() => target.health().outbox.pending === 0)
  const notified = edge.notifications.length
  t.equal(await cityFor({ ipAddress: '2001:db8::1' }), undefined, 'no city is that long')
  await until(() => target.health().outbox.pending === 0)
  t.equal(edge.notifications.length, notified + 1, 'and the edge does not refuse the impression for it')
  answer = 'hang'
  const took = stopwatch()
  t.equal(await cityFor({ ipAddress: '203.0.113.8' }, 200), undefined, 'failing open')
  t.ok(took() < 1000)
})
