import fastifyCookie from '@fastify/cookie'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import fastifyAdobeTarget, { errors, type FastifyAdobeTargetOptions, type TargetResult, type TargetRouteConfig } from '../../lib/index.ts'
import { client, cookiesOf, json, optionsFor, organizationId, startApp, startEdge, startServer, targetCookieOf } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

const HERO = /class="hero/

t.test('a route\'s offers are fetched beside its handler', async (t) => {
  const edge = await startEdge(t, { latency: 30 })
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero', 'checkout-flags'] } }, async (request) => {
      // Work of its own, at least until the call that was started for it has been answered.
      while (request.target.timing.duration === undefined) await sleep(5)
      const asked = performance.now()
      const hero = await request.target.content('hero', 'fallback')
      const offer = await request.target.offer('hero')
      return { hero, offer, held: performance.now() - asked, timing: request.target.timing }
    })
  })
  const response = await fetch(url)
  const page = await json(response)
  t.match(page.hero, HERO)
  t.match(page.offer, { mbox: 'hero', type: 'html', source: 'edge', reason: 'matched', responseTokens: { 'activity.name': 'Winter hero' } })
  t.equal(page.timing.waited, 0, 'the answer was there when it was asked for')
  t.ok(page.timing.duration >= 29 && page.timing.started >= 0)
  t.equal(edge.requests.length, 1, 'two asks share one call')
  t.match(targetCookieOf(response), { session: /^[\w-]{36}$/, PC: /^[\w-]{36}\.35_0$/ })
  t.match(response.headers.getSetCookie(), [/^mbox=.*; Max-Age=63244800; Path=\/; SameSite=Lax$/, /^mboxEdgeCluster=35; Max-Age=1860; /])
})

t.test('a returning visitor keeps session, tntId and variant', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  })
  const first = await fetch(url)
  const hero = await first.text()
  let cookie = cookiesOf(first)
  for (let visit = 0; visit < 5; visit++) {
    // Two minutes later.
    const again = await fetch(url, { headers: { cookie: aged(cookie, 120) } })
    t.equal(await again.text(), hero)
    t.same(targetCookieOf(again), targetCookieOf(first))
    cookie = cookiesOf(again)
  }
  t.equal(new Set(edge.requests.map(({ query }) => query.sessionId)).size, 1)
})

/** Cookies as they would be if they had been written some seconds earlier. */
const aged = (cookie: string, seconds: number) => cookie.replace(/#(\d{10,})(?=[|;]|$)/g, (_, expiry) => `#${Number(expiry) - seconds}`)

t.test('a visitor whose cookies say the same already gets none', async (t) => {
  const edge = await startEdge(t)
  const pages = (options: object = {}) => startApp(t, edge.host, options, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
    app.get('/raw', { config: { target: ['hero'] } }, async (request, reply) => {
      await request.target.content('hero')
      reply.hijack()
      reply.raw.end('')
    })
  })
  const { url, logged } = await pages()
  const first = cookiesOf(await fetch(url))
  t.match(first, /^mbox=session#.+#\d+\|PC#.+#\d+/)
  const written = async (cookie: string, to = url) => (await fetch(to, { headers: { cookie } })).headers.getSetCookie().length
  t.equal(await written(first), 0)
  t.equal(await written(aged(first, 50)), 0)
  t.equal(await written(first.replace('mbox=', 'mbox=check#true#9999999999|')), 0, 'what another library keeps in it stays')
  t.not(await written(aged(first, 61)), 0, 'its expiry would move by more than a minute')
  t.not(await written(aged(first, -120)), 0, 'no cookie lasts longer than it should')
  t.not(await written(`${first}; mbox=${first.slice(5).replace('session#', 'session#x')}`), 0, 'two cookies of one name')
  t.not(await written(first.replace(/session#[^#]+/, 'session#x').replace(/\|PC.*/, '')), 0, 'another device id')
  t.not(await written(`${first.split('; ')[0]}; mboxEdgeCluster=99`), 0, 'another location hint')
  t.equal((await fetch(`${url}/raw`, { headers: { cookie: first } })).status, 200)
  t.equal(logged.length, 0, 'nothing is missing from a response that bypasses Fastify')

  t.not(await written(first, (await pages({ cookies: { renewAfter: 0 } })).url), 0)
  t.not(await written(aged(first, 6), (await pages({ cookies: { renewAfter: 5000 } })).url), 0)
  await t.rejects(pages({ cookies: { renewAfter: -1 } }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`cookies\.renewAfter` must be a number of ms/ })
})

t.test('200 visitors at once: nobody gets another\'s offer or cookie', async (t) => {
  const edge = await startEdge(t, { latency: () => Math.random() * 40 })
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/:name', { config: { target: (request) => [{ name: 'banner', parameters: { member: (request.params as { name: string }).name } }] } }, async (request) => {
      await sleep(Math.random() * 30)
      const { response, request: sent } = await request.target.result()
      return { tntId: response.id?.tntId, member: sent.execute?.mboxes?.[0]?.parameters?.member, sessionId: sent.id?.tntId, banner: await request.target.content('banner') }
    })
  })
  const visits = await Promise.all(Array.from({ length: 200 }, async (_, index) => {
    const name = index % 2 === 0 ? 'gold' : `visitor${index}`
    const cookie = `mbox=session#session-${index}#9999999999|PC#visitor-${index}.35_0#9999999999`
    const response = await fetch(`${url}/${name}`, { headers: { cookie } })
    return { index, name, cookies: targetCookieOf(response), page: await json(response) }
  }))
  for (const { index, name, cookies, page } of visits) {
    if (page.member !== name || page.tntId !== `visitor-${index}.35_0` || cookies.session !== `session-${index}` ||
      cookies.PC !== `visitor-${index}.35_0` || page.banner.includes('gold') !== (name === 'gold')) t.fail(`visitor ${index} got ${JSON.stringify({ cookies, page })}`)
  }
  t.equal(new Set(edge.requests.map(({ query }) => query.sessionId)).size, 200)
})

