/** For whom Target is asked at all: the option `enabled`. */
import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyRequest } from 'fastify'
import diagnostics from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import fastifyAdobeTarget, { type RequestTarget } from '../../lib/index.ts'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { cookiesOf, json, optionsFor, startApp, startEdge, targetCookieOf } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

const HERO = /class="hero/

/** Asks for everything there is. */
async function askAll ({ target }: FastifyRequest) {
  target.start(['banner'])
  target.displayed('hero')
  target.clicked('hero')
  target.notify({ type: 'click', mbox: { name: 'hero' } })
  const offers = [await target.offer('hero', 'fallback'), await target.offer('undeclared', 'fallback'), await target.offer('banner', 'fallback'), await target.pageLoad('fallback'), await target.view('product', 'fallback')]
  return {
    offers: offers.map(({ content, reason, source, error }) => [content, reason, source, error?.code]),
    content: await target.content('hero', 'fallback'),
    attributes: await target.attributes('checkout-flags', { express: 'fallback' }),
    views: await target.views(),
    result: await target.result().then(() => 'a result', ({ code, message }) => [code, message]),
    timing: target.timing
  }
}

const everything = { execute: { mboxes: ['hero', 'checkout-flags'], pageLoad: {} }, prefetch: { views: [{}] } }

t.test('enabled: false sends no call, cookie or notification, whatever the handler reads', async (t) => {
  const edge = await startEdge(t)
  const published: string[] = []
  for (const name of ['call:start', 'call:error', 'decision', 'outbox']) diagnostics.subscribe(`fastify-adobe-target:${name}`, () => published.push(name))
  const no: [string, () => unknown, logged: boolean][] = [
    ['false', () => false, false],
    ['a promise of false', async () => { await sleep(5); return false }, false],
    ['another kind of promise', () => ({ then: (resolve: (no: boolean) => void) => { setTimeout(resolve, 5, false) } }), false],
    ['an error', () => { throw new Error('no luck') }, true],
    ['a rejection', async () => { throw new Error('no luck') }, true],
    ['a text', () => 'yes', true],
    ['nothing', () => undefined, true],
    ['a promise of null', async () => null, true]
  ]
  let asked = 0
  const others: string[] = []
  const other = (name: string) => () => { others.push(name); return {} }
  for (const [name, answer, logs] of no) {
    for (const [decisioningMethod, hook] of [['server-side', 'onRequest'], ['server-side', false], ['on-device', 'preHandler'], ['hybrid', 'onRequest']] as const) {
      asked = 0
      const { app, url, logged } = await startApp(t, edge.host, {
        enabled: () => { asked++; return answer() as boolean },
        hook,
        decisioningMethod,
        artifactPayload: sampleArtifact,
        pollingInterval: 0,
        serverTiming: true,
        visitor: other('visitor'),
        context: other('context'),
        parameters: other('parameters')
      }, (app) => {
        app.get('/', { config: { target: everything } }, askAll)
        app.get('/function', { config: { target: () => everything } }, askAll)
        app.get('/outside', async (request) => [(await request.target.offer('hero', 'fallback')).reason, request.target.timing])
        app.get('/unread', { config: { target: ['hero'] } }, async () => 'page')
      })
      const what = `${name}, ${decisioningMethod}, hook ${hook}`
      const cookie = 'mbox=session#s-1#9999999999|PC#p-1.35_0#9999999999; mboxEdgeCluster=35'
      for (const path of ['/', '/function', '/outside', '/unread']) {
        const before = asked
        const response = await fetch(url + path, { headers: { cookie } })
        t.same(response.headers.getSetCookie(), [], `${what}: no cookie, and those that are there stay`)
        t.equal(response.headers.get('server-timing'), null, what)
        if (path === '/unread') await response.text()
        else if (path === '/outside') t.match(await response.json(), ['opted-out', { waited: Number }], what)
        else {
          const page = await json(response)
          t.same({ ...page, timing: Object.keys(page.timing) }, {
            offers: new Array(5).fill(['fallback', 'opted-out', 'default', null]),
            content: 'fallback',
            attributes: { express: 'fallback' },
            views: [],
            result: ['FST_TARGET_INVALID_REQUEST', 'Invalid Target request: the `enabled` option does not allow Target calls for this visitor'],
            timing: ['waited']
          }, `${what} ${path}`)
        }
        t.equal(asked - before, path === '/unread' && hook === false ? 0 : 1, `${what} ${path}: asked once`)
      }
      await sleep(10)
      t.match(app.target.health(), { status: 'ok', outbox: { accepted: 0 } }, what)
      const lines = logged.filter(({ msg }) => !/is not in config\.target/.test(msg))
      t.match(lines, logs ? [{ msg: /`enabled` threw and was treated as false/ }] : [], `${what}: logged once`)
      t.equal(lines.length, logs ? 1 : 0, what)
    }
  }
  t.equal(edge.requests.length, 0)
  t.same(published, [])
  t.same(others, [], 'nothing is gathered about somebody who is not asked for')
})

