/**
 * `request.target`: starts the page's call, answers what handlers ask, falls back when there is nothing, keeps the time.
 * One object per request; nothing in it outlives the request but a call in its grace.
 */
import type { AttributesExpectation, AttributesFor } from '../offers/attributes.ts'
import type { DeliveryResponse, MboxResponse, PageLoadResponse, QAMode, View } from '../schema/index.ts'
import { acceptableNotification, type ReportLimit } from '../schema/limits.ts'
import { counted, type Log } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import type { VisitorState } from '../visitor/experience-cloud.ts'
import { createScript, serverStateOf, type ScriptOptions, type ServerState } from './at-js.ts'
import { PageMboxes, type AttributesName, type MboxContent, type MboxName, type MboxOtherwise, type MboxSettings } from '../offers/mboxes.ts'
import { clickNotifications, displayNotifications, isNotificationForm, type Displayed, type NotificationForm } from '../offers/notifications.ts'
import {
  createResult, failedOffer, fallbackOffer, mboxEntries, offerOf, pageLoadEntries,
  type Answer, type MboxOffer, type Offer, type OfferContent, type OfferSource,
  type TargetResult, type ViewOffer
} from '../offers/offer.ts'
import type { PageCall, Outcome, Waited } from './call.ts'
import type { Page } from './calls.ts'
import type { QaVisit } from '../visitor/qa-mode.ts'
import { compileRequest, type TargetRequestForm } from './route-config.ts'

/** What all requests of a plugin instance share. */
export interface RequestTargetSettings extends MboxSettings {
  /** ms an ask may hold the handler; undefined: until the call's deadline. */
  maxWait?: number
  logger: Log
  /** Called with what was cut or left out of a request. */
  report: ReportLimit
}

/** Times of a request's Target calls, ms. */
export interface TargetTiming {
  /**
   * From the request's arrival to the start of the first call; undefined before. Fastify measures the arrival where it has a
   * logger or an `onResponse` hook; elsewhere this counts from the plugin's own `onRequest` hook.
   */
  started: number | undefined
  /** Duration of the first call; undefined until it is answered or has failed. */
  duration: number | undefined
  /** How long at least one ask was open, overlaps counted once: the effective Target time. */
  waited: number
}

/** What handlers read: `request.target`. */
export class RequestTarget {
  readonly #settings: RequestTargetSettings
  readonly #page: Page
  readonly #arrival: number
  #open = 0
  #openSince = 0
  #waited = 0
  #result: TargetResult | undefined
  #pageMboxes: PageMboxes | undefined

  /**
   * @param arrival of the request, on the clock of `performance.now()`
   * @internal
   */
  constructor (settings: RequestTargetSettings, page: Page, arrival: number) {
    this.#settings = settings
    this.#page = page
    this.#arrival = arrival
    page.publish(() => this.timing)
  }

  /**
   * Content of the first option that has any, over all entries of that name, executed before prefetched: a string for
   * html, an object for json, a list for actions, a URL for redirect (see `offer().type`). Never rejects.
   *
   * @param fallback what to resolve with where Target has no content that fits. Default: as declared in the option `mboxes`
   */
  content<Name extends MboxName, Fallback = MboxOtherwise<Name>> (mbox: Name, fallback?: Fallback): Promise<MboxContent<Name> | Fallback> {
    return this.#ask(mbox, this.#page.callFor(mbox), (waited) => this.#mboxOffer(mbox, waited, fallback).content) as Promise<MboxContent<Name> | Fallback>
  }

  /**
   * The whole offer of an mbox. Asking twice gives the same answer without a second call; an mbox that was not in the
   * route's config is asked for in one more call, with all others asked for in the same tick. Never rejects.
   */
  offer<Name extends MboxName, Fallback = MboxOtherwise<Name>> (mbox: Name, fallback?: Fallback): Promise<MboxOffer<MboxContent<Name>, Fallback>> {
    return this.#ask(mbox, this.#page.callFor(mbox), (waited) => ({ mbox, ...this.#mboxOffer(mbox, waited, fallback) })) as Promise<MboxOffer<MboxContent<Name>, Fallback>>
  }

