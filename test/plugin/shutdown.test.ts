/** The end of a process, and an edge that goes away and comes back, at full size: behaviour §7, goals 5 and 6. */
import { Agent, get as getPage } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { Agent as Browser, request } from 'undici'
import { Breaker } from '../../lib/delivery/breaker.ts'
import { channels } from '../../lib/diagnostics.ts'
import { createTargetClient, type TargetClient } from '../../lib/index.ts'
import { FULL } from '../support/full.ts'
import { client, organizationId, startApp, startEdge } from '../support/helper.ts'
import { endChild, nextWord, startChild } from '../soak/child.ts'
import { Door } from '../soak/door.ts'
import { createFailingEdge } from '../soak/failing-edge.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

const sender = (key: string) => ({ key, request: { context: { channel: 'web' as const } }, sessionId: key, locationHint: undefined })
const click = (id: string) => ({ id, impressionId: id, type: 'click' as const, timestamp: 1, mbox: { name: 'hero' } })

/** Looks at the account at every change and now and then; gives the times it did not balance. */
function watchBalance (t: { teardown (fn: () => void): void }, target: TargetClient): { looks: number, wrong: number } {
  const balance = { looks: 0, wrong: 0 }
  const look = () => {
    const { accepted, pending, sent, failed, dropped } = target.health().outbox
    balance.looks += 1
    if (accepted !== pending + sent + failed + dropped || pending < 0) balance.wrong += 1
  }
  const timer = setInterval(look, 5)
  channels.outbox.subscribe(look)
  t.teardown(() => { clearInterval(timer); channels.outbox.unsubscribe(look) })
  return balance
}

/** With an outage of 5 s in `npm run test:full`, of one second otherwise. */
const [VISITORS, OUTAGE] = FULL ? [2000, 5000] : [500, 1000]
const COUNT = 5 * VISITORS

t.test(`${COUNT} notifications of ${VISITORS} visitors, an edge that fails 30 %, is down for ${OUTAGE} ms, and a shutdown in the middle`, async (t) => {
  let share = 0
  const edge = createFailingEdge({ client, organizationId }, () => share)
  t.teardown(() => edge.close())
  await edge.listen({ port: 0, host: '127.0.0.1' })
  const door = await new Door((edge.server.address() as AddressInfo).port).open()
  t.teardown(() => door.shut())

  let tokens: string[] = []
  let made = 0
  // Of thousands of calls, each of which fails three times in ten, one in some hundred runs would fail eleven times in a row.
  const { app, url } = await startApp(t, door.host, { timeout: 250, notifications: { closeTimeout: 30_000, retries: 20 } }, (app) => {
    app.get('/', async ({ target }) => {
      // Each with an impression of its own, so that the edge's count tells whether one was counted twice.
      const five = Array.from({ length: 5 }, () => ({ type: 'display' as const, mbox: { name: 'hero' }, tokens, id: `id-${++made}`, impressionId: `impression-${made}` }))
      target.notify(five)
      return 'page'
    })
  })
  const { response } = await app.target.getOffers({ request: { prefetch: { mboxes: [{ name: 'hero' }] } }, timeout: 5000 })
  tokens = [response.prefetch!.mboxes![0]!.options![0]!.eventToken!]
  edge.reset()
  const balance = watchBalance(t, app.target)

  share = 0.3
  const browser = new Browser({ connections: 20 })
  t.teardown(() => browser.destroy())
  await Promise.all(Array.from({ length: VISITORS }, async () => {
    const { statusCode, body } = await request(url, { dispatcher: browser })
    await body.text()
    if (statusCode !== 200) t.fail(`a page with ${statusCode}`)
  }))
  t.equal(app.target.health().outbox.accepted, COUNT)
  const delivered = app.target.health().outbox.sent
  t.ok(delivered < COUNT, `${delivered} were sent already`)
  await door.shut()
  const down = sleep(OUTAGE).then(() => door.open())
  await sleep(OUTAGE / 5)
  t.ok(app.target.health().outbox.pending > 0, 'in the middle')
  await app.close()
  await down

  t.match(app.target.health().outbox, { accepted: COUNT, pending: 0, sent: COUNT, failed: 0, dropped: 0 })
  t.equal(new Set(edge.notifications.map(({ id }) => id)).size, COUNT, 'all delivered')
  t.equal(edge.impressions(), COUNT, 'each counted once')
  t.ok(edge.notifications.length >= COUNT, `${edge.notifications.length - COUNT} were repeated`)
  t.equal(balance.wrong, 0, `balanced ${balance.looks} times`)
})

