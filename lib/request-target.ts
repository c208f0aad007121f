/**
 * `request.target`: starts the page's call, answers what handlers ask, falls back when there is nothing, keeps the time.
 * One object per request; nothing in it outlives the request but a call in its grace.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { attributesOf, expectAttributes, type AttributesExpectation, type AttributesFor, type AttributesReader } from './attributes.ts'
import { asTargetError, type TargetClient } from './client.ts'
import type { DecisioningMethod, MboxResponse, PageLoadResponse, View } from './delivery/schema/index.ts'
import type { TargetLogger } from './diagnostics.ts'
import { failure } from './errors.ts'
import {
  createResult, failedOffer, fallbackOffer, mboxEntries, offerOf, pageLoadEntries,
  type Answer, type MboxContent, type MboxName, type MboxOffer, type Offer, type OfferContent, type OfferSource,
  type TargetResult, type ViewOffer
} from './offers.ts'
import { PageCall, type Waited } from './page-call.ts'
import { PageRequest, type PageRequestSettings } from './page-request.ts'
import { compileRequest, EMPTY_PLAN, withoutMboxes, type RoutePlan, type TargetPlan, type TargetRequestForm } from './route-plan.ts'
import type { Visitor } from './visitor.ts'

/** What all requests of a plugin instance share. */
export interface RequestTargetSettings extends PageRequestSettings {
  client: TargetClient
  /** ms for a whole call. */
  timeout: number
  /** ms a call may go on after its deadline. */
  grace: number
  /** ms an ask may hold the handler; undefined: until the call's deadline. */
  maxWait?: number
  decisioningMethod: DecisioningMethod
  logger: TargetLogger
}

/** Times of a request's Target calls, ms. */
export interface TargetTiming {
  /** From the request's arrival to the start of the first call; undefined before. */
  started: number | undefined
  /** Duration of the first call; undefined until it is answered or has failed. */
  duration: number | undefined
  /** How long at least one ask was open, overlaps counted once: the effective Target time. */
  waited: number
}

/** What handlers read: `request.target`. */
export class RequestTarget {
  readonly #settings: RequestTargetSettings
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #arrival: number
  readonly #routePlan: RoutePlan
  readonly #visitor: Visitor
  readonly #calls: PageCall[] = []
  /** The call that has an mbox, by name. */
  readonly #byMbox = new Map<string, PageCall>()
  #routeStarted = false
  /** Mboxes asked for in this tick that no call has. */
  #gathering: { call: PageCall, mboxes: string[] } | undefined
  #page: PageRequest | undefined
  #open = 0
  #openSince = 0
  #waited = 0
  #result: TargetResult | undefined

  /**
   * @param arrival of the request, on the clock of `performance.now()`
   * @internal
   */
  constructor (settings: RequestTargetSettings, request: FastifyRequest, reply: FastifyReply, arrival: number, routePlan: RoutePlan, visitor: Visitor) {
    this.#settings = settings
    this.#request = request
    this.#reply = reply
    this.#arrival = arrival
    this.#routePlan = routePlan
    this.#visitor = visitor
  }

  /**
   * Content of the first option that has any, over all entries of that name, executed before prefetched: a string for
   * html, an object for json, a list for actions, a URL for redirect (see `offer().type`). Never rejects.
   *
   * @param fallback what to resolve with where Target has no content. Default: undefined
   */
  async content<Name extends MboxName, Fallback = undefined> (mbox: Name, fallback?: Fallback): Promise<MboxContent<Name> | Fallback> {
    return (await this.offer(mbox, fallback)).content
  }

  /**
   * The whole offer of an mbox. Asking twice gives the same answer without a second call; an mbox that was not in the
   * route's config is asked for in one more call, with all others asked for in the same tick. Never rejects.
   */
  async offer<Name extends MboxName, Fallback = undefined> (mbox: Name, fallback?: Fallback): Promise<MboxOffer<MboxContent<Name>, Fallback>> {
    const offer = await this.#offer(this.#callFor(mbox), fallback, (answer) => mboxEntries(answer.response, mbox))
    return { mbox, ...offer } as MboxOffer<MboxContent<Name>, Fallback>
  }

  /**
   * The json offers of an mbox as one object. With a TypeBox object schema: defaulted, checked and typed, and content
   * that does not fit gives the schema's own defaults as a whole; with an object: laid over it. Never rejects.
   *
   * @throws FST_TARGET_INVALID_OPTIONS at the call, when the schema cannot be filled from its own defaults
   */
  attributes<const Expectation extends AttributesExpectation> (mbox: MboxName, schemaOrDefaults: Expectation): Promise<AttributesFor<Expectation>> {
    return this.#attributes(mbox, expectAttributes(schemaOrDefaults))
  }

