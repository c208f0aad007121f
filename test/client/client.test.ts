/** The client's own promises, over real sockets; what it has in common with Adobe's SDK is in differential.test.ts. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { connect as connectSocket, createServer as createSocketServer, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { Agent, ProxyAgent, request, type Dispatcher } from 'undici'
import type { GetOffersOptions } from '../../lib/client/call.ts'
import type { TargetClient } from '../../lib/client/client.ts'
import { createTargetClient } from '../../lib/client/create-client.ts'
import type { TargetEdge } from '../../lib/edge/index.ts'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import type { TargetError } from '../../lib/errors.ts'
import { ExperienceCloudVisitor } from '../../lib/visitor/experience-cloud.ts'
import type { TargetClientOptions } from '../../lib/client/options.ts'
import type { TargetResult } from '../../lib/offers/result.ts'
import { TLS } from '../support/fault-server.ts'
import { client as clientCode, organizationId, startEdge, startServer } from '../support/helper.ts'
import { sleep, stopwatch } from '../support/wait.ts'

const hero: GetOffersOptions = { request: { execute: { mboxes: [{ name: 'hero' }] } } }

/** A client of a host; closed when the test ends. */
function createClient (t: Test, host: string, options: Partial<TargetClientOptions> = {}): TargetClient {
  const target = createTargetClient({ client: clientCode, organizationId, serverDomain: host, secure: false, ...options })
  t.teardown(() => target.close())
  return target
}

/** A client without `serverDomain`, whose sockets all end at the edge; `origins` has the hosts that it wanted to reach. */
function createClusterClient (t: Test, edge: TargetEdge, options: Partial<TargetClientOptions> = {}): { target: TargetClient, origins: string[] } {
  const origins: string[] = []
  const { port } = edge.server.address() as AddressInfo
  const agent = new Agent({
    connect (_options: unknown, callback: (error: Error | null, socket: any) => void) {
      const socket = connectSocket({ port, host: '127.0.0.1' })
      socket.once('connect', () => callback(null, socket)).once('error', (error) => callback(error, null))
    }
  })
  t.teardown(() => agent.destroy())
  const dispatcher = agent.compose((dispatch) => (options: Dispatcher.DispatchOptions, handler) => {
    origins.push(String(options.origin))
    return dispatch(options, handler)
  })
  const target = createTargetClient({ client: clientCode, organizationId, dispatcher, ...options })
  t.teardown(() => target.close())
  return { target, origins }
}

const errorOf = async (promise: Promise<unknown>): Promise<TargetError> => {
  try {
    await promise
  } catch (error) {
    return error as TargetError
  }
  throw new Error('did not reject')
}

const inSeconds = (seconds: number) => Math.ceil(Date.now() / 1000) + seconds

/** Freezes an object with all that is in it. */
function deepFreeze<Value> (value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}

t.test('promises and callbacks', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host)
  const withCallback = <Result>(start: (callback: (error: TargetError | null, result?: Result) => void) => unknown) =>
    new Promise<{ error: TargetError | null, result: Result | undefined, returned: unknown }>((resolve) => {
      const returned = start((error, result) => resolve({ error, result, returned }))
    })

  const result = await target.getOffers(hero)
  t.match(result.response.execute?.mboxes, [{ index: 0, name: 'hero', options: [{ type: 'html', content: String }] }])
  const called = await withCallback<TargetResult>((callback) => target.getOffers(hero, callback))
  t.same(called.error, null)
  t.match(called.result?.response.execute?.mboxes, [{ name: 'hero' }])
  t.equal(called.returned, undefined, 'with a callback nothing is returned')

  const attributes = await target.getAttributes(['checkout-flags'])
  t.type(attributes.getValue('checkout-flags', 'express'), 'boolean')
  t.same(attributes.toJSON(), { 'checkout-flags': attributes.asObject('checkout-flags') })
  t.equal(attributes.getValue('checkout-flags', 'nothing', 'fallback'), 'fallback')
  t.equal(attributes.getValue('constructor', 'name'), undefined)
  const shorter = await withCallback((callback) => target.getAttributes(['checkout-flags'], callback))
  t.same([shorter.error, shorter.returned], [null, undefined])
  const longer = await withCallback((callback) => target.getAttributes(['checkout-flags'], { sessionId: 's-1' }, callback))
  t.same([longer.error, longer.returned], [null, undefined])
  t.equal(edge.requests.at(-1)?.query.sessionId, 's-1')

  const notifications = [{ id: 'n-1', timestamp: 1, type: 'display' as const, mbox: { name: 'hero' } }]
  const sent = await target.sendNotifications({ request: { notifications } })
  t.same(sent.response.notifications, [{ id: 'n-1' }])
  const sentToo = await withCallback<TargetResult>((callback) => target.sendNotifications({ request: { notifications } }, callback))
  t.same(sentToo.result?.response.notifications, [{ id: 'n-1' }])

  const failed = await withCallback((callback) => target.getOffers({} as GetOffersOptions, callback))
  t.match(failed.error, { code: 'FST_TARGET_INVALID_REQUEST' })
  t.equal(failed.result, undefined)
})

