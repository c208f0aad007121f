/** What happens once: starting, and taking a new artifact while pages are served. */
import { Agent, get } from 'node:http'
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

/** ms of an app's first pages. Fastify itself has served one before that without Target. */
async function firstPages ([{ hello: { url, startedAt } }]) {
  await visit(`${url}/plain`)
  const first = await visit(url)
  const answered = performance.timeOrigin + performance.now() - startedAt
  const second = await visit(url)
  const hundred = [first, second, ...await visits(98, url)]
  await visits(400, url)
  return { first, answered, second, early: p99(hundred) - p99(await visits(500, url)) }
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
  seconds: ({ start: { repeats } }) => repeats * 12,
  async run ({ plan, processes, edge, step }) {
    const runs = { plugin: [], sdk: [] }
    for (let repeat = 0; repeat < plan.start.repeats; repeat++) {
      for (const name of ['plugin', 'sdk']) {
        step(name)
        runs[name].push(await processes.with([['register.js', [edge.hello.host]]], ([child]) => child.ask(name)))
      }
    }
    const fresh = Object.fromEntries(FRESH.map((name) => [name, []]))
    for (let repeat = 0; repeat < plan.start.repeats; repeat++) {
      for (const name of FRESH) {
        step(`first page, ${name}`)
        fresh[name].push(await processes.with([['fresh.js', [name, edge.hello.host]]], firstPages))
      }
    }
    return [
      { step: 'import fastify-adobe-target', ...spread(runs.plugin.map((run) => run.import)) },
      { step: 'register to ready', ...spread(runs.plugin.map(({ register }) => register)) },
      { step: 'import @adobe/target-nodejs-sdk', ...spread(runs.sdk.map((run) => run.import)) },
      ...FRESH.map((name) => ({ step: `start of the process to its first page: ${titleOf(name)}`, ...spread(fresh[name].map(({ answered }) => answered)) })),
      ...FRESH.map((name) => ({ step: `first page over the second: ${titleOf(name)}`, ...spread(fresh[name].map(({ first, second }) => first - second)) })),
      ...FRESH.map((name) => ({ step: `p99 of the first 100 pages over that of pages 500 to 1000: ${titleOf(name)}`, ...spread(fresh[name].map(({ early }) => early)) }))
    ]
  },
  print: (rows) => table(rows, {
    step: ({ step }) => step,
    ms: ({ median }) => median.toFixed(1),
    'least to greatest': ({ least, greatest }) => `${least.toFixed(1)} to ${greatest.toFixed(1)}`
  })
}
