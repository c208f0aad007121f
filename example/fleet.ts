/**
 * `npm run start:fleet` starts three servers behind one address and a Redis that they share, sends them visitors, and kills one
 * of them every second. After ten seconds it ends by itself, with a table of what became of the impressions.
 * `-- --seconds 60 --rate 200`: for longer, and more visitors a second.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createEdge } from 'fastify-adobe-target/edge'
import { client, organizationId } from './account.ts'
import { Fleet } from './fleet-processes.ts'
import { startRedis } from './fleet-redis.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' }, rate: { type: 'string', default: '100' } } })
const seconds = Number(values.seconds)
const rate = Number(values.rate)

const redis = await startRedis()
if (redis === undefined) {
  console.error('This example needs redis-server: `apt-get install redis-server`, or `brew install redis`.')
  process.exit(1)
}
const folder = await mkdtemp(join(tmpdir(), 'fleet-'))
const taken = join(folder, 'taken')
writeFileSync(taken, '')
const edge = createEdge({ client, organizationId, latency: 60 })
await edge.listen({ host: '127.0.0.1', port: 0 })
const fleet = new Fleet(3, { EDGE: edge.host, REDIS: redis.path, TAKEN: taken })

let pages = 0
let repeated = 0

/** A visitor who was never here. If the server dies meanwhile, the page is asked for again, as browsers and load balancers do. */
async function visit (address: string): Promise<void> {
  while (true) {
    try {
      const response = await fetch(address, { signal: AbortSignal.timeout(5000) })
      if (!response.ok) throw new Error(`the page has status ${response.status}`)
      await response.text()
      pages += 1
      return
    } catch {
      repeated += 1
      await wait(50)
    }
  }
}

async function sendVisitors (address: string): Promise<void> {
  const visits: Array<Promise<void>> = []
  const began = performance.now()
  while (performance.now() - began < seconds * 1000) {
    for (const due = (performance.now() - began) / 1000 * rate; visits.length < due;) visits.push(visit(address))
    await wait(5)
  }
  await Promise.all(visits)
}

/** Kills a server every second. */
async function killServers (): Promise<void> {
  for (let second = 1; second <= seconds; second++) {
    await wait(1000)
    fleet.kill()
    console.log(`${fleet.killed} killed, ${pages} pages, ${edge.displays('hero')} impressions counted`)
  }
}

/** What Redis had confirmed, and what the edge has got. */
function impressions () {
  const arrived = new Set(edge.notifications.map(({ impressionId }) => impressionId))
  // What arrived was taken, even if its server died before it could say so.
  const all = new Set([...readFileSync(taken, 'utf8').split('\n').filter(Boolean), ...arrived])
  return { taken: all.size, counted: edge.displays('hero'), repeats: edge.notifications.length - arrived.size, lost: all.size - arrived.size }
}

try {
  const address = await fleet.start()
  console.log(`Three servers at ${address}, ${rate} visitors a second, one server killed every second, for ${seconds} s`)
  await Promise.all([sendVisitors(address), killServers()])

  // What the last of the killed had left is found by the next server that starts.
  await wait(1500)
  await fleet.replaceOne()
  await edge.until(() => impressions().lost === 0, { timeout: 30_000 }).catch(() => {})
  await fleet.close()

  const result = impressions()
  const rows = {
    'servers killed': fleet.killed,
    'pages served': pages,
    'pages asked for again, as their server died': repeated,
    'impressions taken': result.taken,
    'counted once at the edge': result.counted,
    'sent again, and not counted again': result.repeats,
    lost: result.lost
  }
  const width = Math.max(...Object.keys(rows).map((name) => name.length))
  console.log(`\n${Object.entries(rows).map(([name, count]) => `${name.padEnd(width)}  ${String(count).padStart(7)}`).join('\n')}`)
  // Writing happens behind the page, so that no page waits for it.
  if (pages > result.taken) console.log(`\nThe servers of ${pages - result.taken} pages were killed in the moment between the page and the write to Redis.`)
  if (result.lost > 0 || result.counted !== result.taken) process.exitCode = 1
} finally {
  await fleet.close()
  await edge.close()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
}
