/** What tracing needs: each page's async context where its calls are made, the tracing channel, and the channels of offers and pages. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t, { type Test as Tap } from 'tap'
import { Agent } from 'undici'
import { calls, channels, type CallMessage, type OfferMessage, type OutboxMessage, type PageMessage } from '../../lib/diagnostics.ts'
import { createTargetClient } from '../../lib/index.ts'
import { client, json, optionsFor, startApp, startEdge, startServer } from '../support/helper.ts'
import { sleep, until } from '../support/wait.ts'

interface Test { teardown (fn: () => void): void }
interface Page { path: string, span: string }

function listen<Message> (t: Test, name: string, hear: (message: Message) => void): void {
  const listener = (message: unknown) => hear(message as Message)
  subscribe(name, listener)
  t.teardown(() => { unsubscribe(name, listener) })
}

/** Each event of the tracing channel, with the message and the page in whose async context it was published. */
function listenToCalls (t: Test, pages?: AsyncLocalStorage<Page>): { event: string, message: CallMessage, page: string | undefined }[] {
  const heard: { event: string, message: CallMessage, page: string | undefined }[] = []
  const on = (event: string) => (message: object) => { heard.push({ event, message: message as CallMessage, page: pages?.getStore()?.path }) }
  const subscribers = { start: on('start'), end: on('end'), asyncStart: on('asyncStart'), asyncEnd: on('asyncEnd'), error: on('error') }
  calls.subscribe(subscribers)
  t.teardown(() => { calls.unsubscribe(subscribers) })
  return heard
}

