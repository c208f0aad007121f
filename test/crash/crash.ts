/**
 * Kills processes under load at random moments, and counts what arrives.
 *
 * `npm run test:crash [-- [kills] [store]]`, by default 200 kills with the file store. Two processes run at a time on one
 * place, each killed with SIGKILL; the next one, or the other, sends what it left. The edge is slow and fails every tenth call.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createFailingEdge } from '../soak/failing-edge.ts'
import { ask, endChild, nextWord, startChild } from '../soak/child.ts'

const kills = Number(process.argv[2] ?? 200)
const store = process.argv[3] ?? 'file'

/** Processes at a time. */
const LANES = 2

/** ms that a process is allowed to live, at most, after it has begun. */
const MAX_LIFE = 600

/** ms for the last process to send what is left. */
const PATIENCE = 120_000

const sleep = (ms: number) => new Promise<void>((resolve) => { setTimeout(resolve, ms) })

const directory = mkdtempSync(join(tmpdir(), 'outbox-crash-'))
const place = join(directory, 'store')
const confirmed = join(directory, 'confirmed')
const edge = createFailingEdge({ latency: () => Math.random() * 80 }, () => 0.1, ['status:500', 'status:503', 'status:420', 'reset', 'reset-mid-body', 'bad-json', 'slow:300'])
await edge.listen({ port: 0, host: '127.0.0.1' })
const host = `127.0.0.1:${(edge.server.address() as { port: number }).port}`

const begin = (work: string) => startChild('../crash/app-process', host, store, place, confirmed, work)

const seen = new Set<string>()
const impressions = new Set<string>()
/** The edge keeps only the last notifications, so they are fetched in time. */
function look () {
  for (const { id, impressionId } of edge.notifications) {
    seen.add(id)
    impressions.add(impressionId!)
  }
}

let done = 0
async function lane () {
  while (done++ < kills) {
    const child = begin('queue')
    // Some die while they start or recover, most under load.
    if (Math.random() < 0.9) await nextWord(child)
    await sleep(Math.random() * MAX_LIFE)
    await endChild(child)
    look()
    if (done % 20 === 0) console.log(`${done} of ${kills} killed, ${seen.size} notifications have arrived`)
  }
}

let failures = 0
function check (what: string, holds: boolean) {
  console.log(`${holds ? 'ok' : 'NOT OK'}: ${what}`)
  if (!holds) failures += 1
}

try {
  await Promise.all(Array.from({ length: LANES }, lane))
  const last = begin('send')
  await nextWord(last)
  const journaled = existsSync(confirmed) ? readFileSync(confirmed, 'utf8').split('\n').filter(Boolean) : []
  const missing = () => {
    look()
    return journaled.filter((id) => !seen.has(id)).length
  }
  const until = performance.now() + PATIENCE
  while ((missing() > 0 || (await ask(last, {})).pending > 0) && performance.now() < until) await sleep(200)
  const outbox = await ask(last, 'close')
  const counted = edge.displays('hero')
  console.log(`${kills} processes were killed. Confirmed by the store: ${journaled.length}, arrived at the edge: ${seen.size}, counted: ${counted}, recovered by the last process: ${outbox.recovered}, lost: ${missing()}`)
  check('notifications were confirmed, and some had to be recovered', journaled.length > 0 && outbox.recovered > 0)
  check('each that was confirmed has arrived', missing() === 0)
  check('each is counted once', counted === impressions.size)
  check('the last process accounts for all', outbox.accepted === outbox.sent && outbox.pending === 0)
  if (store === 'file') check('nothing is left on the disk', readdirSync(place).filter((name) => !name.startsWith('.')).length === 0)
} finally {
  await edge.close()
  rmSync(directory, { recursive: true, force: true })
}
if (failures > 0) process.exitCode = 1
else console.log('Nothing was lost.')
