/** The inspector over HTTP: who may see it, what it shows, what it keeps, and overrides that count nothing. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { calls, channels } from '../../lib/diagnostics.ts'
import { createEdge } from '../../lib/edge/index.ts'
import fastifyAdobeTarget, { type FastifyAdobeTargetOptions } from '../../lib/index.ts'
import targetInspector, { type TargetInspectorOptions } from '../../lib/inspector/index.ts'
import { Recorder } from '../../lib/inspector/recorder.ts'
import { Signer } from '../../lib/inspector/signed.ts'
import { client, optionsFor, startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { until } from '../support/wait.ts'

const edge = await startEdge(t)
const artifactLocation = `http://${edge.host}/${client}/production/v1/rules.json`
t.beforeEach(() => edge.reset())

interface Options {
  target?: Partial<FastifyAdobeTargetOptions>
  inspector?: TargetInspectorOptions | false
  log?: (line: string) => void
}

/** An app with pages of all kinds. */
async function start (t: Pick<Test, 'teardown'>, { target = {}, inspector = {}, log }: Options = {}): Promise<FastifyInstance> {
  const app = Fastify(log === undefined ? {} : { logger: { level: 'info', stream: { write: log } } })
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, optionsFor(edge.host, { artifactLocation, notificationsRoute: true, timeout: 5000, ...target }))
  if (inspector !== false) await app.register(targetInspector, { artifact: true, ...inspector })
  app.get('/', { config: { target: { execute: { mboxes: ['hero', { name: 'checkout-flags', order: { id: 'o1' } }] }, prefetch: { mboxes: ['banner'] } } } }, async ({ target }, reply) => {
    const [hero, flags, banner] = await Promise.all([target.offer('hero', 'default hero'), target.attributes('checkout-flags', { express: 'unset' as unknown }), target.content('banner', 'default banner')])
    target.displayed('banner')
    target.clicked('hero')
    target.notify({ type: 'display', mbox: { name: 'orderConfirmPage' }, tokens: [], order: { id: 'o2' } } as never)
    const { response } = await target.result().catch(() => ({ response: undefined }))
    return reply.header('cache-control', 'public, max-age=60').send({ hero, flags, banner, executed: response?.execute?.mboxes, toolbar: target.toolbar() })
  })
  app.get('/place', { config: { target: { execute: { pageLoad: {} }, prefetch: { views: ['product'] } } } }, async ({ target }) => {
    const [pageLoad, view] = await Promise.all([target.pageLoad('default'), target.view('product', 'default')])
    return { pageLoad, view, script: target.script(), state: target.serverState() }
  })
  app.get<{ Params: { name: string } }>('/ask/:name', async ({ target, params }) => await target.offer(params.name, 'default'))
  await app.ready()
  if (inspector !== false && inspector.artifact !== false) await until(() => app.target.health().artifact?.state === 'ready')
  return app
}

const cookiesOf = (response: LightMyRequestResponse) => response.cookies.filter(({ maxAge }) => maxAge !== 0).map(({ name, value }) => `${name}=${value}`).join('; ')
const overrideOf = (response: LightMyRequestResponse) => response.cookies.find(({ name }) => name === 'target_override')

