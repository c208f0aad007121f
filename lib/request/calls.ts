/**
 * All calls of one request: which of them has what a handler reads, and when they are sent.
 * One object per request; it does not outlive the request, unless a call is in its grace or a notification waits for one.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { TargetClient } from '../client/client.ts'
import type { Log } from '../diagnostics.ts'
import { asTargetError, failure } from '../errors.ts'
import { acceptsMbox } from '../schema/acceptable.ts'
import type { ForcedOffer, PageInspection } from '../offers/inspection.ts'
import type { Displayed } from '../offers/notifications.ts'
import type { OfferSource } from '../offers/offer.ts'
import type { Answer } from '../offers/result.ts'
import type { DecisioningMethod, QAMode } from '../schema/index.ts'
import { freezeQaMode, QA_ENDED, readQaVisit, type QaVisit } from '../visitor/qa-mode.ts'
import type { Visitor } from '../visitor/visitor.ts'
import { AppFunctions, type AppFunctionsSettings } from './app-functions.ts'
import { NOT_REQUESTED, PendingCall, type CallKind, type Outcome, type Waited } from './call.ts'
import { DeliveryRequests, type DeliveryRequestSettings } from './delivery-request.ts'
import { ForcedOffers } from './forced-offers.ts'
import { PageNotifications } from './page-notifications.ts'
import { PageReport } from './page-report.ts'
import { Reads, type Preparation } from './reads.ts'
import { withoutMboxes, type TargetPlan } from './route-config.ts'
import type { Route } from './routes.ts'
import { uncounted } from './uncounted.ts'

/** Shared by all requests of a plugin instance. */
export interface RequestCallsSettings extends DeliveryRequestSettings, AppFunctionsSettings {
  client: TargetClient
  /** ms for a whole call. */
  timeout: number
  /** ms for which a call may continue after its deadline. */
  grace: number
  /** ms for which a read may delay the handler. Default: until the call's deadline. */
  maxWait?: number
  decisioningMethod: DecisioningMethod
  /** Whether QA links count. */
  qa: boolean
  /** Name of the decorator. */
  decorator: string
  /** The hook in which calls start. */
  hook: string | false
  logger: Log
  /** Called if a response is or may be written without Fastify: its headers must be added as the head is written. */
  onBypass (request: FastifyRequest, reply: FastifyReply): void
  /** Called after a response to which nothing was added. */
  onBypassed (request: FastifyRequest): void
}

/** Times of a request's Target calls, in ms. */
export interface TargetTiming {
  /**
   * From the request's arrival to the start of the first call; undefined before. Fastify measures the arrival if it has a logger
   * or an `onResponse` hook; otherwise this counts from the plugin's own `onRequest` hook.
   */
  started: number | undefined
  /** Duration of the first call; undefined until it is answered or has failed. */
  duration: number | undefined
  /** Time during which at least one read was waiting, overlaps counted once: the effective Target time. */
  waited: number
}

const OPTED_OUT: Outcome = { kind: 'opted-out' }

/** The calls of one request. */
export class RequestCalls {
  readonly visitor: Visitor
  readonly #settings: RequestCallsSettings
  readonly #request: FastifyRequest
  readonly #route: Route
  /** Unknown in hooks that run before the plugin's own. */
  #reply: FastifyReply | undefined
  /** By `performance.now()`; unknown in the same hooks. */
  #arrival: number | undefined
  readonly #app: AppFunctions
  readonly #requests: DeliveryRequests
  readonly #calls: PendingCall[] = []
  /** Publishes this page and its offers; undefined without subscribers. */
  report: PageReport | undefined
  /** Whether the response has its headers. */
  finished = false
  /** What the inspector does to this page; undefined without it. */
  readonly #inspection: PageInspection | undefined
  readonly #forced: ForcedOffers | undefined
  readonly #reads: Reads
  #bypassesFastify = false
  #routeStarted = false
  #qaVisit: QaVisit | undefined
  /** QA mode fixed by the route. */
  #routeQaMode: QAMode | undefined
  /** The call for the mboxes that were read in this tick. */
  #gathering: { call: PendingCall, mboxes: Set<string> } | undefined
  #notifications: PageNotifications | undefined