t.test('errors have a code, a cause and meta', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host, { breaker: false })
  const withId = { request: { ...hero.request, requestId: 'request-1', id: { tntId: 'secret-1' } } }

  edge.fault('status:500')
  const refused = await errorOf(target.getOffers(withId))
  t.match(refused, { code: 'FST_TARGET_HTTP', statusCode: 502, meta: { requestId: 'request-1', phase: 'answer', status: 500, attempts: 1, elapsed: Number, host: edge.host } })
  edge.fault('bad-json')
  t.match(await errorOf(target.getOffers(withId)), { code: 'FST_TARGET_INVALID_RESPONSE', meta: { status: 200, attempts: 1 } })
  edge.fault('status-in-body')
  t.match(await errorOf(target.getOffers(withId)), { code: 'FST_TARGET_HTTP', meta: { status: 400 } })
  edge.fault('reset')
  const lost = await errorOf(target.getOffers(withId))
  t.match(lost, { code: 'FST_TARGET_CONNECTION', meta: { requestId: 'request-1' } })
  t.type(lost.cause, Error)
  edge.reset()

  const tooLong = { request: { ...hero.request, requestId: 'x'.repeat(129) } }
  const message = (await errorOf(target.getOffers(tooLong))).message
  t.match(message, /400/)
  t.match(message, /requestId/, 'the edge says what it refuses')
  for (const error of [refused, lost]) t.notMatch(JSON.stringify([error.message, error.meta]), /secret-1/)

  const nowhere = createClient(t, '127.0.0.1:1')
  t.match(await errorOf(nowhere.getOffers(hero)), { code: 'FST_TARGET_CONNECTION', cause: { code: 'ECONNREFUSED' }, meta: { attempts: 0 } })
})

t.test('an invalid call is rejected before anything is sent', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host)
  const circle: Record<string, unknown> = {}
  circle.self = circle
  const throwing = { getVisitorValues () { throw new TypeError('no') }, getState: () => ({}), getSupplementalDataID: () => '' }
  const calls: [string, any][] = [
    ['FST_TARGET_INVALID_REQUEST', undefined],
    ['FST_TARGET_INVALID_REQUEST', {}],
    ['FST_TARGET_INVALID_REQUEST', { request: null }],
    ['FST_TARGET_INVALID_REQUEST', { request: {} }],
    ['FST_TARGET_INVALID_REQUEST', { request: { execute: { mboxes: [] } } }],
    ['FST_TARGET_INVALID_REQUEST', { request: { prefetch: { mboxes: 'hero' } } }],
    ['FST_TARGET_INVALID_REQUEST', { request: { execute: { pageLoad: circle } } }],
    ['FST_TARGET_INVALID_REQUEST', { ...hero, visitor: throwing }],
    ['FST_TARGET_INVALID_OPTIONS', { ...hero, visitor: {} }],
    ['FST_TARGET_INVALID_OPTIONS', { ...hero, timeout: 0 }],
    ['FST_TARGET_INVALID_OPTIONS', { ...hero, timeout: '100' }],
    ['FST_TARGET_INVALID_OPTIONS', { ...hero, signal: {} }],
    ['FST_TARGET_INVALID_OPTIONS', { ...hero, decisioningMethod: 'elsewhere' }]
  ]
  for (const [code, options] of calls) t.equal((await errorOf(target.getOffers(options))).code, code)
  for (const names of [undefined, 'hero', [''], [5]]) t.match(await errorOf(target.getAttributes(names as string[])), { code: 'FST_TARGET_INVALID_REQUEST' })
  for (const notifications of [undefined, [], null]) {
    t.match(await errorOf(target.sendNotifications({ request: { context: { channel: 'web' }, notifications } } as GetOffersOptions)), { code: 'FST_TARGET_INVALID_REQUEST' })
  }
  t.equal(edge.requests.length, 0)
})

