import Fastify from 'fastify'
import { connect } from 'node:net'
import { json as readJson } from 'node:stream/consumers'
import t from 'tap'
import type { Notification } from '../../lib/schema/index.ts'
import fastifyAdobeTarget, { createTargetClient } from '../../lib/index.ts'
import { client, cookiesOf, json, optionsFor, organizationId, startApp, startEdge, startServer } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

t.test('displayed() and clicked() count before the response and after it', async (t) => {
  const edge = await startEdge(t, { latency: 50 })
  const { url, app } = await startApp(t, edge.host, {}, (app) => {
    app.get('/prefetch', { config: { target: { prefetch: { mboxes: ['hero', 'banner'], views: [{}], pageLoad: {} } } } }, async (request) => {
      request.target.displayed('hero')
      request.target.displayed({ view: 'product' })
      request.target.displayed('no-such-mbox')
      request.target.displayed('banner')
      await request.target.content('hero')
      request.target.displayed({ pageLoad: true })
      return 'page'
    })
    app.get('/execute', { config: { target: ['hero'] } }, async (request) => {
      request.target.displayed('hero')
      request.target.clicked('hero')
      return await request.target.content('hero')
    })
  })
  const first = await fetch(`${url}/prefetch`)
  const cookie = cookiesOf(first)
  t.equal(edge.notifications.length, 0, 'sent after the response')
  await until(() => edge.notifications.length === 4)
  t.same(edge.notifications.map(({ type, mbox, view, pageLoad }) => [type, mbox?.name ?? view?.name ?? (pageLoad && 'page load')]).sort(), [
    ['display', 'banner'], ['display', 'hero'], ['display', 'page load'], ['display', 'product']
  ])
  for (const { tokens, id, timestamp, mbox, view, pageLoad } of edge.notifications) {
    t.match({ tokens, id, timestamp, state: mbox?.state ?? view?.state ?? pageLoad?.state }, { tokens: [String], id: String, timestamp: Number, state: String })
  }
  t.equal(new Set(edge.notifications.map(({ impressionId }) => impressionId)).size, 1, 'one page, one impression')
  t.equal(edge.impressions(410001), 1)
  const sent = edge.requests.filter(({ body }) => (body as { notifications?: [] }).notifications !== undefined)
  t.match(sent.map(({ query }) => query.sessionId), new Array(sent.length).fill(edge.requests[0]!.query.sessionId), 'as the visitor of the page')

  edge.reset()
  await fetch(`${url}/execute`, { headers: { cookie } })
  await until(() => edge.notifications.length === 1)
  await sleep(30)
  t.same(edge.notifications.map(({ type, mbox }) => [type, mbox?.name]), [['click', 'hero']], 'what was executed is counted already')
  t.equal(edge.impressions(410001), 1)
  await until(() => app.target.health().outbox.pending === 0)
  t.match(app.target.health(), { status: 'ok', outbox: { accepted: 5, pending: 0, sent: 5, failed: 0, dropped: 0 } })
})

t.test('notify() completes missing members and keeps given ones', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', async (request) => {
      request.target.notify([
        { type: 'click', mbox: { name: 'hero' } },
        { type: 'display', mbox: { name: 'banner' }, id: 'my-id', timestamp: 1_700_000_000_000, impressionId: 'my-impression' },
        { type: 'wrong' } as unknown as Notification
      ])
      return request.target.timing
    })
  })
  const response = await fetch(url)
  t.same(await json(response), { waited: 0 })
  t.match(cookiesOf(response), /mbox=session#.*PC#/, 'who clicked is known at the next request')
  await until(() => edge.notifications.length === 2)
  t.match(edge.notifications, [
    { type: 'click', mbox: { name: 'hero' }, id: String, timestamp: Number, impressionId: String },
    { id: 'my-id', timestamp: 1_700_000_000_000, impressionId: 'my-impression' }
  ])
  t.equal(edge.requests.length, 1, 'one call for one visitor and tick')
  t.match(logged.map(({ msg }) => msg), [/1 malformed notification/])
})

t.test('a client that disconnects does not cancel a notification', async (t) => {
  const edge = await startEdge(t, { latency: 150 })
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => {
      request.target.displayed('hero')
      return await request.target.content('hero')
    })
  })
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: shop\r\n\r\n')
  await edge.nextRequest()
  socket.destroy()
  await until(() => edge.notifications.length === 1)
  t.match(edge.notifications, [{ type: 'display', mbox: { name: 'hero' } }])
})

