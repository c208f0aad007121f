/** One call of the Delivery API: interprets its response, and reports it to the breaker, the log and the channels. */
import type { IncomingHttpHeaders } from 'node:http'
import { channels, linksOf, type CallMessage, type Log } from '../diagnostics.ts'
import type { TargetError } from '../errors.ts'
import { readRetryAfter, type Admission, type Outcome } from './breaker.ts'
import { DELIVERY_API, type Dialect } from './dialect.ts'
import { edgeMessage } from './edge-message.ts'
import { schemeAdviceOf } from './network-error.ts'
import type { Host } from './host.ts'
import { parseHeaders, type ReceivedHeaders } from './response-handler.ts'
import type { DecisioningMethod, DeliveryRequest, DeliveryResponse } from '../schema/index.ts'
import { Transfer, type TransferTerms } from './transfer.ts'

/** A call to be sent. One deadline covers queue, connecting, headers, body and the retry. */
export interface DeliveryCall extends TransferTerms {
  /** Scheme, host and port of the edge: `https://acmeclient.tt.omtrdc.net`. */
  origin: string
  /** `/rest/v1/delivery?imsOrgId=…&sessionId=…` */
  path: string
  /** Further headers, in lower case; they win over those of every call. */
  headers?: Record<string, string> | undefined
  /** Default: the Delivery API's. */
  dialect?: Dialect | undefined
  /** The request as JSON. */
  body: string
  /** The request that {@link body} was made from, and the decisioning method: only for the tracing channel. */
  request?: DeliveryRequest | undefined
  decisioningMethod?: DecisioningMethod | undefined
  /** The request's `requestId`. */
  requestId: string
  /** The breaker judges calls of pages and those with notifications separately. */
  kind: 'page' | 'notification'
  /** ms: a timeout counts as the host's failure only if `timeout` is at least this long, not if a route has a shorter one. */
  breakerTimeout: number
  /** Called with a response that came within `grace`, after the call had ended with TIMEOUT. */
  onLate?: ((answer: DeliveryAnswer) => void) | undefined
}

/** The edge's response to a {@link DeliveryCall}. */
export interface DeliveryAnswer {
  /** HTTP status: 204 has no body, all others have one. */
  status: number
  body: DeliveryResponse | undefined
  /** Number of times the request was put on a connection. */
  attempts: number
  /** Host and port of the edge. */
  host: string
  /** ms from `send`. */
  elapsed: number
}

/** Called exactly once, possibly synchronously, with a response or with an error of this package. Must not throw. */
export type Settled<Answer> = (answer: Answer | undefined, error: TargetError | undefined) => void

/**
 * No compression is requested: offers are small, decompressing costs more than it saves over a short distance, and a small
 * response cannot expand into a large one.
 */
const HEADERS = Object.freeze({
  accept: 'application/json',
  'accept-encoding': 'identity',
  'content-type': 'application/json',
  'user-agent': 'fastify-adobe-target'
})

/** One call to the Delivery API, from the breaker to its parsed response. */
export class DeliveryExchange extends Transfer<DeliveryAnswer> {
  readonly #call: DeliveryCall
  readonly #log: Log
  readonly #settled: Settled<DeliveryAnswer>
  readonly #onSettled: () => void
  #admission: Admission | undefined
  #retryAfter = 0

  constructor (host: Host, call: DeliveryCall, maxSize: number, log: Log, settled: Settled<DeliveryAnswer>, onSettled: () => void) {
    super(host, { origin: call.origin, path: call.path, method: 'POST', headers: call.headers === undefined ? HEADERS : { ...HEADERS, ...call.headers }, body: call.body }, call, maxSize)
    this.#call = call
    this.#log = log
    this.#settled = settled
    this.#onSettled = onSettled
  }

  protected override describe (): Pick<CallMessage, 'kind'> & Partial<CallMessage> {
    const { requestId, kind, timeout, request, decisioningMethod } = this.#call
    const mboxes = (request?.execute?.mboxes?.length ?? 0) + (request?.prefetch?.mboxes?.length ?? 0)
    const description = { requestId, kind, timeout, decisioningMethod, mboxes, request }
    const notifications = request?.notifications
    if (notifications === undefined) return description
    return { ...description, notifications: notifications.map(({ id }) => id), links: linksOf(notifications) }
  }

  protected override open (): void {
    const { requestId, kind } = this.#call
    if (channels.callStart.hasSubscribers && this.host.isPublished) channels.callStart.publish({ requestId, host: this.host.name, kind })
    const { breaker } = this.host
    if (breaker !== undefined) {
      this.#admission = breaker.admit(kind, this.startedAt)
      if (this.#admission === undefined) return this.fail('FST_TARGET_BREAKER_OPEN', this.host.name)
    }
    super.open()
  }

  get #dialect (): Dialect {
    return this.#call.dialect ?? DELIVERY_API
  }

