/**
 * `request.target`, the public API of a request: reads offers from its calls, with fallbacks if there are none.
 */
import type { AttributesExpectation, AttributesFor } from '../offers/attributes.ts'
import type { DeliveryResponse, MboxResponse, PageLoadResponse, QAMode, View } from '../schema/index.ts'
import { acceptableNotification, type ReportLimit } from '../schema/acceptable.ts'
import { counted, type Log } from '../diagnostics.ts'
import type { TargetClient } from '../client/client.ts'
import { failure } from '../errors.ts'
import { typeName } from '../validation.ts'
import type { VisitorState } from '../visitor/experience-cloud.ts'
import { checkNonce, createScript, serverStateOf, type ScriptOptions, type ServerState } from './at-js.ts'
import { createWebSdkScript, webSdkStateOf } from './web-sdk.ts'
import { PageMboxes, type MboxSettings } from '../offers/page-mboxes.ts'
import type { AttributesName, MboxContent, MboxName, MboxOtherwise } from '../offers/mbox-types.ts'
import { conversionNotification, profileNotification, type Conversion } from '../offers/conversions.ts'
import { forcedOffer, type ForcedOffer } from '../offers/inspection.ts'
import { clickNotifications, displayNotifications, isNotificationForm, type Displayed, type NotificationForm } from '../offers/notifications.ts'
import {
  failedOffer, fallbackOffer, mboxEntries, offerOf, pageLoadEntries, type MboxOffer, type Offer, type OfferContent,
  type ViewOffer
} from '../offers/offer.ts'
import { createResult, type TargetResult } from '../offers/result.ts'
import type { PlacedOffer, VariantKeyOptions } from '../offers/variant.ts'
import type { WebSdkState } from '../offers/web-sdk-state.ts'
import { PendingCall, type Outcome, type Waited } from './call.ts'
import type { RequestCalls, TargetTiming } from './calls.ts'
import { compileRequest, type TargetRequestForm } from './route-config.ts'
import { VariantKeys } from './variant-keys.ts'

/** Shared by all requests of a plugin instance. */
export interface RequestTargetSettings extends MboxSettings {
  client: TargetClient
  logger: Log
  /** Name of the decorator. */
  decorator: string
  /** Called for each value that was cut or left out of a request. */
  report: ReportLimit
  /** Which library in the page takes over. */
  handOver: 'at.js' | 'Web SDK'
  /** `false`: the visitor's cookies are not written. */
  cookies: object | false
}

/** Target's offers for one request: `request.target`. */
export class RequestTarget {
  readonly #settings: RequestTargetSettings
  readonly #calls: RequestCalls
  readonly #writeCookies: () => void
  #result: TargetResult | undefined
  #pageMboxes: PageMboxes | undefined
  #variantKeys: VariantKeys | undefined

  /** @internal */
  constructor (settings: RequestTargetSettings, calls: RequestCalls, writeCookies: () => void) {
    this.#settings = settings
    this.#calls = calls
    this.#writeCookies = writeCookies
  }

  /**
   * Content of the first option that has any, among all entries of that name, executed before prefetched: a string for
   * html, an object for json, a list for actions, a URL for redirect (see `offer().type`). Never rejects.
   *
   * @param fallback used if Target has no valid content. Default: as declared in the option `mboxes`
   */
  content<Name extends MboxName, Fallback = MboxOtherwise<Name>> (mbox: Name, fallback?: Fallback): Promise<MboxContent<Name> | Fallback> {
    return this.#ask(mbox, this.#calls.callFor(mbox), (waited) => this.#mboxOffer(mbox, waited, fallback).content) as Promise<MboxContent<Name> | Fallback>
  }

  /**
   * The whole offer of an mbox. Reading it twice returns the same response without a second call; an mbox that is not in the
   * route's config is requested in one more call, with all others read in the same tick. Never rejects.
   */
  offer<Name extends MboxName, Fallback = MboxOtherwise<Name>> (mbox: Name, fallback?: Fallback): Promise<MboxOffer<MboxContent<Name>, Fallback>> {
    return this.#ask(mbox, this.#calls.callFor(mbox), (waited) => ({ mbox, ...this.#mboxOffer(mbox, waited, fallback) })) as Promise<MboxOffer<MboxContent<Name>, Fallback>>
  }

