/** Target's limits: what is beyond them is cut or left out, said once, and takes nothing else with it. */
import t from 'tap'
import { createTargetClient } from '../../lib/client/create-client.ts'
import type { RequestDetails } from '../../lib/schema/index.ts'
import { acceptableCustomerIds, acceptableDetails, cut, idText } from '../../lib/schema/acceptable.ts'
import { client, cookiesOf, json, organizationId, startApp, startEdge } from '../support/helper.ts'

const text = (length: number) => 'x'.repeat(length)
const names = (count: number) => Array.from({ length: count }, (_, index) => `m${index}`)
const numbered = (count: number, value = 'v') => Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, value]))
/** A logger that keeps warnings. */
const keeping = (warnings: string[]) => ({ debug () {}, error () {}, warn (message: string) { warnings.push(message) } })

t.test('a text is never cut inside a surrogate pair', async (t) => {
  t.equal(cut('abc', 3), 'abc')
  t.equal(cut('abcd', 3), 'abc')
  t.equal(cut('ab😀', 3), 'ab')
  t.equal(cut('ab😀', 4), 'ab😀')
  t.equal(cut('ab\ud83dd', 3), 'ab', 'a lone half goes as well')
  t.equal(acceptableDetails({ parameters: { q: `${text(4999)}😀` } }, () => {}).parameters?.q, text(4999))
  t.equal(acceptableDetails({ profileParameters: { q: `${text(255)}😀` } }, () => {}).profileParameters?.q, text(255))
})

t.test('ids: numbers become text', async (t) => {
  t.same([0, 42, 7n, 'a', '', NaN, null, {}, true].map(idText), ['0', '42', '7', 'a', undefined, undefined, undefined, undefined, undefined])
})

t.test('a purchase is mended rather than lost', async (t) => {
  const problems: string[] = []
  const given: object = { id: 1001, total: '19.90', purchasedProductIds: [7, text(51), '', ...names(80)], time: new Date(0) }
  const { order, product }: RequestDetails = acceptableDetails<RequestDetails>({
    order: given,
    product: { id: text(129), categoryId: text(257) }
  }, (problem) => problems.push(problem))
  t.match(order, { id: '1001', total: 19.9, time: '1970-01-01T00:00:00.000Z' })
  t.equal(order?.purchasedProductIds?.[0], '7')
  t.equal(order?.purchasedProductIds?.[1], text(50))
  t.ok(String(order?.purchasedProductIds).length <= 250)
  t.same([product?.id?.length, product?.categoryId?.length], [128, 256])
  for (const place of ['order.purchasedProductIds', 'product.id', 'product.categoryId']) t.ok(problems.some((problem) => problem.includes(place)), place)
  t.notOk('total' in acceptableDetails({ order: { id: 'a', total: -1 } }, () => {}).order!)
  const fine = { order: { id: 'a', total: 0, purchasedProductIds: ['p'] } }
  t.equal(acceptableDetails(fine, () => t.fail('nothing to report')).order, fine.order, 'what fits is not copied')
})

t.test('customer ids are left out one by one', async (t) => {
  const entry = { id: 'a', integrationCode: 'crm', authenticatedState: 'unknown' as const }
  const accepted = acceptableCustomerIds([entry, { ...entry, id: text(129) }, { ...entry, integrationCode: text(51) }, null as never, { id: 7, integrationCode: 'db' } as never], () => {})
  t.same(accepted, [entry, { id: '7', integrationCode: 'db', authenticatedState: 'unknown' }])
  t.equal(acceptableCustomerIds(Array(60).fill(entry), () => {}).length, 50)
})

