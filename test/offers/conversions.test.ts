/** Conversions, orders and profile attributes: counted in every decisioning method, never lost, and sent when a function waits. */
import t from 'tap'
import { createTargetClient, type Conversion, type TargetRouteConfig } from '../../lib/index.ts'
import { client, cookiesOf, json, optionsFor, organizationId, startApp, startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { until } from '../support/wait.ts'

const order = { id: 'o1', total: 19.9, purchasedProductIds: ['p1', 'p2'] }
const METHODS = ['server-side', 'on-device', 'hybrid'] as const

t.test('a conversion counts in every decisioning method, with its order and for the visitor of the page', async (t) => {
  for (const decisioningMethod of METHODS) {
    await t.test(decisioningMethod, async (t) => {
      const edge = await startEdge(t)
      const { app, url } = await startApp(t, edge.host, { decisioningMethod, artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json` }, (app) => {
        app.get('/', async (request) => {
          request.target.converted('orderConfirm', { order, product: { id: 'p1' }, parameters: { coupon: 'SPRING' } })
          request.target.converted('signup')
          request.target.profile({ tier: 'gold', 'profile.age': 7 })
          return ''
        })
      })
      await app.target.ready({ timeout: 5000 })
      edge.reset()
      const response = await fetch(url)
      t.same(await app.target.flush({ timeout: 3000 }), { left: 0 })
      t.match(edge.orders(), [{ ...order, mbox: 'orderConfirm', product: { id: 'p1' }, parameters: { coupon: 'SPRING' } }])
      t.equal(edge.displays('orderConfirm'), 1)
      t.equal(edge.displays('signup'), 1)
      t.match(edge.notifications.find(({ mbox }) => mbox?.name === 'profile-update'), { type: 'display', profileParameters: { tier: 'gold', age: '7' } })
      const [call] = edge.requests
      t.match(cookiesOf(response), String(call!.query.sessionId))
      t.match(call!.body.id, { tntId: String })
      t.equal(new Set(edge.notifications.map(({ impressionId }) => impressionId)).size, 3, 'each counts by itself')
    })
  }
})

t.test('a conversion is sent again until it counts, once', async (t) => {
  const edge = await startEdge(t)
  const { app, url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', async (request) => { request.target.converted('orderConfirm', { order }); return '' })
  })
  edge.fault('status:503', { times: 2 })
  await fetch(url)
  await until(() => app.target.health().outbox.sent === 1)
  t.ok(edge.requests.length > 1, 'it was tried again')
  t.equal(edge.orders().length, 1)
})

t.test('trackEvent parameters go where at.js puts them', async (t) => {
  const edge = await startEdge(t)
  const { app, url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', async (request) => {
      request.target.converted('at-js', { parameters: { orderId: 'o7', orderTotal: '12.50', productPurchasedId: 'a, b', productId: 'a', categoryId: 'c', 'profile.tier': 'gold', size: 3 } })
      request.target.converted('own', { order: { total: 5 }, parameters: { orderId: 'o8', orderTotal: 1 } })
      return ''
    })
  })
  await fetch(url)
  await app.target.flush()
  t.match(edge.notifications.map(({ order, product, parameters, profileParameters }) => ({ order, product, parameters, profileParameters })), [
    { order: { id: 'o7', total: 12.5, purchasedProductIds: ['a', 'b'] }, product: { id: 'a', categoryId: 'c' }, parameters: { size: '3' }, profileParameters: { tier: 'gold' } },
    { order: { id: 'o8', total: 5 } }
  ])
})

t.test('amounts and ids of databases count; what is wrong is said once, by name, and the rest counts', async (t) => {
  const edge = await startEdge(t)
  const decimal = { toString: () => '20.25' }
  const circle: Record<string, unknown> = {}
  circle.self = circle
  const { app, url, logged } = await startApp(t, edge.host, {}, (app) => {
    app.get('/good', async (request) => {
      for (const total of ['20.25', decimal, 20.25]) request.target.converted('good', { order: { id: 5n, total, purchasedProductIds: [1, 'b'], time: new Date('2026-01-02T03:04:05Z') } })
      request.target.converted('good', { order: { id: 5, total: 20n } })
      return ''
    })
    app.get('/bad', async (request) => {
      const { target } = request
      target.converted('bad', { oder: order } as unknown as Conversion)
      target.converted('bad', { order: { id: 'o2', total: Number.NaN } })
      target.converted('bad', { order: 'o3' } as unknown as Conversion)
      target.converted('bad', 49 as unknown as Conversion)
      target.converted('bad', { parameters: { circle } })
      target.converted('bad', null as unknown as Conversion)
      for (const mbox of [undefined, null, 5, '', ' ', Symbol('x'), {}, 'x'.repeat(251), 'hero-clicked']) target.converted(mbox as string, { order })
      for (const attributes of [undefined, null, 5, [], Symbol('x'), {}]) target.profile(attributes as Record<string, unknown>)
      target.converted('bad', Object.defineProperty({}, 'order', { enumerable: true, get () { throw new Error('no') } }) as Conversion)
      target.converted('bad', { order: { id: 'o4', [Symbol.toPrimitive]: 1, note: 5n } as object })
      return ''
    })
  })
  t.equal((await fetch(`${url}/good`)).status, 200)
  t.equal((await fetch(`${url}/bad`)).status, 200)
  t.equal((await fetch(`${url}/bad`)).status, 200)
  await app.target.flush()
  t.same(edge.orders('good').map(({ id, total, purchasedProductIds, time }) => ({ id, total, purchasedProductIds, time })), [
    ...Array.from({ length: 3 }, () => ({ id: '5', total: 20.25, purchasedProductIds: ['1', 'b'], time: '2026-01-02T03:04:05.000Z' })),
    { id: '5', total: 20, purchasedProductIds: undefined, time: undefined }
  ])
  t.equal(app.target.health().outbox.failed, 0)
  t.equal(edge.displays('bad'), 12, 'the conversions count')
  t.equal(edge.orders('bad').length, 2, 'an order without its total')
  const lines = logged.map(({ msg }) => msg)
  t.equal(new Set(lines).size, lines.length, 'once each')
  for (const expected of [
    /GET \/bad: request\.target\.converted\(\): unknown member `oder` was left out \(did you mean `order`\?\)/,
    /converted\(\): `order\.total` was left out/,
    /converted\(\): `order` must be an object/,
    /converted\(\): takes \{ order, product, parameters, profileParameters \}, got a number/,
    /converted\(\): an mbox without a name/,
    /converted\(\): mbox "x+"… was left out: mbox names have at most 250/,
    /converted\(\): mbox "hero-clicked" was left out/,
    /converted\(\): its second argument must be data that JSON\.stringify\(\) accepts/,
    /converted\(\): its arguments cannot be read/,
    /profile\(\): takes an object of attributes, got a number/
  ]) t.match(lines.filter((line) => expected.test(line)).length, 1, String(expected))
})

t.test('an order is not lost where it is decided on-device', async (t) => {
  const edge = await startEdge(t)
  const options = optionsFor(edge.host, { decisioningMethod: 'on-device', artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json` })
  const { app, url, logged } = await startApp(t, edge.host, options, (app) => {
    const route = (path: string, target: object) => app.get(path, { config: { target: target as TargetRouteConfig } }, async (request) => (await request.target.result()).meta)
    route('/impression', { execute: { mboxes: [{ name: 'hero', order: { ...order, id: 'impression' }, parameters: { a: 'b' } }] } })
    route('/none', { execute: { mboxes: [{ name: 'orderConfirm', order: { ...order, id: 'none' }, product: { id: 'p1' } }] } })
    route('/page', { execute: { pageLoad: { order: { ...order, id: 'page' } } } })
    route('/prefetch', { prefetch: { mboxes: [{ name: 'hero', order: { ...order, id: 'prefetch' } }], views: [{ name: 'product', order: { ...order, id: 'view' } }, { order: { ...order, id: 'views' } }] } })
    route('/profile', { execute: { mboxes: [{ name: 'hero', profileParameters: { a: 'b' } }] } })
  })
  await app.target.ready({ timeout: 5000 })
  edge.reset()
  for (const path of ['impression', 'none', 'page', 'prefetch', 'profile', 'profile']) await json(await fetch(`${url}/${path}`))
  await app.target.getOffers({ request: { execute: { mboxes: [{ name: 'thanks', order: { id: 'client' } }] } } })
  t.same(await app.target.flush(), { left: 0 })
  t.same(edge.orders().map(({ id, mbox }) => [id, mbox]).sort(), [
    ['client', 'thanks'], ['impression', 'hero'], ['none', 'orderConfirm'], ['page', 'target-global-mbox'], ['prefetch', 'hero'], ['view', undefined], ['views', 'target-global-mbox']
  ].sort())
  t.match(edge.orders('hero')[0], { parameters: { a: 'b' } })
  t.match(edge.orders('orderConfirm')[0], { product: { id: 'p1' } })
  t.equal(edge.requests.some(({ body }) => body.execute !== undefined || body.prefetch !== undefined), false, 'all were decided here')
  t.match(logged.map(({ msg }) => msg), [/`profileParameters` do not reach Target from on-device decisions; send them with request\.target\.profile\(\)/])

  await t.test('nor before the first artifact has come', async (t) => {
    edge.reset()
    edge.fault('status:500', { route: 'artifact' })
    const early = createTargetClient({ client, organizationId, serverDomain: edge.host, secure: false, decisioningMethod: 'on-device', artifactLocation: options.artifactLocation, logger: { debug () {}, error () {} } })
    t.teardown(() => early.close())
    await t.rejects(early.getOffers({ request: { execute: { pageLoad: { order: { id: 'early page' } }, mboxes: [{ name: 'thanks', order: { id: 'early' } }] } } }), { code: 'FST_TARGET_NOT_READY' })
    t.same(await early.flush(), { left: 0 })
    t.same(edge.orders().map(({ id, mbox }) => [id, mbox]), [['early page', 'target-global-mbox'], ['early', 'thanks']])
  })
})

t.test('app.target counts for a visitor who is not on a page, and a conversion without a visitor is refused', async (t) => {
  const edge = await startEdge(t)
  const { app, url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => { await request.target.content('hero', ''); return '' })
  })
  const cookies = cookiesOf(await fetch(url))
  const { id } = edge.requests[0]!.body
  const targetCookie = /mbox=([^;]+)/.exec(cookies)![1]!
  edge.reset()
  app.target.converted('orderConfirm', { order }, { targetCookie })
  app.target.converted('orderConfirm', { order: { id: 'o2' } }, { thirdPartyId: 'ann' })
  app.target.profile({ tier: 'gold' }, { thirdPartyId: 'ann' })
  t.same(await app.target.flush(), { left: 0 })
  t.same(edge.orders().map(({ id }) => id).sort(), ['o1', 'o2'])
  t.match(edge.requests.find(({ body }) => body.notifications[0].order?.id === 'o1')!.body.id.tntId.split('.')[0], id.tntId.split('.')[0], 'the visitor of the page')
  t.equal(edge.requests.filter(({ body }) => body.id.thirdPartyId === 'ann').length, 2)
  for (const [wrong, message] of [
    [() => app.target.converted('a', {}, {}), /the visitor must have a tntId/],
    [() => app.target.converted('a', {}, undefined as never), /the visitor must have a tntId/],
    [() => app.target.converted('', {}, { thirdPartyId: 'ann' }), /an mbox without a name/],
    [() => app.target.profile({}, { thirdPartyId: 'ann' }), /nothing to send/],
    [() => app.target.converted('a', { parameters: { get a () { throw new Error('no') } } }, { thirdPartyId: 'ann' }), /must be data/]
  ] as const) t.throws(wrong, { code: 'FST_TARGET_INVALID_REQUEST', message })
})

t.test('a function that reads the body before it is parsed is named, with its route and what to do', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, { parameters: (request) => ({ plan: (request.body as { plan?: string } | undefined)?.plan }) }, (app) => {
    const body = (request: unknown) => (request as { body: { id: string } }).body
    app.post('/throws', { config: { target: (request) => [{ name: 'order', order: { id: body(request).id } }] } }, async () => '')
    app.put('/reads', { config: { target: (request) => [body(request)?.id ?? 'none'] } }, async (request) => request.body)
    app.post('/fine', { config: { target: (request) => [request.url] } }, async (request) => request.body)
    app.get('/get', { config: { target: (request) => [body(request)?.id ?? 'none'] } }, async () => '')
  })
  const send = (method: string, path: string) => fetch(url + path, { method, headers: { 'content-type': 'application/json' }, body: method === 'GET' ? undefined : '{"id":"a","plan":"b"}' })
  for (let i = 0; i < 2; i++) {
    t.equal((await send('POST', '/throws')).status, 200)
    t.same(await json(await send('PUT', '/reads')), { id: 'a', plan: 'b' }, 'the handler has its body')
    t.same(await json(await send('POST', '/fine')), { id: 'a', plan: 'b' })
  }
  await send('GET', '/get')
  const lines = logged.map(({ msg }) => msg).filter((line) => line.includes('request.body'))
  const advice = /which is parsed after the hook `onRequest`: call request\.target\.converted\(\) or start\(\) in the handler, or register the plugin with `hook: 'preHandler'`/
  t.equal(lines.length, 3)
  for (const line of lines) t.match(line, advice)
  t.match(lines.join('\n'), /config\.target of POST \/throws reads request\.body, .*\n?/)
  t.match(lines.join('\n'), /config\.target of PUT \/reads reads/)
  t.match(lines.join('\n'), /parameters reads request\.body for (POST|PUT) /)
})

