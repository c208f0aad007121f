/** Being watched: channels, Server-Timing, and the async context that background work is in. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { channels } from '../../lib/diagnostics.ts'
import { createTargetClient, type FastifyAdobeTargetOptions } from '../../lib/index.ts'
import { client, json, optionsFor, startApp, startEdge, startServer } from '../support/helper.ts'
import { Door } from '../soak/door.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, until } from '../support/wait.ts'

/** The artifact of an edge, with tokens that it knows. */
const artifactOf = async ({ host }: { host: string }): Promise<{ version: string }> => await (await fetch(`http://${host}/${client}/production/v1/rules.json`)).json() as { version: string }

interface Test { teardown (fn: () => void): void }

const silent = { debug () {}, error () {} }
const sender = { key: 'x', request: { context: { channel: 'web' as const } }, sessionId: 'session', locationHint: undefined }
const click = (id: string) => ({ id, type: 'click' as const, timestamp: 1, mbox: { name: 'hero' } })
const hero = { request: { execute: { mboxes: [{ name: 'hero' }] } } }

type Message = Record<string, any>

/** Collects what is published, by public name. */
function listenTo (t: Test, ...names: string[]): Record<string, Message[]> {
  const heard: Record<string, Message[]> = {}
  for (const name of names) {
    const messages: Message[] = heard[name] = []
    const listen = (message: unknown) => { messages.push(message as Message) }
    subscribe(`fastify-adobe-target:${name}`, listen)
    t.teardown(() => { unsubscribe(`fastify-adobe-target:${name}`, listen) })
  }
  return heard
}

const NAMES = ['call:start', 'call:end', 'call:error', 'decision', 'artifact', 'outbox', 'breaker', 'offer', 'page']

t.test('the diagnostics channels have these names', async (t) => {
  t.same(Object.values(channels).map(({ name }) => name), NAMES.map((name) => `fastify-adobe-target:${name}`))
  for (const one of Object.values(channels)) t.equal(one, channel(one.name))
})

t.test('every channel publishes its documented payload', async (t) => {
  const edge = await startEdge(t)
  const artifact = { ...await artifactOf(edge), version: '1.1' }
  const origin = await startServer(t, (_, response) => {
    if (artifact.version === 'broken') response.statusCode = 500
    response.end(JSON.stringify(artifact))
  })
  const target = createTargetClient({
    ...optionsFor(edge.host) as FastifyAdobeTargetOptions,
    timeout: 5000,
    grace: 0,
    decisioningMethod: 'hybrid',
    artifactLocation: `http://${origin}/rules.json`,
    pollingInterval: 0,
    breaker: { failures: 2, cooldown: 100 },
    notifications: { retries: 0, closeTimeout: 100, maxQueue: 2 },
    logger: silent
  })
  t.teardown(() => target.close())
  const heard = listenTo(t, ...NAMES)
  const host = edge.host

  await target.ready({ timeout: 5000 })
  t.strictSame(heard.artifact, [{ state: 'ready', version: '1.1', error: undefined }])
  artifact.version = 'broken'
  const broken = await target.refresh().catch((error) => error)
  t.strictSame(heard.artifact!.at(-1), { state: 'stale', version: '1.1', error: broken })
  artifact.version = '1.2'
  await target.refresh()
  t.match(heard.artifact!.at(-1), { state: 'ready', version: '1.2', error: undefined })

  const decided = await target.getOffers({ request: { ...hero.request, requestId: 'r-1' } })
  t.equal(decided.meta.decisioningMethod, 'on-device')
  t.match(heard.decision, [{ requestId: 'r-1', remoteMboxes: [], remoteViews: [], startedAt: Number, elapsed: Number, artifact: { version: '1.2', mboxes: Map } }])
  t.ok(heard.decision![0]!.elapsed >= 0)
  t.ok(await until(() => heard['call:end']!.length === 1 && heard.outbox!.length === 2))
  t.match(heard.outbox, [{ event: 'accepted', count: 1 }, { event: 'sent', count: 1 }], 'the impression')
  t.match(heard['call:start'], [{ host, kind: 'notification', requestId: String }])
  t.match(heard['call:end'], [{ host, kind: 'notification', status: 200, attempts: 1, elapsed: Number, requestId: heard['call:start']![0]!.requestId }])

  await target.getOffers({ decisioningMethod: 'server-side', request: { ...hero.request, requestId: 'r-2' } })
  t.same(heard['call:start']![1], { host, kind: 'page', requestId: 'r-2' })
  t.match(heard['call:end']![1], { host, kind: 'page', requestId: 'r-2', status: 200, attempts: 1, elapsed: Number })
  t.same(heard['call:error'], [])

  edge.fault('status:500')
  const errors = []
  for (const requestId of ['r-3', 'r-4']) errors.push(await target.getOffers({ decisioningMethod: 'server-side', request: { ...hero.request, requestId } }).catch((error) => error))
  t.match(heard['call:error'], [
    { host, kind: 'page', requestId: 'r-3', error: errors[0], attempts: 1, elapsed: Number },
    { host, kind: 'page', requestId: 'r-4', error: errors[1], attempts: 1, elapsed: Number }
  ])
  t.equal(heard['call:error']![0]!.error, errors[0], 'the very error')
  t.same(heard.breaker, [{ host, state: 'open', kind: 'page' }])
  await sleep(110)
  edge.reset()
  await target.getOffers({ decisioningMethod: 'server-side', request: { ...hero.request } })
  t.same(heard.breaker, ['open', 'half-open', 'closed'].map((state) => ({ host, state, kind: 'page' })))

  edge.fault('status:400')
  target.notify(sender, [click('refused')])
  t.ok(await until(() => heard.outbox!.length === 4))
  t.match(heard.outbox!.slice(2), [{ event: 'accepted', count: 1 }, { event: 'failed', count: 1, error: { code: 'FST_TARGET_HTTP' } }])
  edge.reset()
  edge.fault('hang')
  target.notify(sender, [click('a'), click('b'), click('c')])
  await target.close()
  t.match(heard.outbox!.slice(4), [
    { event: 'accepted', count: 3 }, { event: 'dropped', count: 1, error: { code: 'FST_TARGET_OVERLOAD' } }, { event: 'dropped', count: 2, error: { code: 'FST_TARGET_CLOSED' } }
  ])
  t.match(target.health().outbox, { accepted: 5, pending: 0, sent: 1, failed: 1, dropped: 3 })
})

