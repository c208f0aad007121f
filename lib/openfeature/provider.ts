/**
 * The provider: Target's offers as feature flags for OpenFeature. Inside a request it evaluates `request.target`, with the page's call,
 * cookies, consent and QA mode; outside of one it calls the client.
 */
import {
  ErrorCode, OpenFeatureEventEmitter, ProviderEvents, ProviderFatalError, ProviderNotReadyError,
  type EvaluationContext, type FlagMetadata, type JsonValue, type Provider, type ResolutionDetails, type TrackingEventDetails
} from '@openfeature/server-sdk'
import { Type } from '@sinclair/typebox'
import { createHash, randomUUID } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { TargetClient } from '../client/client.ts'
import { channels } from '../diagnostics.ts'
import { failure, isTargetError } from '../errors.ts'
import { conversionNotification, type Conversion } from '../offers/conversions.ts'
import { flagPlaceOf, mergedContent, readFlag, type FlagPlace, type FlagReading, type FlagType } from '../offers/flag.ts'
import { completeNotification } from '../offers/notifications.ts'
import { failedOffer, mboxEntries, offerOf, type Offer, type OfferContent } from '../offers/offer.ts'
import type { RequestTarget } from '../request/target.ts'
import { callback, checkOptions, flag, Milliseconds, oneOf, passing, strict, text } from '../validation.ts'
import { partsOfContext } from './evaluation-context.ts'
import { requestOf } from './request-context.ts'

/** Options of {@link TargetProvider}. */
export interface TargetProviderOptions {
  /** Where to find flags whose keys are neither `mbox` nor `mbox.path`. Default: none. */
  flags?: Record<string, { mbox: string, path?: string }>
  /** Name of the plugin's decorator. Default `target`. */
  decorator?: string
  /**
   * Whether an evaluation counts as a display of the mbox. Outside a request it counts when Target responds; inside, mboxes in
   * `execute` of `config.target` are counted in any case, and those in `prefetch` once per request. Default `false`.
   */
  countEvaluations?: boolean
  /** The kind of id that `targetingKey` holds outside a request. Default `thirdPartyId`. */
  targetingKeyAs?: 'thirdPartyId' | 'marketingCloudVisitorId'
  /** Whether Target may be called outside a request; inside, the plugin's `enabled` decides. If `false`, a flag has its default with the reason `DISABLED`. Default: always. */
  enabled?: (context: EvaluationContext, flagKey: string) => boolean
  /** Members of `flagMetadata`: names of the standard members and of response tokens. Default: all standard members, no tokens. */
  metadata?: readonly string[]
  /** ms for which the initialization waits for a rule artifact, if decisions are made on-device. Default: no limit. */
  readyTimeout?: number
}

const OptionsSchema = Type.Object({
  flags: Type.Optional(Type.Record(Type.String(), Type.Object({ mbox: Type.String({ minLength: 1 }), path: Type.Optional(Type.String({ minLength: 1 })) }, strict), { expected: 'an object of { mbox, path } by flag key' })),
  decorator: Type.Optional(text('^[A-Za-z_$][\\w$]*$', 'a JavaScript identifier')),
  countEvaluations: Type.Optional(flag),
  targetingKeyAs: Type.Optional(oneOf('thirdPartyId', 'marketingCloudVisitorId')),
  enabled: Type.Optional(callback),
  metadata: Type.Optional(Type.Array(Type.String())),
  readyTimeout: Type.Optional(Milliseconds)
}, strict)

const Client = passing((value) => typeof (value as Partial<TargetClient> | undefined)?.getOffers === 'function', 'a Target client')

/** An offer, and how it was decided. */
interface Decided {
  offer: Offer<OfferContent, unknown>
  isFixed: boolean
  contextId: string | undefined
}

type State = 'ready' | 'stale' | 'error'

