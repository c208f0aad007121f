/**
 * Converts a Delivery API response to what pages use: offers with their reason, and the Node SDK's result.
 */
import { clusterOf, createLocationHintCookie, createTargetCookie, type TargetCookie, type WrittenCookie } from '../visitor/cookies.ts'
import type {
  AnalyticsResponse, DecisioningMethod, DeliveryRequest, DeliveryResponse, MboxResponse, Metric, Option, OptionType,
  PageLoadResponse, ResponseTokens, TraceResponse, View
} from '../schema/index.ts'
import type { TargetError, TargetErrorCode } from '../errors.ts'
import { cookieOf, type StoredEntry } from '../visitor/edge-state.ts'
import type { VisitorState } from '../visitor/experience-cloud.ts'
import { webSdkStateWith, type Handles, type WebSdkState } from './web-sdk-state.ts'

/** Content of an option: a string for html, a URL for redirect and dynamic, an object for json, a list for actions. */
export type OfferContent = string | Record<string, unknown> | unknown[]

/** The source of an offer. */
export type OfferSource = 'edge' | 'on-device' | 'default' | 'override'

/**
 * Why an offer is what it is. `matched` is an offer of Target's, `overridden` what the inspector forced for this browser; with all
 * others the content is the fallback. With an `error`: `timeout`, `breaker-open`, `overload`, `not-ready`, `aborted`, `error`.
 */
export type OfferReason =
  'matched' | 'no-offer' | 'timeout' | 'max-wait' | 'breaker-open' | 'overload' | 'not-ready' | 'invalid-content' |
  'aborted' | 'error' | 'not-requested' | 'opted-out' | 'overridden'

/** Target's decision for one place, or the reason why there is none. */
export interface Offer<Content = OfferContent, Fallback = undefined> {
  /** Content of the first option that has any, or the fallback. */
  content: Content | Fallback
  /** Kind of the content; undefined for a fallback. */
  type: OptionType | undefined
  /** All options of all entries with that name. */
  options: Option[]
  /** Clicks that can be reported, with their event tokens. */
  metrics: Metric[]
  /** Response tokens of the option that the content comes from. */
  responseTokens: ResponseTokens
  /** Analytics payload, with `client_side` logging. */
  analytics: AnalyticsResponse | undefined
  source: OfferSource
  reason: OfferReason
  /** The error behind the reason, if any. */
  error?: TargetError
}

/** The offer of an mbox. */
export interface MboxOffer<Content = OfferContent, Fallback = undefined> extends Offer<Content, Fallback> {
  mbox: string
}

/** The offer of a view. */
export interface ViewOffer<Fallback = undefined> extends Offer<OfferContent, Fallback> {
  view: string
}

/** An answered call. */
export interface Answer {
  request: DeliveryRequest
  response: DeliveryResponse
  /** Where the decision was made. */
  source: 'edge' | 'on-device'
  /** Mboxes that were not decided on-device. */
  remoteMboxes: string[]
  remoteViews: string[]
  /** Whether the visitor's location hint names a cluster that no longer exists, so that another one answered. */
  hintIsDead?: boolean
  /** What the Edge Network wants the visitor to keep. */
  edgeState?: readonly StoredEntry[]
  /** What Web SDK takes over in the page, as handles of the Edge Network; undefined if neither page load nor views were asked for. */
  webSdk?: Handles
}

type Entry = MboxResponse | PageLoadResponse | View

const REASONS: Partial<Record<TargetErrorCode, OfferReason>> = {
  FST_TARGET_TIMEOUT: 'timeout',
  FST_TARGET_BREAKER_OPEN: 'breaker-open',
  FST_TARGET_OVERLOAD: 'overload',
  FST_TARGET_NOT_READY: 'not-ready',
  FST_TARGET_ABORTED: 'aborted',
  FST_TARGET_CLOSED: 'aborted'
}

/** An offer without content from Target: the fallback and its reason. */
export function fallbackOffer<Fallback> (fallback: Fallback, reason: OfferReason, error?: TargetError): Offer<never, Fallback> {
  return { content: fallback, type: undefined, options: [], metrics: [], responseTokens: {}, analytics: undefined, source: 'default', reason, ...(error !== undefined && { error }) }
}

/** The fallback for a failed call. */
export function failedOffer<Fallback> (fallback: Fallback, error: TargetError): Offer<never, Fallback> {
  return fallbackOffer(fallback, REASONS[error.code] ?? 'error', error)
}

/** Whether an option has content to show. */
export const hasContent = (option: Option) => option.content !== undefined && option.content !== null