  async #attributes<Attributes> (mbox: string, read: AttributesReader<Attributes>): Promise<Attributes> {
    const answer = answerOf(await this.#wait(this.#callFor(mbox), this.#maxWait))
    const { attributes, problem } = read(answer === undefined ? undefined : attributesOf(answer.response, mbox))
    if (problem !== undefined) this.#settings.logger.error({ mbox, problem }, 'Target attributes do not fit their schema; its defaults are used')
    return attributes
  }

  /** The page load's offer. Never rejects. */
  async pageLoad<Fallback = undefined> (fallback?: Fallback): Promise<Offer<OfferContent, Fallback>> {
    const call = this.#started.find(({ plan }) => plan.pageLoad)
    return await this.#offer(call, fallback, (answer) => pageLoadEntries(answer.response))
  }

  /** A prefetched view's offer. Never rejects. */
  async view<Fallback = undefined> (name: string, fallback?: Fallback): Promise<ViewOffer<Fallback>> {
    const call = this.#started.find(({ plan }) => plan.views === 'all' || plan.views.has(name))
    return { view: name, ...await this.#offer(call, fallback, (answer) => (answer.response.prefetch?.views ?? []).filter((view) => view.name === name)) }
  }

  /** All prefetched views; empty when there are none or the call failed. Never rejects. */
  async views (): Promise<ViewOffer[]> {
    const call = this.#started.find(({ plan }) => plan.views === 'all' || plan.views.size > 0)
    const answer = answerOf(await this.#wait(call, this.#maxWait))
    if (answer === undefined) return []
    return (answer.response.prefetch?.views ?? []).map((view) => ({ view: view.name ?? '', ...offerOf([view], answer.source, undefined) }))
  }

  /**
   * The SDK's `getOffers` result of the page's first call, configured or started; extra asks are not in it.
   *
   * @throws (rejects) an error of this package; INVALID_REQUEST where nothing was requested
   */
  async result (): Promise<TargetResult> {
    const outcome = await this.#wait(this.#started[0], undefined)
    if (typeof outcome !== 'object') throw failure('FST_TARGET_INVALID_REQUEST', 'nothing was requested for this page')
    if (outcome.answer === undefined) throw outcome.error
    this.#result ??= createResult(outcome.answer, this.#visitor.sessionId, this.#visitor.locationHint, this.#visitor.visitorState)
    return this.#result
  }

  /**
   * Starts the call now: the route's, for `hook: false`, and one for what a request asks beyond it.
   *
   * @param request as in the route's config
   * @throws FST_TARGET_INVALID_OPTIONS when the request is malformed
   */
  start (request?: TargetRequestForm): this {
    this.#startRoute()
    if (request !== undefined) {
      const plan = withoutMboxes(compileRequest(request, 'the request given to start()'), this.#byMbox)
      if (plan !== undefined && this.#mayStart) this.#startCall(plan)
    }
    return this
  }

  /** Times so far. */
  get timing (): TargetTiming {
    const first = this.#calls[0]
    return {
      started: first === undefined ? undefined : first.startedAt - this.#arrival,
      duration: first?.endedAt === undefined ? undefined : first.endedAt - first.startedAt,
      waited: this.#open === 0 ? this.#waited : this.#waited + performance.now() - this.#openSince
    }
  }

  /**
   * Whether a call was made for this page.
   *
   * @internal
   */
  get used (): boolean {
    return this.#calls.length > 0
  }

  /**
   * Where the first call was decided; undefined until it is.
   *
   * @internal
   */
  get source (): OfferSource | undefined {
    const outcome = this.#calls[0]?.outcome
    return outcome === undefined ? undefined : outcome.answer?.source ?? 'default'
  }

  /** The page's calls; the route's own is started if it was not yet. */
  get #started (): PageCall[] {
    this.#startRoute()
    return this.#calls
  }

  /** Nothing is started on a route that is switched off, nor for a page that is finished. */
  get #mayStart (): boolean {
    const { raw } = this.#reply
    return this.#routePlan !== false && !raw.writableEnded && !raw.destroyed
  }

  get #maxWait (): number | undefined {
    return this.#calls[0]?.plan.maxWait ?? this.#settings.maxWait
  }

  async #offer<Fallback> (call: PageCall | undefined, fallback: Fallback | undefined, entries: (answer: Answer) => (MboxResponse | PageLoadResponse | View)[]): Promise<Offer<OfferContent, Fallback>> {
    const waited = await this.#wait(call, this.#maxWait)
    const instead = fallback as Fallback
    if (waited === undefined) return fallbackOffer(instead, 'not-requested')
    if (waited === 'max-wait') return fallbackOffer(instead, 'max-wait')
    return waited.answer === undefined ? failedOffer(instead, waited.error) : offerOf(entries(waited.answer), waited.answer.source, instead)
  }

