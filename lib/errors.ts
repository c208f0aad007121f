/**
 * Every error this package throws or rejects with, by code.
 *
 * Codes, constructors and `statusCode` follow Fastify's convention (`@fastify/error`), so that an error handler,
 * a log serializer or `error.code === 'FST_TARGET_TIMEOUT'` work as with any other Fastify plugin.
 */
import createError, { type FastifyError } from '@fastify/error'

/** How far a call had come when it failed. */
export type CallPhase = 'request' | 'queue' | 'connect' | 'send' | 'headers' | 'body' | 'answer' | 'decision'

/** Facts about a failed call. They contain no visitor id, cookie or parameter value. */
export interface TargetErrorMeta {
  /** `requestId` of the Delivery API request. */
  requestId?: string
  /** How far the call had come. */
  phase: CallPhase
  /** HTTP status of the response, or the `status` in its body. */
  status?: number
  /** Whether the Delivery API itself refused the request, in its own JSON (`{ status, message }`), and not a proxy, a firewall or a limit. */
  refused?: boolean
  /** Number of times the request was put on a connection. */
  attempts: number
  /** Milliseconds since the call began. */
  elapsed: number
  /** Host (and port) of the edge. */
  host?: string
}

/** An error of this package: a `FastifyError` with the cause kept and facts about the call in `meta`. */
export interface TargetError extends FastifyError {
  code: TargetErrorCode
  cause?: unknown
  meta?: TargetErrorMeta
}

type TargetErrorClass = new (detail: string) => TargetError

const define = (code: string, message: string, statusCode: number) =>
  createError(code, message, statusCode) as unknown as TargetErrorClass

/** Error classes by code. Each takes one detail, the part of the message that is specific to the case. */
export const errors = {
  /** An option of the plugin, a route or a call is unknown, missing or invalid; the message names it. */
  FST_TARGET_INVALID_OPTIONS: define('FST_TARGET_INVALID_OPTIONS', 'Invalid Target options: %s', 500),
  /** The Delivery API request is invalid and was not sent. */
  FST_TARGET_INVALID_REQUEST: define('FST_TARGET_INVALID_REQUEST', 'Invalid Target request: %s', 500),
  /** The call did not complete within its `timeout`. */
  FST_TARGET_TIMEOUT: define('FST_TARGET_TIMEOUT', 'Target call timed out: %s', 504),
  /** The edge could not be connected to, or the connection was lost before the response was complete. */
  FST_TARGET_CONNECTION: define('FST_TARGET_CONNECTION', 'Connection to Target failed: %s', 502),
  /** The edge returned an error status, in the HTTP status line or in the body. */
  FST_TARGET_HTTP: define('FST_TARGET_HTTP', 'Target returned an error: %s', 502),
  /** The edge's response is not JSON, truncated, not an object, malformed or too large. */
  FST_TARGET_INVALID_RESPONSE: define('FST_TARGET_INVALID_RESPONSE', 'Invalid response from Target: %s', 502),
  /** The circuit breaker of this edge host is open: the call was not sent. */
  FST_TARGET_BREAKER_OPEN: define('FST_TARGET_BREAKER_OPEN', 'Circuit breaker open for %s', 503),
  /** Too many calls are queued (`pool.maxQueue`): the call was not sent. */
  FST_TARGET_OVERLOAD: define('FST_TARGET_OVERLOAD', 'Too many concurrent Target calls: %s', 503),
  /** On-device decisioning has no artifact yet. */
  FST_TARGET_NOT_READY: define('FST_TARGET_NOT_READY', 'Target is not ready: %s', 503),
  /** A rule artifact could not be fetched, or is invalid. */
  FST_TARGET_ARTIFACT: define('FST_TARGET_ARTIFACT', 'Cannot use Target rule artifact: %s', 500),
  /** The call was aborted: the browser disconnected, or the caller's `signal` was aborted. */
  FST_TARGET_ABORTED: define('FST_TARGET_ABORTED', 'Target call aborted: %s', 500),
  /** The client is closed. */
  FST_TARGET_CLOSED: define('FST_TARGET_CLOSED', 'Target client is closed: %s', 503),
  /** A page of another origin called the `notificationsRoute`. */
  FST_TARGET_FOREIGN_ORIGIN: define('FST_TARGET_FOREIGN_ORIGIN', 'Cross-origin request refused: %s', 403),
  /** The `notificationsRoute` received an invalid body. */
  FST_TARGET_INVALID_NOTIFICATIONS: define('FST_TARGET_INVALID_NOTIFICATIONS', 'Invalid notifications: %s', 400),
  /** The store of the outbox failed, so notifications are kept in memory only. Logged, never thrown. */
  FST_TARGET_STORE: define('FST_TARGET_STORE', 'Notification store failed: %s', 500),
  /** The name of the decorator is already in use; choose another one with the `decorator` option. */
  FST_TARGET_DECORATOR_PRESENT: define('FST_TARGET_DECORATOR_PRESENT', 'Cannot decorate: %s', 500)
} as const

/** One of this package's error codes. */
export type TargetErrorCode = keyof typeof errors

const UNPRINTABLE = /[\p{Cc}\u2028\u2029]+/gu
const MAX_DETAIL = 1000

/**
 * Makes an error of this package.
 *
 * @param code its code
 * @param detail the part of the message that is specific to the case; never visitor data. It may contain names from a browser
 *   or an artifact, so control characters are removed and it is cut at 1000 characters: an error is always one line
 * @param facts the `cause`, and the facts of the call
 */
export function failure (code: TargetErrorCode, detail: string, facts: { cause?: unknown, meta?: TargetErrorMeta } = {}): TargetError {
  const error = new errors[code](detail.replace(UNPRINTABLE, ' ').slice(0, MAX_DETAIL))
  if (facts.cause !== undefined) error.cause = facts.cause
  if (facts.meta !== undefined) error.meta = facts.meta
  return error
}

/** Whether a thrown value is an error of this package. */
export function isTargetError (thrown: unknown): thrown is TargetError {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' && Object.hasOwn(errors, thrown.code)
}

/** A value that was thrown while a call was made, as an error of this package. */
export function asTargetError (thrown: unknown): TargetError {
  return isTargetError(thrown)
    ? thrown
    : failure('FST_TARGET_INVALID_REQUEST', thrown instanceof Error ? thrown.message : 'unknown error', { cause: thrown })
}
