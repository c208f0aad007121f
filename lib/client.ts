/**
 * The Target client: `getOffers`, `getAttributes` and `sendNotifications` of the Node SDK, with its options and results.
 * One client serves a whole process: it holds connections, never a visitor.
 */
import { createAttributesProvider, type AttributesProvider } from './attributes.ts'
import { isLocationHint, isSessionId, locationHintOf, parseTargetCookie } from './cookies.ts'
import { randomUUID } from 'node:crypto'
import { checkNotificationsRequest, checkOffersRequest, createDeliveryRequest, type OffersRequest } from './delivery-request.ts'
import { Delivery, type DeliveryAnswer, type DeliveryHealth, type DeliverySettings } from './delivery/delivery.ts'
import type { DecisioningMethod, DeliveryRequest, Notification } from './delivery/schema/index.ts'
import { failure, isTargetError, type TargetError } from './errors.ts'
import { ExperienceCloudVisitor, type CustomerIds, type VisitorLike } from './experience-cloud.ts'
import { createResult, emptyResponse, type Answer, type TargetResult } from './offers.ts'
import { Outbox, type OutboxSettings } from './outbox/outbox.ts'
import { TelemetryStore } from './telemetry.ts'
import type { TargetLogger } from './diagnostics.ts'

/** A client's options, checked and with their defaults. */
export interface ClientSettings extends DeliverySettings {
  client: string
  organizationId: string
  /** Host (and port) that always wins over a visitor's location hint. */
  serverDomain?: string
  secure: boolean
  /** ms */
  timeout: number
  /** ms */
  grace: number
  propertyToken?: string
  environmentId?: number
  targetLocationHint?: string
  decisioningMethod: DecisioningMethod
  version?: string
  telemetryEnabled: boolean
  notifications: OutboxSettings
  events: TargetEvents
  logger: TargetLogger
}

/** Events of the client, by name: the Node SDK's. A callback that throws is logged and changes nothing. */
export interface TargetEvents {
  /** Decisions can be made: at once server-side, else when an artifact is there. */
  clientReady?: (event: { type: 'clientReady' }) => void
  /** A notification was given up. */
  sendNotificationError?: (event: { type: 'sendNotificationError', notification: Notification, error: TargetError }) => void
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

/** One call, complete: what `request.target` and the SDK's methods have in common. */
export interface TargetCall {
  request: DeliveryRequest
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

/** A call that is under way. */
export interface RunningCall {
  /** Rejects only with this package's errors. */
  readonly answer: Promise<Answer>
  /** Ends the call: nobody waits for it any more. */
  abort (): void
}

/** Options of one call, the Node SDK's, plus `timeout` and `signal`. */
export interface GetOffersOptions {
  /** What is asked; `context` is a web page's when left out. */
  request: OffersRequest
  /** Value of the `AMCV_<organizationId>` cookie. */
  visitorCookie?: string
  /** Value of the `mbox` cookie. */
  targetCookie?: string
  /** Value of the `mboxEdgeCluster` cookie; ignored unless it is 1 to 4 digits. */
  targetLocationHint?: string
  /** Name of the consumer of the supplemental data id, when several calls are made for one page with one `visitor`. */
  consumerId?: string
  /** In the Visitor API form or in the Delivery API form. */
  customerIds?: CustomerIds
  /** 1 to 128 printable characters, no space, `?` or `/`. Used where `targetCookie` has none. Default: a new one. */
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

/** How a client is. */
export interface TargetHealth {
  status: 'ok' | 'degraded' | 'down'
  /** Circuit breakers by host. */
  breaker: DeliveryHealth['breaker']
  /** Notifications since the start: `accepted = pending + sent + failed + dropped`. */
  outbox: { accepted: number, pending: number, sent: number, failed: number, dropped: number }
  /** Calls and connections by host. */
  pool: DeliveryHealth['pool']
}

/** Node's callback style. */
export type TargetCallback<Result> = (error: TargetError | null, result?: Result) => void

const DELIVERY_PATH = '/rest/v1/delivery'

/** The client. Made by `createTargetClient()` or by the plugin, which decorates the instance with it. */
export class TargetClient {
  readonly #settings: ClientSettings
  readonly #delivery: Delivery
  readonly #scheme: string
  readonly #pathStart: string
  readonly #pathEnd: string
  readonly #telemetry: TelemetryStore | undefined
  readonly #outbox: Outbox<NotificationSender>

