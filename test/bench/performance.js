// Writes the last full run, docs/bench/results.json, into docs/performance.md and README, between their marks, and draws its charts.
import { readFileSync, writeFileSync } from 'node:fs'
import { writeCharts } from './charts.js'
import { start, swap } from './lifecycle.js'
import { memory, onDevice } from './on-device.js'
import { outbox } from './outbox.js'
import { afterIdle, bursts, edgeNetworkPage, handler, onDevicePage, saturated, slowEdge } from './under-load.js'
import { variants } from './variants.js'

const MARKS = ['<!-- bench -->', '<!-- /bench -->']
/** In the order of the page. */
const SHOWN = { handler, 'slow-edge': slowEdge, bursts, saturated, 'after-idle': afterIdle, 'on-device': onDevice, 'on-device-page': onDevicePage, 'edge-network-page': edgeNetworkPage, variants, outbox, memory, swap, start }
const CHARTS = {
  handler: ['added-latency.svg', 'Time that Target adds to a page, at 1, 20 and 100 visitors at a time'],
  'on-device': ['decision-time.svg', 'Time of an on-device decision by the size of the artifact']
}

/** A document with other text between its marks. */
function between (page, text) {
  const [start, end] = MARKS.map((mark) => page.indexOf(mark))
  return `${page.slice(0, start)}${MARKS[0]}\n\n${text}\n\n${page.slice(end)}`
}

const image = (name, folder) => `![${CHARTS[name][1]}](${folder}${CHARTS[name][0]})`

/** docs/performance.md with every table of a run's report in it. */
export function withBench (page, { date, seconds, machine: { cpu, cores, system, node, tool, versions }, sections }) {
  const parts = [
    `One run of \`npm run bench\` (${Math.round(seconds / 60)} min; \`npm run bench -- quick\` takes four), ${date.slice(0, 10)}, on ${cores} × ${cpu}, ${system}, Node.js ${node}; ${tool}. ` +
    `${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ')}. ` +
    'Compare within a run: absolute figures vary from machine to machine.'
  ]
  for (const [name, { title, print }] of Object.entries(SHOWN)) {
    if (sections[name] === undefined) continue
    parts.push(`## ${title}`)
    if (name in CHARTS) parts.push(image(name, 'bench/'))
    parts.push(print(sections[name]))
  }
  return between(page, parts.join('\n\n'))
}

/** README with one chart and one sentence of a run's report in it. */
export function withSummary (page, { sections }) {
  const added = (contender) => sections.handler.find((row) => row.contender === contender && row.connections === 1).p50Added.median
  const ms = (contender, digits) => `${added(contender).toFixed(digits).replace('-', '−')} ms`
  return between(page, [
    image('handler', 'docs/bench/'),
    `For one visitor at a time, Target adds ${ms('plugin', 1)} to the median page. A hand-written undici call adds ${ms('hand-written', 1)}, ` +
    `and Adobe's Node SDK\n${ms('sdk-early', 1)} if its call is started early and ${ms('sdk-awaited', 0)} if it is awaited first.`
  ].join('\n\n'))
}

if (process.argv[1] === import.meta.filename) {
  const root = new URL('../../', import.meta.url)
  const report = JSON.parse(readFileSync(new URL('docs/bench/results.json', root), 'utf8'))
  for (const [name, write] of [['docs/performance.md', withBench], ['README.md', withSummary]]) {
    writeFileSync(new URL(name, root), write(readFileSync(new URL(name, root), 'utf8'), report))
  }
  writeCharts(report, new URL('docs/bench/', root))
}