t.test('config.target accepts names, requests and functions, and each is requested', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { request: ['banner'] }, (app) => {
    app.get('/list', { config: { target: ['hero', { name: 'banner', index: 7, parameters: { member: 'gold' } }] } }, async (request) => (await request.target.result()).request.execute)
    app.get('/object', { config: { target: { execute: { pageLoad: {}, mboxes: ['hero'] }, prefetch: { views: ['product', {}], mboxes: ['banner'] }, property: { token: 'at-property' } } } }, async (request) => (await request.target.result()).request)
    app.get('/function/:id', { config: { target: (request) => ['hero', `category-${(request.params as { id: string }).id}`] } }, async (request) => (await request.target.result()).request.execute)
    app.get('/true', { config: { target: true } }, async (request) => (await request.target.result()).request.execute)
    app.get('/false', { config: { target: false } }, async (request) => await request.target.offer('hero', 'fallback'))
    app.get('/none', async (request) => await request.target.offer('hero'))
    app.get('/throws', { config: { target: () => { throw new Error('no luck') } } }, async (request) => (await request.target.offer('hero')).reason)
  })
  const get = async (path: string) => await json(await fetch(url + path))
  t.same(await get('/list'), { mboxes: [{ index: 0, name: 'hero' }, { index: 7, name: 'banner', parameters: { member: 'gold' } }] })
  t.match(await get('/object'), {
    execute: { pageLoad: {}, mboxes: [{ index: 0, name: 'hero' }] },
    prefetch: { views: [{ name: 'product' }, {}], mboxes: [{ index: 0, name: 'banner' }] },
    property: { token: 'at-property' }
  })
  t.same(await get('/function/7'), { mboxes: [{ index: 0, name: 'hero' }, { index: 1, name: 'category-7' }] })
  t.same(await get('/true'), { mboxes: [{ index: 0, name: 'banner' }] })
  const calls = edge.requests.length
  t.match(await get('/false'), { content: 'fallback', source: 'default', reason: 'not-requested' })
  t.equal(edge.requests.length, calls, 'false starts nothing, not even when asked')
  t.match(await get('/none'), { type: 'html', reason: 'matched' }, 'a route without config may ask')
  t.equal(await (await fetch(`${url}/throws`)).text(), 'matched', 'a config that throws is taken as absent')
})

t.test('a global request covers every route but added HEAD routes, OPTIONS and 404', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { global: true, request: ['hero'] }, (app) => {
    app.get('/', async () => 'page')
    app.get('/off', { config: { target: false } }, async () => 'page')
    app.head('/own', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
    app.options('/', async () => 'options')
  })
  const expect = async (method: string, path: string, [calls, cookies]: [number, number], why = `${method} ${path}`) => {
    edge.reset()
    const response = await fetch(url + path, { method })
    // A page does not wait for a call that it does not read.
    await until(() => edge.requests.length >= calls)
    await sleep(20)
    t.same([edge.requests.length, response.headers.getSetCookie().length], [calls, cookies], why)
  }
  await expect('GET', '/', [1, 1], 'every route gets the default request; the cluster is not known yet')
  await expect('GET', '/off', [0, 0])
  await expect('HEAD', '/', [0, 0], 'not a HEAD route that Fastify adds')
  await expect('HEAD', '/own', [1, 2], 'but one of the app\'s own')
  await expect('OPTIONS', '/', [0, 0])
  await expect('GET', '/missing', [0, 0])
})

t.test('added HEAD routes start nothing, whatever tells their GET routes apart; those of the app do', async (t) => {
  const edge = await startEdge(t)
  for (const [options, name] of [[{}, 'HEAD for each GET'], [{ exposeHeadRoutes: false }, 'none'], [{ routerOptions: { ignoreTrailingSlash: true } }, 'trailing slashes ignored']] as const) {
    await t.test(name, async (t) => {
      const app = Fastify(options)
      t.teardown(() => app.close())
      await app.register(fastifyAdobeTarget, optionsFor(edge.host))
      const target = { config: { target: ['hero'] } }
      const handler = async (request: FastifyRequest) => await request.target.html('hero')
      app.get('/c', target, handler)
      app.get('/c', { ...target, constraints: { host: 'a.example' } }, handler)
      app.get('/c', { ...target, constraints: { version: '2.0.0' } }, handler)
      app.get('/v', { ...target, constraints: { version: '1.2.0' } }, handler)
      app.get('/v', { ...target, constraints: { version: '1.3.0' } }, handler)
      app.get('/items/:id', target, handler)
      app.get('/files/*', target, handler)
      app.get('/own', { ...target, exposeHeadRoute: false }, handler)
      app.head('/own', target, handler)
      app.route({ method: ['GET', 'HEAD'], url: '/both', ...target, handler })
      app.head('/first', target, handler)
      app.get('/first', { ...target, exposeHeadRoute: false }, handler)
      app.get('/opted-in', { ...target, exposeHeadRoute: true }, handler)
      app.register(async (scope) => {
        scope.get('/', target, handler)
        scope.get('/c', target, handler)
        scope.get('/c', { ...target, constraints: { host: 'a.example' } }, handler)
        scope.register(async (inner) => {
          inner.get('', { ...target, prefixTrailingSlash: 'no-slash' }, handler)
          inner.head('/own', target, handler)
        }, { prefix: '/inner' })
      }, { prefix: '/shop' })
      await app.ready()
      const calls = async (method: 'HEAD' | 'GET', url: string, headers: Record<string, string> = {}) => {
        edge.reset()
        await app.inject({ method, url, headers })
        return edge.requests.length
      }
      const added: [string, Record<string, string>?][] = [
        ['/c'], ['/c', { host: 'a.example' }], ['/c', { 'accept-version': '2.x' }], ['/v', { 'accept-version': '1.2.0' }], ['/v', { 'accept-version': '1.x' }],
        ['/items/5'], ['/files/a/b'], ['/opted-in'], ['/shop'], ['/shop/'], ['/shop/c'], ['/shop/c', { host: 'a.example' }], ['/shop/inner']
      ]
      if (name === 'trailing slashes ignored') added.push(['/c/'], ['/shop/c/'])
      for (const [url, headers] of added) {
        t.equal(await calls('HEAD', url, headers), 0, `HEAD ${url} ${JSON.stringify(headers ?? {})}`)
        t.equal(await calls('GET', url, headers), 1, `GET ${url} ${JSON.stringify(headers ?? {})}`)
      }
      for (const url of ['/own', '/both', '/first', '/shop/inner/own']) t.equal(await calls('HEAD', url), 1, `HEAD ${url} is the app's own`)
    })
  }
})

