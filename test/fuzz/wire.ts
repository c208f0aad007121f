/** Properties that need sockets: raw requests to an app, spoiled answers to a client, hostile calls of it. */
import { strict as assert } from 'node:assert'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import fc from 'fast-check'
import { createEdge } from '../../lib/edge/index.ts'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import fastifyAdobeTarget, { createTargetClient, type GetOffersOptions } from '../../lib/index.ts'
import { client, hostOf, optionsFor, organizationId } from '../support/helper.ts'
import { cookieHeader, headers, headerText, query, spoil, spoilings, text } from './generators.ts'
import { coded, property, useAnswer, type Property } from './properties.ts'

/** Answers of the edge in the middle of a run. */
const ANSWER = { status: 200, id: { tntId: 'abc.35_0' }, edgeHost: 'mboxedge35.tt.omtrdc.net', execute: { mboxes: [{ index: 0, name: 'hero', options: [{ type: 'json', content: { a: { b: 1 } } }] }] } }
/** And of the Edge Network. */
const EDGE_ANSWER = {
  requestId: 'r',
  handle: [
    { type: 'identity:result', payload: [{ id: '1'.repeat(38), namespace: { code: 'ECID' } }] },
    { type: 'personalization:decisions', payload: [{ id: 'AT:1', scope: 'hero', scopeDetails: { decisionProvider: 'TGT', characteristics: { eventTokens: { display: 'd', click: 'c' } } }, items: [{ id: '1', schema: 'https://ns.adobe.com/personalization/json-content-item', meta: { a: 'b' }, data: { content: { a: { b: 1 } } } }] }] },
    { type: 'locationHint:result', payload: [{ scope: 'EdgeNetwork', hint: 'or2', ttlSeconds: 1800 }] },
    { type: 'state:store', payload: [{ key: 'kndctr_1234567890_AdobeOrg_identity', value: 'CiY', maxAge: 9, attrs: { SameSite: 'None' } }] }
  ],
  errors: [{ status: 504, title: 'com.adobe.x', detail: 'y' }]
}
/** An event as Web SDK sends it. */
const EVENT_BODY = {
  meta: { state: { domain: 'shop.example', cookiesEnabled: true, entries: [{ key: 'kndctr_1234567890_AdobeOrg_identity', value: 'CiY' }, { key: 'kndctr_1234567890_AdobeOrg_consent', value: 'general=in' }, { key: 'at_qa_mode', value: '{"token":"t"}' }] }, configOverrides: { com_adobe_target: { propertyToken: 'p' } } },
  query: { identity: { fetch: ['ECID'] } },
  events: [{
    query: { personalization: { schemas: ['https://ns.adobe.com/personalization/html-content-item'], decisionScopes: ['__view__', 'hero'] } },
    xdm: { eventType: 'decisioning.propositionDisplay', _id: 'e', timestamp: '2026-01-01T00:00:00Z', identityMap: { ECID: [{ id: '2'.repeat(38), primary: true }] }, web: { webPageDetails: { URL: 'https://shop.example/' } }, placeContext: { geo: { city: 'Oslo' } }, _experience: { decisioning: { propositions: [{ id: 'AT:1', scope: 'hero', scopeDetails: { characteristics: { eventToken: 't' } } }], propositionEventType: { display: 1 } } } },
    data: { __adobe: { target: { 'profile.level': 'gold', orderId: 'o', orderTotal: '3', productPurchasedId: 'a,b', size: 3 } } }
  }],
  consent: [{ standard: 'Adobe', version: '1.0', value: { general: 'in' } }]
}
const CALL_FAILURES = ['FST_TARGET_INVALID_REQUEST', 'FST_TARGET_INVALID_OPTIONS', 'FST_TARGET_INVALID_RESPONSE', 'FST_TARGET_HTTP', 'FST_TARGET_CONNECTION'] as const

