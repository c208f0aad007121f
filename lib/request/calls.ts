/**
 * A page's calls: which there are, who asks for what, when they are sent and when they end. One object per request;
 * nothing in it outlives the request but a call in its grace and what notifications wait for.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { TargetClient } from '../client/client.ts'
import { askConsent, type ConsentSettings } from './app-functions.ts'
import type { DecisioningMethod, QAMode } from '../schema/index.ts'
import type { Log } from '../diagnostics.ts'
import { asTargetError, failure } from '../errors.ts'
import { completeNotification, type Displayed, type NotificationForm } from '../offers/notifications.ts'
import type { Answer } from '../offers/offer.ts'
import { acceptsMbox } from '../schema/limits.ts'
import { PageCall, REFUSED_CALL } from './call.ts'
import { PageRequest, type PageRequestSettings } from './delivery-request.ts'
import { freezeQaMode, QA_ENDED, readQaVisit, type QaVisit } from '../visitor/qa-mode.ts'
import { PageReport, type ReportedPage } from './page-report.ts'
import { EMPTY_PLAN, withoutMboxes, type RoutePlan, type TargetPlan } from './route-config.ts'
import type { Visitor } from '../visitor/visitor.ts'

/** What all pages of a plugin instance share. */
export interface PageSettings extends PageRequestSettings, ConsentSettings {
  client: TargetClient
  /** ms for a whole call. */
  timeout: number
  /** ms a call may go on after its deadline. */
  grace: number
  decisioningMethod: DecisioningMethod
  /** Whether QA links count. */
  qa: boolean
  logger: Log
}

/** The calls of one page. */
export class Page {
  readonly visitor: Visitor
  #qaVisit: QaVisit | undefined
  readonly #settings: PageSettings
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #routePlan: RoutePlan
  /** What the app says, once it was asked. */
  #consent: boolean | Promise<boolean> | undefined
  readonly #calls: PageCall[] = []
  #routeStarted = false
  /** QA mode that the route itself fixes. */
  #routeQaMode: QAMode | undefined
  /** Mboxes asked for in this tick that no call has. */
  #gathering: { call: PageCall, mboxes: Set<string> } | undefined
  #pageRequest: PageRequest | undefined
  /** What the channels are told of this page; undefined where nobody subscribes. */
  report: PageReport | undefined
  /** Of the displays and clicks of this page. */
  #impressionId: string | undefined

  constructor (settings: PageSettings, request: FastifyRequest, reply: FastifyReply, routePlan: RoutePlan, visitor: Visitor) {
    this.#settings = settings
    this.#request = request
    this.#reply = reply
    this.#routePlan = routePlan
    this.visitor = visitor
    this.#qaVisit = settings.qa ? readQaVisit(request.originalUrl, visitor.qaCookie) : undefined
  }

  /** Publishes this page, if anybody subscribes. */
  publish (timing: () => ReportedPage['timing']): void {
    this.report = PageReport.for(this.#request, this.#reply, () => ({ calls: this.#calls, timing: timing() }))
  }

  /** Whether anything was or is to be sent for this page, and may be. */
  get used (): boolean {
    return this.#consent === true && (this.#calls.length > 0 || this.#impressionId !== undefined)
  }

  /** Whether the app lets Target know of this visitor, as far as that is known. */
  get enabled (): boolean {
    return this.#consents() === true
  }

  /** The first call that was configured or started, or what stands for it. */
  get first (): PageCall | undefined {
    return this.#consent === false ? REFUSED_CALL : this.#calls.find(({ plan }) => plan !== EMPTY_PLAN)
  }

  /** QA mode as the page's address or the visitor's cookie has it. */
  get qaVisit (): QaVisit | undefined {
    return this.#qaVisit
  }

  /** The QA mode in force. */
  get qaMode (): QAMode | undefined {
    return this.#routeQaMode ?? this.#qaVisit?.mode
  }

  /** The calls so far, the first of them first. */
  get calls (): readonly PageCall[] {
    return this.#calls
  }

  /** Nothing is started on a route that is switched off, nor for a page that is finished. */
  get #mayStart (): boolean {
    const { raw } = this.#reply
    return this.#routePlan !== false && !raw.writableEnded && !raw.destroyed
  }

