/** What stores and proxies do to a response on its way: codings, byte order marks, redirects. */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { readFileSync } from 'node:fs'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { Agent } from 'undici'
import { createTargetClient, type TargetError } from '../../lib/index.ts'
import { client, optionsFor, startApp, startEdge, startServer } from '../support/helper.ts'
import { TLS } from '../support/fault-server.ts'
import { until } from '../support/wait.ts'
import { callTo, endingOf, network, POOL } from './calls.ts'

type Tap = { teardown (fn: () => unknown): void }

const CODINGS: Record<string, (body: string | Buffer) => Buffer> = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  GZIP: gzipSync,
  br: brotliCompressSync,
  deflate: deflateSync,
  'deflate ': deflateRawSync,
  'gzip, br': (body) => brotliCompressSync(gzipSync(body)),
  identity: (body) => Buffer.from(body),
  'identity, gzip': gzipSync
}

const answer = JSON.stringify({ status: 200, execute: { mboxes: [{ name: 'hero', index: 0, options: [{ type: 'html', content: 'Grüße' }] }] } })

const send = (body: string | Buffer, headers: Record<string, string> = {}, status = 200): RequestListener => (request, response) => {
  request.resume().on('end', () => { response.writeHead(status, headers).end(body) })
}

t.test('a response of the edge is decoded, whatever was asked for', async (t) => {
  for (const [coding, encode] of Object.entries(CODINGS)) {
    const { url } = await startApp(t, await startServer(t, send(encode(answer), { 'content-encoding': coding })), {}, (app) => {
      app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero', 'fallback'))
    })
    t.equal(await (await fetch(url)).text(), 'Grüße', coding)
  }
})

t.test('an error of the edge is decoded for its message, and is one without', async (t) => {
  const body = JSON.stringify({ status: 400, message: 'the mbox is too long' })
  for (const [sent, message] of [[gzipSync(body), /400: the mbox is too long/], [gzipSync(body).subarray(0, 20), /400/], [Buffer.from(body), /400/], [gzipSync(body + ' '.repeat(10_000_000)), /400/]] as const) {
    const delivery = network()
    const { error } = await endingOf(delivery, callTo(`http://${await startServer(t, send(sent, { 'content-encoding': 'gzip' }, 400))}`, { timeout: 2000 }))
    t.match(error, { code: 'FST_TARGET_HTTP', message, meta: { status: 400 } })
    await delivery.close()
  }
})

t.test('what cannot be decoded is an invalid response that says why', async (t) => {
  const bomb = Buffer.alloc(POOL.maxResponseSize + 1, ' ')
  const rows: [string, Buffer, RegExp][] = [
    ['gzip', gzipSync(answer).subarray(0, -12), /its gzip coding is broken/],
    ['br', Buffer.from(answer), /its br coding is broken/],
    ['deflate', Buffer.from(answer), /its deflate coding is broken/],
    ['gzip', gzipSync(bomb), /more than 1048576 bytes when decoded \(gzip\)/],
    ['br', brotliCompressSync(bomb), /more than 1048576 bytes when decoded \(br\)/],
    ['deflate', deflateSync(bomb), /more than 1048576 bytes when decoded \(deflate\)/],
    ['gzip, gzip', gzipSync(gzipSync(bomb)), /more than 1048576 bytes when decoded/],
    ['gzip, gzip, gzip, gzip', gzipSync(answer), /more than 3 content codings/],
    ['zstd', Buffer.from(answer), /an unknown content coding: zstd/],
    ['__proto__', Buffer.from(answer), /an unknown content coding/],
    ['x y', Buffer.from(answer), /an unknown content coding$/]
  ]
  for (const [coding, body, message] of rows) {
    const delivery = network()
    const { error } = await endingOf(delivery, callTo(`http://${await startServer(t, send(body, { 'content-encoding': coding }))}`, { timeout: 2000 }))
    t.match(error, { code: 'FST_TARGET_INVALID_RESPONSE', message }, coding)
    await delivery.close()
  }
})

t.test('the deadline goes on while a response is decoded', async (t) => {
  const large = gzipSync(JSON.stringify({ status: 200, execute: {}, filler: 'x'.repeat(64_000_000) }), { level: 1 })
  const host = await startServer(t, send(large, { 'content-encoding': 'gzip' }))
  const delivery = network({ pool: { ...POOL, maxResponseSize: 100_000_000 } })
  const { error, took } = await endingOf(delivery, callTo(`http://${host}`, { timeout: 25, grace: 0 }))
  t.match(error, { code: 'FST_TARGET_TIMEOUT' })
  t.ok(took < 1000)
  await delivery.close()
})

