/**
 * Logging, callbacks, channels and retries: the one mechanism for each.
 *
 * A message object for a channel is built only where `channel.hasSubscribers` is true, so an unwatched channel costs one read.
 */
import { channel, tracingChannel } from 'node:diagnostics_channel'
import type { CallPhase, TargetError } from './errors.ts'

/** A logger: `app.log` and its children fit, and so does any object with these methods. */
export interface TargetLogger {
  debug (...args: any[]): void
  error (...args: any[]): void
  /** Advice, and losses that the plugin makes up for. Default: `error`. */
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
  /** A handler got an offer or its fallback: an {@link OfferMessage}, once per request for one, in the page's async context. */
  offer: channel('fastify-adobe-target:offer'),
  /** The response of a page that used Target was sent, or its client left: a {@link PageMessage}, in the page's async context. */
  page: channel('fastify-adobe-target:page')
}

/**
 * Every HTTP request of the plugin as Node.js traces operations: `tracing:fastify-adobe-target.call:start`, `end`,
 * `asyncStart`, `asyncEnd` and `error`, with one {@link CallMessage} that is filled in on the way.
 *
 * `start` is published in the async context of the page; stores that are bound to it are in force for the call, also while
 * it is queued and when it is repeated. Calls with notifications, and downloads of artifacts, belong to no page.
 */
export const calls = tracingChannel<object, CallMessage>('fastify-adobe-target.call')

/** One HTTP request, as the tracing channel's subscribers get it. Times in ms from the start of the call. */
export interface CallMessage {
  kind: 'page' | 'notification' | 'artifact' | 'geo'
  /** The start of the call, on the clock of `performance.now()`. */
  startedAt: number
  /** The `requestId` of the Delivery API; undefined for artifacts and geo lookups. */
  requestId: string | undefined
  /** Host name and port. */
  host: string
  /** Scheme, host name and port. */
  origin: string
  method: string
  /** Without the query string, which has the visitor's session id. */
  path: string
  /** Its deadline. */
  timeout?: number
  /** How decisions are to be made. The call was needed for those that cannot be made on-device. */
  decisioningMethod?: string | undefined
  /** Number of mboxes requested. */
  mboxes?: number
  /** The Delivery API request, by reference: it has the visitor's ids, and must not be changed. */
  request?: object | undefined
  /** Ids of the notifications in it. */
  notifications?: string[]
  /** The `link` that a subscriber of `fastify-adobe-target:outbox` set for these notifications, each once. */
  links?: unknown[]
  /** Where it is, and where it ended. */
  phase: CallPhase
  /** Number of times it was put on a connection. */
  attempts: number
  /** When it left the queue; 0 or nearly so unless all connections were in use. */
  queued?: number
  /** When it was put on a connection that was open; of the last attempt. */
  connected?: number
  /** Whether that connection had served before. Unknown with the app's own `dispatcher`. */
  reused?: boolean
  /** When the first byte of the response came. */
  firstByte?: number
  /** When it had ended. */
  elapsed?: number
  /** HTTP status; undefined without a response. */
  status?: number | undefined
  /** The Delivery API response, or the bytes of a download, by reference. */
  response?: unknown
  error?: TargetError
  /**
   * A subscriber of `start` may set it: the call is then made by `send`, which must be called at once and once, in an async
   * context of the subscriber's. For contexts that no store can be bound for, such as OpenTelemetry's.
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
   * call: what a subscriber sets here, such as its span, comes back in the `links` of that call's {@link CallMessage}.
   */
  link?: unknown
}

/** A message of `fastify-adobe-target:offer`. */
export interface OfferMessage {
  /** The FastifyRequest. */
  request: object
  /** What was asked for: one of these. */
  mbox?: string
  view?: string
  pageLoad?: true
  /** As in `request.target.offer()`. */
  reason: string
  source: string
  /** Kind of content; undefined for a fallback. */
  type: string | undefined
  /** From the response tokens `activity.id`, `activity.name`, `experience.id` and `experience.name`, where Target sends them. */
  activity: { id?: string, name?: string } | undefined
  experience: { id?: string, name?: string } | undefined
  error?: TargetError
  /** When the handler asked, in ms from the request's arrival. */
  asked: number
  /** ms that the handler waited for it. */
  waited: number
  /** Of the Delivery API request that it was in; undefined where there was none, or not yet. */
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
  /** As `request.target.timing`. */
  timing: { started: number | undefined, duration: number | undefined, waited: number }
  /** What `fastify-adobe-target:offer` said of this page; empty unless somebody subscribes to it, or to this channel, as the page begins. */
  offers: OfferMessage[]
  /**
   * The page's calls, the first of them first. `source`: undefined for one that failed or has not ended. `started`: when it was
   * made, in ms from the request's arrival; the app's own functions may delay the sending.
   */
  calls: { requestId: string | undefined, source: string | undefined, started: number, duration: number | undefined, mboxes: string[], error?: TargetError }[]
  /** Ids of the notifications queued so far. */
  notifications: string[]
  /** Names of the cookies that were set. */
  cookies: string[]
}

/** What subscribers want notifications to be linked with. Held no longer than the notifications themselves. */
const notificationLinks = new WeakMap<object, unknown>()

/** Publishes what became of some notifications. */
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

/** Every line in the log begins with it. */
const PREFIX = 'fastify-adobe-target: '

/** Minimum time between two lines about the same kind of failure, in ms. */
const MIN_INTERVAL = 10_000

/** Kinds and keys that are told apart. Names may come from anywhere, so there must be a limit. */
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
  /** Whether a key is new: true the first time only. For lines that are logged once in the life of a process. */
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

  /** Advice: what works, but should be done in another way. */
  warn (message: string, fields?: object): void {
    this.#write('warn', message, fields)
  }

  error (message: string, fields?: object): void {
    this.#write('error', message, fields)
  }

  /** Logs a piece of advice once. Bound, so that it can be passed on by itself. */
  readonly warnOnce = (message: string): void => {
    if (this.once(message)) this.warn(message)
  }

  /**
   * Logs a failure that may happen again and again: the first of its kind immediately, then one line per interval with the
   * number of failures that it stands for.
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
   * Wraps a callback of the app: what it throws, or rejects with, is logged once with its name and changes nothing.
   *
   * @param name as the app knows it, e.g. `events.clientReady`
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

/** Whether a value is a promise, of any class and realm: those of query builders and of Jest are not instances of this realm's `Promise`. */
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

/** Makes a function that returns true for each key the first time, and false from then on, also for keys past a limit. */
export function once (): (key: string) => boolean {
  const known = new Set<string>()
  return (key) => {
    if (known.has(key) || known.size >= MAX_KINDS) return false
    known.add(key)
    return true
  }
}

/** Waits between attempts. */
export interface Backoff {
  /** ms before the second attempt; doubled for each further one. */
  first: number
  /** ms at most. */
  max: number
  /** The share of the wait that is drawn at random, so that many processes do not retry at the same time. */
  jitter: readonly [min: number, max: number]
  /** From 0 to below 1. Default: `Math.random`. */
  random?: () => number
}

/**
 * The wait before the next attempt, in ms.
 *
 * @param failures number of attempts that failed in a row, from 1
 */
export function backoff (failures: number, { first, max, jitter: [low, high], random = Math.random }: Backoff): number {
  return Math.min(first * 2 ** (failures - 1), max) * (low + (high - low) * random())
}
