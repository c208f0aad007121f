/**
 * Spans and events as the real OpenTelemetry SDK gets them, beside `@fastify/otel` and undici's instrumentation, with ids of
 * visitors that must be nowhere in them.
 */
import { FastifyOtelInstrumentation } from '@fastify/otel'
import { context, trace, SpanKind, SpanStatusCode, type Attributes } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici'
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace-node'
import Fastify, { type FastifyInstance } from 'fastify'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import t from 'tap'
import fastifyAdobeTarget, { createTargetClient } from '../../lib/index.ts'
import { isDeliveryRequest, TargetInstrumentation, withoutQuery } from '../../lib/otel/index.ts'
import { optionsFor, startApp, startEdge, startServer } from '../support/helper.ts'
import { root } from '../support/project.ts'
import { until } from '../support/wait.ts'

const exporter = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
provider.register()
const fastifyOtel = new FastifyOtelInstrumentation()
const undici = new UndiciInstrumentation({ startSpanHook: withoutQuery, ignoreRequestHook: (request) => !isDeliveryRequest(request) })
const instrumentation = new TargetInstrumentation()
const unregister = registerInstrumentations({ tracerProvider: provider, instrumentations: [fastifyOtel, undici, instrumentation] })
t.teardown(() => { unregister(); return provider.shutdown() })

const spansNamed = (name: string) => exporter.getFinishedSpans().filter((span) => span.name === name)
const idOf = (span: ReadableSpan) => span.spanContext().spanId
const parentOf = (span: ReadableSpan) => span.parentSpanContext?.spanId

/** All that leaves the process about spans. */
const textOf = (spans: ReadableSpan[]) => JSON.stringify(spans.map(({ name, attributes, events, links, status }) => ({ name, attributes, events, links, status })))