  constructor (settings: RequestCallsSettings, request: FastifyRequest, route: Route, visitor: Visitor) {
    this.#settings = settings
    this.#request = request
    this.#route = route
    this.visitor = visitor
    this.#app = new AppFunctions(settings, request, visitor)
    this.#requests = new DeliveryRequests(settings, request, visitor, this.#app)
    this.#qaVisit = settings.qa ? readQaVisit(request.originalUrl, visitor.qaCookie) : undefined
    this.#inspection = settings.client.inspector?.inspect(request)
    if (this.#inspection?.overrides !== undefined) this.#forced = new ForcedOffers(this.#inspection.overrides)
    this.#reads = new Reads(settings.timeout)
  }

  /** Whether offers are forced on this page, so that nothing of it is counted. */
  get overridden (): boolean {
    return this.#forced !== undefined
  }

  /** What is forced for an mbox, or for page load and views. */
  forced (mbox: string | undefined): ForcedOffer | undefined {
    return this.#forced?.find(mbox)
  }

  /** The call that a read of forced offers waits for; undefined if nothing is forced. */
  #forcedCall (mbox: string | undefined): PendingCall | Outcome | undefined {
    return this.#forced?.callFor(mbox, this.#calls[0]?.plan.timeout ?? this.#settings.timeout)
  }

