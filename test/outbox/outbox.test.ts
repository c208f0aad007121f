/** The outbox of notifications, against a real HTTP server as edge and a real client as its `send`. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { Breaker } from '../../lib/delivery/breaker.ts'
import type { Notification } from '../../lib/schema/index.ts'
import { channels } from '../../lib/diagnostics.ts'
import { failure, isTargetError, type TargetError } from '../../lib/errors.ts'
import { Outbox, type OutboxOptions, type OutboxSend, type OutboxSettings } from '../../lib/outbox/outbox.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

interface Visitor { key: string }
interface Call { visitor: string, ids: string[] }
/** What the edge does with a call: a status, `lost` for a connection that ends; with or without having processed some ids. */
interface Verdict { status?: number | 'lost', processed?: string[] }

/** A small edge of its own: counts impressions as Target does, a repeat of an `impressionId` not again. */
class Edge {
  behave: (call: Call, number: number) => Verdict | Promise<Verdict> = () => ({})
  readonly calls: Call[] = []
  readonly impressions = new Map<string, string>()
  atOnce = 0
  mostAtOnce = 0
  #server!: Server
  #port = 0

  async start (): Promise<void> {
    this.#server = createServer(async (incoming, outgoing) => {
      let text = ''
      for await (const chunk of incoming) text += chunk
      const { visitor, notifications } = JSON.parse(text) as { visitor: string, notifications: Notification[] }
      const call = { visitor, ids: notifications.map(({ id }) => id) }
      this.calls.push(call)
      this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce)
      const { status = 200, processed = status === 200 ? call.ids : [] } = await this.behave(call, this.calls.length)
      this.atOnce -= 1
      for (const { id, impressionId } of notifications) if (processed.includes(id)) this.impressions.set(impressionId!, id)
      if (status === 'lost') return outgoing.destroy()
      outgoing.statusCode = status
      outgoing.end(JSON.stringify({ status, notifications: processed.map((id) => ({ id })) }))
    }).listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async stop (): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  get origin (): string {
    return `http://127.0.0.1:${this.#port}`
  }
}

interface Bench {
  edge: Edge
  outbox: Outbox<Visitor>
  /** What was handed to `send`, call by call. */
  sends: Notification[][]
  logged: { level: string, text: string }[]
  failed: { id: string, error: TargetError }[]
  /** Checks the sum of the counts and returns them. */
  counts: () => { accepted: number, pending: number, sent: number, failed: number, dropped: number }
  /** Waits until nothing is pending. */
  drained: () => Promise<void>
}

type Around = (send: OutboxSend<Visitor>) => OutboxSend<Visitor>

async function setUp (t: Test, settings: Partial<OutboxSettings> = {}, options: Partial<OutboxOptions> = {}, around: Around = (send) => send): Promise<Bench> {
  const edge = new Edge()
  await edge.start()
  const agent = new Agent({ connections: 64 })
  const sends: Notification[][] = []
  const logged: Bench['logged'] = []
  const failed: Bench['failed'] = []
  const log = (level: string) => (...parts: unknown[]) => {
    logged.push({ level, text: JSON.stringify(parts, (_, value) => value instanceof Error ? { ...value, message: value.message } : value) })
  }
  const send: OutboxSend<Visitor> = async (visitor, notifications) => {
    counts()
    const body = JSON.stringify({ visitor: visitor.key, notifications })
    let status, answer
    try {
      const response = await request(edge.origin, { method: 'POST', body, dispatcher: agent })
      status = response.statusCode
      answer = await response.body.json() as { notifications: { id: string }[] }
    } catch (cause) {
      throw failure('FST_TARGET_CONNECTION', 'lost', { cause })
    } finally {
      counts()
    }
    if (status >= 400) throw failure('FST_TARGET_HTTP', String(status), { meta: { status, refused: [400, 404].includes(status), phase: 'answer', attempts: 1, elapsed: 1 } })
    return new Set(answer.notifications.map(({ id }) => id))
  }
  const sendVia = around(send)
  const outbox: Outbox<Visitor> = new Outbox<Visitor>(
    { concurrency: 8, maxQueue: 10_000, maxBytes: 64 * 1024 * 1024, retries: 10, maxAge: 3_600_000, closeTimeout: 5000, ...settings },
    (visitor, notifications) => {
      sends.push(notifications)
      return sendVia(visitor, notifications)
    },
    {
      client: 'acmeclient',
      logger: { debug: log('debug'), error: log('error') },
      onFailed: ({ id }, error) => {
        counts()
        failed.push({ id, error })
      },
      random: () => 0,
      ...options
    }
  )
  const counts: Bench['counts'] = () => {
    const { accepted, pending, sent, failed, dropped } = outbox.report()
    const numbers = { accepted, pending, sent, failed, dropped }
    if (accepted !== pending + sent + failed + dropped || pending < 0) t.fail('the account does not balance', { ...numbers })
    return numbers
  }
  const drained = async () => { while (counts().pending > 0) await sleep(5) }
  t.teardown(async () => {
    edge.behave = () => ({})
    await outbox.close()
    await agent.destroy()
    await edge.stop()
  })
  return { edge, outbox, sends, logged, failed, counts, drained }
}