t.test('enabled: true changes nothing, and the function is called only when a call starts', async (t) => {
  const edge = await startEdge(t)
  for (const answer of [() => true, async () => { await sleep(5); return true }]) {
    edge.reset()
    let asked = 0
    const { app, url } = await startApp(t, edge.host, { enabled: () => { asked++; return answer() } }, (app) => {
      app.get('/', { config: { target: everything } }, askAll)
      app.get('/idle', async (request) => [request.target.timing, await request.target.pageLoad(), await request.target.result().catch(({ message }) => message)])
      app.get('/off', { config: { target: false } }, async (request) => [(await request.target.offer('hero')).reason, request.target.displayed('hero')])
      app.get('/notify', async (request) => { request.target.notify({ type: 'click', mbox: { name: 'hero' } }); return 'page' })
    })
    const response = await fetch(url)
    const page = await json(response)
    t.match(page, { offers: [[HERO, 'matched'], ['fallback', 'no-offer'], [/banner/, 'matched'], [Array, 'matched'], [Array, 'matched']], content: HERO, attributes: { express: Boolean }, views: [{ view: 'product' }], result: 'a result', timing: { started: Number, duration: Number } })
    t.match(targetCookieOf(response), { session: String, PC: String })
    t.equal(asked, 1)
    await until(() => edge.notifications.length === 2)
    t.equal(edge.notifications.length, 2)
    const calls = edge.requests.length
    t.match(await json(await fetch(`${url}/idle`)), [{}, { reason: 'not-requested' }, /nothing was requested/])
    t.same(await json(await fetch(`${url}/off`)), ['not-requested', null])
    t.equal((await fetch(`${url}/missing`)).status, 404)
    t.equal(asked, 1, 'where nothing is to be started nobody is asked')
    t.equal(edge.requests.length, calls)
    const timestamp = Date.now()
    await fetch(`${url}/notify`)
    await until(() => edge.notifications.length === 3)
    t.ok(edge.notifications[2]!.timestamp >= timestamp - 1000)
    t.equal(asked, 2)
    await until(() => app.target.health().outbox.pending === 0)
  }
})

t.test('enabled: a slow function delays only the offers, at most for the timeout', async (t) => {
  const edge = await startEdge(t)
  let answer: (enabled: boolean) => void = () => {}
  let displayed = false
  let arrived = 0
  let closed = 0
  const { url } = await startApp(t, edge.host, { timeout: 500, enabled: () => new Promise<boolean>((resolve) => { answer = resolve }) }, (app) => {
    app.addHook('onRequest', async (_request, reply) => {
      arrived++
      reply.raw.once('close', () => { closed++ })
    })
    app.get('/', { config: { target: ['hero'] } }, async (request) => {
      const asked = performance.now()
      const { reason, content, error } = await request.target.offer('hero', 'fallback')
      const held = performance.now() - asked
      answer(true)
      await sleep(20)
      return { reason, content, code: error?.code, message: error?.message, held, later: (await request.target.offer('banner')).reason }
    })
    app.get('/unread', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => {
      if (displayed) request.target.displayed('hero')
      return 'page'
    })
    app.get('/max-wait', { config: { target: { execute: { mboxes: ['hero'] }, maxWait: 20 } } }, async (request) => (await request.target.offer('hero')).reason)
  })
  const page = await json(await fetch(url))
  t.match(page, { reason: 'timeout', content: 'fallback', code: 'FST_TARGET_TIMEOUT', message: 'Target call timed out: `enabled` did not resolve within 500 ms', later: 'matched' })
  t.ok(page.held >= 480 && page.held < 2000, `held ${page.held} ms`)
  t.equal(edge.requests.length, 1, 'what was given up is not sent')

  edge.reset()
  const took = stopwatch()
  const response = await fetch(`${url}/unread`)
  await response.text()
  t.ok(took() < 450, 'a page that does not ask does not wait')
  t.same(response.headers.getSetCookie(), [], 'no cookie without consent')
  answer(true)
  await sleep(30)
  t.equal(edge.requests.length, 0, 'nothing starts after the response was sent')
  displayed = true
  await (await fetch(`${url}/unread`)).text()
  answer(true)
  await until(() => edge.notifications.length === 1)
  t.match(edge.notifications, [{ type: 'display', mbox: { name: 'hero' } }], 'but what a display needs')
  t.equal(await (await fetch(`${url}/max-wait`)).text(), 'max-wait')

  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  edge.reset()
  const before = [arrived, closed]
  socket.write('GET / HTTP/1.1\r\nhost: shop\r\n\r\n')
  await until(() => arrived > before[0]!)
  socket.destroy()
  await until(() => closed > before[1]!)
  answer(true)
  await sleep(30)
  t.equal(edge.requests.length, 0, 'nor for a client that left')
})