t.test('a config.target function that is asynchronous is refused, with what to do, and named once', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    app.get('/async', { config: { target: (async () => ['hero']) as never } }, async (request) => (await request.target.offer('hero', '')).reason)
    app.get('/rejects', { config: { target: (async () => { throw new Error('no') }) as never } }, async (request) => (await request.target.offer('hero', '')).reason)
    app.get('/query', { config: { target: (() => ({ then (resolve: (value: unknown) => void) { resolve(['hero']) } })) as never } }, async (request) => (await request.target.offer('hero', '')).reason)
  })
  for (const path of ['/async', '/async', '/rejects', '/query']) t.equal(await (await fetch(url + path)).text(), 'matched', 'the handler still gets its offer')
  const errors = logged.filter(({ level }) => level === 50) as unknown as { msg: string, err: { message: string } }[]
  t.equal(errors.length, 3, 'once each')
  for (const { msg, err } of errors) {
    t.match(msg, /`config\.target of GET \/(async|rejects|query)` threw and was ignored/)
    t.match(err.message, /config\.target\(\) of GET \/\w+: must be the request itself, not a promise; load what it needs in an earlier hook, and register the plugin with `hook: 'preHandler'`/)
  }
})

t.test('routes before an un-awaited register get offers; a wrong config.target fails registration', async (t) => {
  const edge = await startEdge(t)
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(fastifyAdobeTarget, optionsFor(edge.host))
  app.get('/', { config: { target: ['hero'] } }, async (request) => ({ started: request.target.timing.started !== undefined, hero: await request.target.content('hero') }))
  app.register(async (child) => { child.get('/child', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero')) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.match((await app.inject('/')).json(), { started: true, hero: HERO })
  t.match((await app.inject('/child')).body, HERO)
  edge.reset()
  await app.inject({ method: 'HEAD', url: '/' })
  t.equal(edge.requests.length, 0, 'the HEAD route that Fastify added starts nothing here either')

  const bad: [unknown, RegExp][] = [
    [{ execut: {} }, /unknown option `config\.target\.execut` of GET \/page \(did you mean `execute`\?\)/],
    [[''], /config\.target\[0\] of GET \/page: must be an mbox name or an mbox request \{ name, … \}, got ''/],
    [{ maxWait: -1 }, /config\.target\.maxWait of GET \/page: must be a number of ms > 0 and ≤ 2147483647, got -1/],
    [{ execute: { mboxes: ['a'] }, timeout: 1e10 }, /config\.target\.timeout of GET \/page: must be a number of ms > 0 and ≤ 2147483647, got 10000000000/],
    [3, /config\.target of GET \/page: must be a list of mboxes, .*, true or false, got 3/],
    [[], /config\.target of GET \/page: must request at least one mbox, page load or view/],
    [true, /without a default request/],
    [[{ name: 'a', index: 1 }, { name: 'b', index: 1 }], /mbox index 1 twice/]
  ]
  for (const [config, message] of bad) {
    const wrong = Fastify()
    await wrong.register(fastifyAdobeTarget, optionsFor(edge.host))
    wrong.get('/page', { config: { target: config as [] } }, async () => '')
    await t.rejects(async () => await wrong.ready(), { code: 'FST_TARGET_INVALID_OPTIONS', message }, JSON.stringify(config))
    await wrong.close()
  }
})

t.test('wrong options fail registration and name the option', async (t) => {
  const cases: [object, RegExp][] = [
    [{ tiemout: 300 }, /unknown option `tiemout` \(did you mean `timeout`\?\)$/],
    [{ timeout: '300' }, /`timeout` must be a number of ms > 0 and ≤ 2147483647, got '300'$/],
    [{ timeout: 0 }, /`timeout` must be .*, got 0$/],
    [{ timeout: 1e10 }, /`timeout` must be .* ≤ 2147483647, got 10000000000$/],
    [{ client: undefined }, /`client` is required: a Target client code/],
    [{ client: 'evil.example/' }, /`client` must be a Target client code .*, got 'evil\.example\/'/],
    [{ organizationId: '' }, /`organizationId` must be .*, got ''/],
    [{ pool: { conections: 3 } }, /unknown option `pool\.conections` \(did you mean `connections`\?\)/],
    [{ pool: { size: 3 } }, /unknown option `pool\.size`; expected connections, keepAliveTimeout, maxAge, allowH2, maxResponseSize or maxQueue/],
    [{ pool: { connections: 1.5 } }, /`pool\.connections` must be an integer ≥ 1, got 1\.5$/],
    [{ pool: { keepAliveTimeout: 1e10 } }, /`pool\.keepAliveTimeout` must be/],
    [{ breaker: { failures: 0 } }, /`breaker\.failures` must be an integer ≥ 1, got 0/],
    [{ breaker: true }, /`breaker` must be .*, or false, got true/],
    [{ cookies: { domain: 'a.example; Secure' } }, /`cookies\.domain`/],
    [{ cookies: { sameSite: 'sometimes' } }, /`cookies\.sameSite` must be 'Strict', 'Lax' or 'None', got 'sometimes'/],
    [{ serverDomain: 'https://a.example' }, /`serverDomain`.*without scheme/],
    [{ targetLocationHint: 'evil.example' }, /`targetLocationHint`/],
    [{ hook: 'onSend' }, /`hook` must be 'onRequest', 'preParsing', 'preValidation', 'preHandler' or false, got 'onSend'/],
    [{ visitor: 'me' }, /`visitor` must be a function, got 'me'/],
    [{ dispatcher: {} }, /`dispatcher` must be an undici Dispatcher, got/],
    [{ global: true }, /`global` requires a default request/],
    [{ request: [] }, /`request` must request at least one mbox/],
    [{ decorator: 'not a name' }, /`decorator`/],
    [{ fetchApi: () => {} }, /unknown option `fetchApi`: use `dispatcher`/],
    [{ maximumWaitReady: 1 }, /`ready\(\{ timeout \}\)`/],
    [{ cdnEnvironment: 'x' }, /use `artifactLocation`/],
    [{ cdnBasePath: 'x' }, /use `artifactLocation`/]
  ]
  for (const [option, message] of cases) {
    const app = Fastify()
    const options = { client, organizationId, ...option } as FastifyAdobeTargetOptions
    await t.rejects(async () => await app.register(fastifyAdobeTarget, options), { code: 'FST_TARGET_INVALID_OPTIONS', message }, Object.keys(option)[0]!)
    await app.close()
  }
  const given = Object.freeze({ client, organizationId, timeout: undefined, pool: Object.freeze({ connections: 2 }) })
  const app = Fastify()
  await t.resolves(async () => await app.register(fastifyAdobeTarget, given), 'undefined is absent, and options are not written to')
  await app.close()
})

t.test('`hook` sets the lifecycle hook in which the call starts', async (t) => {
  const edge = await startEdge(t)
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler', false] as const) {
    const seen: [string, boolean][] = []
    const { url } = await startApp(t, edge.host, { hook }, (app) => {
      for (const name of ['preParsing', 'preValidation', 'preHandler'] as const) {
        app.addHook(name, async (request: { target: { timing: { started?: number } } }) => { seen.push([name, request.target.timing.started !== undefined]) })
      }
      app.post('/', { config: { target: ['hero'] } }, async (request) => {
        seen.push(['handler', request.target.timing.started !== undefined])
        return await request.target.content('hero')
      })
    })
    t.match(await (await fetch(url, { method: 'POST' })).text(), HERO)
    const first = { onRequest: 0, preParsing: 0, preValidation: 1, preHandler: 2 }
    t.same(seen.map(([, started]) => started), [0, 1, 2, 3].map((at) => hook !== false && at >= first[hook]), String(hook))
  }
})

t.test('every kind of failure returns the fallback with its reason within the deadline', async (t) => {
  const timeout = 300
  const edge = await startEdge(t)
  const stopped = await startServer(t, () => {})
  const cases: [string, string, string, RegExp][] = [
    ['hang', 'timeout', 'FST_TARGET_TIMEOUT', /300 ms/],
    ['stall-body', 'timeout', 'FST_TARGET_TIMEOUT', /./],
    ['drip', 'timeout', 'FST_TARGET_TIMEOUT', /./],
    ['reset', 'error', 'FST_TARGET_CONNECTION', /./],
    ['reset-mid-body', 'error', 'FST_TARGET_CONNECTION', /./],
    ['bad-json', 'error', 'FST_TARGET_INVALID_RESPONSE', /./],
    ['status-in-body', 'error', 'FST_TARGET_HTTP', /./],
    ['huge-body', 'error', 'FST_TARGET_INVALID_RESPONSE', /./],
    ['status:500', 'error', 'FST_TARGET_HTTP', /500/],
    ['status:400', 'error', 'FST_TARGET_HTTP', /400/]
  ]
  const { url } = await startApp(t, edge.host, { timeout, breaker: false, pool: { maxResponseSize: 200_000 } }, (app) => {
    const Flags = Type.Object({ express: Type.Boolean({ default: false }) })
    app.get('/', { config: { target: ['hero', 'checkout-flags'] } }, async (request) => {
      const held = stopwatch()
      const [offer, content, flags, views, pageLoad] = await Promise.all([
        request.target.offer('hero', 'fallback'), request.target.content('hero', 'fallback'),
        request.target.attributes('checkout-flags', Flags), request.target.views(), request.target.pageLoad('none')
      ])
      const code = await request.target.result().then(() => 'none', (error) => ({ code: error.code, meta: error.meta, same: error === offer.error, message: error.message }))
      return { held: held(), offer, content, flags, views, pageLoad, code }
    })
    app.get('/unread', { config: { target: ['hero'] } }, async () => 'page')
  })
  for (const [kind, reason, code, message] of cases) {
    edge.reset()
    edge.fault(kind as 'hang')
    const response = await fetch(url)
    const page = await json(response)
    t.match(page, {
      offer: { content: 'fallback', source: 'default', reason, options: [], error: { code } },
      content: 'fallback',
      flags: { express: false },
      views: [],
      pageLoad: { reason: 'not-requested' },
      code: { code, same: true, message, meta: { requestId: String, attempts: Number, elapsed: Number, phase: String } }
    }, kind)
    // The deadline's own promise is timeout + 20 ms; the rest is room for what else this process does.
    t.ok(page.held < timeout + 300, `${kind}: held ${page.held} ms`)
    t.match(targetCookieOf(response), { session: String, PC: String }, 'the visitor is the same at the next try')
    const took = stopwatch()
    t.equal(await (await fetch(`${url}/unread`)).text(), 'page')
    t.ok(took() < timeout, `${kind}: a call that nobody reads does not hold the page`)
  }
  const { url: down } = await startApp(t, '127.0.0.1:9', { timeout }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.offer('hero', 'fallback'))
  })
  t.match(await json(await fetch(down)), { content: 'fallback', reason: 'error', error: { code: 'FST_TARGET_CONNECTION' } }, 'the edge is not there')
  t.ok(stopped)
})

