/**
 * The SDK's telemetry: the outcome of each call, reported with the next one to the edge and never by a separate call.
 *
 * Source: `Telemetry` in Adobe Target Delivery API 1.0, OpenAPI.
 */
import type { DecisioningMethod, DeliveryRequest, DeliveryResponse, TelemetryEntry, TelemetryFeatures } from '../schema/index.ts'

/** Maximum number of entries kept while no call goes to the edge; the oldest are dropped first. */
const MAX_ENTRIES = 100

/** The parts of a completed call that telemetry reports. */
export interface AnsweredCall {
  request: DeliveryRequest
  response: DeliveryResponse
  /** Where the decision was made: `server-side` for calls to the edge. */
  decisioningMethod: DecisioningMethod
  /** ms from the call to its response. */
  execution: number
}

/** The entries of one client. */
export class TelemetryStore {
  #entries: TelemetryEntry[] = []

  /** Records a completed call. */
  add (call: AnsweredCall): void {
    this.#entries.push(createEntry(call))
    if (this.#entries.length > MAX_ENTRIES) this.#entries.shift()
  }

  /** A copy of the request with all pending entries added, which are not sent again. */
  ride (request: DeliveryRequest): DeliveryRequest {
    if (this.#entries.length === 0) return request
    const entries = [...request.telemetry?.entries ?? [], ...this.#entries]
    this.#entries = []
    return { ...request, telemetry: { ...request.telemetry, entries } }
  }
}

function createEntry ({ request, response, decisioningMethod, execution }: AnsweredCall): TelemetryEntry {
  const { telemetryServerToken } = response
  return {
    requestId: request.requestId,
    timestamp: Date.now(),
    mode: decisioningMethod === 'on-device' ? 'local' : 'edge',
    features: { ...featuresOf(request), decisioningMethod },
    execution: Math.round(execution * 100) / 100,
    ...(telemetryServerToken && { telemetryServerToken })
  }
}

function featuresOf ({ execute, prefetch }: DeliveryRequest): TelemetryFeatures {
  const features: TelemetryFeatures = {}
  if (execute?.pageLoad) features.executePageLoad = true
  if (execute?.mboxes?.length) features.executeMboxCount = execute.mboxes.length
  if (prefetch?.pageLoad) features.prefetchPageLoad = true
  if (prefetch?.mboxes?.length) features.prefetchMboxCount = prefetch.mboxes.length
  if (prefetch?.views?.length) features.prefetchViewCount = prefetch.views.length
  return features
}