  constructor (settings: ClientSettings) {
    this.#settings = settings
    this.#delivery = new Delivery(settings)
    this.#scheme = settings.secure ? 'https://' : 'http://'
    this.#pathStart = `${DELIVERY_PATH}?imsOrgId=${encodeURIComponent(settings.organizationId)}&sessionId=`
    this.#pathEnd = settings.version === undefined ? '' : `&version=${encodeURIComponent(settings.version)}`
    if (settings.telemetryEnabled) this.#telemetry = new TelemetryStore()
    this.#outbox = new Outbox(settings.notifications, (sender, notifications) => this.#sendQueued(sender, notifications), {
      logger: settings.logger,
      onFailed: (notification, error) => this.#emit('sendNotificationError', { notification, error })
    })
    setImmediate(() => this.#emit('clientReady', {}))
  }

  /**
   * Asks Target for offers.
   *
   * @param callback when given, it gets error or result and nothing is returned
   * @returns the SDK's result
   * @throws (rejects) INVALID_REQUEST, INVALID_OPTIONS, TIMEOUT, CONNECTION, HTTP, INVALID_RESPONSE, BREAKER_OPEN, OVERLOAD,
   *   NOT_READY, ABORTED or CLOSED, each `FST_TARGET_…`
   */
  getOffers (options: GetOffersOptions): Promise<TargetResult>
  getOffers (options: GetOffersOptions, callback: TargetCallback<TargetResult>): void
  getOffers (options: GetOffersOptions, callback?: TargetCallback<TargetResult>): Promise<TargetResult> | void {
    return settle(this.#getOffers(options), callback)
  }

  /**
   * Asks for the json offers of some mboxes, as attributes. Mboxes that the request has already are not asked twice.
   *
   * @param options as for `getOffers`; `request` may be left out
   */
  getAttributes (mboxNames: string[], options?: Partial<GetOffersOptions>): Promise<AttributesProvider>
  getAttributes (mboxNames: string[], callback: TargetCallback<AttributesProvider>): void
  getAttributes (mboxNames: string[], options: Partial<GetOffersOptions>, callback: TargetCallback<AttributesProvider>): void
  getAttributes (
    mboxNames: string[],
    options: Partial<GetOffersOptions> | TargetCallback<AttributesProvider> = {},
    callback?: TargetCallback<AttributesProvider>
  ): Promise<AttributesProvider> | void {
    if (typeof options === 'function') return settle(this.#getAttributes(mboxNames, {}), options)
    return settle(this.#getAttributes(mboxNames, options), callback)
  }

  /**
   * Sends notifications now and resolves with the result: the ids that come back were processed.
   *
   * @param options as for `getOffers`, with `request.notifications`
   */
  sendNotifications (options: GetOffersOptions): Promise<TargetResult>
  sendNotifications (options: GetOffersOptions, callback: TargetCallback<TargetResult>): void
  sendNotifications (options: GetOffersOptions, callback?: TargetCallback<TargetResult>): Promise<TargetResult> | void {
    return settle(this.#sendNotifications(options), callback)
  }

  async #getOffers (options: GetOffersOptions): Promise<TargetResult> {
    checkCallOptions(options)
    checkOffersRequest(options.request)
    return await this.#run(options, 'page', options.decisioningMethod ?? this.#settings.decisioningMethod)
  }

  async #getAttributes (mboxNames: string[], options: Partial<GetOffersOptions>): Promise<AttributesProvider> {
    if (!Array.isArray(mboxNames) || mboxNames.some((name) => typeof name !== 'string' || name === '')) {
      throw failure('FST_TARGET_INVALID_REQUEST', '`mboxNames` must be a list of mbox names')
    }
    const request = addMboxes(mboxNames, options?.request)
    return createAttributesProvider(await this.#getOffers({ ...options, request }))
  }

  async #sendNotifications (options: GetOffersOptions): Promise<TargetResult> {
    checkCallOptions(options)
    checkNotificationsRequest(options.request)
    return await this.#run(options, 'notification', 'server-side')
  }

  async #run (options: GetOffersOptions, kind: TargetCall['kind'], decisioningMethod: DecisioningMethod): Promise<TargetResult> {
    const { organizationId, environmentId, propertyToken, logger } = this.#settings
    const visitor = options.visitor ?? new ExperienceCloudVisitor(organizationId, options.visitorCookie)
    let { request } = options
    if (Array.isArray(options.customerIds)) {
      request = { ...request, id: { ...request.id, customerIds: [...options.customerIds, ...request.id?.customerIds ?? []] } }
    } else if (options.customerIds !== undefined) {
      visitor.setCustomerIDs?.(options.customerIds)
    }
    const cookie = parseTargetCookie(typeof options.targetCookie === 'string' ? [options.targetCookie] : [])
    const sessionId = cookie.sessionId ?? (options.sessionId || randomUUID())
    const locationHint = locationHintOf(cookie.tntId) ??
      (isLocationHint(options.targetLocationHint) ? options.targetLocationHint : this.#settings.targetLocationHint)
    const deliveryRequest = createDeliveryRequest(request, {
      visitor, tntId: cookie.tntId, consumerId: options.consumerId, environmentId, propertyToken, logger
    })
    const answer = await this.call({
      request: deliveryRequest,
      sessionId,
      locationHint,
      decisioningMethod,
      kind,
      timeout: options.timeout ?? this.#settings.timeout,
      // The caller who brings a signal decides alone when the call ends.
      grace: options.signal === undefined ? this.#settings.grace : 0,
      signal: options.signal
    }).answer
    return createResult(answer, sessionId, locationHint, visitor.getState())
  }

  /**
   * Makes one complete call.
   *
   * @internal
   */
  call (call: TargetCall): RunningCall {
    const request = this.#telemetry?.ride(call.request) ?? call.request
    let body: string
    try {
      body = JSON.stringify(request)
    } catch (cause) {
      const error = failure('FST_TARGET_INVALID_REQUEST', 'the request is not JSON', { cause })
      return { answer: Promise.reject(error), abort () {} }
    }
    const toAnswer = ({ body, elapsed }: DeliveryAnswer): Answer => {
      const response = body ?? emptyResponse()
      this.#telemetry?.add({ request, response, decisioningMethod: 'server-side', execution: elapsed })
      return { request, response, source: 'edge', remoteMboxes: [], remoteViews: [] }
    }
    const { onLate } = call
    const exchange = this.#delivery.send({
      origin: this.#originFor(call.locationHint),
      path: this.#pathStart + encodeSessionId(call.sessionId) + this.#pathEnd,
      body,
      requestId: request.requestId ?? '',
      kind: call.kind,
      timeout: call.timeout,
      breakerTimeout: this.#settings.timeout,
      grace: call.grace,
      retryable: true,
      signal: call.signal,
      onLate: onLate === undefined ? undefined : (late) => onLate(toAnswer(late))
    })
    return { answer: exchange.answer.then(toAnswer), abort: () => exchange.abort() }
  }