/** An app whose pages are spans: `@fastify/otel` comes before the plugin. */
async function startTracedApp (t: Parameters<typeof startApp>[0], host: string, options: Parameters<typeof startApp>[2], routes: (app: FastifyInstance) => unknown) {
  const app = Fastify({ forceCloseConnections: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(fastifyOtel.plugin() as never)
  await app.register(fastifyAdobeTarget, optionsFor(host, options))
  await routes(app)
  return { app, url: await app.listen({ port: 0, host: '127.0.0.1' }) }
}

t.test('under saturating load every call is a child of its own page, and nothing names a visitor', async (t) => {
  const edge = await startEdge(t)
  edge.fault('slow:3')
  const { app, url } = await startTracedApp(t, edge.host, { pool: { connections: 2 }, visitor: (request) => ({ thirdPartyId: `person-${(request.params as { n: string }).n}` }) }, (app) => {
    app.get('/p/:n', { config: { target: { prefetch: { mboxes: ['hero', 'banner'] } } } }, async ({ target }) => {
      await Promise.all([target.content('hero'), target.content('banner'), target.content('late')])
      target.displayed('hero')
      return ''
    })
  })
  exporter.reset()
  const pages = 40
  await Promise.all(Array.from({ length: pages }, async (_, n) => await (await fetch(`${url}/p/${n}`, { headers: { cookie: `mbox=session#cookiesession${n}#${2 ** 31}|PC#cookiepc${n}.35_0#${2 ** 31}` } })).text()))
  await edge.until(() => edge.notifications.length === pages)
  t.ok(await until(() => app.target.health().outbox.sent === pages))

  const requests = new Map(spansNamed('request').map((span) => [idOf(span), span]))
  const all = spansNamed('adobe_target.delivery')
  const deliveries = all.filter(({ attributes }) => attributes['adobe_target.kind'] === 'page')
  t.equal(requests.size, pages)
  t.equal(deliveries.length, 2 * pages, 'the route\'s call, and one for the late mbox')
  t.strictSame(deliveries.filter((span) => !requests.has(parentOf(span)!)), [], 'no orphan, and no hook in between')
  t.ok(deliveries.every((span) => span.spanContext().traceId === requests.get(parentOf(span)!)!.spanContext().traceId))
  t.equal(new Set(deliveries.map((span) => span.spanContext().traceId)).size, pages, 'a trace for each page')
  t.ok(deliveries.some(({ attributes }) => Number(attributes['adobe_target.queued_ms']) > 20), 'calls did queue')

  // The edge heard which trace a call belongs to (undici's instrumentation says so), and for which page it was.
  for (const { body, headers } of edge.requests.filter(({ body }) => body.notifications === undefined)) {
    const [, traceId, spanId] = String(headers.traceparent).split('-')
    const page = [...requests.values()].find((span) => span.spanContext().traceId === traceId)
    const sent = exporter.getFinishedSpans().find((span) => idOf(span) === spanId)
    if (page?.attributes['url.path'] !== new URL(body.context.address!.url!).pathname) t.fail(`call of ${body.context.address!.url} in the trace of ${page?.attributes['url.path']}`)
    if (!deliveries.some((span) => idOf(span) === parentOf(sent!))) t.fail('undici\'s span is not below ours')
  }

  const notifications = all.filter(({ attributes }) => attributes['adobe_target.kind'] === 'notification')
  t.ok(notifications.length > 0 && notifications.every((span) => span.parentSpanContext === undefined), 'sent in no page\'s trace')
  const linked = notifications.flatMap(({ links }) => links.map(({ context }) => context.spanId))
  t.strictSame(linked.sort(), [...requests.keys()].sort(), 'each page once')
  t.equal(notifications.reduce((sum, { attributes }) => sum + Number(attributes['adobe_target.notifications']), 0), pages)

  const text = textOf(exporter.getFinishedSpans())
  const ids = edge.requests.flatMap(({ body, query }) => [body.requestId, query.sessionId, body.id?.tntId, body.id?.thirdPartyId, ...(body.notifications ?? []).flatMap(({ id, impressionId }: { id: string, impressionId?: string }) => [id, impressionId])]).filter((id) => id !== undefined) as string[]
  t.ok(ids.length >= 6 * pages)
  t.strictSame(ids.filter((id) => text.includes(`${id}"`) || text.includes(`=${id}`)), [])
  t.notMatch(text, /session|cookiepc|person-|imsOrgId|AdobeOrg/i)
  const [sent] = spansNamed('POST')
  t.match(sent!.attributes, { 'url.full': `http://${edge.host}/rest/v1/delivery`, 'url.query': '', 'url.path': '/rest/v1/delivery' })
})

t.test('attributes', async (t) => {
  const edge = await startEdge(t)
  const target = createTargetClient({ ...optionsFor(edge.host), timeout: 1000, grace: 0, breaker: { failures: 3 }, logger: { debug () {}, error () {} } })
  t.teardown(() => target.close())
  const ask = { request: { execute: { mboxes: [{ name: 'hero' }] }, prefetch: { mboxes: [{ name: 'banner' }] } } }
  const call = async (signal?: AbortSignal) => {
    exporter.reset()
    await target.getOffers({ ...ask, ...(signal !== undefined && { signal }) }).catch(() => {})
    const spans = spansNamed('adobe_target.delivery')
    t.equal(spans.length, 1)
    return spans[0]!
  }
  const common: Attributes = {
    'http.request.method': 'POST',
    'server.address': '127.0.0.1',
    'server.port': Number(edge.host.split(':')[1]),
    'url.full': `http://${edge.host}/rest/v1/delivery`,
    'adobe_target.kind': 'page',
    'adobe_target.decisioning': 'server-side',
    'adobe_target.mboxes': 2
  }
  const answered = await call()
  t.equal(answered.kind, SpanKind.CLIENT)
  t.match(answered.attributes, { ...common, 'http.response.status_code': 200, 'adobe_target.phase': 'answer', 'adobe_target.queued_ms': Number, 'adobe_target.connected_ms': Number, 'adobe_target.first_byte_ms': Number, 'adobe_target.connection_reused': false })
  t.equal(answered.status.code, SpanStatusCode.UNSET)
  t.notOk('error.type' in answered.attributes || 'http.request.resend_count' in answered.attributes)
  t.match(await call(AbortSignal.abort()), { attributes: { ...common, 'error.type': 'aborted' }, status: { code: SpanStatusCode.UNSET } })
  edge.fault('status:503', { times: 1 })
  t.match(await call(), { attributes: { ...common, 'http.response.status_code': 503, 'error.type': '503' }, status: { code: SpanStatusCode.ERROR } })
  edge.fault('hang', { times: 1 })
  t.match(await call(), { attributes: { ...common, 'error.type': 'timeout', 'adobe_target.phase': 'headers' }, status: { code: SpanStatusCode.ERROR } })
  edge.fault('reset', { times: 1 })
  t.match(await call(), { attributes: { ...common, 'error.type': 'connection' } })
  const refused = await call()
  t.match(refused.attributes, { ...common, 'error.type': 'breaker_open', 'adobe_target.phase': 'queue' })
  t.notOk('http.response.status_code' in refused.attributes)
})

t.test('a request that is sent twice, and a download', async (t) => {
  let requests = 0
  const host = await startServer(t, (request, response) => {
    request.resume().on('end', () => {
      if (++requests === 2) return request.socket.destroy()
      response.end(request.method === 'GET' ? '{}' : JSON.stringify({ status: 200 }))
    })
  })
  const target = createTargetClient({ ...optionsFor(host), pool: { connections: 1 } })
  t.teardown(() => target.close())
  exporter.reset()
  for (let call = 0; call < 2; call++) await target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } })
  t.strictSame(spansNamed('adobe_target.delivery').map(({ attributes }) => attributes['http.request.resend_count']), [undefined, 1])
  const [first, second] = spansNamed('adobe_target.delivery')
  t.strictSame(spansNamed('POST').map(parentOf), [first, second, second].map((span) => idOf(span!)), 'undici made three requests')

  const keeper = createTargetClient({ ...optionsFor(host), decisioningMethod: 'on-device', artifactLocation: `http://${host}/rules.json?key=secret`, logger: { debug () {}, error () {} } })
  t.teardown(() => keeper.close())
  t.ok(await until(() => spansNamed('adobe_target.artifact').length === 1))
  t.match(spansNamed('adobe_target.artifact'), [{ parentSpanContext: undefined, attributes: { 'http.request.method': 'GET', 'url.full': `http://${host}/rules.json`, 'http.response.status_code': 200 } }])
})

