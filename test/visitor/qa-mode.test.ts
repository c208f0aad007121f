/** Activity QA: links, the cookie that keeps them, the requests they change, and the local edge that understands them. */
import { Readable } from 'node:stream'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import fastifyAdobeTarget from '../../lib/index.ts'
import { readQaVisit } from '../../lib/visitor/qa-mode.ts'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { cookiesOf, json, optionsFor, organizationId, startApp, startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep } from '../support/wait.ts'

const HERO = 410001
const BANNER = 410002
const FLAGS = 410003
/** `Firefox` and `Chrome` of the banner, by the sample's order; no browser of a test is either. */
const FIREFOX = 2

const qaCookieOf = (response: Response) => response.headers.getSetCookie().filter((cookie) => cookie.startsWith('at_qa_mode='))
const cookieValue = (mode: object) => `at_qa_mode=${encodeURIComponent(JSON.stringify(mode))}`
const experienceIn = (offer: any) => offer.responseTokens['experience.name']

/** A page that shows what Target decided. */
function shop (app: FastifyInstance) {
  app.get('/', { config: { target: ['hero'] } }, async (request) => {
    const [hero, banner] = await Promise.all([request.target.offer('hero'), request.target.offer('banner')])
    return { hero: experienceIn(hero), banner: experienceIn(banner), source: hero.source, reason: hero.reason, qaMode: request.target.qaMode ?? null, frozen: Object.isFrozen(request.target.qaMode) }
  })
}

async function page (t: Test, url: string, init?: RequestInit) {
  const response = await fetch(url, { redirect: 'manual', ...init })
  t.equal(response.status, 200)
  return { response, body: await json(response), cookie: cookiesOf(response) }
}

t.test('a QA link is parsed as at.js does', async (t) => {
  const link = (query: string) => readQaVisit(`/shop?${query}`, undefined)?.mode
  t.same(link('at_preview_token=abc%2B%3D&at_preview_index=1_2&at_preview_listed_activities_only=true&at_preview_evaluate_as_true_audience_ids=11_22&at_preview_evaluate_as_false_audience_ids=33'), {
    token: 'abc+=', listedActivitiesOnly: true, evaluateAsTrueAudienceIds: [11, 22], evaluateAsFalseAudienceIds: [33], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }]
  })
  t.same(link('a=b&at_preview_token=t'), { token: 't' })
  t.same(link('at_preview_token=t&at_preview_index=1_2&at_preview_index=3'), { token: 't', previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }, { activityIndex: 3 }] }, 'the index repeated, and an activity alone')
  t.same(link('at_preview_token=t&at_preview_index=1_2,2_1&at_preview_evaluate_as_true_audience_ids=1,2&at_preview_evaluate_as_true_audience_ids=3_3'), {
    token: 't', evaluateAsTrueAudienceIds: [1, 2, 3], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }, { activityIndex: 2, experienceIndex: 1 }]
  }, 'lists with commas, repeated')
  t.same(link('at_preview_token=t+t/&at_preview_listed_activities_only=TRUE'), { token: 't+t/' }, 'a plus sign that was not encoded')
  t.same(link('at_preview_token=t#at_preview_index=1'), { token: 't' })
  t.equal(link('at_preview_token='), undefined)
  for (const query of ['at_preview_token=', 'at_preview_token', 'at_preview_token=t&at_preview_token=', 'at_preview_token=%20']) {
    t.match(readQaVisit(`/?${query}`, cookieValue({ token: 't' }).slice(11)), { mode: undefined, cookie: { name: 'at_qa_mode', value: '', maxAge: 0 } }, `${query} ends it`)
  }
})