t.test('a breaker that opens just before the shutdown loses nothing: cooldown and closeTimeout are equal by default', async (t) => {
  const edge = await startEdge(t)
  const door = await new Door((edge.server.address() as AddressInfo).port).open()
  t.teardown(() => door.shut())
  const target = createTargetClient({ client, organizationId, serverDomain: door.host, secure: false, logger: { debug () {}, error () {} } })
  t.teardown(() => target.close())
  await door.shut()
  for (let call = 0; call < 10; call++) await t.rejects(target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } }), { code: 'FST_TARGET_CONNECTION' })
  t.match(target.health(), { status: 'down', breaker: { [door.host]: { state: 'open' } } })
  for (let visitor = 0; visitor < 100; visitor++) target.notify(sender(`v${visitor}`), [click(`id-${visitor}`)])
  const closed = target.close()
  await door.open()
  await closed
  t.match(target.health().outbox, { accepted: 100, sent: 100, failed: 0, dropped: 0 })
  t.equal(edge.notifications.length, 100)
})

t.test('while closing, an open breaker is probed earlier', async (t) => {
  /** A breaker after an outage of 1000 seconds. */
  const open = () => {
    const breaker = new Breaker({ failures: 2, window: 1000, cooldown: 5000 }, () => {})
    for (let call = 0; call < 2; call++) breaker.settle('page', breaker.admit('page', 1000)!, 'unreached', 1000)
    for (const kind of ['page', 'notification'] as const) breaker.settle(kind, breaker.admit(kind, 1_000_000)!, 'unreached', 1_000_000)
    return breaker
  }
  const patient = open()
  t.equal(patient.admit('notification', 1_004_999), undefined)
  t.equal(patient.admit('notification', 1_005_000), 'probe')
  const breaker = open()
  breaker.limitPauses(1_000_500)
  t.equal(breaker.admit('notification', 1_001_499), undefined)
  t.equal(breaker.admit('notification', 1_001_500), 'probe')
  t.equal(breaker.admit('page', 1_001_500), 'probe', 'whose place it does not take')
  breaker.settle('page', 'probe', 'failed', 1_001_600)
  breaker.settle('notification', 'probe', 'failed', 1_001_600)
  t.equal(breaker.admit('page', 1_002_599), undefined)
  t.equal(breaker.admit('page', 1_002_600), 'probe', 'and again after a second')
  t.equal(breaker.admit('notification', 1_002_600), 'probe')
  breaker.settle('notification', 'probe', 'answered', 1_002_600, 3000)
  breaker.limitPauses(1_002_700)
  t.equal(breaker.admit('notification', 1_005_599), undefined, 'a pause that the host asked for is kept')
  t.equal(breaker.admit('notification', 1_005_600), 'probe')
})

t.test('a closeTimeout that is too short reports exactly the notifications left over', async (t) => {
  const edge = await startEdge(t)
  const lines: unknown[][] = []
  const failed: string[] = []
  const target = createTargetClient({
    client,
    organizationId,
    serverDomain: edge.host,
    secure: false,
    timeout: 1000,
    notifications: { closeTimeout: 150 },
    logger: { debug: (...line) => lines.push(line), error: (...line) => lines.push(line) },
    events: { sendNotificationError: ({ notification, error }) => { failed.push(`${notification.id} ${error.code}`) } }
  })
  const balance = watchBalance(t, target)
  target.notify(sender('early'), [click('early-1'), click('early-2')])
  t.ok(await until(() => target.health().outbox.sent === 2))
  edge.fault('hang')
  for (let visitor = 0; visitor < 50; visitor++) target.notify(sender(`v${visitor}`), [click(`${visitor}-a`), click(`${visitor}-b`)])
  await target.close()
  t.match(target.health(), { status: 'degraded', outbox: { accepted: 102, pending: 0, sent: 2, failed: 0, dropped: 100 } })
  t.same(failed.sort(), Array.from({ length: 100 }, (_, index) => `${index >> 1}-${index % 2 ? 'b' : 'a'} FST_TARGET_CLOSED`).sort())
  t.match(lines.find(([first]) => (first as { outbox?: object }).outbox !== undefined), [
    { outbox: { accepted: 102, pending: 0, sent: 2, failed: 0, dropped: 100 } }, /the outbox is closed/
  ])
  t.equal(edge.notifications.length, 2)
  t.equal(balance.wrong, 0)
})

