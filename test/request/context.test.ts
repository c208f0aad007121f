/** The Delivery API's context, from requests as proxies, CDNs and old clients send them. */
import net from 'node:net'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import fastifyAdobeTarget from '../../lib/index.ts'
import { ipOf } from '../../lib/request/ip-address.ts'
import { client, optionsFor, startApp, startEdge } from '../support/helper.ts'
import { sleep } from '../support/wait.ts'

const routes = (app: FastifyInstance) => {
  app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero'))
  app.get('/shop/:item', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero'))
}

t.test('the address of a page, by every form of request target', async (t) => {
  const edge = await startEdge(t)
  const { app } = await startApp(t, edge.host, {}, routes)
  const { port } = app.server.address() as AddressInfo
  const ask = async (head: string) => {
    edge.reset()
    // Not ended: the server would take that for a client that left.
    const socket = net.connect(port, '127.0.0.1').resume()
    socket.write(`${head}\r\n\r\n`)
    await once(socket, 'close')
    return edge.requests[0]?.body.context.address?.url
  }
  const HOST = 'HTTP/1.1\r\nHost: shop.example\r\nConnection: close'
  t.equal(await ask(`GET /?a=1 ${HOST}`), 'http://shop.example/?a=1')
  t.equal(await ask(`GET http://shop.example/?a=1 ${HOST}`), 'http://shop.example/?a=1')
  t.equal(await ask(`GET http://shop.example/shop/1?a=http://other.example/ ${HOST}`), 'http://shop.example/shop/1?a=http://other.example/')
  t.equal(await ask(`GET HTTPS://SHOP.example:443/shop/1 ${HOST}`), 'http://shop.example/shop/1', 'as Fastify sees the host')
  t.equal(await ask('GET /shop/1 HTTP/1.0\r\nHost: shop.example'), 'http://shop.example/shop/1')
  t.equal(await ask('GET http://shop.example/shop/1 HTTP/1.0'), 'http://shop.example/shop/1', 'a host in the target alone')
  t.equal(await ask('GET /shop/1 HTTP/1.0'), undefined, 'no host at all: no address that could be right')
})

t.test('an IP address, in the forms of real proxies', async (t) => {
  for (const [text, ip] of [
    ['203.0.113.9', '203.0.113.9'], ['203.0.113.9:51234', '203.0.113.9'], [' 203.0.113.9:1 ', '203.0.113.9'],
    ['2001:db8::1', '2001:db8::1'], ['[2001:db8::1]', '2001:db8::1'], ['[2001:db8::1]:443', '2001:db8::1'], ['::ffff:203.0.113.9', '::ffff:203.0.113.9'],
    ['[::ffff:203.0.113.9]:80', '::ffff:203.0.113.9'],
    ['203.0.113.999:80', undefined], ['203.0.113.9:', undefined], ['[203.0.113.9]', '203.0.113.9'], ['unknown', undefined], ['_hidden', undefined], ['', undefined], [undefined, undefined]
  ] as const) t.equal(ipOf(text), ip, String(text))
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, routes, { trustProxy: true })
  for (const [header, ip] of [['203.0.113.9:51234', '203.0.113.9'], ['[2001:db8::7]:8080, 10.0.0.1', '2001:db8::7'], ['unknown', undefined]] as const) {
    edge.reset()
    await (await fetch(url, { headers: { 'x-forwarded-for': header } })).text()
    t.equal(edge.requests[0]?.body.context.geo?.ipAddress, ip, header)
  }
})

/** What each CDN sends for a place, as bytes. */
const CDNS: Record<string, Record<string, string>> = {
  'Adobe, by Akamai': { 'x-geo-country-code': 'BR', 'x-geo-region-code': 'SP', 'x-geo-city': 'SÃO PAULO', 'x-geo-latitude': '-23.5', 'x-geo-longitude': '-46.6' },
  Cloudflare: { 'cf-ipcountry': 'BR', 'cf-region-code': 'SP', 'cf-ipcity': 'São Paulo', 'cf-iplatitude': '-23.5', 'cf-iplongitude': '-46.6' },
  CloudFront: { 'cloudfront-viewer-country': 'BR', 'cloudfront-viewer-country-region': 'SP', 'cloudfront-viewer-city': 'S%C3%A3o%20Paulo', 'cloudfront-viewer-latitude': '-23.5', 'cloudfront-viewer-longitude': '-46.6' },
  Vercel: { 'x-vercel-ip-country': 'BR', 'x-vercel-ip-country-region': 'SP', 'x-vercel-ip-city': 'S%C3%A3o%20Paulo', 'x-vercel-ip-latitude': '-23.5', 'x-vercel-ip-longitude': '-46.6' }
}