t.test('hostile links and cookies are ignored', async (t) => {
  const link = (query: string) => readQaVisit(`/?${query}`, undefined)?.mode
  for (const query of [
    'x=at_preview_token', 'at_preview_token_x=t', 'at_preview_token=%E0%A4%A', 'at_preview_token=a%00b', 'at_preview_token=a%0d%0ab', 'at_preview_token=%F0%9F%98%80',
    `at_preview_token=${'t'.repeat(513)}`, 'at_preview_index=1_1', 'at_preview_token=a b'
  ]) t.equal(link(query), undefined, query.slice(0, 60))
  t.same(link('at_preview_token=t&at_preview_index=0&at_preview_index=-1_1&at_preview_index=x&at_preview_index=1e3&at_preview_index=99999&at_preview_index=%E0%A4'), { token: 't' })
  t.same(link('at_preview_token=t&at_preview_index=1_0&at_preview_index=2_x&at_preview_index=3_1_2'), {
    token: 't', previewIndexes: [{ activityIndex: 1 }, { activityIndex: 2 }, { activityIndex: 3, experienceIndex: 1 }]
  }, 'an unreadable experience leaves the activity')
  t.same(link('at_preview_token=t&at_preview_evaluate_as_true_audience_ids=9007199254740991_9007199254740992_99999999999999999999_-1_1.5_x__0x1'), { token: 't', evaluateAsTrueAudienceIds: [9007199254740991] })
  const many = link(`at_preview_token=t&at_preview_evaluate_as_true_audience_ids=${Array.from({ length: 5000 }, (_, id) => id + 1).join('_')}`)
  t.equal(many?.evaluateAsTrueAudienceIds?.length, 50)
  t.equal(link(`at_preview_token=${'%25'.repeat(500)}&at_preview_evaluate_as_true_audience_ids=${Array.from({ length: 50 }, (_, id) => 9007199254740000 + id).join('_')}&at_preview_evaluate_as_false_audience_ids=${Array.from({ length: 50 }, (_, id) => 9007199254740000 + id).join('_')}`), undefined, 'more than a cookie holds')

  const cookie = (value: unknown) => readQaVisit('/', encodeURIComponent(JSON.stringify(value)))?.mode
  t.same(cookie({ token: 't', listedActivitiesOnly: true, evaluateAsTrueAudienceIds: ['11', '22'], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] }), {
    token: 't', listedActivitiesOnly: true, evaluateAsTrueAudienceIds: [11, 22], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }]
  }, 'as at.js writes it: audience ids are strings')
  t.same(readQaVisit('/', '{%22token%22:%22t%22%2C%22previewIndexes%22:[{%22activityIndex%22:1}]}')?.mode, { token: 't', previewIndexes: [{ activityIndex: 1 }] }, 'as js-cookie encodes it')
  for (const value of [null, 1, 'x', [], [{ token: 't' }], {}, { token: 1 }, { token: '' }, { token: 'a\nb' }, { token: { toString: 1 } }, { token: 't'.repeat(600) }]) t.equal(cookie(value), undefined, JSON.stringify(value).slice(0, 40))
  for (const raw of ['', '%', '{', '{"token":"t"', 'x'.repeat(5000), '['.repeat(4000), '{"a":'.repeat(700), '%7B'.repeat(2000), '__proto__']) t.equal(readQaVisit('/', raw), undefined, raw.slice(0, 20))
  t.same(cookie({ token: 't', evaluateAsTrueAudienceIds: { length: 3 }, evaluateAsFalseAudienceIds: [[1], { valueOf: 1 }, null, true, 1.5, -1, 2], previewIndexes: [null, 1, [], {}, { activityIndex: [1] }, { activityIndex: 1, extra: 'x' }], extra: { a: 1 } }), {
    token: 't', evaluateAsFalseAudienceIds: [2], previewIndexes: [{ activityIndex: 1 }]
  }, 'only what the Delivery API knows')
  const polluting = readQaVisit('/', encodeURIComponent('{"token":"t","__proto__":{"polluted":true,"listedActivitiesOnly":true},"previewIndexes":[{"__proto__":{"activityIndex":1}}]}'))
  t.same(polluting?.mode, { token: 't' })
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
  const { mode } = readQaVisit('/?at_preview_token=t&at_preview_index=1_1&at_preview_evaluate_as_true_audience_ids=1', undefined)!
  for (const part of [mode, mode?.previewIndexes, mode?.previewIndexes?.[0], mode?.evaluateAsTrueAudienceIds]) t.ok(Object.isFrozen(part))
})

