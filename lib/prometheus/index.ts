/**
 * Prometheus metrics of Target clients: counters and histograms from the diagnostics channels, gauges from `health()` when
 * they are scraped. No timer runs, and labels are bounded.
 *
 * Names and units follow Prometheus (https://prometheus.io/docs/practices/naming/): seconds, `_total` for counters.
 */
import type * as promClient from 'prom-client'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { TargetClient } from '../client/client.ts'
import { calls, channels, type CallMessage, type OfferMessage, type OutboxMessage, type PageMessage } from '../diagnostics.ts'
import { failure } from '../errors.ts'

/** `prom-client`, or a fork with its classes, such as `@platformatic/prom-client`. */
export type PromClient = Pick<typeof promClient, 'Counter' | 'Gauge' | 'Histogram' | 'register'>

/** Options of {@link targetMetrics}. */
export interface TargetMetricsOptions {
  /** The app's `prom-client` module, e.g. `app.metrics.client` of `fastify-metrics`. Required, since each copy of the module has its own registry. */
  client: PromClient
  /** Where the metrics are registered. Default: the default registry of `client`. */
  registry?: promClient.Registry
  /** Prefix of all names. Default `adobe_target_`. */
  prefix?: string
  /** Mboxes that get their own label in `offers_total`; all others share an empty label. Default: none. */
  mboxes?: readonly string[]
}

/** Metrics that were registered. */
export interface TargetMetrics {
  /** Stops counting and removes the metrics from the registry. Call it in `onClose` if the registry outlives the app. */
  close (): void
}

/** From less than a millisecond, which is what the page should wait, to the longest timeout in use. In seconds. */
const WAIT_BUCKETS = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 3]

/** As OpenTelemetry advises for `http.client.request.duration`. In seconds. */
const CALL_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** On-device decisions take microseconds. In seconds. */
const DECISION_BUCKETS = [0.000001, 0.000005, 0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.01]

const BREAKER_STATES = ['closed', 'open', 'half-open']

/** Prefixes by registry, so that a second registration is refused with a clear error. */
const registered = new WeakMap<object, Set<string>>()

