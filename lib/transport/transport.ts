/**
 * The ways to Target, behind one interface: a complete request in, a reply in the Delivery API's words out. Nothing above
 * knows which one it is.
 */
import type { Abortable } from '../delivery/abort-listeners.ts'
import type { Settled } from '../delivery/delivery.ts'
import type { DecisioningMethod, DeliveryRequest, DeliveryResponse } from '../schema/index.ts'
import type { Answer } from '../offers/offer.ts'

/** A complete call. */
export interface TargetCall {
  request: DeliveryRequest
  sessionId: string
  locationHint: string | undefined
  decisioningMethod: DecisioningMethod
  kind: 'page' | 'notification'
  /** On connections that pages do not use; the caller limits the number of such calls. */
  background?: boolean
  /** ms, from now. */
  timeout: number
  /** ms the call may go on after its deadline. */
  grace: number
  signal?: AbortSignal
  /** Called if the answer arrives after the deadline, within `grace`. */
  onLate?: (answer: Answer) => void
}

/** The visitor that a batch of notifications belongs to. */
export interface NotificationSender {
  /** Unique per visitor. */
  readonly key: string
  /** `id`, `context`, `experienceCloud`, `property`: everything but the notifications. */
  readonly request: DeliveryRequest
  readonly sessionId: string
  readonly locationHint: string | undefined
}

/** A call for a transport. */
export interface TransportCall extends Omit<TargetCall, 'onLate'> {
  onLate: ((reply: Reply) => void) | undefined
}

/** What a transport brings back. */
export interface Reply {
  /** As it was sent. */
  request: DeliveryRequest
  response: DeliveryResponse
  /** ms */
  elapsed: number
  /** The visitor's location hint names a cluster that no longer exists: another one answered. */
  hintIsDead?: boolean
}

/** One way to Target. */
export interface Transport {
  /** Mboxes, and notifications, that one call takes; larger requests are split. */
  readonly limits: { readonly mboxes: number, readonly notifications: number }
  /**
   * Sends a call, within its deadline. Never throws.
   *
   * @param settled told once how it ended, maybe before this returns
   */
  ask (call: TransportCall, settled: Settled<Reply>): Abortable
}
