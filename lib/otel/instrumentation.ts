/**
 * Spans and events for OpenTelemetry, made from the diagnostics channels. Needs only `@opentelemetry/api`, and is an
 * instrumentation for `registerInstrumentations()` and `NodeSDK`.
 *
 * No attribute contains ids of visitors or requests, query strings, parameters or content.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { Type } from '@sinclair/typebox'
import {
  context, isSpanContextValid, SpanKind, SpanStatusCode, trace,
  type Attributes, type Context, type Link, type Span, type SpanContext, type Tracer, type TracerProvider
} from '@opentelemetry/api'
import { calls, channels, type CallMessage, type OfferMessage, type OutboxMessage } from '../diagnostics.ts'
import { checkOptions, flag, oneOf, strict, withMethods } from '../validation.ts'
import { evaluationOf, FEATURE_FLAG_EVALUATION } from './evaluation.ts'

/** The part of a `Logger` of `@opentelemetry/api-logs` that is needed. */
export interface EventLogger {
  emit (record: { eventName?: string, attributes?: Attributes, context?: Context }): void
}

/** The part of a `LoggerProvider` of `@opentelemetry/api-logs` that is needed. */
export interface EventLoggerProvider {
  getLogger (name: string, version?: string): EventLogger
}

/** Options of {@link TargetInstrumentation}. */
export interface TargetInstrumentationConfig {
  /** Whether recording starts immediately. Default `true`. */
  enabled?: boolean
  /** For spans. Default: the global one, or that of `registerInstrumentations()`. */
  tracerProvider?: TracerProvider
  /** For events, with `events: 'log'`. Default: that of `registerInstrumentations()`. */
  loggerProvider?: EventLoggerProvider
  /**
   * How `feature_flag.evaluation` is recorded: `log` as a log record, as the semantic conventions require, `span` as
   * an event of the page's span, `false` not at all. Default: `log` with a `loggerProvider`, else `span`.
   */
  events?: 'log' | 'span' | false
}

const Config = Type.Object({
  enabled: Type.Optional(flag),
  tracerProvider: Type.Optional(withMethods(['getTracer'], 'a TracerProvider')),
  loggerProvider: Type.Optional(withMethods(['getLogger'], 'a LoggerProvider')),
  events: Type.Optional(oneOf('log', 'span', false))
}, strict)

const NAME = 'fastify-adobe-target'
const VERSION: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version

const SPAN_NAMES: Record<CallMessage['kind'], string> = {
  page: 'adobe_target.delivery', notification: 'adobe_target.delivery', artifact: 'adobe_target.artifact', geo: 'adobe_target.geo', token: 'adobe_target.token'
}

/**
 * Records the calls of all plugins and clients of the process as spans, and the offers that handlers get as events.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export class TargetInstrumentation {
  readonly instrumentationName = NAME
  readonly instrumentationVersion = VERSION
  #config: TargetInstrumentationConfig
  #tracer: Tracer
  #logger: EventLogger | undefined
  /** Spans of calls that have not ended. */
  readonly #spans = new WeakMap<CallMessage, Span>()
  readonly #listeners: [name: string | symbol, listener: (message: any) => void][]
  #enabled = false

  constructor (config: TargetInstrumentationConfig = {}) {
    const { enabled = true, tracerProvider, loggerProvider, events = loggerProvider === undefined ? 'span' : 'log' } = checkOptions<TargetInstrumentationConfig>(Config, config, { call: 'new TargetInstrumentation()' })
    this.#config = { ...config, enabled, events }
    this.#tracer = (tracerProvider ?? trace).getTracer(NAME, VERSION)
    this.#logger = loggerProvider?.getLogger(NAME, VERSION)
    this.#listeners = [
      [calls.start.name, (message: CallMessage) => this.#start(message)],
      // The message is complete, and the page goes on only after this.
      [calls.asyncStart.name, (message: CallMessage) => this.#end(message)],
      [channels.outbox.name, link]
    ]
    if (events !== false) this.#listeners.push([channels.offer.name, (message: OfferMessage) => this.#evaluated(message)])
    if (enabled) this.enable()
  }

  /** Starts recording. */
  enable (): void {
    if (this.#enabled) return
    this.#enabled = true
    this.#config = { ...this.#config, enabled: true }
    for (const [name, listener] of this.#listeners) subscribe(name, listener)
  }

  /** Stops recording; spans of calls in flight are lost. */
  disable (): void {
    this.#enabled = false
    this.#config = { ...this.#config, enabled: false }
    for (const [name, listener] of this.#listeners) unsubscribe(name, listener)
  }

  /** Called by `registerInstrumentations()`; a provider in the options takes precedence. */
  setTracerProvider (provider: TracerProvider): void {
    if (this.#config.tracerProvider === undefined) this.#tracer = provider.getTracer(NAME, VERSION)
  }

  /** Likewise. */
  setLoggerProvider (provider: EventLoggerProvider): void {
    if (this.#config.loggerProvider === undefined) this.#logger = provider.getLogger(NAME, VERSION)
  }

  /** Nothing is measured here: see `fastify-adobe-target/prometheus`. */
  setMeterProvider (): void {}

  getConfig (): TargetInstrumentationConfig {
    return this.#config
  }

  /** Applies `enabled`; the other options are fixed by the constructor. */
  setConfig ({ enabled = true }: TargetInstrumentationConfig): void {
    if (enabled) this.enable()
    else this.disable()
  }

  #start (message: CallMessage): void {
    const { kind, links } = message
    const parent = pageContext(context.active())
    const span = this.#tracer.startSpan(SPAN_NAMES[kind], {
      kind: SpanKind.CLIENT,
      // Made in the background, for the next page that needs it or for several at once.
      root: kind === 'artifact' || (links !== undefined && links.length > 0),
      links: (links ?? []).filter(isSpanContext).map((context): Link => ({ context })),
      attributes: startAttributes(message)
    }, parent)
    this.#spans.set(message, span)
    // Spans of undici's instrumentation become children.
    const active = trace.setSpan(parent, span)
    message.run = (send) => context.with(active, send)
  }

  #end (message: CallMessage): void {
    const span = this.#spans.get(message)
    if (span === undefined) return
    this.#spans.delete(message)
    if (span.isRecording()) {
      span.setAttributes(endAttributes(message))
      // A visitor who leaves is not a failure of Target.
      if (message.error !== undefined && message.error.code !== 'FST_TARGET_ABORTED') span.setStatus({ code: SpanStatusCode.ERROR })
    }
    span.end()
  }

  #evaluated (message: OfferMessage): void {
    const { events } = this.#config
    if (events === 'log') this.#logger?.emit({ eventName: FEATURE_FLAG_EVALUATION, attributes: evaluationOf(message), context: context.active() })
    else spanOfPage(message.request)?.addEvent(FEATURE_FLAG_EVALUATION, evaluationOf(message))
  }
}

