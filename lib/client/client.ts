/**
 * The Target client: `getOffers`, `getAttributes` and `sendNotifications` of the Node SDK, with its options and results.
 * One client serves a whole process: it holds connections, never a visitor.
 */
import { Type } from '@sinclair/typebox'
import { randomUUID } from 'node:crypto'
import { createAttributesProvider, type AttributesProvider } from '../offers/attributes.ts'
import {
  addMboxes, checkCallOptions, createCall, senderOf,
  type GetOffersOptions, type KnownVisitor
} from './call.ts'
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { CallExecutor } from './call-executor.ts'
import { checkNotificationsRequest, checkOffersRequest } from './sdk-request.ts'
import { Delivery } from '../delivery/delivery.ts'
import type { DecisioningMethod, DeliveryRequest, Notification } from '../schema/index.ts'
import { acceptableNotification, type ReportLimit } from '../schema/acceptable.ts'
import { checkOptions, MillisecondsOrZero, strict } from '../validation.ts'
import { Expectations } from './expectations.ts'
import { asTargetError, failure, type TargetError } from '../errors.ts'
import { emitterOf, failedNotification } from './events.ts'
import { createHealth, type TargetHealth } from './health.ts'
import { conversionNotification, profileNotification, type Conversion } from '../offers/conversions.ts'
import { completeNotification, type NotificationForm } from '../offers/notifications.ts'
import type { Inspector } from '../offers/inspection.ts'
import { createResult, emptyResponse, type Answer, type TargetResult } from '../offers/result.ts'
import { OnDevice } from './on-device.ts'
import type { ClientSettings } from './options.ts'
import { Outbox } from '../outbox/outbox.ts'
import { DeliveryApi } from '../transport/delivery-api.ts'
import { EdgeNetwork } from '../transport/edge-network/edge-network.ts'
import type { NotificationSender, TargetCall, Transport } from '../transport/transport.ts'
import { TelemetryStore } from './telemetry.ts'
import { Warnings } from './warnings.ts'

/** Node's callback style. */
export type TargetCallback<Result> = (error: TargetError | null, result?: Result) => void

/** Facts about a client, for the inspector. */
export interface ClientDetails extends Pick<ClientSettings, 'client' | 'organizationId' | 'decisioningMethod' | 'timeout'> {
  /** The rules in force, where there are any. */
  artifact: CompiledArtifact | undefined
}

/** The client. Made by `createTargetClient()` or by the plugin, which decorates the instance with it. */
export class TargetClient {
  readonly #settings: ClientSettings
  readonly #delivery: Delivery
  readonly #transport: Transport
  readonly #outbox: Outbox<NotificationSender>
  readonly #expectations = new Expectations()
  readonly #onDevice: OnDevice
  /**
   * Collects the warnings of `health()`.
   *
   * @internal
   */
  readonly warnings = new Warnings()
  /**
   * Makes the calls of requests and of this client's own methods.
   *
   * @internal
   */
  readonly executor: CallExecutor
  #preconnected: Promise<void> | undefined
  #closed = false
  /**
   * Set by the inspector, and by nothing else.
   *
   * @internal
   */
  inspector: Inspector | undefined