  /**
   * The json offers of an mbox as one object. As declared in the option `mboxes`, or with a second argument: a TypeBox
   * object schema, for attributes that are defaulted, checked and typed, where content that does not fit gives the
   * schema's own defaults as a whole; or an object that they are laid over. Never rejects.
   *
   * @throws FST_TARGET_INVALID_OPTIONS at the call, when the schema cannot be filled from its own defaults, or there is
   *   neither a second argument nor a schema of an object in `mboxes`
   */
  attributes<Name extends AttributesName> (mbox: Name): Promise<MboxContent<Name>>
  attributes<const Expectation extends AttributesExpectation> (mbox: MboxName, schemaOrDefaults: Expectation): Promise<AttributesFor<Expectation>>
  attributes (mbox: string, schemaOrDefaults?: AttributesExpectation): Promise<unknown> {
    const read = this.#mboxes.attributes(mbox, schemaOrDefaults)
    return this.#ask(mbox, this.#page.callFor(mbox), (waited) => read(answerOf(waited)?.response))
  }

  get #mboxes (): PageMboxes {
    this.#pageMboxes ??= new PageMboxes(this.#settings)
    return this.#pageMboxes
  }

  /** The page load's offer. Never rejects. */
  async pageLoad<Fallback = undefined> (fallback?: Fallback): Promise<Offer<OfferContent, Fallback>> {
    return await this.#ask(PAGE_LOAD, this.#page.callWith(PAGE_LOAD), (waited) => offerFrom(waited, fallback as Fallback, pageLoadEntries))
  }

  /** A prefetched view's offer. Never rejects. */
  async view<Fallback = undefined> (name: string, fallback?: Fallback): Promise<ViewOffer<Fallback>> {
    const what = { view: name }
    return await this.#ask(what, this.#page.callWith(what), (waited) => ({ view: name, ...offerFrom(waited, fallback as Fallback, viewEntries(name)) }))
  }

  /** All prefetched views; empty when there are none or the call failed. Never rejects. */
  async views (): Promise<ViewOffer[]> {
    const call = this.#page.start().calls.find(({ plan }) => plan.views === 'all' || plan.views.size > 0)
    const publish = this.#page.report?.waitsFor(call)
    const answer = await this.#wait(call, this.#maxWait, answerOf)
    if (answer === undefined) return []
    const offers = (answer.response.prefetch?.views ?? []).map((view) => ({ view: view.name ?? '', ...offerOf([view], answer.source, undefined) }))
    if (publish !== undefined) for (const offer of offers) publish(offer, { answer }, offer)
    return offers
  }

  /**
   * The SDK's `getOffers` result of the page's first call, configured or started; extra asks are not in it.
   *
   * @throws (rejects) an error of this package; INVALID_REQUEST where nothing was requested, or may be
   */
  async result (): Promise<TargetResult> {
    const outcome = await this.#wait(this.#page.start().first, undefined, (ended) => ended)
    if (typeof outcome !== 'object') throw failure('FST_TARGET_INVALID_REQUEST', 'nothing was requested for this page')
    if (outcome.optedOut) throw failure('FST_TARGET_INVALID_REQUEST', 'Target may not be asked for this visitor: the option `enabled` says so')
    if (outcome.answer === undefined) throw outcome.error
    const { sessionId, locationHint, visitorState } = this.#page.visitor
    this.#result ??= createResult(outcome.answer, sessionId, locationHint, visitorState)
    return this.#result
  }

  /**
   * Starts the call now: the route's, for `hook: false`, and one for what a request asks beyond it.
   *
   * @param request as in the route's config
   * @throws FST_TARGET_INVALID_OPTIONS when the request is malformed
   */
  start (request?: TargetRequestForm): this {
    this.#page.start()
    if (request !== undefined) this.#page.startMore(compileRequest(request, { call: 'request.target.start()', root: 'request' }, this.#settings.report))
    return this
  }

  /**
   * Queues a display, to be sent after the response; at once, also before the answer is there. Prefetched content needs
   * it; what was executed is counted already, so there it does nothing, nor where the content did not fit what was declared
   * in `mboxes`, so that the page shows a fallback. Never throws.
   */
  displayed (what: Displayed): void {
    this.#tell(what, (response) => typeof what === 'string' && !this.#mboxes.shows(what, response) ? [] : displayNotifications(response, what))
  }

  /** Queues a click, likewise. */
  clicked (what: Displayed): void {
    this.#tell(what, clickNotifications)
  }

  /**
   * Queues notifications of one's own. A missing `id`, `timestamp` or `impressionId` is filled in; one that is neither a
   * display nor a click is logged and left out. Never throws.
   */
  notify (notification: NotificationForm | NotificationForm[]): void {
    const forms = Array.isArray(notification) ? notification : [notification]
    const valid = forms.filter(isNotificationForm)
    if (valid.length < forms.length) this.#settings.logger.warn(`ignored ${counted(forms.length - valid.length, 'malformed notification')}`)
    this.#page.notify(valid.map((form) => acceptableNotification(form, this.#settings.report)))
  }

  /**
   * For at.js 2.2 and later, as `window.targetGlobalSettings.serverState`: what it applies, the executed page load and the
   * prefetched views, of the first call that asks for them, and nothing private. undefined before the answer, after a
   * failed one, and where neither was asked for.
   */
  serverState (): ServerState | undefined {
    return serverStateOf(this.#page.calls)
  }

  /**
   * For VisitorAPI.js: `Visitor.getInstance('<organization id>', { serverState })`. With the supplemental data id of the
   * page's calls once there is one, and the customer ids that the app gave in the Visitor API form.
   */
  visitorState (): VisitorState {
    return this.#page.visitor.visitorState
  }

  /**
   * An inline script element for the page's head, after VisitorAPI.js and before at.js: adds `serverState()` to
   * `window.targetGlobalSettings`, which stay as they are otherwise, and gives `visitorState()` to `Visitor` where that is
   * loaded. Safe inside HTML whatever the offers hold. An empty string before the answer and after a failed one.
   *
   * @throws FST_TARGET_INVALID_OPTIONS at the call, when `nonce` is not of the characters of a nonce
   */
  script (options: ScriptOptions = {}): string {
    return createScript(this.#page.calls, this.visitorState(), options)
  }

  /**
   * The QA mode of this page, frozen: from a QA link of Target's, from the cookie such a link left, or fixed by the route.
   * Undefined for everybody else.
   */
  get qaMode (): QAMode | undefined {
    return this.#page.qaMode
  }

  /** Times so far. */
  get timing (): TargetTiming {
    const first = this.#page.calls[0]
    return {
      started: first === undefined ? undefined : first.startedAt - this.#arrival,
      duration: first?.endedAt === undefined ? undefined : first.endedAt - first.startedAt,
      waited: this.#open === 0 ? this.#waited : this.#waited + performance.now() - this.#openSince
    }
  }

  /**
   * Whether the app lets Target know of this visitor.
   *
   * @internal
   */
  get enabled (): boolean {
    return this.#page.enabled
  }

  /**
   * Whether a call was made for this page, or is to be made.
   *
   * @internal
   */
  get used (): boolean {
    return this.#page.used
  }

  /**
   * What the page's address or the visitor's cookie says about QA mode.
   *
   * @internal
   */
  get qaVisit (): QaVisit | undefined {
    return this.#page.qaVisit
  }

  /**
   * Queues notifications from a browser; those of a visitor whom nobody knows are left out.
   *
   * @internal
   */
  notifyIfKnown (forms: NotificationForm[]): void {
    this.#page.notifyIfKnown(forms)
  }

  /**
   * Where the first call was decided; undefined until it is.
   *
   * @internal
   */
  get source (): OfferSource | undefined {
    const outcome = this.#page.calls[0]?.outcome
    return outcome === undefined ? undefined : outcome.answer?.source ?? 'default'
  }

  #mboxOffer (mbox: string, waited: Waited | undefined, fallback: unknown): Offer<OfferContent, unknown> {
    const offer = offerFrom(waited, fallback, (response) => mboxEntries(response, mbox))
    return this.#settings.mboxes.has(mbox) ? this.#mboxes.offer(mbox, offer, fallback) : offer
  }

  get #maxWait (): number | undefined {
    return this.#page.calls[0]?.plan.maxWait ?? this.#settings.maxWait
  }

  #ask<Result> (what: Displayed, call: PageCall | undefined, read: (waited: Waited | undefined) => Result): Promise<Result> {
    const publish = this.#page.report?.waitsFor(call)
    return this.#wait(call, this.#maxWait, publish === undefined
      ? read
      : (waited) => {
          const result = read(waited)
          publish(what, waited, this.#offerFor(what, waited))
          return result
        })
  }

  /** The offer that was asked for, whatever the handler reads of it. */
  #offerFor (what: Displayed, waited: Waited | undefined): Offer<OfferContent, unknown> {
    if (typeof what === 'string') return this.#mboxOffer(what, waited, undefined)
    return offerFrom(waited, undefined, 'view' in what ? viewEntries(what.view) : pageLoadEntries)
  }

  /**
   * Waits for a call, counting the time in which anybody does, and reads what came of it. Every ask of every page comes
   * through here, so there is no promise more than it takes.
   */
  #wait<Result> (call: PageCall | undefined, maxWait: number | undefined, read: (waited: Waited | undefined) => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (call === undefined || call.outcome !== undefined) return resolve(read(call?.outcome))
      if (this.#open++ === 0) this.#openSince = performance.now()
      call.wait(maxWait, (waited) => {
        if (--this.#open === 0) this.#waited += (call.endedAt ?? performance.now()) - this.#openSince
        try {
          resolve(read(waited))
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  /** Queues what an answer says is to be notified, as soon as there is one. */
  #tell (what: Displayed, read: (response: DeliveryResponse, what: Displayed) => NotificationForm[]): void {
    const call = this.#page.callWith(what)
    if (call === undefined) return this.#settings.logger.debug('nothing to notify: it was not requested', { what })
    const queue = ({ answer }: Outcome) => { if (answer !== undefined) this.#page.notify(read(answer.response, what)) }
    if (call.outcome !== undefined) return queue(call.outcome)
    call.needed = true
    call.wait(undefined, (ended) => queue(ended as Outcome))
  }
}

const PAGE_LOAD = { pageLoad: true } as const

const viewEntries = (name: string) => ({ prefetch }: DeliveryResponse): View[] => (prefetch?.views ?? []).filter((view) => view.name === name)

/** The offer that some entries of an answer make, or the fallback and why. */
function offerFrom<Fallback> (waited: Waited | undefined, fallback: Fallback, entries: (response: DeliveryResponse) => (MboxResponse | PageLoadResponse | View)[]): Offer<OfferContent, Fallback> {
  if (waited === undefined) return fallbackOffer(fallback, 'not-requested')
  if (waited === 'max-wait') return fallbackOffer(fallback, 'max-wait')
  if (waited.optedOut) return fallbackOffer(fallback, 'opted-out')
  return waited.answer === undefined ? failedOffer(fallback, waited.error) : offerOf(entries(waited.answer.response), waited.answer.source, fallback)
}

const answerOf = (waited: Waited | undefined): Answer | undefined => typeof waited === 'object' ? waited.answer : undefined