/** Runs with an app, an edge and clients on real sockets, and closes them. */
export async function withWire<Result> (use: (wire: Property[]) => Promise<Result>): Promise<Result> {
  const edge = createEdge({ client, organizationId })
  await edge.listen({ port: 0, host: '127.0.0.1' })
  const logged: string[] = []
  const edgeNetwork = { datastreamId: 'd', edgeDomain: edge.host }
  const apps = await Promise.all([{}, { serverDomain: undefined, edgeNetwork }].map(async (transport) => {
    const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { logged.push(line) } } }, trustProxy: true, forceCloseConnections: true }) as unknown as FastifyInstance
    await app.register(fastifyAdobeTarget, optionsFor(hostOf(edge.server), {
      parameters: (request) => request.query as Record<string, unknown>,
      profileParameters: (request) => request.query as Record<string, unknown>,
      ...transport
    }))
    app.all('/*', { config: { target: ['hero', { name: 'banner', parameters: { member: 'gold' } }] } }, async (request) => {
      const offer = await request.target.offer('hero', 'fallback')
      return { reason: offer.reason }
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return app
  }))

  let answer: Buffer | string = ''
  const spoiledEdge = createServer((_request, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(answer))
  await new Promise<void>((resolve) => spoiledEdge.listen(0, '127.0.0.1', resolve))
  const remote = createTargetClient({ client, organizationId, serverDomain: hostOf(spoiledEdge), secure: false, breaker: false })
  const local = createTargetClient({ client, organizationId, serverDomain: hostOf(edge.server), secure: false, breaker: false, decisioningMethod: 'on-device', artifactPayload: sampleArtifact, pollingInterval: 0 })
  await local.ready()
  const spoiledNetwork = createTargetClient({ client, organizationId, secure: false, breaker: false, edgeNetwork: { datastreamId: 'd', edgeDomain: hostOf(spoiledEdge) } })
  const network = createTargetClient({ client, organizationId, secure: false, breaker: false, edgeNetwork })

  const ports = apps.map(({ server }) => Number(hostOf(server).split(':')[1]))
  const head = fc.tuple(fc.constantFrom('GET', 'POST', 'HEAD', 'OPTIONS', 'PUT'), headerText, headers, cookieHeader, fc.option(query), fc.array(fc.tuple(headerText, headerText), { maxLength: 3 }), fc.boolean(), fc.constantFrom(0, 1))
  const heads = property('requests on the wire', 8, head, async ([method, path, headers, cookie, query, junk, rawPath, transport]) => {
    const encoded = (value: unknown) => encodeURIComponent(String(value).replace(/\p{Cs}/gu, ''))
    const search = query === null ? '' : `?${Object.entries(query).map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join('&')}`.slice(0, 8000)
    const lines = [`${method} /${rawPath ? path : encoded(path.slice(0, 500))}${search} HTTP/1.1`, 'host: shop.example', 'connection: close', `cookie: ${cookie}`]
    for (const [name, value] of [...Object.entries(headers), ...junk]) lines.push(`${name}: ${value}`)
    const { status, text } = await exchange(ports[transport]!, `${lines.join('\r\n')}\r\n\r\n`)
    // Node refuses what is no HTTP; whatever gets through to a route has its offer: the edge found nothing to refuse.
    if (status === 200 && method !== 'HEAD' && method !== 'OPTIONS') assert.match(text, transport === 0 ? /\{"reason":"matched"\}/ : /\{"reason":"(matched|opted-out)"\}/)
    assert.ok(status === 0 || status === 200 || (status >= 400 && status < 500), `${status}`)
    const cookies = [...text.slice(0, text.indexOf('\r\n\r\n')).matchAll(/^set-cookie: (\w+)=(\S+);/gim)].map(([, name]) => name)
    assert.ok(cookies.every((name) => transport === 0 ? name === 'mbox' || name === 'mboxEdgeCluster' : /^kndctr_1234567890_AdobeOrg_(identity|cluster)$/.test(name!)), cookies.join())
    assert.deepEqual(logged, [])
  })

  const tampered = fc.oneof(
    spoilings.map((how): () => string => () => serialized(spoil(ANSWER, how))),
    fc.tuple(fc.nat(400), text).map(([place, junk]) => () => JSON.stringify(ANSWER).slice(0, place) + junk + JSON.stringify(ANSWER).slice(place)),
    fc.nat(400).map((length) => () => JSON.stringify(ANSWER).slice(0, length)),
    fc.constantFrom('[', '{"a":', '{"execute":', '{"execute":{"mboxes":[').map((open) => () => open.repeat(20_000)),
    fc.constant(() => '{"id":{"tntId":"a"},"id":{"tntId":7},"__proto__":{"polluted":1}}')
  )
  const answers = property('answers on the wire', 5, tampered, async (make) => {
    answer = make()
    const result = await coded([...CALL_FAILURES], () => remote.getOffers({ request: { execute: { mboxes: [{ name: 'hero', index: 0 }] } } }))
    if (result !== undefined) useAnswer(result.response)
  })

  const edgeAnswers = property('answers of the Edge Network on the wire', 3, spoilings, async (how) => {
    answer = serialized(spoil(EDGE_ANSWER, how))
    const result = await coded([...CALL_FAILURES], () => spoiledNetwork.getOffers({ request: { execute: { mboxes: [{ name: 'hero', index: 0 }] } } }))
    if (result === undefined) return
    useAnswer(result.response)
    assert.ok(result.edgeCookies!.every(({ name, value }) => name.startsWith('kndctr_1234567890_AdobeOrg_') && /^[!#-+\--:<-[\]-~]*$/.test(value)))
  })

  const edgeCalls = property('calls of the local Edge Network', 3, fc.tuple(spoilings, fc.constantFrom('v1/interact', 'v2/interact', 'or2/v1/collect', 'v2/collect', 'v1/privacy/set-consent')), async ([how, path]) => {
    const { statusCode, json } = await edge.inject({ method: 'POST', url: `/ee/${path}?datastreamId=d`, headers: { 'content-type': 'application/json' }, payload: serialized(spoil(EVENT_BODY, how)) })
    assert.ok(statusCode < 500, `${statusCode}`)
    if (statusCode >= 400 && statusCode !== 413) assert.equal(json().status ?? json().statusCode, statusCode)
  })

  const given = {
    request: {
      id: { tntId: 'abc', customerIds: [{ id: 'c', integrationCode: 'i', authenticatedState: 'unknown' }] },
      context: { channel: 'web', address: { url: 'https://a.example/', referringUrl: 'https://b.example/' }, userAgent: 'x', geo: { city: 'Oslo' } },
      execute: { pageLoad: { parameters: { a: 'b' } }, mboxes: [{ name: 'hero', index: 0, parameters: { member: 'gold', 'a.b': 'c' }, profileParameters: { x: 'y' } }, { name: 'banner', index: 1 }] },
      prefetch: { views: [{ name: 'product' }], mboxes: [{ name: 'hero', index: 0 }] },
      experienceCloud: { analytics: { logging: 'client_side' } }
    },
    targetCookie: 'session#s#9999999999|PC#abc.35_0#9999999999',
    visitorCookie: 'MCMID|1',
    targetLocationHint: '35',
    sessionId: 's',
    consumerId: 'c',
    customerIds: { userid: { id: 'u', authState: 1 } },
    edgeCookies: { kndctr_1234567890_AdobeOrg_identity: 'CiY', kndctr_1234567890_AdobeOrg_cluster: 'or2', kndctr_1234567890_AdobeOrg_consent: 'general=in', session: 's' }
  }
  const calls = property('calls of getOffers', 6, spoilings, async (how) => {
    const options = spoil(given, how) as GetOffersOptions
    const before = fingerprint(options)
    const result = await coded([...CALL_FAILURES], () => local.getOffers(options))
    assert.equal(fingerprint(options), before, 'the caller\'s objects are never changed')
    if (result !== undefined) useAnswer(result.response)
    const { response } = await coded([...CALL_FAILURES], () => network.getOffers(options)) ?? {}
    assert.equal(fingerprint(options), before, 'nor by the Edge Network')
    if (response !== undefined) useAnswer(response)
  })

  try {
    return await use([heads, answers, edgeAnswers, edgeCalls, calls])
  } finally {
    await Promise.all([...apps, remote, local, network, spoiledNetwork].map(async (one) => { await one.close() }))
    await edge.close()
    await new Promise((resolve) => {
      spoiledEdge.close(resolve)
      spoiledEdge.closeAllConnections()
    })
  }
}

/** One request as raw bytes; status 0 when the connection was closed without an answer. */
function exchange (port: number, bytes: string): Promise<{ status: number, text: string }> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'))
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer within 10 s')))
    socket.on('data', (chunk) => { text += chunk.toString('latin1') })
    socket.on('error', (error: Error & { code?: string }) => error.code === 'ECONNRESET' || error.code === 'EPIPE' ? undefined : reject(error))
    socket.on('close', () => resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text }))
  })
}

/** JSON where that is possible: what nests too deep cannot be sent by anybody's JSON.stringify. */
function serialized (value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null'
  } catch {
    return '['.repeat(20_000) + ']'.repeat(20_000)
  }
}

/** All of a value that JSON shows; of one that is too deep, its first levels. */
function fingerprint (value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return 'too deep'
  }
}