  /** Sets the reply, once known. */
  arrive (reply: FastifyReply, arrival: number): void {
    this.#reply = reply
    this.#arrival = arrival
    this.report = PageReport.for(this.#request, reply, arrival, () => ({ calls: this.#calls, timing: this.timing }))
    if (this.#calls.length > 0) this.#watchResponse(reply)
  }

  /** The request whose calls these are. */
  get request (): FastifyRequest {
    return this.#request
  }

  /** The route, for messages: `GET /`. */
  get routeName (): string {
    return this.#route.name
  }

  get #configName (): string {
    return `config.${this.#settings.decorator} of ${this.#route.name}`
  }

  /** Whether anything was or will be sent for this request, and may be. */
  get used (): boolean {
    return this.#app.consent === true && (this.#calls.length > 0 || this.#notifications?.any === true)
  }

  /** Whether the app allows calls for this visitor, as far as known. Calls `enabled` unless that was done already. */
  get enabled (): boolean {
    return this.#app.enabled === true
  }

  /** The first call that was configured or started, or why there is none. */
  get first (): PendingCall | Outcome {
    if (this.#app.consent === false) return OPTED_OUT
    return this.#calls.find(({ kind }) => kind !== 'asked') ?? NOT_REQUESTED
  }

  /** QA mode from the page's address or the visitor's cookie. */
  get qaVisit (): QaVisit | undefined {
    return this.#qaVisit
  }

  /** The QA mode in force. */
  get qaMode (): QAMode | undefined {
    return this.#routeQaMode ?? this.#qaVisit?.mode
  }

  /** The notifications of this request. */
  get notifications (): PageNotifications {
    return (this.#notifications ??= new PageNotifications(this.#settings, this, this.#app, this.#requests))
  }

  /** The calls so far, in order of their start. */
  get all (): readonly PendingCall[] {
    return this.#calls
  }

  /** Times so far. */
  get timing (): TargetTiming {
    const first = this.#calls[0]
    return {
      started: first === undefined ? undefined : first.startedAt - (this.#arrival ?? first.startedAt),
      duration: first?.endedAt === undefined ? undefined : first.endedAt - first.startedAt,
      waited: this.#reads.waited
    }
  }

  /** Where the first call was decided; undefined until it is. */
  get source (): OfferSource | undefined {
    const outcome = this.#calls[0]?.outcome
    if (outcome === undefined) return undefined
    return outcome.kind === 'answered' ? outcome.answer.source : 'default'
  }

  /** Nothing is started on a route that is switched off, nor after the response. */
  get #mayStart (): boolean {
    if (this.#route.plan.kind === 'off') return false
    const raw = this.#reply?.raw
    return raw === undefined || (!raw.writableEnded && !raw.destroyed)
  }

  /** Starts the route's own call, once. */
  start (): this {
    if (this.#routeStarted) return this
    this.#routeStarted = true
    const route = this.#route.plan
    if (!this.#mayStart || route.kind === 'off' || route.kind === 'on-demand' || this.#app.enabled === false) return this
    try {
      const plan = route.kind === 'fixed' ? route.plan : this.#settings.earlyBody.run(this.#configName, this.#request, route.plan)
      if (plan.members?.qaMode !== undefined) this.#routeQaMode = freezeQaMode(plan.members.qaMode)
      this.#send(this.#register('route', plan), plan)
    } catch (error) {
      this.#settings.functionFailed(this.#configName, error)
    }
    return this
  }

  /** Starts a call for the part of a plan that no call has yet. */
  startMore (plan: TargetPlan): void {
    const more = withoutMboxes(plan, (mbox) => this.#calls.some((call) => call.plan.mboxes.has(mbox)))
    if (more === undefined || !this.#mayStart || this.#app.enabled === false) return
    this.#send(this.#register('started', more), more)
  }

  /** The call that contains a place, or why there is none. */
  callWith (what: Displayed): PendingCall | Outcome {
    this.start()
    if (this.#app.consent === false) return OPTED_OUT
    const forced = this.#forcedCall(typeof what === 'string' ? what : undefined)
    if (forced !== undefined) return forced
    const has = typeof what === 'string'
      ? ({ plan }: PendingCall) => plan.mboxes.has(what)
      : 'view' in what
        ? ({ plan }: PendingCall) => plan.views === 'all' || plan.views.has(what.view)
        : ({ plan }: PendingCall) => plan.pageLoad
    return this.#calls.find(has) ?? NOT_REQUESTED
  }

  /** The call that contains an mbox: a new one, shared with the other reads of this tick, if no call has it yet. */
  callFor (mbox: string): PendingCall | Outcome {
    const known = this.callWith(mbox)
    if (this.forced(mbox) !== undefined) return known
    // A name that the edge refuses would fail all others of the tick.
    if (typeof mbox !== 'string' || known instanceof PendingCall || !this.#mayStart || !acceptsMbox(mbox, this.#settings.report)) return known
    if (this.#app.enabled === false) return OPTED_OUT
    this.#warnOfLateAsk(mbox)
    const { call, mboxes } = this.#gathering ??= this.#gather()
    mboxes.add(mbox)
    return call
  }

  /** Only mboxes in the route's config are requested while the handler works, so a forgotten one costs its visitors time. */
  #warnOfLateAsk (mbox: string): void {
    const { warnings, hook, logger, decorator } = this.#settings
    const { name, plan, isNotFound } = this.#route
    if (hook === false || isNotFound) return
    const advice = plan.kind === 'per-request'
      ? `let config.${decorator} return it`
      : plan.kind === 'fixed' ? `add it to config.${decorator} of the route` : `add \`config: { ${decorator}: ['${mbox}'] }\` to the options of the route`
    const warning = `mbox '${mbox}' is not in config.${decorator} of ${name}, so its call starts only when the handler reads it; ${advice}`
    warnings.lateAsk(name, mbox, warning)
    if (logger.once(`late ask ${name}`)) logger.warn(warning)
  }

  /** The call that contains views, or why there is none. */
  callWithViews (): PendingCall | Outcome {
    this.start()
    return this.#forcedCall(undefined) ?? this.#calls.find(({ plan }) => plan.views === 'all' || plan.views.size > 0) ?? NOT_REQUESTED
  }

  /** Waits as long as a read may, and reads the result. */
  ask<Result> (call: PendingCall | Outcome, read: (waited: Waited) => Result | PromiseLike<Result>, prepare?: Preparation): Promise<Result> {
    return this.wait(call, this.#calls[0]?.plan.maxWait ?? this.#settings.maxWait, read, prepare)
  }

  /** Waits for a call, `maxWait` ms or until its own deadline, and reads the result. */
  wait<Result> (call: PendingCall | Outcome, maxWait: number | undefined, read: (waited: Waited) => Result | PromiseLike<Result>, prepare?: Preparation): Promise<Result> {
    if (this.#reply?.sent === true) this.#bypass(this.#reply)
    return this.#reads.wait(call, maxWait, read, prepare)
  }

  #gather () {
    const mboxes = new Set<string>()
    const call = this.#register('asked', { mboxes, pageLoad: false, views: new Set() })
    // Sent after the promise jobs of this tick, which may request more.
    queueMicrotask(() => process.nextTick(() => {
      this.#gathering = undefined
      this.#send(call, { ...call.plan, execute: { mboxes: [...mboxes].map((name, index) => ({ index, name })) } })
    }))
    return { call, mboxes }
  }

  #register (kind: CallKind, plan: TargetPlan): PendingCall {
    if (this.#calls.length === 0 && this.#reply !== undefined) this.#watchResponse(this.#reply)
    const call = new PendingCall(kind, plan)
    this.#calls.push(call)
    return call
  }

  #watchResponse (reply: FastifyReply): void {
    if (this.#route.bypassesFastify) this.#bypass(reply)
    // The request's own 'close' and `request.signal` fire as soon as a POST's body was read; the response's does not.
    reply.raw.once('close', () => this.#responseClosed(reply.raw))
  }

  /** Handles a hijacked reply, or a route known to write its response itself. */
  #bypass (reply: FastifyReply): void {
    if (this.#bypassesFastify || this.finished) return
    this.#bypassesFastify = true
    this.#settings.onBypass(this.#request, reply)
  }

  #responseClosed (raw: FastifyReply['raw']): void {
    // An error in an earlier `onSend` hook also ends a response without the other hooks.
    if (!this.finished && raw.headersSent && raw.statusCode < 500 && this.used) {
      this.#route.bypassesFastify = true
      this.#settings.onBypassed(this.#request)
    }
    if (raw.writableEnded) return
    for (const call of this.#calls) if (!call.needed) call.abort()
  }

  /** Sends a call, now unless one of the app's functions is pending. The deadline counts from now in any case. */
  #send (call: PendingCall, plan: TargetPlan): void {
    if (call.outcome !== undefined) return
    const timeout = plan.timeout ?? this.#settings.timeout
    const { ready } = this.#app
    if (ready === false) return this.#refuse()
    if (ready === true) return this.#sendNow(call, plan, timeout)
    const withoutConsent = this.#app.consent === undefined
    const deadline = performance.now() + timeout
    const timer = setTimeout(() => call.settle({
      kind: 'failed',
      error: failure('FST_TARGET_TIMEOUT', `${this.#app.pending.map((name) => `\`${name}\``).join(', ')} did not resolve within ${timeout} ms`, { meta: { phase: 'request', attempts: 0, elapsed: timeout } })
    }), timeout)
    ready.then((allowed) => {
      clearTimeout(timer)
      if (!allowed) return this.#refuse()
      if (call.outcome !== undefined) return
      // The cookie can no longer be set, so the call would create a visitor who never comes back.
      if (withoutConsent && !this.#mayStart && !call.needed) {
        return call.settle({ kind: 'failed', error: failure('FST_TARGET_ABORTED', 'the response was sent before `enabled` had resolved') })
      }
      this.#sendNow(call, plan, Math.max(1, deadline - performance.now()))
    })
  }

  /** Ends the calls that waited for consent as if they had never started. */
  #refuse (): void {
    for (const call of this.#calls.splice(0)) call.settle(OPTED_OUT)
  }

  #sendNow (call: PendingCall, plan: TargetPlan, timeout: number): void {
    const { client, grace, decisioningMethod } = this.#settings
    const learn = (answer: Answer) => {
      if (answer.hintIsDead === true) this.visitor.forgetLocationHint()
      this.visitor.learn(answer.response, answer.edgeState)
    }
    try {
      const original = this.#requests.create(plan, this.qaMode)
      const { overrides, traceToken } = this.#inspection ?? {}
      if (traceToken !== undefined) original.trace ??= { authorizationToken: traceToken }
      const untold = overrides === undefined ? undefined : uncounted(original, overrides)
      const request = untold?.request ?? original
      call.requestId = request.requestId
      const running = client.executor.run({
        request,
        sessionId: this.visitor.sessionId,
        locationHint: this.visitor.locationHint,
        edgeState: this.visitor.edgeState,
        // Rule artifacts do not support QA mode.
        decisioningMethod: request.qaMode !== undefined ? 'server-side' : plan.decisioningMethod ?? decisioningMethod,
        kind: 'page',
        timeout,
        grace,
        onLate: learn
      }, (answer, error) => {
        if (answer !== undefined) {
          learn(answer)
          return call.settle({ kind: 'answered', answer: untold?.restore(answer) ?? answer })
        }
        // Target does not know the QA token, or no longer: without it the visitor gets offers again.
        if (this.#qaVisit?.mode !== undefined && error!.meta?.status === 400) this.#qaVisit = QA_ENDED
        call.settle({ kind: 'failed', error: error! })
      })
      if (call.outcome === undefined) call.running = running
    } catch (error) {
      call.settle({ kind: 'failed', error: asTargetError(error) })
    }
  }
}
