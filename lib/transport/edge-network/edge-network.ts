/**
 * The Edge Network: a page's request is one event to `interact`, displays and clicks are events to `collect`. The mboxes
 * and the page load that a request executes are reported as displayed after the response: the Edge Network itself counts
 * nothing when it responds.
 */
import { randomUUID } from 'node:crypto'
import { NOTHING_TO_ABORT, type Abortable } from '../../delivery/abort-listeners.ts'
import type { Delivery, DeliveryAnswer, DeliveryCall, Settled } from '../../delivery/delivery.ts'
import type { Log } from '../../diagnostics.ts'
import { asTargetError, failure, type TargetError } from '../../errors.ts'
import { displayNotifications } from '../../offers/notifications.ts'
import type { ClientHints, Context, DeliveryRequest, DeliveryResponse, Notification } from '../../schema/index.ts'
import { MAX_NOTIFICATIONS } from '../../schema/limits.ts'
import type { ReportLimit } from '../../schema/acceptable.ts'
import { acceptableState, edgeStatePrefix, isEdgeLocation } from '../../visitor/edge-state.ts'
import { deliveryCallOf, replying, type Reply, type Transport, type TransportCall } from '../transport.ts'
import { AccessToken, type EdgeCredentials } from './access-token.ts'
import { handOverOf, toResponse } from './answer.ts'
import { EDGE_NETWORK } from './dialect.ts'
import { collectBody, interactBody, scopesOf, type EventSettings } from './event.ts'
import { problemIn } from './unsupported.ts'
import { handlesOf, payloadsOf } from './wire.ts'

/** The option `edgeNetwork`. */
export interface EdgeNetworkSettings {
  datastreamId: string
  /** Host and optional port. Default `edge.adobedc.net`, with credentials `server.adobedc.net`. */
  edgeDomain?: string
  /** Default `ee`. */
  edgeBasePath?: string
  /** Authenticated calls, as a server makes them. Default: none. */
  credentials?: EdgeCredentials
  /** Namespace of `thirdPartyId`, as the datastream names it. Default: none, `thirdPartyId` is left out. */
  thirdPartyIdNamespace?: string
  /**
   * The consent of visitors who have not chosen yet, as in Web SDK's configuration: with `pending` and `out`, Target is called
   * only once Web SDK's consent cookie says `in`. Default `in`.
   */
  defaultConsent?: 'in' | 'pending' | 'out'
}

/** The client's settings that it needs. */
export interface EdgeNetworkClientSettings {
  client: string
  organizationId: string
  secure: boolean
  /** ms, the client's own. */
  timeout: number
  logger: Log
  report: ReportLimit
}

/** Mboxes of a call: it takes 30 scopes (Edge Network API, personalization), one of which is for the page load and the views. */
const MAX_MBOXES = 29
/** Maximum size of the token endpoint's response, in bytes. */
const MAX_TOKEN_ANSWER = 64 * 1024

/** Calls of the Edge Network. */
export class EdgeNetwork implements Transport {
  readonly limits = { mboxes: MAX_MBOXES, notifications: MAX_NOTIFICATIONS }
  readonly #settings: EdgeNetworkClientSettings
  readonly #delivery: Delivery
  readonly #origin: string
  readonly #base: string
  readonly #query: string
  readonly #prefix: string
  readonly #event: EventSettings
  readonly #credentials: EdgeCredentials | undefined
  readonly #token: AccessToken | undefined

  constructor (settings: EdgeNetworkSettings, client: EdgeNetworkClientSettings, delivery: Delivery) {
    const { datastreamId, credentials, edgeDomain = credentials === undefined ? 'edge.adobedc.net' : 'server.adobedc.net', edgeBasePath = 'ee', thirdPartyIdNamespace } = settings
    this.#settings = client
    this.#delivery = delivery
    this.#origin = `${client.secure ? 'https' : 'http'}://${edgeDomain}`
    this.#base = `/${edgeBasePath}`
    this.#query = `?datastreamId=${encodeURIComponent(datastreamId)}&requestId=`
    this.#prefix = edgeStatePrefix(client.organizationId)
    this.#event = { thirdPartyIdNamespace, report: client.report }
    this.#credentials = credentials
    if (credentials !== undefined) {
      const post = (url: string, form: string) => delivery.get(url, { kind: 'token', form, maxSize: MAX_TOKEN_ANSWER, timeout: client.timeout })
      this.#token = new AccessToken(credentials, post, client.logger)
    }
  }

  origin (): string {
    return this.#origin
  }

  problemIn (request: Partial<DeliveryRequest>): string | undefined {
    return problemIn(request)
  }

  close (): void {
    this.#token?.close()
  }

