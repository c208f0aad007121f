/** The local edge as a testing kit: fixed offers, visitors of a variant, what was displayed and clicked; and docs/testing.md, run. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { Value } from '@sinclair/typebox/value'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { DeliveryResponse, type DeliveryRequest, type Notification } from '../../lib/schema/index.ts'
import { createEdge, type TargetEdge } from '../../lib/edge/index.ts'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import fastifyAdobeTarget, { createTargetClient, type FastifyAdobeTargetOptions } from '../../lib/index.ts'
import { blocksOf } from '../docs/documents.ts'
import { executablePath, withoutBrowser } from '../support/chromium.ts'
import { FULL } from '../support/full.ts'
import { client, json, optionsFor, organizationId, startApp, startEdge } from '../support/helper.ts'
import { bin, startProject } from '../support/project.ts'
import '../support/no-unhandled-rejections.ts'

type Body = Record<string, any>

/** Asks the edge itself; the answer is checked against the Delivery API. */
async function deliver (edge: TargetEdge, body: Partial<DeliveryRequest>): Promise<Body> {
  const answer = await fetch(`http://${edge.host}/rest/v1/delivery?imsOrgId=${organizationId}&sessionId=s`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ context: { channel: 'web' }, ...body })
  })
  const parsed = await json(answer)
  assert.equal(answer.status, 200, JSON.stringify(parsed))
  assert.deepEqual([...Value.Errors(DeliveryResponse, parsed)], [])
  return parsed
}

const executed = async (edge: TargetEdge, name: string, parameters: Record<string, string> = {}, id: DeliveryRequest['id'] = {}) =>
  (await deliver(edge, { id, execute: { mboxes: [{ name, index: 0, parameters }] } }))['execute'].mboxes[0]
const content = async (...asked: Parameters<typeof executed>) => (await executed(...asked)).options?.[0]?.content

