/**
 * The response of a request that used Target: cookies, `Cache-Control` in QA mode, `Server-Timing`.
 *
 * They are added in the last `onSend` hook of a route. If that does not run, or other hooks come after it, they are added as the
 * head is written: on 404s, on routes that were added before the plugin, and if Fastify is bypassed.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Warnings } from '../client/warnings.ts'
import type { Log } from '../diagnostics.ts'
import { cookieSerializer, QA_MODE_COOKIE, RENEW_AFTER, type CookieSettings, type WrittenCookie } from '../visitor/cookies.ts'
import { mayBeQaLink, readQaVisit, type QaVisit } from '../visitor/qa-mode.ts'
import type { Visitor } from '../visitor/visitor.ts'
import type { RequestCalls } from './calls.ts'
import { beforeHead, RawHead, ReplyHead, type Head } from './head.ts'
import { CDN_HEADERS, isSharedCacheable, NGINX_HEADER } from './shared-cache.ts'
import type { RequestState, SharedVisitor } from './state.ts'

/** The plugin's settings for responses. */
export interface ResponseSettings {
  /** Collects the warnings of `health()`. */
  warnings: Warnings
  cookies: CookieSettings | false
  /** Whether QA links count. */
  qa: boolean
  serverTiming: boolean
  /** Whether browsers are asked for client hints. */
  clientHints: boolean
  /** Name of the decorator. */
  decorator: string
  logger: Log
}

/** The responses of one plugin instance. */
export class Responses {
  readonly #settings: ResponseSettings
  readonly #state: RequestState
  readonly #serialize: ((cookie: WrittenCookie, https: boolean) => string) | undefined

  constructor (settings: ResponseSettings, state: RequestState) {
    this.#settings = settings
    this.#state = state
    this.#serialize = settings.cookies === false ? undefined : cookieSerializer(settings.cookies)
  }

  /** Adds the headers to a reply. To be called after all other hooks. */
  finish (request: FastifyRequest, reply: FastifyReply): void {
    this.#finish(request, new ReplyHead(reply))
  }