/** Merges entries of a response into one offer; executed ones come first. */
export function offerOf<Fallback> (entries: readonly Entry[], source: 'edge' | 'on-device', fallback: Fallback): Offer<OfferContent, Fallback> {
  const options = entries.length === 1 ? entries[0]!.options ?? [] : entries.flatMap((entry) => entry.options ?? [])
  const metrics = entries.length === 1 ? entries[0]!.metrics ?? [] : entries.flatMap((entry) => entry.metrics ?? [])
  const analytics = entries.find((entry) => entry.analytics !== undefined)?.analytics
  const option = options.find(hasContent)
  if (option === undefined) return { ...fallbackOffer(fallback, 'no-offer'), options, metrics, analytics }
  return {
    content: option.content as OfferContent,
    type: option.type,
    options,
    metrics,
    responseTokens: option.responseTokens ?? {},
    analytics,
    source,
    reason: 'matched'
  }
}

/** Entries of an mbox, executed before prefetched. */
export function mboxEntries (response: DeliveryResponse, mbox: string): MboxResponse[] {
  const entries: MboxResponse[] = []
  for (const entry of response.execute?.mboxes ?? []) if (entry.name === mbox) entries.push(entry)
  for (const entry of response.prefetch?.mboxes ?? []) if (entry.name === mbox) entries.push(entry)
  return entries
}

/** The page load's entries, executed before prefetched. */
export function pageLoadEntries (response: DeliveryResponse): PageLoadResponse[] {
  return [response.execute?.pageLoad, response.prefetch?.pageLoad].filter((entry) => entry !== undefined)
}

/** The `getOffers` result of the Node SDK, with the same parts absent. */
export interface TargetResult {
  /** The request as it was sent. */
  request: DeliveryRequest
  response: DeliveryResponse
  /** For `Visitor.getInstance('<org>', { serverState })`. */
  visitorState: VisitorState
  /** The `mbox` cookie to write. */
  targetCookie: TargetCookie
  /** The `mboxEdgeCluster` cookie to write. */
  targetLocationHintCookie?: TargetCookie
  /**
   * With `edgeNetwork`: Web SDK's cookies to write in place of both, with the values encoded already. Without a `maxAge` (seconds)
   * a cookie is for the browser's session.
   */
  edgeCookies?: WrittenCookie[]
  /** With `edgeNetwork`, where page load or views were asked for: the options of Web SDK's command `applyResponse`. */
  webSdkState?: WebSdkState
  /** Analytics payloads of all entries, with `client_side` logging. */
  analyticsDetails?: AnalyticsResponse[]
  /** Response tokens of all options. */
  responseTokens?: ResponseTokens[]
  /** Traces of all entries, if the request asked for one. */
  trace?: TraceResponse[]
  meta: {
    decisioningMethod: DecisioningMethod
    /** Mboxes that needed the edge and were not decided on-device. */
    remoteMboxes: string[]
    remoteViews: string[]
  }
}

/**
 * Makes the SDK's result.
 *
 * @param cluster location hint that the call was sent with
 */
export function createResult (answer: Answer, sessionId: string, cluster: string | undefined, visitorState: VisitorState): TargetResult {
  const { request, response } = answer
  const isEdgeNetwork = answer.edgeState !== undefined
  const hint = isEdgeNetwork ? undefined : (answer.hintIsDead === true ? undefined : cluster) ?? clusterOf(response.edgeHost)
  // A 204 has no visitor ids, so it must not remove the known `tntId` from the cookie.
  const tntId = response.status === 204 ? request.id?.tntId : response.id?.tntId
  const result: TargetResult = {
    visitorState,
    request,
    targetCookie: createTargetCookie(sessionId, tntId),
    meta: {
      decisioningMethod: answer.source === 'edge' ? 'server-side' : 'on-device',
      remoteMboxes: answer.remoteMboxes,
      remoteViews: answer.remoteViews
    },
    response
  }
  if (hint !== undefined) result.targetLocationHintCookie = createLocationHintCookie(hint)
  if (isEdgeNetwork) result.edgeCookies = answer.edgeState!.map(cookieOf)
  if (answer.webSdk !== undefined) result.webSdkState = webSdkStateWith(answer.webSdk, request.execute?.pageLoad !== undefined)
  const { execute, prefetch } = response
  // In the SDK's order.
  gather(result, execute?.pageLoad)
  execute?.mboxes?.forEach((entry) => gather(result, entry))
  gather(result, prefetch?.pageLoad)
  prefetch?.views?.forEach((entry) => gather(result, entry))
  prefetch?.mboxes?.forEach((entry) => gather(result, entry))
  return result
}

/** Adds an entry's analytics, trace and response tokens. */
function gather (result: TargetResult, entry: Entry | undefined): void {
  if (entry === undefined) return
  if (isFilled(entry.analytics)) (result.analyticsDetails ??= []).push(entry.analytics)
  if (isFilled(entry.trace)) (result.trace ??= []).push(entry.trace)
  if (entry.options === undefined) return
  for (const { responseTokens } of entry.options) if (isFilled(responseTokens)) (result.responseTokens ??= []).push(responseTokens)
}

function isFilled<Value extends object> (value: Value | undefined): value is Value {
  if (typeof value === 'object' && value !== null) for (const key in value) if (value[key] !== undefined) return true
  return false
}

/** The response for a 204: a success without offers. */
export const emptyResponse = (): DeliveryResponse => ({ status: 204 })