/** Target as an OpenFeature provider. It does not close the client. */
export class TargetProvider implements Provider {
  readonly metadata = { name: 'adobe-target' } as const
  readonly runsOn = 'server' as const
  readonly events = new OpenFeatureEventEmitter()
  readonly #client: TargetClient
  readonly #options: TargetProviderOptions
  readonly #contextIds = new WeakMap<RequestTarget, Promise<string | undefined>>()
  readonly #shown = new WeakMap<RequestTarget, Set<string>>()
  #state: State = 'ready'
  #version: object | undefined
  #isWatching = false

  /**
   * @param client `app.target`, or of `createTargetClient()`
   * @throws FST_TARGET_INVALID_OPTIONS naming the option
   */
  constructor (client: TargetClient, options: TargetProviderOptions = {}) {
    if (!Client.test(client)) throw failure('FST_TARGET_INVALID_OPTIONS', 'new TargetProvider(): the first argument must be a Target client')
    this.#client = client
    this.#options = checkOptions(OptionsSchema, options, { call: 'new TargetProvider()' })
  }

  /** Waits for a rule artifact if one is needed. The SDK reports the outcome. */
  async initialize (): Promise<void> {
    this.#watch()
    const { decisioningMethod, isClosed } = this.#client.decisions
    if (isClosed) throw new ProviderFatalError('the Target client is closed')
    try {
      if (decisioningMethod === 'on-device') await this.#client.ready({ timeout: this.#options.readyTimeout })
    } catch (error) {
      this.#state = 'error'
      throw this.#client.decisions.isClosed ? new ProviderFatalError((error as Error).message) : new ProviderNotReadyError((error as Error).message)
    }
    this.#state = this.#stateNow()
    this.#version = this.#client.decisions.artifact
  }

