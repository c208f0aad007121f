/**
 * The response of a request that used Target: cookies, `Cache-Control` in QA mode, `Server-Timing`.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../diagnostics.ts'
import { cookieSerializer, QA_MODE_COOKIE, type CookieSettings, type TargetCookie } from '../visitor/cookies.ts'
import { mayBeQaLink, readQaVisit, type QaVisit } from '../visitor/qa-mode.ts'
import type { RequestCalls } from './calls.ts'
import type { RequestState } from './state.ts'

/** Settings of the plugin that concern responses. */
export interface ResponseSettings {
  cookies: CookieSettings | false
  /** Whether QA links count. */
  qa: boolean
  serverTiming: boolean
  /** Whether browsers are asked for client hints. */
  clientHints: boolean
  logger: Log
}

/** The responses of one plugin instance. */
export class Responses {
  readonly #settings: ResponseSettings
  readonly #state: RequestState
  readonly #serialize: ((cookie: TargetCookie, https: boolean) => string) | undefined

  constructor (settings: ResponseSettings, state: RequestState) {
    this.#settings = settings
    this.#state = state
    this.#serialize = settings.cookies === false ? undefined : cookieSerializer(settings.cookies)
  }

  /** Whether there may be anything to add to a response. */
  concerns (request: FastifyRequest): boolean {
    return this.#state.existing(request) !== undefined || this.#isQaLink(request)
  }

