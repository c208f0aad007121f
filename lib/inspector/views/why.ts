/** Why an mbox has its offer. */
import type { ExplainedCondition, ExplainedRule } from '../../decisioning/explain.ts'
import { html, type Html } from '../html.ts'
import type { Reason } from '../why.ts'

/** The answer in one sentence. */
export function verdict ({ explanation, source, missing, trace }: Reason): string {
  if (explanation === undefined) return trace !== undefined && trace.matched.length > 0 ? `Target's trace: ${trace.matched.join('; ')}.` : missing ?? ''
  const matched = explanation.rules.filter(({ outcome }) => outcome === 'matched')
  if (matched.length > 0) return matched.map(({ reason }) => reason).join(' ')
  if (explanation.decidedBy === 'unknown') return 'No activity of the rule artifact uses it.'
  if (explanation.decidedBy === 'remote') return 'It needs the edge: the artifact lists it as remote.'
  return `No rule matched, so there is no offer. ${source === 'edge' ? 'The edge may know more activities than the artifact.' : ''}`
}

export function rulesView ({ explanation, version, source, trace }: Reason): Html {
  return html`
${explanation !== undefined && explanation.rules.length > 0 && html`<p class="hint">${source === 'edge' ? 'The edge decided. These are the rules of the artifact in force here' : 'Decided here by the rule artifact'} (format ${version ?? '?'}), in order; the first that matches counts.</p>
<ol class="rules">${explanation.rules.map(ruleView)}</ol>`}
${trace !== undefined && html`<h4>Target's trace</h4>
${trace.matched.length > 0 && html`<p>Matched: ${trace.matched.join('; ')}.</p>`}
${trace.evaluated.map(({ activity, met, unmet }) => html`<p>Activity ${activity}:</p><ul class="plainlist">${met.map((condition) => html`<li class="yes">${condition}</li>`)}${unmet.map((condition) => html`<li class="no">${condition}</li>`)}</ul>`)}
<details><summary>The whole trace</summary><pre tabindex="0">${JSON.stringify(trace.raw, null, 2)}</pre></details>`}`
}

const MARKS: Record<ExplainedRule['outcome'], string> = { matched: '✓', 'not-matched': '✗', 'not-reached': '–', 'other-property': '–' }

function ruleView ({ outcome, experience, activity, offer, reason, condition, bucket, share }: ExplainedRule): Html {
  return html`<li class="rule rule--${outcome}">
<p><span class="outcome" aria-hidden="true">${MARKS[outcome]}</span> <strong>${experience.name || `experience ${experience.id}`}</strong> of ${activity.name || `activity ${activity.id}`}${offer.name !== '' && html`, offer ${offer.name}`}</p>
<p>${reason}</p>
${share !== undefined && bucketView(bucket, share)}
${outcome !== 'other-property' && html`<details><summary>Conditions</summary><ul class="conditions">${conditionView(condition)}</ul></details>`}
</li>`
}

function bucketView (bucket: number, { from, to }: { from: number, to: number }): Html {
  return html`<svg class="bucket" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="Bucket ${bucket} of 100; this experience has ${from} to ${to}"><rect class="all" width="100" height="6"/><rect class="share" x="${from}" width="${to - from}" height="6"/><rect class="place" x="${Math.max(0, bucket - 0.4)}" width="0.8" height="6"/></svg>`
}

const JOINS = { all: 'All of these:', any: 'One of these:', not: 'Not:' }

function conditionView ({ text, satisfied, actual, join, parts }: ExplainedCondition): Html {
  const state = satisfied ? 'yes' : 'no'
  if (join === undefined || parts === undefined) return html`<li class="${state}">${text}${actual !== undefined && html` <span class="actual">here: ${actual}</span>`}</li>`
  return html`<li class="${state}">${JOINS[join]}<ul class="conditions">${parts.map(conditionView)}</ul></li>`
}
