/** Rule artifacts: Adobe's own, out of its engine's package, and generated ones of any size. */
import { readFileSync } from 'node:fs'

/** The artifact with the global mbox of 87 rules that Adobe's engine ships for its tests. */
export const shippedArtifact = () => JSON.parse(readFileSync(
  new URL('../../node_modules/@adobe/target-decisioning-engine/test/schema/artifact.json', import.meta.url), 'utf8'
))

/** Name of the mbox that is asked for in generated artifacts. */
export const ASKED = 'mbox-0'

/**
 * An artifact of `mboxes` mboxes with `rulesEach` rules. The last two rules of an mbox split all visitors in two; those
 * before are for visitors of another page, so asking for one mbox judges all of its rules.
 *
 * @param {{ mboxes: number, rulesEach: number, contentSize?: number }} shape `contentSize`: characters of html a rule
 */
export function generateArtifact ({ mboxes, rulesEach, contentSize = 200 }) {
  const names = Array.from({ length: mboxes }, (_, i) => `mbox-${i}`)
  return {
    version: '1.0.0',
    meta: { clientCode: 'benchclient', environment: 'production', generatedAt: '2026-01-01T00:00:00.000Z' },
    globalMbox: 'target-global-mbox',
    geoTargetingEnabled: false,
    responseTokens: ['activity.id', 'activity.name', 'experience.id', 'experience.name', 'offer.id', 'option.id'],
    remoteMboxes: [],
    remoteViews: [],
    localMboxes: names,
    localViews: [],
    rules: {
      mboxes: Object.fromEntries(names.map((name, i) => [name, Array.from({ length: rulesEach }, (_, j) => rule(name, i, j, rulesEach, contentSize))])),
      views: {}
    }
  }
}

function rule (name, mbox, position, rulesEach, contentSize) {
  const fromEnd = rulesEach - 1 - position
  const elsewhere = fromEnd > 1
  const activity = 100_000 + mbox * 1000 + (elsewhere ? position : 999)
  const experience = elsewhere ? 0 : 1 - fromEnd
  const [low, high] = elsewhere ? [0, 100] : experience === 0 ? [0, 50] : [50, 100]
  const allocated = [{ '<=': [low, { var: 'allocation' }] }, { '>': [high, { var: 'allocation' }] }]
  const title = `<h2>${name}, experience ${experience}</h2>`
  return {
    ruleKey: String(activity),
    activityId: activity,
    meta: {
      'activity.id': activity,
      'activity.name': `Activity ${activity}`,
      'activity.type': 'ab',
      'experience.id': experience,
      'experience.name': `Experience ${experience}`,
      'location.name': name,
      'location.type': 'mbox',
      'location.id': mbox,
      'audience.ids': [],
      'offer.id': 200_000 + position,
      'offer.name': `/offers/${activity}/${experience}`,
      'option.id': 2 + experience,
      'option.name': `Offer ${experience}`
    },
    condition: { and: elsewhere ? [...allocated, { in: [`/campaign-${position}/`, { var: 'page.path_lc' }] }] : allocated },
    consequence: {
      name,
      options: [{ type: 'html', eventToken: `token-${activity}-${experience}`, content: title + 'x'.repeat(Math.max(0, contentSize - title.length)) }],
      metrics: []
    }
  }
}
