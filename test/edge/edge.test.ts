import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect, type AddressInfo } from 'node:net'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { DeliveryResponse, UnexpectedError, type DeliveryRequest, type Metric, type Notification, type Option } from '../../lib/schema/index.ts'
import { TYPICAL_REQUEST } from '../../lib/edge/delivery-route.ts'
import { createEdge, type EdgeOptions, type FaultKind, type TargetEdge } from '../../lib/edge/index.ts'
import { until } from '../support/wait.ts'
import { artifactWith } from '../support/artifacts.ts'

const organizationId = '1234567890@AdobeOrg'
const context = { channel: 'web' } as const
const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0'
const chrome = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36'
const safari = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15'

type Body = Record<string, any>

/** An edge on a port of its own, closed with the test; answers are checked against the schema on the way. */
async function edgeFor (t: Test, options: EdgeOptions = {}) {
  const edge = createEdge(options)
  t.teardown(() => edge.close())
  const origin = await edge.listen({ port: 0, host: '127.0.0.1' })
  const post = async (body: unknown, { query = `imsOrgId=${organizationId}&sessionId=s1`, headers = {} }: { query?: string, headers?: Record<string, string> } = {}) => {
    const response = await fetch(`${origin}/rest/v1/delivery?${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body)
    })
    const text = await response.text()
    const answer: Body | undefined = text === '' ? undefined : JSON.parse(text)
    if (answer !== undefined) {
      const schema = response.status === 200 ? DeliveryResponse : UnexpectedError
      const wrong = [...Value.Errors(schema, answer)]
      if (wrong.length > 0) t.fail('an answer that is not of the Delivery API', { answer, wrong })
    }
    return { status: response.status, headers: response.headers, answer }
  }
  return {
    edge,
    origin,
    post,
    /** Posts a request that must be answered with offers. */
    async deliver (body: Partial<DeliveryRequest>): Promise<Body> {
      const { status, answer } = await post({ context, ...body })
      t.equal(status, 200)
      return answer as Body
    },
    /** Posts a request that must be refused. */
    async refused (body: unknown, about: RegExp, how: Parameters<typeof post>[1] = {}) {
      const { status, answer } = await post(body, how)
      t.equal(status, 400)
      t.equal(answer?.['status'], 400)
      t.match(answer?.['message'], about)
    }
  }
}

t.test('the request that compiles an edge\'s code before its first caller is one that it accepts', async (t) => {
  const { post } = await edgeFor(t)
  t.equal((await post(TYPICAL_REQUEST)).status, 200)
})

t.test('wrong options throw and name the option', async (t) => {
  const refused = (options: unknown, message: RegExp) => {
    t.throws(() => createEdge(options as EdgeOptions), { code: 'FST_TARGET_INVALID_OPTIONS', message })
  }
  refused({ artefact: {} }, /createEdge\(\): unknown option `artefact` \(did you mean `artifact`\?\)/)
  refused({ toString: 1 }, /unknown option `toString`; expected artifact, client, organizationId, latency or logger/)
  refused({ artifact: [] }, /createEdge\(\): `artifact` must be a rule artifact, as an object, got \[\]/)
  refused({ artifact: null }, /`artifact` must be .* got null/)
  refused({ client: 1 }, /`client` must be a string that is not empty, got 1/)
  refused({ organizationId: '' }, /`organizationId`/)
  refused({ latency: -1 }, /`latency` must be a number of ms ≥ 0 and ≤ 2147483647 or a function/)
  refused({ latency: NaN }, /`latency` must be a number of ms ≥ 0 and ≤ 2147483647 or a function/)
  refused({ latency: '30' }, /`latency` must be a number of ms ≥ 0 and ≤ 2147483647 or a function/)
  refused({ latency: 1e10 }, /`latency` must be a number of ms ≥ 0 and ≤ 2147483647 or a function, got 10000000000/)
  refused({ logger: 'pino' }, /`logger` must be/)
  refused(null, /createEdge\(\): options must be an object, got null/)
  await t.rejects(async () => await createEdge({ artifact: {} }).ready(), { code: 'FST_TARGET_ARTIFACT' })
  await t.rejects(async () => await createEdge({ artifact: { version: '2.0.0', rules: { mboxes: { a: 1 } } } }).ready(), { code: 'FST_TARGET_ARTIFACT' })
  const edge = createEdge({ client: 'c', organizationId, latency: () => 1, logger: false })
  await edge.ready()
  await edge.close()
})

t.test('logs into a logger of another app, or one of its own', async (t) => {
  const lines: string[] = []
  const stream = { write: (line: string) => { lines.push(line) } }
  const app = Fastify({ logger: { level: 'info', stream } })
  t.teardown(() => app.close())
  for (const logger of [app.log, { level: 'info', stream }]) {
    lines.length = 0
    await (await edgeFor(t, { logger })).deliver({})
    t.match(lines.join(''), '/rest/v1/delivery')
  }
})

t.test('the artifact that was given is left as it was', async (t) => {
  const artifact = artifactWith({ a: [{ activity: 1, metrics: [{ type: 'click' }] }] })
  const before = JSON.stringify(artifact)
  const { deliver } = await edgeFor(t, { artifact })
  await deliver({ execute: { mboxes: [{ name: 'a', index: 0 }] } })
  t.equal(JSON.stringify(artifact), before)
})

t.test('the sample: an A/B hero that stays with its visitor, and about half each', async (t) => {
  const { deliver } = await edgeFor(t)
  const variants = { a: 0, b: 0 }
  for (let visitor = 0; visitor < 200; visitor++) {
    const request = { id: { tntId: `visitor${visitor}.35_0` }, execute: { mboxes: [{ name: 'hero', index: 0 }] } }
    const { execute } = await deliver(request)
    const { content, type } = execute.mboxes[0].options[0]
    t.equal(type, 'html')
    variants[content.includes('hero--a') ? 'a' : 'b']++
    if (visitor < 10) t.strictSame((await deliver(request)).execute, execute)
  }
  t.ok(variants.a > 70 && variants.b > 70, `${variants.a} to ${variants.b}`)
})

t.test('the sample: banner by parameter, by URL and by browser, flags, page load and view', async (t) => {
  const { deliver } = await edgeFor(t)
  const banner = async (more: Body, parameters: Record<string, string> = {}) => {
    const { execute } = await deliver({ context: { ...context, ...more }, execute: { mboxes: [{ name: 'banner', index: 7, parameters }] } })
    t.equal(execute.mboxes[0].index, 7)
    return /banner--(\w+)/.exec(execute.mboxes[0].options[0].content)?.[1]
  }
  t.equal(await banner({}, { member: 'gold' }), 'gold')
  t.equal(await banner({ userAgent: firefox, address: { url: 'https://shop.example/?a=b&member=gold#top' } }), 'gold')
  t.equal(await banner({ userAgent: firefox }), 'firefox')
  t.equal(await banner({ userAgent: chrome }), 'chrome')
  t.equal(await banner({ userAgent: safari }), 'safari')
  t.equal(await banner({ userAgent: 'curl/8' }), 'default')
  t.equal(await banner({}, { member: 'silver' }), 'default')

  const { execute, prefetch } = await deliver({
    execute: { pageLoad: {}, mboxes: [{ name: 'checkout-flags', index: 0 }, { name: 'unknown', index: 1 }] },
    prefetch: { views: [{}] }
  })
  const flags: Option = execute.mboxes[0].options[0]
  t.equal(flags.type, 'json')
  t.match(flags.content, { express: Boolean, freeShippingFrom: Number, showSavings: Boolean })
  t.strictSame(execute.mboxes[1], { name: 'unknown', index: 1 })
  t.match(execute.pageLoad, { options: [{ type: 'actions', content: [{ type: 'setHtml', selector: '#promise' }] }], metrics: [{ type: 'click', selector: '#promise', eventToken: String }] })
  t.match(prefetch.views, [{ name: 'product', state: String, options: [{ type: 'actions', eventToken: String }], metrics: [{ type: 'click', eventToken: String }] }])
  const named = await deliver({ prefetch: { views: [{ name: 'product' }] } })
  t.strictSame(named.prefetch.views, prefetch.views)
})

t.test('given ids are returned, and a visitor without one gets an id', async (t) => {
  const { deliver } = await edgeFor(t)
  t.match((await deliver({})).id, { tntId: /^[0-9a-f-]{36}\.35_0$/ })
  t.not((await deliver({})).id.tntId, (await deliver({})).id.tntId)
  t.strictSame((await deliver({ id: { tntId: 'abc' } })).id, { tntId: 'abc.35_0' })
  t.strictSame((await deliver({ id: { tntId: 'abc.28_0' } })).id, { tntId: 'abc.28_0' })
  t.strictSame((await deliver({ id: { thirdPartyId: 'me' } })).id, { thirdPartyId: 'me' })
  t.match((await deliver({ id: { marketingCloudVisitorId: '1' } })).id, { marketingCloudVisitorId: '1', tntId: /^[0-9a-f-]{36}\.35_0$/ })
  const customerIds = [{ id: '1', integrationCode: 'crm', authenticatedState: 'authenticated' }] as const
  t.match((await deliver({ id: { customerIds: [...customerIds] } })).id, { customerIds, tntId: String })

  const anonymous = await deliver({ execute: { mboxes: [{ name: 'hero', index: 0 }] } })
  const again = await deliver({ id: anonymous['id'], execute: { mboxes: [{ name: 'hero', index: 0 }] } })
  t.strictSame(again.execute, anonymous.execute, 'the new id is the one that was decided with')
})

t.test('the response has status, ids, client and edge host', async (t) => {
  const { deliver, post } = await edgeFor(t, { client: 'acme' })
  const { requestId, id, ...rest } = await deliver({})
  t.match(requestId, /^[0-9a-f-]{36}$/)
  t.strictSame(rest, { status: 200, client: 'acme', edgeHost: 'mboxedge35.tt.omtrdc.net' })
  t.equal((await deliver({ requestId: 'mine' }))['requestId'], 'mine')
  const beacon = await post({ context: { ...context, beacon: true }, execute: { pageLoad: {} } })
  t.equal(beacon.status, 204)
  t.equal(beacon.answer, undefined)
  const plain = await post({ context }, { headers: { 'content-type': 'text/plain;charset=UTF-8' } })
  t.equal(plain.status, 200, 'at.js sends its JSON as text/plain')
})

t.test('the edge decides remote mboxes, too', async (t) => {
  const { deliver } = await edgeFor(t, { artifact: artifactWith({ far: [{ activity: 1 }] }, { remoteMboxes: ['far'], remoteViews: ['away'] }) })
  const { status, execute, ...rest } = await deliver({ execute: { mboxes: [{ name: 'far', index: 0 }] }, prefetch: { views: [{ name: 'away' }] } })
  t.equal(status, 200)
  t.equal(execute.mboxes[0].options[0].content, '1')
  t.notOk('remoteMboxes' in rest || 'meta' in rest)
})

t.test('response tokens: those the artifact lists, decided server-side', async (t) => {
  const { deliver } = await edgeFor(t)
  const request = { execute: { mboxes: [{ name: 'banner', index: 0 }] } }
  t.match((await deliver(request)).execute.mboxes[0].options[0].responseTokens, {
    'activity.decisioningMethod': 'server-side',
    'activity.id': 410002,
    'activity.name': 'Banner',
    'experience.id': 4,
    'experience.name': 'Everyone',
    'offer.name': 'Banner: everyone',
    'option.name': 'Offer6'
  })
  const few = await edgeFor(t, { artifact: artifactWith({ banner: [{ activity: 1 }] }, { responseTokens: ['offer.name'] }) })
  t.strictSame((await few.deliver(request)).execute.mboxes[0].options[0].responseTokens, { 'activity.decisioningMethod': 'server-side', 'offer.name': 'An offer' })
})

t.test('execute returns click tokens only; prefetch returns event tokens, states and clicks', async (t) => {
  const { deliver } = await edgeFor(t)
  const details = { pageLoad: {}, mboxes: [{ name: 'hero', index: 1 }, { name: 'nothing', index: 2 }] }
  const { execute, prefetch } = await deliver({ execute: details, prefetch: { ...details, views: [{ name: 'product' }] } })
  for (const place of [execute.pageLoad, execute.mboxes[0]]) {
    t.notOk('eventToken' in place.options[0] || 'state' in place)
    t.match(place.metrics, [{ type: 'click', eventToken: String }])
  }
  for (const place of [prefetch.pageLoad, prefetch.mboxes[0], prefetch.views[0]]) {
    t.match(place, { state: String, options: [{ eventToken: String }], metrics: [{ type: 'click', eventToken: String }] })
  }
  t.equal(prefetch.mboxes[0].metrics[0].eventToken, execute.mboxes[0].metrics[0].eventToken)
  t.match(prefetch.mboxes[1], { name: 'nothing', index: 2, options: undefined, state: String })
  const tokens = [prefetch.pageLoad, prefetch.mboxes[0], prefetch.views[0]].flatMap(({ options, metrics, state }) => [options[0].eventToken, metrics[0].eventToken, state])
  t.equal(new Set(tokens).size, tokens.length, 'all are different')
  t.notMatch(tokens.join(), /hero|4100|click/, 'and tell nothing')
})

t.test('tokens of an artifact are kept, also where a display metric holds them', async (t) => {
  const artifact = artifactWith({
    a: [{ activity: 1, option: { type: 'html', content: 'x', eventToken: 'own' } }],
    b: [{ activity: 2, metrics: [{ type: 'display', eventToken: 'shown' }] }]
  })
  const { edge, deliver } = await edgeFor(t, { artifact })
  const { prefetch } = await deliver({ prefetch: { mboxes: [{ name: 'a', index: 0 }, { name: 'b', index: 1 }] } })
  t.equal(prefetch.mboxes[0].options[0].eventToken, 'own')
  t.equal(prefetch.mboxes[1].options[0].eventToken, 'shown')
  await deliver({ notifications: [{ id: 'n', type: 'display', timestamp: 1, tokens: ['own', 'shown'] }] })
  t.strictSame([edge.impressions(1), edge.impressions(2)], [1, 1])
})

t.test('impressions count what is executed, once for an impression id', async (t) => {
  const { edge, deliver } = await edgeFor(t)
  const execute = { pageLoad: {}, mboxes: [{ name: 'hero', index: 0 }, { name: 'hero', index: 1 }, { name: 'nothing', index: 2 }] }
  await deliver({ execute })
  t.strictSame([edge.impressions(410001), edge.impressions('410004'), edge.impressions()], [1, 1, 2])
  await deliver({ execute, impressionId: 'page' })
  await deliver({ execute, impressionId: 'page' })
  t.strictSame([edge.impressions(410001), edge.impressions(410004), edge.impressions()], [2, 2, 4])
  await deliver({ prefetch: execute })
  t.equal(edge.impressions(), 4, 'prefetch counts nothing')
  t.equal(edge.impressions(1), 0)
})

t.test('notifications: answered by id, counted once, clicks not as impressions', async (t) => {
  const { edge, deliver } = await edgeFor(t)
  const { prefetch } = await deliver({ prefetch: { mboxes: [{ name: 'hero', index: 0 }], views: [{}], pageLoad: {} } })
  const hero = prefetch.mboxes[0]
  const view = prefetch.views[0]
  const display: Notification = { id: 'd1', type: 'display', timestamp: Date.now(), impressionId: 'i1', tokens: [hero.options[0].eventToken], mbox: { name: 'hero', state: hero.state } }
  const click: Notification = { id: 'c1', type: 'click', timestamp: Date.now(), tokens: hero.metrics.map((metric: Metric) => metric.eventToken), mbox: { name: 'hero' } }
  const seen: Notification = { id: 'v1', type: 'display', timestamp: Date.now(), tokens: [view.options[0].eventToken], view: { name: 'product', state: view.state } }
  const page: Notification = { id: 'p1', type: 'display', timestamp: Date.now(), tokens: [prefetch.pageLoad.options[0].eventToken], pageLoad: { state: prefetch.pageLoad.state } }

  const { notifications } = await deliver({ notifications: [display, click, seen, page] })
  t.strictSame(notifications, [{ id: 'd1' }, { id: 'c1' }, { id: 'v1' }, { id: 'p1' }])
  t.strictSame([edge.impressions(410001), edge.impressions(410005), edge.impressions(410004)], [1, 1, 1])
  t.strictSame(edge.notifications, [display, click, seen, page])

  t.strictSame((await deliver({ notifications: [display] })).notifications, [{ id: 'd1' }], 'a repeated one is processed')
  t.equal(edge.impressions(410001), 1, 'but counts no more')
  await deliver({ notifications: [{ ...display, id: 'd2' }] })
  t.equal(edge.impressions(410001), 1, 'nor does another of the same impression')
  await deliver({ execute: { mboxes: [{ name: 'hero', index: 0 }] }, impressionId: 'i1' })
  t.equal(edge.impressions(410001), 1, 'nor an execute of the same impression')
  await deliver({ notifications: [{ ...display, id: 'd1', impressionId: 'i2' }] })
  t.equal(edge.impressions(410001), 1, 'nor the same notification under another impression')
  await deliver({ notifications: [{ ...display, id: 'd3', impressionId: 'i3' }] })
  t.equal(edge.impressions(410001), 2)
  t.equal(edge.notifications.length, 8)
  await deliver({ notifications: [{ ...click, id: 'c2', type: 'display' }] })
  t.equal(edge.impressions(410001), 2, 'the token of a click is no display')
})

t.test('tokens and states are understood after the edge was started again', async (t) => {
  const first = await edgeFor(t)
  const { prefetch } = await first.deliver({ prefetch: { mboxes: [{ name: 'banner', index: 0 }] } })
  await first.edge.close()
  const second = await edgeFor(t, { client: 'other' })
  const { options, state } = prefetch.mboxes[0]
  await second.deliver({ notifications: [{ id: '1', type: 'display', timestamp: 1, tokens: [options[0].eventToken], mbox: { name: 'banner', state } }] })
  t.equal(second.edge.impressions(410002), 1)
})

t.test('analytics: payloads with client_side logging only', async (t) => {
  const { deliver } = await edgeFor(t)
  const details = { pageLoad: {}, mboxes: [{ name: 'banner', index: 0 }, { name: 'nothing', index: 1 }] }
  const request = { execute: details, prefetch: { ...details, views: [{}] } }
  const found = (answer: Body) => JSON.stringify(answer).match(/"analytics"/g)?.length ?? 0
  t.equal(found(await deliver(request)), 0)
  t.equal(found(await deliver({ ...request, experienceCloud: { analytics: { logging: 'server_side' } } })), 0)
  const { execute, prefetch } = await deliver({ ...request, experienceCloud: { analytics: { logging: 'client_side' } } })
  const pageLoad = { payload: { pe: 'tnt', tnta: '410004:0:0|2,410004:0:0|1' } }
  const click = { payload: { pe: 'tnt', tnta: '410004:0:0|32767' } }
  t.strictSame(execute.pageLoad.analytics, pageLoad)
  t.strictSame(execute.pageLoad.metrics[0].analytics, click)
  t.strictSame(prefetch.pageLoad.analytics, pageLoad)
  t.strictSame(prefetch.pageLoad.metrics[0].analytics, click)
  t.equal(execute.mboxes[0].analytics.payload.tnta, '410002:4:0|2,410002:4:0|1')
  t.equal(prefetch.mboxes[0].analytics.payload.tnta, '410002:4:0|2,410002:4:0|1')
  t.equal(prefetch.views[0].analytics.payload.tnta, '410005:0:0|2,410005:0:0|1')
  t.equal(prefetch.views[0].metrics[0].analytics.payload.tnta, '410005:0:0|32767')
  t.notOk('analytics' in execute.mboxes[1] || 'analytics' in prefetch.mboxes[1], 'none without an activity')
})

t.test('property tokens select activities', async (t) => {
  const artifact = artifactWith({ a: [{ activity: 1, propertyTokens: ['p1'] }, { activity: 2, propertyTokens: ['p2', 'p3'] }] })
  const { deliver } = await edgeFor(t, { artifact })
  const content = async (token?: string) => {
    const { execute } = await deliver({ ...(token && { property: { token } }), execute: { mboxes: [{ name: 'a', index: 0 }] } })
    return execute.mboxes[0].options?.[0].content
  }
  t.equal(await content('p1'), '1')
  t.equal(await content('p3'), '2')
  t.equal(await content('p4'), undefined)
  t.equal(await content(), undefined)
})

t.test('requests that the real edge refuses are refused', async (t) => {
  const { edge, refused, post } = await edgeFor(t, { organizationId })
  const query = (text: string) => ({ query: text })
  const mbox = (name?: string, index?: number) => ({ ...(name !== undefined && { name }), ...(index !== undefined && { index }) })
  const notification = { id: '1', type: 'display', timestamp: 1 }
  const text = (length: number) => 'x'.repeat(length)
  const numbered = (length: number) => Object.fromEntries(Array.from({ length }, (_, index) => [`p${index}`, 'v']))

  await refused({ context }, /imsOrgId/, query('sessionId=s'))
  await refused({ context }, /imsOrgId/, query('imsOrgId=&sessionId=s'))
  await refused({ context }, /imsOrgId/, query('imsOrgId=%20&sessionId=s'))
  await refused({ context }, /imsOrgId/, query('imsOrgId=other@AdobeOrg&sessionId=s'))
  for (const session of ['', '%7Babc%7D', 'a%7Db', 'a%20b', 'a%3Fb', 'a/b', 'a%0Ab', text(129)]) {
    await refused({ context }, /sessionId/, query(`imsOrgId=${organizationId}&sessionId=${session}`))
  }
  await refused({ context }, /sessionId/, query(`imsOrgId=${organizationId}`))
  await refused({ context }, /sessionId/, query(`imsOrgId=${organizationId}&sessionId=a&sessionId=b`))
  for (const body of ['', '{', 'hello', '[]', 'null', '"{}"', '1']) await refused(body, /./)
  await refused({}, /context/)
  await refused({ context: {} }, /channel/)
  await refused({ context: { channel: 'tv' } }, /channel/)
  await refused({ context, requestId: 1 }, /requestId/)
  await refused({ context, requestId: text(129) }, /requestId/)
  await refused({ context, execute: [] }, /execute/)
  await refused({ context: { ...context, geo: { ipAddress: 'home' } } }, /ipAddress/)
  await refused({ context: { ...context, timeOffsetInMinutes: '60' } }, /timeOffset/)
  await refused({ context, id: { tntId: 'a.b.c' } }, /tntId/)
  await refused({ context, experienceCloud: { analytics: { supplementalDataId: 'x' } } }, /supplementalDataId/)
  for (const mode of ['execute', 'prefetch']) {
    await refused({ context, [mode]: { mboxes: [mbox(undefined, 0)] } }, /name/)
    await refused({ context, [mode]: { mboxes: [mbox('', 0)] } }, /name/)
    await refused({ context, [mode]: { mboxes: [mbox('  ', 0)] } }, /name/)
    await refused({ context, [mode]: { mboxes: [mbox(text(251), 0)] } }, /name/)
    await refused({ context, [mode]: { mboxes: Array.from({ length: 51 }, (_, index) => mbox(`m${index}`, index)) } }, /size must be between 0 and 50/)
    await refused({ context, [mode]: { pageLoad: { parameters: numbered(101) } } }, /parameters/)
    await refused({ context, [mode]: { pageLoad: { profileParameters: numbered(51) } } }, /profileParameters/)
    await refused({ context, [mode]: { pageLoad: { profileParameters: { x: text(257) } } } }, /profileParameters/)
    await refused({ context, [mode]: { pageLoad: { product: { categoryId: text(257) } } } }, /categoryId/)
    await refused({ context, [mode]: { mboxes: [mbox('a')] } }, /index/)
    await refused({ context, [mode]: { mboxes: [mbox('a', 0), mbox('b', 0)] } }, /index 0 is there twice/)
    await refused({ context, [mode]: { mboxes: [{ ...mbox('a', 0), parameters: { x: text(5001) } }] } }, /parameters/)
    await refused({ context, [mode]: { mboxes: [{ ...mbox('a', 0), parameters: { x: 1 } }] } }, /parameters/)
    await refused({ context, [mode]: { mboxes: [{ ...mbox('a', 0), parameters: { orderId: '1' } }] } }, /orderId/)
    await refused({ context, [mode]: { pageLoad: { profileParameters: { 'profile.a': '1' } } } }, /profileParameters/)
    await refused({ context, [mode]: { pageLoad: { order: { purchasedProductIds: Array.from({ length: 6 }, () => text(50)) } } } }, /purchasedProductIds/)
  }
  await refused({ context, notifications: [{ ...notification, id: undefined }] }, /id/)
  await refused({ context, notifications: [{ ...notification, type: 'hover' }] }, /type/)
  await refused({ context, notifications: [{ ...notification, timestamp: undefined }] }, /timestamp/)
  await refused({ context, notifications: [{ ...notification, tokens: ['made up'] }] }, /token/)
  await refused({ context, notifications: [{ ...notification, mbox: { name: 'hero', state: 'made up' } }] }, /state/)
  await refused({ context, notifications: [{ ...notification, mbox: { name: 'hero-clicked' } }] }, /mbox name/)
  await refused({ context, notifications: [{ ...notification, mbox: { name: ' ' } }] }, /mbox name/)
  await refused({ context, notifications: [{ ...notification, mbox: { name: 'a' }, view: { name: 'b' } }] }, /exclude/)

  await refused({ context, execute: { mboxes: Array.from({ length: 26 }, (_, index) => mbox(`m${index}`, index)) }, prefetch: { mboxes: Array.from({ length: 25 }, (_, index) => mbox(`m${index}`, index)) } }, /size must be between 0 and 50/)
  await refused({ context, id: { thirdPartyId: text(257) } }, /thirdPartyId/)

  const atTheLimits = await post({
    context,
    id: { thirdPartyId: text(256) },
    execute: {
      pageLoad: { parameters: { ...numbered(99), x: text(5000) }, profileParameters: { ...numbered(49), x: text(256) }, product: { categoryId: text(256) } },
      mboxes: Array.from({ length: 50 }, (_, index) => mbox(`m${index}`.padEnd(250, 'x'), index))
    }
  }, query(`imsOrgId=${organizationId}&sessionId=${text(128)}`))
  t.equal(atTheLimits.status, 200, 'what is at the limits is accepted')
  edge.reset()

  const media = await post('<delivery/>', { headers: { 'content-type': 'application/xml' } })
  t.strictSame([media.status, media.answer?.['status']], [415, 415])
  const large = await post({ context, future: text(2 * 1024 * 1024) })
  t.strictSame([large.status, large.answer?.['status']], [413, 413])
  t.equal((await post({ context, execute: { mboxes: [mbox('a', 0)] }, prefetch: { mboxes: [mbox('a', 0)] } })).status, 200, 'an index may be in both lists')
  t.equal(edge.impressions(), 0)
})

t.test('one bad token refuses the whole request', async (t) => {
  const { edge, deliver, refused } = await edgeFor(t)
  const { prefetch } = await deliver({ prefetch: { mboxes: [{ name: 'hero', index: 0 }] } })
  const good = { id: 'good', type: 'display', timestamp: 1, tokens: [prefetch.mboxes[0].options[0].eventToken] }
  await refused({ context, execute: { pageLoad: {} }, notifications: [good, { ...good, id: 'bad', tokens: [...good.tokens, 'nonsense'] }] }, /"bad".*token/)
  t.strictSame([edge.impressions(), edge.notifications.length], [0, 0])
})

t.test('hostile bodies get 200, 204 or 400 and leave Object.prototype alone', async (t) => {
  const { post } = await edgeFor(t)
  const names = '"__proto__": "1", "constructor": "1", "__proto__.polluted": "1", "constructor.prototype.polluted": "1", "toString": "1", "a..b": "1"'
  const { status } = await post(`{ "__proto__": { "polluted": 1 }, "context": { "channel": "web", "address": { "url": "http://%zz:99999999/?__proto__[polluted]=1" } },
    "execute": { "pageLoad": { "parameters": { ${names} } }, "mboxes": [{ "name": "__proto__", "index": 0 }, { "name": "constructor", "index": 1 }, { "name": "hero", "index": 2, "parameters": { ${names} } }] },
    "prefetch": { "views": [{ "name": "__proto__" }, { "name": "toString" }] } }`)
  t.equal(status, 200)
  const deep = `${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`
  t.equal((await post(`{ "context": { "channel": "web", "future": ${deep} }, "trace": { "authorizationToken": "x" }, "execute": { "mboxes": [{ "name": "hero", "index": 0, "future": ${deep} }] } }`)).status, 200)
  const anything = fc.record({
    context: fc.oneof(fc.constant(context), fc.record({ channel: fc.constant('web'), userAgent: fc.string(), address: fc.record({ url: fc.string(), referringUrl: fc.string() }) }), fc.jsonValue()),
    id: fc.oneof(fc.record({ tntId: fc.string() }), fc.jsonValue()),
    execute: fc.oneof(fc.record({ mboxes: fc.array(fc.record({ name: fc.oneof(fc.string(), fc.constantFrom('hero', 'banner')), index: fc.nat(5), parameters: fc.dictionary(fc.string(), fc.string()) })) }), fc.jsonValue()),
    prefetch: fc.oneof(fc.record({ views: fc.array(fc.record({ name: fc.string() })) }), fc.jsonValue()),
    notifications: fc.oneof(fc.array(fc.record({ id: fc.string(), type: fc.constantFrom('click', 'display'), timestamp: fc.integer(), tokens: fc.array(fc.string()) })), fc.jsonValue())
  }, { requiredKeys: [] })
  await fc.assert(fc.asyncProperty(anything, async (body) => [200, 204, 400].includes((await post(body)).status)), { numRuns: 300 })
  t.strictSame([({} as Body)['polluted'], Object.keys(Object.prototype)], [undefined, []])
})

t.test('the artifact: ETag, 304, geo headers, paths', async (t) => {
  const { origin } = await edgeFor(t, { client: 'acme' })
  const get = (path: string, headers: Record<string, string> = {}) => fetch(origin + path, { headers })
  const first = await get('/acme/production/v1/rules.json')
  t.equal(first.status, 200)
  t.match(first.headers.get('content-type'), 'application/json')
  const etag = first.headers.get('etag') as string
  t.match(etag, /^"[0-9a-f]{64}"$/)
  for (const name of ['x-forwarded-for', 'x-geo-latitude', 'x-geo-longitude', 'x-geo-country-code', 'x-geo-region-code', 'x-geo-city']) t.ok(first.headers.get(name), name)
  const artifact = await first.json() as Body
  t.equal(artifact['version'], '1.0.0')
  t.ok(artifact['rules'].mboxes.hero[0].consequence.options[0].eventToken, 'with event tokens, for who decides on-device')

  for (const known of [etag, `W/${etag}`, `"old", ${etag}`, '*']) {
    const unchanged = await get('/acme/production/v1/rules.json', { 'if-none-match': known })
    t.strictSame([unchanged.status, await unchanged.text(), unchanged.headers.get('etag')], [304, '', etag])
  }
  t.equal((await get('/acme/production/v1/rules.json', { 'if-none-match': '"old"' })).status, 200)
  const head = await fetch(`${origin}/acme/staging/v1/rules.json`, { method: 'HEAD' })
  t.strictSame([head.status, head.headers.get('etag')], [200, etag])
  t.strictSame(await (await get('/acme/development/v1/some-property/rules.json')).json(), artifact)
  for (const path of ['/other/production/v1/rules.json', '/acme/moon/v1/rules.json', '/acme/production/v1/rules.bin', '/acme/production/v1/rules.xml', '/nowhere']) {
    const missing = await get(path)
    t.strictSame([missing.status, ((await missing.json()) as Body)['status']], [404, 404], path)
  }
  const other = await edgeFor(t, { artifact: artifactWith({ a: [{ activity: 1 }] }) })
  const changed = await fetch(`${other.origin}/whoever/production/v1/rules.json`, { headers: { 'if-none-match': etag } })
  t.equal(changed.status, 200, 'another artifact has another tag, and without the client option any path is found')
})

t.test('the obfuscated artifact', async (t) => {
  const { origin } = await edgeFor(t, { organizationId })
  const answer = await fetch(`${origin}/acmeclient/production/v1/rules.bin`)
  const bytes = Buffer.from(await answer.arrayBuffer())
  t.equal(bytes.toString('latin1', 0, 8), 'ATOD:001')
  const mask = Buffer.from(organizationId + bytes.toString('latin1', 8, 40))
  const plain = Buffer.from(bytes.subarray(40).map((byte, at) => byte ^ (mask[at % mask.length] as number))).toString()
  t.equal(plain, await (await fetch(`${origin}/acmeclient/production/v1/rules.json`)).text())
  const etag = answer.headers.get('etag') as string
  t.equal((await fetch(`${origin}/acmeclient/production/v1/rules.bin`, { headers: { 'if-none-match': etag } })).status, 304)
})

t.test('geo headers are returned for the address', async (t) => {
  const { origin } = await edgeFor(t)
  const ask = async (headers: Record<string, string> = {}) => await (await fetch(`${origin}/v1/geo`, { headers })).json() as Body
  t.match(await ask(), { 'x-forwarded-for': '127.0.0.1', 'x-geo-latitude': /^[\d.]+$/, 'x-geo-longitude': /^[\d.]+$/, 'x-geo-country-code': /^..$/, 'x-geo-region-code': String, 'x-geo-city': String })
  t.equal((await ask({ 'x-forwarded-for': '8.8.8.8, 10.0.0.1' }))['x-forwarded-for'], '8.8.8.8')
  t.equal((await ask({ 'x-forwarded-for': '<script>' }))['x-forwarded-for'], '127.0.0.1')
})

t.test('the test kit records, resolves and forgets', async (t) => {
  const { edge, deliver, refused, post } = await edgeFor(t)
  const next = edge.nextRequest()
  const alsoNext = edge.nextRequest()
  const before = Date.now()
  await post({ context, requestId: 'r1' }, { headers: { 'x-mine': 'yes' }, query: 'imsOrgId=a&sessionId=b&version=9' })
  t.equal(await next, await alsoNext)
  t.match(await next, { body: { requestId: 'r1' }, query: { imsOrgId: 'a', sessionId: 'b', version: '9' }, headers: { 'x-mine': 'yes', 'content-type': 'application/json' } })
  t.ok((await next).time >= before && (await next).time <= Date.now())
  await refused({ context: { channel: 'tv' } }, /channel/)
  t.equal(edge.requests.length, 2, 'refused ones are there too')
  t.equal(edge.requests[0], await next)
  await deliver({ execute: { pageLoad: {} }, notifications: [{ id: '1', type: 'display', timestamp: 1 }] })
  t.strictSame([edge.impressions(), edge.notifications.length], [1, 1])
  edge.fault('status:500')
  edge.reset()
  t.strictSame([edge.impressions(), edge.notifications, edge.requests], [0, [], []])
  await deliver({ execute: { pageLoad: {} }, impressionId: 'i' })
  edge.reset()
  await deliver({ execute: { pageLoad: {} }, impressionId: 'i' })
  t.equal(edge.impressions(), 1, 'impression ids are forgotten too')
})

t.test('recorded requests are bounded', async (t) => {
  const edge = createEdge()
  t.teardown(() => edge.close())
  const send = (requestId: string) => edge.inject({ method: 'POST', url: '/rest/v1/delivery?imsOrgId=a&sessionId=b', payload: { context, requestId } })
  for (let at = 0; at < 10_010; at += 10) await Promise.all(Array.from({ length: 10 }, (_, more) => send(String(at + more))))
  t.equal(edge.requests.length, 10_000)
  t.equal(edge.requests.at(-1)?.body.requestId, '10009')
})

t.test('latency delays the response', async (t) => {
  const asked: number[] = []
  const slow = await edgeFor(t, { latency: 60 })
  const varying = await edgeFor(t, { latency: () => { asked.push(60); return 60 } })
  for (const { deliver } of [slow, varying]) {
    const started = performance.now()
    await deliver({})
    t.ok(performance.now() - started >= 59)
  }
  t.strictSame(asked, [60])
})

/** A bare TCP client that has sent a request. */
async function sender (edge: TargetEdge) {
  const body = JSON.stringify({ context })
  const socket = connect((edge.server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  socket.setEncoding('latin1')
  socket.write(`POST /rest/v1/delivery?imsOrgId=a&sessionId=b HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  return socket
}

/** What it gets: bytes until the connection ends, or until nothing has come for 400 ms. */
async function raw (edge: TargetEdge) {
  const socket = await sender(edge)
  let text = ''
  let ended: string | undefined
  await new Promise<void>((resolve) => {
    const end = () => { clearInterval(timer); resolve() }
    // Looks are counted: after a pause of this process one timer would be over before what has come is read.
    let looks = 0
    const timer = setInterval(() => { if (++looks === 8) end() }, 50)
    socket.on('data', (data) => { text += data; looks = 0 })
    socket.on('error', (error: NodeJS.ErrnoException) => { ended = error.code })
    socket.on('end', () => { ended = 'end' })
    socket.on('close', end)
  })
  const [head = '', ...rest] = text.split('\r\n\r\n')
  return { socket, open: !socket.closed, ended, text, head, body: rest.join('\r\n\r\n'), length: Number(/content-length: (\d+)/i.exec(head)?.[1]) }
}

t.test('faults', async (t) => {
  const { edge, post, deliver, origin } = await edgeFor(t)
  t.beforeEach(() => edge.reset())
  const json = (headers: Record<string, string> = {}) => fetch(`${origin}/rest/v1/delivery?imsOrgId=a&sessionId=b`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ context, execute: { pageLoad: {} } }) })

  await t.test('an invalid fault throws', async (t) => {
    for (const kind of ['', 'status', 'status:200', 'status:600', 'status:abc', 'slow', 'slow:-1', 'slow:1.5', 'explode', 'toString', null, 5]) {
      t.throws(() => edge.fault(kind as FaultKind), { code: 'FST_TARGET_INVALID_OPTIONS' }, String(kind))
    }
    for (const options of [{ times: 0 }, { times: 1.5 }, { times: '1' }, { route: 'home' }, { route: 'constructor' }, { count: 1 }]) {
      t.throws(() => edge.fault('hang', options as object), { code: 'FST_TARGET_INVALID_OPTIONS' }, JSON.stringify(options))
    }
    await deliver({})
  })

  await t.test('status is returned the given number of times', async (t) => {
    edge.fault('status:503', { times: 2 })
    for (let time = 0; time < 2; time++) {
      const { status, answer } = await post({ context, execute: { pageLoad: {} } })
      t.strictSame([status, answer?.['status']], [503, 503])
    }
    await deliver({})
    t.equal(edge.requests.length, 3, 'they all arrived')
    t.equal(edge.impressions(), 0, 'but were not processed')
    edge.fault('status:302', { times: 1 })
    const unreadable = await fetch(`${origin}/rest/v1/delivery`, { method: 'POST', redirect: 'manual', headers: { 'content-type': 'application/json' }, body: '{' })
    t.equal(unreadable.status, 400, 'what cannot be read is refused before')
    const moved = await fetch(`${origin}/rest/v1/delivery`, { method: 'POST', redirect: 'manual', headers: { 'content-type': 'application/json' }, body: '{}' })
    t.equal(moved.status, 302, 'an invalid one meets the fault')
    t.ok(moved.headers.get('location'))
  })

  await t.test('a fault lasts until reset or until another replaces it', async (t) => {
    edge.fault('status:500')
    for (let time = 0; time < 5; time++) t.equal((await post({ context })).status, 500)
    edge.fault('status:429')
    t.equal((await post({ context })).status, 429)
    edge.reset()
    await deliver({})
  })

  await t.test('status-in-body', async (t) => {
    edge.fault('status-in-body')
    const answer = await json()
    t.equal(answer.status, 200)
    t.match(await answer.json(), { status: 400, message: String })
  })

  await t.test('hang', async (t) => {
    edge.fault('hang')
    const arrived = edge.nextRequest()
    const { open, text, socket } = await raw(edge)
    await arrived
    t.strictSame([open, text], [true, ''])
    socket.destroy()
  })

  await t.test('stall-body', async (t) => {
    edge.fault('stall-body')
    const { open, body, length, head, socket } = await raw(edge)
    t.match(head, 'HTTP/1.1 200')
    t.ok(open)
    t.equal(body.length, length >> 1)
    socket.destroy()
  })

  await t.test('drip', async (t) => {
    edge.fault('drip')
    const { body, headers } = await json()
    const reader = body?.getReader()
    let read = 0
    for (let part = 0; part < 4; part++) read += (await reader?.read())?.value?.length ?? 0
    await reader?.cancel()
    t.ok(read >= 4 && read < 40, `${read} bytes of ${headers.get('content-length')} in four parts`)
  })

  await t.test('reset', async (t) => {
    edge.fault('reset')
    const { ended, text } = await raw(edge)
    t.strictSame([ended, text], ['ECONNRESET', ''])
    t.equal(edge.requests.length, 1)
  })

  await t.test('reset-mid-body', async (t) => {
    edge.fault('reset-mid-body')
    const { ended, body, length } = await raw(edge)
    t.equal(ended, 'ECONNRESET')
    t.equal(body.length, length >> 1)
    await json().then((answer) => t.rejects(answer.json()))
    t.equal(edge.impressions(), 1, 'it was processed: only the answer is lost')
  })

  await t.test('bad-json', async (t) => {
    edge.fault('bad-json')
    const answer = await json()
    t.equal(answer.status, 200)
    t.match(answer.headers.get('content-type'), 'application/json')
    await t.rejects(answer.json(), SyntaxError)
  })

  await t.test('huge-body', async (t) => {
    edge.fault('huge-body')
    const answer = await json()
    t.equal(answer.status, 200)
    let size = 0
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) size += chunk.length
    t.ok(size > 100 * 1024 * 1024)
  })

  await t.test('slow', async (t) => {
    edge.fault('slow:80', { times: 2 })
    for (const beacon of [false, true]) {
      const started = performance.now()
      await post({ context: { ...context, beacon } })
      t.ok(performance.now() - started >= 79)
    }
  })

  await t.test('each route has its own fault', async (t) => {
    edge.fault('status:500', { route: 'artifact' })
    edge.fault('bad-json', { route: 'geo' })
    await deliver({})
    const rules = `${origin}/acmeclient/production/v1/rules.json`
    t.equal((await fetch(rules)).status, 500)
    t.equal((await fetch(`${origin}/acmeclient/production/v1/p/rules.json`)).status, 500)
    await t.rejects((await fetch(`${origin}/v1/geo`)).json())
    edge.fault('bad-json', { route: 'artifact' })
    await t.rejects((await fetch(rules)).json(), SyntaxError)
    edge.fault('stall-body', { route: 'artifact' })
    const patience = new AbortController()
    const stalled = await fetch(rules, { signal: patience.signal })
    t.equal(stalled.status, 200)
    setTimeout(() => patience.abort(), 200)
    await t.rejects(stalled.text(), { name: 'AbortError' })
  })
})