t.test('byte order marks are passed over', async (t) => {
  for (const body of [`\ufeff${answer}`, gzipSync(`\ufeff${answer}`)]) {
    const host = await startServer(t, send(body, typeof body === 'string' ? {} : { 'content-encoding': 'gzip' }))
    const delivery = network()
    t.match(await endingOf(delivery, callTo(`http://${host}`, { timeout: 2000 })), { answer: { body: { execute: { mboxes: [{ name: 'hero' }] } } } })
    await delivery.close()
  }
  const refused = await startServer(t, send(`\ufeff${JSON.stringify({ status: 400, message: 'no' })}`, {}, 400))
  const delivery = network()
  t.match((await endingOf(delivery, callTo(`http://${refused}`, { timeout: 2000 }))).error, { message: /400: no/ })
  await delivery.close()
})

t.test('a wrong `secure` or scheme is explained in the message', async (t) => {
  const messageOf = async (host: string, secure: boolean) => {
    const target = createTargetClient({ client, organizationId: '1234567890@AdobeOrg', serverDomain: host, secure, logger: { debug () {}, error () {} } })
    t.teardown(() => target.close())
    return await target.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } }).then(() => 'no error', ({ message }: TargetError) => message)
  }
  const raw = (bytes: string | Buffer) => new Promise<string>((resolve) => {
    const server = createTcpServer((socket) => { socket.on('error', () => {}).on('data', () => socket.end(bytes)) })
    t.teardown(() => { server.close() })
    server.listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`))
  })
  const http = /\(the edge uses http: set `secure: false`\)/
  const https = /\((?:redirects are not followed; )?the edge uses https: set `secure: true`\)/
  const { host } = await startEdge(t)
  t.match(await messageOf(host, true), http, 'the local edge')
  t.match(await messageOf(await raw('HTTP/1.1 400 Bad Request\r\n\r\n'), true), http)
  t.match(await messageOf(await raw('220 mail.example\r\n'), true), http)
  const secure = createSecureServer(TLS, (_request, response) => response.end())
  t.teardown(() => { secure.close() })
  await once(secure.listen(0, '127.0.0.1'), 'listening')
  t.match(await messageOf(`127.0.0.1:${(secure.address() as AddressInfo).port}`, false), /\(if the edge uses https: set `secure: true`\)/, 'a TLS server that hangs up')
  t.match(await messageOf(await raw(Buffer.from([0x15, 3, 1, 0, 2, 2, 0x46])), false), https, 'one that sends an alert')
  for (const text of ['<h1>400</h1>The plain HTTP request was sent to HTTPS port', 'Client sent an HTTP request to an HTTPS server.', "You're speaking plain HTTP to an SSL-enabled server port."]) {
    t.match(await messageOf(await startServer(t, send(text, {}, 400)), false), https, text)
  }
  const moved = await startServer(t, (request, response) => { response.writeHead(301, { location: `https://${request.headers.host}${request.url}` }).end() })
  t.match(await messageOf(moved, false), https, 'a redirect to itself')
  t.notMatch(await messageOf(await startServer(t, send('', { location: 'https://login.example/' }, 302)), false), /secure/)
  t.notMatch(await messageOf(await startServer(t, send('no', {}, 400)), false), /secure/)
})

