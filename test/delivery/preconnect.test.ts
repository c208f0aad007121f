/** Connections that are opened before the first call, to servers of every kind. TLS with a trusted certificate is in faults.test.ts. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import t from 'tap'
import { Agent } from 'undici'
import { createTargetClient } from '../../lib/client/create-client.ts'
import { fastifyAdobeTarget } from '../../lib/plugin.ts'
import { callTo, endingOf, hostOf, network, POOL } from './calls.ts'
import { FaultServer, good, GOOD } from '../support/fault-server.ts'
import { stopwatch, until } from '../support/wait.ts'

/** The longest wait, and room for what this process has to do. */
const BOUND = 500 + 300

const settings = { client: 'acmeclient', organizationId: '1@AdobeOrg', secure: false }

/** How long it takes, by a stopwatch. */
async function timed (promise: Promise<unknown>): Promise<number> {
  const took = stopwatch()
  await promise
  return took()
}

t.test('calls go over the connections that are open, and over no other', async (t) => {
  const server = await new FaultServer((socket) => setTimeout(() => socket.write(GOOD), 50)).listen()
  const delivery = network()
  t.teardown(async () => { await delivery.close(); await server.close() })
  await delivery.preconnect(server.origin, 3)
  t.match(delivery.health().pool[hostOf(server)], { running: 0, sockets: 3 })
  t.ok(await until(() => server.accepted === 3))
  t.equal(server.requests.length, 0, 'nothing was sent')
  const endings = await Promise.all(Array.from({ length: 3 }, () => endingOf(delivery, callTo(server.origin, { timeout: 2000 }))))
  t.same(endings.map(({ answer }) => answer?.status), [200, 200, 200])
  await endingOf(delivery, callTo(server.origin, { timeout: 2000 }))
  t.match({ accepted: server.accepted, requests: server.requests.length }, { accepted: 3, requests: 4 })
  t.match(delivery.health().breaker, {}, 'no call failed')
})

t.test('no more than the pool may have', async (t) => {
  const server = await new FaultServer().listen()
  const delivery = network({ pool: { ...POOL, connections: 2 } })
  t.teardown(async () => { await delivery.close(); await server.close() })
  await delivery.preconnect(server.origin, 10)
  t.equal(delivery.health().pool[hostOf(server)]?.sockets, 2)
  await delivery.close()
  t.ok(await until(() => server.sockets.size === 0), 'close() closes them')
})

t.test('an unused connection is closed like any idle one', async (t) => {
  const server = await new FaultServer().listen()
  const delivery = network({ pool: { ...POOL, keepAliveTimeout: 50 } })
  t.teardown(async () => { await delivery.close(); await server.close() })
  await delivery.preconnect(server.origin, 1)
  t.ok(await until(() => server.accepted === 1 && server.sockets.size === 0))
  t.equal((await endingOf(delivery, callTo(server.origin, { timeout: 2000 }))).answer?.status, 200, 'and the next call opens its own')
  t.equal(server.accepted, 2)
})

t.test('a connection that the server has closed is not used', async (t) => {
  const server = await new FaultServer().listen()
  const delivery = network()
  t.teardown(async () => { await delivery.close(); await server.close() })
  await delivery.preconnect(server.origin, 1)
  await until(() => server.sockets.size === 1)
  for (const socket of server.sockets) socket.end()
  t.ok(await until(() => delivery.health().pool[hostOf(server)]?.sockets === 0))
  t.equal((await endingOf(delivery, callTo(server.origin, { timeout: 2000 }))).answer?.attempts, 1)
})

t.test('one that dies under the first call is replaced', async (t) => {
  const server = await new FaultServer((socket, { number }) => number === 1 ? socket.resetAndDestroy() : good(socket, {} as never)).listen()
  const delivery = network()
  t.teardown(async () => { await delivery.close(); await server.close() })
  await delivery.preconnect(server.origin, 1)
  t.match((await endingOf(delivery, callTo(server.origin, { timeout: 2000 }))).answer, { status: 200, attempts: 2 })
})

