/** The meaning of undici's, Node.js's and TLS errors, read at this one place. */
import type { Client } from 'undici'
import type { TargetErrorCode } from '../errors.ts'

/** Codes of errors that mean the socket is gone. */
const DEAD_SOCKET = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'ECONNABORTED', 'EPIPE'])

/** Codes of errors in the request itself, found before anything was sent. */
const UNSENDABLE = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED', 'ERR_INVALID_URL'])

/** Codes of `getaddrinfo` and of resolvers for a name that does not exist, or has no address. */
const UNKNOWN_HOST = new Set(['ENOTFOUND', 'ENODATA', 'EAI_NONAME', 'EAI_NODATA'])

/** undici errors that mean the response was not valid HTTP. */
const UNREADABLE = new Set(['HTTPParserError', 'HeadersOverflowError', 'ResponseExceededMaxSizeError'])

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Whether an open socket died. */
export function isDeadSocket (error: unknown): boolean {
  return DEAD_SOCKET.has(codeOf(error))
}

/** Bytes that a dead socket had received, where undici reports it: for a dispatcher whose connections are not ours. */
export function bytesReadBefore (error: unknown): number {
  if (!(error instanceof Error) || !('socket' in error)) return 0
  return (error.socket as Client.SocketInfo | null)?.bytesRead ?? 0
}

/**
 * Whether an HTTP/2 server said that it has not processed the request, which may then be sent again (RFC 9113, 8.7).
 *
 * Node.js has the error code of a stream in the message alone.
 */
export function isUnprocessed (error: unknown): boolean {
  return codeOf(error) === 'ERR_HTTP2_STREAM_ERROR' && error instanceof Error && error.message.includes('NGHTTP2_REFUSED_STREAM')
}

/**
 * Whether an HTTP/2 server closed its connection in an orderly way (GOAWAY with NO_ERROR). undici then gives up the request on
 * it, also one whose response is there in full but not read yet (nodejs/undici#5598).
 */
export function isGoaway (error: unknown): boolean {
  return error instanceof Error && error.message.endsWith('"GOAWAY" frame received with code 0')
}

/** Whether a host name is unknown to DNS: not a failure of DNS, nor one of the host. */
export function isUnknownHost (error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isUnknownHost)
  return UNKNOWN_HOST.has(codeOf(error))
}

/**
 * Error code, detail and cause for an error from the network.
 *
 * The errors of undici's parser are left out as a cause: they carry the bytes that it could not read.
 */
export function describeNetworkError (error: unknown): { code: TargetErrorCode, detail: string, cause?: unknown } {
  const detail = messageOf(error)
  if (error instanceof Error && UNREADABLE.has(error.name)) return { code: 'FST_TARGET_INVALID_RESPONSE', detail }
  return { code: UNSENDABLE.has(codeOf(error)) ? 'FST_TARGET_INVALID_REQUEST' : 'FST_TARGET_CONNECTION', detail, cause: error }
}

/** Node tries IPv6 and IPv4 and then fails with an error that has no message but one error for each in it. */
function messageOf (error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ')
  if (!(error instanceof Error)) return 'unknown error'
  return error.message === '' ? codeOf(error) || error.name : error.message
}
