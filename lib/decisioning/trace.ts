/**
 * The trace of a decision: the request, the rules and facts that were evaluated, and the result.
 *
 * It has the shape of `@adobe/target-decisioning-engine` 1.9.3. Each answer carries the trace up to that point.
 */
import type { Notification, RequestDetails, TraceResponse, VisitorId } from '../schema/index.ts'
import type { CompiledArtifact, CompiledRule } from './compile.ts'
import type { Activity, Facts } from './facts.ts'

/** Contents of a trace that the caller supplies. */
export interface TraceSettings {
  /** The visitor's session. */
  sessionId?: string
  /** Origin and age of the artifact: `ArtifactKeeper`'s `trace`. */
  artifact?: Record<string, unknown>
}

interface Campaign {
  id: unknown
  campaignType: unknown
  branchId: unknown
  offers: unknown[]
  environment: unknown
  notifications?: Notification[]
}

interface EvaluatedTarget {
  context: Record<string, unknown>
  campaignId: unknown
  campaignType: unknown
  matchedSegmentIds: Set<unknown>
  unmatchedSegmentIds: Set<unknown>
  matchedRuleConditions: unknown[]
  unmatchedRuleConditions: unknown[]
}

/** Collects the trace of one mode, `execute` or `prefetch`. */
export class Tracer {
  readonly #artifact: CompiledArtifact
  readonly #client: string
  readonly #settings: TraceSettings
  readonly #id: VisitorId
  readonly #campaigns = new Map<Activity, Campaign>()
  readonly #targets = new Map<Activity, EvaluatedTarget>()
  #request: Record<string, unknown> = {}

  constructor (artifact: CompiledArtifact, client: string, id: VisitorId, settings: TraceSettings) {
    this.#artifact = artifact
    this.#client = client
    this.#id = id
    this.#settings = settings
  }

  /** To be called before an mbox, the page load (as the global mbox) or a view is decided. */
  asked (mode: 'execute' | 'prefetch', kind: 'mbox' | 'view', details: RequestDetails, facts: Facts): void {
    const { url, domain } = facts.request.page
    this.#request = { sessionId: this.#settings.sessionId, pageURL: url, host: domain, [kind]: { ...details, type: mode } }
  }

  /** To be called when a rule was evaluated. */
  evaluated ({ activity, source: { condition, meta } }: CompiledRule, facts: Facts, satisfied: boolean): void {
    if (satisfied && !this.#campaigns.has(activity)) {
      this.#campaigns.set(activity, {
        id: meta['activity.id'],
        campaignType: meta['activity.type'],
        branchId: meta['experience.id'],
        offers: meta['offer.id'] === undefined ? [] : [meta['offer.id']],
        environment: this.#artifact.meta.environment
      })
    }

    let target = this.#targets.get(activity)
    if (target === undefined) {
      target = {
        context: facts.toObject(),
        campaignId: meta['activity.id'],
        campaignType: meta['activity.type'],
        matchedSegmentIds: new Set(),
        unmatchedSegmentIds: new Set(),
        matchedRuleConditions: [],
        unmatchedRuleConditions: []
      }
      this.#targets.set(activity, target)
    }
    const segments = satisfied ? target.matchedSegmentIds : target.unmatchedSegmentIds
    for (const audience of meta['audience.ids'] ?? []) segments.add(audience)
    const conditions = satisfied ? target.matchedRuleConditions : target.unmatchedRuleConditions
    conditions.push(condition)
  }

  /** To be called when a matched rule is displayed, with its notification unless all its tokens were notified before. */
  displayed ({ activity }: CompiledRule, notification: Notification | undefined): void {
    const campaign = this.#campaigns.get(activity)!
    campaign.notifications ??= []
    if (notification !== undefined) campaign.notifications.push(notification)
  }

  /** A copy of the trace so far. */
  snapshot (): TraceResponse {
    const [tntId, profileLocation] = typeof this.#id.tntId === 'string' ? this.#id.tntId.split('.') : []
    const trace = {
      clientCode: this.#client,
      artifact: this.#settings.artifact,
      profile: { visitorId: { ...this.#id, tntId, profileLocation } },
      request: this.#request,
      campaigns: [...this.#campaigns.values()],
      evaluatedCampaignTargets: [...this.#targets.values()].map((target) => ({
        ...target,
        matchedSegmentIds: [...target.matchedSegmentIds],
        unmatchedSegmentIds: [...target.unmatchedSegmentIds]
      }))
    }
    try {
      return JSON.parse(JSON.stringify(trace))
    } catch {
      // The request's data may be nested too deep for JSON.stringify.
      return { clientCode: this.#client }
    }
  }
}
