/** Why the places of a page have their offers: by the rules that decided, or by Target's trace. */
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { explain, type Explanation } from '../decisioning/explain.ts'
import { conditionText, describeCondition } from '../decisioning/words.ts'
import type { DeliveryRequest, MboxResponse, PageLoadResponse, View } from '../schema/index.ts'
import type { RecordedPage } from './record.ts'

/** One mbox, view or the page load of a page. */
export interface Reason {
  kind: 'mbox' | 'view' | 'page load'
  name: string
  /** Where it was decided. */
  source: 'edge' | 'on-device' | undefined
  /** By the rules of an artifact; undefined where there is none. */
  explanation: Explanation | undefined
  /** Version of that artifact. */
  version: string | undefined
  /** Why there is no explanation. */
  missing: string | undefined
  /** Target's own trace, where one was asked for. */
  trace: TraceSummary | undefined
}

/** What a trace says, in words. */
export interface TraceSummary {
  matched: string[]
  evaluated: Array<{ activity: string, met: string[], unmet: string[] }>
  raw: unknown
}

/** What is known of the client. */
export interface Rules {
  client: string
  /** The current one; used if the edge's rules are unknown. */
  artifact: CompiledArtifact | undefined
}

/** The reasons of a page, in the order of its calls. */
export function reasonsOf (page: RecordedPage, { client, artifact: current }: Rules): Reason[] {
  const reasons: Reason[] = []
  for (const { source, work } of page.calls) {
    for (const one of work) {
      const isDecision = one.kind === 'decision'
      const artifact = isDecision ? one.artifact : current
      const now = page.at - page.elapsed
      for (const { kind, name, details } of placesOf(one.request, artifact)) {
        const request: DeliveryRequest | undefined = one.request && { ...one.request, ...isDecision && { context: one.context } }
        const isKnown = reasons.some((reason) => reason.kind === kind && reason.name === name)
        if (isKnown) continue
        reasons.push({
          kind,
          name,
          source: source as Reason['source'] ?? (isDecision ? 'on-device' : 'edge'),
          explanation: artifact === undefined || request === undefined
            ? undefined
            : explain(artifact, request, { ...details, kind: kind === 'view' ? 'view' : 'mbox', name: kind === 'page load' ? artifact.globalMbox : name }, { client, now }),
          version: artifact?.version,
          missing: artifact !== undefined ? undefined : isDecision ? 'The rules that decided this are no longer available.' : 'The edge decided; its rules are unknown here. Set `artifact: true` or a `traceToken` to see more.',
          trace: traceOf(one.response, kind, name)
        })
      }
    }
  }
  return reasons
}

interface Place { kind: Reason['kind'], name: string, details: object }

function placesOf (request: DeliveryRequest | undefined, artifact: CompiledArtifact | undefined): Place[] {
  const places: Place[] = []
  for (const part of [request?.execute, request?.prefetch]) {
    for (const { name, ...details } of part?.mboxes ?? []) places.push({ kind: 'mbox', name: String(name), details })
    if (part?.pageLoad !== undefined) places.push({ kind: 'page load', name: 'page load', details: part.pageLoad })
  }
  for (const { name, ...details } of request?.prefetch?.views ?? []) {
    // Without a name, all of them are asked for.
    for (const view of name === undefined ? artifact?.views.keys() ?? [] : [name]) places.push({ kind: 'view', name: view, details })
  }
  return places
}

function traceOf (response: RecordedPage['calls'][number]['work'][number]['response'], kind: Reason['kind'], name: string): TraceSummary | undefined {
  const { execute, prefetch } = response ?? {}
  const entries: Array<MboxResponse | PageLoadResponse | View | undefined> = kind === 'page load'
    ? [execute?.pageLoad, prefetch?.pageLoad]
    : kind === 'view'
      ? prefetch?.views?.filter((view) => view.name === name) ?? []
      : [...execute?.mboxes ?? [], ...prefetch?.mboxes ?? []].filter((mbox) => mbox.name === name)
  const raw = entries.find((entry) => entry?.trace !== undefined)?.trace as Record<string, unknown> | undefined
  if (raw === undefined) return undefined
  const { campaigns, evaluatedCampaignTargets } = raw
  return {
    raw,
    matched: records(campaigns).map(({ id, campaignType, branchId }) => `activity ${text(id)} (${text(campaignType)}), experience ${text(branchId)}`),
    evaluated: records(evaluatedCampaignTargets).map(({ campaignId, matchedRuleConditions, unmatchedRuleConditions, matchedSegmentIds, unmatchedSegmentIds }) => ({
      activity: text(campaignId),
      met: [...conditions(matchedRuleConditions), ...list(matchedSegmentIds).map((id) => `audience ${text(id)}`)],
      unmet: [...conditions(unmatchedRuleConditions), ...list(unmatchedSegmentIds).map((id) => `audience ${text(id)}`)]
    }))
  }
}

const list = (value: unknown): unknown[] => Array.isArray(value) ? value : []
const records = (value: unknown) => list(value).filter((entry): entry is Record<string, unknown> => typeof entry === 'object' && entry !== null)
const text = (value: unknown) => typeof value === 'string' || typeof value === 'number' ? String(value) : '?'
const conditions = (value: unknown) => list(value).map((condition) => typeof condition === 'string' ? condition : conditionText(describeCondition(condition)))
