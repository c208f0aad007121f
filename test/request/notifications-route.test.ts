/** `notificationsRoute`: clicks and displays from the page's own scripts. And redirect offers. */
import Fastify, { type FastifyInstance } from 'fastify'
import { request as httpRequest } from 'node:http'
import t, { type Test } from 'tap'
import fastifyAdobeTarget from '../../lib/index.ts'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { optionsFor, organizationId, startApp, startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, until } from '../support/wait.ts'

const PATH = '/target/notifications'
const COOKIE = 'mbox=session#s1#9999999999|PC#visitor-1.35_0#9999999999'

/** The tokens that the page's offers have. */
async function tokensOf (edge: Awaited<ReturnType<typeof startEdge>>) {
  const response = await edge.inject({
    method: 'POST',
    url: `/rest/v1/delivery?imsOrgId=${organizationId}&sessionId=s`,
    payload: { id: { tntId: 'abc' }, context: { channel: 'web' }, execute: { mboxes: [{ index: 0, name: 'hero' }] }, prefetch: { mboxes: [{ index: 0, name: 'banner' }], views: [{ name: 'product' }], pageLoad: {} } }
  })
  const { execute, prefetch } = response.json()
  edge.reset()
  return {
    click: execute.mboxes[0].metrics[0].eventToken as string,
    display: prefetch.mboxes[0].options[0].eventToken as string,
    state: prefetch.mboxes[0].state as string,
    view: prefetch.views[0],
    pageLoad: prefetch.pageLoad
  }
}

/** `fetch` sets neither `Origin` nor `Sec-Fetch-Site` as a page of the site would. */
async function post (url: string, body: unknown, headers: Record<string, string | undefined> = {}) {
  const all = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/json', cookie: COOKIE, ...headers }
  return await new Promise<{ status: number, headers: Record<string, any>, text: string }>((resolve, reject) => {
    const sent = httpRequest(url, { method: 'POST', headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<string, string> }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => { text += chunk }).on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }))
    })
    sent.on('error', reject).end(typeof body === 'string' || body === undefined ? body : JSON.stringify(body))
  })
}

const start = async (t: Test, options: object = {}, routes: (app: FastifyInstance) => unknown = () => {}, server: object = {}) => {
  const edge = await startEdge(t)
  const started = await startApp(t, edge.host, { notificationsRoute: true, ...options }, routes, server)
  return { edge, ...started, to: started.url + PATH, tokens: await tokensOf(edge) }
}

t.test('clicks and displays of all places reach the edge as the visitor of the cookies', async (t) => {
  const { edge, app, to, tokens } = await start(t, { propertyToken: 'a-property' })
  const { click, display, state, view, pageLoad } = tokens
  const response = await post(to, {
    notifications: [
      { type: 'click', mbox: { name: 'hero' }, tokens: [click] },
      { type: 'display', mbox: { name: 'banner', state }, tokens: [display] },
      { type: 'display', view: { name: 'product', key: 'a-key', state: view.state }, tokens: [view.options[0].eventToken] },
      { type: 'display', pageLoad: { state: pageLoad.state }, tokens: [pageLoad.options[0].eventToken] }
    ]
  })
  t.match(response, { status: 204, text: '' })
  t.equal(response.headers['cache-control'], 'no-store')
  t.match(response.headers['set-cookie'], [/^mbox=session#s1#\d+\|PC#visitor-1\.35_0#/, /^mboxEdgeCluster=35/], 'the visit slides')
  await until(() => edge.notifications.length === 4)
  t.match(edge.notifications, [
    { type: 'click', mbox: { name: 'hero' }, tokens: [click], id: String, timestamp: Number, impressionId: String },
    { type: 'display', mbox: { name: 'banner', state }, tokens: [display] },
    { type: 'display', view: { name: 'product', key: 'a-key', state: view.state } },
    { type: 'display', pageLoad: { state: pageLoad.state } }
  ])
  t.equal(edge.requests.length, 1, 'one call')
  t.match(edge.requests[0], { query: { sessionId: 's1' }, body: { id: { tntId: 'visitor-1.35_0' }, property: { token: 'a-property' }, context: { channel: 'web' } } })
  t.equal(edge.requests[0]!.body.execute, undefined, 'and nothing is asked for')
  t.equal(edge.impressions(), 3)
  await until(() => app.target.health().outbox.pending === 0)
  t.match(app.target.health().outbox, { accepted: 4, sent: 4 })

  const beacon = await post(to, { notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: [click] }] }, { 'content-type': 'text/plain;charset=UTF-8' })
  t.equal(beacon.status, 204, 'as sendBeacon sends a string')
  await until(() => edge.notifications.length === 5)
  t.equal(edge.notifications.length, 5)
})