  /** An own `serverDomain` always wins. A hint was checked to be a number before it gets here. */
  #originFor (locationHint: string | undefined): string {
    const { serverDomain, client } = this.#settings
    if (serverDomain !== undefined) return this.#scheme + serverDomain
    return `${this.#scheme}${locationHint === undefined ? client : `mboxedge${locationHint}`}.tt.omtrdc.net`
  }

  /**
   * Queues notifications, to be sent in the background; returns at once.
   *
   * @internal
   */
  notify (sender: NotificationSender, notifications: readonly Notification[]): void {
    this.#outbox.add(sender, notifications)
  }

  /** Sends notifications out of the outbox; resolves with the ids that were processed. */
  async #sendQueued (sender: NotificationSender, notifications: Notification[]): Promise<ReadonlySet<string>> {
    const { response } = await this.call({
      ...sender,
      request: { requestId: randomUUID(), ...sender.request, notifications },
      decisioningMethod: 'server-side',
      kind: 'notification',
      timeout: this.#settings.timeout,
      grace: 0
    }).answer
    return new Set(response.status === 204
      ? notifications.map(({ id }) => id)
      : (response.notifications ?? []).map(({ id }) => id).filter((id) => id !== undefined))
  }

  #emit<Name extends keyof TargetEvents> (type: Name, detail: Omit<Parameters<NonNullable<TargetEvents[Name]>>[0], 'type'>): void {
    try {
      (this.#settings.events[type] as ((event: object) => void) | undefined)?.({ type, ...detail })
    } catch (error) {
      this.#settings.logger.error(error, 'Target: the callback of an event failed')
    }
  }

  /**
   * Resolves when decisions can be made: at once for server-side decisioning.
   */
  async ready (): Promise<void> {}

