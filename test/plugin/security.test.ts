/** What browsers, edges and artifacts must not be able to do: choose hosts, add headers, reach prototypes, be read in logs. */
import { Readable } from 'node:stream'
import { connect } from 'node:net'
import { inspect } from 'node:util'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { Agent } from 'undici'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import { createTargetClient, type TargetResult } from '../../lib/index.ts'
import { bytes, FaultServer, http } from '../support/fault-server.ts'
import { client, json, organizationId, startApp, startEdge, startServer } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep } from '../support/wait.ts'

/** The whole answer to raw bytes, as latin1. */
function exchange (url: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(request, 'latin1'))
    socket.on('data', (chunk) => { text += chunk.toString('latin1') }).on('error', reject).on('close', () => resolve(text))
  })
}

t.test('nothing a browser sends changes the host that is requested', async (t) => {
  const edge = await startEdge(t)
  const asked = new Set<string>()
  // Stands in for DNS: whatever the name, the connection ends at the local edge.
  const dispatcher = new Agent({
    connect: ({ hostname }, callback) => {
      asked.add(hostname)
      const socket = connect(Number(edge.host.split(':')[1]), '127.0.0.1', () => callback(null, socket))
      socket.on('error', (error) => callback(error, null))
    }
  })
  t.teardown(() => dispatcher.close())
  const { url } = await startApp(t, edge.host, { serverDomain: undefined, dispatcher }, (app) => {
    app.get('/*', { config: { target: ['hero'] } }, async (request) => (await request.target.offer('hero')).reason)
  }, { trustProxy: true })
  const hints = ['evil.example', '1@evil.example', '1.evil.example/', '1#', '1/', '12345', '-1', '%31', '1%2eevil', '%EF%BC%91', '']
  const cookies = [
    ...hints.map((hint) => `mboxEdgeCluster=${hint}`),
    ...hints.map((hint) => `mbox=session#s#9999999999|PC#abc.${encodeURIComponent(hint)}_0#9999999999`),
    ...hints.map((hint) => `mbox=PC#${encodeURIComponent(`abc.35_0.${hint}`)}#9999999999`)
  ]
  for (const cookie of cookies) {
    const answer = await exchange(url, `GET / HTTP/1.1\r\nhost: evil.example\r\nx-forwarded-host: evil.example\r\nx-forwarded-for: evil.example\r\nforwarded: host=evil.example\r\nx-host: evil.example\r\nconnection: close\r\ncookie: ${cookie}\r\n\r\n`)
    t.match(answer, /\r\n\r\nmatched$/, cookie)
  }
  await exchange(url, 'GET http://evil.example/ HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n')
  t.same([...asked], [`${client}.tt.omtrdc.net`])
  await exchange(url, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncookie: mboxEdgeCluster=37\r\n\r\n')
  t.same([...asked], [`${client}.tt.omtrdc.net`, 'mboxedge37.tt.omtrdc.net'], 'but a cluster is followed')

  asked.clear()
  const { url: network } = await startApp(t, edge.host, { serverDomain: undefined, dispatcher, edgeNetwork: { datastreamId: 'd' } }, (app) => {
    app.get('/*', { config: { target: ['hero'] } }, async (request) => (await request.target.offer('hero')).reason)
  }, { trustProxy: true })
  const before = edge.requests.length
  for (const hint of [...hints, 'va7', '../../x', 'or2/../..', 'or2%0d%0ahost: evil.example', '__proto__']) {
    const answer = await exchange(network, `GET / HTTP/1.1\r\nhost: evil.example\r\nx-forwarded-host: evil.example\r\nx-forwarded-for: evil.example\r\nconnection: close\r\ncookie: kndctr_1234567890_AdobeOrg_cluster=${hint}; kndctr_evil.example_AdobeOrg_cluster=or2; kndctr_1234567890_AdobeOrg___proto__=x\r\n\r\n`)
    t.match(answer, /\r\n\r\nmatched$/, hint)
  }
  t.same([...asked], ['edge.adobedc.net'], 'the Edge Network is one host')
  t.same([...new Set(edge.requests.slice(before).map(({ path }) => path))].filter((path) => !/^\/ee\/(or2\/)?v2\/(interact|collect)$/.test(path)), [], 'and its path only has locations of Adobe\'s')
})

t.test('neither browser nor edge can inject a header into the other\'s message', async (t) => {
  const heads: string[][] = []
  const evil = 'abc\r\nset-cookie: evil=1\r\nx-evil: 1'
  const host = await startServer(t, (request, response) => {
    heads.push(request.rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase()).sort())
    request.resume().on('end', () => response.end(JSON.stringify({ status: 200, id: { tntId: evil }, edgeHost: `mboxedge35${evil}.tt.omtrdc.net`, client: evil })))
  })
  const { url } = await startApp(t, host, { serverTiming: true }, (app) => {
    app.get('/*', { config: { target: ['hero'] } }, async (request) => (await request.target.offer('hero')).reason)
  })
  for (const cookie of [`mbox=session#${encodeURIComponent('s\r\nx-evil: 1')}#9999999999`, `mbox=${encodeURIComponent(`PC#${encodeURIComponent(evil)}#9999999999`)}`, 'mbox=PC#abc%00%0a.35_0#9999999999', 'mboxEdgeCluster=35%0d%0ax-evil:1']) {
    const answer = await exchange(url, `GET /%0d%0ax-evil:%201?a=%0d%0a HTTP/1.1\r\nhost: a\r\nuser-agent: x\r\nx-evil: 1\r\ncookie: ${cookie}\r\nconnection: close\r\n\r\n`)
    const lines = answer.slice(0, answer.indexOf('\r\n\r\n')).split('\r\n')
    t.notMatch(lines.map((line) => line.toLowerCase()), /evil/)
    const set = lines.filter((line) => line.toLowerCase().startsWith('set-cookie:'))
    t.equal(set.length, 1, 'the session; the edge\'s tntId is none')
    t.match(set[0], /^set-cookie: mbox=session#[\w-]+#\d+; Max-Age=\d+; Path=\/; SameSite=Lax$/i)
  }
  t.equal(heads.length, 4)
  for (const names of heads) t.same(names, ['accept', 'accept-encoding', 'connection', 'content-length', 'content-type', 'host', 'user-agent'])
})

t.test('cookies, queries, bodies, edges and artifacts reach no prototype', async (t) => {
  const keys = () => [Object, Array, Function, String].map(({ prototype }) => Reflect.ownKeys(prototype).map(String))
  const before = keys()
  const evil = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"__proto__.polluted":"1","a.__proto__.polluted":"1","constructor.prototype.polluted":"1"}'
  const host = await startServer(t, (request, response) => {
    request.resume().on('end', () => response.end(`{"__proto__":{"polluted":1},"status":200,"execute":{"__proto__":{"polluted":1},"mboxes":[{"__proto__":{"polluted":1},"index":0,"name":"flags","options":[{"type":"json","content":${evil},"responseTokens":${evil}}]},{"index":1,"name":"__proto__","options":[{"type":"json","content":${evil}}]}]}}`))
  })
  const Flags = Type.Object({ express: Type.Boolean({ default: false }) })
  const form = (request: FastifyRequest) => request.body as Record<string, string> ?? request.query
  for (const decisioningMethod of ['server-side', 'on-device'] as const) {
    const rules = JSON.parse(JSON.stringify(sampleArtifact).replace('"mboxes":{', '"mboxes":{"__proto__":[],"constructor":[],').replace('"meta":{', `"meta":{${evil.slice(1, -1)},`))
    const { url, logged } = await startApp(t, host, {
      hook: 'preHandler',
      parameters: form,
      profileParameters: form,
      context: (request) => request.body as object,
      decisioningMethod,
      artifactPayload: rules,
      pollingInterval: 0
    }, (app) => {
      // As an app would that has its parser let everything through.
      app.addContentTypeParser('text/evil', { parseAs: 'string' }, (_request, body, done) => done(null, JSON.parse(body as string)))
      app.post('/', { config: { target: ['flags', '__proto__', 'constructor', 'banner'] } }, async (request) => {
        const flags = await request.target.attributes('flags', { express: false })
        return [Object.getPrototypeOf(flags) === Object.prototype, await request.target.attributes('__proto__', Flags), await request.target.content('constructor', 'fallback'), ({} as { polluted?: unknown }).polluted ?? 'clean']
      })
    }, { onConstructorPoisoning: 'ignore', onProtoPoisoning: 'ignore' })
    const response = await fetch(`${url}/?__proto__[polluted]=1&__proto__.polluted=1&constructor.prototype.polluted=1`, {
      method: 'POST', headers: { 'content-type': 'text/evil', cookie: 'mbox=__proto__#x#9999999999|constructor#y#9999999999; __proto__=1' }, body: evil
    })
    const [ordinary, attributes, content, state] = await json(response)
    t.same([ordinary, attributes.express, attributes.polluted, Object.hasOwn(attributes, '__proto__'), content, state], [true, false, undefined, false, 'fallback', 'clean'], decisioningMethod)
    t.same(logged.filter(({ msg }) => !/notifications|left out|on-device decisions/.test(msg)), [])
  }
  t.same(keys(), before)
})

t.test('shared caches never receive a visitor\'s cookies', async (t) => {
  const edge = await startEdge(t)
  const PUBLIC: Record<string, string>[] = [
    { 'cache-control': 'public, max-age=60' }, { 'Cache-Control': 'PUBLIC' }, { 'cache-control': 'max-age=0, s-maxage = 60' },
    { 'cache-control': 'private', 'cdn-cache-control': 'max-age=60' }, { 'surrogate-control': 'max-age=60, stale-while-revalidate=30' }
  ]
  const PRIVATE: Record<string, string>[] = [{}, { 'cache-control': 'private, max-age=60' }, { 'cache-control': 'no-store' }, { 'surrogate-control': 'max-age=0' }, { 'cdn-cache-control': 'no-store' }]
  const given = (request: FastifyRequest) => JSON.parse(String(request.headers['x-give']))
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    app.addHook('onSend', async (request, reply, payload) => {
      // As a caching plugin does that is registered after this one.
      if (request.headers['x-when'] === 'late') reply.headers(given(request))
      return payload
    })
    const page = (send: () => unknown) => async (request: FastifyRequest, reply: { headers (values: object): unknown, header (name: string, value: string): unknown }) => {
      await request.target.content('hero')
      reply.header('set-cookie', 'own=1')
      if (request.headers['x-when'] === 'early') reply.headers(given(request))
      return send()
    }
    app.get('/text', { config: { target: ['hero'] } }, page(() => 'page'))
    app.get('/stream', { config: { target: ['hero'] } }, page(() => Readable.from(['page'])))
    app.get('/web', { config: { target: ['hero'] } }, page(() => new Response('page')))
    app.get('/error', { config: { target: ['hero'] } }, page(() => { throw new Error('broken') }))
    app.setNotFoundHandler(page(() => 'nothing here'))
  })
  for (const path of ['text', 'stream', 'web', 'error', 'missing']) {
    for (const when of ['early', 'late']) {
      for (const headers of [...PUBLIC, ...PRIVATE]) {
        const response = await fetch(`${url}/${path}`, { headers: { 'x-give': JSON.stringify(headers), 'x-when': when, cookie: 'mbox=session#abc#9999999999' } })
        await response.text()
        const names = response.headers.getSetCookie().map((cookie) => cookie.split('=')[0])
        t.same(names, PUBLIC.includes(headers) ? ['own'] : ['own', 'mbox', 'mboxEdgeCluster'], `${path}, ${when}: ${JSON.stringify(headers)}`)
      }
    }
  }
  t.same(logged.filter(({ msg }) => /publicly cacheable/.test(msg)).map(({ route }) => route), ['GET /text', 'GET /stream', 'GET /web', 'GET /error', 'GET '], 'once for each route')
})

