/** Interprets errors of undici, Node.js and TLS; the only place that does. */
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

/** Bytes that a dead socket had received, if undici reports it: for a custom dispatcher, whose connections are not ours. */
export function bytesReadBefore (error: unknown): number {
  if (!(error instanceof Error) || !('socket' in error)) return 0
  return (error.socket as Client.SocketInfo | null)?.bytesRead ?? 0
}

/**
 * Whether an HTTP/2 server reported that it has not processed the request, which may then be sent again (RFC 9113, 8.7).
 *
 * Node.js reports the error code of a stream only in the message.
 */
export function isUnprocessed (error: unknown): boolean {
  return codeOf(error) === 'ERR_HTTP2_STREAM_ERROR' && error instanceof Error && error.message.includes('NGHTTP2_REFUSED_STREAM')
}

/**
 * Whether an HTTP/2 server closed its connection gracefully (GOAWAY with NO_ERROR). undici then fails the request on it, even
 * if the response has fully arrived but was not read yet (nodejs/undici#5598).
 */
export function isGoaway (error: unknown): boolean {
  return error instanceof Error && error.message.endsWith('"GOAWAY" frame received with code 0')
}

/** Whether a host name is unknown to DNS, as opposed to a failure of DNS or of the host. */
export function isUnknownHost (error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isUnknownHost)
  return UNKNOWN_HOST.has(codeOf(error))
}

/** OpenSSL's reasons for bytes that are not TLS: a server that answers in plain text. */
const NOT_TLS = /wrong.version.number|packet.length.too.long|http.request|https.proxy.request|unknown.protocol|bad.record.type|record.too.small/i

/** Responses of web servers with TLS to a request in plain text: nginx, Go, Apache, Jetty and Traefik. */
const PLAIN_TO_TLS = /plain HTTP request|HTTP request to an HTTPS server|plain HTTP to an SSL|requires TLS/i

/** Advice if the two ends use different schemes. */
const ADVICE = {
  edge: { http: 'the edge uses http: set `secure: false`', https: 'the edge uses https: set `secure: true`' },
  download: { http: 'the server uses http: `artifactLocation` must begin with http://', https: 'the server uses https: `artifactLocation` must begin with https://' }
} as const

/** The request that ended in an error. */
interface Sent { origin?: string | URL | null | undefined, method: string }

/** Advice for a request to a server with the other scheme, to be added to a message; empty for all other errors. */
function schemeAdvice (error: unknown, { origin, method }: Sent): string {
  if (!(error instanceof Error)) return ''
  const advice = ADVICE[method === 'POST' ? 'edge' : 'download']
  if (String(origin).startsWith('https:')) {
    const isPlain = codeOf(error).startsWith('ERR_SSL_') || codeOf(error) === 'EPROTO'
    return isPlain && NOT_TLS.test(`${codeOf(error)} ${error.message}`) ? advice.http : ''
  }
  // A TLS server answers with an alert, or hangs up before a byte, as others do who are merely restarted.
  if (error.name === 'HTTPParserError' && startsWithAlert((error as { data?: unknown }).data)) return advice.https
  return codeOf(error) === 'UND_ERR_SOCKET' && bytesReadBefore(error) === 0 ? `if ${advice.https}` : ''
}

/** A TLS record of the type alert, of any version. */
function startsWithAlert (data: unknown): boolean {
  if (typeof data === 'string') return data.charCodeAt(0) === 0x15 && data.charCodeAt(1) === 3
  return data instanceof Uint8Array && data[0] === 0x15 && data[1] === 3
}

/**
 * The same for a response: a TLS server that explains in plain text that it is one, or redirects to itself with https.
 *
 * @param location of a redirect
 */
export function schemeAdviceOf (body: Buffer, location: string | undefined, { origin, method }: Sent): string {
  if (!String(origin).startsWith('http:')) return ''
  const { https } = ADVICE[method === 'POST' ? 'edge' : 'download']
  if (location !== undefined) {
    const [from, to] = [String(origin), location].map((url) => URL.canParse(url) ? new URL(url).hostname : undefined)
    return location.startsWith('https:') && from === to ? https : ''
  }
  return PLAIN_TO_TLS.test(body.subarray(0, 1000).toString('latin1')) ? https : ''
}

/**
 * Error code, detail and cause for an error from the network.
 *
 * Errors of undici's parser are not used as a cause: they carry the bytes that it could not read.
 */
export function describeNetworkError (error: unknown, request: Sent): { code: TargetErrorCode, detail: string, cause?: unknown } {
  const advice = schemeAdvice(error, request)
  const detail = advice === '' ? messageOf(error) : `${messageOf(error).trim()} (${advice})`
  if (error instanceof Error && UNREADABLE.has(error.name)) return { code: 'FST_TARGET_INVALID_RESPONSE', detail }
  return { code: UNSENDABLE.has(codeOf(error)) ? 'FST_TARGET_INVALID_REQUEST' : 'FST_TARGET_CONNECTION', detail, cause: error }
}

/** The message of an error; Node's error after trying IPv6 and IPv4 has none, but contains one error for each. */
function messageOf (error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ')
  if (!(error instanceof Error)) return 'unknown error'
  return error.message === '' ? codeOf(error) || error.name : error.message
}