t.test('a call ends with its timeout or its signal', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host, { timeout: 150, grace: 0 })
  await target.getOffers({ ...hero, timeout: 5000 })
  edge.fault('hang')

  const start = performance.now()
  const took = stopwatch()
  t.match(await errorOf(target.getOffers(hero)), { code: 'FST_TARGET_TIMEOUT', statusCode: 504, meta: { phase: 'headers' } })
  const elapsed = performance.now() - start
  t.ok(elapsed >= 145 && took() < 150 + 20 + 180, `after ${elapsed} ms`)
  // Long enough to connect again.
  t.match(await errorOf(target.getOffers({ ...hero, timeout: 1030 })), { code: 'FST_TARGET_TIMEOUT', message: /^Target call timed out: no response within 1030 ms \(phase: headers\)$/ })
  for (const timeout of [0, -1, NaN, '30', 2 ** 31, 1e10, Infinity]) {
    const error = await errorOf(target.getOffers({ ...hero, timeout: timeout as number }))
    t.match(error, { code: 'FST_TARGET_INVALID_OPTIONS', message: /`timeout` must be a number of ms > 0 and ≤ 2147483647, got / }, `timeout: ${timeout}`)
  }
  t.match(await errorOf(target.ready({ timeout: 1e10 })), { code: 'FST_TARGET_INVALID_OPTIONS', message: /ready\(\): `timeout` must be a number of ms ≥ 0 and ≤ 2147483647, got 10000000000/ })
  t.match(await errorOf(target.ready({ tiemout: 10 } as object)), { code: 'FST_TARGET_INVALID_OPTIONS', message: /ready\(\): unknown option `tiemout` \(did you mean `timeout`\?\)/ })

  const controller = new AbortController()
  const aborted = errorOf(target.getOffers({ ...hero, signal: controller.signal }))
  await edge.nextRequest()
  const reason = new Error('enough')
  controller.abort(reason)
  t.match(await aborted, { code: 'FST_TARGET_ABORTED', cause: reason })
  const sentBefore = edge.requests.length
  t.match(await errorOf(target.getOffers({ ...hero, signal: AbortSignal.abort() })), { code: 'FST_TARGET_ABORTED' })
  t.equal(edge.requests.length, sentBefore, 'with an aborted signal nothing is sent')
})

t.test('the caller\'s objects are never changed', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host, { propertyToken: 'token-1', environmentId: 7, telemetryEnabled: true })
  const options = deepFreeze({
    request: {
      context: { channel: 'web' as const, window: null as unknown as undefined },
      id: { customerIds: [{ id: 'u-1', integrationCode: 'crm', authenticatedState: 'unknown' as const }] },
      execute: { pageLoad: {}, mboxes: [{ name: 'hero' }, { name: 'banner', product: { id: null as unknown as undefined } }] },
      prefetch: { views: [{}] },
      notifications: [{ id: 'n-1', timestamp: 1, type: 'display' as const }],
      telemetry: { entries: [{ requestId: 'r-0' }] }
    },
    customerIds: { userid: { id: 'u-2', authState: 1 as const } },
    targetCookie: `session#s-1#${inSeconds(60)}`
  })
  const before = structuredClone(options)
  await target.getOffers(options)
  await target.getAttributes(['hero', 'checkout-flags'], options)
  await target.sendNotifications(options)
  t.same(options, before)
  t.equal(edge.requests.length, 3)
})