t.test('a link pins the experience on all calls of the page and stays for the visit', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    shop(app)
    app.get('/prefetch', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => {
      request.target.displayed('hero')
      return 'page'
    })
  })
  for (const [experienceIndex, name] of [[1, 'Layers'], [2, 'Night']] as const) {
    for (let visitor = 0; visitor < 4; visitor++) {
      const link = edge.qaLink(`${url}/`, { activities: [HERO], previewIndexes: [{ activityIndex: 1, experienceIndex }] })
      const { body, response } = await page(t, link)
      t.match(body, { hero: name, banner: 'Everyone', qaMode: { previewIndexes: [{ activityIndex: 1, experienceIndex }] }, frozen: true })
      t.match(response.headers.get('cache-control'), 'private, no-store')
      const [cookie, ...more] = qaCookieOf(response)
      t.match(cookie, /^at_qa_mode=%7B%22token%22.*; Max-Age=1860; Path=\/; SameSite=Lax$/)
      t.same(more, [])
      t.same(JSON.parse(decodeURIComponent(cookie!.slice(11).split(';')[0]!)), body.qaMode)
    }
  }
  t.equal(edge.impressions(), 0, 'QA does not count')
  t.equal(edge.requests.length, 16)
  t.ok(edge.requests.every(({ body }) => body.qaMode.token !== undefined), 'the extra asks too')

  const first = await page(t, edge.qaLink(`${url}/`, { activities: [FLAGS, HERO], previewIndexes: [{ activityIndex: 2, experienceIndex: 2 }], listedActivitiesOnly: true }))
  t.match(first.body, { hero: 'Night', qaMode: { listedActivitiesOnly: true } })
  t.equal(first.body.banner, undefined, 'an activity that is not listed')
  const second = await page(t, `${url}/`, { headers: { cookie: first.cookie } })
  t.same(second.body, first.body, 'without parameters')
  t.match(qaCookieOf(second.response), [/Max-Age=1860/], 'and the visit slides')
  edge.reset()
  await fetch(`${url}/prefetch`, { headers: { cookie: first.cookie } })
  for (let wait = 0; wait < 300 && edge.notifications.length === 0; wait++) await sleep(10)
  t.match(edge.notifications, [{ type: 'display', mbox: { name: 'hero' } }])
  t.match(edge.requests.map(({ body }) => body.qaMode), [first.body.qaMode, first.body.qaMode], 'the notification too')
  t.equal(edge.impressions(), 0)

  const ended = await page(t, `${url}/?at_preview_token=`, { headers: { cookie: first.cookie } })
  t.match(qaCookieOf(ended.response), [/^at_qa_mode=; Max-Age=0; Path=\/; SameSite=Lax$/])
  t.equal(ended.body.qaMode, null)
  t.equal(ended.body.banner, 'Everyone')
  t.match(ended.response.headers.get('cache-control'), 'no-store')
  const after = await page(t, `${url}/`, { headers: { cookie: ended.cookie.replace(/at_qa_mode=(; |$)/, '') } })
  t.same(qaCookieOf(after.response), [])
  t.equal(after.response.headers.get('cache-control'), null, 'nobody else is touched')
  t.equal(edge.requests.at(-1)!.body.qaMode, undefined)
  t.same(logged.filter(({ msg }) => !/is not in config\.target/.test(msg)), [])
})

t.test('one visitor in and out of QA mode in one tick: notifications go in two calls', async (t) => {
  const edge = await startEdge(t)
  let open = () => {}
  const both = new Promise<void>((resolve) => { open = resolve })
  let waiting = 0
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', async (request) => {
      if (++waiting === 2) open()
      await both
      request.target.notify({ type: 'click', mbox: { name: 'hero' } })
      return 'page'
    })
  })
  const cookie = 'mbox=session#s1#9999999999|PC#visitor-1.35_0#9999999999'
  await Promise.all([edge.qaLink(`${url}/`, { activities: [HERO] }), url].map((page) => fetch(page, { headers: { cookie } })))
  for (let wait = 0; wait < 300 && edge.notifications.length < 2; wait++) await sleep(10)
  t.same(edge.requests.map(({ body }) => [body.notifications.length, body.qaMode !== undefined]).sort(), [[1, false], [1, true]])
})