t.test('an untrusted certificate is rejected', async (t) => {
  const server = await new FaultServer(undefined, { secure: true }).listen()
  t.teardown(() => server.close())
  for (const dispatcher of [undefined, new Agent()]) {
    const target = createTargetClient({ client, organizationId, serverDomain: `127.0.0.1:${server.port}`, artifactLocation: `${server.origin}/rules.json`, dispatcher })
    t.teardown(async () => { await target.close(); await dispatcher?.close() })
    await t.rejects(target.getOffers({ request: { execute: { mboxes: [{ name: 'hero', index: 0 }] } } }), { code: 'FST_TARGET_CONNECTION', cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } })
    await t.rejects(target.refresh(), { code: 'FST_TARGET_ARTIFACT', message: /self-signed/ })
  }
  t.equal(server.requests.length, 0, 'it was told nothing')
})

// What is planted in the visitor's request, by what it is; long and odd enough to be found anywhere.
const PLANTED = {
  tntId: 'tnt0a1b2c3d4e5f',
  session: 'session|9f8e7d6c',
  ecid: '38400000801122334455667788990011223344',
  blob: 'blobQx81Zz_secret',
  ip: '203.0.113.77',
  parameter: 'par "quoted" value',
  name: 'Alice Example',
  profile: 'profile-value-4711',
  thirdPartyId: 'member-0815-xyz',
  customerId: 'customer-31337',
  query: 'search-term-topsecret',
  referrer: 'from-a-secret-page',
  userAgent: 'SecretBrowser/7.7',
  unrelated: 'unrelated-cookie-value',
  state: 'what-web-sdk-keeps-1701'
}
const HEADERS = {
  cookie: `mbox=session#${encodeURIComponent(PLANTED.session)}#9999999999|PC#${PLANTED.tntId}.35_0#9999999999; other=${PLANTED.unrelated}; AMCV_${encodeURIComponent(organizationId)}=${encodeURIComponent(`MCMID|${PLANTED.ecid}|MCAAMLH-1|6|MCAAMB-1|${PLANTED.blob}`)}; kndctr_1234567890_AdobeOrg_other=${PLANTED.state}`,
  'x-forwarded-for': PLANTED.ip,
  referer: `https://r.example/${PLANTED.referrer}`,
  'user-agent': PLANTED.userAgent
}