t.test('failures are silent, and hold the start for a moment at most', async (t) => {
  const lines: string[] = []
  const logger = { debug (...words: unknown[]) { lines.push(words.map(String).join(' ')) }, error (line: unknown) { t.fail(String(line)) } }
  const mute = net.createServer((socket) => { socket.on('error', () => {}).resume() }).listen(0, '127.0.0.1')
  await once(mute, 'listening')
  const { port } = mute.address() as AddressInfo
  const closed = await new FaultServer().listen()
  await closed.close()
  const delivery = network({ logger })
  t.teardown(async () => { await delivery.close(); mute.close() })

  t.ok(await timed(delivery.preconnect(closed.origin, 2)) < 400, 'a port that refuses')
  t.match(lines, [/no connection to 127\.0\.0\.1/], 'one line, of the level debug')
  t.ok(await timed(delivery.preconnect('https://no.such.host.invalid', 2)) < BOUND, 'a name that DNS does not know')
  t.ok(await timed(delivery.preconnect('not an origin', 2)) < 50)

  const slow = `https://127.0.0.1:${port}`
  const started = performance.now()
  const took = await timed(delivery.preconnect(slow, 2, 100))
  t.ok(performance.now() - started >= 90 && took < 400, 'a server that accepts and never answers TLS')
  t.ok(await timed(delivery.preconnect(slow, 2)) < BOUND)
  t.equal(delivery.health().pool[`127.0.0.1:${port}`]?.sockets, 4, 'they go on')
  const connections = () => new Promise<number>((resolve) => mute.getConnections((_error, count) => resolve(count)))
  await delivery.close()
  t.equal(delivery.health().pool[`127.0.0.1:${port}`]?.sockets, 0)
  let left = await connections()
  for (let tries = 0; left > 0 && tries < 50; tries++) left = await new Promise((resolve) => setTimeout(() => resolve(connections()), 20))
  t.equal(left, 0, 'until close(), which leaves none')
  await delivery.preconnect(slow, 1)
  t.equal(delivery.health().pool[`127.0.0.1:${port}`]?.sockets, 0, 'closed is closed')
})

t.test('the plugin opens them before it listens, and a page is the first that is sent', async (t) => {
  const server = await new FaultServer().listen()
  const serverDomain = hostOf(server)
  const pages = async (options: object) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(fastifyAdobeTarget, { ...settings, serverDomain, ...options })
    app.get('/', { config: { target: ['hero'] } }, (request) => request.target.html('hero', 'fallback'))
    const before = server.accepted
    await app.ready()
    const open = app.target.health().pool[serverDomain]?.sockets ?? 0
    await until(() => server.accepted === before + open)
    const { body } = await app.inject('/')
    return { app, open, body, accepted: server.accepted - before }
  }
  const usual = await pages({})
  t.match(usual, { open: 4, body: '<h1>Hi</h1>', accepted: 4 })
  t.equal(server.requests.length, 1)
  await usual.app.close()
  t.ok(await until(() => server.sockets.size === 0))
  t.match(await pages({ preconnect: 1 }), { open: 1, accepted: 1 })
  t.match(await pages({ preconnect: 0 }), { open: 0, accepted: 1 })
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.destroy())
  t.match(await pages({ dispatcher }), { open: 0, body: '<h1>Hi</h1>', accepted: 1 })
  const edgeNetwork = Fastify()
  await edgeNetwork.register(fastifyAdobeTarget, { ...settings, edgeNetwork: { datastreamId: 'd', edgeDomain: serverDomain } })
  await edgeNetwork.ready()
  t.equal(edgeNetwork.target.health().pool[serverDomain]?.sockets, 4)
  await edgeNetwork.close()
  await t.rejects(async () => { await Fastify().register(fastifyAdobeTarget, { ...settings, preconnect: -1 }) }, { message: /`preconnect` must be an integer ≥ 0, got -1/ })
  await server.close()
})

t.test('undici is loaded with the first client, or not at all', async (t) => {
  // A process of its own: here it has been loaded long since.
  const script = `
    import { createTargetClient } from './lib/index.ts'
    import { createRequire } from 'node:module'
    const isLoaded = () => Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('/node_modules/undici/lib/dispatcher/client.js'))
    const seen = [isLoaded()]
    const options = { client: 'acmeclient', organizationId: '1@AdobeOrg', serverDomain: process.argv.at(-1), secure: false }
    const proxied = createTargetClient({ ...options, dispatcher: { dispatch () {} } })
    await new Promise((resolve) => setTimeout(resolve, 50))
    seen.push(isLoaded())
    const client = createTargetClient(options)
    const request = { execute: { mboxes: [{ name: 'hero', index: 0 }] } }
    const aborted = new AbortController()
    const given = client.getOffers({ request, signal: aborted.signal }).catch(({ code }) => code)
    aborted.abort()
    const { response } = await client.getOffers({ request })
    seen.push(isLoaded(), await given, response.execute.mboxes[0].name)
    await Promise.all([client.close(), proxied.close()])
    console.log(JSON.stringify(seen))
  `
  const server = await new FaultServer().listen()
  t.teardown(() => server.close())
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, '--input-type=module', '--eval', script, hostOf(server)])
  t.same(JSON.parse(stdout), [false, false, true, 'FST_TARGET_ABORTED', 'hero'])
})

t.test('a client of its own opens them with ready()', async (t) => {
  const server = await new FaultServer().listen()
  const client = createTargetClient({ ...settings, serverDomain: hostOf(server), preconnect: 2 })
  t.teardown(async () => { await client.close(); await server.close() })
  t.equal(client.health().pool[hostOf(server)], undefined)
  await client.ready()
  await client.ready()
  t.equal(client.health().pool[hostOf(server)]?.sockets, 2)
})
