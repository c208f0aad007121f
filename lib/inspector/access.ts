/**
 * Access to the inspector: by default from this machine only, and with a `secret` only after login. Behind a proxy on
 * the same machine every request looks local, so requests that came through a proxy do not count as local.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isSameOrigin } from '../request/own-route.ts'
import { isSame, Signer } from './signed.ts'
import { cookieOf, setCookie } from './cookie.ts'

const SESSION_COOKIE = 'target_inspector'

/** A day's work. */
const SESSION_LIFETIME = 12 * 3600_000

/** Maximum failed logins per minute, of all browsers together. */
const MAX_FAILURES = 10

const FORWARDING_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via']

/** Whether a request has access to the inspector, may log in, or is refused. */
export type Admission = 'admitted' | 'login' | 'refused'

export class Access {
  readonly #secret: string | undefined
  readonly #remote: boolean
  readonly #signer: Signer
  readonly #purpose: string
  #failures = 0
  #since = 0

  constructor ({ secret, remote }: { secret: string | undefined, remote: boolean }, signer: Signer, client: string) {
    this.#secret = secret
    this.#remote = remote
    this.#signer = signer
    this.#purpose = `session ${client}`
  }

  admits (request: FastifyRequest): Admission {
    if (!this.#remote && !isLocal(request)) return 'refused'
    // Without a secret, a site that has its own name point to this machine must not read what is here.
    if (this.#secret === undefined) return isLocalName(request.hostname) ? 'admitted' : 'refused'
    return this.#hasSession(request) || this.#hasBearer(request) ? 'admitted' : 'login'
  }

  /** Whether an address such as `/?target_override=hero:B` is obeyed: opened as a page, by a browser with access. */
  mayForce (request: FastifyRequest): boolean {
    const { 'sec-fetch-dest': destination = 'document', 'sec-fetch-site': site } = request.headers
    if (destination !== 'document' || (this.#secret === undefined && site === 'cross-site')) return false
    return this.admits(request) === 'admitted'
  }

  /** Whether a change comes from the inspector's own page, and not from another site. */
  isOwn (request: FastifyRequest): boolean {
    return this.#hasBearer(request) || isSameOrigin(request)
  }

  /**
   * Checks the secret, and keeps it for the browser as a cookie.
   *
   * @returns `throttled` when there were too many wrong ones
   */
  login (request: FastifyRequest, reply: FastifyReply, secret: unknown): 'welcome' | 'wrong' | 'throttled' {
    const now = Date.now()
    if (now - this.#since > 60_000) [this.#failures, this.#since] = [0, now]
    if (this.#failures >= MAX_FAILURES) return 'throttled'
    if (typeof secret !== 'string' || this.#secret === undefined || !isSame(secret, this.#secret)) {
      this.#failures++
      return 'wrong'
    }
    setCookie(request, reply, SESSION_COOKIE, this.#signer.sign(this.#purpose, true, SESSION_LIFETIME), SESSION_LIFETIME)
    return 'welcome'
  }

  logout (request: FastifyRequest, reply: FastifyReply): void {
    setCookie(request, reply, SESSION_COOKIE, '', 0)
  }

  #hasSession (request: FastifyRequest): boolean {
    return this.#signer.read(this.#purpose, cookieOf(request, SESSION_COOKIE)) === true
  }

  #hasBearer ({ headers: { authorization } }: FastifyRequest): boolean {
    return this.#secret !== undefined && authorization?.startsWith('Bearer ') === true && isSame(authorization.slice(7), this.#secret)
  }
}

/** By the connection itself: `request.ip` may be what a header says. */
function isLocal ({ socket, headers }: FastifyRequest): boolean {
  const address = socket.remoteAddress ?? ''
  return (/^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address) || address === '::1') && !FORWARDING_HEADERS.some((name) => headers[name] !== undefined)
}

const isLocalName = (name: string): boolean => /^(localhost|[\w.-]+\.localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/.test(name)