  /** Adds the headers, if any, as the head is written. */
  finishWithHead (request: FastifyRequest, reply: FastifyReply): void {
    if (this.#state.existing(request) === undefined && !this.#isQaLink(request)) return
    beforeHead(reply, () => {
      if (this.#state.existing(request)?.finished !== true) this.#finish(request, new RawHead(reply))
    })
  }

  /** Writes the visitor's cookies to the raw response now, for an app that writes its head itself. */
  writeCookies (request: FastifyRequest, reply: FastifyReply): void {
    const calls = this.#state.existing(request)
    if (calls === undefined || !calls.used) return
    if (reply.raw.headersSent) {
      this.#settings.logger.warnOnce(`request.${this.#settings.decorator}.writeCookies() of ${nameOf(request)} was called after the response head was written; call it earlier`)
      return
    }
    const shared = this.#state.visitor(request)
    if (!shared.written) this.#addCookies(request, new RawHead(reply), shared, this.#newCookies(shared.visitor))
  }

  /** Logs that a response was sent without the hooks, and so without cookies. */
  bypassed (request: FastifyRequest): void {
    const { visitor, written } = this.#state.visitor(request)
    if (written || this.#newCookies(visitor).length === 0) return
    this.#settings.logger.warnOnce(`the response of ${nameOf(request)} bypassed Fastify (reply.raw), so the visitor's cookies were not written. ` +
      `From now on they are added as its head is written; to have them on the first response too, call \`request.${this.#settings.decorator}.writeCookies()\` before`)
  }

  #finish (request: FastifyRequest, head: Head): void {
    const calls = this.#state.existing(request)
    if (calls !== undefined) calls.finished = true
    const qaVisit = this.#qaVisitOf(request, calls)
    const used = calls !== undefined && calls.used
    if (calls?.overridden === true) makePrivate(head)
    if (qaVisit === undefined && !used) return
    if (qaVisit !== undefined) this.#keepQaVisit(request, head, qaVisit)
    if (!used) return
    if (this.#settings.clientHints) addAcceptClientHints(head)
    if (this.#settings.serverTiming) addServerTiming(head, calls)
    this.#finishCookies(request, head)
  }

  /** The QA mode to keep in the cookie. A link may lead to a page without offers, or to a redirect that drops the query string. */
  #qaVisitOf (request: FastifyRequest, calls: RequestCalls | undefined): QaVisit | undefined {
    if (calls?.used === true) return calls.qaVisit
    if (!this.#isQaLink(request)) return undefined
    if (this.#state.route(request).plan.kind === 'off') return undefined
    return this.#state.calls(request).enabled ? readQaVisit(request.originalUrl, undefined) : undefined
  }

  #isQaLink (request: FastifyRequest): boolean {
    return this.#settings.qa && mayBeQaLink(request.originalUrl)
  }

  #keepQaVisit (request: FastifyRequest, head: Head, { cookie }: QaVisit): void {
    makePrivate(head)
    // Another instance of the plugin may have written it.
    if (this.#serialize === undefined || head.cookies.some((line) => line.startsWith(`${QA_MODE_COOKIE}=`))) return
    head.addCookies([this.#serialize(cookie, request.protocol === 'https')])
  }

  /** Adds the visitor's cookies, unless caches may serve the response to others. */
  #finishCookies (request: FastifyRequest, head: Head): void {
    const shared = this.#state.visitor(request)
    if (shared.written) {
      if (this.#isForAll(request, head)) this.#removeCookies(shared.visitor, head)
      // They may be on the raw response, whose cookies Fastify's would replace.
      else head.addCookies([])
      return
    }
    const cookies = this.#newCookies(shared.visitor)
    // Most browsers have them already. Reading all headers of a reply, to find out whether caches may keep it, is slow.
    const areKnown = this.#serialize !== undefined && cookies.length === 0
    if (areKnown || !this.#isForAll(request, head)) this.#addCookies(request, head, shared, cookies)
  }

  #addCookies (request: FastifyRequest, head: Head, shared: SharedVisitor, cookies: WrittenCookie[]): void {
    const serialize = this.#serialize
    if (serialize === undefined) return
    shared.written = true
    this.#settings.warnings.cookiesWritten(shared.visitor.cameBack)
    const https = request.protocol === 'https'
    head.addCookies(cookies.map((cookie) => serialize(cookie, https)))
  }

  #newCookies (visitor: Visitor): WrittenCookie[] {
    const { cookies } = this.#settings
    return cookies === false ? [] : visitor.newCookies(cookies.renewAfter ?? RENEW_AFTER)
  }

  /** Removes cookies that `writeCookies()` or another instance of the plugin has already added. */
  #removeCookies (visitor: Visitor, head: Head): void {
    const names = visitor.cookies.map(({ name }) => name)
    head.setCookies(head.cookies.filter((line) => !names.includes(line.split('=', 1)[0]!)))
  }

  /** Whether caches may serve a response to other visitors, which is logged once per route. */
  #isForAll (request: FastifyRequest, head: Head): boolean {
    const { method, headers } = request
    if (!isSharedCacheable(method, headers.authorization !== undefined, head)) return false
    const route = `${method} ${request.routeOptions.url ?? ''}`
    if (this.#settings.logger.once(`cacheable ${route}`)) {
      const consequence = this.#serialize === undefined ? '' : ', so the visitor\'s cookies were not written'
      this.#settings.logger.warn(`the response is personalized but publicly cacheable${consequence}; send \`Cache-Control: private\``, { route })
    }
    return true
  }
}

/** Makes a response the tester's own: no cache keeps it, whatever the app says of its pages. */
function makePrivate (head: Head): void {
  for (const name of [...CDN_HEADERS, NGINX_HEADER]) head.remove(name)
  head.set('cache-control', 'private, no-store')
}

const nameOf = ({ method, routeOptions: { url } }: FastifyRequest): string => `${method} ${url ?? '(404)'}`

/** The hints that Target reads, apart from those that browsers always send (Client Hints Infrastructure, UA Client Hints). */
const CLIENT_HINTS = ['Sec-CH-UA-Model', 'Sec-CH-UA-Platform-Version', 'Sec-CH-UA-Full-Version-List', 'Sec-CH-UA-Arch', 'Sec-CH-UA-Bitness']

/** Adds `Accept-CH`, after the app's own. */
function addAcceptClientHints (head: Head): void {
  const given = [head.get('accept-ch') ?? []].flat().join(', ')
  const known = given.toLowerCase().split(',').map((name) => name.trim())
  const added = CLIENT_HINTS.filter((name) => !known.includes(name.toLowerCase()))
  if (added.length > 0) head.set('accept-ch', [...given === '' ? [] : [given], ...added].join(', '))
}

/** `Server-Timing: target;dur=81.2;desc="edge", target-wait;dur=0.0`, after the app's own. */
function addServerTiming (head: Head, { timing: { duration, waited }, source }: RequestCalls): void {
  const call = duration === undefined ? 'target;desc="pending"' : `target;dur=${duration.toFixed(1)};desc="${source}"`
  const given = head.get('server-timing')
  const timing = `${call}, target-wait;dur=${waited.toFixed(1)}`
  head.set('server-timing', given === undefined ? timing : `${String(given)}, ${timing}`)
}
