/**
 * Sources of the Experience Cloud id (ECID) other than VisitorAPI.js's cookie: the cookies of Web SDK and of Adobe's CNAME, or a
 * first-party device id. Cookies come from browsers: malformed ones count as absent.
 */
import { createHash } from 'node:crypto'
import { decodeCookie } from './cookies.ts'

/** Name of the cookie in which Web SDK keeps the identity of an organization. */
export const webSdkCookieName = (organizationId: string): string => `kndctr_${organizationId.replaceAll('@', '_')}_identity`

/** Name of the cookie that Analytics sets on a CNAME: a copy of the ECID that outlives the AMCV cookie. */
export const CNAME_COOKIE = 's_ecid'

/** Lifetime of a first-party id, seconds: 395 days, as for Web SDK's cookies and within the browsers' maximum. */
export const FIRST_PARTY_ID_MAX_AGE = 34_128_000

const MAX_COOKIE_LENGTH = 4096
const ECID = /^\d{1,128}$/
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i

/**
 * Reads Web SDK's identity cookie: base64url of a protobuf message whose field 1 is the ECID.
 *
 * Source: https://protobuf.dev/programming-guides/encoding; field numbers as documented in adobe/alloy.
 */
export function ecidOfWebSdk (cookie: string | undefined): string | undefined {
  if (cookie === undefined || cookie.length > MAX_COOKIE_LENGTH) return undefined
  const message = Buffer.from(decodeCookie(cookie) ?? '', 'base64url')
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let factor = 1, count = 0; count < 10; count++, factor *= 128) {
      const byte = message[at++]
      if (byte === undefined) break
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
    return NaN
  }
  while (at < message.length) {
    const tag = varint()
    const wireType = tag % 8
    if (wireType === 2) {
      const end = varint() + at
      if (!(end <= message.length)) return undefined
      if (Math.floor(tag / 8) === 1) {
        const ecid = message.toString('latin1', at, end)
        return ECID.test(ecid) ? ecid : undefined
      }
      at = end
    } else if (wireType === 0) varint()
    else if (wireType === 1) at += 8
    else if (wireType === 5) at += 4
    else return undefined
  }
  return undefined
}

/** Reads `s_ecid`: `MCMID|<ECID>`, plain or percent-encoded. */
export function ecidOfCname (cookie: string | undefined): string | undefined {
  if (cookie === undefined) return undefined
  const [name, ecid] = decodeCookie(cookie)?.split('|', 2) ?? []
  return name === 'MCMID' && ecid !== undefined && ECID.test(ecid) ? ecid : undefined
}

/** Whether a cookie's value is a first-party id that Adobe accepts: a UUID of version 4. */
export const isFirstPartyId = (value: string | undefined): value is string => value !== undefined && UUID_V4.test(value)

/**
 * The ECID that Adobe derives from a first-party id: the halves of an MD5, without their sign, as 19 digits each.
 *
 * Source: behavior of Adobe's Target CDN experimentation SDK for Node.js (`generateEcidFromFpid`).
 */
export function ecidOfFirstPartyId (organizationId: string, firstPartyId: string): string {
  const hash = createHash('md5').update(`${organizationId}:${firstPartyId}`).digest()
  const half = (at: number) => String(BigInt.asUintN(63, hash.readBigUInt64BE(at))).padStart(19, '0')
  return half(0) + half(8)
}
