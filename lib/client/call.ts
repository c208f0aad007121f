/**
 * A call to Target: the options of the client's methods (the Node SDK's, plus `timeout` and `signal`), and the complete call
 * made from them or from a Fastify request.
 */
import { Type } from '@sinclair/typebox'
import { randomUUID } from 'node:crypto'
import { isLocationHint, locationHintOf, parseTargetCookie } from '../visitor/cookies.ts'
import type { EdgeCookies, EdgeVisitors } from './edge-cookies.ts'
import { createDeliveryRequest, type OffersRequest } from './sdk-request.ts'
import type { Context, DecisioningMethod, VisitorId } from '../schema/index.ts'
import { SESSION_ID } from '../schema/limits.ts'
import { idText, type ReportLimit } from '../schema/acceptable.ts'
import type { Log } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { check, isObject, Milliseconds, oneOf, passing, withMethods } from '../validation.ts'
import { ExperienceCloudVisitor, type CustomerIds, type VisitorLike } from '../visitor/experience-cloud.ts'
import type { NotificationSender, TargetCall } from '../transport/transport.ts'

/** Options of one call, the Node SDK's, plus `timeout` and `signal`. */
export interface GetOffersOptions {
  /** The request; `context` defaults to that of a web page. */
  request: OffersRequest
  /** Value of the `AMCV_<organizationId>` cookie. */
  visitorCookie?: string
  /** Value of the `mbox` cookie. */
  targetCookie?: string
  /** Value of the `mboxEdgeCluster` cookie; ignored unless it is 1 to 4 digits. */
  targetLocationHint?: string
  /**
   * With `edgeNetwork`, in place of both: the request's cookies, as the `Cookie` header or decoded by name. Only those of Web SDK
   * for this organization (`kndctr_…`) are read. Without them the visitor is a new one, who has not chosen about consent.
   */
  edgeCookies?: EdgeCookies
  /** Consumer of the supplemental data id, if several calls are made for one page with one `visitor`. */
  consumerId?: string
  /** In the Visitor API form or in the Delivery API form. */
  customerIds?: CustomerIds
  /** 1 to 128 printable characters, no space, `?` or `/`. Used if `targetCookie` has none. Default: a new one. */
  sessionId?: string
  /** Shared by the calls of one page: Adobe's server-side `Visitor` or anything with its methods. */
  visitor?: VisitorLike
  /** Default: the client's. */
  decisioningMethod?: DecisioningMethod
  /** ms for the whole call. Default: the client's. */
  timeout?: number
  /** Aborts the call. */
  signal?: AbortSignal
}

/** The options that are checked. The others are the SDK's, which ignores unknown values. */
const CallOptions = Type.Object({
  timeout: Type.Optional(Milliseconds),
  signal: Type.Optional(passing((signal) => signal instanceof AbortSignal, 'an AbortSignal')),
  visitor: Type.Optional(withMethods(['getVisitorValues', 'getState', 'getSupplementalDataID'], 'an object with the methods getVisitorValues, getState and getSupplementalDataID')),
  decisioningMethod: Type.Optional(oneOf('server-side', 'on-device', 'hybrid')),
  edgeCookies: Type.Optional(passing((cookies) => typeof cookies === 'string' || isObject(cookies), 'a Cookie header, or an object of cookies by name'))
})

/**
 * Checks the options of a call.
 *
 * @throws FST_TARGET_INVALID_REQUEST, FST_TARGET_INVALID_OPTIONS
 */
export function checkCallOptions (options: GetOffersOptions): void {
  if (typeof options !== 'object' || options === null) throw failure('FST_TARGET_INVALID_REQUEST', 'options must be an object with `request`')
  check(CallOptions, options)
}

/** Adds mboxes to a request's `execute`, numbered from the highest existing index, as the SDK does. */
export function addMboxes (mboxNames: string[], request: OffersRequest | undefined): OffersRequest {
  const { execute, prefetch } = request ?? {}
  const given = Array.isArray(execute?.mboxes) ? execute.mboxes : []
  const known = new Set([...given, ...Array.isArray(prefetch?.mboxes) ? prefetch.mboxes : []].map((mbox) => mbox?.name))
  let index = given.reduce((highest, mbox) => Math.max(highest, mbox?.index ?? 0), 0)
  const added = mboxNames.filter((name) => !known.has(name)).map((name) => ({ name, index: ++index }))
  return { ...request ?? { context: { channel: 'web' } }, execute: { ...execute, mboxes: [...given, ...added] } }
}

/** Defaults of all calls of a client. */
export interface CallDefaults {
  organizationId: string
  propertyToken?: string
  environmentId?: number
  targetLocationHint?: string
  /** Where the Edge Network is used. */
  edgeVisitors?: EdgeVisitors | undefined
  /** ms */
  timeout: number
  /** ms */
  grace: number
  logger: Log
  /** Called for each value that was cut or left out of a request. */
  report: ReportLimit
}