t.test('a QA link sets its cookie on redirects, errors, 404s, public pages and pages without offers', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    shop(app)
    app.get('/redirect', { config: { target: ['hero'] } }, async (_request, reply) => await reply.redirect('/', 301))
    app.get('/error', { config: { target: ['hero'] } }, async () => { throw new Error('broken') })
    app.get('/plain', async (_request, reply) => await reply.redirect('/plain/en', 301))
    app.get('/off', { config: { target: false } }, async (_request, reply) => await reply.header('cache-control', 'public, max-age=60').send('off'))
    app.get('/public', { config: { target: ['hero'] } }, async (request, reply) => {
      reply.headers({ 'cache-control': 'public, max-age=600', 'cdn-cache-control': 'max-age=600', 'surrogate-control': 'max-age=600' })
      return await request.target.content('hero')
    })
  })
  const link = (path: string) => edge.qaLink(url + path, { activities: [HERO], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] })
  for (const [path, status] of [['/redirect', 301], ['/error', 500], ['/plain', 301], ['/public', 200], ['/nothing-here', 404]] as const) {
    const response = await fetch(link(path), { redirect: 'manual' })
    t.equal(response.status, status)
    t.match(qaCookieOf(response), [/Max-Age=1860/], path)
    t.equal(response.headers.get('cache-control'), 'private, no-store', path)
    for (const name of ['cdn-cache-control', 'surrogate-control']) t.equal(response.headers.get(name), null)
  }
  const off = await fetch(link('/off'))
  t.same(qaCookieOf(off), [], 'nothing where it is switched off')
  t.equal(off.headers.get('cache-control'), 'public, max-age=60')
  t.notOk(logged.some(({ msg }) => /publicly cacheable/.test(msg)), 'a tester\'s page that stays private is no mistake')
  const response = await fetch(`${url}/public`)
  t.equal(response.headers.get('cache-control'), 'public, max-age=600', 'everybody else\'s stays as it is')
  t.same(response.headers.getSetCookie(), [])
  t.notMatch(JSON.stringify(logged.filter(({ plugin }) => plugin !== undefined)), /at_preview|at_qa_mode/, 'no token in the plugin\'s log')
})

t.test('routes that were there before the plugin, with a public header set late', async (t) => {
  const edge = await startEdge(t)
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  app.get('/redirect', async (_request, reply) => await reply.redirect('/'))
  app.get('/stream', async (_request, reply) => await reply.send(Readable.from(['page'])))
  await app.register(fastifyAdobeTarget, optionsFor(edge.host))
  app.addHook('onSend', async (_request, reply) => { reply.headers({ 'cache-control': 'public', 'surrogate-control': 'max-age=60' }) })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  for (const path of ['/', '/redirect', '/stream']) {
    const response = await fetch(edge.qaLink(url + path, { activities: [HERO] }), { redirect: 'manual' })
    t.equal(response.headers.get('surrogate-control'), null, path)
    t.equal(response.headers.get('cache-control'), 'private, no-store', path)
    t.equal(qaCookieOf(response).length, 1, path)
  }
})

t.test('on-device and hybrid: QA visitors are decided by the edge, others on-device', async (t) => {
  const edge = await startEdge(t)
  for (const decisioningMethod of ['on-device', 'hybrid'] as const) {
    edge.reset()
    const { url, app } = await startApp(t, edge.host, { decisioningMethod, artifactPayload: sampleArtifact, pollingInterval: 0 }, shop)
    await app.target.ready()
    t.match((await page(t, `${url}/`)).body, { source: 'on-device', qaMode: null })
    const link = edge.qaLink(`${url}/`, { activities: [HERO], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] })
    const qa = await page(t, link)
    t.match(qa.body, { source: 'edge', hero: 'Night' })
    t.match((await page(t, `${url}/`, { headers: { cookie: qa.cookie } })).body, { source: 'edge', hero: 'Night' }, decisioningMethod)
  }
  const { url } = await startApp(t, edge.host, { decisioningMethod: 'on-device', artifactLocation: `http://${edge.host}/none.json` }, shop)
  t.match((await page(t, `${url}/`)).body, { reason: 'not-ready' })
  t.match((await page(t, edge.qaLink(`${url}/`, { activities: [HERO] }))).body, { reason: 'matched' }, 'also without any artifact')
})

