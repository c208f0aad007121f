/** What a failed connection means: undici's, Node's and TLS errors, read at this one place. */
import type { Client } from 'undici'
import type { TargetErrorCode } from '../errors.ts'

/** Codes of an error that says: this socket is gone. */
const DEAD_SOCKET = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'ECONNABORTED', 'EPIPE'])

/** Codes of an error in what was asked for, found before anything was sent. */
const UNSENDABLE = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED', 'ERR_INVALID_URL'])

/** Names of undici's errors about an answer that is none. */
const UNREADABLE = new Set(['HTTPParserError', 'HeadersOverflowError', 'ResponseExceededMaxSizeError'])

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Whether the socket died, rather than that it never came to be. */
export function isDeadSocket (error: unknown): boolean {
  return DEAD_SOCKET.has(codeOf(error))
}

/** Bytes that a dead socket had received, where undici tells it: for a dispatcher whose connections are not ours. */
export function bytesReadBefore (error: unknown): number {
  if (!(error instanceof Error) || !('socket' in error)) return 0
  return (error.socket as Client.SocketInfo | null)?.bytesRead ?? 0
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
  if (!(error instanceof Error)) return 'failed without an error'
  return error.message === '' ? codeOf(error) || error.name : error.message
}
