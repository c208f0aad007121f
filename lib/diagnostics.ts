/**
 * Logging and channels: one mechanism for each.
 *
 * A message for a channel is built only if `channel.hasSubscribers` is true, so a channel without subscribers costs one read.
 */
import { channel, tracingChannel } from 'node:diagnostics_channel'
import type { CallPhase, TargetError } from './errors.ts'

/** A logger: `app.log` and its children fit, and so does any object with these methods. */
export interface TargetLogger {
  debug (...args: any[]): void
  error (...args: any[]): void
  /** Advice, and failures that the plugin compensates for. Default: `error`. */
  warn? (...args: any[]): void
}

/** The diagnostics channels. Their names are public. */
export const channels = {
  /** A call to the edge is sent: `{ requestId, host, kind }`. */
  callStart: channel('fastify-adobe-target:call:start'),
  /** It was answered: `{ requestId, host, kind, status, attempts, elapsed }`. */
  callEnd: channel('fastify-adobe-target:call:end'),
  /** It failed: `{ requestId, host, kind, error, attempts, elapsed }`. */
  callError: channel('fastify-adobe-target:call:error'),
  /** A decision was made on-device: `{ requestId, remoteMboxes, remoteViews, startedAt, elapsed, request, response, context, artifact, notifications }`. */
  decision: channel('fastify-adobe-target:decision'),
  /** The rule artifact changed state: `{ state, version?, error? }`. */
  artifact: channel('fastify-adobe-target:artifact'),
  /** Notifications were accepted, sent, failed or dropped: an {@link OutboxMessage}. */
  outbox: channel('fastify-adobe-target:outbox'),
  /** A circuit breaker changed state: `{ host, state, kind }`, `kind` being `page` or `notification`. */
  breaker: channel('fastify-adobe-target:breaker'),
  /** A handler got an offer or its fallback: one {@link OfferMessage} each time, in the page's async context. */
  offer: channel('fastify-adobe-target:offer'),
  /** The response of a page that used Target was sent or aborted: a {@link PageMessage}, in the page's async context. */
  page: channel('fastify-adobe-target:page')
}

/**
 * Traces every HTTP request of the plugin as a Node.js tracing channel: `tracing:fastify-adobe-target.call:start`, `end`,
 * `asyncStart`, `asyncEnd` and `error`, with one {@link CallMessage} that is filled in step by step.
 *
 * `start` is published in the async context of the page; stores bound to it apply to the call, even while it is queued and when
 * it is retried. Calls with notifications, and downloads of artifacts, belong to no page.
 */
export const calls = tracingChannel<object, CallMessage>('fastify-adobe-target.call')

/** One HTTP request, as published on the tracing channel. Times are in ms from the start of the call. */
export interface CallMessage {
  kind: 'page' | 'notification' | 'artifact' | 'geo' | 'token'
  /** The start of the call, on the clock of `performance.now()`. */
  startedAt: number
  /** The `requestId` of the Delivery API; undefined for artifacts and geo lookups. */
  requestId: string | undefined
  /** Host name and port. */
  host: string
  /** Scheme, host name and port. */
  origin: string
  method: string
  /** Without the query string, which contains the visitor's session id. */
  path: string
  /** Its deadline. */
  timeout?: number
  /** The requested decisioning method. With `hybrid`, the call is for decisions that cannot be made on-device. */
  decisioningMethod?: string | undefined
  /** Number of mboxes requested. */
  mboxes?: number
  /** The Delivery API request, by reference: it contains the visitor's ids, and must not be changed. */
  request?: object | undefined
  /** Ids of the notifications in it. */
  notifications?: string[]
  /** The distinct `link`s that a subscriber of `fastify-adobe-target:outbox` set for these notifications. */
  links?: unknown[]
  /** The current phase, and finally the one in which it ended. */
  phase: CallPhase
  /** Number of times it was put on a connection. */
  attempts: number
  /** When it left the queue; about 0 unless all connections were in use. */
  queued?: number
  /** When the last attempt was put on an open connection. */
  connected?: number
  /** Whether that connection was open before. Unknown with the app's own `dispatcher`. */
  reused?: boolean
  /** When the first byte of the response arrived. */
  firstByte?: number
  /** When it ended. */
  elapsed?: number
  /** HTTP status; undefined without a response. */
  status?: number | undefined
  /** The Delivery API response, or the chunks of a download, by reference. */
  response?: unknown
  error?: TargetError
  /**
   * May be set by a subscriber of `start`: the call is then made by `send`, which must be called synchronously and exactly once,
   * in an async context of the subscriber's choice. For contexts that cannot be bound as a store, such as OpenTelemetry's.
   */
  run?: (send: () => void) => void
}