let made = 0
const notification = (id = `n${++made}`): Notification => ({ id, impressionId: `impression of ${id}`, type: 'display', timestamp: 1, mbox: { name: 'hero' } })
const several = (count: number, prefix: string) => Array.from({ length: count }, (_, index) => notification(`${prefix}${index}`))
const ids = (notifications: Notification[]) => notifications.map(({ id }) => id)

t.test('one call per visitor and tick, promise jobs included', async (t) => {
  const { edge, outbox, counts, drained } = await setUp(t)
  outbox.add({ key: 'ann' }, [notification('a1'), notification('a2')])
  outbox.add({ key: 'bob' }, [notification('b1')])
  process.nextTick(() => outbox.add({ key: 'bob' }, [notification('b2')]))
  await Promise.resolve()
  outbox.add({ key: 'ann' }, [notification('a3')])
  outbox.add({ key: 'ann' }, [])
  t.match(counts(), { accepted: 4, pending: 4 })
  await nextTurn()
  outbox.add({ key: 'ann' }, [notification('a4')])
  await drained()
  t.strictSame(edge.calls.map(({ visitor, ids }) => [visitor, ...ids]).sort(), [['ann', 'a1', 'a2', 'a3'], ['ann', 'a4'], ['bob', 'b1', 'b2']])
  t.strictSame(counts(), { accepted: 6, pending: 0, sent: 6, failed: 0, dropped: 0 })
})

t.test('at most `concurrency` calls at a time, the oldest first', async (t) => {
  const { edge, outbox, drained } = await setUp(t, { concurrency: 3 })
  edge.behave = async () => {
    await sleep(5)
    return {}
  }
  for (let visitor = 0; visitor < 30; visitor++) outbox.add({ key: `v${visitor}` }, [notification()])
  await drained()
  t.equal(edge.calls.length, 30)
  t.equal(edge.mostAtOnce, 3)

  const single = await setUp(t, { concurrency: 1 })
  const expected = Array.from({ length: 20 }, (_, index) => `v${index}`)
  for (const key of expected) single.outbox.add({ key }, [notification()])
  await single.drained()
  t.strictSame(single.edge.calls.map(({ visitor }) => visitor), expected)
})

t.test('a call that fails is made again with the same notifications', async (t) => {
  const { edge, outbox, sends, counts, drained, failed } = await setUp(t)
  // The second one is the case that needs stable ids: counted, but the answer never arrives.
  const verdicts: Verdict[] = [{ status: 500 }, { status: 'lost', processed: ['a', 'b'] }, { status: 429 }, {}]
  edge.behave = (_, number) => verdicts[number - 1]!
  const given = [notification('a'), notification('b')]
  outbox.add({ key: 'ann' }, given)
  await drained()
  t.equal(edge.calls.length, 4)
  for (const sent of sends) {
    t.equal(sent.length, 2)
    t.ok(sent.every((one, index) => one === given[index]), 'the same objects')
  }
  t.strictSame([...edge.impressions], [['impression of a', 'a'], ['impression of b', 'b']], 'counted once')
  t.match(counts(), { sent: 2, failed: 0 })
  t.strictSame(failed, [])
})

t.test('`retries` bounds the tries, then the notifications count as failed', async (t) => {
  const { edge, outbox, counts, drained, failed, logged } = await setUp(t, { retries: 1 })
  edge.behave = ({ visitor }) => visitor === 'ann, who is secret' ? { status: 503 } : visitor === 'bob' ? { status: 'lost' } : {}
  outbox.add({ key: 'ann, who is secret' }, several(3, 'secret-'))
  outbox.add({ key: 'bob' }, [notification('lost')])
  outbox.add({ key: 'cid' }, [notification('fine')])
  await drained()
  t.equal(edge.calls.length, 5)
  t.strictSame(counts(), { accepted: 5, pending: 0, sent: 1, failed: 4, dropped: 0 })
  t.strictSame(failed.map(({ id, error }) => [id, error.code]).sort(), [
    ['lost', 'FST_TARGET_CONNECTION'], ['secret-0', 'FST_TARGET_HTTP'], ['secret-1', 'FST_TARGET_HTTP'], ['secret-2', 'FST_TARGET_HTTP']
  ])
  t.equal(logged.length, 2, 'one line per kind')
  t.notMatch(JSON.stringify(logged), /secret/)
})