t.test('edge.publish() replaces the artifact of a running edge, and one that is not usable leaves the old one', async (t) => {
  const edge = await startEdge(t)
  const artifactFor = (content: string) => ({
    ...sampleArtifact,
    globalMbox: 'page',
    rules: { mboxes: { hero: [{ ...sampleArtifact.rules.mboxes.hero[0], condition: true, consequence: { name: 'hero', options: [{ type: 'html', content }], metrics: [] } }] }, views: {} }
  })
  const app = createTargetClient({ client, organizationId, serverDomain: edge.host, secure: false, decisioningMethod: 'on-device', artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json`, pollingInterval: 0 })
  t.teardown(() => app.close())
  await app.ready()
  edge.offer('banner', 'fixed')
  await edge.publish(artifactFor('first'))
  t.equal((await executed(edge, 'hero')).options[0].content, 'first')
  await edge.publish(artifactFor('second'))
  t.equal((await executed(edge, 'hero')).options[0].content, 'second')
  t.equal((await executed(edge, 'banner')).options[0].content, 'fixed', 'fixed offers stay')
  await app.refresh()
  const { response } = await app.getOffers({ request: { prefetch: { mboxes: [{ name: 'hero', index: 0 }] } } })
  t.equal(response.prefetch!.mboxes![0]!.options![0]!.content, 'second', 'on-device after a refresh')
  await t.rejects(edge.publish({ version: '2.0.0' }), { code: 'FST_TARGET_ARTIFACT' })
  t.equal((await executed(edge, 'hero')).options[0].content, 'second', 'the old one stays')
})

const rule = (activity: number, name: string, html: string, condition: unknown = true) => ({
  ruleKey: `${activity}`,
  activityId: activity,
  meta: { 'activity.id': activity, 'activity.name': `Activity ${activity}`, 'experience.id': 0, 'experience.name': 'Own' },
  condition,
  consequence: { name, options: [{ type: 'html', content: html }], metrics: [] }
})
const artifactOf = (mboxes: Record<string, object[]>, more: object = {}) => ({ version: '1.0.0', responseTokens: ['experience.name'], localMboxes: Object.keys(mboxes), rules: { mboxes, views: {} }, ...more })

t.test('the kind of an offer follows from its content, and its place is any', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: { execute: { mboxes: ['html', 'flags', 'moved', 'list', 'actions', 'banner', 'empty'], pageLoad: {} }, prefetch: { views: [{ name: 'product' }] } } } }, async (request) => {
      const names = ['html', 'flags', 'moved', 'list', 'actions', 'banner', 'empty']
      const offers = await Promise.all(names.map(async (name) => [name, await request.target.offer(name, 'fallback')]))
      return { ...Object.fromEntries(offers), pageLoad: await request.target.pageLoad(), view: await request.target.view('product') }
    })
  })
  const action = { type: 'setHtml', selector: '#a', content: 'b' }
  edge.offer('html', '<h1>B</h1>')
  edge.offer('flags', { express: true, nested: { deep: [1] } })
  edge.offer('moved', 'https://shop.example/', { type: 'redirect' })
  edge.offer('list', [1, 'two'], { type: 'json' })
  edge.offer('actions', [action])
  edge.offer('banner', null)
  edge.offer('empty', '')
  edge.offer({ pageLoad: true }, [action])
  edge.offer({ view: 'product' }, '<p>view</p>')
  const page = await json(await fetch(url))
  const seen = Object.fromEntries(Object.entries(page).map(([name, { type, content, reason }]: [string, any]) => [name, [reason, type, content]]))
  t.same(seen, {
    html: ['matched', 'html', '<h1>B</h1>'],
    flags: ['matched', 'json', { express: true, nested: { deep: [1] } }],
    moved: ['matched', 'redirect', 'https://shop.example/'],
    list: ['matched', 'json', [1, 'two']],
    actions: ['matched', 'actions', [action]],
    banner: ['no-offer', undefined, 'fallback'],
    empty: ['matched', 'html', ''],
    pageLoad: ['matched', 'actions', [action]],
    view: ['matched', 'html', '<p>view</p>']
  })
  t.equal(page.pageLoad.options.length, 1, 'the artifact\'s own are not there too')
  t.equal(page.view.options.length, 1)
  t.strictSame(await executed(edge, 'banner'), { name: 'banner', index: 0 }, 'nothing is nothing at all')
})

t.test('the latest offer whose `when` matches wins; one without `when` is for everybody else', async (t) => {
  const edge = await startEdge(t, { artifact: artifactOf({ a: [rule(1, 'a', 'own gold', { '==': ['gold', { var: 'mbox.member' }] }), rule(2, 'a', 'own')] }) })
  t.equal(await content(edge, 'a'), 'own')
  edge.offer('a', 'large', { when: { size: 3 } })
  t.equal(await content(edge, 'a'), 'own', 'where none fits the artifact decides')
  t.equal(await content(edge, 'a', { member: 'gold' }), 'own gold')
  t.equal(await content(edge, 'a', { size: '3' }), 'large')
  edge.offer('a', 'gold', { when: { member: 'gold' } })
  t.equal(await content(edge, 'a', { member: 'gold', size: '3' }), 'gold', 'the later one')
  t.equal(await content(edge, 'a', { member: 'Gold', size: '3' }), 'large')
  edge.offer('a', 'default')
  t.equal(await content(edge, 'a', { member: 'gold' }), 'gold', 'a default wins over none that fits')
  t.equal(await content(edge, 'a', { member: 'silver' }), 'default')
  edge.offer('a', 'both', { when: { member: 'gold', size: '3' } })
  edge.offer('a', null, { when: { 'cart.empty': true } })
  t.equal(await content(edge, 'a', { member: 'gold', size: '3' }), 'both')
  t.equal(await content(edge, 'a', { member: 'gold', size: '4' }), 'gold', 'all of them must be equal')
  t.equal(await content(edge, 'a', { member: 'gold', 'cart.empty': 'true' }), undefined, 'nothing, whatever else would fit')
  const experiences = async () => await Promise.all(([{}, { member: 'gold' }, { member: 'gold', size: '3' }] as Record<string, string>[])
    .map(async (parameters) => (await executed(edge, 'a', parameters)).options[0].responseTokens['experience.name']))
  const before = await experiences()
  t.same(before, ['Experience C', 'Experience B', 'Experience D'], 'in the order in which they were fixed')
  edge.offer('a', 'gold again', { when: { member: 'gold' } })
  edge.offer('a', 'default again', {})
  edge.offer('a', 'both again', { when: { size: 3, member: 'gold' } })
  t.equal(await content(edge, 'a', { member: 'gold' }), 'gold again', 'the same case: it takes the place')
  t.equal(await content(edge, 'a'), 'default again')
  t.equal(await content(edge, 'a', { member: 'gold', size: '3' }), 'both again', 'in whatever order it is named')
  t.same(await experiences(), before, 'as the same experience')
  edge.reset()
  t.equal(await content(edge, 'a', { member: 'gold', size: '3' }), 'own gold', 'reset forgets all')
})

t.test('the page load and views: the artifact\'s activities only where no fixed offer fits', async (t) => {
  const edge = await startEdge(t, { artifact: artifactOf({ 'my-global': [rule(1, 'my-global', 'one'), rule(2, 'my-global', 'two')] }, { globalMbox: 'my-global' }) })
  const pageLoad = async (parameters: Record<string, string> = {}) =>
    (await deliver(edge, { execute: { pageLoad: { parameters } } }))['execute'].pageLoad.options.map(({ content }: Body) => content)
  edge.offer({ pageLoad: true }, 'fixed', { when: { member: 'gold' } })
  t.same(await pageLoad(), ['one', 'two'])
  t.same(await pageLoad({ member: 'gold' }), ['fixed'])
  edge.offer({ pageLoad: true }, 'fixed for all')
  t.same(await pageLoad(), ['fixed for all'])
  t.same(await pageLoad({ member: 'gold' }), ['fixed'])
  t.equal(edge.displays({ pageLoad: true }), 4)
  edge.offer({ view: 'a' }, 'A')
  edge.offer({ view: 'b' }, 'B')
  const { prefetch } = await deliver(edge, { prefetch: { views: [{}] } })
  t.same(prefetch.views.map(({ name, options }: Body) => [name, options[0].content]), [['a', 'A'], ['b', 'B']], 'new views are among all')
})

t.test('a fixed offer has every member of a real one', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: { prefetch: { mboxes: ['new'], views: [{}], pageLoad: {} } } } }, async (request) => {
      for (const what of ['new', { view: 'product' }, { pageLoad: true }] as const) {
        request.target.displayed(what)
        request.target.clicked(what)
      }
      return await request.target.offer('new')
    })
    app.get('/executed', { config: { target: ['new'] } }, async (request) => {
      request.target.displayed('new')
      request.target.clicked('new')
      return await request.target.offer('new')
    })
  })
  // eslint-disable-next-line no-template-curly-in-string -- a macro
  edge.offer('new', 'A ${member} ${activity.name}', { when: { member: 'gold' } })
  edge.offer('new', 'B')
  edge.offer({ view: 'product' }, 'view')
  edge.offer({ pageLoad: true }, 'page')
  t.match(await json(await fetch(url)), {
    content: 'B',
    options: [{ eventToken: String }],
    metrics: [{ type: 'click', eventToken: String }],
    responseTokens: { 'activity.id': Number, 'activity.name': 'new', 'experience.id': 1, 'experience.name': 'Experience B', 'offer.name': 'new Experience B', 'activity.decisioningMethod': 'server-side' }
  })
  await edge.until(() => edge.notifications.length === 6)
  for (const place of ['new', { view: 'product' }, { pageLoad: true }] as const) t.strictSame([edge.displays(place), edge.clicks(place)], [1, 1], JSON.stringify(place))
  t.equal(edge.impressions(), 3)

  const offer = await json(await fetch(`${url}/executed`))
  await edge.until(() => edge.clicks('new') === 2)
  t.equal(edge.displays('new'), 2, 'what is executed is displayed, and counts once')
  t.equal(edge.impressions(offer.responseTokens['activity.id']), 2)
  t.equal(await content(edge, 'new', { member: 'gold' }), 'A gold new', 'macros are filled in')

  const { execute } = await deliver(edge, { execute: { mboxes: [{ name: 'new', index: 0 }] }, experienceCloud: { analytics: { logging: 'client_side' } } })
  const id = offer.responseTokens['activity.id']
  t.equal(execute.mboxes[0].analytics.payload.tnta, `${id}:1:0|2,${id}:1:0|1`)
})

t.test('a change takes effect with the next request; tokens already handed out stay valid', async (t) => {
  const edge = createEdge({ client, organizationId, latency: 100 })
  t.teardown(() => edge.close())
  edge.offer('a', 'before it listens')
  await edge.listen({ port: 0, host: '127.0.0.1' })
  const arrived = edge.nextRequest()
  const running = deliver(edge, { prefetch: { mboxes: [{ name: 'a', index: 0 }] } })
  await arrived
  await new Promise((resolve) => setTimeout(resolve, 30))
  edge.offer('a', 'later')
  const { mboxes: [{ options, state, metrics }] } = (await running)['prefetch']
  t.equal(options[0].content, 'before it listens')
  t.equal(await content(edge, 'a'), 'later')
  edge.reset()
  t.equal(await content(edge, 'a'), undefined)
  const notification: Notification = { id: 'd', type: 'display', timestamp: 1, tokens: [options[0].eventToken], mbox: { name: 'a', state } }
  await deliver(edge, { notifications: [notification, { ...notification, id: 'c', type: 'click', tokens: [metrics[0].eventToken] }] })
  t.strictSame([edge.displays('a'), edge.clicks('a')], [1, 1])

  const given = { nested: { value: 1 } }
  edge.offer('a', given)
  given.nested.value = 2
  t.same(await content(edge, 'a'), { nested: { value: 1 } }, 'the content is the one at the time of the call')
})

t.test('on-device and hybrid: the artifact has them, under another ETag', async (t) => {
  const edge = await startEdge(t, { artifact: artifactOf({ far: [], own: [rule(1, 'own', 'own')] }, { localMboxes: ['own'], remoteMboxes: ['far'] }) })
  const location = `http://${edge.host}/${client}/production/v1/rules.json`
  const etag = async () => (await fetch(location)).headers.get('etag')
  const first = await etag()
  const routes = (app: FastifyInstance) => {
    app.get('/:mbox', async (request) => await request.target.offer((request.params as { mbox: string }).mbox, 'fallback'))
  }
  const more = { artifactLocation: location, parameters: (request: any) => request.query, visitor: (request: any) => ({ thirdPartyId: request.query.user }) }
  const device = await startApp(t, edge.host, { ...more, decisioningMethod: 'on-device' }, routes)
  const hybrid = await startApp(t, edge.host, { ...more, decisioningMethod: 'hybrid' }, routes)
  await Promise.all([device, hybrid].map(({ app }) => app.target.ready({ timeout: 5000 })))
  const seen = async ({ url }: { url: string }, path: string) => {
    const { content, source, reason } = await json(await fetch(`${url}/${path}`))
    return [content, source, reason]
  }
  const refreshed = () => Promise.all([device, hybrid].map(({ app }) => app.target.refresh()))

  edge.offer('far', 'gold', { when: { member: 'gold' } })
  edge.offer('own', null)
  edge.offer('new', { a: 1 })
  t.not(await etag(), first)
  t.same(await refreshed(), [{ changed: true }, { changed: true }])
  t.same(await refreshed(), [{ changed: false }, { changed: false }])
  for (const app of [device, hybrid]) {
    t.same(await seen(app, 'new'), [{ a: 1 }, 'on-device', 'matched'])
    t.same(await seen(app, 'own'), ['fallback', 'default', 'no-offer'])
  }
  t.same(await seen(device, 'far?member=gold'), ['gold', 'on-device', 'matched'])
  edge.offer('far', 'for all')
  await refreshed()
  t.same(await seen(hybrid, 'far'), ['for all', 'on-device', 'matched'], 'it is decided here now')
  await edge.until(() => edge.displays('far') === 2 && edge.displays('new') === 2)

  edge.offer('own', 'for Ann', { visitor: { thirdPartyId: 'ann' } })
  await refreshed()
  t.same(await seen(hybrid, 'own?user=ann'), ['for Ann', 'edge', 'matched'], 'only the edge knows visitors')
  t.same(await seen(hybrid, 'own?user=bob'), ['fallback', 'default', 'no-offer'])
  t.same(await seen(device, 'own?user=ann'), ['fallback', 'default', 'no-offer'], 'on-device decides without')
  edge.offer({ view: 'v' }, 'for Ann', { visitor: { thirdPartyId: 'ann' } })
  const served = await json(await fetch(location))
  t.same([served.localMboxes, served.remoteMboxes, served.localViews, served.remoteViews], [['far', 'new'], ['own'], [], ['v']])
  t.notMatch(JSON.stringify(served), /Ann|ann"/)
  edge.reset()
  t.equal(await etag(), first)
})

t.test('an offer for one visitor', async (t) => {
  const edge = await startEdge(t)
  edge.offer('a', 'all')
  edge.offer('a', 'Ann', { visitor: { thirdPartyId: 'ann' } })
  edge.offer('a', 'Ann, gold', { visitor: { thirdPartyId: 'ann' }, when: { member: 'gold' } })
  edge.offer('a', 'device', { visitor: { tntId: 'd1.28_0' } })
  edge.offer('a', 'both', { visitor: { tntId: 'd2', marketingCloudVisitorId: '77' } })
  const cases: [unknown, DeliveryRequest['id'], Record<string, string>?][] = [
    ['all', {}],
    ['all', { thirdPartyId: 'bob' }],
    ['Ann', { thirdPartyId: 'ann' }],
    ['Ann, gold', { thirdPartyId: 'ann' }, { member: 'gold' }],
    ['all', { thirdPartyId: 'bob' }, { member: 'gold' }],
    ['device', { tntId: 'd1' }],
    ['device', { tntId: 'd1.35_0', thirdPartyId: 'ann' }],
    ['both', { tntId: 'd2.35_0', marketingCloudVisitorId: '77' }],
    ['all', { tntId: 'd2.35_0', marketingCloudVisitorId: '78' }]
  ]
  for (const [expected, id, parameters = {}] of cases) t.equal(await content(edge, 'a', parameters, id), expected, JSON.stringify(id))
})

t.test('a visitor for a variant, at the edge and on-device', async (t) => {
  const edge = await startEdge(t)
  const location = `http://${edge.host}/${client}/production/v1/rules.json`
  for (const decisioningMethod of ['server-side', 'on-device'] as const) {
    const { url, app } = await startApp(t, edge.host, { decisioningMethod, artifactLocation: location, visitor: (request) => ({ thirdPartyId: (request.query as Body)['user'] }) }, (app) => {
      app.get('/', { config: { target: ['hero', 'checkout-flags'] } }, async (request) => [await request.target.offer('hero'), await request.target.offer('checkout-flags')])
    })
    await app.target.ready({ timeout: 5000 })
    for (const [activity, experience, place] of [['Winter hero', 'Layers', 0], ['Winter hero', 'Night', 0], [410001, 1, 0], ['410003', '0', 1], ['Checkout flags', 'Express', 1]] as const) {
      const { id, cookie } = edge.visitorFor({ activity, experience })
      t.same(edge.visitorFor({ activity, experience }).id, id, 'always the same')
      for (const answer of [await fetch(url, { headers: { cookie } }), await fetch(`${url}?user=${id}`)]) {
        const { responseTokens, source } = (await json(answer))[place]
        t.equal(source, decisioningMethod === 'on-device' ? 'on-device' : 'edge')
        t.ok([responseTokens['experience.name'], responseTokens['experience.id']].some((known) => String(known) === String(experience)), `${experience} ${decisioningMethod}`)
      }
    }
  }
})

t.test('a visitor for shares of any size, under an audience too', async (t) => {
  const share = (from: number, to: number) => ({ and: [{ '<=': [from, { var: 'allocation' }] }, { '>': [to, { var: 'allocation' }] }] })
  const gold = { '==': ['gold', { var: 'mbox.member' }] }
  const variant = (experience: number, condition: unknown) => ({ ...rule(7, 'a', `${experience}`, condition), meta: { 'activity.id': 7, 'experience.id': experience } })
  const edge = await startEdge(t, {
    artifact: artifactOf({
      a: [
        variant(0, share(0, 0.01)),
        variant(1, { and: [gold, share(0.01, 30)] }),
        variant(2, { and: [{ '!': [gold] }, share(0.01, 30)] }),
        variant(3, { or: [{ and: [gold, share(30, 60)] }, share(60, 61)] }),
        variant(4, { '!': [share(0, 99.9)] }),
        variant(5, false),
        variant(6, share(0, 0.01)),
        variant(8, true),
        variant(9, gold)
      ],
      other: [rule(8, 'other', 'x', share(50, 0))]
    })
  })
  for (const [experience, parameters] of [[0, {}], [1, { member: 'gold' }], [2, {}], [3, { member: 'gold' }], [4, {}], [8, {}]] as const) {
    const { id } = edge.visitorFor({ activity: 7, experience })
    t.equal(await content(edge, 'a', parameters, { tntId: id }), `${experience}`)
  }
  const refused = (variant: unknown, message: RegExp) => t.throws(() => edge.visitorFor(variant as never), { code: 'FST_TARGET_INVALID_OPTIONS', message })
  for (const experience of [5, 6, 9]) refused({ activity: 7, experience }, /no visitor is allocated to/)
  refused({ activity: 8, experience: 0 }, /no visitor is allocated/)
  refused({ activity: 'Sevn', experience: 0 }, /unknown activity 'Sevn'; expected 7 or 'Activity 8'/)
  refused({ activity: 7, experience: 'Own' }, /unknown experience 'Own'; expected 0, 1/)
  for (const variant of [{}, undefined, null, 'hero', { activity: 7 }, { activity: {}, experience: [] }]) refused(variant, /unknown/)
})

t.test('displays and clicks are counted once, by place', async (t) => {
  const edge = await startEdge(t)
  const mboxes = [{ name: 'hero', index: 0 }, { name: 'hero', index: 1 }, { name: 'nothing', index: 2 }]
  await deliver(edge, { execute: { pageLoad: {}, mboxes }, impressionId: 'one' })
  await deliver(edge, { execute: { mboxes }, impressionId: 'one' })
  t.strictSame([edge.displays('hero'), edge.displays('nothing'), edge.displays({ pageLoad: true }), edge.displays('target-global-mbox')], [1, 0, 1, 1])
  await deliver(edge, { execute: { mboxes } })
  t.equal(edge.displays('hero'), 2)
  const { prefetch } = await deliver(edge, { prefetch: { mboxes: [mboxes[0]!], views: [{}] } })
  t.equal(edge.displays('hero'), 2, 'prefetch displays nothing')
  const [hero] = prefetch.mboxes
  const display: Notification = { id: 'd1', type: 'display', timestamp: 1, impressionId: 'two', mbox: { name: 'hero' }, tokens: [hero.options[0].eventToken] }
  const click: Notification = { ...display, id: 'c1', type: 'click', tokens: [hero.metrics[0].eventToken] }
  for (const notification of [display, display, click, click, { ...display, id: 'd2' }, { ...click, id: 'c2' }]) await deliver(edge, { notifications: [notification] })
  t.strictSame([edge.displays('hero'), edge.clicks('hero')], [3, 2])
  await deliver(edge, { notifications: [{ ...display, id: 'v', mbox: undefined, view: { name: 'hero' } }, { ...click, id: 'p', mbox: undefined, pageLoad: {} }, { ...click, id: 'n', mbox: undefined }] })
  t.strictSame([edge.displays('hero'), edge.displays({ view: 'hero' }), edge.clicks({ pageLoad: true }), edge.clicks('hero')], [3, 1, 1, 2], 'a view is no mbox')
  for (let batch = 0; batch < 11; batch++) {
    await deliver(edge, { notifications: Array.from({ length: 1000 }, (_, at): Notification => ({ ...click, id: `${batch}-${at}`, mbox: { name: `${batch}-${at}` }, tokens: [] })) })
  }
  t.strictSame([edge.clicks('0-0'), edge.clicks('10-999')], [0, 1], 'places are forgotten, so that made up ones do not fill the memory')
  edge.reset()
  t.strictSame([edge.displays('hero'), edge.clicks('hero'), edge.clicks('10-999')], [0, 0, 0])
  await deliver(edge, { execute: { mboxes }, impressionId: 'one' })
  t.equal(edge.displays('hero'), 1)
  for (const place of ['', ' ', 5, null, undefined, {}, [], { view: 1 }, { view: 'a', pageLoad: true }, { pageLoad: false }, { mbox: 'a' }, 'x'.repeat(251), { view: 'x'.repeat(129) }]) {
    t.throws(() => edge.displays(place as never), { code: 'FST_TARGET_INVALID_OPTIONS', message: /edge\.displays\(\)/ })
    t.throws(() => edge.clicks(place as never), { code: 'FST_TARGET_INVALID_OPTIONS', message: /edge\.clicks\(\)/ })
    t.throws(() => edge.offer(place as never, 'x'), { code: 'FST_TARGET_INVALID_OPTIONS', message: /edge\.offer\(\)/ })
  }
})

t.test('until() waits for a condition, or rejects naming it', async (t) => {
  const edge = await startEdge(t)
  await edge.until(() => true)
  await t.rejects(edge.until(() => edge.displays('hero') === 1, { timeout: 20 }), { code: 'FST_TARGET_TIMEOUT', message: /edge\.displays\('hero'\) === 1.*20 ms/ })
  await t.rejects(edge.until(() => { throw new Error('mine') }), { message: 'mine' })
  const failing = edge.until(() => { if (edge.requests.length > 0) throw new Error('later') })
  const displayed = edge.until(() => edge.displays('hero') === 1)
  const asked = edge.until(() => edge.requests.length === 1)
  const rejected = t.rejects(failing, { message: 'later' })
  await deliver(edge, { execute: { mboxes: [{ name: 'hero', index: 0 }] } })
  await Promise.all([displayed, asked, rejected])
  edge.fault('hang')
  const hanging = edge.until(() => edge.requests.length === 2)
  const left = new AbortController()
  const request = fetch(`http://${edge.host}/rest/v1/delivery?imsOrgId=${organizationId}&sessionId=s`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}', signal: left.signal })
  await hanging
  left.abort()
  await t.rejects(request)
  for (const [condition, options] of [[undefined, {}], ['x', {}], [() => false, { timeout: -1 }], [() => false, { timeout: 'x' }]] as const) {
    await t.rejects(edge.until(condition as never, options as object), { code: 'FST_TARGET_INVALID_OPTIONS' })
  }
  const waiting = t.rejects(edge.until(() => false), { code: 'FST_TARGET_CLOSED' })
  await edge.close()
  await waiting
})

t.test('`host` is the address for `serverDomain`', async (t) => {
  const edge = createEdge()
  t.teardown(() => edge.close())
  t.throws(() => edge.host, { code: 'FST_TARGET_NOT_READY', message: /edge\.host/ })
  await edge.inject('/')
  t.throws(() => edge.host, { code: 'FST_TARGET_NOT_READY' })
  t.notOk(Object.keys(edge).includes('host'), 'it is not asked for by who prints an edge')
  await edge.listen()
  t.match(edge.host, /^(127\.0\.0\.1|\[::1\]):\d+$/)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, optionsFor(edge.host) as FastifyAdobeTargetOptions)
  await app.target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } })
  t.equal(edge.displays('hero'), 1)
  for (const host of ['0.0.0.0', '::1', '::']) {
    const other = createEdge()
    t.teardown(() => other.close())
    const listens = await other.listen({ host, port: 0 }).then(() => true, () => false)
    if (listens) t.equal((await fetch(`http://${other.host}/v1/geo`)).status, 200, `${host}: ${other.host}`)
  }
  const socket = createEdge()
  t.teardown(() => socket.close())
  await socket.listen({ path: join(t.testdir(), 's') })
  t.throws(() => socket.host, { code: 'FST_TARGET_NOT_READY' })
})

