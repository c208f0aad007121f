/**
 * Where a CDN says that the visitor is. Read only with Fastify's `trustProxy`, since a browser can send such headers too.
 *
 * Names: Adobe's CDN, Cloudflare's "Add visitor location headers" transform, Amazon CloudFront's viewer headers.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Geo } from '../schema/index.ts'
import { acceptablePlace } from '../schema/limits.ts'

const HEADERS = {
  countryCode: ['x-geo-country-code', 'cf-ipcountry', 'cloudfront-viewer-country'],
  stateCode: ['x-geo-region-code', 'cf-region-code', 'cloudfront-viewer-country-region'],
  city: ['x-geo-city', 'cf-ipcity', 'cloudfront-viewer-city'],
  latitude: ['x-geo-latitude', 'cf-iplatitude', 'cloudfront-viewer-latitude'],
  longitude: ['x-geo-longitude', 'cf-iplongitude', 'cloudfront-viewer-longitude']
} as const

/** What a trusted proxy's headers tell; undefined when they tell nothing. Cloudflare's XX is "unknown". */
export function cdnGeo ({ ips, headers }: FastifyRequest): Geo | undefined {
  if (ips === undefined) return undefined
  const countryCode = first(headers, HEADERS.countryCode)
  const geo = acceptablePlace({
    countryCode: countryCode === 'XX' ? undefined : countryCode,
    stateCode: first(headers, HEADERS.stateCode),
    city: first(headers, HEADERS.city),
    latitude: first(headers, HEADERS.latitude),
    longitude: first(headers, HEADERS.longitude)
  })
  return Object.keys(geo).length === 0 ? undefined : geo
}

function first (headers: IncomingHttpHeaders, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = headers[name]
    if (typeof value === 'string' && value !== '') return value
  }
}
