/** The timeline of a page. */
import { html, ms, type Html } from '../html.ts'
import { nameOf, type RecordedPage } from '../record.ts'

interface Segment { kind: string, from: number, to: number }
interface Row { label: string, segments: Segment[], text: string }

/** Units of the drawing's width. */
const WIDTH = 1000

/** All times in ms from the request's arrival. */
export function timelineView (page: RecordedPage): Html {
  const rows = rowsOf(page)
  const end = Math.max(page.elapsed, ...rows.flatMap(({ segments }) => segments.map(({ to }) => to))) * 1.02
  const x = (time: number) => (time / end * WIDTH).toFixed(1)
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000].find((size) => end / size <= 6) ?? end
  const ticks = Array.from({ length: Math.floor(end / step) + 1 }, (_, position) => position * step)
  return html`<div class="timeline">
<div class="row row--axis"><span>0 to ${ms(end / 1.02)}</span><svg aria-hidden="true" viewBox="0 0 ${WIDTH} 20" preserveAspectRatio="none" class="axis">${ticks.map((time) => html`<line x1="${x(time)}" x2="${x(time)}" y1="12" y2="20"/>`)}</svg><span>a mark every ${step} ms</span></div>
${rows.map(({ label, segments, text }) => html`<div class="row"><span class="label">${label}</span>
<svg viewBox="0 0 ${WIDTH} 20" preserveAspectRatio="none" role="img" aria-label="${label}: ${text}">
${ticks.map((time) => html`<line class="grid" x1="${x(time)}" x2="${x(time)}" y1="0" y2="20"/>`)}
${segments.map(({ kind, from, to }) => html`<rect class="seg seg--${kind}" x="${x(from)}" y="3" width="${Math.max(3, Number(x(to)) - Number(x(from))).toFixed(1)}" height="14"/>`)}
</svg><span class="time">${text}</span></div>`)}
</div>
<p class="legend"><span class="key key--queue"></span>queued and connecting <span class="key key--wait"></span>waiting for the first byte <span class="key key--body"></span>receiving <span class="key key--ask"></span>the handler waits for an offer <span class="key key--page"></span>the page</p>`
}

function rowsOf (page: RecordedPage): Row[] {
  const rows: Row[] = [{ label: 'Page', segments: [{ kind: 'page', from: 0, to: page.elapsed }], text: `arrived at 0, sent at ${ms(page.elapsed)}` }]
  for (const { started, mboxes, work } of page.calls) {
    const name = mboxes.length === 0 ? 'Call' : `Call for ${mboxes.slice(0, 3).join(', ')}${mboxes.length > 3 ? ', …' : ''}`
    rows.push({ label: 'Hook', segments: [{ kind: 'mark', from: started, to: started }], text: `started the call at ${ms(started)}` })
    for (const one of work) {
      const from = one.startedAt - page.arrivedAt
      if (one.kind === 'decision') {
        rows.push({ label: 'On-device decision', segments: [{ kind: 'body', from, to: from + one.elapsed }], text: `${(one.elapsed * 1000).toFixed(0)} µs at ${ms(from)}` })
        continue
      }
      const { connected, firstByte, elapsed } = one
      const to = from + (elapsed ?? Math.max(0, page.elapsed - from))
      const segments = [
        { kind: 'queue', from, to: from + (connected ?? firstByte ?? elapsed ?? 0) },
        ...connected === undefined ? [] : [{ kind: one.error === undefined ? 'wait' : 'error', from: from + connected, to: firstByte === undefined ? to : from + firstByte }],
        ...firstByte === undefined ? [] : [{ kind: 'body', from: from + firstByte, to }]
      ]
      const steps = [`start ${ms(from)}`, connected !== undefined && `connected ${ms(from + connected)}`, firstByte !== undefined && `first byte ${ms(from + firstByte)}`, elapsed === undefined ? 'still running' : `${one.error === undefined ? 'answer' : one.error.code} ${ms(to)}`]
      rows.push({ label: name, segments, text: steps.filter((step) => step !== false).join(', ') })
    }
  }
  for (const offer of page.offers) {
    rows.push({
      label: `Read: ${nameOf(offer)}`,
      segments: [{ kind: 'ask', from: offer.asked, to: offer.asked + offer.waited }],
      text: `read at ${ms(offer.asked)}, ${offer.waited < 0.5 ? 'no wait' : `waited ${ms(offer.waited)}`}`
    })
  }
  return rows
}