t.test('bad offers are refused and change nothing', async (t) => {
  const edge = await startEdge(t)
  edge.offer('hero', 'fixed')
  const circle: Body = {}
  circle['self'] = circle
  let deep: unknown = {}
  for (let depth = 0; depth < 600; depth++) deep = { deep }
  const refused = (given: unknown, options: unknown, message: RegExp) => {
    t.throws(() => edge.offer('hero', given as never, options as never), { code: 'FST_TARGET_INVALID_OPTIONS', message }, String(message))
  }
  for (const given of [undefined, 5, true, Symbol('x'), () => '', new Map(), new Date(), Promise.resolve(''), 5n]) refused(given, {}, /a string, an object, a list or null/)
  refused(circle, {}, /JSON/)
  refused({ a: 5n }, {}, /JSON/)
  refused(deep, {}, /nested/)
  refused(JSON.parse('{ "__proto__": {} }'), {}, /__proto__/)
  refused({ toJSON: () => undefined }, {}, /JSON/)
  refused({ toJSON: () => null }, {}, /`content` must be an object or a list for an offer of type json/)
  refused({}, { type: 'html' }, /`content` must be a string for an offer of type html/)
  refused({}, { type: 'redirect' }, /`content` must be a URL string for an offer of type redirect/)
  refused('', { type: 'redirect' }, /`content` must be a URL string for an offer of type redirect/)
  refused('{}', { type: 'json' }, /`content` must be an object or a list for an offer of type json/)
  refused({}, { type: 'actions' }, /`content` must be a list of objects/)
  refused(['a'], {}, /`content` must be a list of objects/)
  for (const type of ['toString', 'HTML', 5, null, {}]) refused('x', { type }, /`type` must be 'html', 'redirect', 'dynamic', 'json' or 'actions', got/)
  for (const options of [null, [], 'x', 5]) refused('x', options, /edge\.offer\(\): options must be an object, got/)
  refused('x', { wen: {} }, /unknown option `wen` \(did you mean `when`\?\)/)
  for (const when of [null, [], 'member']) refused('x', { when }, /`when` must be an object of mbox parameters, got/)
  for (const name of ['', 'a.', '.a', 'a..b', 'profile.x', 'x'.repeat(129)]) refused('x', { when: { [name]: 'x' } }, /`when` must have names of mbox parameters, got/)
  for (const value of [null, undefined, {}, []]) refused('x', { when: { a: value } }, /`when\.a` must be a string, a number or a boolean, got/)
  for (const visitor of [null, {}, 'ann', [], { id: '1' }, { tntId: '' }, { tntId: 5 }, { thirdPartyId: 'a', toString: 'b' }]) refused('x', { visitor }, /`visitor/)
  t.equal(await content(edge, 'hero'), 'fixed')
})

t.test('names and values of any kind, and an artifact that lacks everything', async (t) => {
  // eslint-disable-next-line no-template-curly-in-string -- a macro
  const names = ['__proto__', 'constructor', 'toString', 'a"b', '</script>', 'ümlaut 😀', '${x}', 'x'.repeat(250)]
  const edge = await startEdge(t)
  const bare = await startEdge(t, { artifact: { version: '1.0.0', rules: {} } })
  for (const where of [edge, bare]) {
    for (const name of names) {
      where.offer(name, `<p>${name}</p>`, { when: { [name.slice(0, 128)]: name } })
      where.offer({ view: name.slice(0, 128) }, 'view')
    }
    for (const name of names) {
      const parameters = Object.fromEntries([[name.slice(0, 128), name]])
      t.equal(await content(where, name, parameters), `<p>${name}</p>`, name)
      t.equal(await content(where, name), undefined)
      const { prefetch } = await deliver(where, { prefetch: { views: [{ name: name.slice(0, 128) }] } })
      t.match(prefetch.views, [{ name: name.slice(0, 128), state: String, options: [{ content: 'view' }] }])
    }
    const served = await json(await fetch(`http://${where.host}/${client}/production/v1/rules.json`))
    const target = createTargetClient({ client, organizationId, decisioningMethod: 'on-device', artifactPayload: served, pollingInterval: 0, logger: { debug () {}, error () {} } })
    t.teardown(() => target.close())
    await target.ready({ timeout: 5000 })
    const { response } = await target.getOffers({ request: { prefetch: { views: names.map((name) => ({ name: name.slice(0, 128) })) } } })
    t.equal(response.prefetch?.views?.length, names.length)
  }
  t.strictSame([({} as Body)['polluted'], Object.keys(Object.prototype)], [undefined, []])
  const broken = createEdge({ artifact: {} })
  broken.offer('a', 'x')
  await t.rejects(async () => await broken.ready(), { code: 'FST_TARGET_ARTIFACT' })
})

