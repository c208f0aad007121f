/** Everything that can go wrong between here and an edge, each with a server that really does it. */
import { once } from 'node:events'
import { createSecureServer } from 'node:http2'
import net, { type AddressInfo, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { Delivery } from '../../lib/delivery/delivery.ts'
import { EDGE_NETWORK } from '../../lib/transport/edge-network/dialect.ts'
import { failedOffer } from '../../lib/offers/offer.ts'
import { callTo, endingOf, GRACE, hostOf, network, POOL, TIMEOUT, type Ending } from './calls.ts'
import { bytes, FaultServer, fillBacklog, freezableServer, good, GOOD, http, TLS, type Behaviour } from '../support/fault-server.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

/** The promise is 20 ms; the rest is for this process, which is busy with the servers as well. */
const TOLERANCE = 20 + 180

const HTML = '<!doctype html><title>Bad gateway</title>'

/** Writes until the other side has had enough, and says how much that was. */
function flood (socket: Socket, size: number, sent: { bytes: number }): void {
  const chunk = Buffer.alloc(64 * 1024, 0x20)
  const more = () => {
    while (sent.bytes < size && !socket.destroyed) {
      sent.bytes += chunk.length
      if (!socket.write(chunk)) return
    }
  }
  socket.on('drain', more)
  more()
}

const flooded = { bytes: 0 }
const bomb = gzipSync(Buffer.alloc(5e7, 0x20))

interface Fault {
  name: string
  behave: Behaviour
  /** The error's code, or `ok`. */
  code: string
  status?: number
  /** What the message must say. */
  says?: RegExp
  /** How far the call has to have come. */
  phase?: string
  /** Requests the server is to have seen; 1 unless told. */
  requests?: number
  /** What differs where the call is one to the Edge Network, which does not speak of it in the same words; `false`: cannot be. */
  edgeNetwork?: Partial<Fault> | false
}

/** An error of the Edge Network, as it writes them. */
const problem = (status: number, title: string, detail?: string) => JSON.stringify({ type: `https://ns.adobe.com/aep/errors/EXEG-0201-${status}`, status, title, ...(detail !== undefined && { detail }), report: {} })
const problems = (...errors: string[]) => `{"requestId":"r","handle":[],"errors":[${errors.join()}]}`

/** Those that only the Edge Network has. */
const edgeNetworkFaults: Fault[] = [
  { name: '400, a problem', behave: bytes(http('400 Bad Request', problem(400, 'Invalid datastream ID', 'The datastream ID is invalid.'))), code: 'FST_TARGET_HTTP', status: 400, says: /400: The datastream ID is invalid\./ },
  { name: '422, a problem without detail', behave: bytes(http('422 Unprocessable Entity', problem(422, 'Unprocessable'))), code: 'FST_TARGET_HTTP', status: 422, says: /422: Unprocessable/ },
  { name: '503, a problem', behave: bytes(http('503 Service Unavailable', problem(503, 'The service is unavailable'), { 'retry-after': 1 })), code: 'FST_TARGET_HTTP', status: 503, says: /unavailable/ },
  { name: '207, Target failed', behave: bytes(http('207 Multi-Status', problems(problem(504, 'Timed out', 'The \'com.adobe.target\' service timed out.')))), code: 'FST_TARGET_HTTP', status: 504, says: /504: The 'com\.adobe\.target' service timed out/ },
  { name: '207, Target failed without a status', behave: bytes(http('207 Multi-Status', problems('{"title":"com.adobe.target failed"}'))), code: 'FST_TARGET_HTTP', status: 502 },
  { name: '207, another service failed', behave: bytes(http('207 Multi-Status', problems(problem(504, 'Timed out', 'The \'com.adobe.audiencemanager\' service timed out.'), 'null', '7'))), code: 'ok', status: 207 },
  { name: '200, handles of no form', behave: bytes(http('200 OK', '{"handle":[null,7,{"type":1},{"type":"state:store","payload":{}}],"errors":"none"}')), code: 'ok', status: 200 },
  { name: '202 to a report', behave: bytes(http('202 Accepted', '{"requestId":"r"}')), code: 'ok', status: 202 }
]

const faults: Fault[] = [
  { name: 'accepts and never answers', behave: () => {}, code: 'FST_TARGET_TIMEOUT', phase: 'headers' },
  { name: 'headers, then nothing', behave: bytes('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n'), code: 'FST_TARGET_TIMEOUT', phase: 'body' },
  { name: 'half of the headers, then nothing', behave: bytes('HTTP/1.1 200 OK\r\ncontent-le'), code: 'FST_TARGET_TIMEOUT', phase: 'headers' },
  {
    name: 'one byte every 50 ms',
    behave: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n')
      const timer = setInterval(() => socket.write(' '), 50)
      socket.on('close', () => clearInterval(timer))
    },
    code: 'FST_TARGET_TIMEOUT',
    phase: 'body'
  },
  { name: 'closes before it answers', behave: (socket) => socket.end(), code: 'FST_TARGET_CONNECTION', phase: 'headers' },
  { name: 'reset before it answers', behave: (socket) => socket.resetAndDestroy(), code: 'FST_TARGET_CONNECTION', phase: 'headers' },
  {
    name: 'reset in the middle of the body',
    behave: (socket) => socket.write(GOOD.slice(0, -20), () => setTimeout(() => socket.resetAndDestroy(), 20)),
    code: 'FST_TARGET_CONNECTION',
    phase: 'body'
  },
  { name: 'closes in the middle of the body', behave: (socket) => socket.end(GOOD.slice(0, -20)), code: 'FST_TARGET_CONNECTION', phase: 'body' },
  { name: 'content-length too large', behave: (socket) => socket.end(http('200 OK', '{}', { 'content-length': 3, connection: 'close' })), code: 'FST_TARGET_CONNECTION' },
  { name: 'content-length too small', behave: bytes(http('200 OK', '{"status":200}', { 'content-length': 5 })), code: 'FST_TARGET_INVALID_RESPONSE', says: /not JSON/ },
  { name: 'content-length that is none', behave: bytes('HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}'), code: 'FST_TARGET_INVALID_RESPONSE' },
  { name: 'not HTTP', behave: bytes('SSH-2.0-OpenSSH_9.6\r\n\r\n'), code: 'FST_TARGET_INVALID_RESPONSE' },
  { name: '400', behave: bytes(http('400 Bad Request', '{"status":400,"message":"context is required"}')), code: 'FST_TARGET_HTTP', status: 400, says: /400: context is required/, edgeNetwork: { says: /400$/ } },
  { name: '400 with HTML', behave: bytes(http('400 Bad Request', HTML, { 'content-type': 'text/html' })), code: 'FST_TARGET_HTTP', status: 400, says: /400$/ },
  { name: '404', behave: bytes(http('404 Not Found', '')), code: 'FST_TARGET_HTTP', status: 404 },
  { name: '429 with Retry-After', behave: bytes(http('429 Too Many Requests', '{}', { 'retry-after': 1 })), code: 'FST_TARGET_HTTP', status: 429 },
  { name: '500', behave: bytes(http('500 Internal Server Error', '{"status":500,"message":"oops"}')), code: 'FST_TARGET_HTTP', status: 500 },
  { name: '500 with 100 MB', behave: (socket) => { socket.write('HTTP/1.1 500 Oops\r\ncontent-length: 100000000\r\n\r\n'); flood(socket, 1e8, { bytes: 0 }) }, code: 'FST_TARGET_HTTP', status: 500 },
  {
    name: '500 with 100 kB, not announced',
    behave: (socket) => socket.end(`HTTP/1.1 500 Oops\r\nconnection: close\r\n\r\n{"message":"not read to its end"${' '.repeat(1e5)}}`),
    code: 'FST_TARGET_HTTP',
    status: 500,
    says: /500$/
  },
  { name: '503 with Retry-After', behave: bytes(http('503 Service Unavailable', HTML, { 'retry-after': 1, 'content-type': 'text/html' })), code: 'FST_TARGET_HTTP', status: 503 },
  { name: '200 with status 400 inside', behave: bytes(http('200 OK', '{"status":400,"message":"no such client"}')), code: 'FST_TARGET_HTTP', status: 400, says: /400: no such client/, edgeNetwork: false },
  { name: '204', behave: bytes('HTTP/1.1 204 No Content\r\n\r\n'), code: 'ok', status: 204 },
  { name: '200 without a body', behave: bytes(http('200 OK', '')), code: 'FST_TARGET_INVALID_RESPONSE' },
  { name: 'HTML', behave: bytes(http('200 OK', HTML, { 'content-type': 'text/html' })), code: 'FST_TARGET_INVALID_RESPONSE', status: 200, says: /not JSON but text\/html/ },
  { name: 'truncated JSON', behave: bytes(http('200 OK', '{"status":200,"execute":{"mbo')), code: 'FST_TARGET_INVALID_RESPONSE' },
  { name: 'JSON array', behave: bytes(http('200 OK', '[1,2]')), code: 'FST_TARGET_INVALID_RESPONSE', says: /response is not an object/, edgeNetwork: { says: /answer is not an object/ } },
  { name: 'JSON null', behave: bytes(http('200 OK', 'null')), code: 'FST_TARGET_INVALID_RESPONSE' },
  { name: 'wrong shape', behave: bytes(http('200 OK', '{"execute":{"mboxes":[{"options":[7]}]}}')), code: 'FST_TARGET_INVALID_RESPONSE', says: /execute\.mboxes\[0\]\.options\[0\] is not an object/, edgeNetwork: { behave: bytes(http('200 OK', '{"handle":{}}')), says: /answer\.handle is not a list/ } },
  { name: '100 MB, announced', behave: (socket) => { socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n'); flood(socket, 1e8, { bytes: 0 }) }, code: 'FST_TARGET_INVALID_RESPONSE', says: /larger than 1048576 bytes/ },
  {
    name: '100 MB, not announced',
    behave: (socket) => { socket.write('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n'); flood(socket, 1e8, flooded) },
    code: 'FST_TARGET_INVALID_RESPONSE',
    says: /larger than 1048576 bytes/
  },
  {
    name: 'gzip bomb (nothing is unpacked)',
    behave: (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`)
      socket.write(bomb)
    },
    code: 'FST_TARGET_INVALID_RESPONSE'
  },
  { name: 'redirect', behave: bytes(http('302 Found', '', { location: '/elsewhere' })), code: 'FST_TARGET_HTTP', status: 302, says: /not followed/ },
  { name: '103, then 200', behave: bytes(`HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n${GOOD}`), code: 'ok', status: 200 },
  { name: '103, then nothing', behave: bytes('HTTP/1.1 103 Early Hints\r\n\r\n'), code: 'FST_TARGET_TIMEOUT', phase: 'headers' },
  { name: '100 that nobody asked for', behave: bytes(`HTTP/1.1 100 Continue\r\n\r\n${GOOD}`), code: 'FST_TARGET_CONNECTION' },
  { name: '101 that nobody asked for', behave: bytes('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'), code: 'FST_TARGET_CONNECTION' },
  { name: 'two answers to one request', behave: bytes(GOOD + http('200 OK', '{"client":"another one\'s"}')), code: 'ok', status: 200 },
  { name: 'headers of 100 kB', behave: bytes(http('200 OK', '{}', { 'x-long': 'x'.repeat(100_000) })), code: 'FST_TARGET_INVALID_RESPONSE' }
]

const table = ['| fault | API | answered after | reason | code | requests | sockets left | back after |', '|---|---|---|---|---|---|---|---|']

function row (name: string, ending: Ending, requests: number, sockets: number, back: number, api: 'Delivery' | 'Edge Network' = 'Delivery'): void {
  const { answer, error } = ending
  // What a page's offer would say; without an error it depends on what the answer has in it.
  const { reason } = answer === undefined ? failedOffer(undefined, error) : { reason: answer.body?.execute === undefined ? 'no-offer' : 'matched' }
  const result = answer === undefined ? `${error.code.slice('FST_TARGET_'.length)}${error.meta?.status === undefined ? '' : ` ${error.meta.status}`}` : `${answer.status}`
  table.push(`| ${name} | ${api} | ${Math.round(ending.elapsed)} ms | ${reason} | ${result} | ${requests} | ${sockets} | ${Math.round(back)} ms |`)
}

/** A call to the Edge Network. */
const EDGE: { dialect?: typeof EDGE_NETWORK, path?: string } = { dialect: EDGE_NETWORK, path: '/ee/v2/interact?datastreamId=d&requestId=r-1' }

/** The server does right again: how long until a call succeeds. */
async function recovery (delivery: Delivery, origin: string, more: typeof EDGE = {}): Promise<number> {
  const start = performance.now()
  const took = stopwatch()
  for (;;) {
    const { answer } = await endingOf(delivery, callTo(origin, more))
    if (answer?.status === 200 || performance.now() - start > 5000) return took()
    await sleep(10)
  }
}

for (const fault of faults) {
  t.test(fault.name, async (t) => {
    const { edgeNetwork } = fault
    await Promise.all([meet(t, fault, 'Delivery'), edgeNetwork !== false && meet(t, { ...fault, ...edgeNetwork }, 'Edge Network')])
  })
}
for (const fault of edgeNetworkFaults) t.test(fault.name, async (t) => await meet(t, fault, 'Edge Network'))

async function meet (t: Test, { name, behave, code, status, says, phase, requests = 1 }: Fault, api: 'Delivery' | 'Edge Network'): Promise<void> {
  const more = api === 'Delivery' ? {} : EDGE
  const server = await new FaultServer(behave).listen()
  const delivery = network()
  t.teardown(async () => { await delivery.close(); await server.close() })

  // What is to be answered in time must not fail for the deadline: a bound tells whether it was in time.
  const ending = await endingOf(delivery, callTo(server.origin, { ...more, ...(code === 'FST_TARGET_TIMEOUT' && { timeout: TIMEOUT }) }))
  t.equal(ending.error?.code ?? 'ok', code, ending.error?.message ?? 'answered')
  t.ok(ending.took < TIMEOUT + TOLERANCE, `answered after ${ending.took} ms`)
  if (code === 'FST_TARGET_TIMEOUT') t.ok(ending.elapsed >= TIMEOUT - 2, `not before its time: ${ending.elapsed} ms`)
  if (ending.error !== undefined) {
    const { meta, message } = ending.error
    t.match(meta, { requestId: 'r-1', attempts: 1, host: hostOf(server) })
    t.ok(meta!.elapsed <= ending.elapsed)
    t.equal(meta?.status, status ?? (code === 'FST_TARGET_INVALID_RESPONSE' ? meta?.status : undefined))
    if (phase !== undefined) t.equal(meta?.phase, phase)
    if (says !== undefined) t.match(message, says)
  } else {
    t.equal(ending.answer.status, status)
  }
  // An idle keep-alive connection may stay; one with an unfinished exchange may not.
  const went = stopwatch()
  const left = await until(() => Object.values(delivery.health().pool).every(({ running }) => running === 0))
  t.ok(left && went() < GRACE + 500, 'nothing goes on after the grace')
  await sleep(20)
  const socketsLeft = () => delivery.health().pool[hostOf(server)]!.sockets
  await until(() => socketsLeft() === server.sockets.size)
  const sockets = socketsLeft()
  t.equal(sockets, server.sockets.size)
  t.ok(sockets <= (code === 'FST_TARGET_TIMEOUT' ? 0 : 1), `${sockets} sockets left: an idle one may stay, none is opened for nobody`)
  t.equal(server.requests.length, requests, 'requests the server saw')

  server.behave = good
  const back = await recovery(delivery, server.origin, more)
  t.ok(back < 1000 + (status === 429 || status === 503 ? 1000 : 0) + TOLERANCE, `back after ${back} ms`)
  row(name, ending, requests, sockets, back, api)

  await delivery.close()
  t.ok(await until(() => server.sockets.size === 0), 'no socket is left after close')
}

t.test('100 MB without a length are not read to the end', async (t) => {
  t.ok(flooded.bytes > 1024 * 1024 && flooded.bytes < 5e7, `${flooded.bytes} bytes were taken`)
})

t.test('a refused connection fails with FST_TARGET_CONNECTION', async (t) => {
  const server = await new FaultServer().listen()
  await server.close()
  const delivery = network()
  t.teardown(async () => { await delivery.close(); await server.close() })
  const ending = await endingOf(delivery, callTo(server.origin))
  t.equal(ending.error?.code, 'FST_TARGET_CONNECTION')
  t.match(ending.error?.message, /ECONNREFUSED 127\.0\.0\.1/)
  t.match(ending.error?.meta, { phase: 'connect', attempts: 0 })
  t.match(ending.error?.cause, { code: 'ECONNREFUSED' })
  await server.listen()
  const back = await recovery(delivery, server.origin)
  t.ok(back < 1000)
  row('refused', ending, 0, 0, back)
})

t.test('a connection refused over IPv6 and IPv4 names both', async (t) => {
  const server = await new FaultServer().listen()
  await server.close()
  const delivery = network()
  t.teardown(() => delivery.close())
  const { error } = await endingOf(delivery, callTo(`http://localhost:${server.port}`))
  t.equal(error?.code, 'FST_TARGET_CONNECTION')
  t.match(error?.message, new RegExp(`127\\.0\\.0\\.1:${server.port}`))
  if (error?.cause instanceof AggregateError) t.match(error.message, /::1.*; .*127\.0\.0\.1|127\.0\.0\.1.*; .*::1/)
})

t.test('a host name that does not exist fails with a connection error', async (t) => {
  const delivery = network()
  t.teardown(() => delivery.close())
  const { error, took } = await endingOf(delivery, callTo('http://edge.invalid', { timeout: TIMEOUT }))
  t.match(error?.code, /^FST_TARGET_(CONNECTION|TIMEOUT)$/, 'some resolvers take their time to say no')
  t.ok(took < TIMEOUT + TOLERANCE)
})

t.test('a connect without any reply ends at the deadline', async (t) => {
  const server = await freezableServer(1)
  await server.freeze()
  const fillers = await fillBacklog(server.port)
  const delivery = network()
  t.teardown(async () => { await delivery.close(); for (const socket of fillers) socket.destroy(); await server.end() })
  const ending = await endingOf(delivery, callTo(`http://127.0.0.1:${server.port}`, { timeout: TIMEOUT }))
  t.equal(ending.error?.code, 'FST_TARGET_TIMEOUT')
  t.match(ending.error?.meta, { phase: 'connect', attempts: 0 })
  t.ok(ending.elapsed >= TIMEOUT - 2 && ending.took < TIMEOUT + TOLERANCE, `${ending.elapsed} ms`)
  const health = () => delivery.health().pool[`127.0.0.1:${server.port}`]!
  t.equal(health().stragglers, 1, 'it may still connect')
  t.ok(await until(() => health().sockets === 0, GRACE + 1000), 'but not for ever')
  t.match(health(), { running: 0, stragglers: 0, sockets: 0 })
  for (const socket of fillers) socket.destroy()
  const connecting = () => process.getActiveResourcesInfo().filter((name) => name.endsWith('ConnectWrap'))
  t.ok(await until(() => connecting().length === 0, 1000), 'nobody is knocking at its door any more')
  server.thaw()
  const back = await recovery(delivery, `http://127.0.0.1:${server.port}`)
  t.ok(back < 1000 + TOLERANCE, `back after ${back} ms`)
  row('black-holed connect', ending, 0, 0, back)
})

t.test('calls recover after the server is stopped and continued', async (t) => {
  const server = await freezableServer(128)
  const origin = `http://127.0.0.1:${server.port}`
  const delivery = network()
  t.teardown(async () => { await delivery.close(); await server.end() })
  t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
  await server.freeze()
  const endings = await Promise.all(Array.from({ length: 12 }, () => endingOf(delivery, callTo(origin, { timeout: TIMEOUT }))))
  for (const { error, took } of endings) {
    t.equal(error?.code, 'FST_TARGET_TIMEOUT')
    t.ok(took < TIMEOUT + TOLERANCE, `${took} ms`)
  }
  const refused = await endingOf(delivery, callTo(origin))
  t.equal(refused.error?.code, 'FST_TARGET_BREAKER_OPEN', 'after that many the breaker is open')
  t.ok(refused.took < TOLERANCE)
  server.thaw()
  const back = await recovery(delivery, origin)
  t.ok(back < 1000 + TOLERANCE, `back after ${back} ms`)
})

t.test('a call on a dead kept-alive connection is retried', async (t) => {
  const deaths: Record<string, (socket: Socket) => void> = {
    'half-closed keep-alive': (socket) => socket.end(),
    'reset keep-alive': (socket) => socket.resetAndDestroy()
  }
  for (const [name, die] of Object.entries(deaths)) {
    const server = await new FaultServer((socket, { onSocket }) => onSocket === 1 ? socket.write(GOOD) : die(socket)).listen()
    const delivery = network()
    t.teardown(async () => { await delivery.close(); await server.close() })
    t.equal((await endingOf(delivery, callTo(server.origin))).answer?.attempts, 1)
    await until(() => delivery.health().pool[hostOf(server)]!.running === 0)
    await sleep(20)
    const ending = await endingOf(delivery, callTo(server.origin))
    t.equal(ending.answer?.attempts, 2, 'sent once more, on a fresh connection')
    t.equal(server.requests.length, 3)
    t.equal(server.requests[1]?.body, server.requests[2]?.body, 'the same request')
    t.equal(delivery.health().breaker[hostOf(server)]?.failures, 0, 'no failure of the host')
    row(name, ending, 2, 1, 0)
  }
})

t.test('an invalid certificate is a connection error', async (t) => {
  const server = await new FaultServer(good, { secure: true }).listen()
  const delivery = network()
  t.teardown(async () => { await delivery.close(); await server.close() })
  const ending = await endingOf(delivery, callTo(server.origin, { timeout: 2000 }))
  t.equal(ending.error?.code, 'FST_TARGET_CONNECTION')
  t.match(ending.error?.message, /self-signed certificate/)
  t.equal(server.requests.length, 0, 'nothing was said to it')
  row('bad certificate', ending, 0, 0, 0)

  const agent = new Agent({ connect: { ca: TLS.cert } })
  const trusting = network({ dispatcher: agent })
  t.teardown(async () => { await trusting.close(); await agent.destroy() })
  t.equal((await endingOf(trusting, callTo(server.origin, { timeout: 2000 }))).answer?.status, 200, 'with its issuer trusted it is a good one')
  const misled = new Agent({ connect: { ca: TLS.cert, servername: 'elsewhere.example' } })
  const mistaken = network({ dispatcher: misled })
  t.teardown(async () => { await mistaken.close(); await misled.destroy() })
  const wrongName = await endingOf(mistaken, callTo(server.origin, { timeout: 2000 }))
  t.match(wrongName.error?.message, /elsewhere\.example/, 'and still for its own name only')
})

t.test('TLS and HTTP/2, by a process that trusts the certificate', async (t) => {
  const server = await new FaultServer((socket, { onSocket }) => onSocket === 2 ? socket.destroy() : socket.write(GOOD), { secure: true }).listen()
  t.teardown(() => server.close())
  const modern = createSecureServer({ key: TLS.key, cert: TLS.cert })
  let sessions = 0
  modern.on('session', () => { sessions += 1 })
  modern.on('stream', (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('{"status":200}')
  })
  modern.listen(0, '127.0.0.1')
  await once(modern, 'listening')
  t.teardown(() => { modern.close() })
  const script = fileURLToPath(new URL('../vectors/tls/calls.ts', import.meta.url))
  await t.spawn(
    process.execPath,
    [...process.execArgv, script, server.origin, `https://127.0.0.1:${(modern.address() as AddressInfo).port}`],
    { env: { ...process.env, NODE_EXTRA_CA_CERTS: fileURLToPath(TLS.file) } },
    'calls over TLS'
  )
  t.equal(server.requests.length, 3, 'the second one was sent again when its connection died')
  t.equal(server.accepted, 2, 'the first one went over the connection that was open')
  t.equal(sessions, 1)
})

t.test('plain HTTP on a TLS port is a connection error', async (t) => {
  const server = net.createServer((socket) => socket.on('data', () => socket.end(http('400 Bad Request', ''))).on('error', () => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const delivery = network()
  t.teardown(async () => { await delivery.close(); server.close() })
  const { error } = await endingOf(delivery, callTo(`https://127.0.0.1:${(server.address() as AddressInfo).port}`))
  t.equal(error?.code, 'FST_TARGET_CONNECTION')
})

t.test('1000 errors leave a pool of one connection usable', async (t) => {
  const broken = faults.filter(({ code, name }) => code !== 'FST_TARGET_TIMEOUT' && !/MB|without an end|bomb|kB|Retry-After/.test(name))
  const server = await new FaultServer((socket, request) => broken[request.number % broken.length]!.behave(socket, request)).listen()
  const delivery = network({ pool: { ...POOL, connections: 1, maxQueue: 1000 }, breaker: false })
  t.teardown(async () => { await delivery.close(); await server.close() })
  const endings = await Promise.all(Array.from({ length: 1000 }, () => endingOf(delivery, callTo(server.origin, { timeout: 60_000 }))))
  t.ok(endings.filter(({ error }) => error !== undefined).length > 800)
  t.notOk(endings.some(({ error }) => error?.code === 'FST_TARGET_TIMEOUT'), 'none was forgotten')
  server.behave = good
  t.equal((await endingOf(delivery, callTo(server.origin, { timeout: 2000 }))).answer?.status, 200)
  t.ok(server.sockets.size <= 1)
})

t.test('the table has a row for every fault', async (t) => {
  for (const line of table) t.comment(line)
  t.equal(table.length, 2 + 2 * faults.length - 1 + edgeNetworkFaults.length + 5, 'no row is missing')
})