  /** Waits for a call and counts the time in which anybody does. */
  #wait (call: PageCall | undefined, maxWait: number | undefined): Waited | undefined | Promise<Waited> {
    if (call === undefined || call.outcome !== undefined) return call?.outcome
    if (this.#open++ === 0) this.#openSince = performance.now()
    return call.wait(maxWait).then((waited) => {
      if (--this.#open === 0) this.#waited += performance.now() - this.#openSince
      return waited
    })
  }

  #startRoute (): void {
    if (this.#routeStarted) return
    this.#routeStarted = true
    if (!this.#mayStart || this.#routePlan === undefined) return
    try {
      const plan = typeof this.#routePlan === 'function' ? this.#routePlan(this.#request) : this.#routePlan
      if (plan !== false) this.#startCall(plan)
    } catch (error) {
      this.#settings.functionFailed('config', error)
    }
  }

  /** The call that has an mbox; one more for what was not asked for before. */
  #callFor (mbox: string): PageCall | undefined {
    this.#startRoute()
    const known = this.#byMbox.get(mbox)
    if (known !== undefined || !this.#mayStart) return known
    const { call, mboxes } = this.#gathering ??= this.#gather()
    mboxes.push(mbox)
    this.#byMbox.set(mbox, call)
    return call
  }

  #gather () {
    const gathering = { call: this.#register(new PageCall(EMPTY_PLAN)), mboxes: [] as string[] }
    // Sent when the promise jobs of this tick are done too, for they may ask for more.
    queueMicrotask(() => process.nextTick(() => {
      this.#gathering = undefined
      this.#send(gathering.call, { ...EMPTY_PLAN, execute: { mboxes: gathering.mboxes.map((name, index) => ({ index, name })) } })
    }))
    return gathering
  }

  #startCall (plan: TargetPlan): void {
    const call = this.#register(new PageCall(plan))
    for (const mbox of plan.mboxes) if (!this.#byMbox.has(mbox)) this.#byMbox.set(mbox, call)
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
    for (const call of this.#calls) call.abort()
  }

  /** Sends a call, at once unless one of the app's functions needs time. The deadline counts from here in any case. */
  #send (call: PageCall, plan: TargetPlan): void {
    const timeout = plan.timeout ?? this.#settings.timeout
    this.#page ??= new PageRequest(this.#settings, this.#request, this.#visitor)
    const { pending } = this.#page
    if (pending === undefined) return this.#sendNow(call, plan, timeout)
    const deadline = performance.now() + timeout
    const timer = setTimeout(() => call.settle({
      error: failure('FST_TARGET_TIMEOUT', `the app's own functions were not done within ${timeout} ms`, { meta: { phase: 'request', attempts: 0, elapsed: timeout } })
    }), timeout)
    pending.then(() => {
      clearTimeout(timer)
      if (call.outcome === undefined) this.#sendNow(call, plan, Math.max(1, deadline - performance.now()))
    })
  }

  #sendNow (call: PageCall, plan: TargetPlan, timeout: number): void {
    const { client, grace, decisioningMethod } = this.#settings
    try {
      call.running = client.call({
        request: this.#page!.create(plan),
        sessionId: this.#visitor.sessionId,
        locationHint: this.#visitor.locationHint,
        decisioningMethod: plan.decisioningMethod ?? decisioningMethod,
        kind: 'page',
        timeout,
        grace,
        onLate: (answer) => this.#visitor.learn(answer.response)
      })
    } catch (error) {
      return call.settle({ error: asTargetError(error) })
    }
    call.running.answer.then((answer) => {
      this.#visitor.learn(answer.response)
      call.settle({ answer })
    }, (error) => call.settle({ error: asTargetError(error) }))
  }
}

const answerOf = (waited: Waited | undefined): Answer | undefined => typeof waited === 'object' ? waited.answer : undefined