t.test('each mbox has an index of its own', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host)
  const named = (body: any) => body.execute.mboxes.map(({ name, index }: any) => [name, index])
  await target.getOffers({ request: { execute: { mboxes: [{ name: 'a' }, { name: 'b', index: 0 }, { name: 'c' }] } } })
  t.same(named(edge.requests[0]?.body), [['a', 1], ['b', 0], ['c', 2]])
  await target.getAttributes(['checkout-flags', 'b'], { request: { execute: { mboxes: [{ name: 'a' }, { name: 'b' }] } } })
  t.same(named(edge.requests[1]?.body), [['a', 0], ['b', 2], ['checkout-flags', 1]])
})

t.test('a thousand visitors in parallel never see each other\'s data', async (t) => {
  // Answers with what it was asked, so that a mix-up shows.
  const host = await startServer(t, async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = JSON.parse(Buffer.concat(chunks).toString())
    await sleep(Math.random() * 20)
    response.end(JSON.stringify({ status: 200, requestId: body.requestId, id: { tntId: body.id.tntId }, execute: body.execute }))
  })
  const target = createClient(t, host, { timeout: 30_000, pool: { connections: 16 } })
  const supplementalDataIds = new Set<string>()
  await Promise.all(Array.from({ length: 1000 }, async (_, number) => {
    const { request, response, targetCookie, visitorState } = await target.getOffers({
      request: { execute: { mboxes: [{ name: `mbox-${number}` }] } },
      targetCookie: `session#s-${number}#${inSeconds(60)}|PC#t-${number}.${number % 50}_0#${inSeconds(60)}`,
      visitorCookie: `MCMID|${number}1`,
      customerIds: { userid: `u-${number}` }
    })
    const ok = response.id?.tntId === `t-${number}.${number % 50}_0` && response.execute?.mboxes?.[0]?.name === `mbox-${number}` &&
      targetCookie.value.startsWith(`session#s-${number}#`) && request.id?.marketingCloudVisitorId === `${number}1` &&
      visitorState[organizationId]?.customerIDs?.userid === `u-${number}`
    if (!ok) t.fail(`visitor ${number}`)
    supplementalDataIds.add(request.experienceCloud!.analytics!.supplementalDataId!)
  }))
  t.equal(supplementalDataIds.size, 1000)
})

t.test('each visitor has its own location hint', async (t) => {
  const edge = await startEdge(t)
  const { target, origins } = createClusterClient(t, edge)
  const device = (tntId: string) => `PC#${encodeURIComponent(tntId)}#${inSeconds(60)}`

  const first = await target.getOffers(hero)
  t.match(first.targetLocationHintCookie, { name: 'mboxEdgeCluster', value: '35', maxAge: 1860 }, 'the cluster that answered')
  await target.getOffers({ ...hero, targetCookie: device('v-1.41_0') })
  await target.getOffers({ ...hero, targetLocationHint: '28' })
  await target.getOffers({ ...hero, targetLocationHint: '28', targetCookie: device('v-1.41_0') })
  const last = await target.getOffers(hero)
  const host = (name: string) => `https://${name}.tt.omtrdc.net`
  t.same(origins, [host(clientCode), host('mboxedge41'), host('mboxedge28'), host('mboxedge41'), host(clientCode)])
  t.equal(last.targetLocationHintCookie?.value, '35')
  t.equal((await target.getOffers({ ...hero, targetLocationHint: '28' })).targetLocationHintCookie?.value, '28', 'a hint stays')

  const { target: other, origins: otherOrigins } = createClusterClient(t, edge, { targetLocationHint: '34', secure: false })
  await other.getOffers(hero)
  await other.getOffers({ ...hero, targetLocationHint: '28' })
  await other.getOffers({ ...hero, request: { ...hero.request, id: { tntId: 'v-2.99_0' } } })
  t.same(otherOrigins, ['http://mboxedge34.tt.omtrdc.net', 'http://mboxedge28.tt.omtrdc.net', 'http://mboxedge34.tt.omtrdc.net'],
    'a default for those without one; a tntId in the request says nothing')
})

