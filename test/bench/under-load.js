/** What happens to a page under load: every contender in its own process, taking turns, all by the same load. */
import { setTimeout as sleep } from 'node:timers/promises'
import { contenders, edgeContenders } from './contenders.js'
import { FALLBACK, OFFER, render } from './page.js'
import { spread } from './statistics.js'
import { table } from './report.js'

/** What the others are compared with. */
const BARE = 'no-target'
const BARE_UNDICI = 'bare-undici'
const HAND_WRITTEN = 'hand-written'

const titleOf = (name) => contenders[name].title

/**
 * Runs contenders against each other. In every repeat each has one turn, in an order that changes from repeat to repeat,
 * so that a machine that gets slower or faster does so for all.
 *
 * @param {object} bench of index.js
 * @param {{ names: string[], fileOf?: (index: number) => string | URL, repeats: number, processesEach?: number, idle?: number, warmup: number, delay: number, work: number, watching: boolean, question: string, asked: object, around?: (turn: () => Promise<object>) => Promise<object> }} race
 *   `fileOf`: the script of a contender, where it is not the usual one; `repeats` in each of the `processesEach` that a contender has one after the other; `idle`: s without a page after the first few; `warmup` in s; `delay` of the edge and `work` of the handler in ms; `question` and what is `asked`, for the load process; `around` runs a turn, and may add to what is known of it
 * @returns {Promise<object[][]>} runs of each contender, one for each repeat in each process
 */
export async function race ({ processes, edge, load, step }, { names, fileOf = () => 'contender.js', repeats, processesEach = 1, idle = 0, warmup, delay, work, watching, question, asked, around = (turn) => turn() }) {
  const starting = names.map((name, index) => [fileOf(index), [name, edge.hello.host]])
  const runs = names.map(() => [])
  // Rates and CPU times are a process's own if no other has its CPU; latencies are those of a whole machine.
  const saturates = question === 'saturate'
  if (saturates) for (const helper of [edge, load]) helper.place('others')
  const racing = async (apps) => {
    if (saturates) for (const app of apps) app.place('last')
    const turn = async (index) => {
      const app = apps[index]
      await app.ask('begin', { work, watching })
      const measured = await load.ask(question, { ...asked, url: app.hello.url })
      const usage = await app.ask('end')
      return { ...measured, ...usage, fallbacks: names[index] === BARE ? 0 : usage.fallbacks }
    }
    await edge.ask('delay', 0)
    for (const [index, name] of names.entries()) await checkPage(name, apps[index].hello.url)
    if (idle > 0) await leaveIdle(apps, idle)
    await warmUp(load, apps, warmup, asked)
    await edge.ask('delay', delay)
    for (let repeat = 0; repeat < repeats; repeat++) {
      for (let place = 0; place < names.length; place++) {
        const index = (place + repeat) % names.length
        step(`repeat ${runs[index].length + 1} of ${repeats * processesEach}: ${names[index]}`)
        runs[index].push(await around(() => turn(index)))
      }
    }
  }
  // A program may be compiled better or worse, and stays so until it ends: that differs by some percent.
  for (let count = 0; count < processesEach; count++) await processes.with(starting, racing)
  for (const helper of [edge, load]) helper.place('any')
  return runs
}

/**
 * Has apps compile their code: that takes some thousand pages, and what those take says nothing of the others. In turn, a second
 * each, so that no program is idle before its first load unless all are: that costs CPU from then on (lib/next-tick.ts).
 */
export async function warmUp (load, apps, seconds, asked) {
  for (let second = 0; second < seconds; second++) {
    for (const app of apps) {
      await load.ask('saturate', { ...asked, url: app.hello.url, connections: 20, seconds: 1 })
      // Nothing of it is still done while another is measured.
      await app.ask('end')
    }
  }
}

/**
 * Has apps serve some pages, as for the health checks and first visitors after a deploy, and leaves them idle: after eight seconds V8
 * collects garbage, and frees some of what it has learned from those pages (lib/next-tick.ts).
 */
async function leaveIdle (apps, seconds) {
  for (const { hello: { url } } of apps) {
    for (let page = 0; page < 20; page++) await (await fetch(url)).text()
  }
  await sleep(seconds * 1000)
}

/** A contender that does not do its work would win. */
async function checkPage (name, url) {
  const page = await (await fetch(url)).text()
  const personalised = !page.includes(FALLBACK)
  if (personalised === (name === BARE)) throw new Error(`${name} serves a wrong page: ${page.slice(0, 200)}`)
  if (edgeContenders.includes(name) && name !== BARE && page !== render(OFFER)) throw new Error(`${name} does not show the offer`)
}

/** The same, by contender. */
const raceByName = async (bench, asked) => {
  const runs = await race(bench, asked)
  return Object.fromEntries(asked.names.map((name, index) => [name, runs[index]]))
}