t.test('docs/testing.md', { timeout: 240_000 }, async (t) => {
  const { folder, run, write } = await startProject(t)
  const blocks = blocksOf('docs/testing.md').filter(({ language }) => language === 'js')
  const appFile = blocks.find(({ file }) => file === 'app.js')!
  const runners: Record<string, string[]> = {
    'node:test': ['--test', '--test-reporter=tap', 'test/shop.test.js'],
    tap: [bin('tap', 'dist/esm/run.mjs'), '--reporter=tap', '--disable-coverage', '--allow-empty-coverage', 'test/shop.test.js'],
    vitest: [bin('vitest', 'vitest.mjs'), 'run', '--reporter=tap-flat']
  }
  const examples = blocks.filter(({ file }) => file === 'test/shop.test.js')
  t.same(examples.map(({ heading }) => heading), Object.keys(runners), 'an example for each')
  const failed = (output: string) => new Set([...output.matchAll(/^\s*not ok \d+ - (?:.* > )?((?:gold members|the impression|without Target)[^#\n]*?)\s*(?:#.*)?$/gm)].map(([, name]) => name))

  for (const { heading, code } of examples) {
    await t.test(heading, { skip: !FULL && heading !== 'node:test' && 'only in npm run test:full' }, async (t) => {
      // What each test expects, and something else.
      const wrong = code
        .replace(/('|")<h1>Free repairs<\/h1>\1\)$/m, "'<h1>Free tea</h1>')")
        .replace(/(displays\('hero'\)(?:, |\)\.toBe\())1/, '$12')
        .replaceAll('<h1>Welcome</h1>', '<h1>Goodbye</h1>')
      const [passing, failing] = await Promise.all([code, wrong].map(async (code, index) => {
        const name = `${heading.replace(':', '-')}-${index}`
        write(name, 'app.js', appFile.code)
        write(name, 'test/shop.test.js', code)
        return await run(runners[heading]!, join(folder, name))
      })) as [Awaited<ReturnType<typeof run>>, Awaited<ReturnType<typeof run>>]
      t.equal(passing.code, 0, 'passes', { output: passing.output })
      t.match(passing.output, /^\s*ok \d+ - .*gold members get their hero/m, 'runs the tests')
      t.not(failing.code, 0, 'can fail')
      t.equal(failed(failing.output).size, 3, 'each test can', { output: failing.output })
    })
  }

  const { buildApp } = await import(write('pieces', 'app.js', appFile.code))
  const { createEdge: createBuiltEdge } = await import(join(folder, 'node_modules/fastify-adobe-target/dist/edge/index.js'))
  const pieces = blocks.filter(({ file }) => file === undefined)
  t.ok(pieces.length >= 8)
  const edge: TargetEdge = createBuiltEdge({ client })
  t.teardown(() => edge.close())
  await edge.listen()
  for (const [index, { heading, code }] of pieces.entries()) {
    await t.test(`${heading}, piece ${index}`, async (t) => {
      const build = async (options: object): Promise<FastifyInstance> => {
        const app = await buildApp(options)
        t.teardown(() => app.close())
        return app
      }
      const runPiece = async (name: string, code: string) => {
        edge.reset()
        const { run } = await import(write('pieces', `${name}.js`, `export async function run ({ edge, app, assert, buildApp }) {\n${code}}\n`))
        await run({ edge, app: await build({ serverDomain: edge.host, secure: false }), assert, buildApp: build })
      }
      await runPiece(`piece-${index}`, code)
      const expectations = [...code.matchAll(/^( *assert\.(equal|match)\(.*, )('[^']*'|\/[^/]*\/|\d+)\)$/gm)]
      t.equal(expectations.length, code.match(/assert\./g)?.length ?? 0)
      for (const [line, start, kind, expected] of expectations) {
        const other = kind === 'match' ? '/something else/' : "'something else'"
        await t.rejects(runPiece(`piece-${index}-${expectations.findIndex(([known]) => known === line)}`, code.replace(line, `${start}${other})`)), { code: 'ERR_ASSERTION' }, `can be other than ${expected}`)
      }
    })
  }
})

t.test('docs/testing.md: Playwright', { skip: FULL ? withoutBrowser : 'only in npm run test:full', timeout: 240_000 }, async (t) => {
  const { folder, run, write } = await startProject(t)
  const codeOf = (name: string) => blocksOf('docs/testing.md').find(({ file }) => file === name)!.code
  // Containers run as root.
  const browser = `{ executablePath: '${executablePath}', args: ['--no-sandbox', '--disable-dev-shm-usage'] }`
  write('playwright', 'app.js', codeOf('app.js'))
  for (const [seen, passes] of [['Stay out after dark', true], ['Warm is a matter of layers', false]] as const) {
    write('playwright', 'test/page.test.js', codeOf('test/page.test.js').replace('{ executablePath: process.env.CHROMIUM_PATH }', browser).replace('Stay out after dark', seen))
    const { code, output } = await run(['--test', 'test/page.test.js'], join(folder, 'playwright'))
    t.equal(code === 0, passes, output)
  }
})