t.test('undeclared mboxes of one tick are requested in one more call', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => {
      const later = async (mbox: string) => { await null; await null; return await request.target.content(mbox) }
      const offers = await Promise.all([request.target.content('banner'), request.target.content('hero'), request.target.content('checkout-flags'), later('no-such-mbox')])
      await request.target.content('banner')
      return offers
    })
    app.get('/after', async (request, reply) => {
      reply.send('page')
      await new Promise((resolve) => reply.raw.once('finish', resolve))
      const { reason } = await request.target.offer('hero', 'late')
      reasons.push(reason)
    })
  })
  const reasons: string[] = []
  const offers = await json(await fetch(url))
  t.match(offers, [/banner/, HERO, { express: Boolean }, null])
  t.same(edge.requests.map(({ body }) => (body as TargetResult['request']).execute?.mboxes?.map(({ name }) => name)), [['hero'], ['banner', 'checkout-flags', 'no-such-mbox']])
  const ids = edge.requests.map(({ body, query }) => [query.sessionId, (body as TargetResult['request']).id?.tntId?.split('.')[0], (body as TargetResult['request']).experienceCloud?.analytics?.supplementalDataId])
  t.same(ids[0], ids[1], 'both calls are one visitor on one page')
  edge.reset()
  await (await fetch(`${url}/after`)).text()
  await until(() => reasons.length > 0)
  await sleep(20)
  t.same(reasons, ['not-requested'])
  t.equal(edge.requests.length, 0, 'nothing starts after the response was sent')
})