t.test('requests from another origin are ignored', async (t) => {
  const { edge, app, to, url, tokens, logged } = await start(t)
  const body = { notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: [tokens.click] }] }
  const none = { 'sec-fetch-site': undefined }
  const port = new URL(url).port
  const refused: Record<string, string | undefined>[] = [
    none,
    ...['cross-site', 'same-site', 'none', '', 'same-origin, same-origin', 'SAME-ORIGIN'].map((site) => ({ 'sec-fetch-site': site, origin: url })),
    ...['https://evil.example', 'null', '', `https://127.0.0.1:${port}`, 'http://127.0.0.1', `http://127.0.0.1:${port}.evil.example`, `http://127.0.0.1:${port}/`, `http://user@127.0.0.1:${port}`].map((origin) => ({ ...none, origin })),
    { ...none, origin: 'http://', host: ' ' },
    { ...none, origin: 'http://a b', host: 'a b' },
    { ...none, referer: `${url}/` },
    { ...none, origin: 'https://shop.example', 'x-forwarded-host': 'shop.example', 'x-forwarded-proto': 'https' }
  ]
  for (const headers of refused) {
    const response = await post(to, body, headers)
    t.equal(response.status, 403, JSON.stringify(headers))
    t.match(JSON.parse(response.text), { code: 'FST_TARGET_FOREIGN_ORIGIN', statusCode: 403 })
    t.equal(response.headers['cache-control'], 'no-store')
  }
  t.equal((await post(to, '{', { 'sec-fetch-site': 'cross-site' })).status, 403, 'refused before the body is read')
  t.match(app.target.health().outbox, { accepted: 0 })
  for (const headers of [{ ...none, origin: url }, { ...none, origin: 'http://shop.example', host: 'SHOP.example' }, { 'sec-fetch-site': 'same-origin', origin: 'null' }]) {
    t.equal((await post(to, body, headers)).status, 204, JSON.stringify(headers))
  }
  await until(() => edge.notifications.length === 3)
  t.equal(edge.notifications.length, 3)

  const behind = await start(t, {}, undefined, { trustProxy: true })
  const proxied = { ...none, origin: 'https://shop.example', 'x-forwarded-host': 'shop.example', 'x-forwarded-proto': 'https' }
  t.equal((await post(behind.to, body, proxied)).status, 204, 'trustProxy decides whose word counts')
  t.equal((await post(behind.to, body, { ...proxied, 'x-forwarded-proto': '://%' })).status, 403)
  t.same(logged, [])
})