  /** Adds the headers. To be called when no other hook comes after. */
  finish (request: FastifyRequest, reply: FastifyReply): QaVisit | undefined {
    const calls = this.#state.existing(request)
    const qaVisit = this.#qaVisitOf(request, calls)
    if (qaVisit !== undefined) this.#keepQaVisit(request, reply, qaVisit)
    if (calls === undefined || !calls.used) return qaVisit
    if (this.#settings.clientHints) addAcceptClientHints(reply)
    if (this.#settings.serverTiming) addServerTiming(reply, calls)
    if (!this.#isForAll(request, reply)) this.#writeCookies(request, reply)
    return qaVisit
  }

  /**
   * Adds the headers where other `onSend` hooks may come after, which may still make the answer public: that is looked at
   * once more before the head is written.
   */
  finishEarly (request: FastifyRequest, reply: FastifyReply): void {
    const qaVisit = this.finish(request, reply)
    beforeHead(reply, () => {
      if (qaVisit !== undefined) keepPrivate(reply)
      else if (this.#isForAll(request, reply)) removeCookies(reply, this.#state.visitor(request).visitor.cookies.map(({ name }) => name))
    })
  }

  /** The QA mode that the response is to keep. A link may lead to a page without offers, or to a redirect that drops the query string. */
  #qaVisitOf (request: FastifyRequest, calls: RequestCalls | undefined): QaVisit | undefined {
    if (calls?.used === true) return calls.qaVisit
    if (!this.#isQaLink(request)) return undefined
    if (this.#state.route(request).plan.kind === 'off') return undefined
    return this.#state.calls(request).enabled ? readQaVisit(request.originalUrl, undefined) : undefined
  }

  #isQaLink (request: FastifyRequest): boolean {
    return this.#settings.qa && mayBeQaLink(request.originalUrl)
  }

  #keepQaVisit (request: FastifyRequest, reply: FastifyReply, { cookie }: QaVisit): void {
    keepPrivate(reply)
    if (this.#serialize === undefined) return
    // Another instance of the plugin may have written it.
    const written = [reply.getHeader('set-cookie') ?? []].flat()
    if (written.some((line) => String(line).startsWith(`${QA_MODE_COOKIE}=`))) return
    reply.header('set-cookie', this.#serialize(cookie, request.protocol === 'https'))
  }

  #writeCookies (request: FastifyRequest, reply: FastifyReply): void {
    const shared = this.#state.visitor(request)
    if (this.#serialize === undefined || shared.written) return
    shared.written = true
    const https = request.protocol === 'https'
    for (const cookie of shared.visitor.cookies) reply.header('set-cookie', this.#serialize(cookie, https))
  }

  /** Whether caches may give a response to everybody, which is logged once per route. */
  #isForAll (request: FastifyRequest, reply: FastifyReply): boolean {
    if (!isPubliclyCacheable(reply)) return false
    const route = `${request.method} ${request.routeOptions.url ?? ''}`
    if (this.#settings.logger.once(`cacheable ${route}`)) {
      this.#settings.logger.warn('the response is personalized but publicly cacheable, so the visitor\'s cookies were not written; send `Cache-Control: private`', { route })
    }
    return true
  }
}

/** By `Cache-Control`, or by a header for shared caches alone, which goes before it there (RFC 9213, Edge Architecture). */
function isPubliclyCacheable (reply: FastifyReply): boolean {
  const value = reply.getHeader('cache-control')
  if (value !== undefined && /\bpublic\b|\bs-maxage\s*=/i.test(String(value))) return true
  const shared = reply.getHeader('cdn-cache-control') ?? reply.getHeader('surrogate-control')
  return shared !== undefined && /\bpublic\b|\bmax-age\s*=\s*"?[1-9]/i.test(String(shared))
}

/** Makes a response the tester's own: no cache keeps it, whatever the app says of its pages. */
function keepPrivate (reply: FastifyReply): void {
  const { raw } = reply
  // For shared caches alone, and before `Cache-Control` there (RFC 9213, Edge Architecture).
  for (const name of ['cdn-cache-control', 'surrogate-control']) {
    reply.removeHeader(name)
    raw.removeHeader(name)
  }
  reply.header('cache-control', 'private, no-store')
  // Those of a stream are on the raw response already.
  if (raw.hasHeader('cache-control')) raw.setHeader('cache-control', 'private, no-store')
}

/** Runs a function when the head is about to be written, when no hook can change it any more. Too slow for every page. */
function beforeHead ({ raw }: FastifyReply, run: () => void): void {
  const { writeHead } = raw
  raw.writeHead = (...head: unknown[]) => {
    raw.writeHead = writeHead
    run()
    return writeHead.apply(raw, head as Parameters<typeof writeHead>)
  }
}

/** Takes some cookies out again. Those of a stream are on the raw response already. */
function removeCookies (reply: FastifyReply, names: string[]): void {
  const others = [reply.getHeader('set-cookie') ?? []].flat().map(String).filter((cookie) => !names.includes(cookie.split('=', 1)[0]!))
  const streamed = reply.raw.hasHeader('set-cookie')
  reply.removeHeader('set-cookie')
  if (others.length === 0) return
  reply.header('set-cookie', others)
  if (streamed) reply.raw.setHeader('set-cookie', others)
}

/** The hints that Target reads, beside those that browsers send anyway (Client Hints Infrastructure, UA Client Hints). */
const CLIENT_HINTS = ['Sec-CH-UA-Model', 'Sec-CH-UA-Platform-Version', 'Sec-CH-UA-Full-Version-List', 'Sec-CH-UA-Arch', 'Sec-CH-UA-Bitness']

/** Adds `Accept-CH`, after the app's own. */
function addAcceptClientHints (reply: FastifyReply): void {
  const given = [reply.getHeader('accept-ch') ?? []].flat().join(', ')
  const known = given.toLowerCase().split(',').map((name) => name.trim())
  const added = CLIENT_HINTS.filter((name) => !known.includes(name.toLowerCase()))
  if (added.length > 0) reply.header('accept-ch', [...given === '' ? [] : [given], ...added].join(', '))
}

/** `Server-Timing: target;dur=81.2;desc="edge", target-wait;dur=0.0`, after the app's own. */
function addServerTiming (reply: FastifyReply, { timing: { duration, waited }, source }: RequestCalls): void {
  const call = duration === undefined ? 'target;desc="pending"' : `target;dur=${duration.toFixed(1)};desc="${source}"`
  const given = reply.getHeader('server-timing')
  const timing = `${call}, target-wait;dur=${waited.toFixed(1)}`
  reply.header('server-timing', given === undefined ? timing : `${String(given)}, ${timing}`)
}