t.test('what an answer leaves out is sent again, and only that', async (t) => {
  const { edge, outbox, counts, drained, failed } = await setUp(t, { retries: 2 })
  edge.behave = ({ ids }) => ({ processed: ids.filter((id) => id !== 'never').slice(0, 2) })
  outbox.add({ key: 'ann' }, [notification('never'), ...several(3, 'm')])
  await drained()
  t.strictSame(edge.calls.map(({ ids }) => ids), [['never', 'm0', 'm1', 'm2'], ['never', 'm2'], ['never']])
  t.strictSame(counts(), { accepted: 4, pending: 0, sent: 3, failed: 1, dropped: 0 })
  t.match(failed, [{ id: 'never', error: { code: 'FST_TARGET_INVALID_RESPONSE' } }])
})

t.test('a refused batch is halved until the refused one stands alone', async (t) => {
  const { edge, outbox, counts, drained, failed, logged } = await setUp(t, { retries: 0 })
  edge.behave = ({ ids }) => ids.includes('h21') ? { status: 400 } : {}
  outbox.add({ key: 'ann' }, several(32, 'h'))
  await drained()
  t.equal(edge.calls.length, 11, 'the whole, then two halves on each of five levels')
  t.equal(edge.impressions.size, 31)
  t.strictSame(counts(), { accepted: 32, pending: 0, sent: 31, failed: 1, dropped: 0 })
  t.match(failed, [{ id: 'h21', error: { code: 'FST_TARGET_HTTP', meta: { status: 400 } } }])
  t.equal(logged.length, 1)
})

t.test('a notification that is not JSON is found by halving, too', async (t) => {
  const { outbox, counts, drained, failed } = await setUp(t)
  const cyclic = notification('cyclic')
  Object.assign(cyclic, { parameters: cyclic })
  outbox.add({ key: 'ann' }, [notification('x'), cyclic, notification('y')])
  await drained()
  t.match(counts(), { sent: 2, failed: 1 })
  t.match(failed, [{ id: 'cyclic', error: { code: 'FST_TARGET_INVALID_REQUEST' } }])
})

t.test('while the breaker is open the outbox waits, and no try counts', async (t) => {
  const breaker = new Breaker({ failures: 4, window: 10_000, cooldown: 600 }, () => {})
  const { edge, outbox, sends, counts, drained } = await setUp(t, { concurrency: 4, retries: 1 }, {}, (send) => async (visitor, notifications) => {
    if (visitor.key.startsWith('elsewhere')) return send(visitor, notifications)
    const passage = breaker.admit('notification', performance.now())
    if (passage === undefined) throw failure('FST_TARGET_BREAKER_OPEN', 'pause', { meta: { host: 'edge', phase: 'queue', attempts: 0, elapsed: 0 } })
    try {
      const processed = await send(visitor, notifications)
      breaker.settle('notification', passage, 'answered', performance.now())
      return processed
    } catch (error) {
      breaker.settle('notification', passage, isTargetError(error) && error.code === 'FST_TARGET_HTTP' ? 'failed' : 'unknown', performance.now())
      throw error
    }
  })
  edge.behave = ({ visitor }) => visitor.startsWith('elsewhere') ? {} : { status: 500 }
  for (let visitor = 0; visitor < 200; visitor++) outbox.add({ key: `v${visitor}` }, [notification()])
  while (sends.length < 200) await sleep(5)
  t.ok(edge.calls.length < 4 + 4, 'as many as it takes to open the breaker, and those on their way then')

  outbox.add({ key: 'elsewhere' }, [notification('elsewhere')])
  while (counts().sent === 0) await sleep(5)
  t.ok(edge.impressions.has('impression of elsewhere'), 'another host does not wait')
  t.match(breaker.report(performance.now()).notifications, { state: /open/ }, 'open, or probing')
  t.equal(breaker.report(performance.now()).state, 'closed', 'pages are not kept from the edge')

  edge.behave = () => ({})
  await drained()
  t.strictSame(counts(), { accepted: 201, pending: 0, sent: 201, failed: 0, dropped: 0 }, 'with one retry each, many of them refused twice')
  t.ok(sends.length < 2 * 201 + 20, 'a scout at a time asks, not all of them')
})

