/** An app that counts an impression with every page: `node outbox-app.js <edge host> <store> <directory>`. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import fastifyAdobeTarget, { fileStore } from 'fastify-adobe-target'
import { answerParent } from './child.js'
import { ASKED, generateArtifact } from './artifact.js'
import { client, organizationId } from './page.js'

const [host, store, directory] = process.argv.slice(2)

const app = Fastify()
await app.register(fastifyAdobeTarget, {
  client,
  organizationId,
  serverDomain: host,
  secure: false,
  decisioningMethod: 'on-device',
  artifactPayload: generateArtifact({ mboxes: 5, rulesEach: 2 }),
  pollingInterval: 0,
  ...store === 'file' && { notifications: { store: fileStore({ directory }) } }
})
app.get('/', { config: { target: [ASKED] } }, async (request, reply) => {
  reply.type('text/html')
  return `<!doctype html>${await request.target.content(ASKED, '')}`
})
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

let before
let began

answerParent({
  begin () {
    before = app.target.health().outbox
    began = performance.now()
  },
  /** When all is sent or dropped. */
  async end () {
    const elapsed = performance.now() - began
    const { concurrency } = app.target.health().outbox
    while (app.target.health().outbox.pending > 0) await new Promise((resolve) => { setTimeout(resolve, 20) })
    const { sent, failed, dropped } = app.target.health().outbox
    return { elapsed, concurrency, sent: sent - before.sent, dropped: failed + dropped - before.failed - before.dropped }
  },
  /** Leaves records in a directory, and reads them as the next start does. */
  async recover (records) {
    const first = fileStore({ directory })
    for (let done = 0; done < records; done += 1000) await first.append(Array.from({ length: 1000 }, (_, index) => payload(done + index)))
    await first.close()
    const bytes = readdirSync(directory, { recursive: true }).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
    const second = fileStore({ directory })
    const started = performance.now()
    let count = 0
    for await (const record of second.recover()) count += record.payload.length > 0 ? 1 : 0
    const recovery = performance.now() - started
    await second.close()
    if (count !== records) throw new Error(`${count} of ${records} records were recovered`)
    return { records, recovery, bytes: bytes / records }
  }
}, { url: `http://127.0.0.1:${app.server.address().port}/` })