t.test('a page\'s call is made in the async context of that page', async (t) => {
  const pages = new AsyncLocalStorage<Page>()
  /** By `span` of the page: what happened in its context. */
  const seen = new Map<string, string[]>()
  const lost: string[] = []
  const saw = (what: string, url?: string) => {
    const page = pages.getStore()
    if (page === undefined || (url !== undefined && url !== page.path)) lost.push(`${what} ${url ?? ''}`)
    else seen.set(page.span, [...seen.get(page.span) ?? [], what])
  }
  listen<{ request: { path: string, body: string } }>(t, 'undici:request:create', ({ request: { path, body } }) => {
    if (path.startsWith('/rest/v1/delivery')) saw('undici', new URL(JSON.parse(body).context.address.url).pathname + new URL(JSON.parse(body).context.address.url).search)
  })
  const withContext = (app: import('fastify').FastifyInstance) => {
    let spans = 0
    app.addHook('onRequest', (request, _reply, done) => pages.run({ path: request.url, span: `span-${++spans}` }, done))
    app.addHook('onSend', async (request) => saw('onSend', request.url))
    app.addHook('onResponse', async (request) => saw('onResponse', request.url))
    app.get('/hero', { config: { target: ['hero'] } }, async (request) => {
      const hero = await request.target.content('hero', 'fallback')
      saw('handler', request.url)
      return hero
    })
    app.get('/then', { config: { target: ['hero'] } }, (request, reply) => {
      request.target.content('hero', 'fallback').then((hero) => { saw('handler', request.url); reply.send(hero) })
    })
    app.get('/impatient', { config: { target: { execute: { mboxes: ['hero'] }, maxWait: 5 } } }, async (request) => {
      const { reason } = await request.target.offer('hero')
      saw('handler', request.url)
      return reason
    })
  }
  const all = (url: string, paths: string[]) => Promise.all(paths.map(async (path) => await (await fetch(url + path)).text()))
  const check = (t: Tap, count: number, expected: string[]) => {
    t.strictSame(lost.splice(0), [], 'nothing happened in no context, or in that of another page')
    t.equal(seen.size, count)
    for (const [span, what] of seen) t.strictSame(what, expected, span)
    seen.clear()
  }
  const PAGE = ['undici', 'handler', 'onSend', 'onResponse']
  /** After the hook that gives the page its context. */
  const hook = 'preHandler'

  await t.test('in a queue', async (t) => {
    const edge = await startEdge(t)
    edge.fault('slow:5')
    const { url } = await startApp(t, edge.host, { hook, pool: { connections: 1 } }, withContext)
    const paths = Array.from({ length: 12 }, (_, index) => index % 2 === 0 ? `/hero?n=${index}` : `/then?n=${index}`)
    await all(url, paths)
    check(t, 12, PAGE)
  })

  await t.test('when the wait is over before the call has left the queue', async (t) => {
    const edge = await startEdge(t)
    edge.fault('slow:100')
    const { url } = await startApp(t, edge.host, { hook, pool: { connections: 1 } }, withContext)
    t.strictSame(await all(url, Array.from({ length: 4 }, (_, index) => `/impatient?n=${index}`)), Array(4).fill('max-wait'))
    t.ok(await until(() => [...seen.values()].every((what) => what.includes('undici'))))
    t.strictSame(lost.splice(0), [])
    for (const what of seen.values()) t.strictSame([...what].sort(), [...PAGE].sort())
    seen.clear()
  })

  await t.test('when it is sent once more', async (t) => {
    let requests = 0
    const host = await startServer(t, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
        // A server that closes its connection just as the next request comes.
        if (++requests % 2 === 0) return request.socket.destroy()
        const { execute } = JSON.parse(Buffer.concat(chunks).toString())
        response.end(JSON.stringify({ status: 200, execute: { mboxes: execute.mboxes.map(({ name, index }: { name: string, index: number }) => ({ name, index, options: [{ type: 'html', content: name }] })) } }))
      })
    })
    const { url } = await startApp(t, host, { hook, pool: { connections: 1 } }, withContext)
    t.strictSame(await all(url, ['/hero?n=0']), ['hero'])
    check(t, 1, PAGE)
    t.strictSame(await all(url, ['/hero?n=1']), ['hero'])
    check(t, 1, ['undici', ...PAGE])
  })

  await t.test('when functions of the app were awaited, whatever they are resolved by', async (t) => {
    const edge = await startEdge(t)
    const waiting: (() => void)[] = []
    // Resolved all together, in a context that is none of theirs, as a batching loader or a pooled client does it.
    const timer = setInterval(() => waiting.splice(0).forEach((resolve) => resolve()), 10)
    t.teardown(() => clearInterval(timer))
    const batched = () => new Promise<void>((resolve) => waiting.push(resolve))
    const { url } = await startApp(t, edge.host, {
      hook,
      pool: { connections: 1 },
      enabled: async (request) => { await batched(); saw('enabled', request.url); return true },
      visitor: async (request) => { await batched(); saw('visitor', request.url); return { thirdPartyId: 'u1' } }
    }, withContext)
    await all(url, Array.from({ length: 6 }, (_, index) => `/hero?n=${index}`))
    check(t, 6, ['enabled', 'visitor', ...PAGE])
  })

  await t.test('with a dispatcher of the app\'s own', async (t) => {
    const edge = await startEdge(t)
    const agent = new Agent({ connections: 1 })
    t.teardown(() => agent.close())
    const dispatcher = agent.compose((dispatch) => (options, handler) => { saw('dispatcher'); return dispatch(options, handler) })
    const { url } = await startApp(t, edge.host, { hook, dispatcher }, withContext)
    await all(url, Array.from({ length: 6 }, (_, index) => `/hero?n=${index}`))
    check(t, 6, ['dispatcher', ...PAGE])
  })

  await t.test('of the client without Fastify', async (t) => {
    const edge = await startEdge(t)
    edge.fault('slow:5')
    const target = createTargetClient({ ...optionsFor(edge.host), pool: { connections: 1 } })
    t.teardown(() => target.close())
    await Promise.all(Array.from({ length: 5 }, (_, index) => pages.run({ path: `/${index}`, span: `s-${index}` }, async () => {
      await target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] }, context: { channel: 'web', address: { url: `http://x/${index}` } } } })
      saw('result', `/${index}`)
    })))
    check(t, 5, ['undici', 'result'])
  })
})

