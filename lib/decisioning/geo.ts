/**
 * The visitor's location, for rules that need it: from the caller, else looked up by IP address at Adobe's CDN.
 *
 * Source of names and addresses: behaviour of `@adobe/target-decisioning-engine` 1.9.3.
 */
import { isIP } from 'node:net'
import { LruMap } from 'toad-cache'
import type { Context, Geo } from '../schema/index.ts'
import { acceptablePlace, UNKNOWN_IP_ADDRESS } from '../schema/acceptable.ts'
import { CDN, type ArtifactFetch } from './artifact-fetch.ts'
import type { CompiledArtifact } from './compile.ts'
import { decodePlaceName } from './place-name.ts'

/**
 * Whether the visitor must be located before the decision: the artifact has rules that need it, and only the IP address is
 * known.
 */
export function needsGeo (artifact: CompiledArtifact, context: Partial<Context> | undefined): boolean {
  const geo = context?.geo
  if (!artifact.geoTargetingEnabled || !geo) return false
  const { latitude, longitude, countryCode, stateCode, city } = geo
  return latitude === undefined && longitude === undefined && countryCode === undefined && stateCode === undefined &&
    city === undefined && lookupHeaders(geo.ipAddress) !== undefined
}

/**
 * Reads the location that Adobe's CDN returns for an IP address: in the headers of an artifact, or as members of a lookup.
 *
 * @param values by header name, in lower case; missing or malformed values are left out
 */
export function geoFromHeaders (values: Readonly<Record<string, unknown>>): Geo {
  const ipAddress = text(values['x-forwarded-for'])
  const place = acceptablePlace({
    countryCode: text(values['x-geo-country-code']),
    stateCode: text(values['x-geo-region-code']),
    city: text(values['x-geo-city']),
    latitude: values['x-geo-latitude'],
    longitude: values['x-geo-longitude']
  })
  return ipAddress === undefined ? place : { ipAddress, ...place }
}

function text (value: unknown): string | undefined {
  return typeof value === 'string' ? decodePlaceName(value) : undefined
}

/** Headers of a lookup; undefined for anything that is not an IP address. */
function lookupHeaders (ipAddress: string | undefined): Record<string, string> | undefined {
  if (ipAddress === UNKNOWN_IP_ADDRESS) return {}
  const address = typeof ipAddress === 'string' ? ipAddress.trim() : undefined
  return address !== undefined && isIP(address) !== 0 ? { 'x-forwarded-for': address } : undefined
}

/** The location without the placeholder for an unknown IP address, which the edge refuses; the same object if unchanged. */
export function withoutUnknownAddress (geo: Geo): Geo {
  if (geo.ipAddress !== UNKNOWN_IP_ADDRESS) return geo
  const { ipAddress, ...place } = geo
  return place
}

/** Settings of a {@link GeoLookup}. */
export interface GeoSettings {
  /** Custom artifact address, whose origin is then used for lookups; default: Adobe's CDN. */
  artifactLocation?: string | undefined
  fetch: ArtifactFetch
  /** Called with `geoLocationUpdated` and `{ geoContext }` after each successful lookup. Must not throw. */
  onEvent?: ((name: 'geoLocationUpdated', detail: { geoContext: Geo }) => void) | undefined
}

/** Maximum number of cached addresses, and how long they are kept, in ms. */
const REMEMBERED = 1000
const REMEMBERED_FOR = 3_600_000

/** ms without lookups after a failed one: on-device decisions must not wait for a dead service. */
const PAUSE = 10_000

/** Maximum bytes of a response, which is a handful of short strings. */
const MAX_SIZE = 16 * 1024

/** Looks up locations by IP address, with a cache. */
export class GeoLookup {
  readonly #url: string
  readonly #settings: GeoSettings
  readonly #known = new LruMap<Geo>(REMEMBERED, REMEMBERED_FOR)
  #pausedUntil = 0

  constructor (settings: GeoSettings) {
    this.#settings = settings
    this.#url = new URL('/v1/geo', settings.artifactLocation ?? CDN).href
  }

  /**
   * Completes `geo` by its IP address, and removes the placeholder for an unknown one. Never rejects: if the lookup fails, or
   * failed a moment ago, `geo` is returned otherwise unchanged.
   *
   * @param geo of the request's context, for which {@link needsGeo} is true; not changed
   * @param limits `timeout`: ms left until the call's deadline
   */
  async locate (geo: Geo, limits: { timeout: number, signal?: AbortSignal | undefined }): Promise<Geo> {
    const headers = lookupHeaders(geo.ipAddress)
    geo = withoutUnknownAddress(geo)
    if (headers === undefined) return geo
    const address = headers['x-forwarded-for'] ?? ''
    const known = this.#known.get(address)
    if (known !== undefined) return { ...geo, ...known }
    if (performance.now() < this.#pausedUntil) return geo
    let found: Geo
    try {
      const { status, body } = await this.#settings.fetch(this.#url, { kind: 'geo', headers, maxSize: MAX_SIZE, ...limits })
      if (status !== 200) throw new Error(`the geo lookup returned status ${status}`)
      found = geoFromHeaders(Object(JSON.parse(new TextDecoder().decode(Buffer.concat(body)))))
    } catch {
      // An aborted request proves nothing about the service.
      if (limits.signal?.aborted !== true) this.#pausedUntil = performance.now() + PAUSE
      return geo
    }
    this.#known.set(address, found)
    const located = { ...geo, ...found }
    this.#settings.onEvent?.('geoLocationUpdated', { geoContext: located })
    return located
  }
}
