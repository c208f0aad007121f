/** Metrics as Prometheus scrapes them: over HTTP, with the real prom-client, beside what the edge counted. */
import type { FastifyInstance } from 'fastify'
import * as promClient from 'prom-client'
import fastifyMetrics from 'fastify-metrics'
// @ts-expect-error it has no types
import httpMetrics from '@platformatic/fastify-http-metrics'
import t from 'tap'
import type { TargetClient } from '../../lib/client/client.ts'
import { targetMetrics } from '../../lib/prometheus/index.ts'
import { startApp, startEdge } from '../support/helper.ts'
import { until } from '../support/wait.ts'

/** Values of a scrape by name and labels, as they stand there. */
function valuesOf (text: string): Map<string, number> {
  return new Map(text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => {
    const at = line.lastIndexOf(' ')
    return [line.slice(0, at), Number(line.slice(at + 1))]
  }))
}

t.test('a scrape equals what the edge and the visitors saw', async (t) => {
  const edge = await startEdge(t)
  const registry = new promClient.Registry()
  const { url } = await startApp(t, edge.host, { breaker: { failures: 2, cooldown: 60_000 } }, (app) => {
    const metrics = targetMetrics(app.target, { client: promClient, registry, mboxes: ['hero'] })
    app.addHook('onClose', async () => metrics.close())
    app.get('/metrics', { config: { target: false } }, async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
    app.get('/shop/:id', { config: { target: ['hero', 'banner'] } }, async (request) => ({ hero: await request.target.content('hero', ''), banner: await request.target.content('banner', '') }))
    app.get('/lazy', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => {
      await request.target.content('hero')
      request.target.displayed('hero')
      return ''
    })
  })
  const scrape = async () => valuesOf(await (await fetch(`${url}/metrics`)).text())

  for (let i = 0; i < 7; i++) t.equal((await fetch(`${url}/shop/${i}`)).status, 200)
  await fetch(`${url}/lazy`)
  await edge.until(() => edge.notifications.length === 1)
  let values = await scrape()
  while ((values.get('adobe_target_notifications_total{outcome="sent"}') ?? 0) < 1) values = await scrape()

  t.equal(values.get('adobe_target_page_wait_seconds_count{route="/shop/:id"}'), 7, 'by route, not by address')
  t.equal(values.get('adobe_target_page_wait_seconds_count{route="/lazy"}'), 1)
  t.ok(values.get('adobe_target_page_wait_seconds_sum{route="/shop/:id"}')! < 7)
  t.equal(values.get('adobe_target_delivery_duration_seconds_count{kind="page",outcome="ok"}'), 8)
  t.equal(values.get('adobe_target_delivery_duration_seconds_count{kind="notification",outcome="ok"}'), 1)
  t.equal(edge.requests.length, 9, 'as many calls as the edge got')
  t.equal(values.get('adobe_target_offers_total{reason="matched",source="edge",mbox="hero"}'), 8)
  t.equal(values.get('adobe_target_offers_total{reason="matched",source="edge",mbox=""}'), 7, 'an mbox that was not named has no label')
  t.equal(values.get('adobe_target_notifications_total{outcome="accepted"}'), edge.notifications.length)
  t.equal(values.get('adobe_target_notifications_total{outcome="sent"}'), edge.notifications.length)
  t.equal(values.get('adobe_target_up'), 1)
  t.equal(values.get('adobe_target_outbox_pending'), 0)
  t.equal(values.get(`adobe_target_breaker_state{host="${edge.host}",state="closed"}`), 1)
  t.ok(values.get(`adobe_target_pool_sockets{host="${edge.host}"}`)! >= 1)

  edge.fault('status:500')
  for (let i = 0; i < 12; i++) await fetch(`${url}/shop/${i}`)
  values = await scrape()
  // On a slow machine it is time to probe the edge again already.
  for (let tries = 0; tries < 20 && values.get(`adobe_target_breaker_state{host="${edge.host}",state="open"}`) !== 1; tries++) {
    await fetch(`${url}/shop/again`)
    values = await scrape()
  }
  t.ok(values.get('adobe_target_delivery_duration_seconds_count{kind="page",outcome="http"}')! >= 2)
  t.equal(values.get(`adobe_target_breaker_state{host="${edge.host}",state="open"}`), 1)
  t.ok(values.get(`adobe_target_breaker_open_total{host="${edge.host}"}`)! >= 1)
  t.equal(values.get('adobe_target_up'), 0)
  t.ok(values.get('adobe_target_offers_total{reason="breaker-open",source="default",mbox="hero"}')! >= 1)
})

t.test('on-device: age, version and decisions', async (t) => {
  const edge = await startEdge(t)
  const registry = new promClient.Registry()
  const { app, url } = await startApp(t, edge.host, { decisioningMethod: 'on-device', artifactLocation: `http://${edge.host}/acmeclient/production/v1/rules.json` }, (app) => {
    targetMetrics(app.target, { client: promClient, registry, prefix: 'shop_target_' })
    app.get('/', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => await request.target.content('hero', ''))
  })
  await app.target.ready()
  await app.target.refresh()
  for (let i = 0; i < 3; i++) await fetch(url)
  const values = valuesOf(await registry.metrics())
  t.equal(values.get('shop_target_decision_duration_seconds_count'), 3)
  t.equal(values.get('shop_target_artifact_info{version="1.0.0",state="ready"}'), 1)
  t.ok(values.get('shop_target_artifact_age_seconds')! < 60)
  t.ok(values.get('shop_target_artifact_refresh_total{state="ready"}')! >= 1)
  t.equal(values.get('shop_target_delivery_duration_seconds_count{kind="artifact",outcome="ok"}'), 1, 'the refresh; the first download was under way before the metrics were there')
})

t.test('under saturating load, beside the metrics that the app has', async (t) => {
  const ownRegistry = new promClient.Registry()
  const setups: Record<string, (app: FastifyInstance) => Promise<void>> = {
    'fastify-metrics': async (app) => {
      await app.register(fastifyMetrics as never, { endpoint: '/metrics' })
      const { client } = (app as unknown as { metrics: { client: typeof promClient } }).metrics
      const metrics = targetMetrics(app.target, { client })
      app.addHook('onClose', async () => metrics.close())
    },
    '@platformatic/fastify-http-metrics': async (app) => {
      await app.register(httpMetrics as never, { registry: ownRegistry })
      targetMetrics(app.target, { client: promClient, registry: ownRegistry })
      app.get('/metrics', { config: { target: false } }, async (_request, reply) => reply.type(ownRegistry.contentType).send(await ownRegistry.metrics()))
    }
  }
  for (const [name, setUp] of Object.entries(setups)) {
    await t.test(name, async (t) => {
      const edge = await startEdge(t)
      edge.fault('slow:2')
      const { app, url } = await startApp(t, edge.host, { pool: { connections: 2 } }, async (app) => {
        await setUp(app)
        app.get('/shop/:id', { config: { target: { prefetch: { mboxes: ['hero', 'banner'] } } } }, async ({ target }) => {
          await Promise.all([target.content('hero'), target.content('late')])
          target.displayed('hero')
          return ''
        })
      })
      const pages = 40
      await Promise.all(Array.from({ length: pages }, async (_, n) => await (await fetch(`${url}/shop/${n}`)).text()))
      await edge.until(() => edge.notifications.length === pages)
      t.ok(await until(() => app.target.health().outbox.sent === pages))
      const text = await (await fetch(`${url}/metrics`)).text()
      const values = valuesOf(text)
      const callsOf = (kind: string) => values.get(`adobe_target_delivery_duration_seconds_count{kind="${kind}",outcome="ok"}`)
      const isNotification = ({ body }: { body: { notifications?: object[] } }) => body.notifications !== undefined
      t.equal(callsOf('page'), edge.requests.filter((request) => !isNotification(request)).length)
      t.equal(callsOf('notification'), edge.requests.filter(isNotification).length)
      t.equal(values.get('adobe_target_page_wait_seconds_count{route="/shop/:id"}'), pages)
      t.equal(values.get('adobe_target_offers_total{reason="matched",source="edge",mbox=""}'), pages)
      t.equal(values.get('adobe_target_offers_total{reason="no-offer",source="default",mbox=""}'), pages)
      for (const outcome of ['accepted', 'sent']) t.equal(values.get(`adobe_target_notifications_total{outcome="${outcome}"}`), edge.notifications.length)
      t.equal(values.get('adobe_target_notifications_total{outcome="dropped"}'), 0, 'there from the beginning, for increase()')
      t.ok(values.get('adobe_target_page_wait_seconds_sum{route="/shop/:id"}')! > 0.1, 'calls did queue')
      t.match(text, /http_request_duration_seconds_count\{[^}]*route="\/shop\/:id"/, 'the app\'s own metrics beside it')
    })
  }
})

t.test('mistakes are named, and close() ends all', async (t) => {
  const target = { health: () => ({ status: 'ok', breaker: {}, pool: {}, outbox: { accepted: 0, pending: 0, sent: 0, failed: 0, dropped: 0 } }) } as unknown as TargetClient
  const registry = new promClient.Registry()
  const cases: Array<[unknown, unknown, RegExp]> = [
    [undefined, { client: promClient }, /the first argument must be a Target client/],
    [[], { client: promClient }, /the first argument must be a Target client/],
    [target, undefined, /`client` must be the prom-client module/],
    [target, { client: {} }, /`client` must be the prom-client module/],
    [target, { client: promClient, prefix: '1 x' }, /`prefix` must be the beginning of a metric name, got "1 x"/]
  ]
  for (const [first, options, message] of cases) t.throws(() => targetMetrics(first as TargetClient, options as never), { code: 'FST_TARGET_INVALID_OPTIONS', message })
  const metrics = targetMetrics(target, { client: promClient, registry })
  t.throws(() => targetMetrics(target, { client: promClient, registry }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /this registry already has metrics/ })
  metrics.close()
  t.equal((await registry.metrics()).trim(), '')
  targetMetrics([target, target], { client: promClient, registry }).close()
})
