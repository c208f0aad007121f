/**
 * An access token for OAuth server-to-server credentials: fetched when the client starts, cached, and renewed before it expires, so
 * that only pages before the first token wait for one.
 *
 * Source: Adobe Developer, server-to-server authentication (`POST /ims/token/v3`, `expires_in` in seconds).
 */
import type { Log } from '../../diagnostics.ts'
import { backoff } from '../../retries.ts'
import { failure, isTargetError, type TargetError } from '../../errors.ts'

/** OAuth server-to-server credentials of a project in Adobe's Developer Console. */
export interface EdgeCredentials {
  clientId: string
  clientSecret: string
  /** Default: those that the Edge Network requires. */
  scopes?: string[]
  /** Default `https://ims-na1.adobelogin.com/ims/token/v3`. */
  tokenUrl?: string
}

/** Sends a form; resolves whatever the status. */
export type PostForm = (url: string, form: string) => Promise<{ status: number, body: readonly Uint8Array[] }>

const SCOPES = ['openid', 'AdobeID', 'read_organizations', 'additional_info.projectedProductContext', 'session']
const TOKEN_URL = 'https://ims-na1.adobelogin.com/ims/token/v3'
/** Share of its life after which a token is renewed. */
const RENEWAL = 0.8
/** Delays between failed attempts, in ms. */
const RETRY = { first: 250, max: 30_000, jitter: [0.5, 1] } as const
const MAX_TIMER = 2 ** 31 - 1

/** Keeps one token. */
export class AccessToken {
  readonly #url: string
  readonly #form: string
  readonly #post: PostForm
  readonly #log: Log
  #token: string | undefined
  /** By `performance.now()`. */
  #endsAt = 0
  #pending: Promise<string> | undefined
  #failures = 0
  #error: TargetError | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor ({ clientId, clientSecret, scopes = SCOPES, tokenUrl = TOKEN_URL }: EdgeCredentials, post: PostForm, log: Log) {
    this.#url = tokenUrl
    this.#form = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret, scope: scopes.join(',') }).toString()
    this.#post = post
    this.#log = log
    this.#renewIn(0)
  }

  /** The token, synchronously while it is valid; rejects with the last error until the next attempt. */
  get current (): string | Promise<string> {
    if (this.#token !== undefined && performance.now() < this.#endsAt) return this.#token
    if (this.#pending === undefined && this.#error !== undefined) return Promise.reject(this.#error)
    return this.#renew()
  }

  /** Fetches a new token, since the Edge Network no longer accepts this one. */
  reject (token: string): void {
    if (token === this.#token) this.#token = undefined
  }

  /** Fetches no more tokens. */
  close (): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #renewIn (ms: number): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    this.#timer = setTimeout(() => { this.#renew().catch(() => {}) }, Math.min(ms, MAX_TIMER)).unref()
  }

  /** One at a time. */
  #renew (): Promise<string> {
    this.#pending ??= this.#fetch().finally(() => { this.#pending = undefined })
    return this.#pending
  }

  async #fetch (): Promise<string> {
    try {
      const { status, body } = await this.#post(this.#url, this.#form)
      const { token, life } = readToken(status, body)
      this.#token = token
      this.#endsAt = performance.now() + life
      this.#failures = 0
      this.#error = undefined
      this.#renewIn(life * RENEWAL)
      return token
    } catch (thrown) {
      this.#failures += 1
      this.#error = isTargetError(thrown) ? failure(thrown.code, 'no access token for the Edge Network', { cause: thrown }) : failure('FST_TARGET_CONNECTION', 'no access token for the Edge Network', { cause: thrown })
      if (!this.#closed) this.#log.failure(this.#error)
      this.#renewIn(backoff(this.#failures, RETRY))
      throw this.#error
    }
  }
}

/** Its errors never quote the response, which may contain the secret. */
function readToken (status: number, body: readonly Uint8Array[]): { token: string, life: number } {
  if (status !== 200) throw failure('FST_TARGET_HTTP', `the token endpoint returned status ${status}; check \`edgeNetwork.credentials\``, { meta: { status, attempts: 1, elapsed: 0, phase: 'body' } })
  try {
    const { access_token: token, expires_in: seconds } = JSON.parse(Buffer.concat(body).toString()) as Record<string, unknown>
    if (typeof token === 'string' && /^[!-~]{1,8192}$/.test(token) && typeof seconds === 'number' && seconds > 0) return { token, life: seconds * 1000 }
  } catch {
    // Below.
  }
  throw failure('FST_TARGET_INVALID_RESPONSE', 'no access token in the response')
}
