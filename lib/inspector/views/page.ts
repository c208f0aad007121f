/** One page: what its visitor got and why, the timeline, and the calls to Target. */
import type { ClientDetails } from '../../client/client.ts'
import type { Catalog } from '../catalog.ts'
import { asCurl, asJson, asTest } from '../copy.ts'
import { html, ms, type Html } from '../html.ts'
import { faultsOf, nameOf, visitorOf, type RecordedOffer, type RecordedPage } from '../record.ts'
import type { Redaction } from '../redact.ts'
import { reasonsOf, type Reason } from '../why.ts'
import { chip, copyable } from './layout.ts'
import { overrideForm } from './overrides.ts'
import { kindOf } from './pages.ts'
import { timelineView } from './timeline.ts'
import { rulesView, verdict } from './why.ts'

export function pageView (base: string, page: RecordedPage, details: ClientDetails, catalog: Catalog, redaction: Redaction): Html {
  const reasons = reasonsOf(page, details)
  const faults = faultsOf(page)
  const visitor = visitorOf(page)
  const unasked = reasons.filter(({ kind, name }) => !page.offers.some((offer) => isOf(offer, kind, name)))
  return html`
<p><a href="${base}">All pages</a></p>
<h1>${page.method} ${page.route ?? '(no route)'}</h1>
<p class="url">${redaction.url(page.url)}</p>
${faults.length > 0 && html`<p class="problem" role="note">Problems: ${faults.join(', ')}</p>`}
${page.overrides.length > 0 && html`<p class="notice" role="note">Overridden for this browser: ${page.overrides.join('; ')}. Nothing was counted.</p>`}
<dl class="facts">
<div><dt>Delayed the page</dt><dd>${ms(page.timing.waited)}</dd></div>
<div><dt>Target took</dt><dd>${ms(page.timing.duration)}</dd></div>
<div><dt>Page sent after</dt><dd>${ms(page.elapsed)}</dd></div>
<div><dt>Status</dt><dd>${page.statusCode}</dd></div>
<div><dt>Visitor</dt><dd><code>${visitor === undefined ? 'not known' : redaction.pseudonym(visitor)}</code></dd></div>
<div><dt>Time</dt><dd>${new Date(page.at).toISOString().replace('T', ' ').slice(0, 23)} UTC</dd></div>
<div class="wide"><dt>Browser</dt><dd>${page.userAgent || 'not named'}</dd></div>
</dl>
<nav class="local" aria-label="On this page"><a href="#offers">Offers, and why</a><a href="#timeline">Timeline</a><a href="#calls">Calls</a><a href="#cookies">Cookies</a><a href="#notifications">Notifications</a><a href="#copy">Copy</a></nav>

<section id="offers" aria-labelledby="offers-title"><h2 id="offers-title">Offers, and why</h2>
${page.offers.length === 0 && unasked.length === 0 && html`<p class="empty">The page requested nothing.</p>`}
${page.offers.map((offer) => offerView(base, page, offer, reasons.find(({ kind, name }) => isOf(offer, kind, name)), catalog))}
${unasked.map((reason) => html`<article class="offer"><h3>${reason.kind === 'page load' ? 'page load' : `${reason.kind} ${reason.name}`} ${chip('not read by the handler')}</h3><p class="verdict">${verdict(reason)}</p>${details_('Every rule', rulesView(reason))}</article>`)}
</section>

<section id="timeline" aria-labelledby="timeline-title"><h2 id="timeline-title">Timeline</h2>${timelineView(page)}</section>

<section id="calls" aria-labelledby="calls-title"><h2 id="calls-title">Calls</h2>
${page.calls.length === 0 && html`<p class="empty">None.</p>`}
${page.calls.map((call) => html`<article class="call">
<h3>${call.mboxes.length > 0 ? call.mboxes.join(', ') : 'page load and views'} ${call.error === undefined ? chip(call.source ?? 'not answered yet', call.source === undefined ? 'plain' : 'good') : chip(call.error.code, 'bad')}</h3>
${call.error !== undefined && html`<p class="problem">${call.error.message}</p>`}
${call.work.map((one) => html`
<p class="hint">${one.kind === 'decision' ? 'Decided in memory.' : `${one.method ?? 'POST'} ${one.host ?? ''}${one.path ?? ''}${one.status === undefined ? '' : `, status ${one.status}`}, ${one.attempts ?? 0} ${one.attempts === 1 ? 'attempt' : 'attempts'}${one.reused === undefined ? '' : one.reused ? ', on an open connection' : ', on a new connection'}`}</p>
<details><summary>Request</summary><pre tabindex="0">${JSON.stringify(redaction.message(one.request), null, 2)}</pre></details>
${one.response === undefined ? html`<p class="hint">${one.cut ? 'The response is too large to be kept.' : 'There was no response.'}</p>` : html`<details><summary>Response</summary><pre tabindex="0">${JSON.stringify(redaction.message(one.response), null, 2)}</pre></details>`}`)}
</article>`)}
</section>

<section id="cookies" aria-labelledby="cookies-title"><h2 id="cookies-title">Cookies</h2>
<dl class="facts"><div><dt>In</dt><dd>${page.cookiesIn.join(', ') || 'none of Target’s'}</dd></div><div><dt>Out</dt><dd>${page.cookiesOut.join(', ') || 'none'}</dd></div></dl>
</section>

<section id="notifications" aria-labelledby="notifications-title"><h2 id="notifications-title">Notifications</h2>
${page.notifications.length === 0
    ? html`<p class="empty">None${page.overrides.length > 0 && ': nothing is counted with overrides'}.</p>`
    : html`<table class="plain"><thead><tr><th>Notification</th><th>State</th><th>Time</th></tr></thead><tbody>${page.notifications.map(({ id, what, state, at, error }) => html`<tr><td>${what ?? 'not sent yet'}<span class="url">${id}</span></td><td>${chip(state, state === 'sent' ? 'good' : state === 'queued' ? 'plain' : 'bad')} ${error}</td><td>${new Date(at).toISOString().slice(11, 23)}</td></tr>`)}</tbody></table>`}
</section>

<section id="copy" aria-labelledby="copy-title"><h2 id="copy-title">Copy</h2>
<p class="hint">Visitors are pseudonyms, and IP addresses are left out.</p>
${copyable('copy-curl', 'As curl', asCurl(page, details, redaction) || '# this page made no call')}
${copyable('copy-test', 'As a test with the testing kit', asTest(page, details, redaction))}
${copyable('copy-json', 'As JSON', JSON.stringify(asJson(page, redaction), null, 2))}
<p><a href="${base}/api/pages/${page.id}">JSON of this page</a></p>
</section>`
}

