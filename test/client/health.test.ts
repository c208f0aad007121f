/** `health()`: what a readiness probe is told. */
import t from 'tap'
import { createTargetClient, type FastifyAdobeTargetOptions } from '../../lib/index.ts'
import { client, optionsFor, startEdge, startServer } from '../support/helper.ts'
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
    t.strictSame(target.health(), { status: 'ok', breaker: {}, outbox, pool: {} })
    await target.getOffers(hero)
    t.strictSame(target.health(), {
      status: 'ok',
      breaker: { [edge.host]: { state: 'closed', calls: 1, failures: 0, retryIn: 0 } },
      outbox,
      pool: { [edge.host]: { running: 0, waiting: 0, stragglers: 0, sockets: 1 } }
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