t.test('the tracing channel', async (t) => {
  const edge = await startEdge(t)
  const pages = new AsyncLocalStorage<Page>()
  const heard = listenToCalls(t, pages)
  const of = (kind: string) => heard.splice(0).filter(({ message }) => message.kind === kind)
  const options = optionsFor(edge.host, { timeout: 500, grace: 0, breaker: { failures: 100 } })
  const { url, app } = await startApp(t, edge.host, { ...options, hook: 'preHandler' }, (app) => {
    app.addHook('onRequest', (request, _reply, done) => pages.run({ path: request.url, span: request.id }, done))
    app.get('/hero', { config: { target: { execute: { mboxes: ['hero'] }, prefetch: { mboxes: ['flags', 'greeting'] } } } }, async ({ target }) => await target.content('hero', 'fallback'))
  })

  await t.test('has one object per call, filled in on the way', async (t) => {
    await (await fetch(`${url}/hero`)).text()
    const events = of('page')
    t.strictSame(events.map(({ event }) => event), ['start', 'end', 'asyncStart', 'asyncEnd'])
    t.equal(new Set(events.map(({ message }) => message)).size, 1, 'one object')
    t.strictSame([...new Set(events.map(({ page }) => page))], ['/hero'], 'published in the page\'s context')
    const { message } = events[0]!
    const recorded = edge.requests.at(-1)
    t.match(message, {
      kind: 'page', host: edge.host, method: 'POST', path: '/rest/v1/delivery', timeout: 500, decisioningMethod: 'server-side', mboxes: 3, attempts: 1, phase: 'answer', status: 200, reused: true
    })
    t.equal(message.requestId, recorded!.body.requestId)
    t.strictSame(JSON.parse(JSON.stringify(message.request)), recorded!.body, 'the request by reference')
    t.match(message.response, { execute: { mboxes: [{ name: 'hero' }] } })
    const { queued, connected, firstByte, elapsed } = message as Required<CallMessage>
    t.ok(queued >= 0 && queued <= connected && connected <= firstByte && firstByte <= elapsed && elapsed < 500, `${queued} ${connected} ${firstByte} ${elapsed}`)
    t.equal(message.error, undefined)
    await (await fetch(`${url}/hero`)).text()
    t.match(of('page')[0]!.message, { reused: true })
  })

  await t.test('reports a call that fails, and where', async (t) => {
    edge.fault('status:503', { times: 1 })
    await (await fetch(`${url}/hero`)).text()
    const events = of('page')
    t.strictSame(events.map(({ event }) => event), ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
    t.match(events[0]!.message, { status: 503, phase: 'answer', attempts: 1, error: { code: 'FST_TARGET_HTTP' }, response: undefined })
    edge.fault('hang', { times: 1 })
    await (await fetch(`${url}/hero`)).text()
    const [hung] = of('page')
    t.match(hung!.message, { status: undefined, phase: 'headers', firstByte: undefined, error: { code: 'FST_TARGET_TIMEOUT' } })
    t.ok(hung!.message.elapsed! >= 499)
    edge.reset()
  })

  await t.test('reports a call that is never sent', async (t) => {
    const target = createTargetClient({ ...options, breaker: { failures: 1 } })
    t.teardown(() => target.close())
    edge.fault('status:500', { times: 1 })
    const ask = { request: { execute: { mboxes: [{ name: 'hero' }] } } }
    await t.rejects(target.getOffers(ask))
    of('page')
    await t.rejects(target.getOffers(ask), { code: 'FST_TARGET_BREAKER_OPEN' })
    const events = of('page')
    t.strictSame(events.map(({ event }) => event), ['start', 'error', 'asyncStart', 'asyncEnd', 'end'], 'it ended before the call returned')
    t.match(events[0]!.message, { attempts: 0, phase: 'queue', queued: undefined, error: { code: 'FST_TARGET_BREAKER_OPEN' } })
  })

  await t.test('stores bound to its start are in force while a call waits, is sent and ends', async (t) => {
    const spans = new AsyncLocalStorage<CallMessage>()
    calls.start.bindStore(spans, (message) => message as CallMessage)
    t.teardown(() => { calls.start.unbindStore(spans) })
    edge.fault('slow:5')
    const target = createTargetClient({ ...options, pool: { connections: 1 } })
    t.teardown(() => target.close())
    const created: [string | undefined, string][] = []
    listen<{ request: { path: string, body: string } }>(t, 'undici:request:create', ({ request }) => {
      created.push([spans.getStore()?.requestId, JSON.parse(request.body).requestId])
    })
    await Promise.all(Array.from({ length: 4 }, (_, index) => target.getOffers({ request: { requestId: `r-${index}`, execute: { mboxes: [{ name: 'hero' }] } } })))
    t.strictSame(created.map(([store]) => store), ['r-0', 'r-1', 'r-2', 'r-3'])
    t.ok(created.every(([store, sent]) => store === sent))
    const waited = of('page').filter(({ event }) => event === 'start').map(({ message }) => message.queued!)
    t.ok(waited[3]! >= 12 && waited[0]! < waited[3]!, `queued for ${waited.join(', ')} ms`)
    edge.reset()
  })

  await t.test('notifications belong to no page, and are linked to theirs', async (t) => {
    const outbox: [OutboxMessage, string | undefined][] = []
    listen<OutboxMessage>(t, 'fastify-adobe-target:outbox', (message) => {
      outbox.push([message, pages.getStore()?.path])
      if (message.event === 'accepted') message.link = { span: pages.getStore()?.span }
    })
    const before = app.target.health().outbox.sent
    await Promise.all(['a', 'b'].map((id) => pages.run({ path: `/${id}`, span: `span-${id}` }, async () => {
      app.target.notify({ key: 'one visitor', request: { context: { channel: 'web' } }, sessionId: 's', locationHint: undefined }, [
        { id: `${id}1`, type: 'click', timestamp: 1, mbox: { name: 'hero' } }, { id: `${id}2`, type: 'click', timestamp: 1, mbox: { name: 'hero' } }
      ])
    })))
    t.ok(await until(() => app.target.health().outbox.sent === before + 4))
    const events = of('notification')
    t.strictSame([...new Set(events.map(({ page }) => page))], [undefined])
    t.match(events[0]!.message, { kind: 'notification', notifications: ['a1', 'a2', 'b1', 'b2'], status: 200 })
    t.strictSame(events[0]!.message.links, [{ span: 'span-a' }, { span: 'span-b' }], 'each page once')
    t.strictSame(outbox.map(([{ event, count, ids }, page]) => [event, count, ids, page]), [
      ['accepted', 2, ['a1', 'a2'], '/a'], ['accepted', 2, ['b1', 'b2'], '/b'], ['sent', 4, ['a1', 'a2', 'b1', 'b2'], undefined]
    ])
  })

  await t.test('downloads', async (t) => {
    const target = createTargetClient({ ...options, decisioningMethod: 'on-device', artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json` })
    t.teardown(() => target.close())
    await pages.run({ path: '/first', span: 's' }, async () => await target.ready({ timeout: 5000 }))
    const events = of('artifact')
    t.match(events[0]!.message, { kind: 'artifact', method: 'GET', path: `/${client}/production/v1/rules.json`, status: 200, requestId: undefined })
    t.strictSame(events.map(({ event }) => event), ['start', 'end', 'asyncStart', 'asyncEnd'])
    t.strictSame(events.map(({ page }) => page), Array(4).fill(undefined))
  })
})

t.test('what pages got', async (t) => {
  const edge = await startEdge(t)
  const pages = new AsyncLocalStorage<Page>()
  const offers: [OfferMessage, string | undefined][] = []
  const ended: [PageMessage, string | undefined][] = []
  listen<OfferMessage>(t, 'fastify-adobe-target:offer', (message) => { offers.push([message, pages.getStore()?.path]) })
  listen<PageMessage>(t, 'fastify-adobe-target:page', (message) => { ended.push([message, pages.getStore()?.path]) })
  const { url } = await startApp(t, edge.host, { hook: 'preHandler', timeout: 5000, grace: 0 }, (app) => {
    app.addHook('onRequest', (request, _reply, done) => pages.run({ path: request.url, span: request.id }, done))
    app.get('/shop/:item', { config: { target: { execute: { mboxes: ['hero'], pageLoad: {} }, prefetch: { mboxes: ['flags'], views: [{}] } } } }, async ({ target }) => {
      await Promise.all([target.content('hero'), target.offer('nowhere'), target.pageLoad(), target.view('none')])
      target.notify({ type: 'click', mbox: { name: 'flags' } })
      await target.attributes('flags', { a: 1 })
      return { waited: target.timing.waited }
    })
    app.get('/impatient', { config: { target: { execute: { mboxes: ['hero'] }, maxWait: 5 } } }, async ({ target }) => await target.content('hero', 'fallback'))
    app.get('/plain', async () => 'page')
    app.get('/unasked', { config: { target: ['hero'] } }, async () => 'page')
  })
  const visit = async (path: string) => {
    offers.length = ended.length = 0
    const response = await fetch(url + path)
    const body = await response.text()
    return { response, body }
  }

  await t.test('each offer once for each time it was asked for', async (t) => {
    await visit('/shop/1')
    t.ok(await until(() => ended.length === 1))
    t.strictSame([...new Set(offers.map(([, page]) => page))], ['/shop/1'])
    const [hero, pageLoad, view, nowhere, flags] = ['hero', undefined, undefined, 'nowhere', 'flags'].map((mbox, index) =>
      offers.map(([message]) => message).find((message) => mbox !== undefined ? message.mbox === mbox : index === 1 ? message.pageLoad : message.view !== undefined))
    t.equal(offers.length, 5)
    const first = edge.requests[0]
    t.match(hero, { reason: 'matched', source: 'edge', type: 'html', activity: { id: String }, experience: { id: String }, waited: Number, requestId: first!.body.requestId, request: { url: '/shop/1' } })
    t.ok(hero!.waited > 0)
    t.match(nowhere, { reason: 'no-offer', source: 'default', type: undefined, activity: undefined, experience: undefined })
    t.not(nowhere!.requestId, hero!.requestId, 'it was a call of its own')
    t.match(view, { view: 'none', reason: 'no-offer' })
    t.match(pageLoad, { pageLoad: true, requestId: first!.body.requestId })
    t.match(flags, { waited: Number })
    t.ok(flags!.waited < hero!.waited, 'it was there')
  })

  await t.test('the page as a whole', async (t) => {
    const { body } = await visit('/shop/2')
    t.ok(await until(() => ended.length === 1))
    const [[message, page]] = ended as [[PageMessage, string]]
    t.equal(page, '/shop/2')
    t.match(message, { route: '/shop/:item', statusCode: 200, request: { url: '/shop/2' }, timing: { started: Number, duration: Number, waited: JSON.parse(body).waited } })
    t.strictSame(message.offers, offers.map(([offer]) => offer))
    t.match(message.calls, [{ source: 'edge', duration: Number, mboxes: ['hero', 'flags'], requestId: String }, { source: 'edge', mboxes: ['nowhere'] }])
    const asked = message.offers.map(({ asked, waited }) => asked + waited)
    t.ok(message.arrivedAt < performance.now() && message.calls[0]!.started >= 0 && Math.max(...asked) < message.elapsed, 'all times count from the arrival')
    t.ok(message.offers[0]!.asked >= message.calls[0]!.started, 'the call had started when the handler asked')
    t.strictSame(message.cookies, ['mbox', 'mboxEdgeCluster'])
    t.equal(message.notifications.length, 1)
    t.ok(await until(() => edge.notifications.some(({ id }) => id === message.notifications[0])))
  })

  await t.test('a page that did not wait, and one whose call failed', async (t) => {
    edge.fault('slow:500')
    await visit('/impatient')
    t.ok(await until(() => ended.length === 1))
    t.match(offers[0]![0], { mbox: 'hero', reason: 'max-wait', requestId: String })
    t.ok(offers[0]![0].waited >= 4)
    t.match(ended[0]![0].calls, [{ requestId: offers[0]![0].requestId, source: undefined, duration: undefined }])
    edge.reset()
    edge.fault('status:500', { times: 1 })
    await visit('/shop/3')
    t.ok(await until(() => ended.length === 1))
    t.match(offers[0]![0], { reason: 'error', error: { code: 'FST_TARGET_HTTP' } })
    t.match(ended[0]![0].calls[0], { error: { code: 'FST_TARGET_HTTP' }, source: undefined })
  })

  await t.test('not of pages without Target; also where nothing was read', async (t) => {
    await visit('/plain')
    await sleep(30)
    t.strictSame([offers, ended], [[], []])
    await visit('/unasked')
    t.ok(await until(() => ended.length === 1))
    t.match(ended[0]![0], { route: '/unasked', offers: [], calls: [{ mboxes: ['hero'] }] })
  })

  await t.test('a page whose client left', async (t) => {
    edge.fault('hang')
    const controller = new AbortController()
    offers.length = ended.length = 0
    const left = fetch(`${url}/shop/4`, { signal: controller.signal }).catch(() => {})
    await until(() => edge.requests.some(({ body }) => body.context.address.url.endsWith('/shop/4')))
    controller.abort()
    await left
    t.ok(await until(() => ended.length === 1))
    t.match(ended[0]![0], { route: '/shop/:item', cookies: [] })
    edge.reset()
  })
})

t.test('nothing is made for pages without subscribers', async (t) => {
  t.equal(calls.hasSubscribers, false)
  t.equal(channels.offer.hasSubscribers || channels.page.hasSubscribers, false)
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request, reply) => {
      await request.target.content('hero')
      return { finish: reply.raw.listenerCount('finish'), close: reply.raw.listenerCount('close') }
    })
  })
  const without = await json(await fetch(url))
  listen(t, 'fastify-adobe-target:page', () => {})
  const watched = await json(await fetch(url))
  t.strictSame(watched, { finish: without.finish + 1, close: without.close + 1 }, 'the listeners of the report')
})