/** Differences and ratios are taken within a repeat, where both met the same machine. */
const within = (runs, name, other, compare) => runs[other] === undefined ? undefined : spread(runs[name].map((run, repeat) => compare(run, runs[other][repeat])))

/** s that {@link saturate} takes: loads, checks, and the starting of processes. */
const saturationSeconds = (names, { repeats, processesEach = 1, idle = 0, seconds, warmup }) =>
  processesEach * (names.length * (Math.ceil(seconds) * repeats + Math.ceil(warmup) + 0.2) + idle + 3)

/** Pages a second, and what each costs. */
async function saturate (bench, names, connections, { seconds, ...plan }) {
  const runs = await raceByName(bench, {
    names, ...plan, delay: 0, work: 0, watching: false, question: 'saturate', asked: { connections, seconds }
  })
  return names.map((name) => ({
    connections,
    contender: name,
    rate: spread(runs[name].map(({ rate }) => rate)),
    cpu: spread(runs[name].map(({ cpu }) => cpu)),
    fallbacks: runs[name].reduce((sum, { fallbacks }) => sum + fallbacks, 0),
    ofBare: within(runs, name, BARE, (run, other) => run.rate / other.rate),
    ofBareUndici: within(runs, name, BARE_UNDICI, (run, other) => run.rate / other.rate),
    cpuOfBareUndici: within(runs, name, BARE_UNDICI, (run, other) => run.cpu / other.cpu),
    ofHandWritten: within(runs, name, HAND_WRITTEN, (run, other) => run.rate / other.rate),
    ofSdk: within(runs, name, 'sdk-early', (run, other) => run.rate / other.rate)
  }))
}

const RATE_COLUMNS = {
  connections: ({ connections }) => connections,
  contender: ({ contender }) => titleOf(contender),
  'pages/s': ({ rate }) => rate.median.toFixed(0),
  'least to greatest': ({ rate }) => `${rate.least.toFixed(0)} to ${rate.greatest.toFixed(0)}`,
  'CPU µs a page': ({ cpu }) => cpu.median.toFixed(0),
  'of the bare app': ({ ofBare }) => percent(ofBare)
}

const BARE_UNDICI_COLUMNS = {
  'of bare undici': ({ ofBareUndici }) => percent(ofBareUndici),
  '× its CPU': ({ cpuOfBareUndici: cpu }) => `${cpu.median.toFixed(2)} (${cpu.least.toFixed(2)} to ${cpu.greatest.toFixed(2)})`
}

export const saturated = {
  title: 'Saturated: an edge that responds immediately, and as many pages as can be served',
  seconds: ({ saturated: { connections, names = edgeContenders, ...plan } }) => connections.length * saturationSeconds(names, plan),
  async run (bench) {
    const rows = []
    const { connections, names = edgeContenders, ...plan } = bench.plan.saturated
    for (const count of connections) rows.push(...await saturate(bench, names, count, plan))
    return rows
  },
  print: (rows) => table(rows, {
    ...RATE_COLUMNS,
    // The guard runs without it.
    ...rows.some(({ ofBareUndici }) => ofBareUndici !== undefined) && BARE_UNDICI_COLUMNS,
    'of hand-written': ({ ofHandWritten }) => percent(ofHandWritten),
    '× the SDK early': ({ ofSdk }) => ofSdk === undefined ? '' : ofSdk.median.toFixed(1),
    'without offer': ({ fallbacks }) => fallbacks
  })
}

const idleNames = [BARE, BARE_UNDICI, HAND_WRITTEN, 'plugin', 'on-device-prefetch', 'on-device-execute']

export const afterIdle = {
  title: 'Saturated, after a server has served twenty pages and then been idle for ten seconds',
  seconds: ({ afterIdle }) => saturationSeconds(idleNames, afterIdle),
  run ({ plan: { afterIdle: { connections, ...plan } }, ...bench }) { return saturate(bench, idleNames, connections, plan) },
  print: (rows) => table(rows, { ...RATE_COLUMNS, ...BARE_UNDICI_COLUMNS })
}

const onDeviceNames = [BARE, 'on-device-prefetch', 'sdk-on-device-prefetch', 'on-device-execute', 'sdk-on-device-execute']

export const onDevicePage = {
  title: 'A page with on-device offers, saturated',
  seconds: ({ onDevicePage }) => saturationSeconds(onDeviceNames, onDevicePage),
  run ({ plan: { onDevicePage: { connections, ...plan } }, ...bench }) { return saturate(bench, onDeviceNames, connections, plan) },
  print: (rows) => table(rows, RATE_COLUMNS)
}

const edgeNetworkNames = [BARE, 'plugin', 'edge-network-prefetch', 'edge-network-execute']