t.test('beyond `maxQueue` the oldest waiting notification is dropped', async (t) => {
  const { edge, outbox, counts, drained, failed, logged } = await setUp(t, { concurrency: 2, maxQueue: 10 })
  let open = () => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  edge.behave = async () => {
    await gate
    return {}
  }
  outbox.add({ key: 'ann' }, several(2, 'going'))
  outbox.add({ key: 'bob' }, several(1, 'gone'))
  await nextTurn()
  for (let index = 0; index < 5; index++) {
    outbox.add({ key: `old${index}` }, several(2, `old${index}-`))
    t.ok(counts().pending <= 10)
    await nextTurn()
  }
  t.strictSame(counts(), { accepted: 13, pending: 10, sent: 0, failed: 0, dropped: 3 })
  outbox.add({ key: 'new' }, several(12, 'new'))
  t.strictSame(counts(), { accepted: 25, pending: 10, sent: 0, failed: 0, dropped: 15 })
  t.ok(outbox.degraded)
  open()
  await drained()
  t.strictSame(edge.calls.flatMap(({ ids }) => ids), ['going0', 'going1', 'gone0', ...ids(several(12, 'new')).slice(5)])
  t.strictSame(failed.map(({ id }) => id), [...Array.from({ length: 10 }, (_, index) => `old${index >> 1}-${index % 2}`), ...ids(several(5, 'new'))])
  t.ok(failed.every(({ error }) => error.code === 'FST_TARGET_OVERLOAD'))
  t.equal(logged.length, 1, 'one line')
})

t.test('notifications that rest or are held can be dropped, too', async (t) => {
  const pause = failure('FST_TARGET_OVERLOAD', 'pause')
  let answered = 0
  const { edge, outbox, counts, drained, failed } = await setUp(t, { maxQueue: 20 }, { random: () => 1 }, (send) => async (visitor, notifications) => {
    if (visitor.key === 'held') throw pause
    try {
      return await send(visitor, notifications)
    } finally {
      answered += 1
    }
  })
  edge.behave = ({ visitor }) => visitor === 'resting' ? { status: 500 } : {}
  outbox.add({ key: 'held' }, several(5, 'held'))
  outbox.add({ key: 'resting' }, several(5, 'resting'))
  await until(() => answered === 1)
  await nextTurn()
  outbox.add({ key: 'new' }, several(20, 'new'))
  await drained()
  t.match(counts(), { accepted: 30, sent: 20, dropped: 10 })
  t.strictSame(failed.map(({ id }) => id), [...ids(several(5, 'held')), ...ids(several(5, 'resting'))])
})

t.test('works outside the async context of a request', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  const { edge, outbox, drained } = await setUp(t, { retries: 1, maxQueue: 2 }, { onFailed: () => { seen.push(storage.getStore()) } }, (send) => (visitor, notifications) => {
    seen.push(storage.getStore())
    return send(visitor, notifications)
  })
  edge.behave = () => ({ status: 500 })
  await storage.run('a request', async () => {
    outbox.add({ key: 'ann' }, several(3, 'context'))
    await drained()
    outbox.add({ key: 'ann' }, several(1, 'context'))
    outbox.beginClose()
    await outbox.close()
    outbox.add({ key: 'ann' }, several(1, 'context'))
    await nextTurn()
  })
  t.strictSame(seen, new Array(9).fill(undefined), 'four calls, and five notifications that were given up')
})

t.test('beginClose() ends rests and still accepts; close() sends the remainder', async (t) => {
  const { edge, outbox, sends, counts, logged } = await setUp(t, {}, { random: () => 1 })
  edge.behave = () => ({ status: 500 })
  outbox.add({ key: 'ann' }, [notification()])
  while (edge.calls.length < 3 || edge.atOnce > 0) await sleep(5)
  await sleep(20)
  t.equal(sends.length, 3, 'rests for a second')
  edge.behave = () => ({})
  outbox.beginClose()
  await nextTurn()
  await nextTurn()
  t.equal(sends.length, 4)
  outbox.add({ key: 'bob' }, [notification()])
  await outbox.close()
  t.strictSame(counts(), { accepted: 2, pending: 0, sent: 2, failed: 0, dropped: 0 })
  t.match(logged, [{ level: 'debug', text: /"sent":2/ }])
})