t.test('forged, malformed and oversized bodies are refused', async (t) => {
  const { edge, app, to, url, tokens, logged } = await start(t)
  const { click } = tokens
  const click1 = { type: 'click', mbox: { name: 'hero' }, tokens: [click] }
  const secret = 'Secret-Value-12345'
  const bad: unknown[] = [
    undefined, '', 'null', '[]', '{}', '1', '"x"', '{"notifications":', '{"__proto__":{"notifications":[]}}', '{"constructor":{"prototype":{}},"notifications":[]}',
    { notifications: [] }, { notifications: {} }, { notifications: null }, { notifications: [null] }, { notifications: [click1, {}] },
    { notifications: [click1], id: { tntId: secret } }, { notifications: [click1], [secret]: 1 },
    ...[
      { id: secret }, { timestamp: 1 }, { impressionId: secret }, { parameters: { a: secret } }, { profileParameters: { a: secret } }, { order: { id: secret } }, { address: { url: secret } }, { product: {} },
      { type: secret }, { type: 'CLICK' }, { type: ['click'] }, { type: undefined }, { tokens: secret }, { tokens: [] }, { tokens: [''] }, { tokens: [1] }, { tokens: [[click]] }, { tokens: ['x'.repeat(2001)] }, { tokens: new Array(51).fill('t') }, { tokens: undefined },
      { mbox: secret }, { mbox: {} }, { mbox: { name: '' } }, { mbox: { name: 'x'.repeat(251) } }, { mbox: { name: 'hero', state: 1 } }, { mbox: { name: 'hero', [secret]: 1 } }, { mbox: { name: { toString: secret } } }, { mbox: undefined }, { mbox: null },
      { view: { name: 'product' } }, { pageLoad: {} }, { view: { name: 'x'.repeat(129) }, mbox: undefined }, { view: { name: 'v', key: 'k'.repeat(513) }, mbox: undefined }, { view: {}, mbox: undefined }, { pageLoad: { state: {} }, mbox: undefined }, { pageLoad: { name: 'x' }, mbox: undefined }
    ].map((change) => ({ notifications: [{ ...click1, ...change }] })),
    { notifications: new Array(51).fill({ type: 'click', mbox: { name: 'hero' }, tokens: ['t'] }) }
  ]
  for (const body of bad) {
    const response = await post(to, body)
    t.equal(response.status, 400, (JSON.stringify(body) ?? 'nothing').slice(0, 100))
    t.notMatch(response.text, secret, 'nothing of it is repeated')
  }
  t.match(JSON.parse((await post(to, bad.at(-1))).text), { code: 'FST_TARGET_INVALID_NOTIFICATIONS', statusCode: 400 })
  t.match((await post(to, { notifications: [{ ...click1, tokens: [1] }] })).text, /body\.notifications\[0\]/, 'it says where')
  const large = { notifications: [{ ...click1, tokens: new Array(20).fill('x'.repeat(1000)) }] }
  t.equal((await post(to, large)).status, 413)
  t.equal((await post(to, large, { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' })).status, 413)
  for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/html', 'application/octet-stream', 'x', undefined]) {
    t.equal((await post(to, { notifications: [click1] }, { 'content-type': type })).status, 415, String(type))
  }
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']) t.equal((await fetch(to, { method })).status, 404, method)
  t.match(app.target.health().outbox, { accepted: 0 }, 'nothing was queued')
  t.equal(edge.requests.length, 0)
  t.same(logged, [])

  const forged = await post(to, { notifications: [{ ...click1, tokens: ['made up'] }] })
  t.equal(forged.status, 204, 'a token is the edge\'s to judge')
  await until(() => app.target.health().outbox.failed === 1)
  t.same(edge.notifications, [])
  t.notMatch(JSON.stringify(logged), /made up|visitor-1/)
  t.equal((await fetch(url)).status, 404)
})

t.test('a request without a known visitor is accepted and ignored, unless the app names one', async (t) => {
  const { edge, app, to, tokens } = await start(t)
  const body = { notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: [tokens.click] }] }
  for (const cookie of [undefined, '', 'mbox=session#s2#9999999999', 'mbox=PC#old.35_0#1', 'mbox=%', `AMCV_${organizationId}=MCMID|NONE`, 'other=1']) {
    const response = await post(to, body, { cookie })
    t.equal(response.status, 204)
    t.equal(response.headers['set-cookie'], undefined, 'and gets no cookie')
  }
  t.match(app.target.health().outbox, { accepted: 0 })
  t.equal((await post(to, body, { cookie: `AMCV_${organizationId}=MCMID|12345678901234567890` })).status, 204)
  await until(() => edge.notifications.length === 1)
  t.equal(edge.requests[0]!.body.id.marketingCloudVisitorId, '12345678901234567890')

  const wait = (value: unknown) => sleep(30).then(() => value)
  for (const [visitor, id] of [
    [() => ({ thirdPartyId: 'anna' }), { thirdPartyId: 'anna' }],
    [() => wait({ thirdPartyId: 'bert' }), { thirdPartyId: 'bert' }],
    [() => ({ customerIds: { userid: { id: 'carl', authState: 1 } } }), { customerIds: [{ id: 'carl' }] }],
    [() => wait(undefined), undefined],
    [() => ({ customerIds: {} }), undefined],
    [() => ({ customerIds: null }), undefined],
    [() => ({ get thirdPartyId () { throw new Error('no session') } }), undefined],
    [() => wait({ get thirdPartyId () { throw new Error('no session') } }), undefined],
    [() => { throw new Error('no session') }, undefined],
    [() => wait(null).then(() => { throw new Error('no session') }), undefined]
  ] as const) {
    const known = await start(t, { visitor })
    t.equal((await post(known.to, body, { cookie: undefined })).status, 204)
    await until(() => known.edge.notifications.length === 1 || (id === undefined && known.app.target.health().outbox.accepted === 0))
    if (id === undefined) {
      await sleep(60)
      t.match(known.app.target.health().outbox, { accepted: 0 })
    } else t.match(known.edge.requests[0]!.body.id, id)
  }
})

t.test('204 is returned immediately while the edge is down, and the notification delivered later', async (t) => {
  const { edge, app, to, tokens } = await start(t, { notifications: { closeTimeout: 300 } })
  edge.fault('status:503', { times: 2 })
  const response = await post(to, { notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: [tokens.click] }] })
  t.equal(response.status, 204)
  await until(() => edge.notifications.length === 1)
  t.match(edge.notifications, [{ type: 'click' }])
  await until(() => app.target.health().outbox.pending === 0)

  edge.fault('hang', { times: 1000 })
  const begun = performance.now()
  t.equal((await post(to, { notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: [tokens.click] }] })).status, 204)
  t.ok(performance.now() - begun < 2500, 'not held by the call')
  edge.reset()
})