/** A message of `fastify-adobe-target:outbox`. */
export interface OutboxMessage {
  event: 'accepted' | 'sent' | 'failed' | 'dropped'
  count: number
  /** Ids of the notifications. */
  ids: string[]
  error?: TargetError
  /**
   * `accepted` is published in the async context of the page. Notifications are sent outside it, and several pages share a
   * call: a value that a subscriber sets here, such as its span, is returned in the `links` of that call's {@link CallMessage}.
   */
  link?: unknown
}

/** A message of `fastify-adobe-target:offer`. */
export interface OfferMessage {
  /** The FastifyRequest. */
  request: object
  /** What was requested: one of these. */
  mbox?: string
  view?: string
  pageLoad?: true
  /** As in `request.target.offer()`. */
  reason: string
  source: string
  /** Kind of content; undefined for a fallback. */
  type: string | undefined
  /** From the response tokens `activity.id`, `activity.name`, `experience.id` and `experience.name`, if Target sends them. */
  activity: { id?: string, name?: string } | undefined
  experience: { id?: string, name?: string } | undefined
  error?: TargetError
  /** When the handler requested it, in ms from the request's arrival. */
  asked: number
  /** ms that the handler waited for it. */
  waited: number
  /** Of its Delivery API request; undefined if there was none, or none yet. */
  requestId: string | undefined
}

/** A message of `fastify-adobe-target:page`. */
export interface PageMessage {
  /** The FastifyRequest. */
  request: object
  /** The route's URL, with its parameters' names; undefined for a 404. */
  route: string | undefined
  statusCode: number
  /** The request's arrival, on the clock of `performance.now()`. */
  arrivedAt: number
  /** ms from the request's arrival to the end of its response. */
  elapsed: number
  /** The same as `request.target.timing`. */
  timing: { started: number | undefined, duration: number | undefined, waited: number }
  /** The page's messages of `fastify-adobe-target:offer`; empty unless that channel or this one has a subscriber when the page begins. */
  offers: OfferMessage[]
  /**
   * The page's calls in order. `source`: undefined for one that failed or has not ended. `started`: when it was made, in ms from
   * the request's arrival; the app's own functions may delay sending it.
   */
  calls: { requestId: string | undefined, source: string | undefined, started: number, duration: number | undefined, mboxes: string[], error?: TargetError }[]
  /** Ids of the notifications queued so far. */
  notifications: string[]
  /** Names of the cookies that were set. */
  cookies: string[]
}

/** Links set by subscribers, by notification. Kept no longer than the notifications themselves. */
const notificationLinks = new WeakMap<object, unknown>()

/** Publishes an event about notifications. */
export function publishOutbox (event: OutboxMessage['event'], notifications: readonly { readonly id: string }[], error?: TargetError): void {
  if (!channels.outbox.hasSubscribers || notifications.length === 0) return
  const message: OutboxMessage = { event, count: notifications.length, ids: notifications.map(({ id }) => id) }
  if (error !== undefined) message.error = error
  channels.outbox.publish(message)
  if (event !== 'accepted' || message.link === undefined) return
  for (const notification of notifications) notificationLinks.set(notification, message.link)
}

/** The distinct links of some notifications. */
export function linksOf (notifications: readonly object[]): unknown[] {
  const links = new Set(notifications.map((notification) => notificationLinks.get(notification)))
  links.delete(undefined)
  return [...links]
}

/** Prefix of every log line. */
const PREFIX = 'fastify-adobe-target: '

/** Minimum ms between log lines about the same kind of failure. */
const MIN_INTERVAL = 10_000

/** Maximum number of distinct kinds and keys. Names may come from anywhere, so there must be a limit. */
const MAX_KINDS = 1000

/**
 * The log of one client or plugin instance. Never throws, even if the logger does.
 *
 * @example
 * const log = Log.of(settings.logger)
 * if (log.once(`cache ${route}`)) log.warn('response is publicly cacheable', { route })
 */
