/**
 * docs/observability: the alert rules by promtool, the dashboard's queries against a real scrape and by Prometheus itself.
 *
 * With TEST_PICTURE=1 the load goes on for two minutes and docs/observability/dashboard.svg is drawn from what Prometheus saw.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as promClient from 'prom-client'
import t from 'tap'
import { targetMetrics } from '../../lib/prometheus/index.ts'
import { client, startApp, startEdge } from '../support/helper.ts'
import { root } from '../support/project.ts'
import { promtool, startPrometheus, withoutPrometheus, withoutPromtool } from '../support/prometheus.ts'
import { sleep } from '../support/wait.ts'
import { drawDashboard, nameOf, type Panel } from './picture.ts'

const folder = join(root, 'docs/observability')
const dashboard = JSON.parse(readFileSync(join(folder, 'dashboard.json'), 'utf8')) as { title: string, panels: Panel[] }
const rules = readFileSync(join(folder, 'alerts.yml'), 'utf8')
const drawing = process.env.TEST_PICTURE === '1'

t.test('the alert rules', { skip: withoutPromtool }, async (t) => {
  const checked = promtool('check', 'rules', join(folder, 'alerts.yml'))
  t.ok(checked.ok, checked.output)
  t.match(checked.output, /7 rules found/)
  const tested = promtool('test', 'rules', join(root, 'test/prometheus/alerts.test.yml'))
  t.ok(tested.ok, tested.output)
  const cases = readFileSync(join(root, 'test/prometheus/alerts.test.yml'), 'utf8')
  for (const [, alert] of rules.matchAll(/alert: (\w+)/g)) t.ok(cases.includes(`alertname: ${alert}, exp_alerts: []`) && cases.includes(`alertname: ${alert}\n`), `${alert} both ways`)
})

async function eventually (holds: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + 10_000; performance.now() < end; await sleep(50)) if (await holds()) return true
  return false
}

/** A query with Grafana's variables as Grafana fills them in. */
const filledIn = (query: string) => query.replaceAll('$__rate_interval', '1m').replaceAll('$job', '.*')

/** Metrics of a query, each with the labels that are named beside it. */
function usesIn (query: string): { metric: string, labels: string[] }[] {
  const grouped = [...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names]) => names!.split(',').map((name) => name.trim()))
  return [...query.matchAll(/\b(adobe_target_\w+)(?:\{([^}]*)\})?/g)].map(([, metric, matchers = '']) => ({
    metric: metric!, labels: [...grouped, ...[...matchers.matchAll(/(\w+)\s*[=!]/g)].map(([, label]) => label!)]
  }))
}