t.test('1000 requests in parallel are all delivered', async (t) => {
  const { edge, app, to, tokens } = await start(t)
  const statuses = await Promise.all(Array.from({ length: 1000 }, async (_, index) => {
    const cookie = `mbox=session#s${index}#9999999999|PC#visitor-${index}.35_0#9999999999`
    return (await fetch(to, { method: 'POST', headers: { 'sec-fetch-site': 'same-origin', cookie, 'content-type': 'application/json' }, body: JSON.stringify({ notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: [tokens.click] }] }) })).status
  }))
  t.same([...new Set(statuses)], [204])
  await until(() => app.target.health().outbox.pending === 0)
  t.match(app.target.health().outbox, { accepted: 1000, sent: 1000, failed: 0, dropped: 0 })
  t.equal(new Set(edge.requests.map(({ body }) => body.id.tntId)).size, 1000, 'each as its own visitor')
})

t.test('the route uses the app\'s prefix and hooks, and not its parsers or validation', async (t) => {
  const edge = await startEdge(t)
  const off = await startApp(t, edge.host, {}, () => {})
  t.equal((await post(off.url + PATH, {})).status, 404, 'there is none by default')

  const { click } = await tokensOf(edge)
  const body = { notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: [click] }] }
  const app = Fastify({ forceCloseConnections: true, ajv: { customOptions: { removeAdditional: 'all', coerceTypes: 'array' } } }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  const seen: string[] = []
  // The app's own parsers and hooks, also ones that would change the body.
  app.addContentTypeParser('text/plain', { parseAs: 'string' }, (_request, text, done) => done(null, `own ${String(text)}`))
  app.addContentTypeParser('application/vnd.own', (_request, _payload, done) => done(null, 'own'))
  await app.register(async (shop) => {
    shop.addHook('onRequest', async (request) => { seen.push(`${request.method} ${request.url}`) })
    await shop.register(fastifyAdobeTarget, optionsFor(edge.host, { notificationsRoute: '/my/beacon', global: true, request: ['hero'], cookies: false, decorator: 'adobe' }))
    shop.post('/echo', async (request) => ({ body: request.body }))
  }, { prefix: '/shop' })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const response = await post(`${url}/shop/my/beacon`, body)
  t.equal(response.status, 204)
  t.equal(response.headers['set-cookie'], undefined, 'cookies: false')
  t.same(seen, ['POST /shop/my/beacon'], 'the app\'s prefix and hooks')
  await until(() => edge.notifications.length === 1)
  t.match(edge.requests.map(({ body }) => [body.id.tntId, body.execute]), [['visitor-1.35_0', undefined]], 'no offers are asked for, though they are everywhere else')
  t.equal((await post(`${url}/shop/my/beacon`, body, { 'content-type': 'application/vnd.own' })).status, 415, 'the app\'s parsers are not the route\'s')
  const echo = await post(`${url}/shop/echo`, 'text', { 'content-type': 'text/plain' })
  t.match(JSON.parse(echo.text), { body: 'own text' }, 'nor the route\'s the app\'s')
  t.match(JSON.parse((await post(`${url}/shop/echo`, '{"a":1}')).text), { body: { a: 1 } })
  t.equal((await post(`${url}/shop/my/beacon`, { notifications: [{ ...body.notifications[0], more: 1 }] })).status, 400, 'the app\'s validator would strip it')

  for (const notificationsRoute of ['target', '', 1, null, '/a b', '/a?b', '/a#b', '/:a', '/*', { paht: '/a' }, { path: 'a' }, { schema: { hidden: true } }]) {
    const bad = Fastify()
    await t.rejects(async () => await bad.register(fastifyAdobeTarget, optionsFor(edge.host, { notificationsRoute: notificationsRoute as string })), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`notificationsRoute[`.]/ }, JSON.stringify(notificationsRoute))
    await bad.close()
  }
})

