/**
 * Signed values for cookies: HMAC-SHA-256 over purpose, expiry and value, compared in constant time. A value that was signed
 * for one purpose is invalid for another.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** Longer cookies are not kept by browsers. */
const MAX_LENGTH = 4000

export class Signer {
  readonly #key: Buffer

  constructor (secret: string) {
    // The secret is also a password; the key that signs is not.
    this.#key = createHmac('sha256', secret).update('fastify-adobe-target/inspector signing key').digest()
  }

  /**
   * @param purpose a value is valid only for this
   * @param lifetime ms
   */
  sign (purpose: string, value: unknown, lifetime: number): string {
    const payload = Buffer.from(JSON.stringify([Date.now() + lifetime, value])).toString('base64url')
    return `${payload}.${this.#mac(purpose, payload).toString('base64url')}`
  }

  /** The value; undefined when it is forged, expired, or signed for another purpose or by another secret. */
  read (purpose: string, token: string | undefined): unknown {
    if (token === undefined || token.length > MAX_LENGTH) return undefined
    const dot = token.indexOf('.')
    if (dot === -1) return undefined
    const payload = token.slice(0, dot)
    const given = Buffer.from(token.slice(dot + 1), 'base64url')
    const mac = this.#mac(purpose, payload)
    if (given.length !== mac.length || !timingSafeEqual(given, mac)) return undefined
    const [expiry, value] = JSON.parse(Buffer.from(payload, 'base64url').toString()) as [number, unknown]
    return Date.now() < expiry ? value : undefined
  }

  #mac (purpose: string, payload: string): Buffer {
    return createHmac('sha256', this.#key).update(`${purpose}\n${payload}`).digest()
  }
}

/** Whether two texts are the same; takes as long wherever they differ. */
export function isSame (one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}