t.test('a call that times out before it is sent names the functions that are pending', async (t) => {
  const edge = await startEdge(t)
  const never = () => new Promise<undefined>(() => {})
  const { url } = await startApp(t, edge.host, { timeout: 50, visitor: async () => undefined, context: never, parameters: never }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => (await request.target.offer('hero')).error?.message)
  })
  t.equal(await (await fetch(url)).text(), 'Target call timed out: `context`, `parameters` did not resolve within 50 ms')
})

t.test('enabled: neither a logger that throws nor a trap of a promise fails the page', async (t) => {
  const edge = await startEdge(t)
  const logger = { debug () {}, error () { throw new Error('full disk') } }
  const trap = { get then () { throw new Error('no luck') } }
  for (const enabled of [() => { throw new Error('no luck') }, async () => { throw new Error('no luck') }, () => trap]) {
    const { url } = await startApp(t, edge.host, { enabled: enabled as unknown as () => boolean, logger }, (app) => {
      app.get('/', { config: { target: ['hero'] } }, async (request) => (await request.target.offer('hero')).reason)
    })
    const response = await fetch(url)
    t.same([response.status, await response.text()], [200, 'opted-out'])
  }
})

t.test('enabled: a synchronous result costs no tick', async (t) => {
  const edge = await startEdge(t)
  let decisions = 0
  const count = () => { decisions++ }
  diagnostics.subscribe('fastify-adobe-target:decision', count)
  t.teardown(() => diagnostics.unsubscribe('fastify-adobe-target:decision', count))
  for (const enabled of [undefined, () => true, async () => true]) {
    const { app, url } = await startApp(t, edge.host, { hook: false, decisioningMethod: 'on-device', artifactPayload: sampleArtifact, pollingInterval: 0, enabled }, (app) => {
      app.get('/', { config: { target: ['hero'] } }, async (request) => {
        const before = decisions
        request.target.start()
        return [decisions - before, (await request.target.offer('hero')).reason]
      })
    })
    await app.target.ready()
    t.same(await json(await fetch(url)), [enabled?.constructor.name === 'AsyncFunction' ? 0 : 1, 'matched'])
  }
})

t.test('enabled: a function that reads offers gets fallbacks', async (t) => {
  const edge = await startEdge(t)
  const seen: unknown[] = []
  const { url } = await startApp(t, edge.host, {
    enabled: (request) => {
      request.target.offer('hero').then(({ reason }) => seen.push(reason))
      request.target.notify({ type: 'click', mbox: { name: 'hero' } })
      return true
    }
  }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  })
  t.match(await (await fetch(url)).text(), HERO)
  t.same(seen, ['opted-out'])
  t.equal(edge.requests.length, 1)
})

