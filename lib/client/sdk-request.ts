/**
 * Completes a caller's request to a Delivery API request by the Node SDK's rules: the same is refused, left out and filled in.
 * The caller's objects are never changed.
 */
import { randomUUID } from 'node:crypto'
import type {
  AnalyticsRequest, Context, CustomerId, DeliveryRequest, ExecuteRequest, ExperienceCloud, MboxRequest,
  Notification, PrefetchRequest, VisitorId
} from '../schema/index.ts'
import {
  acceptableContext, acceptableCustomerIds, acceptableDetails, acceptableIds, acceptableMboxes, acceptableNotification,
  idText, type ReportLimit
} from '../schema/acceptable.ts'
import { counted, type Log } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { isObject } from '../validation.ts'
import { createAudienceManager, DEFAULT_CONSUMER_ID, toDeliveryCustomerIds, type VisitorLike } from '../visitor/experience-cloud.ts'

/** A request as passed by callers: without a context, that of a web page is used. */
export type OffersRequest = Omit<DeliveryRequest, 'context'> & { context?: Context }

/** Values that complete a request. */
export interface RequestCompletion {
  visitor: VisitorLike
  /** The `tntId` of the visitor's cookie. */
  tntId?: string
  consumerId?: string
  environmentId?: number
  propertyToken?: string
  logger: Log
  report: ReportLimit
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

function hasValues (value: unknown): value is object {
  if (isObject(value)) for (const key in value) if ((value as Record<string, unknown>)[key] !== undefined) return true
  return false
}

const hasEntries = <Entry>(value: Entry[] | undefined): value is Entry[] => Array.isArray(value) && value.some((entry) => entry !== undefined)

/**
 * Refuses what the SDK's `getOffers` refuses.
 *
 * @throws FST_TARGET_INVALID_REQUEST
 */
export function checkOffersRequest (request: unknown): asserts request is OffersRequest {
  if (!hasValues(request)) throw failure('FST_TARGET_INVALID_REQUEST', '`request` must be an object with at least one member')
  const { execute, prefetch } = request as OffersRequest
  if (hasValues(execute) && execute.pageLoad === undefined && !hasEntries(execute.mboxes)) {
    throw failure('FST_TARGET_INVALID_REQUEST', '`request.execute` must have `pageLoad` or `mboxes`')
  }
  if (hasValues(prefetch) && prefetch.pageLoad === undefined && !hasEntries(prefetch.views) && !hasEntries(prefetch.mboxes)) {
    throw failure('FST_TARGET_INVALID_REQUEST', '`request.prefetch` must have `pageLoad`, `views` or `mboxes`')
  }
}

/**
 * Refuses what the SDK's `sendNotifications` refuses.
 *
 * @throws FST_TARGET_INVALID_REQUEST
 */
export function checkNotificationsRequest (request: unknown): asserts request is OffersRequest {
  if (!hasValues(request)) throw failure('FST_TARGET_INVALID_REQUEST', '`request` must be an object with at least one member')
  if (!hasEntries((request as OffersRequest).notifications)) throw failure('FST_TARGET_INVALID_REQUEST', '`request.notifications` must be a list of at least one notification')
}

// More than the depth of the Delivery API; deeper values are unknown to it, or circular.
const DEPTH = 8
// Their contents are the caller's own.
const FREE_FORM = ['parameters', 'profileParameters', 'usage']

/** Removes members that are null, which the SDK never sends. Most requests have none. */
const withoutNulls = <Value>(value: Value): Value => hasNull(value, 0) ? dropNulls(value) : value

function hasNull (value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || depth > DEPTH) return false
  for (const key in value) {
    const member = (value as Record<string, unknown>)[key]
    if (member === null || (!FREE_FORM.includes(key) && hasNull(member, depth + 1))) return true
  }
  return false
}

