/**
 * The SDK's telemetry: how each call went, reported along with the next one to the edge and never by a call of its own.
 *
 * Source: `Telemetry` in Adobe Target Delivery API 1.0, OpenAPI.
 */
import type { DecisioningMethod, DeliveryRequest, DeliveryResponse, TelemetryEntry, TelemetryFeatures } from '../schema/index.ts'

/** Entries that are kept while no call goes to the edge; the oldest go first. */
const MAX_ENTRIES = 100

/** An answered call, as far as telemetry tells of it. */
export interface AnsweredCall {
  request: DeliveryRequest
  response: DeliveryResponse
  /** Where the decision was made: what was asked of the edge is `server-side`. */
  decisioningMethod: DecisioningMethod
  /** ms from the call to its answer. */
  execution: number
}

/** The entries of one client. */
export class TelemetryStore {
  #entries: TelemetryEntry[] = []

  /** Notes how a call went. */
  add (call: AnsweredCall): void {
    this.#entries.push(createEntry(call))
    if (this.#entries.length > MAX_ENTRIES) this.#entries.shift()
  }

  /** The request with all entries there are, after those it has; they are not sent again. The request itself stays as it is. */
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