t.test('close() ends immediately during any fault and leaves no handle', async (t) => {
  const edges: TargetEdge[] = []
  for (const kind of ['hang', 'stall-body', 'drip', 'slow:600000', undefined] as const) {
    const edge = createEdge(kind === undefined ? { latency: 600_000 } : {})
    await edge.listen({ port: 0, host: '127.0.0.1' })
    if (kind !== undefined) edge.fault(kind)
    edges.push(edge)
  }
  const arrived = edges.map((edge) => edge.nextRequest())
  const sockets = await Promise.all(edges.map(sender))
  const closed = sockets.map((socket) => {
    socket.on('error', () => {}).resume()
    return new Promise((resolve) => socket.on('close', resolve))
  })
  await Promise.all(arrived)
  await Promise.all(edges.map((edge) => edge.close()))
  await Promise.all(closed)

  const left = () => process.getActiveResourcesInfo().filter((name) => /^TCP|Timeout/.test(name))
  await until(() => left().length === 0)
  t.strictSame(left(), [])
})

t.test('Adobe\'s own SDK gets along with it', async (t) => {
  const TargetClient = createRequire(import.meta.url)('@adobe/target-nodejs-sdk')
  const { edge, origin } = await edgeFor(t, { client: 'acmeclient', organizationId })
  // It leaves its serverDomain for edgeHost after the first answer, hence the way back in fetchApi.
  const fetchApi = (url: string, init: object) => fetch(url.replace(/^https:\/\/[^/]*(?=\/rest)/, origin), init)
  const settings = { client: 'acmeclient', organizationId, fetchApi, telemetryEnabled: false }

  const remote = TargetClient.create(settings)
  const first = await remote.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] }, prefetch: { mboxes: [{ name: 'banner' }] } } })
  t.match(first.targetCookie.value, /PC#[0-9a-f-]+\.35_0#/)
  t.match(first.response.execute.mboxes, [{ name: 'hero', options: [{ type: 'html' }] }])
  const { name, state, options } = first.response.prefetch.mboxes[0]
  const sent = await remote.sendNotifications({
    targetCookie: first.targetCookie.value,
    request: { notifications: [{ id: 'n1', type: 'display', timestamp: Date.now(), mbox: { name, state }, tokens: options.map((option: Option) => option.eventToken) }] }
  })
  t.match(sent.response.notifications, [{ id: 'n1' }])
  t.strictSame([edge.impressions(410001), edge.impressions(410002)], [1, 1])
  const attributes = await remote.getAttributes(['checkout-flags'], { targetCookie: first.targetCookie.value })
  t.match(attributes.asObject('checkout-flags'), { express: Boolean, freeShippingFrom: Number })

  edge.reset()
  const ready = new Promise((resolve, reject) => {
    const device = TargetClient.create({
      ...settings,
      decisioningMethod: 'on-device',
      pollingInterval: 0,
      artifactLocation: `${origin}/acmeclient/production/v1/rules.json`,
      events: { clientReady: () => resolve(device), artifactDownloadFailed: reject }
    })
  })
  const device: any = await ready
  const notified = edge.nextRequest()
  const local = await device.getOffers({ targetCookie: first.targetCookie.value, request: { execute: { mboxes: [{ name: 'hero' }] } } })
  t.equal(local.response.execute.mboxes[0].options[0].content, first.response.execute.mboxes[0].options[0].content, 'the same visitor sees the same on-device')
  await notified
  await until(() => edge.impressions(410001) > 0)
  t.equal(edge.impressions(410001), 1, 'and the impression it notifies counts')
})

