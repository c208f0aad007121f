/**
 * The experiences that can be forced: those of the rule artifact, and those that the edge has returned recently. Also the
 * activities of the artifact, in words.
 */
import type { CompiledArtifact, CompiledRule } from '../decisioning/compile.ts'
import { conditionText, describeCondition, type Words } from '../decisioning/words.ts'
import type { DeliveryResponse, Option } from '../schema/index.ts'
import { sizeOf } from './record.ts'

/** An experience of an activity, at one mbox. */
export interface Experience {
  activity: { id: string, name: string }
  id: string
  name: string
  /** A to Z by its place among the experiences of the mbox. */
  letter: string
  /** What the mbox shows. */
  options: Option[]
}

/** An activity of the artifact. */
export interface Activity {
  id: string
  name: string
  type: string
  locations: Array<{ kind: 'mbox' | 'view', name: string }>
  experiences: Array<{ id: string, name: string, offers: string[], share: string, audience: string, schedule: string }>
}

const MAX_MBOXES = 100
const MAX_EXPERIENCES = 50
const MAX_OPTIONS = 64 * 1024

const text = (value: unknown) => value === undefined || value === null ? '' : String(value)

export class Catalog {
  readonly #artifact: () => CompiledArtifact | undefined
  /** By mbox, then by activity and experience; the oldest first. */
  readonly #seen = new Map<string, Map<string, Omit<Experience, 'letter'>>>()

  constructor (artifact: () => CompiledArtifact | undefined) {
    this.#artifact = artifact
  }

  /** Remembers the experiences in a response. Only response tokens identify them. */
  learn ({ execute, prefetch }: DeliveryResponse): void {
    for (const { name, options } of [...execute?.mboxes ?? [], ...prefetch?.mboxes ?? []]) {
      const tokens = options?.[0]?.responseTokens as Record<string, unknown> | undefined
      if (name === undefined || tokens === undefined || tokens['experience.id'] === undefined) continue
      const key = `${text(tokens['activity.id'])}/${text(tokens['experience.id'])}`
      const known = this.#seen.get(name)
      if (known?.has(key) === true || sizeOf(options, MAX_OPTIONS) === Infinity) continue
      const experiences = known ?? new Map()
      experiences.set(key, {
        activity: { id: text(tokens['activity.id']), name: text(tokens['activity.name']) },
        id: text(tokens['experience.id']),
        name: text(tokens['experience.name']),
        options: options!.map(({ eventToken, ...option }) => option)
      })
      if (experiences.size > MAX_EXPERIENCES) experiences.delete(experiences.keys().next().value!)
      this.#seen.set(name, experiences)
      if (this.#seen.size > MAX_MBOXES) this.#seen.delete(this.#seen.keys().next().value!)
    }
  }

  /** Names of the mboxes that have experiences. */
  get mboxes (): string[] {
    const artifact = this.#artifact()
    const names = [...artifact?.mboxes.keys() ?? []].filter((name) => name !== artifact?.globalMbox)
    return [...new Set([...names, ...this.#seen.keys()])]
  }

  /** The experiences of an mbox: of the artifact in order of its rules, then others that were seen. */
  experiences (mbox: string): Experience[] {
    const found = new Map<string, Omit<Experience, 'letter'>>()
    for (const rule of this.#artifact()?.mboxes.get(mbox) ?? []) {
      const { meta } = rule.source
      const key = `${rule.activity.id}/${text(meta['experience.id'])}`
      if (found.has(key)) continue
      const options = rule.answers.prefetch({ name: mbox }, undefined).options.map(({ eventToken, ...option }) => option)
      found.set(key, { activity: { id: rule.activity.id, name: text(meta['activity.name']) }, id: text(meta['experience.id']), name: text(meta['experience.name']), options })
    }
    // An experience that was seen may belong to that visitor only; its rule is unknown here.
    for (const [key, experience] of [...this.#seen.get(mbox) ?? []].sort(([one], [other]) => one < other ? -1 : 1)) if (!found.has(key)) found.set(key, experience)
    return [...found.values()].map((experience, index) => ({ ...experience, letter: index < 26 ? String.fromCharCode(65 + index) : '' }))
  }

  /** The experience that a developer means: by name, by id, as `activity/experience`, or by letter. */
  find (mbox: string, wanted: string): Experience | undefined {
    const experiences = this.experiences(mbox)
    const lower = wanted.toLowerCase()
    return experiences.find(({ activity, id }) => `${activity.id}/${id}` === wanted) ??
      experiences.find(({ name }) => name === wanted) ??
      experiences.find(({ name }) => name.toLowerCase() === lower || name.toLowerCase() === `experience ${lower}`) ??
      experiences.find(({ letter }) => letter !== '' && letter === wanted.toUpperCase()) ??
      experiences.find(({ id }) => id === wanted)
  }

  /** What the artifact holds. */
  get activities (): Activity[] {
    const artifact = this.#artifact()
    const activities = new Map<string, Activity>()
    for (const kind of ['mbox', 'view'] as const) {
      for (const [name, rules] of artifact?.[kind === 'mbox' ? 'mboxes' : 'views'] ?? []) for (const rule of rules) addRule(activities, kind, name, rule)
    }
    return [...activities.values()]
  }
}

function addRule (activities: Map<string, Activity>, kind: 'mbox' | 'view', location: string, { activity: { id }, source: { meta, condition } }: CompiledRule): void {
  let activity = activities.get(id)
  if (activity === undefined) activities.set(id, activity = { id, name: text(meta['activity.name']), type: text(meta['activity.type']), locations: [], experiences: [] })
  if (!activity.locations.some((one) => one.kind === kind && one.name === location)) activity.locations.push({ kind, name: location })
  const experience = { id: text(meta['experience.id']), name: text(meta['experience.name']) }
  const offer = text(meta['offer.name'] ?? meta['offer.id'])
  const known = activity.experiences.find((one) => one.id === experience.id)
  if (known === undefined) activity.experiences.push({ ...experience, offers: offer === '' ? [] : [offer], ...partsOf(describeCondition(condition)) })
  else if (offer !== '' && !known.offers.includes(offer)) known.offers.push(offer)
}

/** A condition, split by question: how many, who, when. */
function partsOf (words: Words): { share: string, audience: string, schedule: string } {
  const parts = words.kind === 'all' ? words.parts.flatMap((part) => part.kind === 'all' ? part.parts : [part]) : [words]
  const share = parts.find((part) => part.kind === 'allocation')
  const isTime = (part: Words): boolean => part.kind === 'test' ? /^current_/.test(part.fact ?? '') : part.kind !== 'allocation' && part.parts.every(isTime)
  const schedule = parts.filter(isTime)
  const audience = parts.filter((part) => part !== share && !isTime(part) && conditionText(part) !== 'everyone')
  return {
    share: share === undefined ? 'all of them' : `${share.to - share.from} % (bucket ${share.from} to ${share.to})`,
    audience: audience.length === 0 ? 'everyone' : audience.map(conditionText).join(', and '),
    schedule: schedule.length === 0 ? 'always' : schedule.map(conditionText).join(', and ')
  }
}