t.test('artifacts', async (t) => {
  const edge = await startEdge(t)
  const artifact = await (await fetch(`http://${edge.host}/${client}/production/v1/rules.json`)).text()
  const ready = async (t: Tap, artifactLocation: string, more = {}): Promise<unknown> => {
    const errors: TargetError[] = []
    const target = createTargetClient({ ...optionsFor(edge.host), decisioningMethod: 'on-device', artifactLocation, events: { artifactDownloadFailed: ({ error }) => { errors.push(error as TargetError) } }, ...more })
    t.teardown(() => target.close())
    await until(() => target.health().artifact?.state !== 'loading')
    return errors[0]?.message ?? target.health().artifact?.state
  }

  await t.test('are decoded', async (t) => {
    for (const [coding, encode] of Object.entries(CODINGS)) {
      t.equal(await ready(t, `http://${await startServer(t, send(encode(artifact), { 'content-encoding': coding }))}/rules.json`), 'ready', coding)
    }
    t.equal(await ready(t, `http://${await startServer(t, send(gzipSync(`\ufeff${artifact}`), { 'content-encoding': 'gzip' }))}/rules.json`), 'ready', 'with a byte order mark')
    t.match(await ready(t, `http://${await startServer(t, send(artifact, { 'content-encoding': 'gzip' }))}/rules.json`), /its gzip coding is broken/)
    const bomb = gzipSync(Buffer.alloc(65 * 1024 * 1024), { level: 1 })
    t.match(await ready(t, `http://${await startServer(t, send(bomb, { 'content-encoding': 'gzip' }))}/rules.json`), /more than 67108864 bytes when decoded/)
  })

  await t.test('are asked for again with their ETag, which a coding does not change', async (t) => {
    let asked: unknown
    const host = await startServer(t, (request, response) => {
      asked = request.headers['if-none-match']
      if (asked === 'W/"gz"') response.writeHead(304, { 'content-encoding': 'gzip' }).end()
      else response.writeHead(200, { etag: 'W/"gz"', 'content-encoding': 'gzip' }).end(gzipSync(artifact))
    })
    const target = createTargetClient({ ...optionsFor(edge.host), decisioningMethod: 'on-device', artifactLocation: `http://${host}/rules.json` })
    t.teardown(() => target.close())
    await target.ready({ timeout: 5000 })
    t.strictSame(await target.refresh(), { changed: false })
    t.equal(asked, 'W/"gz"')
  })

  await t.test('redirects are followed as fetch does', async (t) => {
    const store = await startServer(t, (request, response) => {
      if (request.url === '/final/rules.json?v=1') response.end(artifact)
      else response.writeHead(404).end()
    })
    for (const status of [301, 302, 303, 307, 308]) {
      const host = await startServer(t, (request, response) => {
        if (request.url === '/rules.json') response.writeHead(status, { location: '/second' }).end()
        else if (request.url === '/second') response.writeHead(status, { location: `http://${store}/final/rules.json?v=1#part` }).end('moved')
        else response.writeHead(404).end()
      })
      t.equal(await ready(t, `http://${host}/rules.json`), 'ready', String(status))
    }
  })

  await t.test('redirects that fetch does not follow are refused', async (t) => {
    const to = (location: string | undefined, status = 302) => startServer(t, (_, response) => { response.writeHead(status, location === undefined ? {} : { location }).end() })
    t.match(await ready(t, `http://${await to('/again')}/rules.json`), /more than 20 redirects/)
    t.match(await ready(t, `http://${await to('ftp://127.0.0.1/rules.json')}/rules.json`), /302, a redirect to another scheme is not followed/)
    t.match(await ready(t, `http://${await to('file:///etc/hosts')}/rules.json`), /another scheme/)
    t.match(await ready(t, `http://${await to('http://[/')}/rules.json`), /a redirect to an invalid URL/)
    t.match(await ready(t, `http://${await to(undefined)}/rules.json`), /the server returned status 302/)
    t.match(await ready(t, `http://${await to('/other', 300)}/rules.json`), /the server returned status 300/)
    t.match(await ready(t, `http://${await to('/other', 304)}/rules.json`), /the server returned status 304/)
  })

  await t.test('redirects lead from http to https, but never back', async (t) => {
    const tls = (name: string) => readFileSync(new URL(`../vectors/tls/${name}.pem`, import.meta.url))
    const plain = createServer((_, response) => { response.end(artifact) }).listen(0, '127.0.0.1')
    const secure = createSecureServer({ key: tls('key'), cert: tls('certificate') }, (request, response) => {
      if (request.url === '/down') response.writeHead(302, { location: `http://127.0.0.1:${(plain.address() as AddressInfo).port}/rules.json` }).end()
      else response.end(artifact)
    }).listen(0, '127.0.0.1')
    await Promise.all([once(plain, 'listening'), once(secure, 'listening')])
    t.teardown(() => { for (const server of [plain, secure]) { server.close(); server.closeAllConnections() } })
    const origin = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`
    const dispatcher = new Agent({ connect: { ca: tls('certificate') } })
    t.teardown(() => dispatcher.destroy())
    const up = await startServer(t, (_, response) => { response.writeHead(301, { location: `${origin}/rules.json` }).end() })
    t.equal(await ready(t, `http://${up}/rules.json`, { dispatcher }), 'ready')
    t.match(await ready(t, `${origin}/down`, { dispatcher }), /302, a redirect to http, without encryption, is not followed/)
  })

  await t.test('one deadline holds for all redirects', async (t) => {
    let requests = 0
    const host = await startServer(t, (_, response) => {
      requests += 1
      setTimeout(() => response.writeHead(302, { location: `/${requests}` }).end(), 50)
    })
    const delivery = network()
    t.teardown(() => delivery.close())
    const start = performance.now()
    await t.rejects(delivery.get(`http://${host}/`, { kind: 'artifact', maxSize: 1000, timeout: 220 }), { code: 'FST_TARGET_TIMEOUT' })
    t.ok(performance.now() - start < 1000)
    t.ok(requests < 10)
  })
})
