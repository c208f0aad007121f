/** Charts as SVG, drawn from a run's JSON. They carry their own colours for light and dark. */
import { writeFileSync } from 'node:fs'
import { contenders, edgeContenders } from './contenders.js'

const WIDTH = 800
const PANEL = { top: 96, height: 230, gap: 70, left: 62, right: 24 }

/** Light and dark, told apart without red and green. */
const COLOURS = [['#0b57d0', '#8ab4f8'], ['#c2410c', '#fdba74'], ['#6b7280', '#9ca3af'], ['#7e22ce', '#d8b4fe']]

/** A series sets `color` and nothing else, so that dark mode changes its colour and never what is filled. */
const style = `
  .card { fill: #ffffff; stroke: #d0d7de } text { font: 12px system-ui, sans-serif; fill: #57606a } .title { font-size: 16px; font-weight: 600; fill: #1f2328 }
  .grid { stroke: #e3e6ea } ${COLOURS.map(([light], i) => `.s${i} { color: ${light} }`).join(' ')}
  .line { fill: none; stroke: currentColor; stroke-width: 2.5 } .point { fill: currentColor }
  .value { font-size: 11px; fill: currentColor; stroke: #ffffff; stroke-width: 3; paint-order: stroke }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #30363d } text { fill: #9da7b3 } .title { fill: #f0f6fc } .grid { stroke: #262c36 }
    ${COLOURS.map(([, dark], i) => `.s${i} { color: ${dark} }`).join(' ')} .value { fill: currentColor; stroke: #0d1117 }
  }`

/** Writes the charts whose sections are in the report; returns their file names. */
export function writeCharts ({ sections }, directory) {
  const charts = {
    'added-latency.svg': sections.handler && addedLatency(sections.handler),
    'decision-time.svg': sections['on-device'] && decisionTime(sections['on-device'])
  }
  const written = Object.entries(charts).filter(([, svg]) => svg !== undefined)
  for (const [name, svg] of written) writeFileSync(new URL(name, directory), svg)
  return written.map(([name]) => name)
}

function addedLatency (rows) {
  const connections = [...new Set(rows.map((row) => row.connections))]
  if (connections.length < 2) return undefined
  // What is drawn last lies on top: the plugin.
  const names = ['plugin', ...edgeContenders.filter((name) => name !== 'no-target' && name !== 'bare-undici' && name !== 'plugin')]
  const panel = (percentile) => ({
    title: percentile,
    series: names.map((name) => connections.map((count) =>
      rows.find((row) => row.contender === name && row.connections === count)[`${percentile}Added`].median))
  })
  return chart({
    title: 'Time that Target adds to a page, ms',
    subtitle: 'Handler 40 ms, edge 30 ms; compared with the same app without Target. Logarithmic; 0.1 ms or less is drawn on the base line.',
    names: names.map((name) => contenders[name].title),
    panels: [panel('p50'), panel('p99')],
    ticks: connections.map(String),
    axis: 'visitors at a time',
    least: 0.1,
    digits: 1
  })
}

function decisionTime (rows) {
  const panels = []
  for (const [grows, title] of [['mboxes', 'rules in the artifact, two per mbox'], ['rules', 'rules of the requested mbox']]) {
    const sizes = rows.filter((row) => row.grows === grows)
    if (sizes.length > 1) {
      panels.push({ title, ticks: sizes.map(({ rules }) => rules.toLocaleString('en')), series: ['plugin', 'sdk'].map((name) => sizes.map((row) => row[name].median)) })
    }
  }
  if (panels.length === 0) return undefined
  return chart({
    title: 'Time of an on-device decision, µs',
    subtitle: 'A whole getOffers for one mbox, by artifact size. Logarithmic.',
    names: ['fastify-adobe-target', 'Adobe Node SDK'],
    panels,
    axis: '',
    least: 1,
    digits: 0
  })
}

/** Lines over a few sizes, one panel beside the other, with one logarithmic scale. */
function chart ({ title, subtitle, names, panels, ticks, axis, least, digits }) {
  const greatest = Math.max(...panels.flatMap(({ series }) => series.flat()), least * 10)
  const decades = Math.ceil(Math.log10(greatest / least))
  const y = (value) => PANEL.top + PANEL.height * (1 - Math.log10(Math.max(value, least) / least) / decades)
  const width = (WIDTH - PANEL.left - PANEL.right - PANEL.gap * (panels.length - 1)) / panels.length
  const height = PANEL.top + PANEL.height + 58
  const parts = [
    text(20, 30, title, 'class="title"'),
    text(20, 50, subtitle),
    ...legend(names)
  ]
  for (const [place, panel] of panels.entries()) {
    const left = PANEL.left + place * (width + PANEL.gap)
    const labels = panel.ticks ?? ticks
    const x = (index) => left + width * (index + 0.5) / labels.length
    for (let decade = 0; decade <= decades; decade++) {
      const value = least * 10 ** decade
      parts.push(`<line class="grid" x1="${left}" x2="${left + width}" y1="${y(value)}" y2="${y(value)}"/>`)
      parts.push(text(left - 8, y(value) + 4, Number(value.toPrecision(1)).toLocaleString('en'), 'text-anchor="end"'))
    }
    for (const [index, label] of labels.entries()) parts.push(text(x(index), PANEL.top + PANEL.height + 20, label, 'text-anchor="middle"'))
    const caption = axis === '' ? panel.title : `${panel.title}, by ${axis}`
    parts.push(text(left + width / 2, PANEL.top + PANEL.height + 42, caption, 'text-anchor="middle"'))
    for (const [number, values] of [...panel.series.entries()].reverse()) {
      parts.push(`<polyline class="line s${number}" points="${values.map((value, index) => `${round(x(index))},${round(y(value))}`).join(' ')}"/>`)
      for (const [index, value] of values.entries()) {
        parts.push(`<circle class="point s${number}" cx="${round(x(index))}" cy="${round(y(value))}" r="3.5"><title>${escape(names[number])}: ${value.toFixed(digits)}</title></circle>`)
      }
    }
    parts.push(...valueLabels(panel.series, x, y, digits))
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escape(title)}">
<style>${style}
</style>
<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
${parts.join('\n')}
</svg>
`
}

/** Values beside their points, moved up where they would lie on one another. */
function valueLabels (series, x, y, digits) {
  const labels = []
  for (const index of series[0].keys()) {
    let lowest = Infinity
    const points = series.map((values, number) => ({ number, value: values[index] })).sort((a, b) => a.value - b.value)
    for (const { number, value } of points) {
      const place = Math.min(y(value) - 3, lowest - 12)
      lowest = place
      labels.push(text(x(index) + 8, place, value.toFixed(digits).replace('-', '−'), `class="value s${number}"`))
    }
  }
  return labels
}

function legend (names) {
  let left = 20
  return names.flatMap((name, number) => {
    const at = left
    left += 30 + name.length * 6.2
    return [`<circle class="point s${number}" cx="${at + 5}" cy="70" r="5"/>`, text(at + 15, 74, name)]
  })
}

const round = (value) => Math.round(value * 10) / 10
const escape = (value) => String(value).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
const text = (x, y, content, attributes = '') => `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escape(content)}</text>`
