/**
 * One server of the fleet, a process that may be killed at any moment: it decides on-device, counts an impression with each
 * page, and shares the rule artifact and what it owes to Target with the others, in Redis.
 */
import { appendFileSync } from 'node:fs'
import Fastify from 'fastify'
import fastifyAdobeTarget, { type OutboxStore } from 'fastify-adobe-target'
import { redisArtifactStore, redisStore } from 'fastify-adobe-target/redis'
import { Redis } from 'ioredis'
import { client, organizationId } from './account.ts'

const { EDGE: edge = '', REDIS: path = '', TAKEN: taken = '' } = process.env

const redis = new Redis({ path })
redis.on('error', (error) => console.error(`Redis: ${error.message}`))

// A killed server must not take long to be known as dead: here they are killed every second. The default is 60 s.
const store = redisStore({ client: redis, claimAfter: 1000 })

/** For the report: writes down which impressions Redis has, with a call that is done when it returns. An app needs none of this. */
const reported: OutboxStore = {
  async append (records) {
    const ids = await store.append(records)
    appendFileSync(taken, records.map((record) => `${/"impressionId":"([^"]+)"/.exec(record)?.[1]}\n`).join(''))
    return ids
  },
  settle: (ids) => store.settle(ids),
  recover: () => store.recover(),
  close: () => store.close()
}

const app = Fastify({ forceCloseConnections: true })
await app.register(fastifyAdobeTarget, {
  client,
  organizationId,
  serverDomain: edge,
  secure: false,
  decisioningMethod: 'on-device',
  artifactLocation: `http://${edge}/${client}/production/v1/rules.json`,
  artifactStore: redisArtifactStore({ client: redis }),
  notifications: { store: reported }
})
app.get('/', { config: { target: ['hero'] } }, async (request, reply) => {
  reply.type('text/html').header('cache-control', 'private')
  return await request.target.content('hero', '<h1>Welcome</h1>')
})
await app.target.ready() // the rules are there, so that the first visitor gets no fallback
await app.listen({ host: '127.0.0.1', port: 0 })

process.once('SIGTERM', async () => {
  await app.close() // sends what it can, and leaves the rest to the others
  redis.disconnect()
  process.disconnect()
})