/**
 * Registers the metrics of a client. The channels belong to the whole process: with several instances of the plugin, counters and
 * histograms cover all of them, while gauges read the clients passed here.
 *
 * @param target `app.target`, or several clients
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function targetMetrics (target: TargetClient | readonly TargetClient[], options: TargetMetricsOptions): TargetMetrics {
  const clients = [target].flat() as TargetClient[]
  const { client: prom, prefix = 'adobe_target_', mboxes = [] } = checked(clients, options)
  const registry = options.registry ?? prom.register
  const prefixes = registered.get(registry) ?? new Set()
  if (prefixes.has(prefix)) throw failure('FST_TARGET_INVALID_OPTIONS', `this registry already has metrics with the prefix \`${prefix}\`; pass all clients in one call, or set a different \`prefix\``)

  const names: string[] = []
  const settings = <Labels extends string>(name: string, help: string, labelNames: readonly Labels[] = []) => {
    names.push(prefix + name)
    return { name: prefix + name, help, labelNames, registers: [registry] }
  }

  const wait = new prom.Histogram({ ...settings('page_wait_seconds', 'Time that Target held a page: the effective Target time', ['route']), buckets: WAIT_BUCKETS })
  const duration = new prom.Histogram({ ...settings('delivery_duration_seconds', 'Time of calls, by outcome: ok, or the code of the error', ['kind', 'outcome']), buckets: CALL_BUCKETS })
  const decision = new prom.Histogram({ ...settings('decision_duration_seconds', 'Time of decisions on-device'), buckets: DECISION_BUCKETS })
  const offers = new prom.Counter(settings('offers_total', 'Offers that handlers got, by reason and source', ['reason', 'source', 'mbox']))
  const notifications = new prom.Counter(settings('notifications_total', 'Notifications, by what became of them', ['outcome']))
  // From 0 on, or increase() would not see the first ones that are lost.
  for (const outcome of ['accepted', 'sent', 'failed', 'dropped']) notifications.inc({ outcome }, 0)
  const breakerOpened = new prom.Counter(settings('breaker_open_total', 'How often a circuit breaker opened', ['host']))
  const refreshes = new prom.Counter(settings('artifact_refresh_total', 'States that the rule artifact changed to', ['state']))

  const report = () => clients.map((one) => one.health())
  const gauge = <Labels extends string>(name: string, help: string, labelNames: readonly Labels[], collect: (gauge: promClient.Gauge<Labels>) => void) =>
    new prom.Gauge<Labels>({
      ...settings(name, help, labelNames),
      collect () {
        this.reset()
        collect(this)
      }
    })
  gauge('up', '1 unless a client is down', [], (metric) => metric.set(report().some(({ status }) => status === 'down') ? 0 : 1))
  gauge('outbox_pending', 'Notifications that wait to be sent', [], (metric) => metric.set(report().reduce((sum, { outbox }) => sum + outbox.pending, 0)))
  gauge('pool_calls', 'Calls by host: running, waiting for a connection, past their deadline', ['host', 'state'], (metric) => {
    for (const [host, { running, waiting, stragglers }] of report().flatMap(({ pool }) => Object.entries(pool))) {
      metric.inc({ host, state: 'running' }, running)
      metric.inc({ host, state: 'waiting' }, waiting)
      metric.inc({ host, state: 'stragglers' }, stragglers)
    }
  })
  gauge('pool_sockets', 'Open connections by host', ['host'], (metric) => {
    for (const [host, { sockets }] of report().flatMap(({ pool }) => Object.entries(pool))) metric.inc({ host }, sockets)
  })
  gauge('breaker_state', '1 for the state that a host\'s circuit breaker is in', ['host', 'state'], (metric) => {
    for (const [host, { state }] of report().flatMap(({ breaker }) => Object.entries(breaker))) {
      for (const one of BREAKER_STATES) metric.set({ host, state: one }, one === state ? 1 : 0)
    }
  })
  gauge('artifact_age_seconds', 'Time since the origin last confirmed the rule artifact', [], (metric) => {
    const ages = report().flatMap(({ artifact }) => artifact?.age ?? [])
    if (ages.length > 0) metric.set(Math.max(...ages) / 1000)
  })
  gauge('artifact_info', '1, with the version of the rule artifact that decisions are made by', ['version', 'state'], (metric) => {
    for (const { artifact } of report()) if (artifact !== undefined) metric.set({ version: artifact.version ?? 'none', state: artifact.state }, 1)
  })

  const labelled = new Set(mboxes)
  const subscriptions: Array<[name: string | symbol, listener: (message: any) => void]> = [
    [channels.page.name, ({ route, timing }: PageMessage) => wait.observe({ route: route ?? 'not found' }, timing.waited / 1000)],
    [channels.offer.name, ({ reason, source, mbox }: OfferMessage) => offers.inc({ reason, source, mbox: mbox !== undefined && labelled.has(mbox) ? mbox : '' })],
    [channels.outbox.name, ({ event, count }: OutboxMessage) => notifications.inc({ outcome: event }, count)],
    [channels.breaker.name, ({ host, state }: { host: string, state: string }) => { if (state === 'open') breakerOpened.inc({ host }) }],
    [channels.artifact.name, ({ state }: { state: string }) => refreshes.inc({ state })],
    [channels.decision.name, ({ elapsed }: { elapsed: number }) => decision.observe(elapsed / 1000)],
    [calls.asyncEnd.name, ({ kind, error, elapsed = 0 }: CallMessage) => duration.observe({ kind, outcome: error === undefined ? 'ok' : outcomeOf(error.code) }, elapsed / 1000)]
  ]
  // A metric that throws, such as one that another copy has removed, must not fail a page: channels report it as uncaught.
  for (const subscription of subscriptions) {
    const [name, listener] = subscription
    subscription[1] = (message) => { try { listener(message) } catch {} }
    subscribe(name, subscription[1])
  }
  registered.set(registry, prefixes.add(prefix))

  return {
    close () {
      for (const [name, listener] of subscriptions) unsubscribe(name, listener)
      for (const name of names) registry.removeSingleMetric(name)
      prefixes.delete(prefix)
    }
  }
}

/** `FST_TARGET_BREAKER_OPEN` → `breaker_open`. */
const outcomeOf = (code: string): string => code.replace(/^FST_TARGET_/, '').toLowerCase()

function checked (clients: readonly TargetClient[], options: TargetMetricsOptions): TargetMetricsOptions {
  const refuse = (text: string) => failure('FST_TARGET_INVALID_OPTIONS', `targetMetrics(): ${text}`)
  if (clients.length === 0 || !clients.every((client) => typeof client?.health === 'function')) throw refuse('the first argument must be a Target client, such as `app.target`, or a list of them')
  const { client, prefix } = options ?? {}
  if (typeof client?.Counter !== 'function' || typeof client.Histogram !== 'function' || typeof client.Gauge !== 'function') throw refuse('`client` must be the prom-client module')
  if (prefix !== undefined && !/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(prefix)) throw refuse(`\`prefix\` must be the beginning of a metric name, got ${JSON.stringify(prefix)}`)
  return options
}
