/** A plain GET, for the rule artifact and the geo lookup; or a form that is posted, for an access token. */
import type { IncomingHttpHeaders } from 'node:http'
import type { CallMessage } from '../diagnostics.ts'
import { failure, type TargetError } from '../errors.ts'
import type { Host } from './host.ts'
import { parseHeaders, type ReceivedHeaders } from './response-handler.ts'
import { Transfer } from './transfer.ts'

/** Options of a download. */
export interface DownloadOptions {
  /** For the tracing channel. */
  kind: 'artifact' | 'geo' | 'token'
  /** A form, to be posted. Redirects are not followed with it. */
  form?: string | undefined
  headers?: Record<string, string> | undefined
  /** Largest body, in bytes. */
  maxSize: number
  /** ms for the whole request. */
  timeout: number
  signal?: AbortSignal | undefined
}

/** Any complete response, whatever its status. */
export interface DownloadAnswer {
  status: number
  /** Names in lower case. */
  headers: IncomingHttpHeaders
  /** In the chunks in which it arrived: joining those of a large body blocks the event loop. */
  body: readonly Uint8Array[]
}

/** A GET, with the deadline and the connections of calls. */
export class Download extends Transfer<DownloadAnswer> {
  protected readonly wantsLate = false
  readonly #kind: DownloadOptions['kind']
  readonly #timeout: number
  readonly #settled: (download: Download, answer: DownloadAnswer | undefined, error: TargetError | undefined) => void

  /** @param settled called exactly once with the result */
  constructor (host: Host, url: URL, options: DownloadOptions, settled: (download: Download, answer: DownloadAnswer | undefined, error: TargetError | undefined) => void) {
    const { kind, maxSize, timeout, signal, form } = options
    const headers = { 'accept-encoding': 'identity', 'user-agent': 'fastify-adobe-target', ...(form !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }), ...options.headers }
    super(host, { origin: url.origin, path: url.pathname + url.search, method: form === undefined ? 'GET' : 'POST', headers, ...(form !== undefined && { body: form }) }, { timeout, grace: 0, retryable: true, signal }, maxSize)
    this.#kind = kind
    this.#timeout = timeout
    this.#settled = settled
  }

  /** Ends it because the client is closed. */
  close (): void {
    this.fail('FST_TARGET_CLOSED', 'the download was cancelled')
    this.cancel()
  }

  protected override describe (): Pick<CallMessage, 'kind'> & Partial<CallMessage> {
    return { kind: this.#kind, timeout: this.#timeout }
  }

  protected override read (status: number, headers: ReceivedHeaders, body: readonly Buffer[]): DownloadAnswer {
    return { status, headers: parseHeaders(headers), body }
  }

  protected override ended (answer: DownloadAnswer | undefined, error: TargetError | undefined): void {
    this.#settled(this, answer, error)
  }

  protected override late (): void {}
}

/** The statuses that `fetch` follows. */
const REDIRECTS = [301, 302, 303, 307, 308]

/**
 * The target of a redirect; `undefined` if the response is not one.
 *
 * @throws INVALID_RESPONSE if the redirect must not be followed
 */
export function redirectOf ({ status, headers: { location } }: DownloadAnswer, from: URL): URL | undefined {
  if (!REDIRECTS.includes(status) || location === undefined) return undefined
  if (!URL.canParse(location, from.href)) throw failure('FST_TARGET_INVALID_RESPONSE', `${status}, a redirect to an invalid URL`)
  const to = new URL(location, from)
  if (to.protocol === 'https:' || to.protocol === from.protocol) return to
  const scheme = to.protocol === 'http:' ? 'http, without encryption,' : 'another scheme'
  throw failure('FST_TARGET_INVALID_RESPONSE', `${status}, a redirect to ${scheme} is not followed`)
}