export class Log {
  readonly #logger: TargetLogger
  readonly #kinds = new Map<string, { loggedAt: number, unlogged: number }>()
  /** Whether a key is new: true the first time only. For lines that are logged once per process. */
  readonly once = once()

  constructor (logger: TargetLogger) {
    this.#logger = logger
  }

  /** The log itself, or a new one for a logger. */
  static of (logger: TargetLogger | Log): Log {
    return logger instanceof Log ? logger : new Log(logger)
  }

  debug (message: string, fields?: object): void {
    this.#write('debug', message, fields)
  }

  /** Logs advice: something works, but should be done differently. */
  warn (message: string, fields?: object): void {
    this.#write('warn', message, fields)
  }

  error (message: string, fields?: object): void {
    this.#write('error', message, fields)
  }

  /** Logs a piece of advice once. Bound, so that it can be passed on as a function. */
  readonly warnOnce = (message: string): void => {
    if (this.once(message)) this.warn(message)
  }

  /**
   * Logs a failure that may repeat: the first of its kind immediately, then one line per interval with the number of failures
   * it represents.
   *
   * @param options `message`: without visitor data; default: the error's own. `count`: number of failures reported at once.
   *   `kind`: default: the error's code and status. `level`: default `error`
   */
  failure (error: TargetError, { message = error.message, count = 1, kind = `${error.code} ${error.meta?.status ?? ''}`, level = 'error' }: FailureOptions = {}): void {
    if (this.#kinds.size >= MAX_KINDS && !this.#kinds.has(kind)) kind = error.code
    const now = performance.now()
    const known = this.#kinds.get(kind)
    if (known !== undefined && now - known.loggedAt < MIN_INTERVAL) {
      known.unlogged += count
      return
    }
    this.#kinds.set(kind, { loggedAt: now, unlogged: 0 })
    const more = known !== undefined && known.unlogged > 0 ? ` (and ${known.unlogged} more since the last line)` : ''
    this.#write(level, message + more, { err: error })
  }

  /**
   * Wraps a callback of the app: if it throws or rejects, the error is logged once with its name and has no other effect.
   *
   * @param name for the app, e.g. `events.clientReady`
   */
  guard<Args extends unknown[]> (callback: ((...args: Args) => unknown) | undefined, name: string): (...args: Args) => void {
    const threw = (thrown: unknown): void => {
      if (this.once(`${name} threw`)) this.error(`\`${name}\` threw; further errors from it will not be logged`, { err: thrown })
    }
    return (...args) => {
      try {
        const result = callback?.(...args)
        if (isThenable(result)) Promise.resolve(result).catch(threw)
      } catch (thrown) {
        threw(thrown)
      }
    }
  }

  #write (level: 'debug' | 'warn' | 'error', message: string, fields: object | undefined): void {
    const method = level === 'warn' && typeof this.#logger.warn !== 'function' ? 'error' : level
    try {
      if (fields === undefined) this.#logger[method]!(PREFIX + message)
      else this.#logger[method]!(fields, PREFIX + message)
    } catch {
      // A logger that throws is treated as absent: there is nowhere left to report it.
    }
  }
}

/** Whether a value is a promise of any class or realm: those of query builders and of Jest are not instances of this realm's `Promise`. */
export function isThenable<Value> (value: Value | PromiseLike<Value>): value is PromiseLike<Value> {
  return (typeof value === 'object' || typeof value === 'function') && value !== null && typeof (value as PromiseLike<Value>).then === 'function'
}

/** A number with its noun, for a message: `1 mbox`, `2 mboxes`. */
export const counted = (count: number, singular: string, plural = `${singular}s`): string => `${count} ${count === 1 ? singular : plural}`

/** How {@link Log.failure} logs. */
export interface FailureOptions {
  message?: string
  count?: number
  kind?: string
  level?: 'warn' | 'error'
}

/** Makes a function that returns true for each key the first time, and false afterwards, and for new keys beyond a limit. */
export function once (): (key: string) => boolean {
  const known = new Set<string>()
  return (key) => {
    if (known.has(key) || known.size >= MAX_KINDS) return false
    known.add(key)
    return true
  }
}