t.test('start() with hook: false, and to add mboxes', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { hook: false }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => {
      request.target.start().start({ execute: { mboxes: ['hero', 'banner'], pageLoad: {} } })
      t.throws(() => request.target.start({ nothing: 1 } as never), { code: 'FST_TARGET_INVALID_OPTIONS' })
      return [(await request.target.result()).request.execute, (await request.target.pageLoad()).type, await request.target.content('banner')]
    })
    app.get('/idle', { config: { target: ['hero'] } }, async () => 'page')
    app.get('/bare', async (request) => await request.target.start(['hero']).content('hero'))
    app.get('/nothing', async (request) => await request.target.result().catch((error) => error.code))
    app.get('/extra', async (request) => [await request.target.content('hero') !== undefined, await request.target.result().catch((error) => error.code)])
  })
  t.match(await json(await fetch(url)), [{ mboxes: [{ name: 'hero' }] }, 'actions', /banner/])
  t.equal(edge.requests.length, 2, 'what was asked for already is not asked for again')
  await (await fetch(`${url}/idle`)).text()
  t.equal(edge.requests.length, 2)
  t.match(await (await fetch(`${url}/bare`)).text(), HERO)
  t.equal(await (await fetch(`${url}/nothing`)).text(), 'FST_TARGET_INVALID_REQUEST')
  t.same(await json(await fetch(`${url}/extra`)), [true, 'FST_TARGET_INVALID_REQUEST'], 'an extra ask is no request of the page')
})

t.test('maxWait bounds how long an offer delays the handler; result() waits on', async (t) => {
  const edge = await startEdge(t, { latency: 2000 })
  const { url } = await startApp(t, edge.host, { maxWait: 60 }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => {
      const asked = performance.now()
      const offer = await request.target.offer('hero', 'fallback')
      const held = performance.now() - asked
      const { waited } = request.target.timing
      await request.target.result()
      return { offer, held, waited, after: (await request.target.offer('hero')).reason }
    })
    app.get('/route', { config: { target: { execute: { mboxes: ['hero'] }, maxWait: 20 } } }, async (request) => {
      const asked = performance.now()
      await request.target.content('hero')
      return { held: performance.now() - asked }
    })
  })
  const page = await json(await fetch(url))
  t.match(page, { offer: { content: 'fallback', reason: 'max-wait' }, after: 'matched' })
  t.notOk('error' in page.offer)
  t.ok(page.held >= 55 && page.held < 1000, `held ${page.held} ms`)
  t.ok(Math.abs(page.waited - page.held) < 200, 'the time waited is the time held')
  t.ok((await json(await fetch(`${url}/route`))).held < 1000)
})

t.test('timing.waited counts overlapping reads once', async (t) => {
  const edge = await startEdge(t, { latency: 100 })
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => {
      await Promise.all(Array.from({ length: 10 }, () => request.target.content('hero')))
      return request.target.timing
    })
  })
  const { waited, duration } = await json(await fetch(url))
  t.ok(waited > 50 && waited <= duration + 200, `${waited} of ${duration} ms`)
})

t.test('attributes are checked against the schema and completed with defaults', async (t) => {
  const content = { express: true, nested: { limit: 3 }, ['__proto__']: { polluted: true } }
  const host = await startServer(t, (request, response) => {
    request.resume()
    response.setHeader('content-type', 'application/json')
    const offer = (value: unknown) => ({ type: 'json', content: value })
    response.end(JSON.stringify({
      status: 200,
      prefetch: { mboxes: [{ index: 0, name: 'flags', options: [offer({ express: false, from: 'prefetch' })] }] },
      execute: { mboxes: [{ index: 0, name: 'flags', options: [offer(content), { type: 'html', content: '<b>' }] }, { index: 1, name: 'wrong', options: [offer({ express: 'yes' })] }] }
    }).replace('"nested"', '"__proto__":{"polluted":true},"nested"'))
  })
  const Flags = Type.Object({ express: Type.Boolean({ default: false }), limit: Type.Number({ default: 10 }) })
  const { url, logged } = await startApp(t, host, {}, (app) => {
    app.get('/', { config: { target: ['flags', 'wrong', 'none'] } }, async (request) => {
      t.throws(() => request.target.attributes('flags', Type.Object({ express: Type.Boolean() })), { code: 'FST_TARGET_INVALID_OPTIONS', message: /the defaults of the schema do not satisfy it/ })
      const flags = await request.target.attributes('flags', Flags)
      const typed: boolean = flags.express
      const plain = await request.target.attributes('flags', { express: false, limit: 10 })
      return { flags, typed, wrong: await request.target.attributes('wrong', Flags), none: await request.target.attributes('none', Flags), plain }
    })
  })
  const page = await json(await fetch(url))
  t.match(page, {
    flags: { express: true, limit: 10, from: 'prefetch', nested: { limit: 3 } },
    wrong: { express: false, limit: 10 },
    none: { express: false, limit: 10 },
    plain: { express: true, limit: 10 }
  })
  t.equal(({} as { polluted?: boolean }).polluted, undefined)
  t.match(logged.map(({ msg }) => msg), [/does not match its schema/])
})