/** Values that text repeats, as they are or encoded. */
function repeated (text: string): string[] {
  return Object.entries(PLANTED).filter(([, value]) => [value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)].some((form) => text.includes(form))).map(([what]) => what)
}

t.test('no log line or error contains visitor data, whatever fails', { timeout: 240_000 }, async (t) => {
  /** What an edge can quote: what it was told. A page's address is one value, so its parts are not looked at here. */
  const known = (body: string) => Object.entries(PLANTED).filter(([what, value]) => what !== 'referrer' && what !== 'query' && body.includes(JSON.stringify(value).slice(1, -1))).map(([, value]) => value)
  const everything = (body: string, path: string) => `${body} ${Object.values(PLANTED).join(' ')} ${path}`
  /** In the words of both APIs. */
  const refusal = (text: string) => JSON.stringify({ status: 400, message: text, type: 'https://ns.adobe.com/aep/errors/EXEG-0100-400', title: text, detail: text, errors: [{ status: 400, title: 'com.adobe.target', detail: text }] })
  const answers: Record<string, (body: string, path: string) => string> = {
    'refused, quoting all': (body, path) => http('400 Bad Request', refusal(known(body).map((value) => `bad ${value}`).join(', ') + path)),
    'refused, quoting two': (body) => http('400 Bad Request', refusal(`${known(body).filter((value) => value === PLANTED.tntId || value === PLANTED.name).join(' and ')} are not valid`)),
    'refused, quoting the request': (body) => http('400 Bad Request', refusal(`cannot read ${body}`)),
    'refused, quoting much': (body) => http('400 Bad Request', refusal(`${known(body)[0]} `.repeat(1500))),
    'refused in the body': (body, path) => http('200 OK', refusal(`${known(body).join(' ')} ${path}`)),
    'failed, with all in its head': (body, path) => http(`500 ${PLANTED.ecid}`, 'x', { 'x-echo': encodeURIComponent(everything(body, path)), 'content-type': `text/${PLANTED.tntId}` }),
    'a page': (body, path) => http('200 OK', `<html>${everything(body, path)}</html>`, { 'content-type': 'text/html' }),
    'a redirect': () => http('302 Found', '', { location: `https://evil.example/${PLANTED.session}` }),
    'a wrong shape': (body) => http('200 OK', JSON.stringify({ status: 200, execute: { mboxes: [{ index: body, name: PLANTED.ip }] }, handle: body })),
    'a string': () => http('200 OK', JSON.stringify(PLANTED.tntId)),
    'no HTTP': (body, path) => `${everything(body, path)}\r\n\r\n`,
    'a bad header': () => `HTTP/1.1 200 OK\r\n${PLANTED.ip} ${PLANTED.profile}\r\n\r\n`,
    'cut off': (body) => http('200 OK', body, { 'content-length': body.length + 9 }),
    'too large': (body) => http('200 OK', body.repeat(60)),
    'a pause': (body) => http('503 Service Unavailable', JSON.stringify({ message: known(body).at(-1) }), { 'retry-after': 1 })
  }
  for (const [level, isEdgeNetwork] of [['debug', false], ['trace', false], ['trace', true]] as const) {
    const server = await new FaultServer().listen()
    t.teardown(() => server.close())
    const lines: string[] = []
    const errors: unknown[] = []
    let closing = false
    const { app, url } = await startApp(t, `127.0.0.1:${server.port}`, {
      timeout: 1000,
      grace: 0,
      pool: { maxResponseSize: 20_000 },
      breaker: { failures: 1000, cooldown: 1 },
      parameters: (request) => ({ secret: PLANTED.parameter, name: PLANTED.name, q: (request.query as { q: string }).q }),
      profileParameters: () => ({ tier: PLANTED.profile }),
      visitor: () => ({ thirdPartyId: PLANTED.thirdPartyId, customerIds: { crm: { id: PLANTED.customerId, authState: 1 as const } } }),
      notifications: { retries: 0, closeTimeout: 0 },
      ...isEdgeNetwork
        ? { serverDomain: undefined, edgeNetwork: { datastreamId: 'd', edgeDomain: `127.0.0.1:${server.port}`, thirdPartyIdNamespace: 'Crm' } }
        : { telemetryEnabled: true }
    }, (app) => {
      app.get('/', { config: { target: { execute: { mboxes: ['hero'] } } } }, async (request) => {
        await request.target.attributes('hero', Type.Object({ express: Type.Boolean({ default: false }) }))
        request.target.notify([{ type: 'display', mbox: { name: 'hero' }, tokens: ['t'] }, { type: 'wrong' } as never])
        request.target.displayed('nowhere')
        errors.push((await request.target.offer('hero')).error)
        return await request.target.result().catch((error) => { errors.push(error) }) ?? 'failed'
      })
      if (!isEdgeNetwork) app.get('/device', { config: { target: { execute: { mboxes: ['hero'] }, decisioningMethod: 'on-device' } } }, async (request) => { errors.push((await request.target.offer('hero')).error) })
      app.get('/form', { config: { target: (request) => [{ name: 'hero', parameters: { key: request.headers['user-agent'] as string, other: 7 as never } }] } }, async (request) => { errors.push((await request.target.offer('hero')).error) })
      app.addHook('onSend', async () => { if (closing) return 'closing' })
    }, { logger: { level, stream: { write: (line: string) => { lines.push(line) } } }, trustProxy: true, disableRequestLogging: true })
    const visit = async (path = '/') => await (await fetch(`${url}${path}?q=${PLANTED.query}`, { headers: HEADERS })).text()

    for (const [what, answer] of Object.entries(answers)) {
      server.behave = (socket, { body, head }) => socket.end(answer(body, head.split(' ')[1]!))
      const before = errors.length
      await visit()
      const found = errors.slice(before).map((error) => repeated(inspect(error, { depth: 12, showHidden: true, maxStringLength: Infinity })))
      t.match(errors[before], { code: /^FST_TARGET_(HTTP|INVALID_RESPONSE|CONNECTION)$/ }, what)
      t.same(found, found.map(() => []), what)
    }
    await sleep(10)
    await visit()
    t.match(errors.at(-1), { code: 'FST_TARGET_BREAKER_OPEN' }, 'it asked for a pause')
    server.behave = bytes(http('200 OK', JSON.stringify({ status: 200, execute: { mboxes: [{ index: 0, name: 'hero', options: [{ type: 'json', content: { express: PLANTED.ecid } }] }] } })))
    for (let tries = 0; tries < 60 && errors.at(-1) !== undefined; tries++) {
      await sleep(50)
      await visit()
    }
    t.equal(errors.at(-1), undefined, 'the pause is over')
    server.behave = (socket) => socket.destroy()
    await visit()
    server.behave = () => {}
    await visit()
    t.match(errors.at(-1), { code: 'FST_TARGET_TIMEOUT' })
    if (!isEdgeNetwork) await visit('/device')
    await visit('/form')
    const asked = await Promise.allSettled([
      app.target.getOffers({ request: { execute: { mboxes: [{ name: 'hero', index: 0, parameters: { big: 1n as never, secret: PLANTED.parameter } }] } }, sessionId: PLANTED.session, targetCookie: HEADERS.cookie, signal: AbortSignal.abort() }),
      app.target.sendNotifications({ request: { notifications: [{ id: PLANTED.customerId } as never] }, visitorCookie: `MCMID|${PLANTED.ecid}` }),
      app.target.getAttributes([PLANTED.name], { request: { id: { tntId: PLANTED.tntId } }, signal: AbortSignal.abort(PLANTED.ip) })
    ])
    errors.push(...asked.map((outcome) => outcome.status === 'rejected' ? { ...outcome.reason, message: outcome.reason.message } : undefined))
    closing = true
    await app.close()
    t.same(errors.map((error) => error === undefined ? [] : repeated((error as Error).message + JSON.stringify((error as { meta?: object }).meta ?? {}))).flat(), [], 'in no error')
    t.same(lines.filter((line) => repeated(line).length > 0).map((line) => ({ found: repeated(line), line })), [], 'in no line')
    t.ok(lines.some((line) => line.includes('FST_TARGET_HTTP')) && lines.some((line) => line.includes('FST_TARGET_TIMEOUT')) && lines.some((line) => line.includes('notifications')), 'there were lines to look at')
    t.notOk(lines.some((line) => /"context"|"execute"/.test(line)), 'no body is logged')
  }
})

