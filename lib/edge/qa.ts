/**
 * Activity QA at the local edge: links, their tokens, and what they pin.
 *
 * A token names a list of activities, as Target's do, and is the same after a restart of the edge. Where a rule artifact lacks
 * information, this edge assumes:
 *
 * - A pinned experience is shown whatever the visitor's allocation, and if any audience is evaluated as true, whatever its
 *   conditions: a rule does not say which part of its condition is which audience.
 * - A rule that lists an audience (`audience.ids` of its meta) that is evaluated as false never matches.
 * - The order of experiences is that of the artifact's rules; activities keep their priority.
 */
import { createHash } from 'node:crypto'
import type { CompiledArtifact, CompiledRule } from '../decisioning/compile.ts'
import { compileCondition } from '../decisioning/conditions.ts'
import type { QAMode } from '../schema/index.ts'
import { failure } from '../errors.ts'
import { copyCondition, isAllocation } from './condition-tree.ts'

/** The contents of a QA link. */
export interface QaLink {
  /** Ids of the activities, in the order of `previewIndexes`. */
  activities: readonly (number | string)[]
  /** Pinned experiences; both count from 1. Without an experience the activity decides. Default: none. */
  previewIndexes?: readonly { activityIndex: number, experienceIndex?: number }[]
  /** Whether no other activity runs. Default `false`. */
  listedActivitiesOnly?: boolean
  /** Audiences treated as matching. */
  evaluateAsTrueAudienceIds?: readonly number[]
  /** Audiences treated as not matching. */
  evaluateAsFalseAudienceIds?: readonly number[]
}

/** QA mode of one edge. */
export class Qa {
  readonly #client: string
  readonly #artifact: () => CompiledArtifact | undefined

  /** @param artifact the current one; undefined until the edge is ready */
  constructor (client: string, artifact: () => CompiledArtifact | undefined) {
    this.#client = client
    this.#artifact = artifact
  }

  /**
   * Makes a link.
   *
   * @param url absolute or relative
   * @throws FST_TARGET_INVALID_OPTIONS if the artifact has no such activity
   */
  link (url: string, link: QaLink): string {
    const activities = link.activities.map(String)
    const unknown = this.#unknown(activities)
    if (activities.length === 0 || unknown !== undefined) {
      throw failure('FST_TARGET_INVALID_OPTIONS', unknown === undefined ? 'edge.qaLink(): `activities` must be a list of at least one activity id' : `edge.qaLink(): unknown activity ${unknown}`)
    }
    const query = new URLSearchParams({ at_preview_token: this.#token(activities) })
    for (const { activityIndex, experienceIndex } of link.previewIndexes ?? []) {
      query.append('at_preview_index', experienceIndex === undefined ? `${activityIndex}` : `${activityIndex}_${experienceIndex}`)
    }
    if (link.listedActivitiesOnly === true) query.append('at_preview_listed_activities_only', 'true')
    if (link.evaluateAsTrueAudienceIds?.length) query.append('at_preview_evaluate_as_true_audience_ids', link.evaluateAsTrueAudienceIds.join('_'))
    if (link.evaluateAsFalseAudienceIds?.length) query.append('at_preview_evaluate_as_false_audience_ids', link.evaluateAsFalseAudienceIds.join('_'))
    const [address = '', ...fragment] = url.split('#')
    return [`${address}${address.includes('?') ? '&' : '?'}${query}`, ...fragment].join('#')
  }

  /** Why QA mode is refused, as a sentence for its sender; undefined if it is not. */
  refusal ({ token }: QAMode = {}): string | undefined {
    if (token === undefined) return undefined
    const activities = this.#activities(token)
    return activities === undefined || this.#unknown(activities) !== undefined ? 'qaMode.token is not valid' : undefined
  }

  /** The artifact as seen in a QA mode that was not refused. */
  apply (artifact: CompiledArtifact, qaMode: QAMode | undefined): CompiledArtifact {
    if (qaMode?.token === undefined) return artifact
    const view = new QaView(artifact, qaMode, this.#activities(qaMode.token) ?? [])
    const seen = (rules: CompiledArtifact['mboxes']) => new Map([...rules].map(([location, list]) => [location, list.flatMap((rule) => view.see(rule) ?? [])]))
    return { ...artifact, mboxes: seen(artifact.mboxes), views: seen(artifact.views) }
  }

  #unknown (activities: readonly string[]): string | undefined {
    const artifact = this.#artifact()
    if (artifact === undefined) return undefined
    const known = new Set([...rulesOf(artifact)].map(({ activity }) => activity.id))
    return activities.find((id) => !known.has(id))
  }

  /** The list, and a digest that distinguishes it from other edges' tokens. Not secret. */
  #token (activities: readonly string[]): string {
    const list = Buffer.from(JSON.stringify(activities)).toString('base64url')
    return `${list}.${createHash('sha256').update(JSON.stringify(['qa', this.#client, activities])).digest('base64url').slice(0, 22)}`
  }

  #activities (token: string): string[] | undefined {
    try {
      const activities: unknown = JSON.parse(Buffer.from(token.split('.', 1)[0]!, 'base64url').toString())
      return Array.isArray(activities) && activities.every((id) => typeof id === 'string') && token === this.#token(activities) ? activities : undefined
    } catch {
      return undefined
    }
  }
}

