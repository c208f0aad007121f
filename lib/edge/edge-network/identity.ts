/**
 * A visitor's identity as kept by the Edge Network in a browser: the cookie `kndctr_<organization>_identity`, base64url of a
 * protobuf message whose field 1 is the ECID. Deliberately does not share code with the client: a mistake must not go unnoticed
 * because both ends make it.
 *
 * Source: https://protobuf.dev/programming-guides/encoding; Adobe, Edge Network API, first-party device ids.
 */
import { createHash, randomUUID } from 'node:crypto'

/** Longest ECID whose length fits in one byte. */
const MAX_LENGTH = 127

/** The value of the cookie for an ECID. */
export function identityCookie (ecid: string): string {
  const text = Buffer.from(ecid, 'latin1')
  return Buffer.concat([Buffer.from([0x0a, text.length]), text]).toString('base64url')
}

/** The ECID in a cookie's value; undefined if there is none. */
export function ecidOf (cookie: string | undefined): string | undefined {
  if (cookie === undefined) return undefined
  const bytes = Buffer.from(cookie, 'base64url')
  const length = bytes[1] ?? 0
  if (bytes[0] !== 0x0a || length > MAX_LENGTH || bytes.length < length + 2) return undefined
  const ecid = bytes.toString('latin1', 2, length + 2)
  return /^\d+$/.test(ecid) ? ecid : undefined
}

/** The ECID of a first-party device id: the same each time. */
export function ecidOfDevice (organizationId: string, deviceId: string): string {
  const digits = createHash('md5').update(`${organizationId}:${deviceId}`).digest()
  return [0, 8].map((at) => (digits.readBigUInt64BE(at) & 0x7fffffffffffffffn).toString().padStart(19, '0')).join('')
}

/** A new ECID. */
export const newEcid = (): string => ecidOfDevice('', randomUUID())