  /**
   * How the client is, as a plain object, without I/O; also after `close()`. `down`: no edge is asked, their breakers are
   * open. `degraded`: one of them is open or probing, the outbox is more than 80 % full, or a notification was dropped in
   * the last minute.
   */
  health (): TargetHealth {
    const { breaker, pool } = this.#delivery.health()
    const { droppedLastMinute, ...outbox } = this.#outbox.report()
    const states = Object.values(breaker).map(({ state }) => state)
    const degraded = states.some((state) => state !== 'closed') || droppedLastMinute || outbox.pending > 0.8 * this.#settings.notifications.maxQueue
    const status = states.length > 0 && states.every((state) => state === 'open') ? 'down' : degraded ? 'degraded' : 'ok'
    return { status, breaker, outbox, pool }
  }

  /** Begins to close: queued notifications are sent without delay, while calls and notifications are still taken. */
  beginClose (): void {
    this.#outbox.beginClose()
  }

  /** Sends what is queued, for at most `notifications.closeTimeout` ms, ends running calls within their own deadlines and closes all connections. */
  async close (): Promise<void> {
    await this.#outbox.close()
    await this.#delivery.close()
  }
}

/** Both styles of asynchronous methods; a callback is called outside the promise, so that its own errors stay its own. */
function settle<Result> (promise: Promise<Result>, callback: TargetCallback<Result> | undefined): Promise<Result> | void {
  // Whatever a visitor of the caller's or an odd request makes it throw, the error has a code.
  const coded = promise.catch((thrown) => { throw asTargetError(thrown) })
  if (callback === undefined) return coded
  coded.then(
    (result) => process.nextTick(callback, null, result),
    (error) => process.nextTick(callback, error)
  )
}

function checkCallOptions (options: GetOffersOptions): void {
  if (typeof options !== 'object' || options === null) throw failure('FST_TARGET_INVALID_REQUEST', 'options are required: an object with `request`')
  const { timeout, signal, visitor, decisioningMethod } = options
  if (timeout !== undefined && !(Number.isFinite(timeout) && timeout > 0)) {
    throw failure('FST_TARGET_INVALID_OPTIONS', '`timeout` must be a number of ms above 0')
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw failure('FST_TARGET_INVALID_OPTIONS', '`signal` must be an AbortSignal')
  if (visitor !== undefined && !(['getVisitorValues', 'getState', 'getSupplementalDataID'] as const).every((method) => typeof visitor?.[method] === 'function')) {
    throw failure('FST_TARGET_INVALID_OPTIONS', '`visitor` must have the methods getVisitorValues, getState and getSupplementalDataID')
  }
  if (decisioningMethod !== undefined && !['server-side', 'on-device', 'hybrid'].includes(decisioningMethod)) {
    throw failure('FST_TARGET_INVALID_OPTIONS', '`decisioningMethod` must be server-side, on-device or hybrid')
  }
}

/** Adds mboxes to a request's `execute`, numbered after the highest index given, as the SDK does. */
function addMboxes (mboxNames: string[], request: OffersRequest | undefined): OffersRequest {
  const { execute, prefetch } = request ?? {}
  const given = Array.isArray(execute?.mboxes) ? execute.mboxes : []
  const known = new Set([...given, ...Array.isArray(prefetch?.mboxes) ? prefetch.mboxes : []].map((mbox) => mbox?.name))
  let index = given.reduce((highest, mbox) => Math.max(highest, mbox?.index ?? 0), 0)
  const added = mboxNames.filter((name) => !known.has(name)).map((name) => ({ name, index: ++index }))
  return { ...request ?? { context: { channel: 'web' } }, execute: { ...execute, mboxes: [...given, ...added] } }
}

/** For the query string. What the edge accepts needs no more than `encodeURIComponent`; the rest is its to refuse. */
function encodeSessionId (sessionId: string): string {
  return isSessionId(sessionId) ? encodeURIComponent(sessionId) : new URLSearchParams({ id: String(sessionId) }).toString().slice(3)
}

/** Whatever was thrown in the making of a call, as one of this package's errors. */
export function asTargetError (thrown: unknown): TargetError {
  return isTargetError(thrown)
    ? thrown
    : failure('FST_TARGET_INVALID_REQUEST', thrown instanceof Error ? thrown.message : 'unknown reason', { cause: thrown })
}