/** Copies only what it changes. */
function dropNulls<Value> (value: Value, depth = 0): Value {
  if (typeof value !== 'object' || value === null || depth > DEPTH) return value
  if (Array.isArray(value)) {
    const entries = value.map((entry) => dropNulls(entry, depth + 1))
    return entries.some((entry, index) => entry !== value[index]) ? entries as Value : value
  }
  let result = value
  for (const [key, member] of Object.entries(value)) {
    const kept = FREE_FORM.includes(key) ? member : dropNulls(member, depth + 1)
    if (kept === member && member !== null) continue
    if (result === value) result = { ...value }
    if (kept === null) delete (result as Record<string, unknown>)[key]
    else (result as Record<string, unknown>)[key] = kept
  }
  return result
}

/** Completes a request. Never throws on a request that passed {@link checkOffersRequest}. */
export function createDeliveryRequest (given: OffersRequest, completion: RequestCompletion): DeliveryRequest {
  const { logger, report } = completion
  const request = withoutNulls(given)
  const requestId = isText(request.requestId) ? request.requestId : randomUUID()
  const result: DeliveryRequest = { requestId, context: createContext(request.context, report) }
  // Members are added but never deleted, which would make the object slow.
  for (const key of Object.keys(request) as (keyof OffersRequest)[]) {
    if (!COMPLETED.has(key) && request[key]) (result as Record<string, unknown>)[key] = request[key]
  }
  const environmentId = request.environmentId ?? completion.environmentId
  if (environmentId) result.environmentId = environmentId
  const id = createVisitorId(request.id, completion)
  if (id !== undefined) result.id = id
  const token = isText(request.property?.token) ? request.property.token : completion.propertyToken
  if (token !== undefined) result.property = { ...request.property, token }
  result.experienceCloud = createExperienceCloud(request.experienceCloud, completion)
  const execute = createExecute(request.execute, logger, report)
  if (execute !== undefined) result.execute = execute
  const prefetch = createPrefetch(request.prefetch, logger, report)
  if (prefetch !== undefined) result.prefetch = prefetch
  const notifications = createNotifications(request.notifications, logger, report)
  if (notifications !== undefined) result.notifications = notifications
  return result
}

/** Members that are completed; all others are passed on unchanged. */
const COMPLETED: ReadonlySet<string> = new Set(['requestId', 'context', 'environmentId', 'id', 'property', 'experienceCloud', 'execute', 'prefetch', 'notifications'])

// The SDK sets the server's own offset from UTC if it creates the context, and none if the caller passed one.
function createContext (context: Context | undefined, report: ReportLimit): Context {
  if (!isObject(context)) return { channel: 'web', timeOffsetInMinutes: 0 - new Date().getTimezoneOffset() }
  return acceptableContext(isText(context.channel) ? context : { ...context, channel: 'web' }, report)
}

function createVisitorId (id: VisitorId | undefined, completion: RequestCompletion): VisitorId | undefined {
  const result: VisitorId = {}
  const tntId = idText(id?.tntId === undefined ? completion.tntId : id.tntId)
  const marketingCloudVisitorId = id?.marketingCloudVisitorId === undefined ? completion.visitor.getVisitorValues()?.MCMID : id.marketingCloudVisitorId
  if (tntId !== undefined) result.tntId = tntId
  Object.assign(result, acceptableIds({ thirdPartyId: id?.thirdPartyId, marketingCloudVisitorId }, completion.report))
  const customerIds: CustomerId[] = toDeliveryCustomerIds(Object.values(completion.visitor.getState())[0]?.customerIDs)
  if (hasEntries(id?.customerIds)) customerIds.push(...id.customerIds)
  const accepted = acceptableCustomerIds(customerIds, completion.report)
  if (accepted.length > 0) result.customerIds = accepted
  return hasValues(result) ? result : undefined
}