t.test('feature_flag.evaluation', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startTracedApp(t, edge.host, { timeout: 1000, grace: 0, mboxes: { 'checkout-flags': { fallback: {} } } }, (app) => {
    app.get('/', { config: { target: { execute: { mboxes: ['hero'], pageLoad: {} }, prefetch: { views: [{}] } } } }, async ({ target }) => {
      await target.content('hero')
      await target.offer('nowhere')
      await target.pageLoad()
      await target.view('product')
      return ''
    })
    app.get('/off', { config: { target: false } }, async ({ target }) => { await target.content('hero'); return '' })
  })
  exporter.reset()
  await fetch(url)
  const [page] = spansNamed('request')
  t.match(page!.events, [
    {
      name: 'feature_flag.evaluation',
      attributes: {
        'feature_flag.key': 'hero',
        'feature_flag.provider.name': 'adobe-target',
        'feature_flag.result.reason': 'targeting_match',
        'feature_flag.result.variant': String,
        'adobe_target.reason': 'matched',
        'adobe_target.source': 'edge',
        'adobe_target.activity.id': String,
        'adobe_target.activity.name': String,
        'adobe_target.waited_ms': Number
      }
    },
    { attributes: { 'feature_flag.key': 'nowhere', 'feature_flag.result.reason': 'default', 'adobe_target.reason': 'no-offer' } },
    { attributes: { 'feature_flag.key': 'target-global-mbox' } },
    { attributes: { 'feature_flag.key': 'product', 'feature_flag.result.reason': 'targeting_match' } }
  ])
  t.equal(page!.events.length, 4)
  t.notOk('feature_flag.context.id' in page!.events[0]!.attributes!)

  exporter.reset()
  edge.fault('hang', { times: 1 })
  await fetch(url)
  t.match(spansNamed('request')[0]!.events[0]!.attributes, { 'feature_flag.result.reason': 'error', 'error.type': 'timeout', 'adobe_target.source': 'default' })

  const records = new InMemoryLogRecordExporter()
  const loggerProvider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor(records)] })
  t.teardown(() => loggerProvider.shutdown())
  instrumentation.disable()
  const logging = new TargetInstrumentation({ loggerProvider })
  t.teardown(() => { logging.disable(); instrumentation.enable() })
  exporter.reset()
  await fetch(url)
  await fetch(`${url}/off`)
  const [withOffers] = spansNamed('request')
  t.strictSame(withOffers!.events, [], 'not twice')
  t.match(records.getFinishedLogRecords().map(({ eventName, attributes, spanContext }) => ({ eventName, key: attributes['feature_flag.key'], reason: attributes['feature_flag.result.reason'], trace: spanContext?.traceId === withOffers!.spanContext().traceId })), [
    { eventName: 'feature_flag.evaluation', key: 'hero', reason: 'targeting_match', trace: true },
    { key: 'nowhere', trace: true },
    { key: 'target-global-mbox', trace: true },
    { key: 'product', trace: true },
    { key: 'hero', reason: 'default', trace: false }
  ])
})

