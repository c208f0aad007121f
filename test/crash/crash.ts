/**
 * Kills processes under load at random moments, and counts what arrives.
 *
 * `npm run test:crash [-- [kills] [store]]`, by default 200 kills with each store, `file` and `redis`. Two processes run at a
 * time on one place, each killed with SIGKILL; the next one, or the other, sends what it left. Every tenth kill takes the Redis
 * server along, which has an append-only file and is started again. The edge is slow and fails every tenth call.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createFailingEdge } from '../soak/failing-edge.ts'
import { ask, endChild, nextWord, startChild } from '../soak/child.ts'
import { RedisServer, withoutRedis } from '../support/redis-server.ts'

/** Where a store keeps notifications. */
interface Place {
  address: string
  /** After each kill of a process. */
  killed? (count: number): Promise<void>
  /** Whether nothing is left in it, once its last process has closed. */
  isEmpty (): Promise<boolean>
  /** Whether a process may still find something in it: records that were stored, but not confirmed before the kill. */
  hasMore? (): Promise<boolean>
  close? (): Promise<void>
}

const kills = Number(process.argv[2] ?? 200)
const stores = process.argv[3] === undefined ? ['file', 'redis'] : [process.argv[3]]

/** Processes at a time. */
const LANES = 2

/** ms that a process is allowed to live, at most, after it has begun. */
const MAX_LIFE = 600

/** ms for the last process to send what is left. */
const PATIENCE = 120_000

const places: Record<string, (directory: string) => Promise<Place>> = {
  async file (directory) {
    const address = join(directory, 'store')
    return { address, isEmpty: async () => readdirSync(address).filter((name) => !name.startsWith('.')).length === 0 }
  },

  async redis () {
    const server = await new RedisServer('--appendonly', 'yes', '--appendfsync', 'always').start()
    const client = server.ioredis()
    const length = async () => await client.xlen('fastify-adobe-target:outbox')
    return {
      address: server.socket,
      async killed (count) {
        if (count % 10 !== 0) return
        await server.kill()
        await server.start()
      },
      isEmpty: async () => await length() === 0,
      hasMore: async () => await length() > 0,
      close: () => server.close()
    }
  }
}

let failures = 0
function check (what: string, holds: boolean) {
  console.log(`${holds ? 'ok' : 'NOT OK'}: ${what}`)
  if (!holds) failures += 1
}

async function run (store: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'outbox-crash-'))
  const confirmed = join(directory, 'confirmed')
  const place = await places[store]!(directory)
  const edge = createFailingEdge({ latency: () => Math.random() * 80 }, () => 0.1, ['status:500', 'status:503', 'status:420', 'reset', 'reset-mid-body', 'bad-json', 'slow:300'])
  await edge.listen({ port: 0, host: '127.0.0.1' })
  const host = `127.0.0.1:${(edge.server.address() as { port: number }).port}`
  const begin = (work: string) => startChild('../crash/app-process', host, store, place.address, confirmed, work)

  const seen = new Set<string>()
  const impressions = new Set<string>()
  /** The edge keeps only the last notifications, so they are fetched in time. */
  const look = () => {
    for (const { id, impressionId } of edge.notifications) {
      seen.add(id)
      impressions.add(impressionId!)
    }
  }

  let begun = 0
  let killed = 0
  const lane = async () => {
    while (begun++ < kills) {
      const child = begin('queue')
      // Some die while they start or recover, most under load.
      if (Math.random() < 0.9) await nextWord(child)
      await sleep(Math.random() * MAX_LIFE)
      await endChild(child)
      look()
      killed += 1
      await place.killed?.(killed)
      if (killed % 20 === 0) console.log(`${store}: ${killed} of ${kills} killed, ${seen.size} notifications have arrived`)
    }
  }

  try {
    await Promise.all(Array.from({ length: LANES }, lane))
    // A process that has just been killed is not known to be dead yet, and what it left would be taken over 30 s later only.
    await sleep(1500)
    const last = begin('send')
    await nextWord(last)
    const journaled = existsSync(confirmed) ? readFileSync(confirmed, 'utf8').split('\n').filter(Boolean) : []
    const missing = () => {
      look()
      return journaled.filter((id) => !seen.has(id)).length
    }
    const until = performance.now() + PATIENCE
    while ((missing() > 0 || (await ask(last, {})).pending > 0 || await place.hasMore?.() === true) && performance.now() < until) await sleep(200)
    const outbox = await ask(last, 'close')
    const counted = edge.displays('hero')
    console.log(`${store}: ${kills} processes were killed. Confirmed by the store: ${journaled.length}, arrived at the edge: ${seen.size}, counted: ${counted}, recovered by the last process: ${outbox.recovered}, lost: ${missing()}`)
    check('notifications were confirmed, and some had to be recovered', journaled.length > 0 && outbox.recovered > 0)
    check('each that was confirmed has arrived', missing() === 0)
    check('each is counted once', counted === impressions.size)
    check('the last process accounts for all', outbox.accepted === outbox.sent && outbox.pending === 0)
    check('nothing is left in the store', await place.isEmpty())
  } finally {
    await edge.close()
    await place.close?.()
    rmSync(directory, { recursive: true, force: true })
  }
}

for (const store of stores) {
  if (store === 'redis' && withoutRedis !== false) console.log(`redis: skipped, ${withoutRedis}`)
  else await run(store)
}
if (failures > 0) process.exitCode = 1
else console.log('Nothing was lost.')
