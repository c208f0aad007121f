/**
 * The ways to Target, behind one interface: a complete request in, a reply in the Delivery API's format out. Nothing above
 * knows which one it is.
 */
import type { Abortable } from '../delivery/abort-listeners.ts'
import type { DeliveryAnswer, DeliveryCall, Settled } from '../delivery/delivery.ts'
import { failure } from '../errors.ts'
import type { DecisioningMethod, DeliveryRequest, DeliveryResponse, Notification, QAMode } from '../schema/index.ts'
import type { Answer } from '../offers/result.ts'
import type { EdgeState } from '../visitor/edge-state.ts'

/** A complete call. */
export interface TargetCall {
  request: DeliveryRequest
  sessionId: string
  locationHint: string | undefined
  /** What the Edge Network stores in the visitor's browser. */
  edgeState?: EdgeState | undefined
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
  readonly edgeState?: EdgeState | undefined
}

/** The key of a visitor's notifications: those of one key and tick share a call, of which QA mode is a member. */
export const senderKey = (sessionId: string, qaMode: QAMode | undefined): string => qaMode === undefined ? sessionId : `${sessionId} ${JSON.stringify(qaMode)}`

/** A call for a transport. */
export interface TransportCall extends Omit<TargetCall, 'onLate'> {
  onLate: ((reply: Reply) => void) | undefined
}

/** The result of a transport's call. */
export interface Reply extends Pick<Answer, 'edgeState' | 'webSdk' | 'hintIsDead'> {
  /** As it was sent. */
  request: DeliveryRequest
  response: DeliveryResponse
  /** ms */
  elapsed: number
  /** Displays that the response implies and that have to be reported. */
  displays?: Notification[]
}

/** One way to Target. */
export interface Transport {
  /** Mboxes, and notifications, that one call takes; larger requests are split. */
  readonly limits: { readonly mboxes: number, readonly notifications: number }
  /** Where the calls of visitors with this location hint go. */
  origin (locationHint: string | undefined): string
  /**
   * Sends a call, within its deadline. Never throws.
   *
   * @param settled called exactly once, possibly synchronously
   */
  ask (call: TransportCall, settled: Settled<Reply>): Abortable
  /** A sentence that names the part of a route's request that this transport does not support; undefined if it supports all. */
  problemIn? (request: Partial<DeliveryRequest>): string | undefined
  /** Stops its background work. */
  close? (): void
}

/** Where a transport sends a call, and what. */
type Sent = Pick<DeliveryCall, 'origin' | 'path' | 'body' | 'headers' | 'dialect' | 'request'>

/**
 * A transport's call on the network. Written out: when it was spread into a literal with the members that differ, a page took 1.2
 * times the CPU (V8 11.3).
 */
export function deliveryCallOf (call: TransportCall, { origin, path, body, headers, dialect, request = call.request }: Sent, breakerTimeout: number, toReply: (answer: DeliveryAnswer) => Reply): DeliveryCall {
  const { decisioningMethod, kind, background, timeout, grace, signal, onLate } = call
  return {
    origin,
    path,
    body,
    headers,
    dialect,
    request,
    decisioningMethod,
    requestId: request.requestId ?? '',
    kind,
    background,
    timeout,
    breakerTimeout,
    grace,
    retryable: true,
    signal,
    onLate: onLate && ((late) => onLate(toReply(late)))
  }
}

/** Converts a network response to a reply. One that does not fit the request fails the call. */
export const replying = (settled: Settled<Reply>, toReply: (answer: DeliveryAnswer) => Reply): Settled<DeliveryAnswer> => (answer, error) => {
  if (answer === undefined) return settled(undefined, error)
  let reply: Reply
  try {
    reply = toReply(answer)
  } catch (cause) {
    return settled(undefined, failure('FST_TARGET_INVALID_RESPONSE', 'it cannot be read for this request', { cause }))
  }
  settled(reply, undefined)
}
