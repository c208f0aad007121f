/**
 * Where a CDN says that the visitor is. Read only with Fastify's `trustProxy`, since a browser can send such headers too.
 *
 * Names: Adobe's CDN, Cloudflare's "Add visitor location headers" transform, Amazon CloudFront's viewer headers.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Geo } from './delivery/schema/index.ts'

const HEADERS = {
  countryCode: ['x-geo-country-code', 'cf-ipcountry', 'cloudfront-viewer-country'],
  stateCode: ['x-geo-region-code', 'cf-region-code', 'cloudfront-viewer-country-region'],
  city: ['x-geo-city', 'cf-ipcity', 'cloudfront-viewer-city'],
  latitude: ['x-geo-latitude', 'cf-iplatitude', 'cloudfront-viewer-latitude'],
  longitude: ['x-geo-longitude', 'cf-iplongitude', 'cloudfront-viewer-longitude']
} as const

/** Limits of the Delivery API; the edge would refuse the whole request. Cloudflare's XX is "unknown". */
const COUNTRY = /^(?!XX)[A-Za-z]{2}$/
const STATE = /^[A-Za-z0-9]{1,3}$/

/** What a trusted proxy's headers tell; undefined when they tell nothing. */
export function cdnGeo (request: FastifyRequest): Geo | undefined {
  if (request.ips === undefined) return undefined
  const geo: Geo = {}
  const countryCode = first(request.headers, HEADERS.countryCode)
  const stateCode = first(request.headers, HEADERS.stateCode)
  const city = first(request.headers, HEADERS.city)
  const latitude = Number.parseFloat(first(request.headers, HEADERS.latitude) ?? '')
  const longitude = Number.parseFloat(first(request.headers, HEADERS.longitude) ?? '')
  if (countryCode !== undefined && COUNTRY.test(countryCode)) geo.countryCode = countryCode
  if (stateCode !== undefined && STATE.test(stateCode)) geo.stateCode = stateCode
  if (city !== undefined && city.length <= 50) geo.city = city
  if (Number.isFinite(latitude)) geo.latitude = latitude
  if (Number.isFinite(longitude)) geo.longitude = longitude
  return Object.keys(geo).length === 0 ? undefined : geo
}

function first (headers: IncomingHttpHeaders, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = headers[name]
    if (typeof value === 'string' && value !== '') return value
  }
}