t.test('the dashboard and the rules ask for what a scrape has', async (t) => {
  const edge = await startEdge(t)
  const registry = new promClient.Registry()
  const { app, url } = await startApp(t, edge.host, {
    decisioningMethod: 'hybrid', artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json`, timeout: 5000, grace: 0, breaker: { failures: 3, cooldown: 1000 }
  }, (app) => {
    targetMetrics(app.target, { client: promClient, registry, mboxes: ['hero'] })
    app.get('/metrics', { config: { target: false } }, async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
    const work = async () => { if (drawing) await sleep(20 + Math.random() * 20) }
    app.get('/shop/:id', { config: { target: { execute: { mboxes: ['hero', 'banner'] }, decisioningMethod: 'server-side' } } }, async ({ target }) => {
      await work()
      return { hero: await target.content('hero', ''), banner: await target.content('banner', '') }
    })
    app.get('/search', { config: { target: { execute: { mboxes: ['hero'] }, decisioningMethod: 'server-side' } } }, async ({ target }) => { await work(); return { hero: await target.content('hero', ''), late: await target.content('nowhere', '') } })
    app.get('/cart', { config: { target: { prefetch: { mboxes: ['checkout-flags'] } } } }, async ({ target }) => { await work(); const flags = await target.content('checkout-flags'); target.displayed('checkout-flags'); return flags ?? {} })
  })
  await app.target.ready()
  await app.target.refresh()
  let pages = 0
  const load = async (size: number) => await Promise.all(Array.from({ length: size }, async () => await (await fetch(`${url}${[`/shop/${pages}`, '/search', '/cart'][pages++ % 3]}`)).text()))
  const outage = async () => {
    edge.fault('status:500')
    for (let round = 0; round < 4; round++) await load(6)
  }

  const prometheus = withoutPrometheus === false ? await startPrometheus(t, new URL(url).host) : undefined
  if (prometheus === undefined) t.comment(`the queries were not evaluated: ${withoutPrometheus}`)
  // It looks for its targets within five seconds.
  else t.ok(await eventually(async () => await prometheus.isReady() && (await prometheus.query('adobe_target_up == 1')).length > 0))
  const began = Date.now()

  if (drawing) {
    edge.fault('slow:15')
    for (let second = 0; second < 120; second++) {
      if (second === 70) await outage()
      if (second === 85) edge.reset()
      if (second === 85) edge.fault('slow:15')
      if (second % 20 === 19) await app.target.refresh()
      for (let burst = 0; burst < 10; burst++) await Promise.all([load(1 + Math.round(3 + 2 * Math.sin(second / 12))), sleep(100)])
    }
  } else {
    await load(9)
    await sleep(prometheus === undefined ? 0 : 1200)
    await outage()
    await sleep(prometheus === undefined ? 0 : 1200)
  }

  const text = await registry.metrics()
  const labelsOf = new Map<string, Set<string>>()
  for (const [, metric, labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? /gm)) {
    const known = labelsOf.get(metric!) ?? new Set(['job', 'instance'])
    for (const [, label] of labels.matchAll(/(\w+)="/g)) known.add(label!)
    labelsOf.set(metric!, known)
  }
  const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
  const alerts = [...rules.matchAll(/expr: (?:\|\n)?([\s\S]*?)\n {8}(?:for|labels):/g)].map(([, expr]) => expr!)
  t.ok(queries.length >= 20)
  t.equal(alerts.length, 7)
  for (const query of [...queries, ...alerts]) {
    const uses = usesIn(query)
    t.ok(uses.length > 0, query)
    for (const { metric, labels } of uses) {
      const known = labelsOf.get(metric)
      t.ok(known !== undefined && labels.every((label) => known.has(label)), `${metric} has ${labels.join(', ')}`)
    }
  }
  const asked = new Set([...queries, ...alerts].flatMap(usesIn).map(({ metric }) => metric.replace(/_(bucket|count|sum)$/, '')))
  for (const [, name] of text.matchAll(/^# TYPE (\w+)/gm)) t.ok(asked.has(name!), `${name} is on the dashboard`)
  for (const { targets } of dashboard.panels) {
    for (const { expr, legendFormat } of targets) for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) t.match(expr, new RegExp(`by \\([^)]*\\b${label}\\b`), `${label} of a legend`)
  }

  if (prometheus === undefined) return
  for (const query of queries) t.ok((await prometheus.query(filledIn(query))).length > 0, query)
  for (const alert of alerts) await prometheus.query(alert)
  const pagesOfShop = async () => Number((await prometheus.query('adobe_target_page_wait_seconds_count{route="/shop/:id"}'))[0]!.values[0]![1])
  t.ok(await eventually(async () => await pagesOfShop() === Math.ceil(pages / 3)), 'what Prometheus has is the number of pages')

  if (!drawing) return
  const [from, to] = [began / 1000 + 8, Date.now() / 1000]
  const panels = await Promise.all(dashboard.panels.map(async (panel) => {
    const lines = await Promise.all(panel.targets.map(async ({ expr, legendFormat }) => (await prometheus.queryRange(filledIn(expr).replaceAll('[1m]', '[8s]'), from, to, 2))
      .map((series) => ({ name: nameOf(legendFormat, series).replaceAll(edge.host, 'edge'), values: series.values.map(([time, value]): [number, number] => [time, Number(value)]) }))))
    return { panel, lines: lines.flat() }
  }))
  writeFileSync(join(folder, 'dashboard.svg'), drawDashboard(dashboard.title, panels, from, to))
})