t.test('close() completes requests in flight and ends keep-alive connections', async (t) => {
  const edge = await startEdge(t, { latency: 200 })
  const { app, url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', async () => 'page')
    app.get('/hero', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async ({ target }) => {
      target.displayed('hero')
      return await target.content('hero', 'fallback')
    })
  }, { forceCloseConnections: false })
  const agents = Array.from({ length: 20 }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
  t.teardown(() => { for (const agent of agents) agent.destroy() })
  const visit = (agent: Agent, path: string) => new Promise<{ text: string, connection: string | undefined }>((resolve, reject) => {
    getPage(`${url}${path}`, { agent }, async (response) => {
      response.setEncoding('utf8')
      let text = ''
      for await (const chunk of response) text += chunk
      resolve({ text, connection: response.headers.connection })
    }).on('error', reject)
  })
  for (const { connection } of await Promise.all(agents.map((agent) => visit(agent, '/')))) t.equal(connection, 'keep-alive')
  const visits = agents.slice(0, 10).map((agent) => visit(agent, '/hero'))
  t.ok(await until(() => edge.requests.length === 10))
  const closing = app.close()
  for (const { text, connection } of await Promise.all(visits)) {
    t.match(text, /class="hero/, 'its offer came all the same')
    t.equal(connection, 'close', 'and its client is told to go')
  }
  await closing
  t.match(app.target.health(), { outbox: { accepted: 10, pending: 0, sent: 10, failed: 0, dropped: 0 }, pool: { [edge.host]: { running: 0, sockets: 0 } } })
  t.equal(edge.notifications.length, 10)
  t.equal(await new Promise((resolve) => app.server.getConnections((_, count) => resolve(count))), 0)
})

t.test('notifications survive an edge that is stopped and continued', async (t) => {
  const child = startChild('edge-process')
  t.teardown(() => endChild(child))
  const { edge } = await nextWord(child) as { edge: string }
  const timeout = 500
  const { app, url } = await startApp(t, edge, { timeout, grace: 100, breaker: { cooldown: 500 } }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async ({ target }) => {
      const waited = stopwatch()
      const { content, reason } = await target.offer('hero', 'fallback')
      return { content, reason, waited: waited() }
    })
  })
  const visit = async () => await (await fetch(url)).json() as { content: string, reason: string, waited: number }
  t.ok(await until(() => app.target.health().outbox.pending === 0))
  t.equal((await visit()).reason, 'matched')
  child.kill('SIGSTOP')
  t.teardown(() => child.kill('SIGCONT'))
  const reasons = new Set<string>()
  for (let round = 0; round < 5; round++) {
    for (const { content, reason, waited } of await Promise.all(Array.from({ length: 8 }, visit))) {
      reasons.add(reason)
      t.equal(content, 'fallback')
      t.ok(waited < timeout + 20 + 180, `within the timeout: ${waited} ms`)
    }
  }
  t.same([...reasons].sort(), ['breaker-open', 'timeout'])
  // Between the breaker's pauses it is degraded; a visit then fails and begins another pause.
  t.ok(await until(async () => { await visit(); return app.target.health().status === 'down' }))
  child.kill('SIGCONT')
  const start = performance.now()
  const took = stopwatch()
  while ((await visit()).reason !== 'matched' && performance.now() - start < 10_000) await sleep(20)
  const back = took()
  t.ok(back < 1000 + 1000, `back after ${back} ms`)
  t.ok(await until(() => Object.values(app.target.health().pool).every(({ stragglers }) => stragglers === 0)), 'nothing is left of the calls that were given up')
  t.equal(app.target.health().status, 'ok')
})
