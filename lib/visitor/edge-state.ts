/**
 * What the Edge Network keeps at the visitor: Web SDK's cookies `kndctr_<organization>_…`, passed on as they come and written as
 * the Edge Network says. All of them come from a browser: they go into the body of a call and nowhere else, except for the
 * location hint, of which only known values are used.
 *
 * Sources: Adobe, Edge Network API, client state and location hints; `@adobe/alloy`, consent cookie.
 */

/** One part of the state. */
export interface StateEntry {
  key: string
  value: string
}

/** A part that the Edge Network wants to store. */
export interface StoredEntry extends StateEntry {
  /** Seconds. undefined: for the browser's session. */
  maxAge: number | undefined
}

/** What a call says about the visitor, in addition to the Delivery API's request. */
export interface EdgeState {
  readonly entries: readonly StateEntry[]
  /** The app's first-party device id, while there is no ECID. */
  readonly firstPartyId?: string
}

/** The Edge Network's locations; they become a part of a path. */
const LOCATIONS: readonly unknown[] = ['or2', 'va6', 'irl1', 'ind1', 'jpn3', 'sgp3', 'aus3']

const MAX_ENTRIES = 20
const MAX_VALUE = 4096
const NAME = /^\w{1,100}$/
/** Characters that a cookie can hold; others are percent-encoded. */
const VALUE = /^[ -~]{0,4096}$/
/** The characters of a cookie's value that Web SDK leaves as they are. */
const ENCODED = /[^!#-+\--:<-[\]-~]|%/g

/** The beginning of the names of an organization's cookies. */
export const edgeStatePrefix = (organizationId: string): string => `kndctr_${organizationId.replaceAll('@', '_')}_`

/** Whether a value is one of the Edge Network's locations. Nothing else gets into a path. */
export const isEdgeLocation = (value: unknown): value is string => LOCATIONS.includes(value)

/** Adds a cookie to a list of entries, unless it is too long, too many or not of the form. */
export function addEntry (entries: StateEntry[], key: string, value: string | undefined): void {
  if (value === undefined || entries.length >= MAX_ENTRIES || value.length > MAX_VALUE || !NAME.test(key)) return
  if (!entries.some((entry) => entry.key === key)) entries.push({ key, value })
}

/** The parts of a reply's state that are the visitor's of this organization, and fit into cookies. */
export function acceptableState (payload: readonly unknown[], prefix: string): StoredEntry[] {
  const stored: StoredEntry[] = []
  for (const entry of payload.slice(0, MAX_ENTRIES)) {
    const { key, value, maxAge } = (entry ?? {}) as Record<string, unknown>
    if (typeof key !== 'string' || !key.startsWith(prefix) || !NAME.test(key) || typeof value !== 'string' || !VALUE.test(value)) continue
    stored.push({ key, value, maxAge: Number.isSafeInteger(maxAge) ? maxAge as number : undefined })
  }
  return stored
}

/** A part of a reply's state as a cookie to be written. */
export const cookieOf = ({ key, value, maxAge }: StoredEntry) => ({ name: key, value: value.replace(ENCODED, encodeURIComponent), maxAge })

const valueOf = (entries: readonly StateEntry[], key: string): string | undefined => entries.find((entry) => entry.key === key)?.value

/** The Edge Network's location that knows the visitor; undefined if the cookie has none of the known ones. */
export function locationIn (entries: readonly StateEntry[], prefix: string): string | undefined {
  const location = valueOf(entries, `${prefix}cluster`)
  return isEdgeLocation(location) ? location : undefined
}

/** Value of Web SDK's identity cookie. */
export const identityIn = (entries: readonly StateEntry[], prefix: string): string | undefined => valueOf(entries, `${prefix}identity`)

/** Whether the visitor's choice, or the lack of one, forbids calls to Target. */
export const isOptedOut = (entries: readonly StateEntry[], prefix: string, defaultConsent: 'in' | 'pending' | 'out'): boolean =>
  (consentOf(valueOf(entries, `${prefix}consent`)) ?? defaultConsent) !== 'in'

/** The visitor's choice in the consent cookie: `general=in`, `general=out`. */
function consentOf (cookie: string | undefined): 'in' | 'out' | undefined {
  const choice = cookie?.split(';').find((pair) => pair.startsWith('general='))?.slice('general='.length)
  return choice === 'in' || choice === 'out' ? choice : undefined
}

/** The state of a visitor after a reply. The device id is dropped once there is an identity. */
export function withStored (state: EdgeState | undefined, stored: readonly StoredEntry[] | undefined): EdgeState | undefined {
  if (stored === undefined || stored.length === 0) return state
  const entries = new Map([...state?.entries ?? [], ...stored].map(({ key, value }) => [key, value]))
  const known = stored.some(({ key }) => key.endsWith('_identity'))
  return {
    entries: [...entries].map(([key, value]) => ({ key, value })),
    ...(!known && state?.firstPartyId !== undefined && { firstPartyId: state.firstPartyId })
  }
}
