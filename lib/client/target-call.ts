/**
 * One call to Target, complete: what `request.target` and the SDK's methods have in common.
 */
import type { DecisioningMethod, DeliveryRequest } from '../schema/index.ts'
import type { Answer } from '../offers/offer.ts'

/** A call to be made. */
export interface TargetCall {
  request: DeliveryRequest
  /** Makes the request's JSON, where there is a shorter way to it than `JSON.stringify`. */
  json?: (() => string) | undefined
  sessionId: string
  locationHint: string | undefined
  decisioningMethod: DecisioningMethod
  kind: 'page' | 'notification'
  /** ms, from now. */
  timeout: number
  /** ms the call may go on after its deadline. */
  grace: number
  signal?: AbortSignal
  /** The answer came after the deadline, within `grace`. */
  onLate?: (answer: Answer) => void
}

/** Whose notifications: what is the same for all of one visitor in one tick. */
export interface NotificationSender {
  /** Tells visitors apart. */
  readonly key: string
  /** `id`, `context`, `experienceCloud`, `property`: all but the notifications. */
  readonly request: DeliveryRequest
  readonly sessionId: string
  readonly locationHint: string | undefined
}