function * rulesOf ({ mboxes, views }: CompiledArtifact): Generator<CompiledRule> {
  for (const rules of mboxes.values()) yield * rules
  for (const rules of views.values()) yield * rules
}

const experienceOf = ({ source }: CompiledRule) => String(source.meta['experience.id'])

/** The rules of an artifact as seen by one request in QA mode. */
class QaView {
  readonly #qaMode: QAMode
  readonly #listed: ReadonlySet<string>
  /** Pinned experience by activity. */
  readonly #pinned = new Map<string, string>()

  constructor (artifact: CompiledArtifact, qaMode: QAMode, activities: readonly string[]) {
    this.#qaMode = qaMode
    this.#listed = new Set(activities)
    for (const { activityIndex = 0, experienceIndex = 0 } of qaMode.previewIndexes ?? []) {
      const activity = activities[activityIndex - 1]
      const experiences = [...new Set([...rulesOf(artifact)].filter((rule) => rule.activity.id === activity).map(experienceOf))]
      // An index out of bounds is ignored, an experience out of bounds leaves the choice to the activity.
      const experience = experiences[experienceIndex - 1]
      if (activity !== undefined && experience !== undefined) this.#pinned.set(activity, experience)
    }
  }

  see (rule: CompiledRule): CompiledRule | undefined {
    const { listedActivitiesOnly, evaluateAsTrueAudienceIds = [], evaluateAsFalseAudienceIds = [] } = this.#qaMode
    if (listedActivitiesOnly === true && !this.#listed.has(rule.activity.id)) return undefined
    if (rule.source.meta['audience.ids']?.some((id) => evaluateAsFalseAudienceIds.includes(Number(id)))) return undefined
    const pinned = this.#pinned.get(rule.activity.id)
    if (pinned === undefined) return rule
    if (pinned !== experienceOf(rule)) return undefined
    if (evaluateAsTrueAudienceIds.length > 0) return { ...rule, matches: () => true }
    return {
      ...rule,
      matches: (facts) => {
        try {
          return Boolean(compileCondition(withoutAllocation(rule.source.condition))(facts))
        } catch {
          return false
        }
      }
    }
  }
}

/** A condition in which every comparison with the allocation holds. */
const withoutAllocation = (condition: unknown): unknown => copyCondition(condition, (operation) => {
  const compares = Object.entries(operation).some(([name, operands]) => COMPARISONS.includes(name) && Array.isArray(operands) && operands.some(isAllocation))
  return compares ? true : undefined
})

const COMPARISONS = ['<', '<=', '>', '>=', '==', '===', '!=', '!==']