  /** Stops emitting events. Repeated calls do nothing. */
  async onClose (): Promise<void> {
    if (!this.#isWatching) return
    this.#isWatching = false
    unsubscribe(channels.artifact.name as string, this.#changed)
    unsubscribe(channels.breaker.name as string, this.#changed)
  }

  resolveBooleanEvaluation (key: string, defaultValue: boolean, context: EvaluationContext): Promise<ResolutionDetails<boolean>> {
    return this.#evaluate(key, 'boolean', defaultValue, context)
  }

  resolveStringEvaluation (key: string, defaultValue: string, context: EvaluationContext): Promise<ResolutionDetails<string>> {
    return this.#evaluate(key, 'string', defaultValue, context)
  }

  resolveNumberEvaluation (key: string, defaultValue: number, context: EvaluationContext): Promise<ResolutionDetails<number>> {
    return this.#evaluate(key, 'number', defaultValue, context)
  }

  resolveObjectEvaluation<Value extends JsonValue> (key: string, defaultValue: Value, context: EvaluationContext): Promise<ResolutionDetails<Value>> {
    return this.#evaluate(key, 'object', defaultValue, context)
  }

  /**
   * Queues a conversion: `name` is the mbox of the success metric. `value` is the total of an order,
   * `orderId` and `productPurchasedId` its members; everything else is a parameter. Never throws.
   */
  track (name: string, context: EvaluationContext, { value, ...details }: TrackingEventDetails = {}): void {
    const parameters = Object.fromEntries(Object.entries(details).filter(([, detail]) => ['string', 'number', 'boolean'].includes(typeof detail)))
    if (value !== undefined) Object.assign(parameters, { orderTotal: value, orderId: parameters.orderId ?? randomUUID() })
    const conversion: Conversion = { parameters }
    const target = this.#targetOf(context)
    if (target !== undefined) return target.converted(name, conversion)
    if (!this.#mayAsk(context, name)) return
    const { report } = this.#client.decisions
    const form = conversionNotification(name, conversion, (problem) => report(`track(): ${problem}`))
    if (form === undefined) return
    const { id = { tntId: randomUUID() } } = partsOfContext(context, this.#options.targetingKeyAs ?? 'thirdPartyId', report)
    const { propertyToken, environmentId } = this.#client.decisions
    const sessionId = sessionOf(context)
    this.#client.notify({
      key: sessionId,
      request: { id, context: { channel: 'web' }, ...(propertyToken !== undefined && { property: { token: propertyToken } }), ...(environmentId !== undefined && { environmentId }) },
      sessionId,
      locationHint: undefined
    }, [completeNotification(form, randomUUID())])
  }

  async #evaluate<Value> (key: string, type: FlagType, defaultValue: Value, context: EvaluationContext): Promise<ResolutionDetails<Value>> {
    const started = performance.now()
    const { artifact } = this.#client.decisions
    const place = this.#placeOf(key)
    const decided = await this.#decide(place.mbox, key, context)
    if (decided === undefined) return { value: defaultValue, reason: 'DISABLED' }
    const { offer, isFixed, contextId } = decided
    const isDecidedHere = offer.source === 'on-device' || (offer.source === 'default' && this.#client.decisions.decisioningMethod === 'on-device')
    const reading = readFlag(offer, place, type, {
      artifact: isDecidedHere ? artifact : undefined,
      isStale: isDecidedHere && this.#stateNow() === 'stale',
      isFixed
    }, mergedContent(offer.options))
    const flagMetadata = this.#metadataOf(reading, { contextId, source: offer.source, version: isDecidedHere ? versionOf(artifact) : undefined, elapsed: performance.now() - started })
    if (reading.kind === 'error') return { value: defaultValue, reason: 'ERROR', errorCode: reading.errorCode as ErrorCode, errorMessage: reading.errorMessage, flagMetadata }
    if (reading.kind === 'default') return { value: defaultValue, reason: reading.reason, flagMetadata }
    return { value: reading.value as Value, reason: reading.reason, ...(reading.variant !== undefined && { variant: reading.variant }), flagMetadata }
  }

  #placeOf (key: string): FlagPlace {
    const { flags } = this.#options
    const mapped = flags !== undefined && Object.hasOwn(flags, key) ? flags[key] : undefined
    if (mapped !== undefined) return { mbox: mapped.mbox, path: mapped.path?.split(/[./]/) ?? [] }
    const { artifact } = this.#client.decisions
    return flagPlaceOf(key, (name) => artifact?.mboxes.has(name) === true)
  }

  #targetOf (context: EvaluationContext): RequestTarget | undefined {
    return (requestOf(context) as unknown as Record<string, RequestTarget | undefined> | undefined)?.[this.#options.decorator ?? 'target']
  }

  /** Unless the app has clearly consented, there is no consent. */
  #mayAsk (context: EvaluationContext, key: string): boolean {
    const { enabled } = this.#options
    try {
      return enabled === undefined || enabled(context, key) === true
    } catch {
      return false
    }
  }

  async #decide (mbox: string, key: string, context: EvaluationContext): Promise<Decided | undefined> {
    const target = this.#targetOf(context)
    if (target === undefined) return this.#mayAsk(context, key) ? { offer: await this.#ask(mbox, context), isFixed: false, contextId: context.targetingKey } : undefined
    const offer = await target.offer(mbox)
    if (this.#options.countEvaluations === true && offer.reason === 'matched') this.#display(target, mbox)
    return { offer, isFixed: target.qaMode !== undefined, contextId: context.targetingKey ?? await this.#contextIdOf(target) }
  }

  /** Requests one mbox from the client, for the visitor that the context identifies. */
  async #ask (mbox: string, context: EvaluationContext): Promise<Offer<OfferContent, unknown>> {
    const { id, details } = partsOfContext(context, this.#options.targetingKeyAs ?? 'thirdPartyId', this.#client.decisions.report)
    const mboxes = [{ index: 0, name: mbox, ...details }]
    try {
      const { response, meta } = await this.#client.getOffers({
        request: { ...(id !== undefined && { id }), ...(this.#options.countEvaluations === true ? { execute: { mboxes } } : { prefetch: { mboxes } }) },
        sessionId: sessionOf(context)
      })
      return offerOf(mboxEntries(response, mbox), meta.decisioningMethod === 'on-device' ? 'on-device' : 'edge', undefined)
    } catch (error) {
      return failedOffer(undefined, isTargetError(error) ? error : failure('FST_TARGET_INVALID_REQUEST', 'unknown reason', { cause: error }))
    }
  }

  /** Once per request. */
  #display (target: RequestTarget, mbox: string): void {
    const shown = this.#shown.get(target) ?? new Set()
    this.#shown.set(target, shown)
    if (!shown.has(mbox)) target.displayed(mbox)
    shown.add(mbox)
  }

  /** The visitor as a hash: telemetry has to distinguish visitors, not to identify them. */
  #contextIdOf (target: RequestTarget): Promise<string | undefined> {
    let known = this.#contextIds.get(target)
    if (known === undefined) {
      known = target.result().then(({ response }) => response.id?.tntId === undefined ? undefined : createHash('sha256').update(response.id.tntId).digest('hex').slice(0, 16), () => undefined)
      this.#contextIds.set(target, known)
    }
    return known
  }