t.test('without a subscriber no message is built', async (t) => {
  const published: string[] = []
  for (const one of Object.values(channels)) {
    t.equal(one.hasSubscribers, false)
    // An own member, which goes before the prototype's; a channel with subscribers has another prototype.
    Object.defineProperty(one, 'publish', { configurable: true, value: () => { published.push(String(one.name)) } })
    t.teardown(() => { delete (one as { publish?: unknown }).publish })
  }
  const edge = await startEdge(t)
  const artifactPayload = await artifactOf(edge)
  const run = async () => {
    const target = createTargetClient({ ...optionsFor(edge.host) as FastifyAdobeTargetOptions, decisioningMethod: 'on-device', artifactPayload, breaker: { failures: 1 }, logger: silent })
    await target.ready({ timeout: 5000 })
    await target.getOffers(hero)
    await until(() => target.health().outbox.sent > 0)
    edge.fault('status:500', { times: 1 })
    await t.rejects(target.getOffers({ ...hero, decisioningMethod: 'server-side' }))
    await target.close()
  }
  await run()
  t.same(published, [])
  const stop = Object.values(channels).map(({ name }) => {
    const listen = () => {}
    subscribe(name, listen)
    return () => unsubscribe(name, listen)
  })
  await run()
  for (const end of stop) end()
  // Offers and pages are a page's.
  t.same([...new Set(published)].sort(), NAMES.filter((name) => name !== 'offer' && name !== 'page').map((name) => `fastify-adobe-target:${name}`).sort(), 'and each is where somebody does')
})