  ask (call: TransportCall, settled: Settled<Reply>): Abortable {
    const { request } = call
    const scopes = scopesOf(request)
    const { notifications } = request
    if (notifications !== undefined && scopes.length > 0) {
      settled(undefined, failure('FST_TARGET_INVALID_REQUEST', 'the Edge Network accepts notifications only in a separate call; use sendNotifications()'))
      return NOTHING_TO_ABORT
    }
    const problem = problemIn(request)
    if (problem !== undefined) this.#settings.report(`${problem}; it was ignored`)
    let body: string
    try {
      body = JSON.stringify(notifications === undefined
        ? interactBody(request, scopes, call.edgeState, this.#event)
        : collectBody(request, notifications, call.edgeState, this.#event))
    } catch (cause) {
      settled(undefined, asTargetError(cause))
      return NOTHING_TO_ABORT
    }
    const location = isEdgeLocation(call.locationHint) ? `/${call.locationHint}` : ''
    const toReply = (answer: DeliveryAnswer): Reply => this.#toReply(call, answer)
    const delivery = deliveryCallOf(call, {
      origin: this.#origin,
      path: `${this.#base}${location}/v2/${notifications === undefined ? 'interact' : 'collect'}${this.#query}${encodeURIComponent(request.requestId ?? randomUUID())}`,
      body,
      headers: headersOf(request.context),
      dialect: EDGE_NETWORK
    }, this.#settings.timeout, toReply)
    const ended = replying(settled, toReply)
    return this.#token === undefined ? this.#delivery.send(delivery, ended) : this.#sendAuthenticated(this.#token, delivery, ended)
  }

  /** Sends a call with a token, within its deadline; once more with the next token if the Edge Network does not take this one. */
  #sendAuthenticated (token: AccessToken, call: DeliveryCall, ended: Settled<DeliveryAnswer>): Abortable {
    const started = performance.now()
    let running: Abortable | undefined
    let done = false
    let timer: NodeJS.Timeout | undefined
    const end: Settled<DeliveryAnswer> = (answer, error) => {
      if (done) return
      done = true
      clearTimeout(timer)
      ended(answer, error)
    }
    const meta = () => ({ requestId: call.requestId, phase: 'queue' as const, attempts: 0, elapsed: performance.now() - started })
    const sendWith = (value: string, isLast: boolean) => {
      if (done) return
      clearTimeout(timer)
      const headers = { ...call.headers, authorization: `Bearer ${value}`, 'x-api-key': this.#credentials!.clientId, 'x-gw-ims-org-id': this.#settings.organizationId }
      running = this.#delivery.send({ ...call, headers, timeout: call.timeout - (performance.now() - started) }, (answer, error) => {
        if (error?.meta?.status !== 401 || isLast) return end(answer, error)
        token.reject(value)
        running = undefined
        send(true)
      })
    }
    const send = (isLast: boolean) => {
      const current = token.current
      if (typeof current === 'string') return sendWith(current, isLast)
      timer = setTimeout(() => end(undefined, failure('FST_TARGET_TIMEOUT', `no access token within ${call.timeout} ms`, { meta: meta() })), Math.max(1, call.timeout - (performance.now() - started)))
      current.then((value) => sendWith(value, isLast), (error: TargetError) => end(undefined, failure(error.code, 'no access token for the Edge Network', { cause: error, meta: meta() })))
    }
    send(false)
    return { abort: () => { running === undefined ? end(undefined, failure('FST_TARGET_ABORTED', 'the call was aborted', { meta: meta() })) : running.abort() } }
  }

  #toReply (call: TransportCall, { body, elapsed }: DeliveryAnswer): Reply {
    const { request } = call
    const { notifications } = request
    if (notifications !== undefined) {
      const response: DeliveryResponse = { status: 200, client: this.#settings.client, notifications: notifications.map(({ id }) => ({ id })) }
      return { request, response, elapsed, edgeState: [] }
    }
    const handles = handlesOf(body)
    const response = toResponse(request, handles, this.#settings.client)
    const reply: Reply = { request, response, elapsed, edgeState: acceptableState(payloadsOf(handles, 'state:store'), this.#prefix) }
    const webSdk = handOverOf(request, handles)
    if (webSdk !== undefined) reply.webSdk = webSdk
    const displays = displaysOf(response, request)
    if (displays.length > 0) reply.displays = displays
    return reply
  }
}

/** The displays that the response to an execution implies. */
function displaysOf (response: DeliveryResponse, { execute, impressionId = randomUUID() }: DeliveryRequest): Notification[] {
  if (execute === undefined || response.execute === undefined) return []
  const shown: DeliveryResponse = { status: 200, prefetch: response.execute as DeliveryResponse['prefetch'] }
  const places = [...execute.pageLoad === undefined ? [] : [{ pageLoad: true as const }], ...new Set((execute.mboxes ?? []).map(({ name }) => name))]
  return places.flatMap((what) => displayNotifications(shown, what))
    .map((form) => ({ id: randomUUID(), timestamp: Date.now(), impressionId, ...form }))
}

/** A header's value as the browser sent it, without characters that HTTP forbids. */
const header = (value: string): string => value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '').trim()

/**
 * The browser's own headers. Adobe takes calls with any other `User-Agent` for a bot's.
 *
 * Source: Adobe Target, server-side implementation, "User-Agent" (2026-06).
 */
function headersOf ({ userAgent, clientHints, geo }: Context): Record<string, string> {
  const headers: Record<string, string> = {}
  if (userAgent !== undefined) headers['user-agent'] = header(userAgent)
  if (geo?.ipAddress !== undefined) headers['x-forwarded-for'] = header(geo.ipAddress)
  return clientHints === undefined ? headers : { ...headers, ...hintHeaders(clientHints) }
}

function hintHeaders ({ mobile, platform, platformVersion, model, architecture, bitness, browserUAWithMajorVersion, browserUAWithFullVersion }: ClientHints): Record<string, string> {
  const quoted = { platform, 'platform-version': platformVersion, model, arch: architecture, bitness }
  return {
    ...(mobile !== undefined && { 'sec-ch-ua-mobile': mobile ? '?1' : '?0' }),
    ...(browserUAWithMajorVersion !== undefined && { 'sec-ch-ua': header(browserUAWithMajorVersion) }),
    ...(browserUAWithFullVersion !== undefined && { 'sec-ch-ua-full-version-list': header(browserUAWithFullVersion) }),
    ...Object.fromEntries(Object.entries(quoted).flatMap(([name, value]) => value === undefined ? [] : [[`sec-ch-ua-${name}`, `"${header(value).replace(/["\\]/g, '\\$&')}"`]]))
  }
}