t.test('no visitor input changes the host, extends the URL or throws', async (t) => {
  const edge = await startEdge(t)
  const { target, origins } = createClusterClient(t, edge)
  const hostile = [
    'evil.example', 'evil.example/#', '1@evil.example', '35.evil.example', '35/../..', '35:8080', '-1', '１２', '35\r\nhost: evil.example', '99999', '0x1f', ' 35', '__proto__', '%2F', '😀'
  ]
  for (const text of hostile) {
    for (const options of [
      { targetLocationHint: text },
      { targetCookie: `PC#v.${encodeURIComponent(text)}_0#${inSeconds(60)}` },
      { targetCookie: `PC#v.${text}_0#${inSeconds(60)}` },
      { targetCookie: `session#${encodeURIComponent(`s-1&imsOrgId=other${text}`)}#${inSeconds(60)}` },
      { sessionId: `s-1&imsOrgId=other#${text}` },
      { visitorCookie: `MCMID|${text}|MCAAMLH|${text}` },
      { targetCookie: text }
    ]) {
      await target.getOffers({ ...hero, ...options }).catch((error: TargetError) => t.equal(error.code, 'FST_TARGET_HTTP', `${JSON.stringify(options)} ${error.message}`))
    }
  }
  t.same([...new Set(origins)], [`https://${clientCode}.tt.omtrdc.net`])
  t.equal(edge.requests.length, hostile.length * 7)
  for (const { query } of edge.requests) t.same([Object.keys(query).sort(), query.imsOrgId], [['client', 'imsOrgId', 'sessionId'], organizationId])
  t.equal(({} as Record<string, unknown>).evil, undefined)
})

t.test('a configured serverDomain is never replaced', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host, { targetLocationHint: '28' })
  await target.getOffers(hero)
  await target.getOffers({ ...hero, targetLocationHint: '41' })
  const { targetLocationHintCookie } = await target.getOffers({ ...hero, targetCookie: `PC#v-1.42_0#${inSeconds(60)}` })
  t.equal(edge.requests.length, 3)
  t.equal(targetLocationHintCookie?.value, '42', 'the cookie is written all the same')
})

t.test('version, propertyToken and environmentId are sent', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host, { version: '2.11 &x=1', propertyToken: 'token-1', environmentId: 7 })
  await target.getOffers(hero)
  await target.getOffers({ request: { ...hero.request, property: { token: 'token-2' }, environmentId: 8 } })
  const [first, second] = edge.requests
  t.match(first, { query: { version: '2.11 &x=1', imsOrgId: organizationId }, body: { property: { token: 'token-1' }, environmentId: 7 } })
  t.match(second, { body: { property: { token: 'token-2' }, environmentId: 8 } })
})

t.test('a shared visitor stitches the calls of a page together', async (t) => {
  const edge = await startEdge(t)
  const target = createClient(t, edge.host)
  const visitor = new ExperienceCloudVisitor(organizationId, 'MCMID|123')
  const idOf = async (consumerId?: string) =>
    (await target.getOffers({ ...hero, visitor, consumerId })).request.experienceCloud?.analytics?.supplementalDataId
  const page = await idOf('page')
  t.match(page, /^[0-9A-F]{16}-[0-9A-F]{16}$/)
  t.equal(await idOf('flags'), page, 'another consumer shares it')
  const next = await idOf('page')
  t.not(next, page, 'the same consumer again is the next page')
  t.same(visitor.getState()[organizationId]?.sdid?.supplementalDataIDCurrent, next)
  t.equal(edge.requests.every(({ body }) => body.id.marketingCloudVisitorId === '123'), true)

  edge.reset()
  const blank = { getVisitorValues: () => undefined, getState: () => ({}), getSupplementalDataID: () => null as unknown as string }
  const { visitorState } = await target.getOffers({ ...hero, visitor: blank, customerIds: { userid: 'u-1' } })
  t.same(visitorState, {})
  t.same(edge.requests[0]?.body.experienceCloud, { analytics: { logging: 'server_side' } }, 'a visitor that knows nothing')
})

