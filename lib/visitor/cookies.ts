/**
 * Target's cookies: their format, read from a raw `Cookie` header and written as `Set-Cookie`.
 *
 * `mbox` holds parts joined by `|`, each `name#value#expires` with name and value percent-encoded and the expiry in
 * epoch seconds: `session#<session id>#…` and `PC#<tntId>#…`. `mboxEdgeCluster` holds the number of the edge cluster.
 * Everything read here comes from a browser: malformed values are ignored and nothing throws.
 */

import { addEntry, type StateEntry } from './edge-state.ts'

/** Name of the cookie that holds session id and `tntId`. The Node SDK's `TargetClient.TargetCookieName`. */
export const TARGET_COOKIE = 'mbox'

/** Name of the cookie that holds the location hint. The Node SDK's `TargetClient.TargetLocationHintCookieName`. */
export const LOCATION_HINT_COOKIE = 'mboxEdgeCluster'

/** Name of the cookie that holds QA mode, the same as in at.js. */
export const QA_MODE_COOKIE = 'at_qa_mode'

/** Name of the cookie in which Adobe's VisitorAPI.js keeps the Experience Cloud id of an organization. */
export const getVisitorCookieName = (organizationId: string) => `AMCV_${organizationId}`

/** Lifetime of a session, seconds: at.js and the SDKs write 31 minutes for a session of 30. */
export const SESSION_MAX_AGE = 1860
/** Lifetime of a `tntId`, seconds: two years (732 days). */
export const DEVICE_MAX_AGE = 63_244_800
/** Lifetime of the location hint, seconds. */
export const LOCATION_HINT_MAX_AGE = 1860

/** Default of {@link CookieSettings.renewAfter}, ms. */
export const RENEW_AFTER = 60_000

/** A cookie to be written, in the Node SDK's shape. */
export interface TargetCookie {
  name: string
  value: string
  /** Seconds. */
  maxAge: number
}

/** A cookie to be written; without a `maxAge` it is for the browser's session. */
export type WrittenCookie = Omit<TargetCookie, 'maxAge'> & { maxAge: number | undefined }

/** The unexpired parts of an `mbox` cookie, each with its expiry in epoch seconds. */
export interface TargetCookieParts {
  sessionId: string | undefined
  sessionExpires: number
  tntId: string | undefined
  deviceExpires: number
}

/** Names of the cookies that matter to one client. */
export interface CookieNames {
  /** `mbox`, unless that belongs to another client of the app. */
  target: string
  /** `mboxEdgeCluster`, likewise. */
  locationHint: string
  /** The AMCV cookie: raw, and percent-encoded as browsers often send it. */
  visitor: readonly string[]
  /** Web SDK's identity cookie. */
  webSdk: string
  /** The copy of the ECID on Adobe's CNAME. */
  cname: string
  /** The app's first-party id. */
  firstPartyId: string | undefined
  /** Prefix of the Edge Network's cookies; undefined if it is not used. */
  edgeState: string | undefined
  /** Finds them in a `Cookie` header: name and value of one after the other. */
  pattern: RegExp
}

/** Makes the names, with the pattern that finds them: a search for these is cheaper than reading every cookie of a site. */
export function createCookieNames (names: Omit<CookieNames, 'pattern'>): CookieNames {
  const { target, locationHint, visitor, webSdk, cname, firstPartyId, edgeState } = names
  const literal = (name: string) => name.replace(/\W/g, '\\$&')
  const alternatives = [target, locationHint, QA_MODE_COOKIE, ...visitor, webSdk, cname].map(literal)
  if (firstPartyId !== undefined) alternatives.push(literal(firstPartyId))
  if (edgeState !== undefined) alternatives.push(`${literal(edgeState)}\\w*`)
  return { ...names, pattern: new RegExp(`(?:^|;)\\s*(${alternatives.join('|')})=([^;]*)`, 'g') }
}

