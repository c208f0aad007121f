/**
 * What the edge accepts of values that come from browsers, CDNs and apps. It refuses the whole request for one field, so the
 * rest is left out or cut before it is sent.
 */
import type { Geo, Parameters } from './index.ts'

const MAX_PARAMETERS = 50
/** Names that belong to `order`: the edge refuses them among the parameters. */
const RESERVED_NAMES = ['orderId', 'orderTotal', 'productPurchasedIds', '__proto__']

/**
 * What of some parameters the edge accepts (Delivery API 1.0: at most 50, names of 1 to 128 characters that do not
 * begin with `profile.` nor belong to `order`, values of at most 5000). Apps fill them from query strings, so the rest is left out or cut
 * rather than refused; numbers and booleans become text.
 */
export function acceptableParameters (given: Record<string, unknown>): Parameters | undefined {
  const accepted: [string, string][] = []
  for (const [name, value] of Object.entries(given)) {
    if (accepted.length === MAX_PARAMETERS) break
    if (name.trim() === '' || name.length > 128 || name.startsWith('profile.') || RESERVED_NAMES.includes(name)) continue
    if (typeof value === 'string') accepted.push([name, value.slice(0, 5000)])
    else if (typeof value === 'number' || typeof value === 'boolean') accepted.push([name, String(value)])
  }
  return accepted.length === 0 ? undefined : Object.fromEntries(accepted)
}

/** The page's parameters and an mbox's own, which win; of the page's only as many as the edge accepts together with those. */
export function joinParameters (page: Parameters, own: Parameters = {}): Parameters {
  const all = { ...own, ...page, ...own }
  const names = Object.keys(all)
  return names.length <= MAX_PARAMETERS ? all : Object.fromEntries(names.slice(0, Math.max(MAX_PARAMETERS, Object.keys(own).length)).map((name) => [name, all[name]!]))
}

/**
 * What of a place the edge accepts (Delivery API 1.0: countries of 2 letters, states of 1 to 3 letters and digits, cities of
 * at most 50 characters). The rest is left out: the edge would refuse the whole request, or the impression, for one of them.
 */
export function acceptablePlace ({ countryCode, stateCode, city, latitude, longitude }: {
  countryCode?: string | undefined
  stateCode?: string | undefined
  city?: string | undefined
  latitude?: unknown
  longitude?: unknown
}): Geo {
  const geo: Geo = {}
  const degrees = { latitude: Number.parseFloat(String(latitude)), longitude: Number.parseFloat(String(longitude)) }
  if (Number.isFinite(degrees.latitude)) geo.latitude = degrees.latitude
  if (Number.isFinite(degrees.longitude)) geo.longitude = degrees.longitude
  if (countryCode !== undefined && /^[A-Za-z]{2}$/.test(countryCode)) geo.countryCode = countryCode
  if (stateCode !== undefined && /^[A-Za-z0-9]{1,3}$/.test(stateCode)) geo.stateCode = stateCode
  if (city !== undefined && city !== '' && city.length <= 50) geo.city = city
  return geo
}
