/**
 * Reads the Delivery API's `context` from a FastifyRequest.
 *
 * Address, protocol, host and IP are Fastify's own view of the request, so `trustProxy` decides which headers count. All of
 * it comes from a browser, and the edge refuses a whole request for one invalid field: values that it would refuse are cut or
 * left out (Delivery API 1.0: addresses have at most 4096 characters, `geo.ipAddress` must be an IP).
 */
import type { FastifyRequest } from 'fastify'
import { decodePlaceName } from '../decisioning/place-name.ts'
import { ipOf } from './ip-address.ts'
import type { ClientHints, Context, Geo } from '../schema/index.ts'
import { MAX_ADDRESS } from '../schema/limits.ts'
import { acceptablePlace, cut } from '../schema/acceptable.ts'
import { isObject } from '../validation.ts'

/** Additions of the app: any part of the Delivery API's context; `null` removes a part. */
export type ContextAdditions = { [Key in keyof Context]?: Context[Key] | null }

/**
 * Reads the context of a request.
 *
 * @param additions merged over the context section by section; they take precedence and are passed on unchanged
 */
export function contextOf (request: FastifyRequest, additions?: ContextAdditions | null): Context {
  const headers = request.headers
  const address: NonNullable<Context['address']> = {}
  const url = urlOf(request)
  if (url !== undefined) address.url = cut(url, MAX_ADDRESS)
  const referrer = headers.referer
  if (referrer !== undefined && referrer !== '') address.referringUrl = cut(referrer, MAX_ADDRESS)
  const context: Context = { channel: 'web', address }
  const userAgent = headers['user-agent']
  if (userAgent !== undefined && userAgent !== '') context.userAgent = userAgent
  const clientHints = clientHintsOf(headers)
  if (clientHints !== undefined) context.clientHints = clientHints
  const ipAddress = ipOf(request.ip)
  if (ipAddress !== undefined) context.geo = { ipAddress }
  const place = placeOf(request)
  if (place !== undefined) context.geo = { ...context.geo, ...place }
  return additions === undefined || additions === null ? context : mergeContext(context, additions)
}

/**
 * The address that the browser shows. A request to a proxy has a full URL as its target (RFC 9112, 3.2.2), whose host Fastify
 * already knows. An HTTP/1.0 client may send no host at all.
 */
function urlOf ({ protocol, host, originalUrl }: FastifyRequest): string | undefined {
  if (originalUrl.startsWith('/') && host) return `${protocol}://${host}${originalUrl}`
  const [, authority, path = '/'] = /^https?:\/\/([^/?#]*)(.*)$/is.exec(originalUrl) ?? [undefined, '', originalUrl]
  const place = host || authority
  return place ? `${protocol}://${place}${path.startsWith('/') ? path : `/${path}`}` : undefined
}

/** Merges additions into a context, one level deep: the fields of a section are joined, `null` removes a section. */
export function mergeContext (context: Context, additions: ContextAdditions): Context {
  const merged: Record<string, unknown> = { ...context }
  for (const [key, value] of Object.entries(additions)) {
    // JSON from a browser may have it as an own member; assigning it would set the prototype.
    if (value === undefined || key === '__proto__') continue
    if (value === null) delete merged[key]
    else if (isObject(value) && isObject(merged[key])) merged[key] = { ...merged[key], ...value }
    else merged[key] = value
  }
  return merged as Context
}

const HINT_HEADERS = [
  ['model', 'sec-ch-ua-model'],
  ['platform', 'sec-ch-ua-platform'],
  ['platformVersion', 'sec-ch-ua-platform-version'],
  ['architecture', 'sec-ch-ua-arch'],
  ['bitness', 'sec-ch-ua-bitness']
] as const

/** Reads client hints, which are structured fields (RFC 8941): `?1` is true, strings are quoted; Target accepts the lists as sent. */
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

/**
 * Headers with the visitor's location from CDNs: Adobe's CDN, Cloudflare's "Add visitor location headers" transform,
 * Amazon CloudFront's viewer headers, Vercel's geolocation headers.
 */
const GEO_HEADERS = {
  countryCode: ['x-geo-country-code', 'cf-ipcountry', 'cloudfront-viewer-country', 'x-vercel-ip-country'],
  stateCode: ['x-geo-region-code', 'cf-region-code', 'cloudfront-viewer-country-region', 'x-vercel-ip-country-region'],
  city: ['x-geo-city', 'cf-ipcity', 'cloudfront-viewer-city', 'x-vercel-ip-city'],
  latitude: ['x-geo-latitude', 'cf-iplatitude', 'cloudfront-viewer-latitude', 'x-vercel-ip-latitude'],
  longitude: ['x-geo-longitude', 'cf-iplongitude', 'cloudfront-viewer-longitude', 'x-vercel-ip-longitude']
} as const

/** The location in a CDN's headers, if any. Read only with Fastify's `trustProxy`: a browser can send such headers too. */
function placeOf ({ ips, headers }: FastifyRequest): Geo | undefined {
  if (ips === undefined) return undefined
  const countryCode = firstHeader(headers, GEO_HEADERS.countryCode)
  const place = acceptablePlace({
    // Cloudflare's codes for an unknown country, and for Tor.
    countryCode: countryCode === 'XX' || countryCode === 'T1' ? undefined : countryCode,
    stateCode: firstHeader(headers, GEO_HEADERS.stateCode),
    city: firstHeader(headers, GEO_HEADERS.city),
    latitude: firstHeader(headers, GEO_HEADERS.latitude),
    longitude: firstHeader(headers, GEO_HEADERS.longitude)
  })
  return Object.keys(place).length === 0 ? undefined : place
}

function firstHeader (headers: FastifyRequest['headers'], names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = headers[name]
    if (typeof value === 'string' && value !== '') return decodePlaceName(value)
  }
}