/** The relevant cookies, as received. */
export interface RawCookies {
  /** All values of `mbox`: browsers send one per domain and path it was set for. */
  target: string[]
  locationHint: string | undefined
  /** Value of `AMCV_<organizationId>`. */
  visitor: string | undefined
  webSdk: string | undefined
  cname: string | undefined
  firstPartyId: string | undefined
  qaMode: string | undefined
  edgeState: StateEntry[]
}

// The session id goes into a query string and the edge refuses white space, `?`, `/`, `{` and `}` in it (Delivery API 1.0).
const SESSION_ID = /^[!-.0->@-z|~]{1,128}$/
// A dot in a `tntId` separates it from its location hint (Delivery API 1.0); with any other dot the edge refuses the request.
const TNT_ID = /^[!-\-/-~]{1,117}(\.\d{1,4}_\d{1,5})?$/
/** A part of an `mbox` cookie that matters: name, id, expiry in epoch seconds. */
const PART = /(?:^|\|)(session|PC)#([^#|]*)#(\d{1,12})(?![^#|])/g
const HINT = /^\d{1,4}$/

/** A session id that the edge accepts. */
export const isSessionId = (value: unknown): value is string => typeof value === 'string' && SESSION_ID.test(value)

/** A location hint is a cluster number. Anything else must never get into a host name. */
export const isLocationHint = (value: unknown): value is string => typeof value === 'string' && HINT.test(value)

