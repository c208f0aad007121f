/** The timeline: the page's own work, and Target's call in parallel. */
import type { TargetTiming } from 'fastify-adobe-target'
import { html, type Html } from './html.ts'

/** Milliseconds since the request arrived. */
export interface Timeline {
  /** The request to the product service was sent. */
  asked: number
  /** The products had arrived. */
  listed: number
  /** The offers had arrived too. */
  answered: number
  /** `request.target.timing` */
  target: TargetTiming
}

const width = 860
const labels = 190
const rowHeight = 46
const top = 34

export function timelineSvg ({ asked, listed, answered, target }: Timeline): Html {
  const started = target.started ?? 0
  const duration = target.duration ?? answered - started
  const end = Math.max(answered, started + duration) * 1.08
  const step = [5, 10, 20, 50, 100, 250, 500].find((size) => end / size <= 10) ?? 1000
  const ticks = Array.from({ length: Math.floor(end / step) + 1 }, (_, position) => position * step)
  const x = (time: number) => round(labels + time / end * (width - labels - 10))
  const height = top + 3 * rowHeight + 8

  const bar = (row: number, label: string, kind: string, from: number, length: number) => {
    const y = top + row * rowHeight
    const barWidth = round(Math.max(2, x(from + length) - x(from)))
    const caption = `${length.toFixed(1)} ms`
    // If a bar is too short for its caption, the caption goes next to it, on the side with room.
    const fits = barWidth > 70
    const left = !fits && x(from) + barWidth + 80 > width
    return html`
  <text class="label" x="0" y="${y + 24}">${label}</text>
  <rect class="bar bar--${kind}" x="${x(from)}" y="${y + 6}" width="${barWidth}" height="28" rx="${Math.min(5, barWidth / 2)}"/>
  <text class="caption${fits ? '' : ' caption--beside'}" x="${fits ? x(from) + 12 : left ? x(from) - 8 : x(from) + barWidth + 8}" y="${y + 25}"${left ? html` text-anchor="end"` : ''}>${caption}</text>`
  }

  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Products took ${(listed - asked).toFixed(1)} ms, Target's call ${duration.toFixed(1)} ms in parallel; Target delayed the page by ${target.waited.toFixed(1)} ms">
  <text class="tick" x="0" y="14">ms since the request arrived</text>
  ${ticks.map((time) => html`<line class="grid" x1="${x(time)}" x2="${x(time)}" y1="${top - 8}" y2="${height}"/><text class="tick" x="${x(time)}" y="14" text-anchor="middle">${time}</text>`)}
  ${bar(0, 'The page’s own work', 'page', asked, listed - asked)}
  ${bar(1, 'Target’s call', 'target', started, duration)}
  ${bar(2, 'Target delayed the page', 'held', listed, target.waited)}
</svg>`
}

/** The same for a phone: each label above its bar. */
export function compactTimelineSvg ({ asked, listed, answered, target }: Timeline): Html {
  const started = target.started ?? 0
  const duration = target.duration ?? answered - started
  const end = Math.max(answered, started + duration)
  const x = (time: number) => round(time / end * 340)
  const rows = [['The page’s own work', 'page', asked, listed - asked], ['Target’s call', 'target', started, duration], ['Target delayed the page', 'held', listed, target.waited]] as const
  return html`<svg class="compact" viewBox="0 0 340 ${rows.length * 52}" role="img" aria-label="Target delayed the page by ${target.waited.toFixed(1)} ms">${rows.map(([label, kind, from, length], row) => html`
  <text class="label" x="0" y="${row * 52 + 16}">${label}: ${length.toFixed(1)} ms</text>
  <rect class="bar bar--${kind}" x="${Math.min(337, x(from))}" y="${row * 52 + 24}" width="${Math.max(3, round(x(from + length) - x(from)))}" height="16" rx="3"/>`)}
</svg>`
}

const round = (value: number) => Math.round(value * 10) / 10