t.test('in QA mode the notification says so', async (t) => {
  const { edge, to, url, tokens } = await start(t)
  const token = new URL(edge.qaLink(url, { activities: [410001] })).searchParams.get('at_preview_token')!
  const qaMode = { token, previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] }
  const body = { notifications: [{ type: 'display', mbox: { name: 'banner' }, tokens: [tokens.display] }] }
  const cookie = `${COOKIE}; at_qa_mode=${encodeURIComponent(JSON.stringify(qaMode))}`
  const responses = await Promise.all([post(to, body, { cookie }), post(to, body)])
  t.same(responses.map(({ status }) => status), [204, 204])
  t.match(responses[0]!.headers['set-cookie'], [/^at_qa_mode=/, /^mbox=/])
  t.equal(responses[0]!.headers['cache-control'], 'private, no-store')
  await until(() => edge.notifications.length === 2)
  t.same(edge.requests.map(({ body }) => body.qaMode).sort(), [qaMode, undefined], 'one visitor, two calls')
  t.equal(edge.impressions(), 1, 'QA does not count')
})

t.test('in a browser: a click by sendBeacon and a display that is seen, from the page\'s own script', { skip: withoutBrowser, timeout: 240_000 }, async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { notificationsRoute: true }, (app) => {
    app.get('/', { config: { target: { execute: { mboxes: ['hero'] }, prefetch: { mboxes: ['banner'] } } } }, async (request, reply) => {
      const [hero, banner] = await Promise.all([request.target.offer('hero'), request.target.offer('banner')])
      const click = hero.metrics.find(({ type }) => type === 'click')?.eventToken
      reply.type('text/html').header('cache-control', 'private')
      return `<!doctype html><link rel="icon" href="data:,"><title>Shop</title>
        <div id="hero" data-token="${click}">${String(hero.content)}</div><div style="height:3000px"></div>
        <div id="banner" data-token="${banner.options[0]?.eventToken}">${String(banner.content)}</div>
        <script>
        const notify = (type, element) => navigator.sendBeacon('/target/notifications', JSON.stringify({ notifications: [{ type, mbox: { name: element.id }, tokens: [element.dataset.token] }] }))
        hero.addEventListener('click', () => { notify('click', hero); location = '/next' })
        new IntersectionObserver(([entry], observer) => { if (entry.isIntersecting) { notify('display', banner); observer.disconnect() } }).observe(banner)
        </script>`
    })
    app.get('/next', async (_request, reply) => { reply.type('text/html'); return '<!doctype html><title>Next</title>' })
  })
  const browser = await startBrowser(t)
  const tab = await (await browser.newContext({ viewport: { width: 800, height: 600 } })).newPage()
  await tab.goto(url)
  t.equal(edge.notifications.length, 0)
  t.equal(edge.impressions(410002), 0, 'prefetched is not displayed')
  await tab.locator('#banner').scrollIntoViewIfNeeded()
  await until(() => edge.notifications.length === 1)
  t.match(edge.notifications, [{ type: 'display', mbox: { name: 'banner' } }])
  t.equal(edge.impressions(410002), 1)
  await tab.click('.hero__action')
  await tab.waitForURL(`${url}/next`)
  await until(() => edge.notifications.length === 2)
  t.match(edge.notifications[1], { type: 'click', mbox: { name: 'hero' } }, 'although the page was left')
  t.equal(new Set(edge.requests.map(({ body }) => body.id.tntId.split('.')[0])).size, 1, 'one visitor')

  const evil = await startApp(t, edge.host, {}, (app) => app.get('/', async (_request, reply) => { reply.type('text/html'); return '<!doctype html><title>Evil</title>' }))
  await tab.goto(evil.url.replace('127.0.0.1', 'localhost'))
  const status = await tab.evaluate(`fetch('${url}${PATH}', { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' }).then(() => 'sent')`)
  t.equal(status, 'sent')
  await sleep(50)
  t.equal(edge.notifications.length, 2, 'another origin is not heard')
})