t.test('what the app decides: qa: false, cookies: false, cookie attributes, a mode fixed by the route, two instances', async (t) => {
  const edge = await startEdge(t)
  const start = (options: object) => startApp(t, edge.host, options, shop)
  const link = (url: string, activity = HERO, experienceIndex = 2) => edge.qaLink(url, { activities: [activity], previewIndexes: [{ activityIndex: 1, experienceIndex }] })

  const off = await start({ qa: false })
  const ignored = await page(t, link(off.url), { headers: { cookie: cookieValue({ token: 't' }) } })
  t.match(ignored.body, { qaMode: null })
  t.same(qaCookieOf(ignored.response), [])
  t.equal(ignored.response.headers.get('cache-control'), null)
  t.equal(edge.requests.at(-1)!.body.qaMode, undefined)

  const silent = await start({ cookies: false })
  const seen = await page(t, link(silent.url))
  t.match(seen.body, { hero: 'Night' })
  t.same(seen.response.headers.getSetCookie(), [])
  t.equal(seen.response.headers.get('cache-control'), 'private, no-store')
  t.match((await page(t, silent.url, { headers: { cookie: cookieValue(seen.body.qaMode) } })).body, { hero: 'Night' }, 'a cookie of at.js counts')

  const attributes = await start({ cookies: { domain: 'shop.example', path: '/shop', secure: true, sameSite: 'None', partitioned: true } })
  t.match(qaCookieOf((await page(t, link(attributes.url))).response), [/; Max-Age=1860; Path=\/shop; Domain=shop\.example; SameSite=None; Partitioned; Secure$/])

  const token = new URL(link('http://x/', FLAGS, 1)).searchParams.get('at_preview_token')!
  const fixed = await startApp(t, edge.host, {}, (app) => {
    const ask = async (request: any) => ({ hero: experienceIn(await request.target.offer('hero')), banner: experienceIn(await request.target.offer('banner')) ?? null, qaMode: request.target.qaMode, frozen: Object.isFrozen(request.target.qaMode) })
    app.get('/', { config: { target: { execute: { mboxes: ['hero'] }, qaMode: { token, previewIndexes: [{ activityIndex: 1, experienceIndex: 1 }] } } } }, ask)
    app.get('/function', { config: { target: () => ({ execute: { mboxes: ['hero'] }, qaMode: { token } }) } }, ask)
  })
  for (const path of ['/', '/function']) {
    const { body, response } = await page(t, link(fixed.url + path))
    t.equal(body.qaMode.token, token, 'the route\'s own mode wins')
    t.ok(body.frozen)
    t.same([...new Set(edge.requests.slice(-2).map(({ body }) => body.qaMode.token))], [token], 'in the extra ask too')
    t.equal(qaCookieOf(response).length, 1, 'the visitor\'s is kept for other routes')
  }

  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, optionsFor(edge.host))
  await app.register(fastifyAdobeTarget, optionsFor(edge.host, { decorator: 'other' }))
  await app.register(fastifyAdobeTarget, { ...optionsFor(edge.host), client: 'anotherclient', decorator: 'third' })
  app.get('/', { config: { target: ['hero'], other: ['hero'], third: ['hero'] } as object }, async (request) => {
    const { other, third } = request as unknown as Record<string, typeof request.target>
    return [request.target.qaMode, other!.qaMode, third!.qaMode]
  })
  const both = await page(t, link(await app.listen({ port: 0, host: '127.0.0.1' })))
  t.equal(qaCookieOf(both.response).length, 1, 'written once')
  t.same(both.body[0], both.body[1])
  t.match(both.body, [{ token: String }, { token: String }, { token: String }])
})

