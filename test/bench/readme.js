// Writes the last full run, docs/bench/results.json, into README, between its two marks.
import { readFileSync, writeFileSync } from 'node:fs'
import { start, swap } from './lifecycle.js'
import { memory, onDevice } from './on-device.js'
import { bursts, handler, onDevicePage, saturated, slowEdge } from './under-load.js'

const MARKS = ['<!-- bench -->', '<!-- /bench -->']
/** In the order of the page. */
const SHOWN = { handler, 'slow-edge': slowEdge, bursts, saturated, 'on-device': onDevice, 'on-device-page': onDevicePage, memory, swap, start }
const CHARTS = {
  handler: ['added-latency.svg', 'Time that Target adds to a page, at 1, 20 and 100 visitors at a time'],
  'on-device': ['decision-time.svg', 'Time of an on-device decision by the size of the artifact']
}

/** README with a run's report in it. */
export function withBench (readme, { date, seconds, machine: { cpu, cores, system, node, tool, versions }, sections }) {
  const [start, end] = MARKS.map((mark) => readme.indexOf(mark))
  const parts = [
    `One run of \`npm run bench\` (${Math.round(seconds / 60)} min; \`npm run bench -- quick\` takes about one), ${date.slice(0, 10)}, on ${cores} × ${cpu}, ${system}, Node.js ${node}; ${tool}. ` +
    `${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ')}. ` +
    'Compare within a run: absolute figures move from machine to machine.'
  ]
  for (const [name, { title, print }] of Object.entries(SHOWN)) {
    if (sections[name] === undefined) continue
    parts.push(`**${title}**`)
    if (name in CHARTS) parts.push(`![${CHARTS[name][1]}](docs/bench/${CHARTS[name][0]})`)
    parts.push(`<details><summary>The table</summary>\n\n${print(sections[name])}\n\n</details>`)
  }
  return `${readme.slice(0, start)}${MARKS[0]}\n\n${parts.join('\n\n')}\n\n${readme.slice(end)}`
}

if (process.argv[1] === import.meta.filename) {
  const readme = new URL('../../README.md', import.meta.url)
  const report = JSON.parse(readFileSync(new URL('../../docs/bench/results.json', import.meta.url), 'utf8'))
  writeFileSync(readme, withBench(readFileSync(readme, 'utf8'), report))
}