  /**
   * Content for HTML: that of an html offer, and the fallback for every other kind (an object, a list of actions, a URL) or if
   * Target has none. Never rejects.
   *
   * @param fallback default: as declared in the option `mboxes` if that is a string, else an empty string
   */
  html<Fallback = string> (mbox: MboxName, fallback?: Fallback): Promise<string | Fallback> {
    return this.#ask(mbox, this.#calls.callFor(mbox), (waited) => {
      const { type, reason, content } = this.#mboxOffer(mbox, waited, fallback)
      if (typeof content === 'string' && (type === 'html' || type === undefined)) return content
      if (reason === 'matched') this.#warn(`html() of mbox '${mbox}': the offer is of type ${type}, so the fallback is used; read it with offer() or attributes()`)
      return (fallback === undefined ? this.#mboxes.fallbackText(mbox) : fallback) as Fallback | string
    })
  }

  /**
   * The json offers of an mbox as one object. As declared in the option `mboxes`, or with a second argument: a schema of an
   * object (TypeBox, a Standard Schema or JSON Schema), for attributes that are validated, typed and completed with defaults; content that
   * does not match is replaced by the schema's own defaults as a whole; or an object of defaults, over which they are merged. Never rejects.
   *
   * @throws FST_TARGET_INVALID_OPTIONS at the call, when the schema cannot be filled from its own defaults, the second argument is
   *   neither a schema nor an object of defaults, or there is none, nor a schema of an object in `mboxes`. A schema that fills its
   *   defaults asynchronously makes it reject instead
   */
  attributes<Name extends AttributesName> (mbox: Name): Promise<MboxContent<Name>>
  attributes<const Expectation extends AttributesExpectation> (mbox: MboxName, schemaOrDefaults: Expectation): Promise<AttributesFor<Expectation>>
  attributes (mbox: string, schemaOrDefaults?: AttributesExpectation): Promise<unknown> {
    const { prepare, read } = this.#mboxes.attributes(mbox, schemaOrDefaults)
    return this.#ask(mbox, this.#calls.callFor(mbox), (waited) => read(this.#responseOf(mbox, waited)), prepare && ((waited) => prepare(this.#responseOf(mbox, waited))))
  }

  get #mboxes (): PageMboxes {
    this.#pageMboxes ??= new PageMboxes(this.#settings)
    return this.#pageMboxes
  }

  /** The page load's offer. Never rejects. */
  async pageLoad<Fallback = undefined> (fallback?: Fallback): Promise<Offer<OfferContent, Fallback>> {
    return await this.#ask(PAGE_LOAD, this.#calls.callWith(PAGE_LOAD), (waited) => this.#placeOffer(waited, fallback as Fallback, pageLoadEntries))
  }

  /** A prefetched view's offer. Never rejects. */
  async view<Fallback = undefined> (name: string, fallback?: Fallback): Promise<ViewOffer<Fallback>> {
    const what = { view: name }
    return await this.#ask(what, this.#calls.callWith(what), (waited) => ({ view: name, ...this.#placeOffer(waited, fallback as Fallback, viewEntries(name)) }))
  }

  /** All prefetched views; empty if there are none or the call failed. Never rejects. */
  async views (): Promise<ViewOffer[]> {
    const call = this.#calls.callWithViews()
    const publish = this.#calls.report?.waitsFor(call)
    return await this.#calls.ask(call, (waited) => {
      if (waited.kind !== 'answered') return []
      const { response, source } = waited.answer
      const offers = (response.prefetch?.views ?? []).map((view) => ({ view: view.name ?? '', ...offerOf([view], source, undefined) }))
      if (publish !== undefined) for (const offer of offers) publish(offer, offer)
      return offers
    })
  }

  /**
   * The SDK's `getOffers` result of the first call that was configured or started, without mboxes requested later.
   *
   * @throws (rejects) an error of this package; INVALID_REQUEST if nothing was requested, or nothing may be
   */
  async result (): Promise<TargetResult> {
    const outcome = await this.#calls.wait(this.#calls.start().first, undefined, (ended) => ended)
    if (outcome.kind === 'failed') throw outcome.error
    if (outcome.kind === 'opted-out') throw failure('FST_TARGET_INVALID_REQUEST', 'the `enabled` option does not allow Target calls for this visitor')
    if (outcome.kind !== 'answered') throw failure('FST_TARGET_INVALID_REQUEST', 'nothing was requested for this page')
    const { sessionId, locationHint, visitorState } = this.#calls.visitor
    this.#result ??= createResult(outcome.answer, sessionId, locationHint, visitorState)
    return this.#result
  }

  /**
   * A key for a cache of rendered pages, or of parts of them: text of 32 characters that is the same for two visitors exactly when
   * Target gave both the same offers in these places, now and after a restart. So a page is rendered once per variant, and not
   * once per visitor. Never rejects.
   *
   * It waits for the offers as `offer()` does, within the same `timeout` and `maxWait`, and requests them if the route does
   * not. It counts nothing: executed offers are counted by their call, prefetched ones need `displayed()`, which must be called
   * for every visitor, also for a page from the cache. An offer of the key appears once on the `offer` channel, also if it is read again.
   *
   * The key covers reason, options, metrics and Analytics payload of the offers: their content, response tokens and event tokens.
   * Everything else that a page depends on must be in the cache's own key, as the address and the language, or stay out of the
   * cached markup, as what belongs to one visitor: names, nonces, `script()`, `visitorState()`, `toolbar()`, fallbacks that are
   * made for the visitor.
   *
   * - No offer, content that does not fit its schema, no consent, and every failure, each by its reason, are variants of their own.
   * - Undefined where an offer is known to belong to one visitor: parameters filled into its content on-device, the type `dynamic`,
   *   response tokens that describe the visitor. Content that the edge fills in from a profile cannot be told from other content;
   *   its key is one that only visitors with the same content have.
   * - Undefined for testers: in QA mode, and with overrides of the inspector.
   * - Undefined after `maxWait`, since the offers may arrive while the page is rendered.
   *
   * @param what mbox names, `{ view }` or `{ pageLoad: true }`, one or a list: all whose offers are in the cached markup, in any order
   */
  async variantKey (what: Displayed | readonly Displayed[], options?: VariantKeyOptions | null): Promise<string | undefined> {
    const places = [what].flat().map(readDisplayed)
    if (!places.every((place) => place !== undefined)) {
      this.#warn(`variantKey() takes ${PLACES}, or a list of them`)
      return undefined
    }
    if (this.#calls.start().qaMode !== undefined || this.#calls.overridden) return undefined
    this.#variantKeys ??= new VariantKeys({
      ask: (place) => this.#askForKey(place),
      warn: (problem) => this.#warn(problem),
      debug: (message, details) => this.#settings.logger.debug(message, details)
    })
    return await this.#variantKeys.create(places, options?.contentOnly === true)
  }

  /** An offer as every later read will find it; undefined if a later read may find another. */
  #askForKey (place: Displayed): Promise<PlacedOffer | undefined> {
    const call = typeof place === 'string' ? this.#calls.callFor(place) : this.#calls.callWith(place)
    const prepare = this.#preparationOf(place) && ((waited: Waited) => this.#mboxes.prepareAll(place as string, this.#responseOf(place as string, waited)))
    return this.#askOnce(place, call, (waited) => waited === (call instanceof PendingCall ? call.outcome : call)
      ? { place, offer: this.#offerFor(place, waited) }
      : undefined, prepare)
  }

  /**
   * Starts the call now: the route's, for `hook: false`, and one for what a request adds to it.
   *
   * @param request as in the route's config
   * @throws FST_TARGET_INVALID_OPTIONS if the request is malformed
   */
  start (request?: TargetRequestForm): this {
    this.#calls.start()
    if (request !== undefined) this.#calls.startMore(compileRequest(request, { call: 'request.target.start()', root: 'request' }, this.#settings.report))
    return this
  }

  /**
   * Queues a display, to be sent after the response; returns immediately, even before Target's response. Needed for prefetched
   * content. Does nothing for executed content, which is already counted, and for content that failed validation against
   * `mboxes`, since the page shows a fallback. Never throws.
   */
  displayed (what: Displayed): void {
    this.#notifyFrom('displayed', what, (response, what) => typeof what === 'string' && !this.#mboxes.shows(what, response) ? [] : displayNotifications(response, what))
  }

  /** Queues a click, in the same way. */
  clicked (what: Displayed): void {
    this.#notifyFrom('clicked', what, clickNotifications)
  }

  /**
   * Queues custom notifications. A missing `id`, `timestamp` or `impressionId` is filled in; one that is neither a display nor a
   * click is logged and left out. Never throws.
   */
  notify (notification: NotificationForm | NotificationForm[]): void {
    const forms = Array.isArray(notification) ? notification : [notification]
    const valid = forms.map((form) => this.#readNotification(form, this.#settings.report)).filter((form) => form !== undefined)
    const ignored = forms.length - valid.length
    if (ignored > 0) this.#settings.logger.warn(`ignored ${counted(ignored, 'malformed notification')}: \`type\` must be 'display' or 'click', and the rest JSON`)
    this.#calls.notifications.add(valid)
  }

  /**
   * Queues a conversion of this visitor: Target counts a display of the mbox, and the order. Sent after the response, retried
   * like every notification, and the same with every decisioning method. Never throws; invalid parts are left out with one
   * warning, and the rest counts.
   *
   * @param mbox name of the mbox in the success metric of an activity; at most 250 characters
   * @param conversion an order, a product, parameters. Parameters may have the names of at.js's `trackEvent`:
   *   `orderId`, `orderTotal`, `productPurchasedId`, `productId`, `categoryId` and `profile.<name>`
   */
  converted (mbox: string, conversion?: Conversion): void {
    this.#notifyOf('converted', (report) => conversionNotification(mbox, conversion, report))
  }

  /**
   * Queues attributes for this visitor's profile, in the same way; audiences use them from the next call on. They are sent with
   * a separate mbox, `profile-update`.
   *
   * @param attributes by name; at most 50, with names of 128 and values of 256 characters
   */
  profile (attributes: Record<string, unknown>): void {
    this.#notifyOf('profile', (report) => profileNotification(attributes, report))
  }

  #notifyOf (method: string, make: (report: ReportLimit) => NotificationForm | undefined): void {
    const report: ReportLimit = (problem) => this.#warn(`${method}(): ${problem}`)
    try {
      const form = make(report)
      const accepted = form === undefined ? undefined : this.#readNotification(form, report)
      if (accepted !== undefined) this.#calls.notifications.add([accepted])
      else if (form !== undefined) this.#warn(`${method}(): its second argument must be data that JSON.stringify() accepts`)
    } catch {
      this.#warn(`${method}(): its arguments cannot be read`)
    }
  }

  #readNotification (form: unknown, report: ReportLimit): NotificationForm | undefined {
    try {
      if (!isNotificationForm(form)) return undefined
      const accepted = acceptableNotification(form, report)
      // One that cannot be serialized would fail others of its batch.
      JSON.stringify(accepted)
      return accepted
    } catch {
      return undefined
    }
  }

  /**
   * For at.js 2.2 and later, as `window.targetGlobalSettings.serverState`: the executed page load and the prefetched views of the
   * first call that requests them, which at.js applies, and nothing private. Undefined before the response, after a failed call,
   * and if neither was requested.
   */
  serverState (): ServerState | undefined {
    if (this.#settings.handOver === 'Web SDK') return undefined
    return serverStateOf(this.#calls.all)
  }

  /**
   * For Web SDK, with the option `edgeNetwork`: the options of its command `applyResponse`, with the page load and the views of
   * the first call that requests them. Undefined before the response, after a failed call, if neither was requested, and with the
   * Delivery API. For pages that are not the HTML of this response; in others use `script()`.
   */
  webSdkState (): WebSdkState | undefined {
    if (this.#settings.handOver !== 'Web SDK') return undefined
    return webSdkStateOf(this.#calls.all, this.#settings.cookies !== false)
  }

  /**
   * For VisitorAPI.js: `Visitor.getInstance('<organization id>', { serverState })`. Contains the supplemental data id of the
   * page's calls once there is one, and customer ids that the app passed in the Visitor API form.
   */
  visitorState (): VisitorState {
    return this.#calls.visitor.visitorState
  }

  /**
   * An inline script element for the page. With the option `edgeNetwork` for Web SDK, after its base code and
   * `alloy('configure')`: it applies `webSdkState()`. Else for the page's head, after VisitorAPI.js and before at.js: adds
   * `serverState()` to `window.targetGlobalSettings`, keeping everything else there, and passes `visitorState()` to `Visitor` if
   * that is loaded. Safe inside HTML whatever the offers contain. An empty string before the response and after a failed call.
   *
   * @throws FST_TARGET_INVALID_OPTIONS at the call, if `nonce` is invalid
   */
  script (options?: ScriptOptions | null): string {
    const isOptions = typeof options === 'object' && options !== null
    if (!isOptions && options !== undefined && options !== null) this.#warn(`script() takes { nonce }, got ${typeName(options)}`)
    const given = isOptions ? options : {}
    const { handOver } = this.#settings
    const script = handOver === 'Web SDK' ? createWebSdkScript(this.webSdkState(), given) : createScript(this.#calls.all, this.visitorState(), given)
    if (script === '' && this.#calls.all.some(({ outcome }) => outcome === undefined)) {
      this.#warn(`script() was called before Target responded, so ${handOver} requests the offers itself; await an offer or pageLoad() first`)
    }
    return script
  }

  /**
   * A badge in the corner of the page that shows which offers the inspector forces for this browser, and links to it. An empty
   * string unless `fastify-adobe-target/inspector` is registered, and for browsers without access to it.
   *
   * @throws FST_TARGET_INVALID_OPTIONS at the call, if `nonce` is invalid
   */
  toolbar (options?: ScriptOptions | null): string {
    const nonce = checkNonce(options?.nonce, 'request.target.toolbar()')
    return this.#settings.client.inspector?.toolbar(this.#calls.request, nonce) ?? ''
  }

  /**
   * Whether Target may be called for this visitor: the result of the option `enabled`, which is called now unless it was
   * already. `false` while its promise is pending. For templates: without consent, leave at.js out of the page too.
   */
  get enabled (): boolean {
    return this.#calls.enabled
  }

  /**
   * Writes the visitor's cookies to the raw response now. Only for an app that bypasses Fastify and writes the response itself
   * (`reply.hijack()`, `reply.raw`, Next.js, server-sent events): call it after awaiting the offers and before the head is
   * written. Such a response must not be publicly cacheable. Never throws.
   */
  writeCookies (): void {
    this.#writeCookies()
  }

  /**
   * The QA mode of this page, frozen: from one of Target's QA links, from the cookie that such a link left, or fixed by the
   * route. Undefined for everyone else.
   */
  get qaMode (): QAMode | undefined {
    return this.#calls.qaMode
  }

  /** Times so far. */
  get timing (): TargetTiming {
    return this.#calls.timing
  }

  #mboxOffer (mbox: string, waited: Waited, fallback: unknown): Offer<OfferContent, unknown> {
    const forced = this.#calls.forced(mbox)
    const offer = forced?.kind === 'options' ? forcedOffer(forced, fallback) : marked(offerFrom(waited, fallback, (response) => mboxEntries(response, mbox)), forced)
    return this.#settings.mboxes.has(mbox) ? this.#mboxes.offer(mbox, offer, fallback) : offer
  }

  /** The offer of the page load or a view. */
  #placeOffer<Fallback> (waited: Waited, fallback: Fallback, entries: Parameters<typeof offerFrom>[2]): Offer<OfferContent, Fallback> {
    return marked(offerFrom(waited, fallback, entries), this.#calls.forced(undefined))
  }

  /** The response that an mbox's attributes are read from. */
  #responseOf (mbox: string, waited: Waited): DeliveryResponse | undefined {
    const forced = this.#calls.forced(mbox)
    if (forced?.kind === 'options') return { status: 200, prefetch: { mboxes: [{ name: mbox, options: [...forced.options] }] } }
    return waited.kind === 'answered' ? waited.answer.response : undefined
  }

  /** Asks, and has the content checked first where that takes time. */
  #ask<Result> (what: Displayed, call: PendingCall | Outcome, read: (waited: Waited) => Result, prepare = this.#preparationOf(what)): Promise<Result> {
    this.#variantKeys?.read(what)
    return this.#askOnce(what, call, read, prepare)
  }

  /** The same; not published again where `variantKey()` has asked before. */
  #askOnce<Result> (what: Displayed, call: PendingCall | Outcome, read: (waited: Waited) => Result, prepare?: (waited: Waited) => Promise<unknown> | undefined): Promise<Result> {
    const publish = this.#variantKeys?.covers(what) === true ? undefined : this.#calls.report?.waitsFor(call)
    return this.#calls.ask(call, publish === undefined
      ? read
      : (waited) => {
          const result = read(waited)
          publish(what, this.#offerFor(what, waited))
          return result
        }, prepare)
  }

  #preparationOf (what: Displayed): ((waited: Waited) => Promise<unknown> | undefined) | undefined {
    if (typeof what !== 'string' || !this.#settings.mboxes.has(what) || !this.#mboxes.mayWait(what)) return undefined
    return (waited) => this.#mboxes.prepare(what, this.#responseOf(what, waited))
  }

  /** The requested offer, whichever part of it the handler reads. */
  #offerFor (what: Displayed, waited: Waited): Offer<OfferContent, unknown> {
    if (typeof what === 'string') return this.#mboxOffer(what, waited, undefined)
    return this.#placeOffer(waited, undefined, 'view' in what ? viewEntries(what.view) : pageLoadEntries)
  }

  /** Queues the notifications for a response, as soon as there is one. */
  #notifyFrom (method: string, given: Displayed, read: (response: DeliveryResponse, what: Displayed) => NotificationForm[]): void {
    const what = readDisplayed(given)
    if (what === undefined) return this.#warn(`${method}() takes ${PLACES}, got ${typeName(given)}`)
    const call = this.#calls.callWith(what)
    if (!(call instanceof PendingCall)) {
      if (call.kind === 'not-requested') this.#settings.logger.debug('nothing to notify: it was not requested', { what })
      return
    }
    const prepare = this.#preparationOf(what)
    const queue = (waited: Waited) => {
      if (waited.kind !== 'answered') return
      const notify = () => this.#calls.notifications.add(read(waited.answer.response, what))
      const checked = prepare?.(waited)
      if (checked === undefined) notify()
      else checked.then(notify)
    }
    if (call.outcome !== undefined) return queue(call.outcome)
    call.needed = true
    const arrived = this.#settings.client.expectNotifications()
    call.wait(undefined, (waited) => {
      queue(waited)
      arrived()
    })
  }

  /** Logs a mistake of the app that must not be an error, once per route. */
  #warn (problem: string): void {
    this.#settings.logger.warnOnce(`${this.#calls.routeName}: request.${this.#settings.decorator}.${problem}`)
  }
}