t.test('inputs that fuzzing once found are handled', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { hook: 'preHandler', parameters: (request) => request.query as Record<string, unknown>, context: (request) => request.body as object }, (app) => {
    app.addContentTypeParser('text/evil', { parseAs: 'string' }, (_request, body, done) => done(null, JSON.parse(body as string)))
    app.all('/', { config: { target: ['hero', { name: 'banner', parameters: { member: 'gold' } }] } }, async (request) => {
      const { reason } = await request.target.offer('hero')
      const { request: sent } = await request.target.result() as TargetResult
      return { reason, sent }
    })
  })
  const many = Array.from({ length: 60 }, (_, index) => `q${index}=v`).join('&')
  const page = await json(await fetch(`${url}/?${many}`))
  t.equal(page.reason, 'matched', 'sixty names in a query beside a parameter of the route\'s')
  const [hero, banner] = page.sent.execute.mboxes
  t.equal(Object.keys(hero.parameters).length, 60)
  t.match([Object.keys(banner.parameters).length, banner.parameters.member], [61, 'gold'])
  t.equal((await json(await fetch(`${url}/?orderId=1&orderTotal=2&productPurchasedIds=3&a=4`))).reason, 'matched', 'names that belong to an order')

  const amcv = { headers: { cookie: `AMCV_${organizationId}=MCAAMLH-1|${'9'.repeat(400)}|MCMID|1` } }
  const hinted = await json(await fetch(url, amcv))
  t.match([hinted.reason, hinted.sent.experienceCloud.audienceManager], ['matched', undefined], 'a location hint beyond all numbers')

  const merged = await json(await fetch(url, { method: 'POST', headers: { 'content-type': 'text/evil' }, body: '{"__proto__":{"beacon":true},"timeOffsetInMinutes":60}' }))
  t.match([merged.reason, merged.sent.context.timeOffsetInMinutes, merged.sent.context.beacon], ['matched', 60, undefined])

  const parameters = { a: {} as Record<string, unknown> }
  let inner = parameters.a
  for (let level = 0; level < 100; level++) inner = inner['a'] = { text: 'Text' } as Record<string, unknown>
  const before = JSON.stringify(parameters)
  const local = createTargetClient({ client, organizationId, serverDomain: edge.host, secure: false, decisioningMethod: 'on-device', artifactPayload: sampleArtifact, pollingInterval: 0 })
  t.teardown(() => local.close())
  await local.ready()
  await local.getOffers({ request: { execute: { mboxes: [{ name: 'banner', index: 0, parameters: parameters as never }] } } })
  t.equal(JSON.stringify(parameters), before, 'what nests deeply in parameters stays as it was')
  const options = { client, organizationId, logger: { lines: 0, self: {}, debug () {}, error () { this.lines++ } }, events: {} }
  options.logger.self = options.logger
  const plain = createTargetClient({ ...options, serverDomain: '127.0.0.1:9' })
  t.teardown(() => plain.close())
  await t.rejects(plain.getOffers({ request: { execute: { mboxes: [{ name: 'hero', index: 0 }] } } }), { code: 'FST_TARGET_CONNECTION' })
  t.equal(options.logger.lines, 1, 'a logger that refers to itself is used as it is')

  const deep = await startServer(t, (request, response) => {
    request.resume().on('end', () => response.end(`{"status":200,"execute":{"mboxes":[{"index":0,"name":"hero","options":[{"type":"json","content":{"express":true,"a":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}}]}]}}`))
  })
  const { url: nested, logged } = await startApp(t, deep, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.attributes('hero', Type.Object({ express: Type.Boolean({ default: false }) })))
  })
  t.same(await json(await fetch(nested)), { express: false }, 'an offer that nests too deep to be copied gives the defaults')
  t.match(logged, [{ msg: /does not match its schema/ }])

  const { url: named, logged: refusals } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: (request) => ({ execute: { pageLoad: { parameters: { [(request.query as { name: string }).name]: 'v' } } } }) } }, async (request) => (await request.target.pageLoad()).reason)
  })
  t.equal(await (await fetch(`${named}/?name=${encodeURIComponent(`\r\nforged line ${'x'.repeat(3000)}`)}`)).text(), 'matched', 'a bad name costs no offer')
  t.match(refusals, [{ msg: /was left out/ }])
  const message = refusals[0]!.msg
  t.match(message, /forged line x/)
  t.ok(message.length < 1200 && !/[\r\n]/.test(message), 'a name from a browser forges no log line')
})