function createExperienceCloud (given: ExperienceCloud | undefined, completion: RequestCompletion): ExperienceCloud {
  const result: ExperienceCloud = {}
  const audienceManager = createAudienceManager(given?.audienceManager, completion.visitor)
  if (audienceManager !== undefined) result.audienceManager = audienceManager
  result.analytics = createAnalytics(given?.analytics, completion)
  return result
}

function createAnalytics (given: AnalyticsRequest | undefined, { visitor, consumerId = DEFAULT_CONSUMER_ID }: RequestCompletion): AnalyticsRequest {
  const current = Object.values(visitor.getState())[0]?.sdid?.supplementalDataIDCurrent
  const result: AnalyticsRequest = { logging: isText(given?.logging) ? given.logging : 'server_side' }
  const supplementalDataId = isText(current) && given?.supplementalDataId === current ? current : visitor.getSupplementalDataID(consumerId)
  if (isText(supplementalDataId)) result.supplementalDataId = supplementalDataId
  if (isText(given?.trackingServer)) result.trackingServer = given.trackingServer
  if (isText(given?.trackingServerSecure)) result.trackingServerSecure = given.trackingServerSecure
  return result
}

/** The `execute` part: mboxes without a name are left out, an index is filled in; undefined if nothing is left to request. */
export function createExecute (execute: ExecuteRequest | undefined, logger: Log, report: ReportLimit): ExecuteRequest | undefined {
  if (!isObject(execute)) return undefined
  const { pageLoad, mboxes } = execute
  if (!isObject(pageLoad) && !hasEntries(mboxes)) return undefined
  const result: ExecuteRequest = {}
  if (isObject(pageLoad)) result.pageLoad = acceptableDetails(pageLoad, report)
  const named = createMboxes(mboxes, logger, report)
  if (named !== undefined) result.mboxes = named
  return result
}

/** The `prefetch` part, in the same way. */
export function createPrefetch (prefetch: PrefetchRequest | undefined, logger: Log, report: ReportLimit): PrefetchRequest | undefined {
  if (!isObject(prefetch)) return undefined
  const { pageLoad, views, mboxes } = prefetch
  if (!isObject(pageLoad) && !hasEntries(views) && !hasEntries(mboxes)) return undefined
  const result: PrefetchRequest = {}
  if (hasEntries(views)) result.views = views.filter(isObject).map((view) => acceptableDetails(view, report))
  if (isObject(pageLoad)) result.pageLoad = acceptableDetails(pageLoad, report)
  const named = createMboxes(mboxes, logger, report)
  if (named !== undefined) result.mboxes = named
  return result
}

function createMboxes (mboxes: MboxRequest[] | undefined, logger: Log, report: ReportLimit): MboxRequest[] | undefined {
  if (!hasEntries(mboxes)) return undefined
  const named = mboxes.filter((mbox) => isObject(mbox) && isText(mbox.name))
  if (named.length < mboxes.length) logger.warn(`ignored ${counted(mboxes.length - named.length, 'mbox', 'mboxes')} without a name`)
  const accepted = acceptableMboxes(named, report)
  if (accepted.length === 0) return undefined
  // The position, as in the SDK, unless another mbox has that index: the edge requires unique ones.
  const taken = new Set(accepted.map((mbox) => mbox.index))
  return accepted.map((mbox, position) => {
    if (typeof mbox.index === 'number') return mbox
    let index = position
    while (taken.has(index)) index += 1
    taken.add(index)
    return { ...mbox, index }
  })
}

function createNotifications (notifications: Notification[] | undefined, logger: Log, report: ReportLimit): Notification[] | undefined {
  if (!hasEntries(notifications)) return undefined
  const valid = notifications.filter((notification) => isObject(notification) && isText(notification.id) &&
    typeof notification.timestamp === 'number' && (notification.type === 'click' || notification.type === 'display'))
  if (valid.length < notifications.length) logger.warn(`ignored ${counted(notifications.length - valid.length, 'malformed notification')}`)
  return valid.length > 0 ? valid.map((notification) => acceptableNotification(notification, report)) : undefined
}