t.test('hostile links and cookies are not sent to Target, and the page gets its offers', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, shop)
  for (const query of ['?at_preview_token=%E0%A4%A&at_preview_index=1', '?at_preview_index=__proto__', `?at_preview_token=${'x'.repeat(5000)}`]) {
    const { body, response } = await page(t, `${url}/${query}`)
    t.match(body, { reason: 'matched', qaMode: null })
    t.same(qaCookieOf(response), [])
    t.equal(response.headers.get('cache-control'), null)
  }
  for (const cookie of ['at_qa_mode=%', 'at_qa_mode={"token":1}', 'at_qa_mode', `at_qa_mode=${'%7B'.repeat(1500)}`, 'at_qa_mode=%7B%22__proto__%22%3A%7B%22token%22%3A%22x%22%7D%7D']) {
    const { body, response } = await page(t, `${url}/`, { headers: { cookie } })
    t.match(body, { reason: 'matched', qaMode: null })
    t.same(qaCookieOf(response), [])
  }
  t.same(logged.filter(({ msg }) => !/is not in config\.target/.test(msg)), [])
  for (const init of [{}, { headers: { cookie: cookieValue({ token: 'made-up' }) } }]) {
    const { body, response } = await page(t, `${url}/${'headers' in init ? '' : '?at_preview_token=made-up'}`, init)
    t.match(body, { reason: 'error', qaMode: null }, 'a token the edge does not know is refused there, and the page falls back')
    t.equal(body.hero, undefined)
    t.match(qaCookieOf(response), [/^at_qa_mode=; Max-Age=0/], 'once: nobody is left without offers for it')
    t.equal(response.headers.get('cache-control'), 'private, no-store')
  }
  t.notMatch(JSON.stringify(logged), 'made-up')
})

