/**
 * The benchmark. `npm run bench` runs all of it; `-- quick` takes about four minutes; `-- guard` fails when the plugin is
 * grossly slower than it was; names of sections run only those; `profile` leaves CPU profiles in .build/bench.
 * `-- ab <commit>` runs this version beside another.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, platform, release } from 'node:os'
import { parseArgs } from 'node:util'
import { createAb, OtherVersion } from './ab.js'
import { writeCharts } from './charts.js'
import { memory, onDevice } from './on-device.js'
import { outbox } from './outbox.js'
import { plans, guard } from './plans.js'
import { Processes } from './processes.js'
import { start, swap } from './lifecycle.js'
import { afterIdle, bursts, edgeNetworkPage, handler, onDevicePage, saturated, slowEdge } from './under-load.js'
import { variants } from './variants.js'

const sections = { start, 'on-device': onDevice, memory, swap, saturated, 'after-idle': afterIdle, handler, 'slow-edge': slowEdge, bursts, 'on-device-page': onDevicePage, 'edge-network-page': edgeNetworkPage, variants, outbox }
const root = new URL('../../', import.meta.url)

const { positionals: words } = parseArgs({ allowPositionals: true })
const ab = words.indexOf('ab')
if (ab >= 0) {
  const other = new OtherVersion(words.splice(ab + 1, 1)[0] ?? 'HEAD')
  process.on('exit', () => other.remove())
  sections.ab = createAb(other)
}
const unknown = words.filter((word) => !(word in plans) && !(word in sections) && word !== 'profile')
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}\nusage: npm run bench -- [${Object.keys(plans).join(' | ')}] [profile] [${Object.keys(sections).join('] [')}] [ab <commit>]`)
  process.exit(2)
}
const mode = words.find((word) => word in plans) ?? 'full'
const plan = plans[mode]
const wanted = words.filter((word) => word in sections)
const names = wanted.length > 0 ? wanted : plan.sections ?? Object.keys(sections)
const complete = mode === 'full' && ab < 0 && names.length === Object.keys(sections).length

// What a whole full run finds is for the repository; anything less is not.
const directory = new URL(complete ? 'docs/bench/' : '.build/bench/', root)
mkdirSync(directory, { recursive: true })

const processes = new Processes(words.includes('profile') ? new URL('.build/bench/', root).pathname : undefined)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    processes.killAll()
    // As if there had been no handler.
    process.kill(process.pid, signal)
  })
}

/** One line that is written over, on a terminal; nothing where there is none. */
const step = (text) => { if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`) }

try {
  await Promise.race([run(), processes.failure])
} catch (error) {
  step('')
  console.error(error)
  processes.killAll()
  process.exit(1)
}

async function run () {
  const began = performance.now()
  const expected = names.map((name) => sections[name].seconds(plan))
  const total = expected.reduce((sum, seconds) => sum + seconds, 0)
  console.log(`${names.length} sections, about ${duration(total)}`)

  const edge = await processes.start('edge.js')
  const load = await processes.start('load.js')
  const report = { mode, date: new Date().toISOString(), machine: machine(load.hello.tool), sections: {} }
  for (const [index, name] of names.entries()) {
    const section = sections[name]
    const left = expected.slice(index).reduce((sum, seconds) => sum + seconds, 0)
    console.log(`\n${name} (${index + 1} of ${names.length}, about ${duration(left)} left)`)
    const rows = await section.run({ plan, processes, edge, load, step: (text) => step(`${name}: ${text}`) })
    step('')
    report.sections[name] = rows
    console.log(`${section.title}\n\n${section.print(rows)}`)
  }
  report.seconds = Math.round((performance.now() - began) / 1000)

  writeFileSync(new URL(`${complete ? 'results' : mode}.json`, directory), `${JSON.stringify(report, rounded, 2)}\n`)
  const charts = writeCharts(report, directory)
  await Promise.all([edge.stop(), load.stop()])
  const { machine: { cpu, cores, node, tool } } = report
  console.log(`\n${duration(report.seconds)} on ${cores} × ${cpu}, Node ${node}, ${tool}. Written: ${[`${complete ? 'results' : mode}.json`, ...charts].join(', ')} in ${directory.pathname.slice(root.pathname.length)}`)
  if (mode === 'guard') checkGuard(report)
}

function checkGuard (report) {
  const failures = guard(report.sections)
  for (const failure of failures) console.error(`FAILED: ${failure}`)
  if (failures.length > 0) process.exitCode = 1
  else console.log('The guard is content.')
}

function machine (tool) {
  const versionOf = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, root), 'utf8')).version
  const packages = ['fastify', 'undici', '@adobe/target-nodejs-sdk', '@adobe/target-decisioning-engine', '@growthbook/growthbook', 'autocannon']
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    system: `${platform()} ${release()}`,
    node: process.versions.node,
    tool: tool === 'wrk' ? 'wrk for rates, autocannon for latencies' : 'autocannon',
    versions: Object.fromEntries(packages.map((name) => [name, versionOf(name)]))
  }
}

function duration (seconds) {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`
}

/** Four digits say all that a benchmark knows. */
function rounded (key, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
}