/** What was displayed or clicked; undefined if it is not one of the forms. */
function readDisplayed (given: unknown): Displayed | undefined {
  if (typeof given === 'string') return given
  try {
    const { view, pageLoad } = given as { view?: unknown, pageLoad?: unknown }
    if (typeof view === 'string') return { view }
    return pageLoad === true ? PAGE_LOAD : undefined
  } catch {
    return undefined
  }
}

const PAGE_LOAD = { pageLoad: true } as const
const PLACES = 'an mbox name, { view } or { pageLoad: true }'

/** Says of an offer that a developer has forced it. */
const marked = <Fallback>(offer: Offer<OfferContent, Fallback>, forced: ForcedOffer | undefined): Offer<OfferContent, Fallback> =>
  forced === undefined ? offer : { ...offer, source: 'override', reason: 'overridden' }

const viewEntries = (name: string) => ({ prefetch }: DeliveryResponse): View[] => (prefetch?.views ?? []).filter((view) => view.name === name)

/** The offer from entries of a response, or the fallback and the reason. */
function offerFrom<Fallback> (waited: Waited, fallback: Fallback, entries: (response: DeliveryResponse) => (MboxResponse | PageLoadResponse | View)[]): Offer<OfferContent, Fallback> {
  if (waited.kind === 'answered') return offerOf(entries(waited.answer.response), waited.answer.source, fallback)
  return waited.kind === 'failed' ? failedOffer(fallback, waited.error) : fallbackOffer(fallback, waited.kind)
}