t.test('flush() waits for what is queued and for what waits for an answer, at most for its timeout, and says what is left', async (t) => {
  let latency = 1000
  const edge = await startEdge(t, { latency: () => latency })
  const { app, url } = await startApp(t, edge.host, { maxWait: 1 }, (app) => {
    app.get('/', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => { request.target.displayed('hero'); return '' })
  })
  t.same(await app.target.flush(), { left: 0 }, 'nothing to wait for')
  await fetch(url)
  t.equal(app.target.health().outbox.accepted, 0, 'the answer is not there')
  t.same(await app.target.flush({ timeout: 0 }), { left: 1 })
  latency = 60
  t.same(await app.target.flush({ timeout: 3000 }), { left: 0 })
  t.equal(edge.displays('hero'), 1)

  edge.fault('hang', { times: 1 })
  app.target.converted('a', {}, { thirdPartyId: 'ann' })
  const started = performance.now()
  t.same(await app.target.flush({ timeout: 50 }), { left: 1 })
  t.ok(performance.now() - started < 1000)
  edge.reset()
  edge.fault('status:503', { times: 1 })
  app.target.converted('b', {}, { thirdPartyId: 'bea' })
  await until(() => edge.requests.length === 1)
  t.match(await app.target.flush({ timeout: 3000 }), { left: Number })
  t.equal(edge.displays('b'), 1, 'what rested was tried at once')
  await t.rejects(app.target.flush({ timout: 5 } as object), { code: 'FST_TARGET_INVALID_OPTIONS', message: /unknown option `timout`/ })
  await t.rejects(app.target.flush({ timeout: -1 }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`timeout` must be a number of ms/ })
})