t.test('more than 50 mboxes are several calls with one answer', async (t) => {
  const edge = await startEdge(t)
  for (const name of names(120)) edge.offer(name, `<b>${name}</b>`)
  const { url, app } = await startApp(t, edge.host, {}, (app) => {
    app.get('/configured', { config: { target: names(60) } }, async ({ target }) => await Promise.all(names(60).map((name) => target.content(name, 'FALLBACK'))))
    app.get('/asked', async ({ target }) => await Promise.all(names(60).map((name) => target.content(name, 'FALLBACK'))))
    app.get('/mixed', { config: { target: { execute: { pageLoad: {}, mboxes: names(30) }, prefetch: { views: [{}], mboxes: names(60).slice(30) } } } }, async ({ target }) => ({
      mboxes: await Promise.all(names(60).map((name) => target.content(name, 'FALLBACK'))),
      views: (await target.views()).length
    }))
  })
  const all = names(60).map((name) => `<b>${name}</b>`)
  for (const path of ['/configured', '/asked']) {
    edge.reset()
    for (const name of names(120)) edge.offer(name, `<b>${name}</b>`)
    t.same(await json(await fetch(url + path)), all, path)
    t.same(edge.requests.map(({ body }) => body.execute.mboxes.length), [50, 10])
    const ids = new Set(edge.requests.map(({ body }) => JSON.stringify(body.id)))
    t.equal(ids.size, 1, 'one visitor')
    t.equal(new Set(edge.requests.map(({ body }) => body.impressionId)).size, 2, 'each call is an impression: Target would not count the second')
  }
  for (const name of names(60)) t.equal(edge.displays(name), 1, `${name} was counted once`)
  edge.reset()
  for (const name of names(120)) edge.offer(name, `<b>${name}</b>`)
  t.same((await json(await fetch(`${url}/mixed`))).mboxes, all)
  t.same(edge.requests.map(({ body }) => [Boolean(body.execute?.pageLoad), Boolean(body.prefetch?.views)]), [[true, true], [false, false]], 'page load and views are requested once')

  edge.reset()
  for (const name of names(120)) edge.offer(name, `<b>${name}</b>`)
  const { response } = await app.target.getOffers({ request: { requestId: 'mine', execute: { mboxes: names(120).map((name, index) => ({ name, index })) } } })
  t.equal(response.requestId, 'mine')
  t.same(response.execute?.mboxes?.map(({ index }) => index), names(120).map((_, index) => index), 'in the order of the request')
  t.equal(new Set(edge.requests.map(({ body }) => body.id.tntId)).size, 1, 'no visitor is made for each part')

  edge.fault('status:500', { times: 1 })
  const partial = await json(await fetch(`${url}/configured`))
  t.equal(partial.filter((content: string) => content === 'FALLBACK').length % 50 % 10, 0)
  t.ok(partial.includes('FALLBACK') && partial.some((content: string) => content !== 'FALLBACK'), 'a part that fails does not take the others with it')
  edge.fault('status:500', { times: 2 })
  await t.rejects(app.target.getOffers({ request: { execute: { mboxes: names(60).map((name, index) => ({ name, index })) } } }), { code: 'FST_TARGET_HTTP' })
})

t.test('more than 50 notifications are several calls', async (t) => {
  const edge = await startEdge(t)
  const target = createTargetClient({ client, organizationId, serverDomain: edge.host, secure: false })
  t.teardown(() => target.close())
  const notifications = names(120).map((id) => ({ id, type: 'display' as const, timestamp: 1, mbox: { name: 'hero' } }))
  const { response } = await target.sendNotifications({ request: { notifications } })
  t.same(response.notifications?.map(({ id }) => id), names(120))
  t.same(edge.requests.map(({ body }) => body.notifications.length), [50, 50, 20])
})