t.test('enabled: each of two instances calls its own function', async (t) => {
  const edge = await startEdge(t)
  for (const [first, second] of [[false, true], [true, false], [false, false]] as const) {
    edge.reset()
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(fastifyAdobeTarget, optionsFor(edge.host, { enabled: async () => first }))
    await app.register(fastifyAdobeTarget, optionsFor(edge.host, { enabled: () => second, decorator: 'campaigns' }))
    app.get('/', { config: { target: ['hero'], campaigns: ['banner'] } as object }, async (request) => {
      const { campaigns } = request as unknown as { campaigns: RequestTarget }
      campaigns.notify({ type: 'click', mbox: { name: 'hero' } })
      return [(await request.target.offer('hero')).reason, (await campaigns.offer('banner')).reason]
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const response = await fetch(url)
    const reason = (enabled: boolean) => enabled ? 'matched' : 'opted-out'
    t.same(await response.json(), [reason(first), reason(second)])
    t.equal(cookiesOf(response) !== '', first || second)
    await app.close()
    t.equal(edge.requests.filter(({ body }) => 'execute' in (body as object)).length, Number(first) + Number(second))
    t.equal(edge.notifications.length, Number(second))
  }
})

t.test('enabled: the function of docs/recipes.md, with what browsers send', async (t) => {
  const [, code] = /^ {2}enabled: (\(request\) =>[^]*?)^\}\)/m.exec(readFileSync(new URL('../../docs/recipes.md', import.meta.url), 'utf8'))!
  const enabled: (request: FastifyRequest) => boolean = (await import(`data:text/javascript,${encodeURIComponent(`export default ${code}`)}`)).default
  const consent = 'other=yes; consent=yes'
  const cases: [Record<string, string>, boolean][] = [
    [{ cookie: consent }, true],
    [{ cookie: consent, 'sec-gpc': '1' }, false],
    [{ cookie: consent, 'sec-gpc': '0' }, true],
    [{}, false],
    [{ cookie: 'consent=no' }, false],
    [{ cookie: 'consent=%E0%A4%A' }, false],
    [{ cookie: consent, 'sec-purpose': 'prefetch' }, false],
    [{ cookie: consent, 'sec-purpose': 'prefetch;prerender' }, false],
    [{ cookie: consent, 'sec-purpose': 'prefetch;anonymous-client-ip' }, false]
  ]
  const edge = await startEdge(t)
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  await app.register(fastifyAdobeTarget, optionsFor(edge.host, { enabled }))
  app.get('/', { config: { target: ['hero'] } }, async (request) => ({ reason: (await request.target.offer('hero')).reason, got: request.headers }))
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  for (const [headers, allowed] of cases) {
    edge.reset()
    const response = await fetch(url, { headers })
    const { reason, got } = await json(response)
    t.match(got, headers, 'they arrive')
    t.same([reason, edge.requests.length, response.headers.getSetCookie().length], allowed ? ['matched', 1, 2] : ['opted-out', 0, 0], JSON.stringify(headers))
  }
})

t.test('a browser that fetches pages ahead counts no impression, and asks again where it was refused', { skip: withoutBrowser }, async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { enabled: (request) => !/\bprefetch\b/.test(String(request.headers['sec-purpose'])) }, (app) => {
    const page = async (request: FastifyRequest) => `<p>${(await request.target.offer('hero')).reason}</p>`
    app.addHook('onSend', async (_request, reply) => { reply.type('text/html') })
    app.get('/prefetch', async () => '<script type="speculationrules">{"prefetch":[{"urls":["/offer","/refused"],"eagerness":"immediate"}]}</script><a href="/offer">1</a> <a href="/refused">2</a>')
    app.get('/prerender', async () => '<script type="speculationrules">{"prerender":[{"urls":["/refused"],"eagerness":"immediate"}]}</script><a href="/refused">2</a>')
    app.get('/offer', { config: { target: ['hero'] }, onResponse: async () => { ahead++ } }, page)
    app.get('/refused', {
      config: { target: ['hero'] },
      preHandler: async (request, reply) => {
        if (request.headers['sec-purpose'] === undefined) return
        refused.push(String(request.headers['sec-purpose']))
        await reply.code(503).send('not now')
      }
    }, page)
  })
  let ahead = 0
  const refused: string[] = []
  const browser = await startBrowser(t)
  const tab = await browser.newPage()
  await tab.goto(`${url}/prefetch`)
  await until(() => ahead === 1 && refused.length === 1)
  t.equal(edge.requests.length, 0)
  t.same(await tab.context().cookies(), [])
  await tab.click('text=2')
  await tab.waitForURL('**/refused')
  t.equal(await tab.textContent('p'), 'matched')
  t.equal(edge.impressions(410001), 1)
  await tab.goto(`${url}/prerender`)
  await until(() => refused.length === 2)
  t.same(refused, ['prefetch', 'prefetch;prerender'])
  t.equal(edge.impressions(410001), 1)
})
