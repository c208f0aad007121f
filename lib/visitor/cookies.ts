/**
 * Target's cookies: their format, reading them from a raw `Cookie` header and writing them as `Set-Cookie`.
 *
 * `mbox` holds parts joined by `|`, each `name#value#expires` with name and value percent-encoded and the expiry in
 * epoch seconds: `session#<session id>#…` and `PC#<tntId>#…`. `mboxEdgeCluster` holds the number of the edge cluster.
 * Everything read here comes from a browser: what is malformed is ignored and nothing throws.
 */

/** Name of the cookie that holds session id and `tntId`. The Node SDK's `TargetClient.TargetCookieName`. */
export const TARGET_COOKIE = 'mbox'

/** Name of the cookie that holds the location hint. The Node SDK's `TargetClient.TargetLocationHintCookieName`. */
export const LOCATION_HINT_COOKIE = 'mboxEdgeCluster'

/** Name of the cookie that holds QA mode, as at.js names it. */
export const QA_MODE_COOKIE = 'at_qa_mode'

/** Name of the cookie in which Adobe's VisitorAPI.js keeps the Experience Cloud id of an organization. */
export const getVisitorCookieName = (organizationId: string) => `AMCV_${organizationId}`

/** Lifetime of a session, seconds: at.js and the SDKs write 31 minutes for a session of 30. */
export const SESSION_MAX_AGE = 1860
/** Lifetime of a `tntId`, seconds: two years (732 days). */
export const DEVICE_MAX_AGE = 63_244_800
/** Lifetime of the location hint, seconds. */
export const LOCATION_HINT_MAX_AGE = 1860

/** A cookie to be written, in the Node SDK's shape. */
export interface TargetCookie {
  name: string
  value: string
  /** Seconds. */
  maxAge: number
}

/** What an `mbox` cookie says that has not expired. */
export interface TargetCookieParts {
  sessionId?: string
  tntId?: string
}

/** The cookies that matter here, as they arrived. */
export interface RawCookies {
  /** All values of `mbox`: browsers send one per domain and path it was set for. */
  target: string[]
  locationHint?: string
  /** Value of `AMCV_<organizationId>`. */
  visitor?: string
  qaMode?: string
}

// The session id goes into a query string and the edge refuses white space, `?`, `/`, `{` and `}` in it (Delivery API 1.0).
const SESSION_ID = /^[!-.0->@-z|~]{1,128}$/
// A dot in a `tntId` parts it from its location hint (Delivery API 1.0); with any other the edge refuses the request.
const TNT_ID = /^[!-\-/-~]{1,117}(\.\d{1,4}_\d{1,5})?$/
/** Most digits of an expiry, epoch seconds. */
const EXPIRY_DIGITS = 12
/** `#`, counted from the digit 0. */
const HASH = 0x23 - 0x30
const HINT = /^\d{1,4}$/

/** A session id that the edge accepts. */
export const isSessionId = (value: unknown): value is string => typeof value === 'string' && SESSION_ID.test(value)

/** A location hint is a cluster number. Anything else must never get into a host name. */
export const isLocationHint = (value: unknown): value is string => typeof value === 'string' && HINT.test(value)