  #metadataOf (reading: FlagReading, facts: Record<string, string | number | undefined>): FlagMetadata {
    const tokens: Record<string, unknown> = reading.kind === 'value' ? reading.tokens : {}
    const named: Record<string, unknown> = {
      ...facts,
      flagSetId: this.#client.decisions.propertyToken,
      activityId: tokens['activity.id'],
      activityName: tokens['activity.name'],
      experienceId: tokens['experience.id'],
      offerId: tokens['offer.id']
    }
    const { metadata } = this.#options
    const members = metadata === undefined ? Object.entries(named) : metadata.map((name) => [name, named[name] ?? tokens[name]] as const)
    return Object.fromEntries(members.filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))) as FlagMetadata
  }

  #watch (): void {
    if (this.#isWatching) return
    this.#isWatching = true
    subscribe(channels.artifact.name as string, this.#changed)
    subscribe(channels.breaker.name as string, this.#changed)
  }

  /** The channels belong to all clients, and publish a change before it is made. */
  readonly #changed = (): void => queueMicrotask(() => this.#tell())

  #stateNow (): State {
    const { status, artifact } = this.#client.health()
    if (status === 'down') return 'error'
    return artifact?.version !== undefined && (artifact.state === 'stale' || artifact.state === 'failed') ? 'stale' : 'ready'
  }

  /** An event for each change of state, and for each new artifact. */
  #tell (): void {
    if (!this.#isWatching) return
    const state = this.#stateNow()
    const before = this.#state
    this.#state = state
    if (state !== before) {
      if (state === 'error') this.events.emit(ProviderEvents.Error, { message: 'Target cannot be asked: see health()', errorCode: ErrorCode.GENERAL })
      else this.events.emit(state === 'stale' ? ProviderEvents.Stale : ProviderEvents.Ready, { message: state === 'stale' ? 'the rule artifact is out of date' : 'decisions can be made' })
    }
    const { artifact } = this.#client.decisions
    if (artifact === undefined || artifact === this.#version) return
    const isFirst = this.#version === undefined
    this.#version = artifact
    if (!isFirst) this.events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged: [...artifact.mboxes.keys()], message: 'there is a new rule artifact' })
  }
}

/** One session for each targeting key: calls of a session are in order, and its visitor keeps an experience. */
function sessionOf ({ targetingKey }: EvaluationContext): string {
  return targetingKey === undefined || targetingKey === '' ? randomUUID() : createHash('sha256').update(targetingKey).digest('hex').slice(0, 32)
}

const versionOf = (artifact: { version: string, meta: Readonly<Record<string, unknown>> } | undefined) =>
  artifact === undefined ? undefined : typeof artifact.meta.generatedAt === 'string' ? artifact.meta.generatedAt : artifact.version
