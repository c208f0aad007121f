/** The health of the client, with small charts of its last minute. */
import type { ClientDetails } from '../../client/client.ts'
import type { TargetHealth } from '../../client/health.ts'
import type { Catalog } from '../catalog.ts'
import { html, ms, type Html } from '../html.ts'
import type { Sample } from '../samples.ts'
import { chip } from './layout.ts'

export const clientView = (base: string, content: Html): Html => html`<div class="head"><h1>Client</h1>
<p class="live" data-live="${base}/events?view=client"><span data-live-state role="status">not live</span> <button type="button" class="plain" data-pause hidden aria-pressed="false">Pause</button></p></div>
<div id="client">${content}</div>`

/** The part that changes every second. */
export function clientState (base: string, health: TargetHealth, details: ClientDetails, catalog: Catalog, samples: readonly Sample[]): Html {
  const { status, breaker, pool, outbox, artifact } = health
  const activities = catalog.activities
  const rules = [...details.artifact?.mboxes.values() ?? [], ...details.artifact?.views.values() ?? []].reduce((sum, list) => sum + list.length, 0)
  return html`
<p class="status">${chip(status, status === 'ok' ? 'good' : 'bad')} Client <code>${details.client}</code>, decisions ${details.decisioningMethod}</p>
<div class="charts">
${chart('Pages per second', samples.map(({ pages }) => pages), String)}
${chart('Longest delay of a page', samples.map(({ waited }) => waited), ms)}
${chart('Longest call', samples.map(({ duration }) => duration), ms)}
${chart('Running calls', samples.map(({ running }) => running), String)}
${chart('Waiting calls', samples.map(({ waiting }) => waiting), String)}
${chart('Waiting notifications', samples.map(({ pending }) => pending), String)}
</div>
<section><h2>Hosts</h2>
${Object.keys(pool).length === 0 && html`<p class="empty">No host has been called yet.</p>`}
${Object.entries(pool).map(([host, { running, waiting, stragglers, sockets }]) => html`<article class="offer"><h3>${host} ${breaker[host] !== undefined && chip(`breaker ${breaker[host].state}`, breaker[host].state === 'closed' ? 'good' : 'bad')}</h3>
<dl class="facts"><div><dt>Running</dt><dd>${running}</dd></div><div><dt>Waiting</dt><dd>${waiting}</dd></div><div><dt>Past their deadline</dt><dd>${stragglers}</dd></div><div><dt>Connections</dt><dd>${sockets}</dd></div></dl></article>`)}
</section>
<section><h2>Outbox</h2>
<dl class="facts"><div><dt>Accepted</dt><dd>${outbox.accepted}</dd></div><div><dt>Waiting</dt><dd>${outbox.pending}</dd></div><div><dt>Sent</dt><dd>${outbox.sent}</dd></div><div><dt>Failed</dt><dd>${outbox.failed}</dd></div><div><dt>Dropped</dt><dd>${outbox.dropped}</dd></div><div><dt>Survives the process</dt><dd>${outbox.durable ? 'yes' : 'no'}</dd></div></dl>
</section>
<section><h2>Rule artifact</h2>
${artifact === undefined
    ? html`<p class="empty">None is loaded: the edge decides. Register the inspector with <code>artifact: true</code> to explain its decisions by the rules.</p>`
    : html`<dl class="facts"><div><dt>State</dt><dd>${chip(artifact.state, artifact.state === 'ready' ? 'good' : 'bad')}</dd></div><div><dt>Format</dt><dd>${artifact.version ?? '–'}</dd></div><div><dt>Confirmed</dt><dd>${artifact.age === undefined ? '–' : `${Math.round(artifact.age / 1000)} s ago`}</dd></div><div><dt>Activities</dt><dd><a href="${base}/activities">${activities.length}</a></dd></div><div><dt>Rules</dt><dd>${rules}</dd></div><div><dt>Made</dt><dd>${text(details.artifact?.meta.generatedAt) || '–'}</dd></div></dl>
${artifact.error !== undefined && html`<p class="problem">${artifact.error}</p>`}`}
</section>`
}

const text = (value: unknown) => typeof value === 'string' ? value : ''

/** The last minute of one number. */
function chart (label: string, values: readonly number[], show: (value: number) => string): Html {
  const most = Math.max(1, ...values)
  const points = values.map((value, index) => `${(100 - (values.length - 1 - index) * 100 / 59).toFixed(1)},${(29 - value / most * 27).toFixed(1)}`)
  const last = values.at(-1)
  return html`<figure class="chart"><figcaption>${label} <b>${last === undefined ? '–' : show(last)}</b></figcaption>
<svg viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label="${label}, last minute: now ${last === undefined ? 'not known' : show(last)}, at most ${show(Math.max(0, ...values))}">
${points.length > 1 && html`<polygon class="area" points="${points[0]!.split(',')[0]},30 ${points.join(' ')} 100,30"/><polyline class="line" points="${points.join(' ')}"/>`}
</svg></figure>`
}
