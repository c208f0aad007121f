/**
 * Converts fixed offers to rules of the artifact, so that they behave like real offers, at the edge and on-device.
 */
import { createHash } from 'node:crypto'
import type { ArtifactRule } from '../../decisioning/artifact-schema.ts'
import { compileAnswers } from '../../decisioning/answers.ts'
import { failure } from '../../errors.ts'
import type { FixedOffer } from './offer-input.ts'
import type { Location } from './place.ts'

/** The name of an experience by its position, as Target's own default: Experience A, B, … */
const experienceName = (position: number): string =>
  `Experience ${position < 26 ? String.fromCharCode(65 + position) : position + 1}`

/** An activity id for a place: always the same, and longer than Target's own. */
function activityIdOf ({ kind, name }: Location): number {
  return 1e9 + createHash('sha256').update(`${kind}/${name}`).digest().readUInt32BE() % 1e9
}

const conditionOf = ({ when }: FixedOffer): unknown =>
  when.length === 0 ? true : { and: when.map(([name, value]) => ({ '==': [{ var: `mbox.${name}` }, value] })) }

const unless = (guards: unknown[], condition: unknown): unknown =>
  guards.length === 0 ? condition : { and: [...guards.map((guard) => ({ '!': [guard] })), condition] }

function ruleOf ({ location: { kind, name }, experience, option }: FixedOffer, condition: unknown, isPage: boolean): ArtifactRule {
  const activity = activityIdOf({ kind, name })
  return {
    ruleKey: `${activity}`,
    activityId: activity,
    meta: {
      'activity.id': activity,
      'activity.name': name,
      'activity.type': 'landing',
      'experience.id': experience,
      'experience.name': experienceName(experience),
      'location.id': 0,
      'location.name': name,
      'location.type': isPage ? 'view' : 'mbox',
      'offer.id': activity * 10 + experience,
      'offer.name': `${name} ${experienceName(experience)}`,
      'option.id': experience + 2,
      'option.name': `Offer${experience + 2}`
    },
    condition,
    consequence: { name, options: [option!], metrics: [{ type: 'click' }] }
  } as ArtifactRule
}

/** @throws FST_TARGET_INVALID_OPTIONS if the engine cannot compile this offer */
export function checkCompiles (offer: FixedOffer): void {
  if (offer.option === null) return
  try {
    compileAnswers(ruleOf(offer, true, false), new Set())
  } catch (cause) {
    throw failure('FST_TARGET_INVALID_OPTIONS', `edge.offer(): \`content\` cannot be used: ${(cause as Error).message}`, { cause })
  }
}

/** The part of an artifact that is read and changed here. */
interface Artifact {
  rules?: Partial<Record<Location['kind'], Record<string, Array<{ condition?: unknown }>>>>
  localMboxes?: string[]
  localViews?: string[]
  remoteMboxes?: string[]
  remoteViews?: string[]
}

/**
 * Adds fixed offers to an artifact, each before those that it wins over, and all before the artifact's own rules: a rule matches
 * only if none before it does, whichever activities they belong to.
 *
 * @param artifact not changed
 * @param offers those with conditions first, later ones before earlier ones
 * @param remote places that need the edge
 */
export function withFixedOffers (artifact: object, offers: readonly FixedOffer[], remote: readonly Location[], globalMbox: string): object {
  const { rules, ...rest } = artifact as Artifact
  const result: Artifact = { ...rest }
  result.rules = { ...rules }
  for (const kind of ['mboxes', 'views'] as const) {
    const [localList, remoteList] = kind === 'mboxes' ? ['localMboxes', 'remoteMboxes'] as const : ['localViews', 'remoteViews'] as const
    const names = new Set(offers.filter(({ location }) => location.kind === kind).map(({ location }) => location.name))
    const remoteNames = remote.filter((location) => location.kind === kind).map(({ name }) => name)
    const local = new Set(rest[localList])
    const needed = new Set(rest[remoteList])
    const own = new Map(Object.entries(rules?.[kind] ?? {}))
    for (const name of names) {
      const guards: unknown[] = []
      const list: object[] = []
      for (const offer of offers.filter(({ location }) => location.kind === kind && location.name === name)) {
        const condition = conditionOf(offer)
        if (offer.option !== null) list.push(ruleOf(offer, unless(guards, condition), kind === 'views' || name === globalMbox))
        guards.push(condition)
      }
      const always = guards.includes(true)
      if (always) needed.delete(name)
      local.add(name)
      const others = own.get(name)
      // Anything but a list is left for the engine to refuse.
      if (others !== undefined && !Array.isArray(others)) continue
      own.set(name, always ? list : [...list, ...(others ?? []).map((rule) => ({ ...rule, condition: unless(guards, rule.condition) }))])
    }
    for (const name of remoteNames) {
      needed.add(name)
      local.delete(name)
    }
    result.rules[kind] = Object.fromEntries(own)
    result[localList] = [...local]
    result[remoteList] = [...needed]
  }
  return result
}