t.test('at.js in a page of another origin is answered with CORS headers', async (t) => {
  const { edge, post } = await edgeFor(t, { client: 'acmeclient', organizationId })
  const headers = { 'content-type': 'text/plain', origin: 'https://shop.example' }
  const body = { context, execute: { pageLoad: {} } }
  const { answer } = await post(body, { headers, query: 'client=acmeclient&sessionId=s1&version=2.11.4' })
  t.match(answer, { status: 200, execute: { pageLoad: {} } })
  t.match((await post(body, { headers, query: 'client=other&sessionId=s1' })).answer, { status: 400, message: 'unknown client' })
  t.equal((await post(body, { headers, query: 'client=acmeclient' })).status, 400, 'a session is needed all the same')
  const address = '/rest/v1/delivery?client=acmeclient&sessionId=s1'
  const readable = { 'access-control-allow-origin': 'https://shop.example', 'access-control-allow-credentials': 'true' }
  t.match((await edge.inject({ method: 'POST', url: address, headers, payload: JSON.stringify(body) })).headers, readable)
  t.match((await edge.inject({ method: 'POST', url: address, headers, payload: '{}' })).headers, readable, 'a refusal too')
  const preflight = await edge.inject({ method: 'OPTIONS', url: address, headers: { origin: 'https://shop.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } })
  t.match(preflight, { statusCode: 204, headers: { ...readable, 'access-control-allow-methods': /POST/, 'access-control-allow-headers': /content-type/ } })
  t.notOk((await edge.inject({ method: 'POST', url: address, payload: body })).headers['access-control-allow-origin'], 'a server needs none')
})
