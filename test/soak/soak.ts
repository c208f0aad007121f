/**
 * The soak: an app under steady load for some minutes (the first parameter, 10 unless told), on an edge that fails 10 % of
 * its calls in random ways and all of them now and then, with artifacts that change, and clients that leave.
 *
 * Edge and load are processes of their own, so what is counted here is the app's. After each round all comes to rest and
 * is counted, garbage being collected before. Ends with 1 when anything has grown or an account did not balance.
 * Needs `--expose-gc`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { queryObjects } from 'node:v8'
import { Socket } from 'node:net'
import { ServerResponse } from 'node:http'
import Fastify from 'fastify'
import { channels } from '../../lib/diagnostics.ts'
import fastifyAdobeTarget from '../../lib/index.ts'
import { Batch } from '../../lib/outbox/batch.ts'
import { PendingCall } from '../../lib/request/call.ts'
import { RequestTarget } from '../../lib/request/target.ts'
import { Transfer } from '../../lib/delivery/transfer.ts'
import { ask, endChild, nextWord, startChild } from './child.ts'

/** What may be more at the end than after the first round: MB of heap, and things, of which some come and go. */
const MOST_GROWTH = { heap: 3, things: 3 }

const minutes = Number(process.argv[2] ?? 10)
if (!(minutes > 0 && minutes <= 24 * 60)) throw new Error('how many minutes, up to a day?')
const rounds = Math.max(3, Math.min(20, Math.round(minutes)))
const ms = minutes * 60_000 / rounds

const problems: string[] = []
const problem = (text: string) => { if (!problems.includes(text)) problems.push(text) }
// Not what a newer Node says about how the tests are loaded, but what tells of a leak.
process.on('warning', ({ name, message }) => { if (name !== 'ExperimentalWarning' && name !== 'DeprecationWarning') problem(`a warning: ${message}`) })

const edgeProcess = startChild('edge-process')
const { edge, origin } = await nextWord(edgeProcess)
const loadProcess = startChild('load-process')
await nextWord(loadProcess)

const app = Fastify()
await app.register(fastifyAdobeTarget, {
  client: 'acmeclient',
  organizationId: '1234567890@AdobeOrg',
  serverDomain: edge,
  secure: false,
  timeout: 250,
  grace: 150,
  artifactLocation: `http://${origin}/rules.json`,
  pollingInterval: 1000,
  pool: { connections: 16, keepAliveTimeout: 300, maxAge: 2000 },
  breaker: { window: 400, cooldown: 300 },
  telemetryEnabled: true,
  logger: { debug () {}, error () {} }
})
for (const decisioningMethod of ['server-side', 'hybrid', 'on-device'] as const) {
  app.get(`/${decisioningMethod}`, { config: { target: { execute: { mboxes: ['hero', 'checkout-flags'] }, decisioningMethod } } }, async ({ target }) => {
    target.clicked('hero')
    return { hero: await target.content('hero', 'none'), banner: await target.content('banner', 'none') }
  })
  app.get(`/${decisioningMethod}-views`, { config: { target: { prefetch: { mboxes: ['hero'], views: [{}], pageLoad: {} }, decisioningMethod } } }, async ({ target }) => {
    for (const what of ['hero', { view: 'product' }, { pageLoad: true } as const]) target.displayed(what)
    return await target.views()
  })
}
app.get('/hurried', { config: { target: { execute: { mboxes: ['hero'] }, timeout: 10, maxWait: 5 } } }, async ({ target }) => await target.content('hero', 'none'))
app.get('/unread', { config: { target: ['hero'] } }, async () => 'page')
app.get('/notify', async ({ target }) => { target.notify({ type: 'click', mbox: { name: 'hero' } }); return 'page' })
const paths = app.printRoutes({ commonPrefix: false }).match(/\/[\w-]+/g)!
const url = await app.listen({ port: 0, host: '127.0.0.1' })

const { target } = app
const balance = () => {
  const { accepted, pending, sent, failed, dropped } = target.health().outbox
  if (accepted !== pending + sent + failed + dropped) problem('the outbox did not balance')
}
channels.outbox.subscribe(balance)
const balancing = setInterval(balance, 10)
const breakerStates = new Set<unknown>()
channels.breaker.subscribe((message) => breakerStates.add((message as { state: string }).state))
const artifacts = new Set<unknown>()
channels.artifact.subscribe((message) => artifacts.add((message as { version?: string }).version))

