/**
 * Event tokens and states: the edge sends them with an offer, and recognizes them when they come back.
 *
 * Both are digests of what they represent, opaque like Target's own, and the same after a restart of the edge.
 */
import { createHash } from 'node:crypto'
import type { Metric } from '../schema/index.ts'

/** The place of an offer in an artifact. */
export interface Location {
  kind: 'mboxes' | 'views'
  name: string
}

/** The meaning of an event token. */
export interface TokenFacts {
  kind: 'display' | 'click'
  activityId: string
  /** Position of the experience in its activity. */
  experienceId: string
}

/** The part of an artifact's rule that is read here. The engine validates it. */
interface Rule {
  activityId?: unknown
  meta?: Record<string, unknown>
  consequence?: { options?: Array<{ eventToken?: string }>, metrics?: Metric[] }
}

const digest = (...parts: string[]) => createHash('sha256').update(JSON.stringify(parts)).digest('base64')

/** The state of a prefetched mbox, view or page load; the latter has no name. at.js sends view names in lower case. */
export const stateOf = (kind: 'mbox' | 'view' | 'pageLoad', name = '') => digest('state', kind, kind === 'view' ? name.toLowerCase() : name)

/** Completes an artifact, so that every rule names activity and experience and every option and metric has a known event token. */
export class EventTokens {
  #artifact: object
  readonly #facts = new Map<string, TokenFacts>()
  readonly #clicks = new Map<string, Map<string, Metric>>()
  /** The places of each token's offers. */
  readonly #locations = new Map<string, Map<string, Location>>()

  constructor (artifact: object) {
    this.#artifact = this.read(artifact)
  }

  /** The artifact with tokens. */
  get artifact (): object { return this.#artifact }

  /** Replaces the artifact with another one, as returned by {@link read}. */
  replace (artifact: object): void {
    this.#artifact = artifact
  }

  /**
   * Adds the tokens of another artifact; those read before stay known.
   *
   * @returns a copy with tokens; the argument is not changed. Its own tokens are kept; missing ones are made from activity,
   * experience and kind
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

  /** The meaning of a token; undefined if it is not one of this edge's. */
  facts (token: string): TokenFacts | undefined {
    return this.#facts.get(token)
  }

  /** The places of a token's offers. */
  locations (token: string): Location[] {
    return [...this.#locations.get(token)?.values() ?? []]
  }

  /** The clicks to count for offers displayed in a location with a token. */
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