  constructor (settings: ClientSettings) {
    this.#settings = settings
    this.#delivery = new Delivery(settings)
    this.#transport = settings.edgeNetwork === undefined ? new DeliveryApi(settings, this.#delivery) : new EdgeNetwork(settings.edgeNetwork, settings, this.#delivery)
    const emit = emitterOf(settings.events, settings.logger)
    this.#outbox = new Outbox(settings.notifications, (sender, notifications) => this.#sendQueued(sender, notifications), {
      client: settings.client,
      logger: settings.logger,
      onFailed: (notification, error) => emit('sendNotificationError', { notification: failedNotification(notification), error })
    })
    this.#onDevice = new OnDevice(settings, (url, options) => this.#delivery.get(url, options), emit, (sender, notifications) => this.notify(sender, notifications))
    this.executor = new CallExecutor({
      transport: this.#transport,
      onDevice: this.#onDevice,
      telemetry: settings.telemetryEnabled ? new TelemetryStore() : undefined,
      warnings: this.warnings,
      notify: (sender, notifications) => this.notify(sender, notifications),
      expectNotifications: () => this.expectNotifications()
    })
    if (settings.decisioningMethod === 'server-side') setImmediate(emit, 'clientReady', {})
    else this.loadArtifact()
  }

  /**
   * Requests offers from Target.
   *
   * @param callback if passed, it is called with error or result and nothing is returned
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
   * Requests the json offers of some mboxes, as attributes. Mboxes already in the request are not requested twice.
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
   * Sends notifications now and resolves with the result, which contains the ids that were processed.
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
    if (this.#settings.edgeNetwork !== undefined && decisioningMethod !== 'server-side') {
      throw failure('FST_TARGET_INVALID_OPTIONS', this.problemIn({ decisioningMethod })!)
    }
    const { call, visitor, isOptedOut } = createCall(options, this.#settings, kind, decisioningMethod)
    const { edgeVisitors } = this.#settings
    // Known from the first call on, so that its parts, or a retry, are one visitor's.
    if (edgeVisitors !== undefined && !call.request.id?.marketingCloudVisitorId) {
      call.request.id = { ...call.request.id, marketingCloudVisitorId: edgeVisitors.newEcid() }
    }
    const answer: Answer = isOptedOut
      ? { request: call.request, response: emptyResponse(), source: 'edge', remoteMboxes: [], remoteViews: [], edgeState: [] }
      : await this.#answer(call)
    return createResult(answer, call.sessionId, call.locationHint, visitor.getState())
  }

  #answer (call: TargetCall): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.executor.run(call, (answer, error) => {
        if (answer === undefined) reject(error)
        else resolve(answer)
      })
    })
  }

  /**
   * A sentence that names the part of a route's request that the transport cannot do; undefined if it can do all.
   *
   * @internal
   */
  problemIn ({ decisioningMethod = 'server-side', ...request }: Partial<DeliveryRequest> & { decisioningMethod?: DecisioningMethod | undefined }): string | undefined {
    if (this.#settings.edgeNetwork === undefined) return undefined
    if (decisioningMethod !== 'server-side') return `\`decisioningMethod\` must be 'server-side' with \`edgeNetwork\`, got '${decisioningMethod}'`
    return this.#transport.problemIn?.(request)
  }

  /**
   * Queues notifications, to be sent in the background; returns immediately.
   *
   * @internal
   */
  notify (sender: NotificationSender, notifications: readonly Notification[]): void {
    this.#outbox.add(sender, notifications)
  }

  /**
   * Queues a conversion of a visitor who is not on a page now: for the webhook of a payment provider, or a job. Sent in the
   * background and retried like every notification. In a route, use `request.target.converted()`.
   *
   * @param visitor an id, or the value of the `mbox` cookie, stored with the order
   * @throws FST_TARGET_INVALID_REQUEST without an mbox or a visitor, or if it cannot be serialized
   */
  converted (mbox: string, conversion: Conversion, visitor: KnownVisitor): void {
    this.#notifyOf('converted', visitor, (report) => conversionNotification(mbox, conversion, report))
  }

  /**
   * Queues attributes for the profile of such a visitor, in the same way. In a route, use `request.target.profile()`.
   *
   * @throws FST_TARGET_INVALID_REQUEST
   */
  profile (attributes: Record<string, unknown>, visitor: KnownVisitor): void {
    this.#notifyOf('profile', visitor, (report) => profileNotification(attributes, report))
  }

  #notifyOf (method: string, visitor: KnownVisitor, make: (report: ReportLimit) => NotificationForm | undefined): void {
    const { report } = this.#settings
    const refuse = (problem: string) => { throw failure('FST_TARGET_INVALID_REQUEST', `${method}(): ${problem}`) }
    let form: NotificationForm | undefined
    let problem = 'nothing to send'
    try {
      form = make((sentence) => { problem = sentence; report(sentence) })
      if (form !== undefined) {
        form = acceptableNotification(form, report)
        JSON.stringify(form)
      }
    } catch (cause) {
      throw failure('FST_TARGET_INVALID_REQUEST', `${method}(): its arguments must be data that JSON.stringify() accepts`, { cause })
    }
    if (form === undefined) return refuse(problem)
    const sender = senderOf(visitor, this.#settings)
    if (sender === 'opted-out') return
    if (sender === undefined) {
      return refuse(this.#settings.edgeVisitors === undefined
        ? 'the visitor must have a tntId, thirdPartyId, marketingCloudVisitorId or customerIds, or the value of a targetCookie or visitorCookie with one'
        : 'the visitor must have `edgeCookies` or a `visitorCookie` with an ECID, a marketingCloudVisitorId or customerIds, or a thirdPartyId with `edgeNetwork.thirdPartyIdNamespace`')
    }
    this.notify(sender, [completeNotification(form, form.impressionId!)])
  }

  /**
   * Waits until the notifications of all pages so far are delivered: for serverless functions, which are frozen after their
   * response. The client stays open.
   *
   * @param options `timeout`: maximum wait in ms. Default: `notifications.closeTimeout`
   * @returns how many are left, which are sent later or by the next `flush()`
   * @throws (rejects) FST_TARGET_INVALID_OPTIONS
   */
  async flush (options: { timeout?: number } = {}): Promise<{ left: number }> {
    const { timeout = this.#settings.notifications.closeTimeout } = checkOptions<{ timeout?: number }>(WaitOptions, options, { call: 'flush()' })
    const started = performance.now()
    const toCome = await this.#expectations.ended(timeout)
    const left = await this.#outbox.flush(Math.max(0, timeout - (performance.now() - started)))
    return { left: toCome + left }
  }

  /**
   * Announces notifications that have to wait for something before they are queued.
   *
   * @returns a function to be called once they are queued, or will not be
   * @internal
   */
  expectNotifications (): () => void {
    return this.#expectations.add()
  }

  /** Sends notifications from the outbox; resolves with the ids that were processed. */
  async #sendQueued (sender: NotificationSender, notifications: Notification[]): Promise<ReadonlySet<string>> {
    const { sessionId, locationHint, edgeState } = sender
    const { response } = await this.#answer({
      request: { requestId: randomUUID(), ...sender.request, notifications },
      sessionId,
      locationHint,
      edgeState,
      decisioningMethod: 'server-side',
      kind: 'notification',
      background: true,
      timeout: this.#settings.timeout,
      grace: 0
    })
    return new Set(response.status === 204
      ? notifications.map(({ id }) => id)
      : (response.notifications ?? []).map(({ id }) => id).filter((id) => id !== undefined))
  }

  /**
   * Starts loading the rule artifact; repeated calls do nothing.
   *
   * @internal
   */
  loadArtifact (): void {
    this.#onDevice.artifact.start()
  }

  /**
   * Settings and artifact of decisions, for the parts of this package that explain them.
   *
   * @internal
   */
  get decisions () {
    const { decisioningMethod, propertyToken, environmentId, report } = this.#settings
    return { decisioningMethod, propertyToken, environmentId, report, artifact: this.#onDevice.artifact.current, isClosed: this.#closed }
  }

  /**
   * Opens the first connections to the edge, once. Resolves after 500 ms at the latest, and never rejects.
   *
   * @param patience ms
   * @internal
   */
  preconnect (patience?: number): Promise<void> {
    const { targetLocationHint, preconnect } = this.#settings
    this.#preconnected ??= this.#delivery.preconnect(this.#transport.origin(targetLocationHint), preconnect, patience)
    return this.#preconnected
  }

  /**
   * Resolves when the connections of `preconnect` are open, after 500 ms at the latest, and decisions can be made: on-device and
   * hybrid when there is a rule artifact.
   *
   * @param options `timeout`: ms. Default: none
   * @throws (rejects) FST_TARGET_NOT_READY at the timeout, or if the client is closed first; FST_TARGET_INVALID_OPTIONS
   */
  async ready (options: { timeout?: number } = {}): Promise<void> {
    checkOptions(WaitOptions, options, { call: 'ready()' })
    const preconnected = this.preconnect(options.timeout)
    if (this.#settings.decisioningMethod !== 'server-side') await this.#onDevice.artifact.ready(options)
    await preconnected
  }

  /**
   * Fetches the rule artifact now.
   *
   * @returns whether it has changed
   * @throws (rejects) FST_TARGET_ARTIFACT; the previous one is kept
   */
  async refresh (): Promise<{ changed: boolean }> {
    return await this.#onDevice.artifact.refresh()
  }

  /**
   * The client's health as a plain object, without I/O; works even after `close()`. `down`: no edge is called, since their
   * breakers are open, or decisions must be made on-device and there is no artifact. `degraded`: a breaker is open or probing,
   * the artifact is stale, the outbox is more than 80 % full, its backlog grows, its store fails, or a notification was dropped
   * in the last minute. `warnings` changes none of this.
   */
  health (): TargetHealth {
    const { decisioningMethod } = this.#settings
    return createHealth({
      decisioningMethod,
      delivery: this.#delivery.health(),
      outbox: this.#outbox.report(),
      outboxDegraded: this.#outbox.degraded,
      artifact: this.#onDevice.artifact.started ? this.#onDevice.artifact.health : undefined,
      warnings: this.warnings.list(this.#onDevice.artifact.current)
    })
  }

  /**
   * Facts about the client that the inspector shows with its health.
   *
   * @internal
   */
  get details (): ClientDetails {
    const { client, organizationId, timeout, decisioningMethod } = this.#settings
    return { client, organizationId, timeout, decisioningMethod, artifact: this.#onDevice.artifact.current }
  }

  /**
   * Begins to close: polling stops and queued notifications are sent without delay, while calls and notifications are still
   * accepted.
   */
  beginClose (): void {
    this.#onDevice.artifact.stop()
    this.#delivery.beginClose()
    this.#outbox.beginClose()
  }

  /**
   * Sends queued notifications until at most `notifications.closeTimeout` ms after `beginClose()`, lets running calls end within
   * their own deadlines, and closes all connections.
   */
  async close (): Promise<void> {
    this.beginClose()
    this.#closed = true
    this.executor.close()
    await this.#outbox.close()
    this.#transport.close?.()
    await this.#delivery.close()
  }
}

/** Options of `ready()` and `flush()`. */
const WaitOptions = Type.Object({ timeout: Type.Optional(MillisecondsOrZero) }, strict)

/** Supports promises and callbacks; a callback is called outside the promise, so that its own errors stay separate. */
function settle<Result> (promise: Promise<Result>, callback: TargetCallback<Result> | undefined): Promise<Result> | void {
  // Errors have a code even if the caller's `visitor` or an unusual request throws.
  const coded = promise.catch((thrown) => { throw asTargetError(thrown) })
  if (callback === undefined) return coded
  coded.then(
    (result) => process.nextTick(callback, null, result),
    (error) => process.nextTick(callback, error)
  )
}
