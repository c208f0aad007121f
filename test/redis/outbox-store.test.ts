/** The store of the outbox in a real Redis: who owns what, through deaths, pauses and losses. */
import t, { type Test } from 'tap'
import type { OutboxStore } from '../../lib/index.ts'
import { redisStore, type RedisClient, type RedisStoreOptions } from '../../lib/redis/index.ts'
import '../support/no-unhandled-rejections.ts'
import { startRedis, withoutRedis, type RedisServer } from '../support/redis-server.ts'
import { sleep, until } from '../support/wait.ts'
import { FULL } from '../support/full.ts'

const STREAM = 'fastify-adobe-target:outbox'
const GROUP = 'fastify-adobe-target'

/** Everything that a store recovers now, by payload. */
async function recovered (store: OutboxStore): Promise<string[]> {
  const payloads: string[] = []
  for await (const { payload } of store.recover()) payloads.push(payload)
  return payloads
}

const records = (count: number, name = 'r') => Array.from({ length: count }, (_, index) => `${name}${index} "ü\n`)

/** A store that does not close: its instance dies when its client is cut off. */
async function startStore (server: RedisServer, kind: 'ioredis' | 'redis' = 'ioredis', options: Partial<RedisStoreOptions> = {}) {
  const client = kind === 'ioredis' ? server.ioredis() : await server.redis()
  return { store: redisStore({ client, claimAfter: 1000, ...options }), die: () => kind === 'ioredis' ? (client as { disconnect (): void }).disconnect() : (client as { destroy (): void }).destroy() }
}

for (const kind of ['ioredis', 'redis'] as const) {
  t.test(`a record's life, over ${kind}`, { skip: withoutRedis }, async (t) => {
    const server = await startRedis(t)
    const look = server.ioredis()
    const [a, b] = [await startStore(server, kind), await startStore(server, kind)]
    t.same(await recovered(a.store), [], 'nothing is there')
    t.same(await a.store.append([]), [])
    const ids = await a.store.append(records(600))
    t.equal(new Set(ids).size, 600)
    t.same(ids, [...ids].sort((x, y) => Number(x.split('-')[0]) - Number(y.split('-')[0]) || Number(x.split('-')[1]) - Number(y.split('-')[1])))
    await sleep(1200)
    t.same(await recovered(b.store), [], 'their instance lives, though they are old')
    t.same(await recovered(a.store), [], 'it has them already')
    await a.store.settle(ids.slice(0, 100))
    await a.store.settle(['1-1', ...ids.slice(0, 1)])
    t.equal(await look.xlen(STREAM), 500)
    a.die()
    const ofTheDead: string[] = []
    await until(async () => ofTheDead.push(...await recovered(b.store)) >= 500)
    t.same(ofTheDead, records(600).slice(100), 'of the dead')
    t.same(await recovered(b.store), [], 'once')
    await b.store.close()
    t.equal(await look.ping(), 'PONG')

    const c = await startStore(server, kind)
    t.same(await recovered(c.store), records(600).slice(100), 'of the closed, at once')
    const own = await c.store.append(['own'])
    await c.store.settle([...own, ...ids])
    t.equal(await look.xlen(STREAM), 0)
    t.same((await look.xpending(STREAM, GROUP))[0], 0)
    b.die()
    c.die()
  })
}

t.test('a reader that stops early leaves the rest to others', { skip: withoutRedis }, async (t) => {
  const server = await startRedis(t)
  const [a, b, c] = [await startStore(server), await startStore(server), await startStore(server)]
  await a.store.append(records(400))
  await a.store.close()
  const reading = b.store.recover()[Symbol.asyncIterator]()
  t.equal((await reading.next()).value.payload, records(1)[0])
  await reading.return!()
  // They are given back in the background.
  const rest: string[] = []
  await until(async () => rest.push(...await recovered(c.store)) >= 399)
  t.same(rest.sort(), records(400).slice(1).sort())
})

t.test('two concurrent recoveries share the records', { skip: withoutRedis }, async (t) => {
  const server = await startRedis(t)
  const [a, b, c] = [await startStore(server), await startStore(server), await startStore(server)]
  // Both are connected before there is something to share.
  t.same(await Promise.all([recovered(b.store), recovered(c.store)]), [[], []])
  await a.store.append(records(3000))
  await a.store.close()
  const parts = await Promise.all([recovered(b.store), recovered(c.store)])
  t.ok(parts.every(({ length }) => length > 0), `${parts.map(({ length }) => length)}`)
  t.same(parts.flat().sort(), records(3000).sort())
})

t.test('an instance that was paused and taken over from gets nothing of its own again', { skip: withoutRedis }, async (t) => {
  const server = await startRedis(t)
  const look = server.ioredis()
  const [a, b] = [await startStore(server), await startStore(server)]
  const ids = await a.store.append(records(3))
  // As if it had been stopped: nothing was heard of it, and the other has it all.
  const [consumer] = (await look.xinfo('CONSUMERS', STREAM, GROUP) as string[][]).map((info) => info[1]!)
  await look.xgroup('CREATECONSUMER', STREAM, GROUP, 'other')
  await look.xclaim(STREAM, GROUP, 'other', 0, ...ids)
  await sleep(1100)
  t.same(await recovered(a.store), [])
  t.same(await recovered(b.store), [])
  await a.store.settle(ids)
  t.equal(await look.xlen(STREAM), 0)
  t.match(consumer, /:\d+:/)
})