const isOf = ({ mbox, view, pageLoad }: RecordedOffer, kind: Reason['kind'], name: string) =>
  kind === 'mbox' ? mbox === name : kind === 'view' ? view === name : pageLoad === true

const details_ = (summary: string, content: Html): Html | undefined => content.toString().trim() === '' ? undefined : html`<details><summary>${summary}</summary>${content}</details>`

function offerView (base: string, page: RecordedPage, offer: RecordedOffer, reason: Reason | undefined, catalog: Catalog): Html {
  const { activity, experience, type, source, error, waited } = offer
  const tokens = offer.mbox === undefined ? undefined : tokensOf(page, offer.mbox)
  const isOverridden = offer.reason === 'overridden'
  return html`<article class="offer">
<h3>${nameOf(offer)} ${chip(offer.reason, kindOf(offer.reason))} ${experience !== undefined && html`<strong>${experience.name ?? `experience ${experience.id}`}</strong>`}</h3>
<p class="verdict">${isOverridden ? 'Forced for this browser; Target’s own decision does not count.' : error !== undefined ? error.message : reason === undefined ? offer.reason === 'not-requested' ? 'It was not requested.' : '' : verdict(reason)}</p>
<dl class="facts">
<div><dt>Activity</dt><dd>${activity === undefined ? '–' : activity.name ?? activity.id}${activity?.name !== undefined && html` <span class="hint">(${activity.id})</span>`}</dd></div>
<div><dt>Experience</dt><dd>${experience === undefined ? '–' : experience.name ?? experience.id}${experience?.name !== undefined && html` <span class="hint">(${experience.id})</span>`}</dd></div>
<div><dt>Source</dt><dd>${source}</dd></div><div><dt>Type</dt><dd>${type ?? 'fallback'}</dd></div><div><dt>Handler waited</dt><dd>${ms(waited)}</dd></div>
</dl>
${reason !== undefined && !isOverridden && details_('Every rule, in order', rulesView(reason))}
${tokens !== undefined && html`<details><summary>Response tokens</summary><table class="plain"><tbody>${Object.entries(tokens).map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${typeof value === 'string' ? value : JSON.stringify(value)}</td></tr>`)}</tbody></table></details>`}
${offer.mbox !== undefined && html`<details><summary>Override it for this browser</summary>${overrideForm(base, offer.mbox, catalog.experiences(offer.mbox), `${base}/pages/${page.id}`)}</details>`}
</article>`
}

function tokensOf ({ calls }: RecordedPage, mbox: string): object | undefined {
  for (const { work } of calls) {
    for (const { response } of work) {
      for (const { name, options } of [...response?.execute?.mboxes ?? [], ...response?.prefetch?.mboxes ?? []]) {
        const tokens = name === mbox ? options?.find(({ responseTokens }) => responseTokens !== undefined)?.responseTokens : undefined
        if (tokens !== undefined) return tokens
      }
    }
  }
}