/** Attributes of the semantic conventions for HTTP clients, and some specific to Target. */
function startAttributes ({ kind, method, origin, path, decisioningMethod, mboxes, notifications }: CallMessage): Attributes {
  const { hostname, port, protocol } = new URL(origin)
  return {
    'http.request.method': method,
    'server.address': hostname,
    'server.port': port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port),
    'url.full': origin + path,
    'adobe_target.kind': kind,
    'adobe_target.decisioning': decisioningMethod,
    'adobe_target.mboxes': mboxes,
    'adobe_target.notifications': notifications?.length
  }
}

function endAttributes ({ status, attempts, error, phase, queued, connected, firstByte, reused }: CallMessage): Attributes {
  return {
    'http.response.status_code': status,
    'http.request.resend_count': attempts > 1 ? attempts - 1 : undefined,
    'error.type': error === undefined ? undefined : error.code === 'FST_TARGET_HTTP' ? String(status) : error.code.replace('FST_TARGET_', '').toLowerCase(),
    'adobe_target.phase': phase,
    'adobe_target.queued_ms': queued,
    'adobe_target.connected_ms': connected,
    'adobe_target.first_byte_ms': firstByte,
    'adobe_target.connection_reused': reused
  }
}

/** The notifications of a page are sent later, in no page's context: their call is linked to the span that accepted them. */
function link (message: OutboxMessage): void {
  if (message.event === 'accepted') message.link ??= trace.getSpanContext(pageContext(context.active()))
}

const isSpanContext = (value: unknown): value is SpanContext => typeof value === 'object' && value !== null && 'traceId' in value && isSpanContextValid(value as SpanContext)

/** How spans of `@fastify/otel` are recognized, with SDK 2 and 1. */
interface FastifySpan extends Span {
  attributes?: Attributes
  parentSpanContext?: SpanContext
  parentSpanId?: string
}

/**
 * The context of the page. `@fastify/otel` runs each hook and handler in a span of its own, which ends before the call does: the
 * call belongs to the request, as does every other one of that page.
 */
function pageContext (active: Context): Context {
  const span = trace.getSpan(active) as FastifySpan | undefined
  if (!['hook', 'route-hook', 'request-handler'].includes(String(span?.attributes?.['fastify.type']))) return active
  const { parentSpanContext, parentSpanId } = span!
  const page = parentSpanContext ?? (parentSpanId === undefined ? undefined : { ...span!.spanContext(), spanId: parentSpanId })
  return page === undefined ? active : trace.setSpanContext(active, page)
}

/** The span of a request: that of `@fastify/otel`, or the active one. */
function spanOfPage (request: { opentelemetry?: () => { span?: Span | null } }): Span | undefined {
  const span = typeof request.opentelemetry === 'function' ? request.opentelemetry().span : undefined
  return span ?? trace.getActiveSpan()
}