t.test('the local edge: tokens, indexes, audiences', async (t) => {
  const edge = await startEdge(t, { client: undefined, organizationId: undefined })
  const ask = async (qaMode: object | undefined, more: object = {}) => {
    const response = await edge.inject({
      method: 'POST',
      url: `/rest/v1/delivery?imsOrgId=${organizationId}&sessionId=s`,
      payload: { id: { tntId: 'abc' }, context: { channel: 'web' }, execute: { mboxes: [{ index: 0, name: 'hero' }, { index: 1, name: 'banner' }, { index: 2, name: 'checkout-flags' }] }, ...(qaMode && { qaMode }), ...more }
    })
    const { status, message, execute } = response.json()
    return { status, message, seen: execute?.mboxes.map(({ options }: any) => options?.[0].responseTokens['experience.name']) }
  }
  const token = (...activities: (number | string)[]) => new URL(edge.qaLink('http://x/', { activities })).searchParams.get('at_preview_token')!
  const usual = (await ask(undefined)).seen
  t.same((await ask({ token: token(HERO) })).seen, usual, 'a token alone pins nothing')
  t.same((await ask({ token: token(HERO, String(BANNER)), previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] })).seen, ['Night', usual[1], usual[2]])
  t.same((await ask({ token: token(FLAGS, HERO), previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }, { activityIndex: 2, experienceIndex: 1 }] })).seen, ['Layers', usual[1], 'Express'])
  t.same((await ask({ token: token(FLAGS), listedActivitiesOnly: true, previewIndexes: [{ activityIndex: 1 }] })).seen, [undefined, undefined, usual[2]])
  t.same((await ask({ token: token(HERO), previewIndexes: [{ activityIndex: 2, experienceIndex: 1 }, { activityIndex: 1, experienceIndex: 9 }, { experienceIndex: 1 }] })).seen, usual, 'indexes out of bounds')
  const firefox = { token: token(BANNER), previewIndexes: [{ activityIndex: 1, experienceIndex: FIREFOX }] }
  t.equal((await ask(firefox)).seen[1], undefined, 'an audience the visitor is not in still counts')
  t.equal((await ask({ ...firefox, evaluateAsTrueAudienceIds: [1] })).seen[1], 'Firefox', 'unless audiences are evaluated as true')
  for (const bad of ['x', '', 'bnVsbA', 'WyJ4Il0.AAAA', `${token(HERO)}x`, token(HERO).replace(/^./, 'A'), 'W10.'.padEnd(40, 'x')]) {
    t.match(await ask({ token: bad }), { status: 400, message: 'qaMode.token is not valid' }, bad)
  }
  t.match(await ask({ previewIndexes: [] }), { status: 400 })
  t.equal((await ask({ listedActivitiesOnly: true })).status, 200)

  const other = await startEdge(t, { client: 'another' })
  const foreign = new URL(other.qaLink('http://x/', { activities: [HERO] })).searchParams.get('at_preview_token')!
  t.match(await ask({ token: foreign }), { status: 400 }, 'a token of another client')
  t.same((await ask({ token: token(HERO), previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] }, { context: { channel: 'web', beacon: false } })).seen[0], 'Night')

  const audiences = structuredClone(sampleArtifact) as any
  audiences.rules.mboxes.hero[0].meta['audience.ids'] = [77]
  audiences.rules.mboxes.hero[0].condition = true
  const restricted = await startEdge(t, { artifact: audiences })
  const { url } = await startApp(t, restricted.host, {}, shop)
  t.equal((await page(t, restricted.qaLink(url, { activities: [HERO] }))).body.hero, 'Layers')
  t.not((await page(t, restricted.qaLink(url, { activities: [HERO], evaluateAsFalseAudienceIds: [77, 78] }))).body.hero, 'Layers')

  t.match(edge.qaLink('/page?a=b#c', { activities: [HERO], previewIndexes: [{ activityIndex: 1 }, { activityIndex: 1, experienceIndex: 2 }], listedActivitiesOnly: true, evaluateAsTrueAudienceIds: [1, 2], evaluateAsFalseAudienceIds: [3] }),
    /^\/page\?a=b&at_preview_token=[\w.-]+&at_preview_index=1&at_preview_index=1_2&at_preview_listed_activities_only=true&at_preview_evaluate_as_true_audience_ids=1_2&at_preview_evaluate_as_false_audience_ids=3#c$/)
  t.throws(() => edge.qaLink('/', { activities: [] }), { code: 'FST_TARGET_INVALID_OPTIONS' })
  t.throws(() => edge.qaLink('/', { activities: [1] }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /unknown activity 1/ })
})

t.test('in a browser: a link pins, the next page knows, an empty token ends it', { skip: withoutBrowser, timeout: 240_000 }, async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request, reply) => {
      reply.type('text/html').header('cache-control', 'public, max-age=600')
      return `<!doctype html><link rel="icon" href="data:,"><title>Shop</title>${await request.target.content('hero', 'none')}<a id="next" href="/">Next</a>`
    })
  })
  const browser = await startBrowser(t)
  for (const [experienceIndex, shown] of [[1, '.hero--a'], [2, '.hero--b']] as const) {
    const context = await browser.newContext()
    const tab = await context.newPage()
    await tab.goto(edge.qaLink(`${url}/`, { activities: [HERO], previewIndexes: [{ activityIndex: 1, experienceIndex }] }))
    t.equal(await tab.locator(shown).count(), 1)
    // As at.js reads it.
    t.match(await tab.evaluate('JSON.parse(decodeURIComponent(/at_qa_mode=([^;]+)/.exec(document.cookie)[1]))'), { previewIndexes: [{ activityIndex: 1, experienceIndex }] })
    for (let visit = 0; visit < 3; visit++) {
      await tab.click('#next')
      await tab.waitForURL(`${url}/`)
      t.equal(await tab.locator(shown).count(), 1, 'without parameters')
    }
    await tab.goto(`${url}/?at_preview_token=`)
    t.notMatch(await tab.evaluate('document.cookie'), 'at_qa_mode')
    await tab.goto(`${url}/`)
    t.equal(edge.requests.at(-1)!.body.qaMode, undefined)
    await context.close()
  }
})