t.test('shutdown: requests in flight get their offers and may notify, keep-alive clients are sent away, the rest is flushed', async (t) => {
  const edge = await startEdge(t, { latency: 100 })
  const app = Fastify()
  await app.register(fastifyAdobeTarget, optionsFor(edge.host))
  app.get('/', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => {
    await sleep(200)
    const hero = await request.target.content('hero', 'fallback')
    request.target.displayed('hero')
    return hero
  })
  app.get('/idle', async () => 'page')
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  await (await fetch(`${url}/idle`)).text()
  const visit = fetch(url)
  await edge.nextRequest()
  const begun = performance.now()
  const closing = app.close()
  const response = await visit
  t.match(await response.text(), /class="hero/)
  t.equal(response.headers.get('connection'), 'close')
  await closing
  t.ok(performance.now() - begun < 5000, 'not held by idle connections')
  t.match(edge.notifications, [{ type: 'display', mbox: { name: 'hero' } }])
  t.match(app.target.health(), { outbox: { accepted: 1, pending: 0, sent: 1 } }, 'also after close()')
})

t.test('events: clientReady, sendNotificationError', async (t) => {
  const edge = await startEdge(t)
  const seen: unknown[] = []
  const target = createTargetClient({
    client,
    organizationId,
    serverDomain: edge.host,
    secure: false,
    events: {
      clientReady: (event) => { seen.push(event); throw new Error('no luck') },
      sendNotificationError: ({ type, notification, error }) => {
        seen.push([type, notification.id, error.code])
        t.equal(notification.request.notifications[0].id, notification.id, 'as in code for the SDK')
        t.notMatch(JSON.stringify(notification), 'request')
      }
    }
  })
  t.teardown(() => target.close())
  await target.ready()
  await until(() => seen.length === 1)
  t.match(seen, [{ type: 'clientReady' }])
  target.notify({ key: 'x', request: { context: { channel: 'web' } }, sessionId: 'session', locationHint: undefined }, [
    { id: 'good', type: 'click', timestamp: 1, mbox: { name: 'hero' } }, { id: 'bad', type: 'click', timestamp: 1, mbox: { name: 'hero' }, tokens: ['forged'] }
  ])
  await until(() => seen.length === 2)
  t.same(seen[1], ['sendNotificationError', 'bad', 'FST_TARGET_HTTP'], 'the one that the edge refuses stands alone')
  t.same(edge.notifications.map(({ id }) => id), ['good'])
})

t.test('beside a full outbox a page call waits for no notification', async (t) => {
  const SLOW = 1000
  let underWay = 0
  let made = 0
  const host = await startServer(t, async (request, response) => {
    const { notifications } = await readJson(request) as { notifications?: unknown[] }
    if (notifications !== undefined) {
      underWay += 1
      await sleep(SLOW)
      underWay -= 1
    }
    response.end(JSON.stringify({ status: 200 }))
  })
  const target = createTargetClient({ client, organizationId, serverDomain: host, secure: false, timeout: SLOW, grace: 0, pool: { connections: 4 }, notifications: { maxQueue: 200, closeTimeout: 0 }, logger: { debug () {}, error () {} } })
  t.teardown(() => target.close())
  const fill = () => { for (let visitor = 0; visitor < 300; visitor++) target.notify({ key: `v${visitor}`, request: { context: { channel: 'web' } }, sessionId: `v${visitor}`, locationHint: undefined }, [{ id: `n${++made}`, impressionId: `n${made}`, type: 'click', timestamp: 1, mbox: { name: 'hero' } }]) }
  fill()
  await until(() => underWay > 0)
  t.ok(target.health().outbox.dropped > 0, 'it is full')
  const took: number[] = []
  for (let pages = 0; pages < 20; pages++) {
    const page = stopwatch()
    await target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } }, timeout: 10 * SLOW })
    took.push(page())
    fill()
  }
  t.ok(underWay > 0 && target.health().outbox.pending > 150, 'it still is')
  t.ok(Math.max(...took) < SLOW / 2, `pages took at most ${Math.max(...took).toFixed(0)} ms`)
})
