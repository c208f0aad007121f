/** The rule artifact in a real Redis, over the clients that apps have. */
import t from 'tap'
import { Redis } from 'ioredis'
import { createTargetClient, type StoredArtifact } from '../../lib/index.ts'
import { redisArtifactStore, type RedisClient } from '../../lib/redis/index.ts'
import { startOrigin } from '../support/artifact-origin.ts'
import { client, organizationId } from '../support/helper.ts'
import { startRedis, withoutRedis } from '../support/redis-server.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

t.test('what is stored, with each client', { skip: withoutRedis }, async (t) => {
  const server = await startRedis(t)
  const ioredis = server.ioredis()
  const clients: Record<string, RedisClient> = { ioredis, redis: await server.redis() }
  for (const [name, lent] of Object.entries(clients)) {
    await ioredis.flushall()
    const [a, b] = [redisArtifactStore({ client: lent }), redisArtifactStore({ client: lent })]
    const artifact: StoredArtifact = { json: '{"a":"ü\\n"}', digest: 'd1', location: 'http://a/', etag: '"1"', fetchedAt: 1_700_000_000_123 }
    t.equal(await a.read(), undefined, name)
    await a.write(artifact)
    t.same(await b.read(), artifact, name)
    await a.write({ ...artifact, json: 'not written again', fetchedAt: 5 })
    t.same(await b.read(), { ...artifact, fetchedAt: 5 }, name)
    t.equal((await b.read({ ...artifact, json: 'known' }))!.json, 'known', name)
    await ioredis.flushall()
    await a.write(artifact)
    t.same(await b.read(), artifact, `${name}: written again`)
    t.same(await ioredis.keys('*'), ['fastify-adobe-target:artifact'])
    // Terms that do not end before they are looked at, and one that does.
    t.equal(await a.lead(20_000), true, name)
    t.equal(await b.lead(20_000), false, name)
    t.equal(await a.lead(60_000), true, name)
    t.ok(await ioredis.pttl('fastify-adobe-target:artifact:leader') > 20_000, name)
    t.equal(await a.lead(100), true, name)
    t.ok(await until(async () => await b.lead(100)), name)
  }
  t.throws(() => redisArtifactStore({ client: {} as never }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /client of ioredis or redis/ })
  t.throws(() => redisArtifactStore({ client: ioredis, key: 1 as never }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`key`/ })
})

t.test('instances share it through restarts, pauses and losses of Redis', { skip: withoutRedis }, async (t) => {
  const server = await startRedis(t)
  const origin = await startOrigin(t)
  const lines: string[] = []
  const logger = { debug () {}, error (...args: unknown[]) { lines.push(String(args.at(-1))) } }
  const start = (lent: RedisClient) => {
    // ready() is to wait for the artifact only, not for connections that no call uses: meanwhile it may be confirmed.
    const instance = createTargetClient({ client, organizationId, preconnect: 0, decisioningMethod: 'on-device', artifactLocation: origin.location, pollingInterval: 1000, logger, artifactStore: redisArtifactStore({ client: lent, key: 'rules' }) })
    t.teardown(() => instance.close())
    return instance
  }
  const ioredis = server.ioredis()
  const other = server.ioredis()
  await Promise.all([ioredis.ping(), other.ping()])
  const startAll = async () => {
    const started = [start(ioredis), start(await server.redis()), start(other)]
    await Promise.all(started.map((instance) => instance.ready({ timeout: 5000 })))
    return started
  }
  let instances = await startAll()
  const downloads = () => origin.answers.filter((status) => status === 200).length
  // An instance does not wait long for the store: on a busy machine, one start of several has to do.
  for (let tries = 0; tries < 5 && downloads() >= 3; tries++) {
    await Promise.all(instances.map((instance) => instance.close()))
    await ioredis.flushall()
    origin.answers.length = lines.length = 0
    instances = await startAll()
  }
  t.ok(downloads() < 3, 'not each downloads it')
  const versions = () => instances.map((instance) => instance.health().artifact?.version)

  await ioredis.flushall()
  origin.version = '1.0.2'
  await until(() => versions().every((version) => version === '1.0.2'))
  t.same(versions(), ['1.0.2', '1.0.2', '1.0.2'])
  t.same(lines, [])

  server.pause()
  origin.version = '1.0.3'
  await until(() => versions().every((version) => version === '1.0.3'))
  t.same(versions(), ['1.0.3', '1.0.3', '1.0.3'], 'without the store each asks the origin')
  server.resume()
  t.equal(lines.length, 3, 'a line for each instance')

  await server.kill()
  origin.version = '1.0.4'
  await until(() => versions().every((version) => version === '1.0.4'))
  t.same(versions(), ['1.0.4', '1.0.4', '1.0.4'])
  await server.start()
  await sleep(3000)
  const before = origin.answers.length
  await sleep(2200)
  t.ok(origin.answers.length - before <= 4, `one asks again: ${origin.answers.length - before}`)

  await Promise.all(instances.map((instance) => instance.close()))
  origin.down = true
  const fresh = server.ioredis()
  await new Promise((resolve) => fresh.once('ready', resolve))
  // A busy machine may hold up a start, which may then have followed the leader of a moment ago; not every one.
  let took = Infinity
  let artifact: unknown
  for (let tries = 0; tries < 20 && took >= 50; tries++) {
    const began = performance.now()
    const restarted = start(fresh)
    await restarted.ready({ timeout: 5000 })
    took = performance.now() - began
    artifact = restarted.health().artifact
    t.match(artifact, { state: /^(stale|ready)$/, version: '1.0.4' })
    await restarted.close()
  }
  t.ok(took < 50, `${took} ms`)
  t.match(artifact, { state: 'stale', version: '1.0.4' })
})

t.test('a client that is not connected holds nothing up', async (t) => {
  const origin = await startOrigin(t)
  const lent = new Redis({ path: '/nowhere/redis.sock', retryStrategy: () => 100 })
  lent.on('error', () => {})
  t.teardown(() => lent.disconnect())
  const instance = createTargetClient({ client, organizationId, decisioningMethod: 'on-device', artifactLocation: origin.location, artifactStore: redisArtifactStore({ client: lent }) })
  const took = stopwatch()
  await instance.ready({ timeout: 5000 })
  t.ok(took() < 1000)
  await instance.close()
  t.equal(lent.status === 'end', false, 'it is never closed')
})
