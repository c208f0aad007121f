/**
 * Reads Edge Network requests from Web SDK in a browser (`/ee/v1/…`, a list of events) or from a server (`/ee/v2/…`, one event)
 * as requests of the Delivery API. Everything may be absent or malformed.
 *
 * Sources: Adobe, Edge Network API (interact, collect, client state, personalization); the requests of `@adobe/alloy` 2.33.
 */
import { Value } from '@sinclair/typebox/value'
import { QAMode, type ClientHints, type Context, type RequestDetails } from '../../schema/index.ts'
import { isObject } from '../../validation.ts'

type Json = Record<string, unknown>

/** One event and what it requests. */
export interface EdgeEvent {
  xdm: Json
  data: Json
  /** `query.personalization.decisionScopes`; undefined if it requests no decisions. */
  scopes: readonly string[] | undefined
  schemas: readonly string[]
}

/** The page-wide scope: the page load and all views. */
export const pageScope = '__view__'

const list = (value: unknown): unknown[] => Array.isArray(value) ? value : []
const texts = (value: unknown): string[] => list(value).filter((entry) => typeof entry === 'string')

/** A member at a path; undefined if there is none. */
export function at (value: unknown, ...path: string[]): unknown {
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
    value = (value as Json)[name]
  }
  return value
}

/** A non-empty string at a path. */
export function textAt (value: unknown, ...path: string[]): string | undefined {
  const found = at(value, ...path)
  return typeof found === 'string' && found !== '' ? found : undefined
}

const objectAt = (value: unknown, ...path: string[]): Json => {
  const found = at(value, ...path)
  return isObject(found) ? found as Json : {}
}

/** The events of a body. */
export function eventsOf (body: unknown): EdgeEvent[] {
  return [...list(at(body, 'events')), ...[at(body, 'event')].filter(isObject)].filter(isObject).map((event) => {
    const asked = at(event, 'query', 'personalization') ?? at(body, 'query', 'personalization')
    return {
      xdm: objectAt(event, 'xdm'),
      data: { ...objectAt(body, 'data'), ...objectAt(event, 'data') },
      scopes: isObject(asked) && at(asked, 'enabled') !== false ? texts(at(asked, 'decisionScopes')) : undefined,
      schemas: texts(at(asked, 'schemas'))
    }
  })
}

/** The visitor's state in the request, by key. */
export function stateOf (body: unknown): Map<string, string> {
  const entries = new Map<string, string>()
  for (const entry of list(at(body, 'meta', 'state', 'entries'))) {
    const key = textAt(entry, 'key')
    if (key !== undefined) entries.set(key, textAt(entry, 'value') ?? '')
  }
  return entries
}

/** Whether the ECID is requested. */
export const wantsEcid = (body: unknown): boolean => texts(at(body, 'query', 'identity', 'fetch')).includes('ECID')

/** The first id of a namespace, in the event or beside it. */
export function identityOf (body: unknown, event: EdgeEvent | undefined, namespace: string): string | undefined {
  for (const map of [event?.xdm['identityMap'], at(body, 'identityMap'), at(body, 'xdm', 'identityMap')]) {
    for (const identity of list(at(map, namespace))) {
      const id = textAt(identity, 'id')
      if (id !== undefined) return id
    }
  }
}

/** Whether an event names a primary identity, of any namespace. */
export const hasPrimaryIdentity = ({ xdm }: EdgeEvent): boolean =>
  Object.values(objectAt(xdm, 'identityMap')).some((identities) => list(identities).some((identity) => at(identity, 'primary') === true))

/** Mbox and profile parameters: those of `data.__adobe.target`, and everything in the XDM in dot notation. */
export function detailsOf ({ xdm, data }: EdgeEvent): RequestDetails {
  const parameters: Record<string, string> = {}
  const profileParameters: Record<string, string> = {}
  flatten(xdm, '', parameters)
  const own: Json = { ...objectAt(data, '__adobe.target'), ...objectAt(data, '__adobe', 'target') }
  for (const [name, value] of Object.entries(own)) {
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') continue
    if (name.startsWith('profile.')) profileParameters[name.slice('profile.'.length)] = String(value)
    else if (!ORDER_NAMES.includes(name)) parameters[name] = String(value)
  }
  const details: RequestDetails = { parameters, profileParameters }
  const id = own['orderId']
  if (typeof id === 'string') {
    const products = own['productPurchasedId']
    details.order = {
      id,
      ...(!Number.isNaN(Number(own['orderTotal'])) && { total: Number(own['orderTotal']) }),
      ...(typeof products === 'string' && { purchasedProductIds: products.split(',').map((product) => product.trim()) })
    }
  }
  return details
}

const ORDER_NAMES = ['orderId', 'orderTotal', 'productPurchasedId']

/** Flattens all but lists, ids and reports of displays. */
function flatten (value: Json, prefix: string, into: Record<string, string>): void {
  for (const [name, member] of Object.entries(value)) {
    if (prefix === '' && ['identityMap', '_experience', '_id'].includes(name)) continue
    if (isObject(member)) flatten(member as Json, `${prefix}${name}.`, into)
    else if (typeof member === 'string' || typeof member === 'number' || typeof member === 'boolean') into[prefix + name] = String(member)
  }
}

/** The context of an event; the browser is in the headers, as for every call from one. */
export function contextOf ({ xdm }: EdgeEvent, headers: Record<string, string | string[] | undefined>): Context {
  const url = textAt(xdm, 'web', 'webPageDetails', 'URL')
  const referringUrl = textAt(xdm, 'web', 'webReferrer', 'URL')
  const userAgent = textAt(headers, 'user-agent')
  const [ipAddress] = (textAt(headers, 'x-forwarded-for') ?? '').split(',')
  const clientHints: ClientHints = {}
  const platform = textAt(headers, 'sec-ch-ua-platform')
  if (platform !== undefined) clientHints.platform = platform.replaceAll('"', '')
  const mobile = textAt(headers, 'sec-ch-ua-mobile')
  if (mobile !== undefined) clientHints.mobile = mobile === '?1'
  const brands = textAt(headers, 'sec-ch-ua')
  if (brands !== undefined) clientHints.browserUAWithMajorVersion = brands
  const geo = objectAt(xdm, 'placeContext', 'geo')
  const place = {
    ...(ipAddress !== '' && { ipAddress }),
    ...(textAt(geo, 'countryCode') !== undefined && { countryCode: textAt(geo, 'countryCode') }),
    ...(textAt(geo, 'stateProvince') !== undefined && { stateCode: textAt(geo, 'stateProvince') }),
    ...(textAt(geo, 'city') !== undefined && { city: textAt(geo, 'city') })
  }
  return {
    channel: 'web',
    ...((url !== undefined || referringUrl !== undefined) && { address: { ...(url !== undefined && { url }), ...(referringUrl !== undefined && { referringUrl }) } }),
    ...(userAgent !== undefined && { userAgent }),
    ...(Object.keys(clientHints).length > 0 && { clientHints }),
    ...(Object.keys(place).length > 0 && { geo: place })
  }
}

/** QA mode, from the state entry of at.js's cookie. */
export function qaModeOf (state: ReadonlyMap<string, string>): QAMode | undefined {
  try {
    const mode: unknown = JSON.parse(state.get('at_qa_mode') ?? '')
    return Value.Check(QAMode, mode) ? mode : undefined
  } catch {
    return undefined
  }
}
