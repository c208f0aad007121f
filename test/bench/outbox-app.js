/** An app that counts an impression with every page: `node outbox-app.js <edge host> <store> <directory, or socket of Redis>`. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import fastifyAdobeTarget, { fileStore } from 'fastify-adobe-target'
import { redisStore } from 'fastify-adobe-target/redis'
import { Redis } from 'ioredis'
import { answerParent } from './child.js'
import { ASKED, generateArtifact } from './artifact.js'
import { impressionsSettled } from './impressions.js'
import { client, organizationId } from './page.js'

const [host, store, place] = process.argv.slice(2)

const stores = {
  none: () => undefined,
  again: () => undefined,
  file: () => fileStore({ directory: place }),
  redis: () => redisStore({ client: new Redis({ path: place }) })
}

const app = Fastify()
await app.register(fastifyAdobeTarget, {
  client,
  organizationId,
  serverDomain: host,
  secure: false,
  decisioningMethod: 'on-device',
  artifactPayload: generateArtifact({ mboxes: 5, rulesEach: 2 }),
  pollingInterval: 0,
  notifications: { store: stores[store]() }
})
app.get('/', { config: { target: [ASKED] } }, async (request, reply) => {
  reply.type('text/html')
  return `<!doctype html>${await request.target.content(ASKED, '')}`
})
await app.target.ready()
await app.listen({ host: '127.0.0.1', port: 0 })

/** A record of a page view, as large as they are. */
const payload = (number) => JSON.stringify({
  v: 1,
  client,
  acceptedAt: 1_700_000_000_000,
  visitor: {
    key: `4d1f3c70-0000-4000-8000-${number}`,
    request: {
      id: { tntId: `4d1f3c70-0000-4000-8000-${number}.35_0` },
      context: { channel: 'web', userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36', address: { url: `https://shop.example/products/${number}`, referringUrl: 'https://shop.example/' }, geo: { ipAddress: '203.0.113.7' } }
    },
    sessionId: `4d1f3c70-0000-4000-8000-${number}`
  },
  notifications: [{ id: `9a0b1c2d-0000-4000-8000-${number}`, impressionId: `9a0b1c2d-0000-4000-8000-${number}`, type: 'display', timestamp: 1_700_000_000_000, mbox: { name: ASKED }, tokens: ['B8C2FP2IuBgmeJcDfXHjGpNWHtnQtQrJfmRrQugEa2qCnQ9Y9OaLL2gsdrWQTvE54PwSz67rmXWmSnkXpSSS2Q=='] }]
})

/** A visitor who was never here. */
const headers = { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36', referer: 'https://shop.example/' }

const bytesOf = {
  file: () => readdirSync(place, { recursive: true }).reduce((sum, name) => sum + statSync(join(place, name)).size, 0),
  async redis () {
    const client = new Redis({ path: place })
    const bytes = await client.memory('USAGE', 'fastify-adobe-target:outbox', 'SAMPLES', '0')
    client.disconnect()
    return bytes
  }
}

let before
let began

answerParent({
  async begin () {
    // What the load that warms it up has left would count, and take its place in the queue.
    await impressionsSettled(app.target)
    before = app.target.health().outbox
    began = performance.now()
  },
  /** When all is sent or dropped. */
  async end () {
    const elapsed = performance.now() - began
    const { concurrency } = app.target.health().outbox
    await impressionsSettled(app.target)
    const { sent, failed, dropped } = app.target.health().outbox
    return { elapsed, concurrency, sent: sent - before.sent, dropped: failed + dropped - before.failed - before.dropped }
  },
  /** Leaves records in the store, and reads them as the next start does. */
  async recover (records) {
    const first = stores[store]()
    for (let done = 0; done < records; done += 1000) await first.append(Array.from({ length: 1000 }, (_, index) => payload(done + index)))
    await first.close()
    const bytes = await bytesOf[store]()
    const second = stores[store]()
    const before = process.cpuUsage()
    const started = performance.now()
    let count = 0
    for await (const record of second.recover()) count += record.payload.length > 0 ? 1 : 0
    const recovery = performance.now() - started
    const { user, system } = process.cpuUsage(before)
    await second.close()
    if (count !== records) throw new Error(`${count} of ${records} records were recovered`)
    return { records, recovery, recoveryCpu: (user + system) / 1000, bytes: bytes / records }
  },
  /** Fills the queue with impressions of pages, with no edge that takes them: bytes of memory by V8, and by the outbox's own estimate. */
  async fill () {
    const report = () => app.target.health().outbox
    // A loop of injected requests leaves no time for anything else.
    const visit = async () => { for (let page = 0; page < 100; page++) await app.inject({ url: '/', headers }).then(() => new Promise(setImmediate)) }
    for (let round = 0; round < 10; round++) await visit()
    globalThis.gc()
    const before = { heap: process.memoryUsage().heapUsed, ...report() }
    while (report().dropped === 0) await visit()
    await new Promise((resolve) => { setTimeout(resolve, 100) })
    globalThis.gc()
    const { pending, bytes } = report()
    return { pending, memory: process.memoryUsage().heapUsed - before.heap, estimated: bytes - before.bytes, each: (process.memoryUsage().heapUsed - before.heap) / (pending - before.pending) }
  }
}, { url: `http://127.0.0.1:${app.server.address().port}/` })