t.test('Server-Timing names the source of the response', async (t) => {
  const edge = await startEdge(t)
  const { url, app } = await startApp(t, edge.host, { serverTiming: true, artifactPayload: await artifactOf(edge) }, (app) => {
    app.get('/edge', { config: { target: ['hero'] } }, async ({ target }) => {
      await until(() => target.timing.duration !== undefined)
      return await target.content('hero')
    })
    app.get('/waited', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero'))
    app.get('/on-device', { config: { target: { execute: { mboxes: ['hero'] }, decisioningMethod: 'on-device' } } }, async ({ target }) => await target.content('hero'))
    app.get('/default', { config: { target: { execute: { mboxes: ['hero'] }, timeout: 30 } } }, async ({ target }) => await target.content('hero', 'fallback'))
    app.get('/pending', { config: { target: ['hero'] } }, async () => 'page')
    app.get('/none', async () => 'page')
  })
  await fetch(`${url}/on-device`)
  t.ok(await until(() => app.target.health().artifact?.state === 'ready'))
  const timing = async (path: string) => (await fetch(url + path)).headers.get('server-timing')
  t.match(await timing('/edge'), /^target;dur=\d+\.\d;desc="edge", target-wait;dur=0\.\d$/, 'no wait for what was there already')
  t.match(await timing('/on-device'), /^target;dur=\d+\.\d;desc="on-device", target-wait;dur=\d+\.\d$/)
  t.equal(await timing('/none'), null)
  edge.fault('slow:100')
  const [, duration, waited] = /^target;dur=(\d+\.\d);desc="edge", target-wait;dur=(\d+\.\d)$/.exec(await timing('/waited') ?? '')!
  t.ok(Number(duration) >= 99 && Number(waited) >= 99 && Number(waited) <= Number(duration), `${waited} of ${duration} ms`)
  // Far longer than that route waits.
  edge.reset()
  edge.fault('slow:2000')
  t.match(await timing('/default'), /^target;dur=\d+\.\d;desc="default", target-wait;dur=\d+\.\d$/)
  t.match(await timing('/pending'), /^target;desc="pending", target-wait;dur=0\.0$/)
})

t.test('background work runs outside the async context of requests and retains none', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const edge = await startEdge(t)
  const door = await new Door((edge.server.address() as AddressInfo).port).open()
  t.teardown(() => door.shut())
  const requestContext = new AsyncLocalStorage<{ path: string }>()
  const stores: WeakRef<{ path: string }>[] = []
  /** The contexts that things happened in: a request's path, or `none`. */
  const seen: Record<string, Set<string>> = {}
  const saw = (what: string) => { (seen[what] ??= new Set()).add(requestContext.getStore()?.path ?? 'none') }
  const watch = (name: string, what: (message: Message) => string | undefined) => {
    const listen = (message: unknown) => { const text = what(message as Message); if (text !== undefined) saw(text) }
    subscribe(name, listen)
    t.teardown(() => { unsubscribe(name, listen) })
  }
  watch('fastify-adobe-target:call:start', ({ kind }) => `${kind} call`)
  watch('fastify-adobe-target:artifact', () => 'artifact')
  watch('undici:client:connected', () => 'connected')
  watch('fastify-adobe-target:outbox', ({ event }) => event === 'accepted' ? undefined : event)

  let version = 0
  const artifact = await artifactOf(edge)
  const artifacts = await startServer(t, (_, response) => { response.end(JSON.stringify({ ...artifact, version: `1.${++version}` })) })
  const { url, app } = await startApp(t, door.host, {
    timeout: 100,
    grace: 200,
    // After the hook below, which gives each request its context.
    hook: 'preHandler',
    artifactLocation: `http://${artifacts}/rules.json`,
    pollingInterval: 1000,
    pool: { maxAge: 300 },
    breaker: { failures: 5, cooldown: 60_000 },
    events: { artifactDownloadSucceeded: () => saw('download event'), sendNotificationError: () => saw('error event') },
    notifications: { closeTimeout: 0 }
  }, (app) => {
    app.addHook('onRequest', (request, _reply, done) => {
      if (request.url === '/bare') return done()
      const store = { path: request.url }
      stores.push(new WeakRef(store))
      requestContext.run(store, done)
    })
    app.get('/hero', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async ({ target }) => {
      saw('handler')
      target.displayed('hero')
      return await target.content('hero', 'fallback')
    })
    app.get('/bare', async () => 'page')
    // The artifact begins to be loaded by this route's first request at the latest.
    app.get('/on-device', { config: { target: { execute: { mboxes: ['hero'] }, decisioningMethod: 'on-device' } } }, async ({ target }) => await target.content('hero', 'fallback'))
  })
  const visit = async (path: string) => await (await fetch(url + path)).text()
  const isGraceOver = () => Object.values(app.target.health().pool)[0]!.stragglers === 0

  for (const path of ['/hero', '/on-device', '/hero']) await visit(path)
  await sleep(350)
  await visit('/hero')
  t.ok(await until(() => version >= 2 && app.target.health().outbox.pending === 0), 'polled, and sent')
  edge.fault('slow:150')
  await visit('/hero')
  await until(isGraceOver)
  edge.reset()
  edge.fault('hang')
  await visit('/hero')
  t.ok(await until(isGraceOver), 'the grace is over')
  edge.reset()
  await visit('/hero')
  await door.shut()
  // Enough failures to open the breaker, so that notifications wait for long.
  for (let visits = 0; visits < 5; visits++) await visit('/hero')
  await visit('/on-device')
  t.ok(await until(() => app.target.health().status === 'down'))
  t.ok(app.target.health().outbox.pending > 0, 'something waits in the outbox')

  t.same(seen.handler, new Set(['/hero']), 'the test sees contexts')
  t.same(seen['page call'], new Set(['/hero']))
  for (const what of ['notification call', 'artifact', 'connected', 'sent', 'download event']) t.same(seen[what], new Set(['none']), what)

  // What a page held is free while the app, its polling, its outbox and its clients' connections live on.
  const alive = () => stores.filter((store) => store.deref() !== undefined).length
  const total = stores.length
  // Node's server keeps the last request of a connection until its next one.
  for (let visits = 0; visits < 3; visits++) await visit('/bare')
  for (let round = 0; round < 50 && alive() > 0; round++) {
    await sleep(20)
    gc()
  }
  t.ok(total > 10)
  t.equal(alive(), 0, `of ${total} requests' contexts none is held, not ${stores.flatMap((store, index) => store.deref() === undefined ? [] : [`${index} ${store.deref()?.path}`]).join(', ')}`)
  t.ok(app.target.health().outbox.pending > 0)
  await app.close()
  t.same(seen['error event'], new Set(['none']))
  t.same(seen.dropped, new Set(['none']))
})

t.test('nothing is shared between two requests', async (t) => {
  const edge = await startEdge(t)
  const seen = new Set<object>()
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => {
      t.equal(request.target, request.target)
      seen.add(request.target)
      const result = await request.target.result()
      for (const part of [result, result.request, result.response, result.request.context, result.visitorState]) if (part !== undefined) seen.add(part)
      return { count: seen.size }
    })
  })
  const first = (await json(await fetch(url))).count
  t.ok(first >= 4)
  t.equal((await json(await fetch(url))).count, 2 * first)
})
