/** `health()` and its route: what a monitor is told, and the warnings for people. */
import t from 'tap'
import { createTargetClient, type FastifyAdobeTargetOptions } from '../../lib/index.ts'
import { client, cookiesOf, json, optionsFor, startApp, startEdge, startServer } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, until } from '../support/wait.ts'

/** The artifact of an edge, with tokens that it knows. */
const artifactOf = async ({ host }: { host: string }): Promise<{ version: string }> => await (await fetch(`http://${host}/${client}/production/v1/rules.json`)).json() as { version: string }

const silent = { debug () {}, error () {} }

const sender = { key: 'x', request: { context: { channel: 'web' as const } }, sessionId: 'session', locationHint: undefined }

const click = (id: string) => ({ id, type: 'click' as const, timestamp: 1, mbox: { name: 'hero' } })

const hero = { request: { execute: { mboxes: [{ name: 'hero' }] } } }

t.test('health()', async (t) => {
  const edge = await startEdge(t)
  const origin = { status: 500 }
  const artifact = { ...await artifactOf(edge), version: '1.7' }
  const artifacts = await startServer(t, (_, response) => {
    response.statusCode = origin.status
    response.end(JSON.stringify(artifact))
  })
  const make = (options: Partial<FastifyAdobeTargetOptions>) => {
    const target = createTargetClient({ ...optionsFor(edge.host) as FastifyAdobeTargetOptions, breaker: { failures: 2, cooldown: 80 }, logger: silent, ...options })
    t.teardown(() => target.close())
    return target
  }

  await t.test('is ok at start and lists only parts in use', async (t) => {
    const target = make({})
    const outbox = { accepted: 0, recovered: 0, pending: 0, sent: 0, failed: 0, dropped: 0, bytes: 0, concurrency: 8, growing: false, durable: false }
    t.strictSame(target.health(), { status: 'ok', breaker: {}, outbox, pool: {}, warnings: [] })
    await target.getOffers(hero)
    t.strictSame(target.health(), {
      status: 'ok',
      breaker: { [edge.host]: { state: 'closed', calls: 1, failures: 0, retryIn: 0 } },
      outbox,
      pool: { [edge.host]: { running: 0, waiting: 0, stragglers: 0, sockets: 1 } },
      warnings: []
    })
    t.strictSame(JSON.parse(JSON.stringify(target.health())), target.health(), 'a plain object')
    await target.close()
    t.match(target.health(), { status: 'ok', pool: { [edge.host]: { sockets: 0 } } })
  })

  await t.test('is down with an open breaker, degraded while it probes, then ok again', async (t) => {
    const target = make({})
    edge.fault('status:500')
    for (let call = 0; call < 2; call++) await t.rejects(target.getOffers(hero))
    const open = target.health()
    t.match(open, { status: 'down', breaker: { [edge.host]: { state: 'open', calls: 2, failures: 2, retryIn: Number } } })
    t.ok(open.breaker[edge.host]!.retryIn > 0 && open.breaker[edge.host]!.retryIn <= 80)
    await sleep(90)
    t.match(target.health(), { status: 'degraded', breaker: { [edge.host]: { state: 'half-open', retryIn: 0 } } }, 'a call would probe')
    edge.reset()
    await target.getOffers(hero)
    t.match(target.health(), { status: 'ok', breaker: { [edge.host]: { state: 'closed' } } })
  })

  await t.test('is down with an open breaker although artifacts come from another host, and after close()', async (t) => {
    origin.status = 200
    const target = make({ decisioningMethod: 'hybrid', artifactLocation: `http://${artifacts}/rules.json`, breaker: { failures: 1, cooldown: 10_000 } })
    await target.ready({ timeout: 5000 })
    edge.fault('status:500', { times: 1 })
    await t.rejects(target.getOffers({ ...hero, decisioningMethod: 'server-side' }))
    t.match(target.health(), { status: 'down', pool: { [artifacts]: Object, [edge.host]: Object } })
    t.same(Object.keys(target.health().breaker), [edge.host], 'nothing asks a breaker before it gets an artifact')
    await target.close()
    t.equal(target.health().status, 'down')
    origin.status = 500
  })

  await t.test('on-device, is down without an artifact and degraded with a stale one', async (t) => {
    const target = make({ decisioningMethod: 'on-device', artifactLocation: `http://${artifacts}/rules.json` })
    t.match(target.health(), { status: 'down', artifact: { state: 'loading', version: undefined } })
    t.ok(await until(() => target.health().artifact?.state === 'failed'))
    t.match(target.health(), { status: 'down', artifact: { state: 'failed', error: /500/ } })
    origin.status = 200
    await target.refresh()
    t.match(target.health(), { status: 'ok', artifact: { state: 'ready', version: '1.7', age: Number, error: undefined } })
    origin.status = 500
    await t.rejects(target.refresh(), { code: 'FST_TARGET_ARTIFACT' })
    t.match(target.health(), { status: 'degraded', artifact: { state: 'stale', version: '1.7', error: /500/ } })
    await target.close()
    t.match(target.health(), { status: 'degraded', artifact: { state: 'stale', version: '1.7' } })
  })

  await t.test('hybrid, is degraded without an artifact, since the edge decides', async (t) => {
    const target = make({ decisioningMethod: 'hybrid', artifactLocation: `http://${artifacts}/rules.json` })
    t.ok(await until(() => target.health().artifact?.state === 'failed'))
    t.equal(target.health().status, 'degraded')
  })

  await t.test('is degraded when the outbox is nearly full or dropped something', async (t) => {
    const target = make({ notifications: { maxQueue: 10, closeTimeout: 0 } })
    edge.fault('hang')
    target.notify(sender, Array.from({ length: 8 }, (_, index) => click(`n${index}`)))
    t.match(target.health(), { status: 'ok', outbox: { pending: 8 } })
    target.notify(sender, [click('ninth')])
    t.match(target.health(), { status: 'degraded', outbox: { pending: 9 } }, 'above 80 %')
    target.notify(sender, [click('tenth'), click('eleventh')])
    t.match(target.health(), { status: 'degraded', outbox: { accepted: 11, pending: 10, dropped: 1 } })
    await target.close()
    t.match(target.health(), { status: 'degraded', outbox: { accepted: 11, pending: 0, dropped: 11 } }, 'dropped in the last minute')
    edge.reset()
  })
})