/** Waits until nothing is going on any more: no call, no connection, nothing in the outbox. */
async function rest (): Promise<void> {
  for (let wait = 0; wait < 12_000; wait++) {
    await sleep(10)
    const { outbox, pool } = target.health()
    const connections = await new Promise<number>((resolve) => app.server.getConnections((_, count) => resolve(count)))
    if (outbox.pending === 0 && connections === 0 && Object.values(pool).every(({ running, waiting, stragglers, sockets }) => running + waiting + stragglers + sockets === 0)) return
  }
  problem(`it did not come to rest: ${JSON.stringify(target.health())}`)
}

const listeners = (emitter: { eventNames (): (string | symbol)[], listenerCount (name: string | symbol): number }) =>
  emitter.eventNames().reduce((count, name) => count + emitter.listenerCount(name), 0)
const ofClass = (constructor: unknown) => queryObjects(constructor as new () => object, { format: 'count' })

/** What there is, by kind; of the classes, every object that is alive and inherits from it. */
function count (): Record<string, number> {
  global.gc!()
  const heap = process.memoryUsage().heapUsed / 2 ** 20
  return {
    heap: Math.round(heap * 100) / 100,
    resources: process.getActiveResourcesInfo().length,
    // @ts-expect-error -- undocumented; it also lists handles that do not keep the process alive
    handles: process._getActiveHandles().length,
    timers: ofClass(balancing.constructor),
    sockets: ofClass(Socket),
    responses: ofClass(ServerResponse),
    signals: ofClass(AbortSignal),
    targets: ofClass(RequestTarget),
    calls: ofClass(PendingCall),
    transfers: ofClass(Transfer),
    batches: ofClass(Batch),
    'process listeners': listeners(process),
    'server listeners': listeners(app.server)
  }
}

const counts: Record<string, number>[] = []
let visits = {}
for (let round = 1; round <= rounds; round++) {
  await ask(edgeProcess, { share: 0.1 })
  const load = ask(loadProcess, { url, paths, ms })
  await sleep(ms / 2)
  await ask(edgeProcess, { share: 1 })
  await sleep(Math.min(1000, ms / 4))
  await ask(edgeProcess, { share: 0.1 })
  visits = await load
  await ask(edgeProcess, { share: 0 })
  await rest()
  counts.push(count())
  console.log(`round ${round} of ${rounds}`, JSON.stringify({ ...visits, ...counts.at(-1), ...target.health().outbox }))
}

for (const [kind, before] of Object.entries(counts[0]!)) {
  const growth = counts.at(-1)![kind]! - before
  if (growth > (kind === 'heap' ? MOST_GROWTH.heap : MOST_GROWTH.things)) problem(`${kind} grew by ${growth}`)
}
const { pages, left, wrong } = visits as { pages: number, left: number, wrong: number }
if (wrong > 0) problem(`${wrong} pages were no pages`)
const { outbox } = target.health()
// Each of these must have happened, or the load was none.
const happened = { pages, left, sent: outbox.sent, 'breaker opened': Number(breakerStates.has('open')), 'breaker closed': Number(breakerStates.has('closed')), 'artifact changed': artifacts.size - 1 }
for (const [what, times] of Object.entries(happened)) if (times < 1) problem(`it never happened: ${what}`)
if (outbox.dropped > 0) problem(`${outbox.dropped} notifications were dropped`)

await app.close()
balance()
clearInterval(balancing)
if (target.health().outbox.pending > 0) problem('the outbox was closed with something in it')
await endChild(loadProcess)
await endChild(edgeProcess)
// A process that has ended is gone a moment later.
await sleep(100)
const remaining = process.getActiveResourcesInfo().filter((kind) => !/Pipe|TTY|FS/.test(kind))
if (remaining.length > 0) problem(`left at the end: ${remaining.join(', ')}`)

console.log(JSON.stringify({ ...happened, outbox: target.health().outbox }))
for (const text of problems) console.error(`FAILED: ${text}`)
console.log(problems.length === 0 ? 'nothing grew, everything balances' : 'the soak failed')
process.exitCode = problems.length === 0 ? 0 : 1