  /** Ends the call because the client is closed. */
  close (): void {
    this.fail('FST_TARGET_CLOSED', 'the call was not sent')
  }

  protected override get wantsLate (): boolean {
    return this.#call.onLate !== undefined
  }

  protected override late (answer: DeliveryAnswer): void {
    this.#call.onLate?.(answer)
  }

  protected override read (status: number, received: ReceivedHeaders, chunks: readonly Buffer[]): DeliveryAnswer {
    if (status === 204) return this.#answer(status, undefined)
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    if (status >= 300) {
      const headers = parseHeaders(received)
      if (status === 429 || status === 503) this.#retryAfter = readRetryAfter(headers['retry-after'], Date.now())
      throw this.#refused(status, parse(body), remarkOn(body, headers, this.#call))
    }
    const answer = parse(body)
    if (answer === undefined) throw this.failure('FST_TARGET_INVALID_RESPONSE', `not JSON${typeOf(parseHeaders(received))}`, undefined, status)
    const dialect = this.#dialect
    const reported = dialect.statusIn(answer)
    if (reported >= 400) throw this.#refused(reported, answer)
    const fault = dialect.findFault(answer)
    if (fault !== undefined) throw this.failure('FST_TARGET_INVALID_RESPONSE', fault, undefined, status)
    return this.#answer(status, answer as DeliveryResponse)
  }

  protected override ended (answer: DeliveryAnswer | undefined, error: TargetError | undefined): void {
    if (this.#admission !== undefined) {
      this.host.breaker?.settle(this.#call.kind, this.#admission, this.#outcome(error), this.endedAt!, this.#retryAfter)
    }
    const { requestId, kind } = this.#call
    const { host: { name: host, isPublished }, attempts } = this
    if (answer !== undefined && channels.callEnd.hasSubscribers && isPublished) {
      channels.callEnd.publish({ requestId, host, kind, status: answer.status, attempts, elapsed: answer.elapsed })
    }
    if (error !== undefined) {
      if (channels.callError.hasSubscribers && isPublished) channels.callError.publish({ requestId, host, kind, error, attempts, elapsed: this.elapsed })
      if (error.code !== 'FST_TARGET_ABORTED' && error.code !== 'FST_TARGET_CLOSED') this.#log.failure(error)
    }
    this.#onSettled()
    this.#settled(answer, error)
  }

  #answer (status: number, body: DeliveryResponse | undefined): DeliveryAnswer {
    return { status, body, attempts: this.attempts, host: this.host.name, elapsed: this.elapsed }
  }

  #refused (status: number, answer: unknown, remark = ''): TargetError {
    const dialect = this.#dialect
    const error = this.failure('FST_TARGET_HTTP', `${status}${remark}${edgeMessage(dialect.messageIn(answer), this.#call)}`, undefined, status)
    if (status >= 400 && status < 500 && !TEMPORARY.includes(status) && dialect.isOwnError(status, answer)) error.meta!.refused = true
    return error
  }

  /** The outcome for the breaker: a host that answers with anything but a 5xx is healthy. */
  #outcome (error: TargetError | undefined): Outcome {
    switch (error?.code) {
      case 'FST_TARGET_CONNECTION': return this.reached ? 'failed' : 'unreached'
      case 'FST_TARGET_HTTP': return error.meta!.status! >= 500 ? 'failed' : 'answered'
      case 'FST_TARGET_TIMEOUT':
        if (this.#call.timeout < this.#call.breakerTimeout) return 'late'
        return this.reached || error.meta!.phase === 'queue' ? 'failed' : 'unreached'
      case 'FST_TARGET_INVALID_RESPONSE':
      case undefined: return 'answered'
      default: return 'unknown'
    }
  }
}

/** Parses JSON; undefined if invalid. The parser's own error is dropped, since it quotes its input. */
function parse (body: Buffer): unknown {
  const text = body.toString()
  try {
    // A byte order mark is not JSON, but some proxies add one.
    return JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
  } catch {
    return undefined
  }
}

/** Remarks on the route to the edge, for an error message. */
function remarkOn (body: Buffer, { location }: IncomingHttpHeaders, { origin }: DeliveryCall): string {
  const remarks = [location === undefined ? '' : 'redirects are not followed', schemeAdviceOf(body, location, { origin, method: 'POST' })].filter((remark) => remark !== '')
  return remarks.length === 0 ? '' : ` (${remarks.join('; ')})`
}

/** 4xx that say nothing about the request: 408 (RFC 9110), 425 (RFC 8470), 429 (RFC 6585), and Target's 420 for too many calls of one session. */
const TEMPORARY = [408, 420, 425, 429]

/** The media type, for a message; the rest of the header is left out. */
function typeOf (headers: IncomingHttpHeaders): string {
  const [type] = /^[\w.+/-]{1,60}/.exec(String(headers['content-type'] ?? '')) ?? []
  return type === undefined ? '' : ` but ${type}`
}