t.test('a place, by the headers of every CDN', async (t) => {
  const edge = await startEdge(t)
  const artifact = await (await fetch(`http://${edge.host}/${client}/production/v1/rules.json`)).json() as any
  // The first rule of hero is for São Paulo alone, as Target writes such a rule.
  artifact.geoTargetingEnabled = true
  const [rule] = artifact.rules.mboxes.hero
  rule.condition = { and: [{ '==': [{ var: 'geo.country' }, 'BR'] }, { '==': [{ var: 'geo.region' }, 'SP'] }, { in: [{ var: 'geo.city' }, ['SÃO PAULO']] }] }
  artifact.rules.mboxes.hero = [rule]
  const { app } = await startApp(t, edge.host, { artifactPayload: artifact, decisioningMethod: 'on-device' }, (app) => {
    routes(app)
    app.get('/reason', { config: { target: ['hero'] } }, async ({ target }) => (await target.offer('hero')).reason)
    app.get('/edge', { config: { target: { execute: { mboxes: ['hero'] }, decisioningMethod: 'server-side' } } }, async ({ target }) => await target.content('hero'))
  }, { trustProxy: true })
  await app.target.ready()
  const { port } = app.server.address() as AddressInfo
  const ask = async (path: string, headers: Record<string, string>) => {
    edge.reset()
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const socket = net.connect(port, '127.0.0.1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.9\r\n${lines}\r\n`)
    let body = ''
    for await (const chunk of socket) body += chunk
    return { body: body.split('\r\n\r\n')[1], geo: edge.requests[0]?.body.context.geo }
  }
  for (const [cdn, headers] of Object.entries(CDNS)) {
    const { geo } = await ask('/edge', headers)
    t.match(geo, { countryCode: 'BR', stateCode: 'SP', latitude: -23.5, longitude: -46.6 }, cdn)
    t.equal(geo.city.toUpperCase(), 'SÃO PAULO', cdn)
    t.match((await ask('/reason', headers)).body, /matched/, `${cdn}, on-device`)
    const elsewhere = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, name.endsWith('city') ? 'Santos' : value]))
    t.match((await ask('/reason', elsewhere)).body, /no-offer/, `${cdn}, elsewhere`)
  }
  // Anything may stand in a header.
  for (const [sent, city] of [['100%', '100%'], ['%', '%'], ['%C3%', '%C3%'], ['%E3o', '%E3o'], ['東京', '東京'], ['M%C3%BCnchen', 'München'], ['San Francisco', 'San Francisco']] as const) {
    t.equal((await ask('/edge', { 'cf-ipcity': sent })).geo.city, city, sent)
  }
  const latin1 = await app.inject({ url: '/edge', headers: { 'cf-ipcity': 'M\u00fcnchen', 'x-forwarded-for': '203.0.113.9' } })
  t.equal(latin1.statusCode, 200)
  t.equal(edge.requests.at(-1)!.body.context.geo.city, 'München', 'Fastly may send Latin-1')
  for (const unknown of ['XX', 'T1']) t.equal((await ask('/edge', { 'cf-ipcountry': unknown })).geo.countryCode, undefined, unknown)
})

t.test('an app on HTTP/2 closes without HTTP/1 headers, and without warnings of Node.js', async (t) => {
  const edge = await startEdge(t)
  const warnings: Error[] = []
  const warn = (warning: Error) => warnings.push(warning)
  process.on('warning', warn)
  t.teardown(() => { process.off('warning', warn) })
  const app = Fastify({ http2: true })
  let closed: Promise<unknown> | undefined
  await app.register(fastifyAdobeTarget as never, optionsFor(edge.host) as never)
  app.get('/slow', { config: { target: ['hero'] } as never }, async (request) => {
    closed = app.close()
    await sleep(50)
    return await (request as never as { target: { content (name: string): Promise<string> } }).target.content('hero')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = http2.connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  const stream = session.request({ ':path': '/slow' })
  let headers: http2.IncomingHttpHeaders = {}
  stream.on('response', (given) => { headers = given })
  stream.resume()
  await once(stream, 'end')
  session.close()
  await closed
  t.equal(headers[':status'], 200)
  t.ok(headers['set-cookie'])
  for (const name of ['connection', 'keep-alive', 'transfer-encoding']) t.equal(headers[name], undefined, name)
  t.same(warnings, [])
})