/** Makes a call and its visitor from checked options; `isOptedOut` if that visitor's consent does not allow to send it. */
export function createCall (
  options: GetOffersOptions, defaults: CallDefaults, kind: TargetCall['kind'], decisioningMethod: DecisioningMethod
): { call: TargetCall, visitor: VisitorLike, isOptedOut: boolean } {
  const { organizationId, environmentId, propertyToken, edgeVisitors, logger, report } = defaults
  const visitor = options.visitor ?? new ExperienceCloudVisitor(organizationId, options.visitorCookie)
  let { request } = options
  if (Array.isArray(options.customerIds)) {
    request = { ...request, id: { ...request.id, customerIds: [...options.customerIds, ...request.id?.customerIds ?? []] } }
  } else if (options.customerIds !== undefined) {
    visitor.setCustomerIDs?.(options.customerIds)
  }
  const edge = edgeVisitors?.read(options.edgeCookies, idText(request.id?.marketingCloudVisitorId))
  if (edge !== undefined) {
    if (request.id?.tntId) report('`request.id.tntId` was not used: the Edge Network knows visitors by `edgeCookies` or `marketingCloudVisitorId`')
    if (edge.ecid !== undefined && request.id?.marketingCloudVisitorId === undefined) request = { ...request, id: { ...request.id, marketingCloudVisitorId: edge.ecid } }
  }
  const { tntId, sessionId } = parseTargetCookie(typeof options.targetCookie === 'string' ? [options.targetCookie] : [])
  const call: TargetCall = {
    request: createDeliveryRequest(request, { visitor, tntId, consumerId: options.consumerId, environmentId, propertyToken, logger, report }),
    sessionId: sessionId ?? givenSessionId(options.sessionId, report) ?? randomUUID(),
    locationHint: edge === undefined
      ? locationHintOf(tntId) ?? (isLocationHint(options.targetLocationHint) ? options.targetLocationHint : defaults.targetLocationHint)
      : edge.location,
    edgeState: edge?.state,
    decisioningMethod,
    kind,
    timeout: options.timeout ?? defaults.timeout,
    // A caller that passes a signal decides when the call ends.
    grace: options.signal === undefined ? defaults.grace : 0,
    signal: options.signal
  }
  return { call, visitor, isOptedOut: edge?.isOptedOut === true }
}

const acceptedSessionId = new RegExp(SESSION_ID)

/** The caller's session id, if the edge accepts it; otherwise it would refuse every call of that visitor. */
function givenSessionId (given: unknown, report: ReportLimit): string | undefined {
  const sessionId = idText(given)
  if (sessionId === undefined || acceptedSessionId.test(sessionId)) return sessionId
  report('`sessionId` was replaced by a new one: it must have 1 to 128 printable characters, without space, ?, /, { and }')
}

/** A visitor who is not on a page now: identified by an id, or by a stored cookie value. */
export interface KnownVisitor extends Pick<VisitorId, 'tntId' | 'thirdPartyId' | 'marketingCloudVisitorId' | 'customerIds'> {
  /** Value of the `mbox` cookie. */
  targetCookie?: string
  /** Value of the `AMCV_<organizationId>` cookie. */
  visitorCookie?: string
  /** With `edgeNetwork`: the cookies of Web SDK, as for `getOffers()`. */
  edgeCookies?: EdgeCookies
  /** Default: that of `targetCookie`, else a new one. */
  sessionId?: string
  /** Default: a web page's. */
  context?: Context
}

/** The sender of a visitor's notifications; undefined if nothing identifies the visitor, `opted-out` if nothing may be sent. */
export function senderOf (visitor: KnownVisitor, defaults: CallDefaults): NotificationSender | 'opted-out' | undefined {
  if (typeof visitor !== 'object' || visitor === null) return undefined
  const { targetCookie, visitorCookie, edgeCookies, sessionId, context, tntId, thirdPartyId, marketingCloudVisitorId, customerIds } = visitor
  const id = { tntId, thirdPartyId, marketingCloudVisitorId, customerIds }
  const { call, isOptedOut } = createCall({ request: { id, context }, targetCookie, visitorCookie, edgeCookies, sessionId }, defaults, 'notification', 'server-side')
  if (isOptedOut) return 'opted-out'
  const { requestId, ...request } = call.request
  if (request.id === undefined || defaults.edgeVisitors?.knows(request.id) === false) return undefined
  return { key: call.sessionId, request, sessionId: call.sessionId, locationHint: call.locationHint, edgeState: call.edgeState }
}
