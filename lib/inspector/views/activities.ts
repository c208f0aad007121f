/** The contents of the rule artifact. */
import type { Activity, Catalog } from '../catalog.ts'
import { html, type Html } from '../html.ts'
import { chip } from './layout.ts'

const TYPES: Record<string, string> = { ab: 'A/B test', landing: 'Experience targeting', mvt: 'Multivariate test' }

export function activitiesView (base: string, { activities, mboxes }: Catalog, hasArtifact: boolean): Html {
  return html`<h1>Activities</h1>
${!hasArtifact && html`<p class="empty">The client has no rule artifact: the edge decides, and it does not list its activities. Register the inspector with <code>artifact: true</code> to load it.</p>`}
${hasArtifact && html`<p class="hint">The activities of the rule artifact, which can be decided on-device.</p>`}
${activities.map((activity) => activityView(base, activity, mboxes))}`
}

function activityView (base: string, { id, name, type, locations, experiences }: Activity, known: string[]): Html {
  // The page load is no mbox of its own.
  const mboxes = locations.filter(({ kind, name }) => kind === 'mbox' && known.includes(name))
  return html`<article class="offer">
<h2>${name || `Activity ${id}`} ${chip(TYPES[type] ?? type)} <span class="hint">${id}</span></h2>
<p>At ${locations.map(({ kind, name }) => html`${kind} <code>${name}</code> `)}</p>
<table class="plain experiences"><thead><tr><th>Experience</th><th>Visitors</th><th>Audience</th><th>Schedule</th><th>Try it</th></tr></thead>
<tbody>${experiences.map((experience) => html`<tr><td data-label="Experience"><strong>${experience.name || experience.id}</strong><span class="url">${experience.offers.join(', ')}</span></td><td data-label="Visitors">${experience.share}</td><td data-label="Audience">${experience.audience}</td><td data-label="Schedule">${experience.schedule}</td>
<td data-label="Try it">${mboxes.map(({ name }) => html`<form method="post" action="${base}/overrides"><input type="hidden" name="mbox" value="${name}"><input type="hidden" name="back" value="${base}/overrides"><button name="value" value="experience:${id}/${experience.id}">Force at ${name}</button></form>`)}</td></tr>`)}</tbody></table>
</article>`
}