t.test('page load and views are requested and returned', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: { execute: { pageLoad: {} }, prefetch: { views: [{}] } } } }, async (request) => ({
      pageLoad: await request.target.pageLoad(), views: await request.target.views(), product: await request.target.view('product'), other: await request.target.view('other', 'none')
    }))
    app.get('/none', { config: { target: ['hero'] } }, async (request) => ({ view: await request.target.view('product'), views: await request.target.views() }))
  })
  t.match(await json(await fetch(url)), {
    pageLoad: { type: 'actions', source: 'edge', reason: 'matched' },
    views: [{ view: 'product', type: 'actions', options: [{ eventToken: String }] }],
    product: { view: 'product', reason: 'matched' },
    other: { content: 'none', reason: 'no-offer' }
  })
  t.match(await json(await fetch(`${url}/none`)), { view: { reason: 'not-requested' }, views: [] })
})

t.test('cookies are set with and without @fastify/cookie, on success, error and redirect', async (t) => {
  const edge = await startEdge(t)
  for (const order of ['none', 'before', 'after']) {
    const app = Fastify()
    t.teardown(() => app.close())
    if (order === 'before') await app.register(fastifyCookie)
    await app.register(fastifyAdobeTarget, optionsFor(edge.host, { cookies: { domain: 'shop.example', path: '/shop', secure: true, sameSite: 'None', httpOnly: true, partitioned: true } }))
    if (order === 'after') await app.register(fastifyCookie)
    app.get('/', { config: { target: ['hero'] } }, async (request, reply) => {
      reply.header('set-cookie', 'own=1')
      if (order !== 'none') reply.setCookie('theirs', '2')
      return await request.target.content('hero')
    })
    app.get('/error', { config: { target: ['hero'] } }, async () => { throw new Error('no luck') })
    app.get('/redirect', { config: { target: ['hero'] } }, async (_request, reply) => reply.redirect('/'))
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const response = await fetch(url)
    t.match(await response.text(), HERO)
    const names = response.headers.getSetCookie().map((cookie) => cookie.split('=')[0]).sort()
    t.same(names, order === 'none' ? ['mbox', 'mboxEdgeCluster', 'own'] : ['mbox', 'mboxEdgeCluster', 'own', 'theirs'], order)
    t.match(response.headers.getSetCookie().find((cookie) => cookie.startsWith('mbox=')), /; Path=\/shop; Domain=shop\.example; SameSite=None; HttpOnly; Partitioned; Secure$/)
    for (const path of ['/error', '/redirect']) {
      const other = await fetch(url + path, { redirect: 'manual' })
      t.match(targetCookieOf(other), { session: String, PC: String }, path)
    }
  }
})

t.test('publicly cacheable pages and `cookies: false` set no cookies; https sets Secure', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    app.get('/public', { config: { target: ['hero'] } }, async (_request, reply) => { reply.header('cache-control', 'Public, max-age=60'); return 'page' })
    app.get('/shared', { config: { target: ['hero'] } }, async (_request, reply) => { reply.header('cache-control', 's-maxage=60'); return 'page' })
    app.get('/private', { config: { target: ['hero'] } }, async (_request, reply) => { reply.header('cache-control', 'private'); return 'page' })
  }, { trustProxy: true })
  for (let visit = 0; visit < 3; visit++) {
    t.same((await fetch(`${url}/public`)).headers.getSetCookie(), [])
    t.same((await fetch(`${url}/shared`)).headers.getSetCookie(), [])
  }
  t.same(logged.map(({ route }) => route), ['GET /public', 'GET /shared'], 'logged once, naming the route')
  t.match((await fetch(`${url}/private`, { headers: { 'x-forwarded-proto': 'https' } })).headers.getSetCookie()[0], /; Secure$/)
  const { url: silent, logged: advice } = await startApp(t, edge.host, { cookies: false }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
    app.get('/public', { config: { target: ['hero'] } }, async (request, reply) => {
      reply.header('cache-control', 'public')
      return await request.target.content('hero')
    })
  })
  t.same((await fetch(silent)).headers.getSetCookie(), [])
  t.same((await fetch(`${silent}/public`)).headers.getSetCookie(), [])
  t.match(advice, [{ route: 'GET /public', msg: /publicly cacheable; send/ }], 'said without cookies, too')
  t.equal(advice.length, 1)
})

