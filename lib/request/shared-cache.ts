/**
 * Whether a shared cache may store a response and serve it to others: by RFC 9111, and by the headers that CDNs prefer to
 * `Cache-Control` (RFC 9213 and its predecessors).
 */

/** The head of a response. */
export interface CacheableHead {
  readonly status: number
  readonly names: readonly string[]
  get (name: string): unknown
}

/** Headers for CDNs only. Each replaces `Cache-Control` and `Expires` for the caches that support it. */
export const CDN_HEADERS = [
  'cdn-cache-control', 'surrogate-control', 'cloudflare-cdn-cache-control', 'vercel-cdn-cache-control', 'netlify-cdn-cache-control',
  'fastly-cache-control', 'akamai-cache-control', 'edge-control', 'x-litespeed-cache-control'
] as const

/** nginx: seconds, or `@` and epoch seconds; 0 for none. */
export const NGINX_HEADER = 'x-accel-expires'

/** The headers that can let a shared cache store a response. */
const GRANTS: ReadonlySet<string> = new Set([...CDN_HEADERS, NGINX_HEADER, 'cache-control', 'expires', 'last-modified'])

/** RFC 9110, section 15.1. */
const HEURISTICALLY_CACHEABLE = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501]

type Directives = Map<string, string | undefined>

/**
 * Whether any shared cache may serve a response to others without revalidation.
 *
 * @param authorized whether the request has an `Authorization` header
 */
export function isSharedCacheable (method: string, authorized: boolean, head: CacheableHead): boolean {
  // Most pages have none of these headers.
  if ((method !== 'GET' && method !== 'HEAD') || !head.names.some((name) => GRANTS.has(name))) return false
  const vary = head.get('vary')
  // RFC 9111, section 4.1: such a response never matches another request.
  if (vary !== undefined && textOf(vary).split(',').some((name) => name.trim() === '*')) return false
  for (const name of CDN_HEADERS) {
    const value = head.get(name)
    if (value !== undefined && isFreshForCdn(directivesOf(value))) return true
  }
  const nginx = head.get(NGINX_HEADER)
  if (nginx !== undefined && isFreshForNginx(textOf(nginx).trim())) return true
  return isFresh(directivesOf(head.get('cache-control')), authorized, head)
}

const isFreshForNginx = (value: string): boolean => value.startsWith('@') ? Number(value.slice(1)) * 1000 > Date.now() : Number(value) > 0

/** RFC 9213: without an explicit lifetime, a CDN stores responses declared public. */
function isFreshForCdn (directives: Directives): boolean {
  if (isKeptBack(directives)) return false
  return directives.has('public') || isPositive(directives, 's-maxage') || isPositive(directives, 'max-age') || isPositive(directives, 'cache-maxage') || isServedStale(directives)
}

function isFresh (directives: Directives, authorized: boolean, head: CacheableHead): boolean {
  if (isKeptBack(directives)) return false
  // RFC 9111, section 3.5.
  if (authorized && !['public', 's-maxage', 'must-revalidate'].some((name) => directives.has(name))) return false
  if (directives.has('public') || isServedStale(directives)) return true
  if (directives.has('s-maxage')) return isPositive(directives, 's-maxage')
  if (directives.has('max-age')) return isPositive(directives, 'max-age')
  const expires = textOf(head.get('expires'))
  if (expires !== '') return Date.parse(expires) > Date.now()
  // Section 4.2.2. In practice, caches do so only with a `Last-Modified`.
  return head.get('last-modified') !== undefined && HEURISTICALLY_CACHEABLE.includes(head.status)
}

/** Not stored, or not served to others without revalidation. With a list of fields, a directive concerns only those. */
const isKeptBack = (directives: Directives): boolean =>
  directives.has('no-store') || ['private', 'no-cache'].some((name) => directives.has(name) && concernsCookies(directives.get(name)))

const concernsCookies = (fields: string | undefined): boolean => fields === undefined || fields.split(',').some((field) => field.trim().toLowerCase() === 'set-cookie')

/** RFC 5861. */
const isServedStale = (directives: Directives): boolean => isPositive(directives, 'stale-while-revalidate')

/** Some CDNs accept lifetimes with a unit: `max-age=5m`. */
const isPositive = (directives: Directives, name: string): boolean => Number.parseFloat(directives.get(name) ?? '') > 0

/** Names in lower case, with unquoted values. */
function directivesOf (value: unknown): Directives {
  const directives: Directives = new Map()
  if (value === undefined) return directives
  for (const [, name, quoted, token] of textOf(value).matchAll(/([^\s,;="]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,;"]*)))?/g)) {
    directives.set(name!.toLowerCase(), quoted ?? token)
  }
  return directives
}

const textOf = (value: unknown): string => value === undefined || value === null ? '' : Array.isArray(value) ? value.join(', ') : String(value)
