/** The picture of the dashboard in the docs: its panels, drawn from what Prometheus answers to their queries. */
import type { Series } from '../support/prometheus.ts'

export interface Panel {
  type: string
  title: string
  gridPos: { x: number, y: number, w: number, h: number }
  fieldConfig: { defaults: { unit: string } }
  targets: { expr: string, legendFormat: string }[]
}

/** A line, with the name in its legend. */
export interface Line { name: string, values: [time: number, value: number][] }

const COLOURS = ['#73bf69', '#f2cc0c', '#8ab8ff', '#ff780a', '#f2495c', '#b877d9', '#5794f2', '#37872d']
const UNIT = 50
const GAP = 4

const escape = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** `{{route}}` of a legend, from a series' labels. */
export const nameOf = (legend: string, { metric }: Series) => legend.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? '')

function format (value: number, unit: string): string {
  if (unit === 'percentunit') return `${(value * 100).toFixed(1)} %`
  if (unit === 's') return value < 0.001 ? `${(value * 1e6).toFixed(0)} µs` : value < 1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(1)} s`
  const text = value >= 100 ? value.toFixed(0) : String(Number(value.toFixed(1)))
  return unit === 'short' ? text : `${text}/s`
}

function drawPanel ({ type, title, gridPos: { x, y, w, h }, fieldConfig: { defaults: { unit } } }: Panel, lines: Line[], from: number, to: number): string {
  const [width, height] = [w * UNIT - GAP, h * UNIT * 0.6 - GAP]
  const frame = `<g transform="translate(${x * UNIT} ${y * UNIT * 0.6 + 34})"><rect width="${width}" height="${height}" rx="3" fill="#181b1f" stroke="#2c3235"/><text x="10" y="19" font-size="13" fill="#d8d9da">${escape(title)}</text>`
  const finite = lines.map(({ name, values }) => ({ name, values: values.filter(([, value]) => Number.isFinite(value)) })).filter(({ values }) => values.length > 0)
  if (type === 'stat') {
    const last = finite[0]?.values.at(-1)?.[1]
    return `${frame}<text x="${width / 2}" y="${height / 2 + 24}" font-size="34" text-anchor="middle" fill="#73bf69">${last === undefined ? '–' : format(last, unit)}</text></g>`
  }
  const max = Math.max(1e-9, ...finite.flatMap(({ values }) => values.map(([, value]) => value))) * 1.1
  const [left, top, right, bottom] = [62, 34, width - 12, height - 34]
  const at = ([time, value]: [number, number]) => `${(left + (time - from) / (to - from) * (right - left)).toFixed(0)} ${(bottom - value / max * (bottom - top)).toFixed(0)}`
  const grid = [0, 0.5, 1].map((part) => {
    const height = bottom - part * (bottom - top)
    return `<path d="M${left} ${height}H${right}" stroke="#2c3235"/><text x="${left - 6}" y="${height + 4}" font-size="10" text-anchor="end" fill="#8e8e8e">${format(max * part, unit)}</text>`
  }).join('')
  const drawn = finite.slice(0, COLOURS.length)
  const paths = drawn.map(({ values }, index) => `<path d="M${values.map(at).join('L')}" fill="none" stroke="${COLOURS[index]}" stroke-width="1.5"/>`).join('')
  let place = 10
  const legend = drawn.map(({ name }, index) => {
    const entry = `<text x="${place}" y="${height - 10}" font-size="10" fill="${COLOURS[index]}">${escape(name)}</text>`
    place += name.length * 5.6 + 14
    return place < width + 30 ? entry : ''
  }).join('')
  return frame + grid + paths + legend + '</g>'
}

/** The dashboard as an SVG. */
export function drawDashboard (title: string, panels: { panel: Panel, lines: Line[] }[], from: number, to: number): string {
  const height = Math.max(...panels.map(({ panel: { gridPos: { y, h } } }) => (y + h) * UNIT * 0.6)) + 38
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${24 * UNIT + 8} ${height}" font-family="Inter, Helvetica, Arial, sans-serif"><rect width="100%" height="100%" fill="#111217"/>` +
    `<g transform="translate(4 0)"><text x="4" y="23" font-size="17" fill="#d8d9da">${escape(title)}</text>${panels.map(({ panel, lines }) => drawPanel(panel, lines, from, to)).join('\n')}</g></svg>\n`
}