/** Decodes a percent-encoded value; undefined if it is invalid. */
export function decodeCookie (text: string): string | undefined {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/**
 * Reads the relevant cookies from a `Cookie` header.
 *
 * @param header as received
 * @param names of the client
 */
export function readCookieHeader (header: string | undefined, names: CookieNames): RawCookies {
  const cookies: RawCookies = {
    target: [], locationHint: undefined, visitor: undefined, webSdk: undefined, cname: undefined, firstPartyId: undefined, qaMode: undefined, edgeState: []
  }
  if (header === undefined) return cookies
  const { pattern, edgeState, target, locationHint, visitor, webSdk, cname, firstPartyId } = names
  for (let pair; (pair = pattern.exec(header)) !== null;) {
    const name = pair[1]!
    const value = unquote(pair[2]!)
    if (edgeState !== undefined && name.startsWith(edgeState)) addEntry(cookies.edgeState, name, decodeCookie(value))
    if (name === target) cookies.target.push(value)
    else if (name === locationHint) cookies.locationHint ??= value
    else if (name === QA_MODE_COOKIE) cookies.qaMode ??= value
    else if (visitor.includes(name)) cookies.visitor ??= value
    else if (name === webSdk) cookies.webSdk ??= value
    else if (name === cname) cookies.cname ??= value
    else if (name === firstPartyId) cookies.firstPartyId ??= value
  }
  return cookies
}

function unquote (value: string): string {
  const trimmed = value.trim()
  return trimmed.length > 1 && trimmed.startsWith('"') && trimmed.endsWith('"') ? trimmed.slice(1, -1) : trimmed
}

/**
 * Reads `mbox` cookies. Of several parts with one name, the one that expires last wins: at.js sets its cookie on the
 * registrable domain, a server often on its host, and a browser sends both.
 *
 * @param values values of `mbox`; one without `#` is percent-decoded once, since some servers encode it whole
 * @param now epoch seconds
 */
export function parseTargetCookie (values: readonly string[], now = Math.ceil(Date.now() / 1000)): TargetCookieParts {
  const parts: TargetCookieParts = { sessionId: undefined, sessionExpires: -1, tntId: undefined, deviceExpires: -1 }
  for (const value of values) {
    const text = value.includes('#') ? value : decodeCookie(value)
    if (text === undefined) continue
    for (let part; (part = PART.exec(text)) !== null;) {
      const [, name, encoded, expiry] = part
      const expires = Number(expiry)
      if (expires < now || expires <= (name === 'PC' ? parts.deviceExpires : parts.sessionExpires)) continue
      const id = decodeCookie(encoded!)
      if (id === undefined) continue
      if (name === 'PC') {
        if (!TNT_ID.test(id)) continue
        parts.tntId = id
        parts.deviceExpires = expires
      } else if (SESSION_ID.test(id)) {
        parts.sessionId = id
        parts.sessionExpires = expires
      }
    }
  }
  return parts
}

/** The location hint in a `tntId` such as `1234.35_0`: `35`. */
export function locationHintOf (tntId: string | undefined): string | undefined {
  // Most have none, and are long for a pattern that tries all of them.
  if (tntId?.includes('.') !== true) return undefined
  return /^[^.]*\.(\d{1,4})_[^._]*$/.exec(tntId)?.[1]
}

/** The cluster in an `edgeHost` such as `mboxedge35.tt.omtrdc.net`: `35`. */
export function clusterOf (edgeHost: unknown): string | undefined {
  if (typeof edgeHost !== 'string') return undefined
  const parts = edgeHost.split('.')
  const cluster = parts[0]!.replace('mboxedge', '')
  return parts.length === 4 && isLocationHint(cluster) ? cluster : undefined
}

/** Makes the `mbox` cookie for a session and, if known, a `tntId`. */
export function createTargetCookie (sessionId: string, tntId: string | undefined, name = TARGET_COOKIE): TargetCookie {
  const now = Math.ceil(Date.now() / 1000)
  let value = `session#${encodeURIComponent(sessionId)}#${now + SESSION_MAX_AGE}`
  if (tntId === undefined || !TNT_ID.test(tntId)) return { name, value, maxAge: SESSION_MAX_AGE }
  value += `|PC#${encodeURIComponent(tntId)}#${now + DEVICE_MAX_AGE}`
  return { name, value, maxAge: DEVICE_MAX_AGE }
}

/**
 * Whether a received `mbox` cookie has what {@link createTargetCookie} would write now, with expiries that differ by less than
 * some seconds.
 */
export function isUpToDate (received: TargetCookieParts, sessionId: string, tntId: string | undefined, seconds: number): boolean {
  const now = Math.ceil(Date.now() / 1000)
  const isNear = (expires: number, maxAge: number) => Math.abs(now + maxAge - expires) < seconds
  if (received.sessionId !== sessionId || !isNear(received.sessionExpires, SESSION_MAX_AGE)) return false
  if (tntId === undefined || !TNT_ID.test(tntId)) return received.tntId === undefined
  return received.tntId === tntId && isNear(received.deviceExpires, DEVICE_MAX_AGE)
}

/** Makes the `mboxEdgeCluster` cookie. */
export function createLocationHintCookie (locationHint: string, name = LOCATION_HINT_COOKIE): TargetCookie {
  return { name, value: locationHint, maxAge: LOCATION_HINT_MAX_AGE }
}

/** Attributes for the cookies that the plugin writes. */
export interface CookieSettings {
  /** Default: none, so the cookie belongs to the host alone. Set it to at.js's cookie domain if at.js is on the page. */
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
  /**
   * ms: a browser that has the same cookies already, and whose expiry would move by less, gets none. A session then ends up to
   * that much early. 0: every response has them. Default 60000.
   */
  renewAfter?: number
}

/**
 * Prepares the writing of cookies: parts that are the same for all responses are assembled once.
 *
 * @returns a function that returns a `Set-Cookie` value
 */
export function cookieSerializer (settings: CookieSettings): (cookie: WrittenCookie, https: boolean) => string {
  const fixed = `; Path=${settings.path ?? '/'}` +
    (settings.domain === undefined ? '' : `; Domain=${settings.domain}`) +
    `; SameSite=${settings.sameSite ?? 'Lax'}` +
    (settings.httpOnly === true ? '; HttpOnly' : '') +
    (settings.partitioned === true ? '; Partitioned' : '')
  return (cookie, https) =>
    `${cookie.name}=${cookie.value}${cookie.maxAge === undefined ? '' : `; Max-Age=${cookie.maxAge}`}${fixed}${settings.secure ?? https ? '; Secure' : ''}`
}