t.test('telemetry', async (t) => {
  const edge = await startEdge(t)
  await t.test('is not sent by default', async (t) => {
    const target = createClient(t, edge.host)
    for (let i = 0; i < 3; i++) await target.getOffers(hero)
    t.equal(edge.requests.some(({ body }) => 'telemetry' in body), false)
    edge.reset()
  })
  await t.test('is sent once with the next call and never alone', async (t) => {
    const target = createClient(t, edge.host, { telemetryEnabled: true })
    const before = Date.now()
    await target.getOffers({ request: { execute: { pageLoad: {}, mboxes: [{ name: 'hero' }, { name: 'banner' }] }, prefetch: { views: [{}], mboxes: [{ name: 'hero' }] } } })
    await target.getOffers({ request: { prefetch: { pageLoad: {} }, telemetry: { entries: [{ requestId: 'mine' }] } } })
    await target.sendNotifications({ request: { notifications: [{ id: 'n-1', timestamp: 1, type: 'display' }] } })
    await sleep(20)
    t.equal(edge.requests.length, 3)
    const [first, second, third] = edge.requests.map(({ body }) => body)
    t.notOk('telemetry' in first)
    const [mine, entry] = second.telemetry.entries
    t.equal(second.telemetry.entries.length, 2)
    t.same(mine, { requestId: 'mine' })
    t.same(entry.features, { executePageLoad: true, executeMboxCount: 2, prefetchMboxCount: 1, prefetchViewCount: 1, decisioningMethod: 'server-side' })
    t.match(entry, { requestId: first.requestId, mode: 'edge' })
    t.ok(entry.execution > 0 && entry.timestamp >= before && entry.timestamp <= Date.now())
    t.same(third.telemetry.entries.map(({ requestId, features }: any) => [requestId, features]), [[second.requestId, { prefetchPageLoad: true, decisioningMethod: 'server-side' }]])
    edge.reset()
  })
  await t.test('a failed call leaves no entry, and the store is bounded', async (t) => {
    const target = createClient(t, edge.host, { telemetryEnabled: true, breaker: false })
    edge.fault('status:500', { times: 1 })
    await errorOf(target.getOffers(hero))
    await Promise.all(Array.from({ length: 150 }, () => target.getOffers(hero)))
    await target.getOffers(hero)
    const counts = edge.requests.map(({ body }) => body.telemetry?.entries?.length ?? 0)
    t.equal(counts[1], 0)
    t.ok(counts.every((count) => count <= 100), `${Math.max(...counts)} entries at most`)
    t.equal(counts.at(-1)! > 0, true)
  })
  await t.test('reports on-device decisions, too', async (t) => {
    edge.reset()
    const target = createClient(t, edge.host, { telemetryEnabled: true, decisioningMethod: 'on-device', artifactPayload: sampleArtifact })
    await target.ready({ timeout: 5000 })
    const { meta } = await target.getOffers({ request: { prefetch: { mboxes: [{ name: 'hero' }] } } })
    t.equal(meta.decisioningMethod, 'on-device')
    t.equal(edge.requests.length, 0)
    await target.getOffers({ ...hero, decisioningMethod: 'server-side' })
    t.match(edge.requests[0]?.body.telemetry.entries, [{ mode: 'local', features: { prefetchMboxCount: 1, decisioningMethod: 'on-device' } }])
  })
  await t.test('the token of an answer comes back', async (t) => {
    const bodies: any[] = []
    const host = await startServer(t, async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      bodies.push(JSON.parse(Buffer.concat(chunks).toString()))
      response.end(JSON.stringify({ status: 200, telemetryServerToken: 'token-1' }))
    })
    const target = createClient(t, host, { telemetryEnabled: true })
    await target.getOffers(hero)
    await target.getOffers(hero)
    t.match(bodies[1].telemetry.entries, [{ telemetryServerToken: 'token-1', mode: 'edge' }])
  })
})

t.test('close() lets running calls end and rejects new ones', async (t) => {
  const edge = await startEdge(t, { latency: 50 })
  const target = createClient(t, edge.host)
  const running = target.getOffers(hero)
  await edge.nextRequest()
  await Promise.all([target.close(), target.close()])
  t.match((await running).response.execute?.mboxes, [{ name: 'hero' }])
  t.match(await errorOf(target.getOffers(hero)), { code: 'FST_TARGET_CLOSED', statusCode: 503 })
  t.match(await errorOf(target.getAttributes(['hero'])), { code: 'FST_TARGET_CLOSED' })
  t.equal(edge.requests.length, 1)
})