/** The text of a percent-encoded value; undefined when it is none. */
export function decodeCookie (text: string): string | undefined {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/**
 * Picks the cookies that matter out of a `Cookie` header.
 *
 * @param header as received
 * @param visitorCookieNames the names of the AMCV cookie, raw and percent-encoded
 */
export function readCookieHeader (header: string | undefined, visitorCookieNames: readonly string[]): RawCookies {
  const cookies: RawCookies = { target: [] }
  if (header === undefined || header === '') return cookies
  let start = 0
  let equals = header.indexOf('=')
  while (start < header.length && equals !== -1) {
    let end = header.indexOf(';', start)
    if (end === -1) end = header.length
    while (header.charCodeAt(start) === 0x20 || header.charCodeAt(start) === 0x09) start++
    const first = header.charCodeAt(start)
    // All names in question begin with `m`, `A` or `a`, and most cookies of a page do not.
    if (first === 0x6d || first === 0x41 || first === 0x61) {
      // Looked for once and not from each cookie: a header of many without one would take quadratic time.
      if (equals < start) equals = header.indexOf('=', start)
      if (equals !== -1 && equals < end) {
        const name = header.slice(start, equals)
        if (name === TARGET_COOKIE) cookies.target.push(unquote(header.slice(equals + 1, end)))
        else if (name === LOCATION_HINT_COOKIE) cookies.locationHint ??= unquote(header.slice(equals + 1, end))
        else if (visitorCookieNames.includes(name)) cookies.visitor ??= unquote(header.slice(equals + 1, end))
        else if (name === QA_MODE_COOKIE) cookies.qaMode ??= unquote(header.slice(equals + 1, end))
      }
    }
    start = end + 1
  }
  return cookies
}

function unquote (value: string): string {
  const trimmed = value.trim()
  return trimmed.length > 1 && trimmed.startsWith('"') && trimmed.endsWith('"') ? trimmed.slice(1, -1) : trimmed
}

/** Epoch seconds, up to a `#` or the end; -1 when it is none. */
function expiryOf (text: string, from: number, end: number): number {
  let expires = 0
  let at = from
  for (; at < end; at++) {
    const digit = text.charCodeAt(at) - 0x30
    if (digit === HASH) break
    if (digit < 0 || digit > 9) return -1
    expires = expires * 10 + digit
  }
  return at === from || at - from > EXPIRY_DIGITS ? -1 : expires
}

/**
 * Reads `mbox` cookies. Of several parts of one name the one that expires last wins: at.js sets its cookie on the
 * registrable domain, a server often on its host, and a browser sends both.
 *
 * @param values values of `mbox`; one without `#` is percent-decoded once, since some servers encode it whole
 * @param now epoch seconds
 */
export function parseTargetCookie (values: readonly string[], now = Math.ceil(Date.now() / 1000)): TargetCookieParts {
  const parts: TargetCookieParts = {}
  let sessionExpires = -1
  let deviceExpires = -1
  for (const value of values) {
    const text = value.includes('#') ? value : decodeCookie(value)
    if (text === undefined) continue
    let end: number
    for (let start = 0; start < text.length; start = end + 1) {
      end = text.indexOf('|', start)
      if (end === -1) end = text.length
      const isSession = text.startsWith('session#', start)
      if (!isSession && !text.startsWith('PC#', start)) continue
      const from = start + (isSession ? 8 : 3)
      const to = text.indexOf('#', from)
      if (to === -1 || to >= end) continue
      const expires = expiryOf(text, to + 1, end)
      if (expires < now || expires <= (isSession ? sessionExpires : deviceExpires)) continue
      const content = decodeCookie(text.slice(from, to))
      if (content === undefined) continue
      if (isSession && SESSION_ID.test(content)) {
        parts.sessionId = content
        sessionExpires = expires
      } else if (!isSession && TNT_ID.test(content)) {
        parts.tntId = content
        deviceExpires = expires
      }
    }
  }
  return parts
}

/**
 * The location hint in a `tntId` such as `1234.35_0`: `35`.
 */
export function locationHintOf (tntId: string | undefined): string | undefined {
  return tntId === undefined || !tntId.includes('.') ? undefined : /^[^.]*\.(\d{1,4})_[^._]*$/.exec(tntId)?.[1]
}

/** The cluster in an `edgeHost` such as `mboxedge35.tt.omtrdc.net`: `35`. */
export function clusterOf (edgeHost: unknown): string | undefined {
  if (typeof edgeHost !== 'string') return undefined
  const parts = edgeHost.split('.')
  const cluster = parts[0]!.replace('mboxedge', '')
  return parts.length === 4 && isLocationHint(cluster) ? cluster : undefined
}

/** An id as it stands in a cookie or an address. Most need no escape, and looking is faster. */
const encodeId = (id: string): string => /^[\w.-]*$/.test(id) ? id : encodeURIComponent(id)

/**
 * Makes the `mbox` cookie for a session and, when it is known, a `tntId`.
 *
 * @param now epoch seconds
 */
export function createTargetCookie (sessionId: string, tntId: string | undefined, now = Math.ceil(Date.now() / 1000)): TargetCookie {
  let value = `session#${encodeId(sessionId)}#${now + SESSION_MAX_AGE}`
  if (tntId === undefined || !TNT_ID.test(tntId)) return { name: TARGET_COOKIE, value, maxAge: SESSION_MAX_AGE }
  value += `|PC#${encodeId(tntId)}#${now + DEVICE_MAX_AGE}`
  return { name: TARGET_COOKIE, value, maxAge: DEVICE_MAX_AGE }
}

/** Makes the `mboxEdgeCluster` cookie. */
export function createLocationHintCookie (locationHint: string): TargetCookie {
  return { name: LOCATION_HINT_COOKIE, value: locationHint, maxAge: LOCATION_HINT_MAX_AGE }
}

/** Attributes for the cookies that the plugin writes. */
export interface CookieSettings {
  /** Default none: the cookie belongs to the host alone. Set it to at.js's cookie domain where at.js is on the page. */
  domain?: string
  /** Default `/`. */
  path?: string
  /** Default: on https. */
  secure?: boolean
  /** Default `Lax`. */
  sameSite?: 'Strict' | 'Lax' | 'None'
  /** Default `false`: at.js reads the cookie. */
  httpOnly?: boolean
  /** Default `false`. */
  partitioned?: boolean
}

/**
 * Prepares the writing of cookies: what does not change from one response to the next is put together once.
 *
 * @returns a function that gives a `Set-Cookie` value
 */
export function cookieSerializer (settings: CookieSettings): (cookie: TargetCookie, https: boolean) => string {
  const fixed = `; Path=${settings.path ?? '/'}` +
    (settings.domain === undefined ? '' : `; Domain=${settings.domain}`) +
    `; SameSite=${settings.sameSite ?? 'Lax'}` +
    (settings.httpOnly === true ? '; HttpOnly' : '') +
    (settings.partitioned === true ? '; Partitioned' : '')
  return (cookie, https) =>
    `${cookie.name}=${cookie.value}; Max-Age=${cookie.maxAge}${fixed}${settings.secure ?? https ? '; Secure' : ''}`
}