t.test('an instance that dies while it settles leaves nothing that nobody owns', { skip: withoutRedis }, async (t) => {
  const server = await startRedis(t)
  const look = server.ioredis()
  const client = server.ioredis()
  let left = Infinity
  // Its process is killed when this many commands have reached Redis.
  const dying = { call: async (command: string, ...args: string[]) => left-- > 0 ? await client.call(command, ...args) : await new Promise<never>(() => {}) }
  for (const commands of [0, 1, 2]) {
    left = Infinity
    const store = redisStore({ client: dying, claimAfter: 1000 })
    const ids = await store.append(records(3))
    left = commands
    store.settle(ids).catch(() => {})
    await sleep(1100)
    const { store: other } = await startStore(server)
    await until(async () => {
      const again = []
      for await (const { id } of other.recover()) again.push(id)
      await other.settle(again)
      return await look.xlen(STREAM) === 0
    })
    t.equal(await look.xlen(STREAM), 0, `after ${commands} commands`)
    t.equal((await look.xpending(STREAM, GROUP))[0], 0)
  }
})

t.test('FLUSHALL, a kill, a pause and a lack of room', { skip: withoutRedis }, async (t: Test) => {
  const server = await startRedis(t)
  const look = server.ioredis()
  const [a, b] = [await startStore(server, 'ioredis', { maxLength: 5 }), await startStore(server, 'redis', { maxLength: 5 })]
  const ids = await a.store.append(records(3))
  await t.rejects(a.store.append(records(3)), { message: /maxLength/ })
  t.equal(await look.xlen(STREAM), 3, 'all or none')
  await look.flushall()
  await a.store.settle(ids)
  t.same(await recovered(b.store), [])
  const again = await a.store.append(['after'])
  t.equal(await look.xlen(STREAM), 1)
  await look.xgroup('DESTROY', STREAM, GROUP)
  t.same(await recovered(b.store), ['after'], 'nobody owned it any more')
  await a.store.settle(again)

  server.pause()
  const late = a.store.append(['late'])
  await t.rejects(a.store.append(['too early']), { message: /not answered/ })
  server.resume()
  t.equal((await late).length, 1)

  await server.kill()
  const appended = Promise.allSettled([a.store.append(['1']), b.store.append(['2'])])
  await sleep(100)
  await server.start()
  const outcomes = await appended
  t.ok(outcomes.every(({ status, ...outcome }) => status === 'fulfilled' || !/\b[12]"/.test(JSON.stringify(outcome))), 'no payload in an error')
  await until(() => look.status === 'ready')
  t.equal((await a.store.append(['3'])).length, 1)
  await a.store.close()
  t.ok((await recovered(b.store)).includes('3'))
})

t.test('restarted with its own persistence, Redis has what was appended', { skip: withoutRedis }, async (t) => {
  const server = await startRedis(t, '--appendonly', 'yes', '--appendfsync', 'always')
  const a = await startStore(server)
  await a.store.append(records(10))
  a.die()
  await server.kill()
  await server.start()
  const b = await startStore(server, 'redis')
  const kept: string[] = []
  await until(async () => kept.push(...await recovered(b.store)) >= 10)
  t.same(kept, records(10))
})

t.test('100,000 records, in bounded steps', { skip: FULL ? withoutRedis : 'only in npm run test:full' }, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startStore(server), await startStore(server)]
  const payload = 'x'.repeat(1000)
  for (let round = 0; round < 100; round++) await a.store.append(records(1000).map((name) => name + payload))
  const memory = Number(/used_memory:(\d+)/.exec(await server.ioredis().info('memory'))![1])
  t.comment(`${Math.round(memory / 100_000)} bytes of Redis for a record of 1 kB`)
  await a.store.close()
  const began = performance.now()
  let count = 0
  for await (const { id } of b.store.recover()) if (id !== '') count++
  t.equal(count, 100_000)
  t.comment(`recovered in ${Math.round(performance.now() - began)} ms`)
  // How long Redis is held up for the app's other commands. The machine may be busy, so this is far above what it takes.
  const slowest = await server.ioredis().slowlog('GET', 1) as unknown[][]
  t.ok(slowest.every(([,, microseconds]) => Number(microseconds) < 500_000), JSON.stringify(slowest.map(([,, microseconds]) => microseconds)))
})

t.test('options', async (t) => {
  const client: RedisClient = { call: async () => [] }
  t.throws(() => redisStore({} as never), { code: 'FST_TARGET_INVALID_OPTIONS', message: /client/ })
  t.throws(() => redisStore({ client: {} as never }), { message: /client of ioredis or redis/ })
  t.throws(() => redisStore({ client, claimAfter: 10 }), { message: /claimAfter/ })
  t.throws(() => redisStore({ client, maxLenght: 10 } as never), { message: /maxLength/ })
  const sent: unknown[][] = []
  const cluster: RedisClient = { async sendCommand (firstKey, isReadonly, args, _options?: unknown) { sent.push([firstKey, isReadonly, args[0]]); return [] } }
  await redisStore({ client: cluster, stream: 'k' }).append(['a'])
  t.same(sent, [['k', false, 'EVAL']])
})