export const edgeNetworkPage = {
  title: 'A page by the Edge Network beside the Delivery API, saturated',
  seconds: ({ edgeNetworkPage }) => saturationSeconds(edgeNetworkNames, edgeNetworkPage),
  async run ({ plan: { edgeNetworkPage: { connections, ...plan } }, ...bench }) { return await saturate(bench, edgeNetworkNames, connections, plan) },
  print: (rows) => table(rows, RATE_COLUMNS)
}

/** Time that Target adds to the page. */
async function addedTime (bench, asked, facts) {
  const runs = await raceByName(bench, { names: edgeContenders, watching: true, ...asked })
  return edgeContenders.map((name) => {
    const row = { ...facts, contender: name, fallbacks: runs[name].reduce((sum, { fallbacks }) => sum + fallbacks, 0) }
    for (const key of ['p50', 'p90', 'p99']) {
      row[key] = spread(runs[name].map((run) => run[key]))
      row[`${key}Added`] = within(runs, name, BARE, (run, other) => run[key] - other[key])
    }
    row.p99OverHandWritten = within(runs, name, HAND_WRITTEN, (run, other) => run.p99 - other.p99)
    row.p99OverBareUndici = within(runs, name, BARE_UNDICI, (run, other) => run.p99 - other.p99)
    if (name !== BARE) row.unwaited = spread(runs[name].map(({ unwaited }) => unwaited))
    return row
  })
}

const ADDED_COLUMNS = {
  contender: ({ contender }) => titleOf(contender),
  'p50 ms': ({ p50 }) => p50.median.toFixed(1),
  '+p50': (row) => row.contender === BARE ? '' : signed(row.p50Added),
  '+p90': (row) => row.contender === BARE ? '' : signed(row.p90Added),
  '+p99': (row) => row.contender === BARE ? '' : signed(row.p99Added),
  'p99 over hand-written': (row) => row.contender === BARE || row.contender === HAND_WRITTEN ? '' : signed(row.p99OverHandWritten),
  'p99 over bare undici': ({ contender, p99OverBareUndici }) => p99OverBareUndici === undefined || contender === BARE || contender === BARE_UNDICI ? '' : signed(p99OverBareUndici),
  'waited < 1 ms': ({ unwaited }) => unwaited === undefined ? '' : `${(unwaited.median * 100).toFixed(1)} %`,
  'without offer': ({ fallbacks }) => fallbacks
}

export const handler = {
  title: 'A handler that works for 40 ms, an edge that takes 30 ms',
  seconds: ({ handler: { connections, repeats, processesEach = 1, seconds, warmup } }) =>
    connections.length * processesEach * (edgeContenders.length * ((seconds + 0.2) * repeats + Math.ceil(warmup) + 0.2) + 3),
  async run (bench) {
    const { connections, repeats, processesEach, seconds, warmup } = bench.plan.handler
    const rows = []
    for (const count of connections) {
      rows.push(...await addedTime(bench, {
        repeats, processesEach, warmup, delay: 30, work: 40, question: 'visit', asked: { connections: count, seconds }
      }, { connections: count }))
    }
    return rows
  },
  print: (rows) => table(rows, { 'at a time': ({ connections }) => connections, ...ADDED_COLUMNS })
}

export const slowEdge = {
  title: 'An edge slower than the handler (60 ms and 20 ms, 20 visitors at a time): 40 ms must be added, and no more',
  seconds: ({ slowEdge: { repeats, seconds, warmup } }) => edgeContenders.length * ((seconds + 0.2) * repeats + Math.ceil(warmup) + 0.2) + 3,
  run (bench) {
    const { repeats, seconds, warmup } = bench.plan.slowEdge
    return addedTime(bench, { repeats, warmup, delay: 60, work: 20, question: 'visit', asked: { connections: 20, seconds } }, { connections: 20 })
  },
  print: (rows) => table(rows, ADDED_COLUMNS)
}

export const bursts = {
  title: 'Bursts of visitors on new connections, handler 40 ms, edge 30 ms',
  seconds: ({ bursts: { sizes, repeats, processesEach = 1, times, warmup } }) =>
    sizes.length * processesEach * (edgeContenders.length * (repeats * times * 0.7 + Math.ceil(warmup)) + 3),
  async run (bench) {
    const { sizes, repeats, processesEach, times, warmup } = bench.plan.bursts
    const rows = []
    for (const size of sizes) {
      rows.push(...await addedTime(bench, {
        repeats, processesEach, warmup, delay: 30, work: 40, question: 'burst', asked: { size, times, pause: 300 }
      }, { size }))
    }
    return rows
  },
  print: (rows) => table(rows, { 'in a burst': ({ size }) => size, ...ADDED_COLUMNS })
}

const percent = (ratio) => ratio === undefined ? '' : `${(ratio.median * 100).toFixed(0)} %`
const sign = (value) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(1)}`
const signed = ({ median, least, greatest }) => `${sign(median)} (${sign(least)} to ${sign(greatest)})`