t.test('undici\'s instrumentation can leave these calls out', async (t) => {
  const edge = await startEdge(t)
  undici.setConfig({ ignoreRequestHook: isDeliveryRequest })
  t.teardown(() => undici.setConfig({ startSpanHook: withoutQuery }))
  const { url } = await startTracedApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async ({ target }) => {
      const context = await target.content('hero')
      await (await fetch(`http://${edge.host}/acmeclient/production/v1/rules.json?q=1`)).text()
      return context
    })
  })
  exporter.reset()
  await fetch(url)
  t.equal(edge.requests.at(-1)!.headers.traceparent, undefined, 'Adobe is told nothing')
  t.equal(spansNamed('adobe_target.delivery').length, 1)
  t.equal(spansNamed('POST').length, 0)
  t.match(spansNamed('GET').map(({ attributes }) => attributes['url.query']), ['?q=1', ''], 'other requests are as they were')
})

t.test('which requests of undici\'s are meant', async (t) => {
  const of = (path: string) => ({ origin: 'https://edge.example', path })
  for (const path of ['/rest/v1/delivery?client=acme&sessionId=s', '/ee/v2/interact?datastreamId=d&requestId=r', '/ee/irl1/v2/collect?datastreamId=d&requestId=r']) {
    t.strictSame(withoutQuery(of(path)), { 'url.full': `https://edge.example${path.split('?')[0]}`, 'url.query': '' })
  }
  for (const path of ['/', '/api?next=/rest/v1/delivery', '/v2/interact?q=1']) t.strictSame(withoutQuery(of(path)), {}, path)
})

t.test('an OTLP receiver gets a page with its call', async (t) => {
  const received: any[] = []
  const load = createRequire(import.meta.url)
  const { opentelemetry } = load(join(root, 'node_modules/@opentelemetry/otlp-transformer/build/src/generated/root.js'))
  const receiver = await startServer(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
      received.push(opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest.decode(Buffer.concat(chunks)))
      response.setHeader('content-type', 'application/x-protobuf').end()
    })
  })
  const otlp = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter({ url: `http://${receiver}/v1/traces` }) as never)] })
  t.teardown(() => otlp.shutdown())
  const edge = await startEdge(t)
  instrumentation.disable()
  const target = new TargetInstrumentation({ tracerProvider: otlp })
  t.teardown(() => { target.disable(); instrumentation.enable() })
  const client = createTargetClient(optionsFor(edge.host))
  t.teardown(() => client.close())
  const page = otlp.getTracer('app').startSpan('page')
  await context.with(trace.setSpan(context.active(), page), () => client.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } }))
  page.end()
  await otlp.forceFlush()
  const scopes = received.flatMap(({ resourceSpans }) => resourceSpans).flatMap(({ scopeSpans }) => scopeSpans)
  const spans = scopes.flatMap(({ spans }) => spans)
  const delivery = spans.find(({ name }) => name === 'adobe_target.delivery')
  t.equal(scopes.find((scope) => scope.spans.includes(delivery)).scope.name, 'fastify-adobe-target')
  t.strictSame(Buffer.from(delivery.parentSpanId), Buffer.from(spans.find(({ name }) => name === 'page').spanId))
  t.equal(delivery.kind, 3, 'CLIENT')
  t.match(Object.fromEntries(delivery.attributes.map(({ key, value }: any) => [key, value.stringValue ?? Number(value.intValue ?? value.doubleValue)])), { 'http.request.method': 'POST', 'http.response.status_code': 200, 'server.address': '127.0.0.1' })
})

t.test('options and switches', async (t) => {
  t.throws(() => new TargetInstrumentation({ event: 'log' } as never), { code: 'FST_TARGET_INVALID_OPTIONS', message: /unknown option `event` \(did you mean `events`\?\)/ })
  t.throws(() => new TargetInstrumentation({ tracerProvider: {} } as never), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`tracerProvider` must be a TracerProvider/ })
  const edge = await startEdge(t)
  const client = createTargetClient(optionsFor(edge.host))
  t.teardown(() => client.close())
  const spansOfCall = async () => {
    exporter.reset()
    await client.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } })
    return spansNamed('adobe_target.delivery').length
  }
  instrumentation.setConfig({ enabled: false })
  t.equal(instrumentation.getConfig().enabled, false)
  t.equal(await spansOfCall(), 0)
  instrumentation.enable()
  instrumentation.enable()
  t.equal(await spansOfCall(), 1)
})
