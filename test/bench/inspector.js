/**
 * What the inspector costs with a viewer open, in CPU of the app's process per page, and what it keeps after many pages:
 * `npm run build && node --expose-gc test/bench/inspector.js [pages a second]`, 167 (10,000 a minute) by default.
 *
 * An app with the inspector and one without are asked in turn, so that whatever else the machine does hits both alike. Pages come
 * by `inject()`: a load generator would compete with the app. The edge stand-in is a process of its own.
 */
import { once } from 'node:events'
import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import fastifyAdobeTarget from 'fastify-adobe-target'
import targetInspector from 'fastify-adobe-target/inspector'
import { client, mbox, organizationId, render, visitorHeaders } from './page.js'
import { Processes } from './processes.js'
import { percentile } from './statistics.js'

const RATE = Number(process.argv[2] ?? 167)
const ROUNDS = 10
const SLICE = 3000
const PAGES = 100_000

const processes = new Processes()
const edge = await processes.start('edge.js')

async function createApp (...plugins) {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(fastifyAdobeTarget, { client, organizationId, serverDomain: edge.hello.host, secure: false })
  for (const plugin of plugins) await app.register(plugin)
  app.get('/', { config: { target: [mbox] } }, async (request, reply) => {
    reply.type('text/html')
    return render(await request.target.content(mbox, ''))
  })
  return app
}

const plain = await createApp()
const inspected = await createApp(targetInspector)
const address = await inspected.listen({ port: 0, host: '127.0.0.1' })
const [viewer] = await once(get(`${address}/_target/events`), 'response')
if (viewer.statusCode !== 200) throw new Error(`the viewer got ${viewer.statusCode}`)
viewer.resume()

/** CPU of one page, µs, while pages come at the rate. */
async function slice (app) {
  const before = process.cpuUsage()
  const start = performance.now()
  const pages = []
  for (let elapsed = 0; elapsed < SLICE; elapsed = performance.now() - start) {
    while (pages.length < elapsed * RATE / 1000) pages.push(app.inject({ url: '/', headers: visitorHeaders() }))
    await sleep(5)
  }
  await Promise.all(pages)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / pages.length
}

await slice(plain)
await slice(inspected)
const rounds = []
for (let round = 0; round < ROUNDS; round++) rounds.push([await slice(plain), await slice(inspected)])
const ratios = rounds.map(([without, beside]) => beside / without).sort((a, b) => a - b)
console.log(`${RATE} pages a second, CPU per page with the inspector by that without: ${percentile(ratios, 50).toFixed(2)} (${ratios[0].toFixed(2)} to ${ratios.at(-1).toFixed(2)})`)

const heap = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1e6
}
const before = heap()
for (let page = 0; page < PAGES; page += 50) {
  await Promise.all(Array.from({ length: 50 }, (_, more) => inspected.inject({ url: `/?page=${page + more}`, headers: { ...visitorHeaders(), 'user-agent': `${'x'.repeat(200)} ${page}` } })))
}
console.log(`heap before and after ${PAGES} pages: ${before.toFixed(1)} MB, ${heap().toFixed(1)} MB`)

await Promise.all([plain.close(), inspected.close()])
await edge.stop()