/** A proxy that demands CONNECT, and what it was asked for. `refuse` is the status it answers with, if any. */
async function startProxy (t: Test, upstream: number, refuse?: () => number | undefined) {
  const asked: string[] = []
  const sockets = new Set<Duplex>()
  const proxy = createServer((_request, response) => { response.writeHead(405).end() })
  proxy.on('connect', (request, socket, head) => {
    sockets.add(socket)
    socket.on('error', () => {})
    asked.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim())
    const status = refuse?.()
    if (status !== undefined) return socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`)
    const onward: Socket = connectSocket({ port: upstream, host: '127.0.0.1' }, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.write(head)
      onward.pipe(socket).pipe(onward)
    })
    sockets.add(onward)
    onward.on('error', () => socket.destroy())
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    sockets.forEach((socket) => socket.destroy())
    proxy.close()
    proxy.closeAllConnections()
  })
  return { asked, uri: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` }
}

t.test('through a proxy that demands CONNECT', async (t) => {
  const received: string[] = []
  const secure = createSecureServer({ key: TLS.key, cert: TLS.cert }, async (request, response) => {
    for await (const chunk of request) received.push(String(chunk))
    response.end(JSON.stringify({ status: 200, execute: { mboxes: [{ index: 0, name: 'hero', options: [{ type: 'html', content: 'by proxy' }] }] } }))
  })
  secure.listen(0, '127.0.0.1')
  await once(secure, 'listening')
  t.teardown(() => {
    secure.close()
    secure.closeAllConnections()
  })
  const { port } = secure.address() as AddressInfo
  const proxyAgent = (t: Test, uri: string, token?: string) => {
    const agent = new ProxyAgent({ uri, token, requestTls: { ca: TLS.cert } })
    t.teardown(() => agent.destroy())
    return agent
  }

  await t.test('offers come through the tunnel', async (t) => {
    const { asked, uri } = await startProxy(t, port)
    const dispatcher = proxyAgent(t, uri, 'Basic c2VjcmV0')
    const target = createClient(t, `localhost:${port}`, { secure: true, dispatcher })
    const { response } = await target.getOffers(hero)
    t.match(response.execute?.mboxes, [{ options: [{ content: 'by proxy' }] }])
    await sleep(20)
    await target.getOffers(hero)
    t.same(asked, [`localhost:${port} Basic c2VjcmV0`], 'one tunnel for both calls')
    t.equal(received.length, 2)
    await target.close()
    const { statusCode, body } = await request(`https://localhost:${port}/`, { dispatcher })
    await body.dump()
    t.equal(statusCode, 200, 'a dispatcher that was lent is not closed')
  })

  await t.test('407 and a refused CONNECT are connection errors, and it recovers', async (t) => {
    let status: number | undefined = 407
    const { asked, uri } = await startProxy(t, port, () => status)
    const target = createClient(t, `localhost:${port}`, { secure: true, dispatcher: proxyAgent(t, uri) })
    const unauthorized = await errorOf(target.getOffers(hero))
    t.match(unauthorized, { code: 'FST_TARGET_CONNECTION', statusCode: 502, meta: { attempts: 0 } })
    t.match(unauthorized.cause, Error)
    status = 403
    t.match(await errorOf(target.getOffers(hero)), { code: 'FST_TARGET_CONNECTION' })
    status = undefined
    t.match((await target.getOffers(hero)).response.execute?.mboxes, [{ name: 'hero' }])
    t.equal(asked.length, 3)
  })

  await t.test('an absent or closing proxy is a connection error', async (t) => {
    const hangUp = createSocketServer((socket) => socket.destroy())
    hangUp.listen(0, '127.0.0.1')
    await once(hangUp, 'listening')
    t.teardown(() => hangUp.close())
    const through = (uri: string) => createClient(t, `localhost:${port}`, { secure: true, dispatcher: proxyAgent(t, uri), timeout: 300, grace: 0 })
    t.match(await errorOf(through('http://127.0.0.1:1').getOffers(hero)), { code: 'FST_TARGET_CONNECTION', cause: { code: 'ECONNREFUSED' } })
    // undici asks such a proxy again and again; the deadline ends that.
    const { port: hangsUp } = hangUp.address() as AddressInfo
    t.match(await errorOf(through(`http://127.0.0.1:${hangsUp}`).getOffers(hero)), { code: /FST_TARGET_(CONNECTION|TIMEOUT)/ })
  })
})
