/** The OpenFeature provider: in a request and outside one, on-device and at the edge, as a developer uses it. */
import { OpenFeature, ProviderEvents, type Client, type Hook } from '@openfeature/server-sdk'
import { EventHook, MetricsHook } from '@openfeature/open-telemetry-hooks'
import { logs } from '@opentelemetry/api-logs'
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs'
import Fastify from 'fastify'
import t from 'tap'
import fastifyAdobeTarget, { createTargetClient, type FastifyAdobeTargetOptions } from '../../lib/index.ts'
import { requestContext, TargetProvider } from '../../lib/openfeature/index.ts'
import { artifactWith } from '../support/artifacts.ts'
import { client as clientCode, cookiesOf, json, optionsFor, startApp, startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { until } from '../support/wait.ts'

const data = (content: unknown) => ({ type: 'json', content })
const tokens = { responseTokens: ['activity.id', 'activity.name', 'activity.type', 'experience.id', 'experience.name', 'offer.id'] }
const half = (from: number, to: number) => ({ and: [{ '<=': [from, { var: 'allocation' }] }, { '>=': [to, { var: 'allocation' }] }] })
const artifact = artifactWith({
  checkout: [{ activity: 1, experience: 0, option: data({ express: true, limit: 10, texts: { title: 'Checkout', off: '' } }) }],
  split: [{ activity: 2, experience: 0, condition: half(0, 50), option: data({ value: 'a' }) }, { activity: 2, experience: 1, condition: half(50, 100), option: data({ value: 'b' }) }],
  gold: [{ activity: 3, experience: 0, condition: { '==': [{ var: 'mbox.member' }, 'gold'] }, option: data({ value: true }) }, { activity: 3, experience: 1, option: data({ value: false }) }],
  vip: [{ activity: 4, experience: 0, condition: { '==': [{ var: 'mbox.user.tier' }, 'vip'] }, option: data({ value: 1 }) }],
  banner: [{ activity: 5, experience: 0, option: { type: 'html', content: '<b>Sale</b>' } }],
  'with.dots': [{ activity: 6, experience: 0, option: data({ on: true }) }]
}, tokens)
const edge = await startEdge(t, { artifact, client: clientCode })
const onDevice = { decisioningMethod: 'on-device', artifactLocation: `http://${edge.host}/${clientCode}/production/v1/rules.json`, pollingInterval: 0 } as const
t.teardown(() => OpenFeature.clearProviders())

let domains = 0
/** An OpenFeature client on an app's own domain. */
async function startFlags (t: Parameters<typeof startApp>[0], options: Partial<FastifyAdobeTargetOptions>, routes: (app: Parameters<Parameters<typeof startApp>[3]>[0], flags: Client) => unknown) {
  const domain = `app-${++domains}`
  const flags = OpenFeature.getClient(domain)
  const started = await startApp(t, edge.host, { openFeature: { domain, ...options.openFeature as object }, ...Object.fromEntries(Object.entries(options).filter(([name]) => name !== 'openFeature')) }, (app) => routes(app, flags))
  return { ...started, flags, domain }
}

t.test('in a request: one call, the page\'s visitor, and the four types by key and by path', async (t) => {
  edge.reset()
  const { url } = await startFlags(t, {}, (app, flags) => {
    app.get('/', { config: { target: ['checkout', 'banner', 'split', 'with.dots'] } }, async ({ target }) => ({
      boolean: await flags.getBooleanDetails('checkout.express', false),
      number: await flags.getNumberValue('checkout/limit', 1),
      string: await flags.getStringValue('checkout.texts.title', ''),
      empty: await flags.getStringValue('checkout.texts.off', 'default'),
      html: await flags.getStringValue('banner', ''),
      object: await flags.getObjectValue('checkout', {}),
      split: await flags.getStringValue('split', ''),
      missing: await flags.getStringDetails('checkout.nowhere', 'default'),
      wrong: await flags.getStringDetails('checkout.limit', 'default'),
      same: await target.content('split')
    }))
  })
  const response = await fetch(url)
  const page = await json(response)
  t.match(page, {
    boolean: { value: true, flagKey: 'checkout.express', variant: '0', reason: 'TARGETING_MATCH', flagMetadata: { activityId: 1, experienceId: 0, source: 'edge', contextId: /^[\da-f]{16}$/ } },
    number: 10,
    string: 'Checkout',
    empty: '',
    html: '<b>Sale</b>',
    object: { express: true, limit: 10 },
    missing: { value: 'default', reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' },
    wrong: { value: 'default', errorCode: 'TYPE_MISMATCH', errorMessage: 'expected a string, got a number' }
  })
  t.equal(page.same.value, page.split)
  t.equal(edge.requests.length, 1, 'one call')
  const again = await json(await fetch(url, { headers: { cookie: cookiesOf(response) } }))
  t.equal(again.split, page.split, 'the visitor keeps the variant')
  t.equal(again.boolean.flagMetadata.contextId, page.boolean.flagMetadata.contextId)
})

t.test('the transaction context survives bodies, and does not leak into other requests', async (t) => {
  edge.reset()
  const { url, app } = await startFlags(t, {}, (app, flags) => {
    const evaluate = async () => (await flags.getBooleanDetails('checkout.express', false)).flagMetadata
    app.post('/', { config: { target: ['checkout'] } }, evaluate)
    app.get('/', { config: { target: ['checkout'] } }, evaluate)
  })
  const bodies = [JSON.stringify({ a: 1 }), JSON.stringify({ a: 'x'.repeat(300_000) })]
  const ids = new Set<string>()
  for (const body of bodies) ids.add((await json(await fetch(url, { method: 'POST', body, headers: { 'content-type': 'application/json' } }))).contextId)
  for (const { contextId } of await Promise.all(Array.from({ length: 10 }, async () => await json(await fetch(url))))) ids.add(contextId)
  t.equal(ids.size, 12, 'each has its own visitor')
  t.equal(edge.requests.length, 12, 'and its own one call')
  t.same((await app.inject({ method: 'POST', url: '/', payload: { a: 1 } })).json().source, 'edge')
})

t.test('consent, QA mode and failures of a request have their reasons', async (t) => {
  const { url } = await startFlags(t, { enabled: ({ headers }) => headers.dnt !== '1', mboxes: { declared: { fallback: { size: 3 } } } }, (app, flags) => {
    app.get('/', { config: { target: ['checkout'] } }, async () => ({ checkout: await flags.getBooleanDetails('checkout.express', false), declared: await flags.getNumberDetails('declared.size', 1) }))
  })
  t.match(await json(await fetch(url, { headers: { dnt: '1' } })), { checkout: { value: false, reason: 'DISABLED' } })
  t.match(await json(await fetch(url)), { declared: { value: 3, reason: 'DEFAULT' } }, 'what was declared is the default')
  const link = edge.qaLink(`${url}/`, { activities: [1], previewIndexes: [{ activityIndex: 1, experienceIndex: 1 }] })
  t.match(await json(await fetch(link)), { checkout: { value: true, reason: 'STATIC' } })
  edge.fault('status:500', { times: 1 })
  t.match(await json(await fetch(url)), { checkout: { value: false, reason: 'ERROR', errorCode: 'GENERAL' } })
})

t.test('outside a request: reasons from the artifact, ids and parameters from the context', async (t) => {
  const target = createTargetClient({ ...optionsFor(edge.host), ...onDevice })
  t.teardown(() => target.close())
  await OpenFeature.setProviderAndWait('device', new TargetProvider(target, { flags: { 'express-checkout': { mbox: 'checkout', path: 'express' } } }))
  const flags = OpenFeature.getClient('device')
  t.match(await flags.getBooleanDetails('express-checkout', false), { value: true, reason: 'STATIC', flagMetadata: { source: 'on-device', version: '1.0.0' } })
  t.match(await flags.getBooleanDetails('gold', false, { member: 'gold' }), { value: true, reason: 'TARGETING_MATCH', variant: '0' })
  t.match(await flags.getBooleanDetails('gold', true, {}), { value: false, reason: 'DEFAULT', variant: '1' })
  t.match(await flags.getNumberDetails('vip', 0, { user: { tier: 'vip' } }), { value: 1 }, 'objects are flattened')
  t.match(await flags.getNumberDetails('vip', 0, {}), { value: 0, reason: 'DEFAULT' })
  t.match(await flags.getNumberDetails('nowhere', 7), { value: 7, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' })
  t.match(await flags.getBooleanDetails('with.dots.on', false), { value: true }, 'an mbox with dots in its name')
  const variants = await Promise.all(Array.from({ length: 40 }, async (_, index) => await flags.getStringDetails('split', '', { targetingKey: `user-${index}` })))
  t.same([...new Set(variants.map(({ value }) => value))].sort(), ['a', 'b'])
  t.ok(variants.every(({ reason, flagMetadata }) => reason === 'SPLIT' && flagMetadata.contextId !== undefined))
  t.equal((await flags.getStringValue('split', '', { targetingKey: 'user-1' })), variants[1]!.value, 'a key keeps its variant')
})

t.test('outside a request at the edge: the context within Target\'s limits, nothing counted unless told', async (t) => {
  const logged: string[] = []
  const target = createTargetClient({ ...optionsFor(edge.host), logger: { debug () {}, error () {}, warn: (message: string) => { logged.push(message) } } })
  t.teardown(() => target.close())
  await OpenFeature.setProviderAndWait('edge', new TargetProvider(target))
  await OpenFeature.setProviderAndWait('counting', new TargetProvider(target, { countEvaluations: true, targetingKeyAs: 'marketingCloudVisitorId', enabled: ({ consent }) => consent !== false }))
  edge.reset()
  const context = { targetingKey: 'user-1', member: 'gold', age: 29, at: new Date(0), list: [1, 2], long: 'x'.repeat(6000), profile: { plan: 'pro' }, nothing: null as never, deep: { er: { still: true } } }
  t.equal(await OpenFeature.getClient('edge').getBooleanValue('gold', false, context), true)
  const { body } = edge.requests[0] as { body: any }
  t.match(body, {
    id: { thirdPartyId: 'user-1' },
    execute: undefined,
    prefetch: { mboxes: [{ name: 'gold', parameters: { member: 'gold', age: '29', at: '1970-01-01T00:00:00.000Z', list: '[1,2]', 'deep.er.still': 'true' }, profileParameters: { plan: 'pro' } }] }
  })
  t.equal(body.prefetch.mboxes[0].parameters.long.length, 5000)
  t.match(logged, [/long was cut|"long" was cut/])
  t.equal(await OpenFeature.getClient('counting').getBooleanValue('checkout.express', false, { targetingKey: '12345678901234567890123456789012345678' }), true)
  t.match(edge.requests[1]!.body, { id: { marketingCloudVisitorId: /^\d{38}$/ }, execute: { mboxes: [{ name: 'checkout' }] }, prefetch: undefined })
  t.match(await OpenFeature.getClient('counting').getBooleanDetails('checkout.express', false, { consent: false }), { value: false, reason: 'DISABLED' })
  t.equal(edge.requests.length, 2)
})

t.test('track() is a conversion, of the visitor of the request or of the context', async (t) => {
  const { url, app, flags } = await startFlags(t, { openFeature: { countEvaluations: true } }, (app, flags) => {
    app.get('/', { config: { target: { prefetch: { mboxes: ['checkout'] } } } }, async () => {
      for (let times = 0; times < 2; times++) await flags.getBooleanValue('checkout.express', false)
      flags.track('order-confirm', {}, { value: 99.5, orderId: 'o-1', productPurchasedId: 'p1,p2', coupon: 'X' })
      return ''
    })
  })
  edge.reset()
  await fetch(url)
  await until(() => edge.notifications.length === 2)
  t.match(edge.notifications.map(({ type, mbox }) => [type, mbox?.name]).sort(), [['display', 'checkout'], ['display', 'order-confirm']], 'a display once per request')
  t.match(edge.notifications.find(({ mbox }) => mbox?.name === 'order-confirm'), { order: { id: 'o-1', total: 99.5, purchasedProductIds: ['p1', 'p2'] }, parameters: { coupon: 'X' } })
  flags.track('signup', { targetingKey: 'user-9' }, { plan: 'pro' })
  await until(() => edge.notifications.length === 3)
  t.match(edge.requests.at(-1)!.body, { id: { thirdPartyId: 'user-9' }, notifications: [{ mbox: { name: 'signup' }, parameters: { plan: 'pro' } }] })
  t.equal(app.target.health().outbox.failed, 0)
})

t.test('an event for every change of state', async (t) => {
  const own = await startEdge(t, { artifact, client: clientCode })
  const target = createTargetClient({ ...optionsFor(own.host), ...onDevice, artifactLocation: onDevice.artifactLocation.replace(edge.host, own.host), logger: { debug () {}, error () {} } })
  t.teardown(() => target.close())
  const events: string[] = []
  const flags = OpenFeature.getClient('events')
  for (const event of [ProviderEvents.Ready, ProviderEvents.Error, ProviderEvents.Stale, ProviderEvents.ConfigurationChanged]) flags.addHandler(event, () => { events.push(event) })
  const provider = new TargetProvider(target)
  events.length = 0
  await OpenFeature.setProviderAndWait('events', provider)
  await until(() => events.length > 0)
  own.fault('status:500', { times: 1, route: 'artifact' })
  await target.refresh().catch(() => {})
  await until(() => flags.providerStatus === 'STALE')
  t.match(await flags.getBooleanDetails('checkout.express', false), { value: true, reason: 'STALE' })
  await target.refresh()
  await until(() => flags.providerStatus === 'READY')
  own.publish(artifactWith({ checkout: [{ activity: 9, option: data({ express: false }) }] }, tokens))
  await target.refresh()
  await until(() => events.includes(ProviderEvents.ConfigurationChanged))
  t.equal(await flags.getBooleanValue('checkout.express', true), false)
  t.same(events, [ProviderEvents.Ready, ProviderEvents.Stale, ProviderEvents.Ready, ProviderEvents.ConfigurationChanged])
  await provider.onClose()
  await provider.onClose()
})

t.test('an edge that is down is an error, until it is back', async (t) => {
  const own = await startEdge(t, { artifact, client: clientCode })
  const target = createTargetClient({ ...optionsFor(own.host), breaker: { failures: 2, cooldown: 50 }, logger: { debug () {}, error () {} } })
  t.teardown(() => target.close())
  await OpenFeature.setProviderAndWait('down', new TargetProvider(target))
  const flags = OpenFeature.getClient('down')
  own.fault('status:500')
  await until(() => { flags.getBooleanValue('checkout.express', false).catch(() => {}); return flags.providerStatus === 'ERROR' })
  t.match(await flags.getBooleanDetails('checkout.express', false), { value: false, reason: 'ERROR', errorCode: 'GENERAL' })
  own.reset()
  await until(() => { flags.getBooleanValue('checkout.express', false).catch(() => {}); return flags.providerStatus === 'READY' })
  t.equal(flags.providerStatus, 'READY')
})

t.test('works with OpenTelemetry\'s hooks', async (t) => {
  const exporter = new InMemoryLogRecordExporter()
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor(exporter)] })
  logs.setGlobalLoggerProvider(provider)
  t.teardown(() => { logs.disable() })
  const { url } = await startFlags(t, {}, (app, flags) => {
    flags.addHooks(new EventHook() as unknown as Hook, new MetricsHook() as unknown as Hook)
    app.get('/', { config: { target: ['checkout'] } }, async () => await flags.getBooleanValue('checkout.express', false))
  })
  await fetch(url)
  const [record] = exporter.getFinishedLogRecords()
  t.match(record?.attributes, {
    'feature_flag.key': 'checkout.express',
    'feature_flag.provider.name': 'adobe-target',
    'feature_flag.result.variant': '0',
    'feature_flag.result.reason': 'targeting_match',
    'feature_flag.context.id': /^[\da-f]{16}$/
  })
})

t.test('the option registers the provider with the app and takes it away with it; mistakes are refused', async (t) => {
  const app = Fastify()
  await app.register(fastifyAdobeTarget, optionsFor(edge.host, { openFeature: { domain: 'closing' } }))
  app.get('/', async (request) => await OpenFeature.getClient('other').getBooleanValue('checkout.express', false, requestContext(request)))
  await app.ready()
  t.equal(OpenFeature.getProviderMetadata('closing').name, 'adobe-target')
  await OpenFeature.setProviderAndWait('other', new TargetProvider(app.target))
  t.equal((await app.inject('/')).body, 'true', 'the request may be given by hand')
  await app.close()
  t.not(OpenFeature.getProviderMetadata('closing').name, 'adobe-target')
  t.match(await OpenFeature.getClient('closing').getBooleanDetails('checkout.express', false), { value: false })
  for (const openFeature of [1, { domian: 'a' }, { domain: '' }]) {
    const bad = Fastify()
    await t.rejects(async () => await bad.register(fastifyAdobeTarget, optionsFor(edge.host, { openFeature: openFeature as never })), { code: 'FST_TARGET_INVALID_OPTIONS', message: /openFeature/ })
    await bad.close()
  }
  t.throws(() => new TargetProvider({} as never), { code: 'FST_TARGET_INVALID_OPTIONS' })
  t.throws(() => new TargetProvider(app.target, { flgs: {} } as never), { message: /new TargetProvider\(\): unknown option `flgs` \(did you mean `flags`\?\)/ })
  const closed = createTargetClient(optionsFor(edge.host))
  await closed.close()
  await OpenFeature.setProviderAndWait('fatal', new TargetProvider(closed)).catch(() => {})
  t.equal(OpenFeature.getClient('fatal').providerStatus, 'FATAL')
})
