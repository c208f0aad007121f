/**
 * A process that is made to be killed: a client with a store, which queues displays as fast as it is told.
 *
 * It writes the id of each notification that its store has confirmed to a file, with calls that are done when they return: the
 * file says what must arrive, however the process ends.
 */
import { appendFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { createTargetClient, fileStore, type OutboxStore } from '../../lib/index.ts'
import { redisStore } from '../../lib/redis/index.ts'

const [host = '', name = '', place = '', confirmed = '', work = 'queue'] = process.argv.slice(2)

/** ms after which a killed process counts as dead. */
const claimAfter = 1000

/** The store, and the end of what the app has lent to it. */
const stores: Record<string, () => [store: OutboxStore, end: () => unknown]> = {
  file: () => [fileStore({ directory: place }), () => {}],
  // Half of the processes have the one client, half the other.
  redis: () => {
    if (process.pid % 2 === 0) {
      const client = new Redis({ path: place, retryStrategy: () => 50 }).on('error', () => {})
      return [redisStore({ client, claimAfter }), () => client.disconnect()]
    }
    const client = createClient({ socket: { path: place, tls: false, reconnectStrategy: () => 50 } }).on('error', () => {})
    client.connect().catch(() => {})
    return [redisStore({ client, claimAfter }), () => client.destroy()]
  }
}

/** Notifications in a ms. */
const RATE = 0.5

const [inner, end] = stores[name]!()
const store: OutboxStore = {
  async append (payloads) {
    const ids = await inner.append(payloads)
    appendFileSync(confirmed, payloads.map((payload) => `${(JSON.parse(payload) as { notifications: [{ id: string }] }).notifications[0].id}\n`).join(''))
    return ids
  },
  settle: (ids) => inner.settle(ids),
  recover: () => inner.recover(),
  close: () => inner.close()
}

const client = createTargetClient({ client: 'acmeclient', organizationId: '1234567890@AdobeOrg', serverDomain: host, secure: false, timeout: 500, notifications: { store, closeTimeout: 30_000 } })

if (work === 'queue') {
  let queued = 0
  const began = performance.now()
  setInterval(() => {
    for (; queued < (performance.now() - began) * RATE; queued++) {
      const sessionId = randomUUID()
      const id = randomUUID()
      const request = { id: { tntId: randomUUID() }, context: { channel: 'web' as const, address: { url: 'https://shop.example/' } } }
      client.notify({ key: sessionId, sessionId, locationHint: undefined, request }, [{ id, impressionId: id, type: 'display', timestamp: Date.now(), mbox: { name: 'hero' } }])
    }
  }, 1)
}

process.on('message', async (question) => {
  if (question === 'close') {
    await client.close()
    process.send!(client.health().outbox)
    process.disconnect()
    end()
  } else process.send!(client.health().outbox)
})
process.send!('ready')
