/**
 * An answered call, and the `getOffers` result that Adobe's Node SDK makes of it.
 */
import { clusterOf, createLocationHintCookie, createTargetCookie, type TargetCookie, type WrittenCookie } from '../visitor/cookies.ts'
import type {
  AnalyticsResponse, DecisioningMethod, DeliveryRequest, DeliveryResponse, MboxResponse, PageLoadResponse, ResponseTokens, TraceResponse, View
} from '../schema/index.ts'
import { cookieOf, type StoredEntry } from '../visitor/edge-state.ts'
import type { VisitorState } from '../visitor/experience-cloud.ts'
import { webSdkStateWith, type Handles, type WebSdkState } from './web-sdk-state.ts'

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
  /** What the Edge Network wants to store in the browser. */
  edgeState?: readonly StoredEntry[]
  /** What Web SDK takes over in the page, as handles of the Edge Network; undefined if neither page load nor views were requested. */
  webSdk?: Handles
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
  /** With `edgeNetwork`, if page load or views were requested: the options of Web SDK's command `applyResponse`. */
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
function gather (result: TargetResult, entry: MboxResponse | PageLoadResponse | View | undefined): void {
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