/** The override cookie of a link. */
async function force (app: FastifyInstance, link: string, cookie?: string): Promise<string> {
  const response = await app.inject({ url: `/?target_override=${link}`, headers: { ...cookie !== undefined && { cookie } } })
  assert.equal(response.statusCode, 302)
  return `target_override=${overrideOf(response)!.value}`
}
const page = async (app: FastifyInstance, cookie?: string, url = '/') => await app.inject({ url, headers: { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0', ...cookie !== undefined && { cookie } } })
const textOf = (html: string) => html.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ')
const post = (app: FastifyInstance, url: string, fields: Record<string, string>, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url, headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin', ...headers }, payload: new URLSearchParams(fields).toString() })

t.test('it refuses to start where anybody could see it, and names wrong options', async (t) => {
  const attempt = async (inspector: TargetInspectorOptions, environment?: string) => {
    const before = process.env.NODE_ENV
    if (environment !== undefined) process.env.NODE_ENV = environment
    try {
      await start(t, { inspector: { artifact: false, ...inspector } })
    } finally {
      if (before === undefined) delete process.env.NODE_ENV
      else process.env.NODE_ENV = before
    }
  }
  const code = 'FST_TARGET_INVALID_OPTIONS'
  await t.rejects(attempt({}, 'production'), { code, message: /`secret` is required in production/ })
  await t.rejects(attempt({ remote: true }), { code, message: /`secret` is required with `remote`/ })
  await t.rejects(attempt({ secret: 'short' }), { code, message: /`secret` must be a string of at least 16 characters/ })
  await t.rejects(attempt({ pathh: '/x' } as never), { code, message: /unknown option `pathh` \(did you mean `path`\?\)/ })
  await t.rejects(attempt({ path: 'x' }), { code, message: /`path` must be a path/ })
  await t.resolves(attempt({ secret: 'a secret of production' }, 'production'))
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => await app.register(targetInspector), { code, message: /register fastify-adobe-target first/ })
})

t.test('switched off, there is neither a page nor an override', async (t) => {
  const on = await start(t)
  const app = await start(t, { inspector: { enabled: false, artifact: false } })
  t.equal((await app.inject('/_target')).statusCode, 404)
  t.equal((await app.inject('/?target_override=hero:none')).statusCode, 200)
  const { hero, toolbar } = (await page(app, await force(on, 'hero:none'))).json()
  t.match({ hero, toolbar }, { hero: { reason: 'matched', source: 'edge' }, toolbar: '' })
})

t.test('without a secret only this machine sees it, by a local name and through no proxy', async (t) => {
  const app = await start(t)
  const status = async (headers: Record<string, string>, remoteAddress = '127.0.0.1') => (await app.inject({ url: '/_target', headers, remoteAddress })).statusCode
  for (const host of ['localhost:3000', '127.0.0.1:3000', 'shop.localhost']) t.equal(await status({ host }), 200, host)
  t.equal(await status({ host: 'evil.example' }), 403, 'DNS rebinding')
  t.equal(await status({}, '10.0.0.7'), 403)
  for (const name of ['x-forwarded-for', 'forwarded', 'via', 'x-real-ip']) t.equal(await status({ [name]: '127.0.0.1' }), 403, name)
  t.equal((await app.inject({ url: '/?target_override=hero:none', remoteAddress: '10.0.0.7' })).statusCode, 200, 'nor can others force anything')
  const { 'content-security-policy': policy, 'cache-control': cache } = (await app.inject('/_target')).headers
  t.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'/)
  t.equal(cache, 'no-store')
})

t.test('with a secret, who has entered it', async (t) => {
  const secret = 'correct horse battery'
  let logged = ''
  const app = await start(t, { inspector: { secret, remote: true }, log: (line) => { logged += line } })
  const remoteAddress = '203.0.113.9'
  const asked = await app.inject({ url: '/_target', remoteAddress })
  t.equal(asked.statusCode, 401)
  t.match(asked.body, /type="password"/)
  t.equal((await app.inject({ url: '/_target/api/pages', remoteAddress })).statusCode, 401)
  t.equal((await app.inject({ url: '/?target_override=hero:none', remoteAddress })).statusCode, 200, 'a link counts for nobody else')
  const wrong = await app.inject({ url: '/_target?secret=wrong', remoteAddress })
  t.equal(wrong.statusCode, 401)
  t.same(wrong.cookies, [])

  const entered = await app.inject({ url: `/_target?secret=${encodeURIComponent(secret)}`, remoteAddress })
  t.match({ status: entered.statusCode, location: entered.headers.location }, { status: 303, location: '/_target' })
  t.match(entered.cookies, [{ name: 'target_inspector', httpOnly: true, sameSite: 'Lax', path: '/' }])
  const cookie = cookiesOf(entered)
  t.equal((await app.inject({ url: '/_target', headers: { cookie }, remoteAddress })).statusCode, 200)
  t.equal((await app.inject({ url: '/?target_override=hero:none', headers: { cookie }, remoteAddress })).statusCode, 302)
  t.equal((await app.inject({ url: '/_target/api/pages', headers: { authorization: `Bearer ${secret}` }, remoteAddress })).statusCode, 200)
  t.equal((await app.inject({ url: '/_target', headers: { authorization: 'Bearer wrong' }, remoteAddress })).statusCode, 401)
  t.notOk(logged.includes('battery'), 'the log does not have it')
  // Signed, but for something else.
  const override = (await app.inject({ url: '/?target_override=hero:none', headers: { cookie }, remoteAddress })).cookies[0]!.value
  t.equal((await app.inject({ url: '/_target', headers: { cookie: `target_inspector=${override}` }, remoteAddress })).statusCode, 401)
  const out = await post(app, '/_target/logout', {}, { cookie })
  t.match(out.cookies, [{ name: 'target_inspector', maxAge: 0 }])

  for (let i = 0; i < 9; i++) await post(app, '/_target/login', { secret: `guess ${i}` })
  t.equal((await post(app, '/_target/login', { secret })).statusCode, 429, 'after ten wrong ones nobody is let in')
})

t.test('why: every rule in words, for decisions of the edge and on-device', async (t) => {
  for (const decisioningMethod of ['server-side', 'on-device'] as const) {
    await t.test(decisioningMethod, async (t) => {
      const app = await start(t, { target: { decisioningMethod }, inspector: { traceToken: 'token of the day' } })
      const { hero } = (await page(app)).json()
      t.equal(hero.reason, 'matched')
      await until(() => app.target.health().outbox.pending === 0)
      const [{ id, visitor, offers, notifications, calls: [{ work: [work] }] }] = (await app.inject('/_target/api/pages')).json()
      t.match(offers[0], { mbox: 'hero', experience: { name: hero.responseTokens['experience.name'] }, asked: Number, waited: Number })
      t.ok(notifications.length >= 3 && notifications.some(({ what }: { what: string }) => what === 'display banner'), JSON.stringify(notifications))
      t.match(visitor, /^visitor-[0-9a-f]{8}$/)
      t.equal(work.request.id.tntId, visitor, 'the same pseudonym everywhere')
      t.equal(work.request.context.geo.ipAddress, '(hidden)')
      t.equal(work.request.trace.authorizationToken, '(hidden)')

      const text = textOf((await app.inject(`/_target/pages/${id}`)).body)
      t.match(text, new RegExp(`hero matched ${hero.responseTokens['experience.name']} Bucket [\\d.]+ is in (0 to 50|50 to 100): ${hero.responseTokens['experience.name']}\\.`))
      t.match(text, /Gold members .* Does not hold: mbox parameter `member` is &quot;gold&quot; or the page query string contains &quot;member=gold&quot;/)
      t.match(text, /the browser is &quot;firefox&quot; here: &quot;firefox&quot;/)
      t.match(text, decisioningMethod === 'on-device' ? /Decided here by the rule artifact/ : /The edge decided/)
      t.match(text, /Target's trace Matched: activity 410001 \(ab\), experience [01]/)
      t.match(text, decisioningMethod === 'on-device' ? /On-device decision \d+ µs/ : /connected [\d.]+ ms, first byte [\d.]+ ms, answer [\d.]+ ms/)
      t.match(textOf((await app.inject('/_target/activities')).body), /Winter hero A\/B test 410001 At mbox hero .*Night Hero: night 50 % \(bucket 50 to 100\) everyone always/)
      t.match(textOf((await app.inject('/_target/client')).body), /ok Client acmeclient , decisions (server-side|on-device).*Rule artifact State ready/)
    })
  }
})

t.test('faults are shown, and filters find them', async (t) => {
  const app = await start(t, { inspector: { artifact: false } })
  await page(app)
  edge.fault('status:500', { times: 1 })
  await page(app, undefined, '/?q=1&session_token=abc&mail=ann@shop.example')
  const find = async (query: string) => (await app.inject(`/_target/api/pages?${query}`)).json()
  t.equal((await find('')).length, 2)
  const faulty = await find('faults=1')
  t.match(faulty, [{ url: '/?q=1&session_token=(hidden)&mail=(hidden)', faults: ['FST_TARGET_HTTP'], offers: [{ reason: 'error', error: { code: 'FST_TARGET_HTTP' } }, {}, {}] }])
  t.equal((await find('reason=matched')).length, 1)
  t.equal((await find('q=winter+HERO')).length, 1, 'the one with that activity')
  t.match((await app.inject('/_target?faults=1')).body, /<tr class="fault">/)
  t.match(textOf((await app.inject(`/_target/pages/${faulty[0].id}`)).body), /Problems: FST_TARGET_HTTP/)
  t.match((await app.inject('/_target/pages/none')).statusCode, 404)
})

t.test('an override: another offer, and nothing is counted', async (t) => {
  for (const decisioningMethod of ['server-side', 'on-device'] as const) {
    await t.test(decisioningMethod, async (t) => {
      const app = await start(t, { target: { decisioningMethod } })
      const link = await app.inject('/shop?target_override=hero:B&x=1')
      t.match({ status: link.statusCode, location: link.headers.location, cache: link.headers['cache-control'] }, { status: 302, location: '/shop?x=1', cache: 'private, no-store' })
      t.match(overrideOf(link), { httpOnly: true, sameSite: 'Lax', path: '/', maxAge: 8 * 3600 })
      edge.reset()
      const cookie = await force(app, 'hero:B,checkout-flags:express')
      const response = await page(app, cookie)
      const { hero, flags, banner, executed, toolbar } = response.json() as Record<string, any>
      t.match(hero, { source: 'override', reason: 'overridden', type: 'html', content: /hero--b/, responseTokens: { 'experience.name': 'Night' }, metrics: [] })
      t.equal(flags.express, true, 'attributes too, by a name in lower case')
      t.match(banner, /banner--firefox/, 'what is not overridden is Target\'s')
      t.match(executed.map(({ name, options }: { name: string, options: unknown[] }) => [name, options]), [['hero', [{ content: /hero--b/ }]], ['checkout-flags', [{ type: 'json' }]]], 'and the SDK\'s result')
      t.equal(response.headers['cache-control'], 'private, no-store')
      t.match(toolbar, '"overrides":["hero: experience Night","checkout-flags: experience Express"]')
      t.notMatch(JSON.stringify(response.json()), 'eventToken')
      await page(app, cookie, '/place')
      const reported = await app.inject({ method: 'POST', url: '/target/notifications', headers: { cookie, 'sec-fetch-site': 'same-origin' }, payload: { notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: ['x'] }] } })
      t.equal(reported.statusCode, 204)
      // A page without overrides, to know that all before it would have arrived.
      await page(app)
      await until(() => edge.notifications.some(({ mbox }) => mbox?.name === 'banner'))
      t.equal(edge.displays('hero'), 1, 'that page\'s own')
      t.equal(edge.orders().length, 2, 'that page\'s own')
      t.equal(edge.notifications.filter(({ type }) => type === 'click').length, 1)
      const pages = (await app.inject('/_target/api/pages')).json()
      t.match(pages.find(({ overrides }: { overrides: string[] }) => overrides.length > 0), { notifications: [] })

      const ended = await app.inject({ url: '/?target_override=', headers: { cookie } })
      t.match(overrideOf(ended), { value: '', maxAge: 0 })
    })
  }
})

t.test('overrides of every kind', async (t) => {
  const app = await start(t, { inspector: { artifact: false } })
  const heroOf = async (cookie: string, url = '/') => (await page(app, cookie, url)).json().hero
  t.match(await heroOf(await force(app, 'hero:B')), { reason: 'matched' }, 'without an artifact, an experience must have been seen')
  t.match(await heroOf(await force(app, 'hero:none')), { content: 'default hero', source: 'override', reason: 'overridden', type: undefined })
  t.match(await heroOf(await force(app, 'hero:status:503')), { content: 'default hero', reason: 'overridden', source: 'override', error: { code: 'FST_TARGET_HTTP' } })
  const began = performance.now()
  t.match(await heroOf(await force(app, 'hero:timeout')), { content: 'default hero', reason: 'overridden', error: { code: 'FST_TARGET_TIMEOUT' } })
  t.ok(performance.now() - began >= 290, 'as long as the real one')
  const place = (await page(app, await force(app, '*:status:500'), '/place')).json()
  t.match(place, { pageLoad: { reason: 'overridden', content: 'default' }, view: { reason: 'overridden', content: 'default' } })
  t.notMatch((await page(app, await force(app, 'hero:none'), '/place')).json().state, { response: { prefetch: { views: [{ metrics: Array }] } } }, 'at.js gets nothing that it could report')
  t.match(await (await page(app, await force(app, '*:none'), '/ask/anything')).json(), { reason: 'overridden', content: 'default' })

  for (const experience of ['Layers', 'Night']) await page(app, edge.visitorFor({ activity: 'Winter hero', experience }).cookie)
  t.match(await heroOf(await force(app, 'hero:Night')), { reason: 'overridden', content: /hero--b/ })

  const forced = await post(app, '/_target/overrides', { mbox: 'hero', value: 'content', content: '<h1>Mine</h1>', back: '/_target/pages/1' })
  t.match({ status: forced.statusCode, location: forced.headers.location }, { status: 303, location: '/_target/pages/1' })
  t.match(await heroOf(cookiesOf(forced)), { content: '<h1>Mine</h1>', type: 'html', reason: 'overridden' })
  const json = await post(app, '/_target/overrides', { mbox: 'checkout-flags', value: 'content', content: '{"express":"mine"}' })
  t.match((await page(app, cookiesOf(json))).json().flags, { express: 'mine' })
  const both = await force(app, 'banner:none', cookiesOf(forced))
  t.match((await page(app, both)).json(), { hero: { content: '<h1>Mine</h1>' }, banner: 'default banner' }, 'a link adds to what there is')
  const cleared = await post(app, '/_target/overrides', { clear: 'all' }, { cookie: both })
  t.match(overrideOf(cleared), { maxAge: 0 })
})

t.test('forged, expired and foreign cookies count for nothing', async (t) => {
  const secret = 'a secret of some length'
  const app = await start(t, { inspector: { secret, artifact: false } })
  const other = await start(t, { inspector: { artifact: false } })
  const good = [['hero', 'none']]
  const signer = new Signer(secret)
  const purpose = `override ${client}`
  const reasonFor = async (token: string) => (await page(app, `target_override=${token}`)).json().hero.reason
  t.equal(await reasonFor(signer.sign(purpose, good, 1000)), 'overridden', 'a good one')
  const [payload, mac] = signer.sign(purpose, good, 1000).split('.') as [string, string]
  const forged = Buffer.from(JSON.stringify([Date.now() + 1e9, [['hero', 'content:<script>alert(1)</script>']]])).toString('base64url')
  for (const [name, token] of [
    ['another payload', `${forged}.${mac}`],
    ['another signature', `${payload}.${createHmac('sha256', secret).update(payload).digest('base64url')}`],
    ['no signature', payload], ['an empty signature', `${payload}.`], ['a short signature', `${payload}.${mac.slice(0, 20)}`],
    ['expired', signer.sign(purpose, good, -1)],
    ['of another client', signer.sign('override other', good, 1000)],
    ['of another purpose', signer.sign(`session ${client}`, good, 1000)],
    ['of another secret', new Signer('another secret of length').sign(purpose, good, 1000)],
    ['of another process', (await force(other, 'hero:none')).split('=', 2)[1]!],
    ['plain JSON', encodeURIComponent('{"hero":"none"}')], ['garbage', '%%%.%%%'], ['much', 'x'.repeat(9000)]
  ] as const) t.equal(await reasonFor(token), 'matched', name)
})

t.test('other sites change nothing, and no address leads away', async (t) => {
  const app = await start(t, { inspector: { artifact: false } })
  const attempt = async (headers: Record<string, string>) => (await post(app, '/_target/overrides', { mbox: 'hero', value: 'none' }, headers)).statusCode
  t.equal(await attempt({ 'sec-fetch-site': 'cross-site' }), 403)
  t.equal(await attempt({ 'sec-fetch-site': 'same-site' }), 403)
  const form = { mbox: 'hero', value: 'none' }
  const bare = (headers: Record<string, string>) => app.inject({ method: 'POST', url: '/_target/overrides', headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }, payload: new URLSearchParams(form).toString() })
  t.equal((await bare({})).statusCode, 403, 'nobody says where it comes from')
  t.equal((await bare({ origin: 'null' })).statusCode, 403)
  t.equal((await bare({ origin: 'http://evil.example' })).statusCode, 403)
  t.equal((await bare({ origin: 'http://localhost', host: 'localhost' })).statusCode, 303)
  const link = (headers: Record<string, string>) => app.inject({ url: '/?target_override=hero:none', headers })
  t.equal((await link({ 'sec-fetch-site': 'cross-site' })).statusCode, 200)
  t.equal((await link({ 'sec-fetch-dest': 'image' })).statusCode, 200)
  for (const url of ['//evil.example/?target_override=hero:none', '/\\evil.example/?target_override=hero:none']) {
    const { statusCode, headers } = await app.inject({ url })
    if (statusCode === 302) t.match(String(headers.location), /^\/(?![/\\])/, url)
  }
  t.equal((await post(app, '/_target/overrides', { ...form, back: 'https://evil.example/' })).headers.location, '/_target/overrides')
  t.equal((await post(app, '/_target/overrides', { mbox: 'hero', value: 'content', content: 'x'.repeat(2001) })).statusCode, 400)
  const reflected = await page(app, await force(app, `hero:${encodeURIComponent('content:<script>alert(1)</script>')}`))
  t.match(reflected.json().hero, { reason: 'matched' }, 'no address puts markup into a page')
})

t.test('what is copied as a test runs, with what the page got', async (t) => {
  const app = await start(t)
  const { hero } = (await page(app)).json()
  const [{ id }] = (await app.inject('/_target/api/pages')).json()
  const { body } = await app.inject(`/_target/pages/${id}`)
  const copied = (name: string) => new RegExp(`<pre id="${name}"[^>]*>([^<]*)</pre>`).exec(body)![1]!.replace(/&(lt|gt|quot|#39|amp);/g, (_, name) => ({ lt: '<', gt: '>', quot: '"', '#39': '\'', amp: '&' })[name as string]!)
  t.match(copied('copy-curl'), /^curl 'http:\/\/127\.0\.0\.1:\d+\/rest\/v1\/delivery\?client=acmeclient&sessionId=inspector/)
  t.ok(JSON.parse(copied('copy-json')).offers)
  const code = copied('copy-test').replaceAll(/^import .*$/gm, '')
  let title = ''
  let run: ((t: unknown) => Promise<void>) | undefined
  let shown: any
  const buildApp = async (options: Partial<FastifyAdobeTargetOptions>) => {
    const copy = Fastify()
    await copy.register(fastifyAdobeTarget, { ...optionsFor(''), ...options })
    copy.get('/', { config: { target: ['hero'] } }, async ({ target }) => { shown = await target.content('hero', 'default'); return '' })
    return copy
  }
  // eslint-disable-next-line no-new-func
  new Function('test', 'assert', 'createEdge', 'buildApp', code)((name: string, body: typeof run) => { [title, run] = [name, body] }, assert, createEdge, buildApp)
  const ends: Array<() => unknown> = []
  await run!({ after: (end: () => unknown) => ends.push(end) })
  for (const end of ends.reverse()) await end()
  t.match(title, /^GET \/ with hero: (Night|Layers)/)
  t.equal(shown, hero.content)
})

t.test('memory is bounded, however many pages there are and however large', async (t) => {
  const app = await start(t, { target: { decisioningMethod: 'on-device' }, inspector: { pages: 50 } })
  for (let i = 0; i < 120; i++) await app.inject('/ask/hero')
  const pages = (await app.inject('/_target/api/pages')).json()
  t.ok(pages.length >= 20 && pages.length <= 50, `${pages.length} pages`)
  t.match((await app.inject('/_target')).body, />\d+ pages so far</)

  // By the same channels, but without a network: each answer is of 240 kB.
  const decorated = { target: app.target }
  const recorder = new Recorder({ client: app.target, decorator: 'target', pages: 1000, rate: Infinity, isWanted: () => false, overridesOf: () => [], onAnswer () {} })
  t.teardown(() => recorder.close())
  const visit = (content: string, url = '/') => {
    const requestId = String(Math.random())
    const message = { kind: 'page', requestId, startedAt: 0, request: {}, response: { execute: { mboxes: [{ name: 'large', options: [{ type: 'html', content }] }] } } } as never
    calls.start.publish(message)
    calls.asyncEnd.publish(message)
    const request = { server: decorated, headers: {}, method: 'GET', originalUrl: url }
    channels.page.publish({ request, route: '/', statusCode: 200, arrivedAt: 0, elapsed: 1, timing: {}, offers: [], calls: [{ requestId, mboxes: ['large'], started: 0 }], notifications: [], cookies: [] })
  }
  for (let i = 0; i < 400; i++) visit('x'.repeat(120_000))
  t.ok(recorder.pages.length > 100 && recorder.pages.length < 140, `${recorder.pages.length} pages are within 32 MB`)
  t.ok(recorder.bytes <= 32 * 1024 * 1024)
  visit('x'.repeat(200_000))
  t.match(recorder.pages[0]!.calls[0]!.work, [{ cut: true, response: undefined }], 'a larger answer is not kept')

  const slow = new Recorder({ client: app.target, decorator: 'target', pages: 1000, rate: 40, isWanted: ({ originalUrl }) => originalUrl === '/mine', overridesOf: () => [], onAnswer () {} })
  t.teardown(() => slow.close())
  for (let i = 0; i < 100; i++) visit('')
  visit('', '/mine')
  t.match({ count: slow.count, kept: slow.pages.length, last: slow.pages[0]!.url }, { count: 101, kept: 41, last: '/mine' }, 'of many a second, some, and those that somebody looks at')
  for (let i = 0; i < 100; i++) visit('')
  t.equal(slow.count, 121, 'of very many a second it hears nothing')
  slow.attend()
  visit('', '/mine')
  t.match({ kept: slow.pages.length, last: slow.pages[0]!.url }, { kept: 42, last: '/mine' }, 'until somebody looks')
})