  /** Starts the route's own call, once. */
  start (): this {
    if (this.#routeStarted) return this
    this.#routeStarted = true
    if (!this.#mayStart || this.#routePlan === undefined || !this.#consents()) return this
    try {
      const plan = typeof this.#routePlan === 'function' ? this.#routePlan(this.#request) : this.#routePlan
      if (plan === false) return this
      if (plan.members?.qaMode !== undefined) this.#routeQaMode = freezeQaMode(plan.members.qaMode)
      this.#startCall(plan)
    } catch (error) {
      this.#settings.functionFailed('config', error)
    }
    return this
  }

  /** Starts a call for what no call has yet. */
  startMore (plan: TargetPlan): void {
    const more = withoutMboxes(plan, (mbox) => this.#calls.some((call) => call.mboxes.has(mbox)))
    if (more !== undefined && this.#mayStart && this.#consents()) this.#startCall(more)
  }

  /** The call that asks for something, if one does. */
  callWith (what: Displayed): PageCall | undefined {
    this.start()
    if (this.#consent === false) return REFUSED_CALL
    if (typeof what === 'string') return this.#calls.find(({ mboxes }) => mboxes.has(what))
    return 'view' in what
      ? this.#calls.find(({ plan }) => plan.views === 'all' || plan.views.has(what.view))
      : this.#calls.find(({ plan }) => plan.pageLoad)
  }

  /** The call that has an mbox; one more for what was not asked for before. */
  callFor (mbox: string): PageCall | undefined {
    if (typeof mbox !== 'string') return undefined
    const known = this.callWith(mbox)
    // A name that the edge refuses would take all others of the tick with it.
    if (known !== undefined || !this.#mayStart || !acceptsMbox(mbox, this.#settings.report)) return known
    if (!this.#consents()) return REFUSED_CALL
    const { call, mboxes } = this.#gathering ??= this.#gather()
    mboxes.add(mbox)
    return call
  }

  /** Queues notifications; what is missing in them is filled in. */
  notify (forms: NotificationForm[]): void {
    if (forms.length === 0 || !this.#consents()) return
    this.#impressionId ??= randomUUID()
    const notifications = forms.map((form) => completeNotification(form, this.#impressionId!))
    this.report?.queued(notifications)
    const { sessionId, locationHint } = this.visitor
    const { qaMode } = this
    // What is under one key in one tick shares a call, and QA mode is the call's.
    const key = qaMode === undefined ? sessionId : `${sessionId} ${JSON.stringify(qaMode)}`
    const add = () => this.#settings.client.notify({ key, request: this.#pageRequest!.base(qaMode), sessionId, locationHint }, notifications)
    const pending = this.#prepare()
    if (pending === undefined) add()
    else pending.then((ready) => { if (ready) add() })
  }

  /** Whether Target may be asked about this visitor; asked of the app once, when something is to be started. */
  #consents (): boolean | Promise<boolean> {
    if (this.#consent !== undefined) return this.#consent
    // The function may itself ask for offers.
    this.#consent = false
    const consent = askConsent(this.#settings, this.#request)
    this.#consent = typeof consent === 'boolean'
      ? consent
      : consent.then((consents) => {
        this.#consent = consents
        if (!consents) this.#refuse()
        return consents
      })
    return this.#consent
  }

  /** Ends what waited for consent as if it had never begun. */
  #refuse (): void {
    for (const call of this.#calls.splice(0)) call.settle({ optedOut: true })
  }

  /** Queues notifications of a visitor who is known, by cookies or to the app; those of nobody count for nobody. */
  notifyIfKnown (forms: NotificationForm[]): void {
    if (!this.#consents()) return
    const pending = this.#prepare()
    const notify = () => { if (this.visitor.isKnown) this.notify(forms) }
    if (pending === undefined) notify()
    else pending.then((ready) => { if (ready) notify() })
  }

  #gather () {
    const mboxes = new Set<string>()
    const gathering = { call: this.#register(new PageCall(EMPTY_PLAN, mboxes)), mboxes }
    // Sent when the promise jobs of this tick are done too, for they may ask for more.
    queueMicrotask(() => process.nextTick(() => {
      this.#gathering = undefined
      this.#send(gathering.call, { ...EMPTY_PLAN, execute: { mboxes: [...mboxes].map((name, index) => ({ index, name })) } })
    }))
    return gathering
  }

  #startCall (plan: TargetPlan): void {
    const call = this.#register(new PageCall(plan))
    this.#send(call, plan)
  }

  #register (call: PageCall): PageCall {
    // The request's own 'close' and `request.signal` fire as soon as a POST's body was read; the response's does not.
    if (this.#calls.length === 0) this.#reply.raw.once('close', () => this.#clientLeft())
    this.#calls.push(call)
    return call
  }

  #clientLeft (): void {
    if (this.#reply.raw.writableEnded) return
    for (const call of this.#calls) if (!call.needed) call.abort()
  }

  /** Sends a call, at once unless one of the app's functions needs time. The deadline counts from here in any case. */
  #send (call: PageCall, plan: TargetPlan): void {
    if (call.outcome !== undefined) return
    const timeout = plan.timeout ?? this.#settings.timeout
    const early = this.#consent instanceof Promise
    const pending = this.#prepare()
    if (pending === undefined) return this.#sendNow(call, plan, timeout)
    const deadline = performance.now() + timeout
    const timer = setTimeout(() => call.settle({
      error: failure('FST_TARGET_TIMEOUT', `the app's own functions were not done within ${timeout} ms`, { meta: { phase: 'request', attempts: 0, elapsed: timeout } })
    }), timeout)
    pending.then((ready) => {
      clearTimeout(timer)
      if (!ready || call.outcome !== undefined) return
      // Without a cookie it would be a visitor who never comes back, and nobody sees what is decided now.
      if (early && !this.#mayStart && !call.needed) return call.settle({ error: failure('FST_TARGET_ABORTED', 'the response was sent before `enabled` had answered') })
      this.#sendNow(call, plan, Math.max(1, deadline - performance.now()))
    })
  }

  #sendNow (call: PageCall, plan: TargetPlan, timeout: number): void {
    const { client, grace, decisioningMethod } = this.#settings
    const learn = (answer: Answer) => this.visitor.learn(answer.response)
    try {
      const request = this.#pageRequest!.create(plan, this.qaMode)
      call.requestId = request.requestId
      call.running = client.call({
        request,
        json: this.#pageRequest!.jsonOf(request, plan),
        sessionId: this.visitor.sessionId,
        locationHint: this.visitor.locationHint,
        // Rule artifacts hold nothing of QA mode.
        decisioningMethod: request.qaMode !== undefined ? 'server-side' : plan.decisioningMethod ?? decisioningMethod,
        kind: 'page',
        timeout,
        grace,
        onLate: learn
      }, (answer, error) => {
        if (answer !== undefined) learn(answer)
        // The token is no longer one of Target's, or never was: the visitor shall not be left without offers for it.
        else if (this.#qaVisit?.mode !== undefined && error!.meta?.status === 400) this.#qaVisit = QA_ENDED
        call.settle(answer === undefined ? { error: error! } : { answer })
      })
    } catch (error) {
      call.settle({ error: asTargetError(error) })
    }
  }

  /**
   * Puts together what all requests of the page have in common; undefined when that is done at once.
   *
   * @returns whether Target may be asked, when that is known and the app's functions are done; never rejects
   */
  #prepare (): Promise<boolean> | undefined {
    if (this.#consent instanceof Promise) return this.#consent.then((consents) => consents && (this.#prepare() ?? true))
    this.#pageRequest ??= new PageRequest(this.#settings, this.#request, this.visitor)
    return this.#pageRequest.pending?.then(() => true)
  }
}