t.test('one bad mbox, parameter or id takes nothing with it, and is said once', async (t) => {
  const edge = await startEdge(t)
  const warnings: string[] = []
  const long = `campaign-${text(250)}`
  const { url, app } = await startApp(t, edge.host, {
    logger: keeping(warnings),
    parameters: () => ({ ...numbered(120), list: [1], ' ': 'blank', nothing: null }),
    profileParameters: () => ({ ...numbered(60, text(300)) }),
    visitor: () => ({ thirdPartyId: text(257), marketingCloudVisitorId: 42, customerIds: { crm: 7, long: text(129), db: { id: 8, authState: 1 } } }),
    context: () => ({ geo: { countryCode: 'NOR', city: 'Oslo' }, address: { url: `https://a.example/${text(5000)}` } })
  }, (app) => {
    app.get('/', async ({ target }) => await Promise.all(['hero', long, '  '].map((name) => target.content(name, 'FALLBACK'))))
    app.get('/made', {
      config: { target: () => [{ name: 'hero', parameters: { n: 7, q: text(5001) }, profileParameters: { tier: text(257) } }, { name: long }, { name: '' }, { name: 'banner', index: 0 }, { name: 'flags', index: 0 }] as never }
    }, async ({ target }) => await target.content('hero', 'FALLBACK'))
    app.get('/started', async ({ target }) => await target.start([{ name: 'hero', parameters: { n: 7 } as never }, long]).content('hero', 'FALLBACK'))
  })
  for (let count = 0; count < 3; count++) {
    const [hero, ...others] = await json(await fetch(url))
    t.match(hero, /class="hero/)
    t.same(others, ['FALLBACK', 'FALLBACK'])
  }
  const { body } = edge.requests.at(-1)!
  const [mbox] = body.execute.mboxes
  t.equal(Object.keys(mbox.parameters).length, 100)
  t.equal(Object.keys(mbox.profileParameters).length, 50)
  t.equal(mbox.profileParameters.p0.length, 256)
  t.same(body.id, {
    marketingCloudVisitorId: '42',
    customerIds: [{ id: '7', integrationCode: 'crm', authenticatedState: 'unknown' }, { id: '8', integrationCode: 'db', authenticatedState: 'authenticated' }]
  })
  t.same(body.context.geo.countryCode, undefined)
  t.equal(body.context.geo.city, 'Oslo')
  t.equal(body.context.address.url.length, 4096)
  for (const named of ['`parameters` "p100"', '`parameters` "list"', '`profileParameters` "p50"', '`profileParameters` "p0"', '`thirdPartyId`', '"long"', 'context.geo.countryCode', 'context.address.url', 'mbox "campaign-']) {
    t.equal(warnings.filter((warning) => warning.includes(named)).length, 1, `${named}: ${warnings.filter((warning) => warning.includes(named)).join(' | ')}`)
  }
  t.notOk(warnings.some((warning) => warning.includes(text(100))), 'no value is logged')

  for (const path of ['/made', '/started']) t.match(await (await fetch(url + path)).text(), /class="hero/, path)
  t.match(await (await fetch(`${url}/made`)).text(), /class="hero/)
  t.same(edge.requests.at(-1)!.body.execute.mboxes.map(({ name, index, parameters }: any) => [name, index, parameters.n]), [['hero', 1, '7'], ['banner', 0, undefined], ['flags', 2, undefined]])

  const { response } = await app.target.getOffers({
    sessionId: '{abc}',
    request: { id: { thirdPartyId: 42 as never, tntId: 7 as never }, execute: { mboxes: [{ name: 'hero', index: 0 }, { name: long, index: 1 }] } }
  })
  t.equal(response.execute?.mboxes?.length, 1)
  t.match(edge.requests.at(-1)!.body.id, { thirdPartyId: '42', tntId: '7' })
  t.notMatch(edge.requests.at(-1)!.query.sessionId, /[{}]/)
})

t.test('a route that asks for what Target refuses is refused at registration', async (t) => {
  const edge = await startEdge(t)
  for (const target of [[text(251)], [{ name: text(251) }], [' '], [{ name: 'a', profileParameters: { tier: text(257) } }], [{ name: 'a', parameters: numbered(101) }]]) {
    await t.rejects(startApp(t, edge.host, {}, (app) => { app.get('/', { config: { target } }, async () => '') }), { code: 'FST_TARGET_INVALID_OPTIONS' })
  }
})

t.test('`visitor`: an unknown member, and anything but an object, is said once', async (t) => {
  const edge = await startEdge(t)
  for (const [given, expected] of [
    [{ thirdPartyID: 'ann' }, /`visitor` returned an unknown option `thirdPartyID` \(did you mean `thirdPartyId`\?\)/],
    ['ann', /`visitor` must return an object.*got a string/],
    [['ann'], /got a list/],
    [{ thirdPartyId: {} }, /`thirdPartyId` was left out/]
  ] as const) {
    const warnings: string[] = []
    const { url } = await startApp(t, edge.host, { logger: keeping(warnings), visitor: () => given as never }, (app) => {
      app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero'))
    })
    for (let count = 0; count < 3; count++) await fetch(url)
    t.match(warnings, [expected])
    t.equal(warnings.length, 1)
  }
})

t.test('a session id with braces is replaced', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero', 'FALLBACK'))
  })
  const response = await fetch(url, { headers: { cookie: `mbox=session#{abc}#${Math.floor(Date.now() / 1000) + 1000}` } })
  t.not(await response.text(), 'FALLBACK')
  t.notMatch(cookiesOf(response), /\{/)
})

t.test('the word for an unknown address is never sent', async (t) => {
  const edge = await startEdge(t)
  for (const decisioningMethod of ['server-side', 'on-device'] as const) {
    const target = createTargetClient({ client, organizationId, serverDomain: edge.host, secure: false, decisioningMethod, artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json` })
    await target.ready()
    await target.getOffers({ request: { context: { channel: 'web', geo: { ipAddress: 'unknownIpAddress' } }, execute: { mboxes: [{ name: 'hero', index: 0 }] } } })
    await target.close()
    t.match(target.health().outbox, decisioningMethod === 'on-device' ? { sent: 1, failed: 0 } : {})
  }
  for (const { body } of edge.requests) t.notMatch(body.context.geo, { ipAddress: 'unknownIpAddress' })
  t.equal(edge.requests.length, 2)
})