t.test('two instances in one app share the visitor; a decorator name in use is refused', async (t) => {
  const edge = await startEdge(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, optionsFor(edge.host, { propertyToken: 'first' }))
  await app.register(fastifyAdobeTarget, optionsFor(edge.host, { propertyToken: 'second', decorator: 'campaigns' }))
  app.get('/', { config: { target: ['hero'], campaigns: ['banner'] } as object }, async (request) => {
    const { campaigns } = request as unknown as { campaigns: typeof request.target }
    return [await request.target.content('hero'), await campaigns.content('banner')]
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const response = await fetch(url)
  t.match(await response.json(), [HERO, /banner/])
  t.equal(response.headers.getSetCookie().filter((cookie) => cookie.startsWith('mbox=')).length, 1, 'one set of cookies')
  const [first, second] = edge.requests.map(({ body, query }) => ({ body: body as TargetResult['request'], query }))
  t.same([first!.body.property?.token, second!.body.property?.token].sort(), ['first', 'second'])
  t.equal(first!.query.sessionId, second!.query.sessionId)
  t.equal(first!.body.id?.tntId, second!.body.id?.tntId)
  for (const decorator of ['log', 'body', 'server', 'target']) {
    const other = Fastify()
    if (decorator === 'target') await other.register(fastifyAdobeTarget, optionsFor(edge.host))
    await t.rejects(async () => await other.register(fastifyAdobeTarget, optionsFor(edge.host, { decorator })), { code: 'FST_TARGET_DECORATOR_PRESENT', message: /`decorator` option/ }, decorator)
    await other.close()
  }
})

t.test('results of the app\'s functions are sent to Target; one that throws is ignored', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {
    visitor: async (request) => ({ thirdPartyId: String(request.headers['x-user']), customerIds: { crm: { id: '7', authState: 1 } } }),
    context: () => ({ geo: { countryCode: 'NO' }, timeOffsetInMinutes: 60, userAgent: null }),
    parameters: (request) => ({ ...request.query as object, 'profile.no': 'x', count: 3, list: [1] }),
    profileParameters: async () => ({ tier: 'gold' })
  }, (app) => {
    app.get('/', { config: { target: { execute: { mboxes: [{ name: 'banner', parameters: { own: 'wins' } }], pageLoad: {} } } } }, async (request) => await request.target.content('banner'))
  })
  t.match(await (await fetch(`${url}/?member=gold&own=loses&__proto__=x`, { headers: { 'x-user': 'u1' } })).text(), /gold/)
  const body = edge.requests[0]!.body as TargetResult['request']
  t.same(body.id, { thirdPartyId: 'u1', customerIds: [{ id: '7', integrationCode: 'crm', authenticatedState: 'authenticated' }] })
  t.same(body.context.geo, { ipAddress: '127.0.0.1', countryCode: 'NO' })
  t.notOk('userAgent' in body.context)
  t.same(body.execute?.mboxes?.[0], { name: 'banner', index: 0, parameters: { member: 'gold', own: 'wins', count: '3' }, profileParameters: { tier: 'gold' } })
  t.same(body.execute?.pageLoad?.parameters?.member, 'gold')

  const fail = () => { throw new Error('no luck') }
  const reject = async () => { throw new Error('no luck') }
  const { url: broken, logged } = await startApp(t, edge.host, { visitor: reject, context: fail, parameters: reject, profileParameters: fail }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  })
  for (let visit = 0; visit < 3; visit++) t.match(await (await fetch(broken)).text(), HERO)
  t.equal(logged.length, 4, 'each is logged once')

  const { url: stuck } = await startApp(t, edge.host, { timeout: 100, visitor: () => new Promise(() => {}) }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.offer('hero', 'fallback'))
  })
  t.match(await json(await fetch(stuck)), { content: 'fallback', reason: 'timeout' }, 'one that never answers does not hold the page')
})

t.test('a client that disconnects aborts the call', async (t) => {
  let hostClosed = () => {}
  const closed = new Promise<void>((resolve) => { hostClosed = resolve })
  const host = await startServer(t, (request) => { request.socket.once('close', hostClosed) })
  const reasons: string[] = []
  const { url } = await startApp(t, host, { timeout: 5000 }, (app) => {
    app.post('/', { config: { target: ['hero'] } }, async (request) => { reasons.push((await request.target.offer('hero')).reason); return 'page' })
  })
  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write('POST / HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}')
  await sleep(100)
  t.same(reasons, [], 'a body that was read is not a client that left')
  socket.destroy()
  await closed
  await until(() => reasons.length > 0)
  t.same(reasons, ['aborted'], 'and its connection is gone')
})

t.test('hostile cookies and headers never throw, choose a host or add a header', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    app.get('/*', { config: { target: ['hero'] } }, async (request) => ({ hero: await request.target.content('hero'), context: (await request.target.result()).request.context }))
  })
  const long = 'x'.repeat(7000)
  const hostile = [
    'mbox=%', 'mbox=%E0%A4%A', 'mbox=session#%#9999999999', 'mbox=PC#a%0d%0aset-cookie:%20x=1#9999999999', 'mbox=#|#|##||', 'mbox=session##9999999999',
    `mbox=PC#${long}#9999999999`, 'mbox=PC#__proto__#9999999999|__proto__#x#9999999999', 'mbox=session#a b#9999999999', 'mbox=session#a?x=1/..#9999999999',
    'mboxEdgeCluster=evil.example%2f', 'mboxEdgeCluster=1@evil.example', 'mboxEdgeCluster=12345', 'mboxEdgeCluster=', 'mbox', '=', ';;;', 'mbox=PC#x.evil_0#9999999999',
    `AMCV_${encodeURIComponent(organizationId)}=%E0%A4%A`, `AMCV_${organizationId}=MCMID|${long}`, `AMCV_${organizationId}=__proto__|x|MCMID|1`, `AMCV_${organizationId}=1|MCAAMLH-1|evil|MCAAMB-1|${'b'.repeat(2000)}`
  ]
  for (const cookie of hostile) {
    const response = await fetch(url, { headers: { cookie } })
    t.equal(response.status, 200, cookie.slice(0, 40))
    t.match(await response.json(), { hero: HERO }, 'the offer is there all the same')
    t.same(response.headers.getSetCookie().map((value) => value.split('=')[0]), ['mbox', 'mboxEdgeCluster'])
    t.equal(response.headers.getSetCookie()[1]!.split(';')[0], 'mboxEdgeCluster=35')
  }
  const raw = await new Promise<string>((resolve, reject) => {
    const request = httpRequest(`${url}/${'y'.repeat(6000)}?q=%ff`, { headers: { 'user-agent': 'a"b\\c', 'sec-ch-ua-platform': '"mac\\"OS"', 'sec-ch-ua': '"Chromium";v="1"', 'sec-ch-ua-mobile': '?1', referer: `http://r/${long}` } }, (response) => {
      let text = ''
      response.on('data', (chunk) => { text += chunk })
      response.on('end', () => resolve(text))
    })
    request.on('error', reject).end()
  })
  t.match(JSON.parse(raw), { hero: HERO, context: { userAgent: 'a"b\\c', clientHints: { platform: 'mac"OS', mobile: true, browserUAWithMajorVersion: '"Chromium";v="1"' } } })
  t.same(logged, [])
})

