/** The list of pages. */
import { html, ms, type Html } from '../html.ts'
import { faultsOf, nameOf, visitorOf, type RecordedPage } from '../record.ts'
import type { Redaction } from '../redact.ts'
import { chip } from './layout.ts'

/** The filter of the list. */
export interface PageFilter {
  /** In address, route, mbox, activity, experience or visitor. */
  text: string
  reason: string
  faultsOnly: boolean
}

export function readFilter (query: Record<string, unknown>): PageFilter {
  const text = (name: string) => typeof query[name] === 'string' ? query[name].slice(0, 200) : ''
  return { text: text('q'), reason: text('reason'), faultsOnly: text('faults') !== '' }
}

export function matches (page: RecordedPage, { text, reason, faultsOnly }: PageFilter, redaction: Redaction): boolean {
  if (faultsOnly && faultsOf(page).length === 0) return false
  if (reason !== '' && !page.offers.some((offer) => offer.reason === reason)) return false
  if (text === '') return true
  const visitor = visitorOf(page)
  const haystack = [
    page.method, page.url, page.route ?? '', visitor === undefined ? '' : redaction.pseudonym(visitor),
    ...page.offers.flatMap((offer) => [nameOf(offer), offer.activity?.name ?? '', offer.experience?.name ?? ''])
  ]
  return haystack.join('\n').toLowerCase().includes(text.toLowerCase())
}

export function pagesView (base: string, pages: RecordedPage[], filter: PageFilter, redaction: Redaction, kept: { count: number, most: number }): Html {
  const reasons = [...new Set(pages.flatMap(({ offers }) => offers.map(({ reason }) => reason)))].sort()
  const shown = pages.filter((page) => matches(page, filter, redaction))
  const query = new URLSearchParams({ ...filter.text !== '' && { q: filter.text }, ...filter.reason !== '' && { reason: filter.reason }, ...filter.faultsOnly && { faults: '1' } }).toString()
  return html`
<div class="head"><h1>Pages</h1>
<p class="live" data-live="${base}/events?view=pages${query !== '' && `&${query}`}"><span data-live-state role="status">${kept.count} pages so far</span> <button type="button" class="plain" data-pause hidden aria-pressed="false">Pause</button></p></div>
<form class="filters" method="get" action="${base}" role="search">
  <label>Contains <input name="q" type="search" value="${filter.text}" placeholder="route, mbox, experience, visitor"></label>
  <label>Reason <select name="reason"><option value="">any</option>${[...new Set([...reasons, ...filter.reason === '' ? [] : [filter.reason]])].map((reason) => html`<option${reason === filter.reason && html` selected`}>${reason}</option>`)}</select></label>
  <label class="check"><input name="faults" type="checkbox" value="1"${filter.faultsOnly && html` checked`}> Faults only</label>
  <button>Filter</button>
</form>
<table class="pages">
<thead><tr><th>Time</th><th>Page</th><th>Offers</th><th>Visitor</th><th class="number">Target took</th><th class="number">Delayed the page</th></tr></thead>
<tbody id="pages" data-most="${kept.most}">${shown.map((page) => pageRow(base, page, redaction))}</tbody>
</table>
<p class="empty"${shown.length > 0 && html` hidden`}>${pages.length === 0 ? 'No page has used Target yet. Open a page of your app, and it will appear here.' : 'No page matches.'}</p>`
}

export function pageRow (base: string, page: RecordedPage, redaction: Redaction): Html {
  const faults = faultsOf(page)
  const visitor = visitorOf(page)
  const isSlow = page.timing.waited >= 50
  return html`<tr${faults.length > 0 && html` class="fault"`}>
<td data-label="Time"><time datetime="${new Date(page.at).toISOString()}">${clock(page.at)}</time></td>
<td data-label="Page"><a href="${base}/pages/${page.id}">${page.method} ${page.route ?? '(no route)'}</a><span class="url">${redaction.url(page.url)}</span>${faults.length > 0 && html`<span class="faults">${faults.join(', ')}</span>`}</td>
<td data-label="Offers">${page.overrides.length > 0 && chip('overridden', 'override')} ${page.offers.map((offer) => html`${chip(`${nameOf(offer)}: ${offer.experience?.name ?? offer.reason}`, kindOf(offer.reason))} `)}</td>
<td data-label="Visitor"><code>${visitor === undefined ? '–' : redaction.pseudonym(visitor)}</code></td>
<td data-label="Target took" class="number">${ms(page.timing.duration)}</td>
<td data-label="Delayed the page" class="number${isSlow && ' slow'}">${ms(page.timing.waited)}</td>
</tr>`
}

export const kindOf = (reason: string) => reason === 'matched' ? 'good' : reason === 'overridden' ? 'override' : ['no-offer', 'not-requested', 'opted-out'].includes(reason) ? 'plain' : 'bad'

export const clock = (at: number) => new Date(at).toISOString().slice(11, 23)
