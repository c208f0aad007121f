/**
 * Event tokens and states: what the edge hands out with an offer, and understands when it comes back.
 *
 * Both are digests of what they stand for, opaque as Target's own, and the same after the edge was started again.
 */
import { createHash } from 'node:crypto'
import type { Metric } from '../schema/index.ts'

/** Where an offer is in an artifact. */
export interface Location {
  kind: 'mboxes' | 'views'
  name: string
}

/** What an event token stands for. */
export interface TokenFacts {
  kind: 'display' | 'click'
  activityId: string
  /** Position of the experience in its activity. */
  experienceId: string
}

/** As much of an artifact's rule as is read here. Whether it is a rule at all is for the engine to say. */
interface Rule {
  activityId?: unknown
  meta?: Record<string, unknown>
  consequence?: { options?: Array<{ eventToken?: string }>, metrics?: Metric[] }
}

const digest = (...parts: string[]) => createHash('sha256').update(JSON.stringify(parts)).digest('base64')

/** The state of a prefetched mbox, view or page load; the latter has no name. at.js writes view names in lower case. */
export const stateOf = (kind: 'mbox' | 'view' | 'pageLoad', name = '') => digest('state', kind, kind === 'view' ? name.toLowerCase() : name)

/** An artifact whose every rule names activity and experience and whose every option and metric has an event token, and what each token stands for. */
export class EventTokens {
  #artifact: object
  readonly #facts = new Map<string, TokenFacts>()
  readonly #clicks = new Map<string, Map<string, Metric>>()
  /** Where each token's offers are. */
  readonly #locations = new Map<string, Map<string, Location>>()

  constructor (artifact: object) {
    this.#artifact = this.read(artifact)
  }

  /** The artifact with tokens. */
  get artifact (): object { return this.#artifact }

  /** Takes another artifact, as {@link read} returned it, in place of the first. */
  replace (artifact: object): void {
    this.#artifact = artifact
  }

  /**
   * Adds what another artifact has; what was read before stays known.
   *
   * @returns it with tokens: a copy, the one that was given is left as it was. Its own tokens are kept; missing ones are made
   * from activity, experience and kind
   */
  read (artifact: object): object {
    const copy = structuredClone(artifact) as { rules?: { mboxes?: Record<string, unknown>, views?: Record<string, unknown> } }
    for (const kind of ['mboxes', 'views'] as const) {
      for (const [name, rules] of Object.entries(copy.rules?.[kind] ?? {})) {
        if (Array.isArray(rules)) rules.forEach((rule: Rule, position) => this.#read({ kind, name }, rule, position))
      }
    }
    return copy
  }

  /** What a token stands for; undefined if it is none of this edge's. */
  facts (token: string): TokenFacts | undefined {
    return this.#facts.get(token)
  }

  /** The places whose offers a token stands for. */
  locations (token: string): Location[] {
    return [...this.#locations.get(token)?.values() ?? []]
  }

  /** The clicks to count for what was displayed in a location under a token. */
  clicks (location: string, displayToken: string): Metric[] {
    return [...this.#clicks.get(clickKey(location, displayToken))?.values() ?? []]
  }

  #read (location: Location, rule: Rule, position: number) {
    const { options = [], metrics = [] } = rule.consequence ?? {}
    const meta = rule.meta = { 'activity.id': rule.activityId, 'experience.id': position, ...rule.meta }
    const activityId = String(meta['activity.id'])
    const experienceId = String(meta['experience.id'])
    const tokenFor = (kind: TokenFacts['kind'], given: string | undefined, selector = '') => {
      const token = given ?? digest(kind, activityId, experienceId, selector)
      if (!this.#facts.has(token)) this.#facts.set(token, { kind, activityId, experienceId })
      const known = this.#locations.get(token) ?? new Map<string, Location>()
      this.#locations.set(token, known.set(`${location.kind}/${location.name}`, location))
      return token
    }
    for (const metric of metrics) metric.eventToken = tokenFor(metric.type ?? 'click', metric.eventToken, metric.selector)
    const clicks = metrics.filter((metric) => metric.type === 'click')
    options.forEach((option, at) => {
      const display = metrics[at]?.type === 'display' ? metrics[at].eventToken : undefined
      const token = option.eventToken = tokenFor('display', option.eventToken ?? display)
      const key = clickKey(location.name, token)
      const known = this.#clicks.get(key) ?? new Map<string, Metric>()
      for (const metric of clicks) known.set(String(metric.eventToken), metric)
      this.#clicks.set(key, known)
    })
  }
}

const clickKey = (location: string, token: string) => JSON.stringify([location, token])