t.test('after `closeTimeout` the rest is given up and accounted for', async (t) => {
  const { edge, outbox, counts, failed, logged } = await setUp(t, { concurrency: 2, closeTimeout: 150 })
  let open = () => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  edge.behave = async ({ visitor }) => {
    if (visitor !== 'quick') await gate
    return {}
  }
  outbox.add({ key: 'quick' }, several(3, 'quick'))
  for (let visitor = 0; visitor < 5; visitor++) outbox.add({ key: `slow${visitor}` }, several(2, `slow${visitor}-`))
  await until(() => counts().sent === 3)
  const start = performance.now()
  const took = stopwatch()
  outbox.beginClose()
  await sleep(50)
  await Promise.all([outbox.close(), outbox.close()])
  const elapsed = performance.now() - start
  t.ok(elapsed > 140 && took() < 600, 'counted from beginClose()', { elapsed })
  t.strictSame(counts(), { accepted: 13, pending: 0, sent: 3, failed: 0, dropped: 10 })
  t.equal(failed.length, 10)
  t.ok(failed.every(({ error }) => error.code === 'FST_TARGET_CLOSED'))
  t.match(logged.at(-1), { level: 'error', text: /"accepted":13.*"sent":3.*"dropped":10/ })

  open()
  await sleep(50)
  t.match(counts(), { sent: 3, dropped: 10 }, 'a late answer changes nothing')
  outbox.add({ key: 'late' }, [notification('late')])
  t.strictSame(counts(), { accepted: 14, pending: 0, sent: 3, failed: 0, dropped: 11 })
  await nextTurn()
  t.match(failed.at(-1), { id: 'late', error: { code: 'FST_TARGET_CLOSED' } })
})

t.test('does not keep the process alive but for close()', async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  const { outbox } = await setUp(t, { closeTimeout: 50 }, {}, () => (visitor) => Promise.reject(visitor.key === 'held'
    ? failure('FST_TARGET_BREAKER_OPEN', 'pause')
    : failure('FST_TARGET_TIMEOUT', 'slow')))
  outbox.add({ key: 'held' }, [notification()])
  outbox.add({ key: 'resting' }, [notification()])
  await nextTurn()
  await nextTurn()
  t.equal(timers(), before)
  const closed = outbox.close()
  t.equal(timers(), before + 1)
  await closed
  t.equal(timers(), before)
})

t.test('publishes events and survives callbacks that throw', async (t) => {
  const published: unknown[] = []
  const listen = (message: unknown) => { published.push(message) }
  channels.outbox.subscribe(listen)
  t.teardown(() => channels.outbox.unsubscribe(listen))
  const logger = { debug () { throw new Error('no') }, error () { throw new Error('no') } }
  const { edge, outbox, counts, drained } = await setUp(t, { concurrency: 1, maxQueue: 3 }, { logger, onFailed: () => { throw new Error('no') } })
  edge.behave = ({ ids }) => ids.includes('bad') ? { status: 404 } : {}
  outbox.add({ key: 'ann' }, [...several(2, 'p'), notification('bad'), notification('good')])
  await drained()
  await outbox.close()
  t.strictSame(counts(), { accepted: 4, pending: 0, sent: 2, failed: 1, dropped: 1 })
  t.match(published, [
    { event: 'accepted', count: 4 }, { event: 'dropped', count: 1, error: { code: 'FST_TARGET_OVERLOAD' } },
    { event: 'sent', count: 1 }, { event: 'failed', count: 1, error: { code: 'FST_TARGET_HTTP' } }, { event: 'sent', count: 1 }
  ])
})

t.test('an edge that fails 30 % of calls and is down for a second: all delivered, each counted once', async (t) => {
  const { edge, outbox, counts, failed, logged } = await setUp(t, { closeTimeout: 10_000 }, { random: Math.random })
  let seed = 7
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647
  edge.behave = ({ ids }) => {
    const chance = random()
    if (chance < 0.1) return { status: 500 }
    if (chance < 0.15) return { status: 'lost' }
    if (chance < 0.2) return { status: 'lost', processed: ids }
    if (chance < 0.3) return { processed: ids.slice(1) }
    return {}
  }
  for (let index = 0; index < 2000; index++) {
    outbox.add({ key: `v${index % 500}` }, [notification(`g${index}`)])
    if (index % 1000 === 999) await nextTurn()
  }
  while (edge.calls.length < 300) await sleep(1)
  await edge.stop()
  const beforeOutage = counts()
  t.ok(beforeOutage.pending > 0 && beforeOutage.sent > 0)
  await sleep(500)
  outbox.beginClose()
  await sleep(500)
  counts()
  await edge.start()
  await outbox.close()
  t.strictSame(counts(), { accepted: 2000, pending: 0, sent: 2000, failed: 0, dropped: 0 })
  t.equal(edge.impressions.size, 2000)
  t.equal(new Set(edge.impressions.values()).size, 2000)
  t.strictSame(failed, [])
  t.strictSame(logged.filter(({ level }) => level === 'error'), [])
})
