/**
 * From a FastifyRequest to the Delivery API's `context`.
 *
 * Address, protocol, host and IP are Fastify's own view of the request, so `trustProxy` decides whom to believe.
 * All of it comes from a browser: what the edge would refuse is cut or left out, because the edge refuses the whole
 * request for one field (Delivery API 1.0: addresses are at most 4096 characters, `geo.ipAddress` must be an IP).
 */
import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { cdnGeo } from './cdn-geo.ts'
import type { ClientHints, Context } from '../schema/index.ts'
import { cut, MAX_ADDRESS } from '../schema/limits.ts'

/** What a caller may add: any part of the Delivery API's context; `null` takes a part away. */
export type ContextAdditions = { [Key in keyof Context]?: Context[Key] | null }

/**
 * Reads the context of a request.
 *
 * @param additions merged over what is read, section by section; what they say wins and passes through unchanged
 */
export function contextOf (request: FastifyRequest, additions?: ContextAdditions | null): Context {
  const headers = request.headers
  const address: NonNullable<Context['address']> = {
    url: cut(`${request.protocol}://${request.host}${request.originalUrl}`, MAX_ADDRESS)
  }
  const referrer = headers.referer
  if (referrer !== undefined && referrer !== '') address.referringUrl = cut(referrer, MAX_ADDRESS)
  const context: Context = { channel: 'web', address }
  const userAgent = headers['user-agent']
  if (userAgent !== undefined && userAgent !== '') context.userAgent = userAgent
  const clientHints = clientHintsOf(headers)
  if (clientHints !== undefined) context.clientHints = clientHints
  const ip = request.ip
  if (isIP(ip) !== 0) context.geo = { ipAddress: ip }
  const place = cdnGeo(request)
  if (place !== undefined) context.geo = { ...context.geo, ...place }
  return additions === undefined || additions === null ? context : mergeContext(context, additions)
}

/** Puts additions over a context, one level deep: a section's fields are joined, `null` removes a section. */
export function mergeContext (context: Context, additions: ContextAdditions): Context {
  const merged: Record<string, unknown> = { ...context }
  for (const [key, value] of Object.entries(additions)) {
    // From JSON of a browser's it may come as an own member, and the assignment below would take it for the prototype.
    if (value === undefined || key === '__proto__') continue
    if (value === null) delete merged[key]
    else if (isSection(value) && isSection(merged[key])) merged[key] = { ...merged[key], ...value }
    else merged[key] = value
  }
  return merged as Context
}

const isSection = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)

const HINT_HEADERS = [
  ['model', 'sec-ch-ua-model'],
  ['platform', 'sec-ch-ua-platform'],
  ['platformVersion', 'sec-ch-ua-platform-version'],
  ['architecture', 'sec-ch-ua-arch'],
  ['bitness', 'sec-ch-ua-bitness']
] as const

/** Client hints are structured fields (RFC 8941): `?1` is true, a string is quoted; Target takes the two lists as sent. */
function clientHintsOf (headers: FastifyRequest['headers']): ClientHints | undefined {
  const brands = headers['sec-ch-ua']
  // Browsers with client hints send this one with every request, the others none at all.
  if (brands === undefined && headers['sec-ch-ua-platform'] === undefined && headers['sec-ch-ua-mobile'] === undefined) return undefined
  const hints: ClientHints = {}
  const mobile = headers['sec-ch-ua-mobile']
  if (mobile === '?1' || mobile === '?0') hints.mobile = mobile === '?1'
  for (const [name, header] of HINT_HEADERS) {
    const value = headers[header]
    if (typeof value === 'string' && value !== '') hints[name] = unquote(value)
  }
  if (typeof brands === 'string' && brands !== '') hints.browserUAWithMajorVersion = brands
  const versions = headers['sec-ch-ua-full-version-list']
  if (typeof versions === 'string' && versions !== '') hints.browserUAWithFullVersion = versions
  return hints
}

function unquote (value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"')
    ? value.slice(1, -1).replace(/\\(["\\])/g, '$1')
    : value
}
