/** What happens once: starting, and taking a new artifact while pages are served. */
import { Agent, get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { contenders } from './contenders.js'
import { percentile, spread } from './statistics.js'
import { table } from './report.js'

const FRESH = ['no-target', 'bare-undici', 'plugin', 'sdk']
const titleOf = (name) => name === 'sdk' ? 'Adobe Node SDK' : contenders[name].title
const agent = new Agent({ keepAlive: true })

/** ms that a page takes. */
const visit = (url) => new Promise((resolve, reject) => {
  const asked = performance.now()
  get(url, { agent }, (response) => response.resume().on('end', () => resolve(performance.now() - asked))).on('error', reject)
})

/** ms between a start and the first page, in which V8 ends the garbage collection that the loading of code has begun. */
const PAUSE = 500

/** ms of an app's first pages, right after its start. */
async function firstPages ([{ hello: { url, startedAt } }]) {
  const [first, answered, second] = await firstTwo(url)
  const hundred = [first, second, ...await visits(98, url)]
  await visits(400, url)
  return { first, second, answered: answered - startedAt, early: p99(hundred) - p99(await visits(500, url)) }
}

/** ms of an app's first two pages, some time after its start. */
async function laterPages ([{ hello: { url } }]) {
  await sleep(PAUSE)
  const [first, , second] = await firstTwo(url)
  return { first, second }
}

/** ms of the first page, when it was there, and ms of the second. Fastify itself has served one before, without Target. */
async function firstTwo (url) {
  await visit(`${url}/plain`)
  const first = await visit(url)
  const answered = performance.timeOrigin + performance.now()
  return [first, answered, await visit(url)]
}

async function visits (count, url) {
  const latencies = []
  for (let page = 0; page < count; page++) latencies.push(await visit(url))
  return latencies
}

const p99 = (latencies) => percentile(latencies.sort((a, b) => a - b), 99)

export const swap = {
  title: 'A new artifact: ms of work, and the longest event-loop stall',
  seconds: ({ swap: { rules } }) => rules.reduce((sum, count) => sum + 1 + count * 4e-4, 0),
  async run ({ plan, processes, edge, step }) {
    const rows = []
    for (const rules of plan.swap.rules) {
      step(`${rules} rules`)
      const artifact = (contentSize) => edge.ask('artifact', { mboxes: rules / 2, rulesEach: 2, contentSize })
      await artifact(4300)
      rows.push(await processes.with([['swap.js', [edge.hello.host]]], async ([child]) => {
        const measured = await child.ask('compile')
        await child.ask('load')
        await artifact(4301)
        return { rules, ...measured, refresh: await child.ask('refresh') }
      }))
    }
    return rows
  },
  print: (rows) => table(rows, {
    rules: ({ rules }) => rules,
    MB: ({ bytes }) => (bytes / 1e6).toFixed(1),
    'JSON.parse': ({ parse }) => parse.toFixed(0),
    compile: ({ compile }) => compile.elapsed.toFixed(0),
    'longest stall, compile': ({ compile }) => compile.longest.toFixed(1),
    'refresh with download': ({ refresh }) => refresh.elapsed.toFixed(0),
    'longest stall, refresh': ({ refresh }) => refresh.longest.toFixed(1)
  })
}

export const start = {
  title: 'Start: ms in a fresh process',
  seconds: ({ start: { repeats, firstPages } }) => repeats + firstPages * 14,
  async run ({ plan, processes, edge, step }) {
    const runs = { plugin: [], sdk: [] }
    for (let repeat = 0; repeat < plan.start.repeats; repeat++) {
      for (const name of ['plugin', 'sdk']) {
        step(name)
        runs[name].push(await processes.with([['register.js', [edge.hello.host]]], ([child]) => child.ask(name)))
      }
    }
    const fresh = Object.fromEntries(FRESH.map((name) => [name, { atOnce: [], later: [] }]))
    for (let repeat = 0; repeat < plan.start.firstPages; repeat++) {
      for (const name of FRESH) {
        step(`first page, ${name}`)
        const app = [['fresh.js', [name, edge.hello.host]]]
        fresh[name].atOnce.push(await processes.with(app, firstPages))
        fresh[name].later.push(await processes.with(app, laterPages))
      }
    }
    const rows = (step, valuesOf) => FRESH.map((name) => ({ step: `${step}: ${titleOf(name)}`, ...spread(valuesOf(fresh[name])) }))
    return [
      { step: 'import fastify-adobe-target', ...spread(runs.plugin.map((run) => run.import)) },
      { step: 'register to ready', ...spread(runs.plugin.map(({ register }) => register)) },
      { step: 'import @adobe/target-nodejs-sdk', ...spread(runs.sdk.map((run) => run.import)) },
      ...rows('start of the process to its first page', ({ atOnce }) => atOnce.map(({ answered }) => answered)),
      ...rows('first page over the second, right after the start', ({ atOnce }) => atOnce.map(({ first, second }) => first - second)),
      ...rows(`first page over the second, ${PAUSE} ms after the start`, ({ later }) => later.map(({ first, second }) => first - second)),
      ...rows('p99 of the first 100 pages over that of pages 500 to 1000', ({ atOnce }) => atOnce.map(({ early }) => early))
    ]
  },
  print: (rows) => table(rows, {
    step: ({ step }) => step,
    ms: ({ median }) => median.toFixed(1),
    'least to greatest': ({ least, greatest }) => `${least.toFixed(1)} to ${greatest.toFixed(1)}`
  })
}