t.test('the healthRoute option', async (t) => {
  const edge = await startEdge(t)
  await t.test('answers as health() does, and 503 when down', async (t) => {
    const { app, url } = await startApp(t, edge.host, { healthRoute: true, global: true, request: ['hero'], breaker: { failures: 1, cooldown: 10_000 } }, (app) => {
      app.get('/', async ({ target }) => await target.content('hero', 'fallback'))
      app.addHook('onSend', async (_request, reply) => { reply.header('x-hook', 'of the app') })
    })
    const up = await fetch(`${url}/target/health`)
    t.equal(up.status, 200)
    t.match(up.headers.get('content-type'), /^application\/json/)
    t.equal(up.headers.get('cache-control'), 'no-store')
    t.strictSame(await json(up), JSON.parse(JSON.stringify(app.target.health())))
    t.equal((await fetch(`${url}/target/health`, { method: 'HEAD' })).status, 200)
    t.strictSame(edge.requests, [], 'it asks nobody, `global` or not')
    t.equal(up.headers.get('set-cookie'), null)
    edge.fault('status:500', { times: 1 })
    await fetch(url)
    const down = await fetch(`${url}/target/health`)
    t.equal(down.status, 503)
    t.match(await json(down), { status: 'down', breaker: { [edge.host]: { state: 'open' } } })
  })

  await t.test('by another path, in the scope of the plugin; none by default', async (t) => {
    const { url } = await startApp(t, edge.host, { healthRoute: { path: '/internal/target', schema: { hide: false } }, decorator: 'offers' }, () => {})
    t.match(await json(await fetch(`${url}/internal/target`)), { status: 'ok', warnings: [] })
    t.equal((await fetch(`${url}/target/health`)).status, 404)
    for (const healthRoute of ['health', '/a:b', 1]) {
      await t.rejects(startApp(t, edge.host, { healthRoute: healthRoute as string }, () => {}), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`healthRoute` must be true, false, a path that begins with \/ or an object/ })
    }
  })
})