t.test('a CDN\'s geo headers are sent with trustProxy, except values that the edge would refuse', async (t) => {
  const edge = await startEdge(t)
  const routes = (app: { get: Function }) => app.get('/', { config: { target: ['hero'] } }, async (request: { target: { result (): Promise<TargetResult> } }) => (await request.target.result()).request.context.geo)
  const headers = { 'x-forwarded-for': '203.0.113.7', 'cf-ipcountry': 'NO', 'x-geo-region-code': 'too long', 'cloudfront-viewer-city': 'Bergen', 'x-geo-latitude': '60.39', 'cf-iplongitude': 'east' }
  const { url } = await startApp(t, edge.host, {}, routes, { trustProxy: true })
  t.same(await json(await fetch(url, { headers })), { ipAddress: '203.0.113.7', countryCode: 'NO', city: 'Bergen', latitude: 60.39 })
  const { url: direct } = await startApp(t, edge.host, {}, routes)
  t.same(await json(await fetch(direct, { headers })), { ipAddress: '127.0.0.1' })
})

t.test('the body on the wire is the request that result() returns', async (t) => {
  const edge = await startEdge(t)
  const of = (route: TargetRouteConfig) => ({ config: { target: route } })
  const routes = (app: FastifyInstance) => {
    const result = async (request: FastifyRequest) => (await request.target.result()).request
    app.get('/', of(['hero', { name: 'banner', parameters: { note: 'a "b" \\ é 漢 \u2028' } }]), result)
    app.get('/all', of({ execute: { pageLoad: {} }, prefetch: { views: ['cart'], mboxes: ['hero'] } }), result)
    app.get('/fixed', of({ execute: { mboxes: ['hero'] }, context: { channel: 'mobile' }, property: { token: 'p-2' }, experienceCloud: { analytics: { logging: 'client_side' } } }), result)
  }
  const visitors = [
    undefined,
    () => ({ thirdPartyId: 'an "id" \\ of Ærøskøbing \ud83d\ude00 \ud83d', customerIds: { crm: { id: '"7"', authState: 1 as const } } }),
    () => ({ marketingCloudVisitorId: '1'.repeat(38) })
  ]
  const browsers = [
    [],
    ['User-Agent', 'a"b\\c \t~', 'Referer', 'http://r/"\\?q=1'],
    // Headers are bytes: these are read as Latin-1.
    ['User-Agent', Buffer.from('naïve 漢').toString('latin1'), 'Cookie', `mbox=session#s"\\1#9999999999|PC#t"\\1.35_0#9999999999; AMCV_${organizationId}=MCMID|2"2|MCAAMLH-1|6|MCAAMB-1|b"b`],
    ['Sec-CH-UA', '"Chromium";v="1"', 'Sec-CH-UA-Platform', '"mac\\"OS"', 'Sec-CH-UA-Mobile', '?0', 'X-Forwarded-For', '2001:db8::7', 'CF-IPCountry', 'NO', 'CF-IPCity', 'Br"num"', 'X-Geo-Latitude', '-0.5', 'X-Geo-Longitude', '1e2']
  ]
  for (const [index, visitor] of visitors.entries()) {
    const { url } = await startApp(t, edge.host, { ...(visitor !== undefined && { visitor, propertyToken: 'p-1', environmentId: 7 }) }, routes, { trustProxy: index > 0 })
    const { port } = new URL(url)
    for (const headers of browsers) {
      for (const path of ['/?x="\\%22', '/all', '/fixed']) {
        // As sent: an HTTP client would escape the address.
        const told = await new Promise<string>((resolve) => {
          const socket = connect(Number(port), '127.0.0.1', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n${headers.map((text, at) => text + (at % 2 === 0 ? ': ' : '\r\n')).join('')}\r\n`, 'latin1'))
          socket.setEncoding('utf8').on('data', (text) => { answer += text }).on('end', () => resolve(answer.slice(answer.indexOf('\r\n\r\n') + 4)))
          let answer = ''
        })
        t.same(edge.requests.at(-1)?.body, JSON.parse(told), `${path} ${headers.join(' ').slice(0, 40)}`)
      }
    }
  }
})

t.test('a 404 from reply.callNotFound() sets the cookies of the call that the route started', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { serverTiming: true }, (app) => {
    app.get('/gone', { config: { target: ['hero'] } }, (_request, reply) => reply.callNotFound())
    app.setNotFoundHandler(async (request, reply) => reply.code(404).type('text/html').send(await request.target.content('hero', 'nothing')))
    app.options('/', async (request) => await request.target.content('hero', 'nothing'))
  })
  const gone = await fetch(`${url}/gone`)
  t.equal(gone.status, 404)
  t.match(await gone.text(), HERO)
  t.ok(targetCookieOf(gone).session)
  for (const [path, method] of [['/gone', 'GET'], ['/', 'OPTIONS'], ['/nowhere', 'GET']] as const) {
    const response = await fetch(url + path, { method })
    t.match(await response.text(), HERO)
    t.equal(response.headers.get('server-timing')?.match(/target-wait/g)?.length, 1, `${method} ${path} is finished once`)
    t.equal(response.headers.getSetCookie().length, 2)
  }
})

t.test('Server-Timing reports the call when enabled', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { serverTiming: true }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request, reply) => { reply.header('server-timing', 'db;dur=1'); return await request.target.content('hero') })
    app.get('/none', async () => 'page')
  })
  t.match((await fetch(url)).headers.get('server-timing'), /^db;dur=1, target;dur=\d+\.\d;desc="edge", target-wait;dur=\d+\.\d$/)
  t.equal((await fetch(`${url}/none`)).headers.get('server-timing'), null)
})

t.test('after app.close() calls reject with FST_TARGET_CLOSED', async (t) => {
  const edge = await startEdge(t)
  const { app, url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  })
  await (await fetch(url)).text()
  await app.close()
  await t.rejects(app.target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } }), { code: 'FST_TARGET_CLOSED', statusCode: 503 })
  t.type(app.target.health(), 'object')
  t.ok(new errors.FST_TARGET_CLOSED('x') instanceof Error)
})