t.test('health().warnings', async (t) => {
  const edge = await startEdge(t)
  const warningsOf = (app: { target: { health (): { warnings: string[] } } }) => app.target.health().warnings

  await t.test('trustProxy is off behind a proxy', async (t) => {
    const start = async (trustProxy: boolean) => await startApp(t, edge.host, {}, (app) => {
      app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero', ''))
    }, { trustProxy })
    const visit = async (url: string, headers: Record<string, string>) => await (await fetch(url, { headers })).text()
    const proxied = { 'x-forwarded-for': '203.0.113.9' }
    const off = await start(false)
    for (let page = 0; page < 3; page++) await visit(off.url, {})
    await visit(off.url, proxied)
    t.strictSame(warningsOf(off.app), [], 'one visitor who sends the header does not make a proxy')
    for (let page = 0; page < 2; page++) await visit(off.url, proxied)
    t.match(warningsOf(off.app), [/^requests have X-Forwarded-For, but `trustProxy` is off/])
    t.equal(off.app.target.health().status, 'ok', 'it is a warning')
    const on = await start(true)
    await visit(on.url, proxied)
    t.strictSame(warningsOf(on.app), [])
  })

  await t.test('cookies never come back', async (t) => {
    const { app, url } = await startApp(t, edge.host, {}, (app) => {
      app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero', ''))
      app.get('/plain', async () => '')
    })
    for (let page = 0; page < 19; page++) await (await fetch(url)).text()
    for (let page = 0; page < 5; page++) await (await fetch(`${url}/plain`)).text()
    t.strictSame(warningsOf(app), [])
    const response = await fetch(url)
    t.match(warningsOf(app), [/^the last 20 pages that set the visitor's cookies had been requested without them/])
    await fetch(url, { headers: { cookie: cookiesOf(response) } })
    t.strictSame(warningsOf(app), [], 'they do')
    for (let page = 0; page < 20; page++) await (await fetch(url)).text()
    t.strictSame(warningsOf(app), [], 'twenty new visitors in a row are nothing special from now on')
  })

  await t.test('an mbox that its route does not declare', async (t) => {
    const { app, url, logged } = await startApp(t, edge.host, {}, (app) => {
      app.get('/late', { config: { target: ['hero'] } }, async ({ target }) => await Promise.all([target.content('hero'), target.content('footer'), target.content('banner')]))
      app.get('/dynamic', async (request) => await request.target.content((request.query as { mbox: string }).mbox, ''))
    })
    for (let page = 0; page < 2; page++) await (await fetch(`${url}/late`)).text()
    t.strictSame(warningsOf(app), ['footer', 'banner'].map((mbox) => `mbox '${mbox}' is not in config.target of GET /late, so its call starts only when the handler reads it; add it to config.target of the route`), 'each once')
    t.equal(logged.length, 1, 'the log has one line for a route')
    for (let page = 0; page < 30; page++) await (await fetch(`${url}/dynamic?mbox=m${page}`)).text()
    t.equal(warningsOf(app).filter((text) => text.startsWith('mbox ')).length, 20, 'a bounded number')
  })

  await t.test('an mbox that is in no activity of the artifact', async (t) => {
    const artifact = await artifactOf(edge) as { version: string, localMboxes: string[] }
    const artifacts = await startServer(t, (_, response) => { response.end(JSON.stringify(artifact)) })
    for (const decisioningMethod of ['on-device', 'hybrid'] as const) {
      const target = createTargetClient({ ...optionsFor(edge.host), decisioningMethod, artifactLocation: `http://${artifacts}/rules.json` })
      t.teardown(() => target.close())
      await target.ready({ timeout: 5000 })
      await target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } })
      t.strictSame(target.health().warnings, [])
      for (let call = 0; call < 2; call++) await target.getOffers({ request: { execute: { mboxes: [{ name: 'heroo' }] } } })
      t.match(target.health().warnings, [/^no activity of rule artifact 1\.\d+(\.\d+)? uses mbox 'heroo';/], decisioningMethod)
      t.equal(target.health().warnings.length, 1)
      artifact.localMboxes = [...artifact.localMboxes, 'heroo']
      artifact.version = '1.99'
      await target.refresh()
      t.strictSame(target.health().warnings, [], 'another artifact has it')
      artifact.localMboxes = artifact.localMboxes.filter((name) => name !== 'heroo')
    }
  })
})
