/**
 * Reduces a caller's values to what the edge accepts: they are cut, converted or left out before they are sent. The edge refuses a whole
 * request for one field, so one bad entry would take the offers of all its neighbours with it.
 */
import { isIP } from 'node:net'
import { isObject } from '../validation.ts'
import type { Address, Context, CustomerId, Geo, MboxRequest, Notification, Order, Parameters, Product, RequestDetails, VisitorId } from './index.ts'
import {
  MAX_ADDRESS, MAX_CATEGORY_ID, MAX_CUSTOMER_IDS, MAX_ID, MAX_INTEGRATION_CODE, MAX_MBOX_NAME, MAX_ORDER_ID, MAX_PARAMETER_NAME,
  MAX_PARAMETER_VALUE, MAX_PARAMETERS, MAX_PRODUCT_ID, MAX_PROFILE_PARAMETER_VALUE, MAX_PROFILE_PARAMETERS, MAX_PURCHASED_PRODUCT_ID,
  MAX_PURCHASED_PRODUCT_IDS, MAX_THIRD_PARTY_ID
} from './limits.ts'

/** The Node SDK's word for "look it up by the address this server has"; never sent. */
export const UNKNOWN_IP_ADDRESS = 'unknownIpAddress'

/** Names that belong to `order`: the edge refuses them among the mbox parameters. */
const RESERVED_NAMES = ['orderId', 'orderTotal', 'productPurchasedIds']

/** Called with one sentence that names what was cut or left out; it never holds a value. */
export type ReportLimit = (problem: string) => void

const ignore: ReportLimit = () => {}

/** Cuts a text to a length, never inside a surrogate pair. */
export function cut (text: string, length: number): string {
  if (text.length <= length) return text
  const last = text.charCodeAt(length - 1)
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length)
}

/** An id as text: numbers are common in databases. undefined for everything that is not an id. */
export function idText (id: unknown): string | undefined {
  if (typeof id === 'string') return id === '' ? undefined : id
  return typeof id === 'bigint' || (typeof id === 'number' && Number.isFinite(id)) ? String(id) : undefined
}

/** A name for a message: it may come from a browser. */
const quoted = (name: unknown): string => JSON.stringify(cut(String(name), 80))

const isBlank = (text: string): boolean => text.trim() === ''

/** Whether the edge accepts a name for an mbox. */
export const isMboxName = (name: unknown): name is string => typeof name === 'string' && name.length <= MAX_MBOX_NAME && !isBlank(name)

/** The same, with a report. */
export function acceptsMbox (name: unknown, report: ReportLimit): name is string {
  if (isMboxName(name)) return true
  report(typeof name === 'string' && !isBlank(name) ? `mbox ${quoted(name)}… was left out: mbox names have at most ${MAX_MBOX_NAME} characters` : 'an mbox without a name was left out')
  return false
}

/** Names that Target keeps for its own metrics: it refuses a notification with one. */
const RESERVED_MBOX = /-clicked$|^(?:display mboxes|any mbox|click from display mbox)$/

/** Whether the edge accepts a name for the mbox of a conversion, with a report. */
export function acceptsConversionMbox (name: unknown, report: ReportLimit): name is string {
  if (!acceptsMbox(name, report)) return false
  if (!RESERVED_MBOX.test(name)) return true
  report(`mbox ${quoted(name)} was left out: Target refuses this name in notifications`)
  return false
}

/** Kinds of parameters, by the member that holds them. */
type ParameterKind = 'parameters' | 'profileParameters'

const limitsOf = {
  parameters: { max: MAX_PARAMETERS, maxValue: MAX_PARAMETER_VALUE },
  profileParameters: { max: MAX_PROFILE_PARAMETERS, maxValue: MAX_PROFILE_PARAMETER_VALUE }
}

/**
 * The parameters that the edge accepts. Apps fill them from query strings, so the rest is left out or cut; numbers and
 * booleans become text, undefined and null count as absent.
 */
export function acceptableParameters (given: unknown, kind: ParameterKind = 'parameters', report: ReportLimit = ignore): Parameters | undefined {
  if (!isObject(given)) {
    if (given !== undefined && given !== null) report(`\`${kind}\` must be an object and was left out`)
    return undefined
  }
  const { max, maxValue } = limitsOf[kind]
  const accepted: [string, string][] = []
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue
    const problem = parameterProblem(name, value, kind)
    if (problem !== undefined) report(`\`${kind}\` ${quoted(name)} was left out: ${problem}`)
    else if (accepted.length === max) report(`\`${kind}\` ${quoted(name)} was left out: there are at most ${max}`)
    else {
      const text = String(value)
      if (text.length > maxValue) report(`\`${kind}\` ${quoted(name)} was cut: values have at most ${maxValue} characters`)
      accepted.push([name, cut(text, maxValue)])
    }
  }
  return accepted.length === 0 ? undefined : Object.fromEntries(accepted)
}

function parameterProblem (name: string, value: unknown, kind: ParameterKind): string | undefined {
  if (isBlank(name)) return 'its name is blank'
  if (name.length > MAX_PARAMETER_NAME) return `names have at most ${MAX_PARAMETER_NAME} characters`
  if (name.startsWith('profile.')) return 'names do not begin with "profile."; use profileParameters'
  if (name === '__proto__' || (kind === 'parameters' && RESERVED_NAMES.includes(name))) return 'the name is reserved; use order'
  return typeof value === 'object' || typeof value === 'function' || typeof value === 'symbol' ? 'values are text, numbers or booleans' : undefined
}

/** The page's parameters and an mbox's own, which win; of the page's only as many as the edge accepts together with those. */
export function joinParameters (page: Parameters, own: Parameters = {}, kind: ParameterKind = 'parameters', report: ReportLimit = ignore): Parameters {
  const all = { ...own, ...page, ...own }
  const names = Object.keys(all)
  const { max } = limitsOf[kind]
  if (names.length <= max) return all
  const kept = Math.max(max, Object.keys(own).length)
  for (const name of names.slice(kept)) report(`\`${kind}\` ${quoted(name)} was left out: there are at most ${max}`)
  return Object.fromEntries(names.slice(0, kept).map((name) => [name, all[name]!]))
}

/**
 * The place that the edge accepts (countries of 2 letters, states of 1 to 3 letters and digits, cities of at most 50
 * characters). The rest is left out: the edge would refuse the whole request, or the impression, for one of them.
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

/** Converts a member's value: to the one to send, or to undefined to leave it out. */
type Rule = (value: unknown) => unknown

const text = (max: number): Rule => (value) => {
  if (value === '') return value
  const given = idText(value)
  return given === undefined ? undefined : cut(given, max)
}
const filledText = (max: number): Rule => (value) => value === '' ? undefined : text(max)(value)
const atMost = (max: number): Rule => (value) => typeof value === 'string' && value.length <= max ? value : undefined
const finite: Rule = (value) => typeof value === 'number' && Number.isFinite(value) ? value : undefined

/** Applies rules to the members of an object that have one; the same object if nothing changes. */
function applyRules<Value extends object> (given: Value, rules: Readonly<Record<string, Rule>>, where: string, report: ReportLimit): Value {
  let result = given as Record<string, unknown>
  for (const name of Object.keys(given)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined
    const value = (given as Record<string, unknown>)[name]
    if (rule === undefined || value === undefined) continue
    const accepted = rule(value)
    if (accepted === value) continue
    if (result === given) result = { ...given } as Record<string, unknown>
    if (accepted === undefined) delete result[name]
    else result[name] = accepted
    // A number that became text is not worth a word.
    if (accepted === undefined) report(`\`${where}.${name}\` was left out: Target does not accept it`)
    else if (typeof value === 'string') report(`\`${where}.${name}\` was cut: it is longer than Target accepts`)
  }
  return result as Value
}

const ADDRESS_RULES = { url: text(MAX_ADDRESS), referringUrl: text(MAX_ADDRESS) }
const PRODUCT_RULES = { id: filledText(MAX_PRODUCT_ID), categoryId: filledText(MAX_CATEGORY_ID) }
const DATE_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/i

const ORDER_RULES: Record<string, Rule> = {
  id: text(MAX_ORDER_ID),
  // Forms have totals as text, databases as text, bigint or the object of a decimal type.
  total: (value) => {
    const isDecimal = isObject(value) && !(value instanceof Date)
    const text = isDecimal || typeof value === 'bigint' ? String(value) : value
    const total = typeof text === 'string' && !isBlank(text) ? Number(text) : text
    return typeof total === 'number' && total >= 0 && Number.isFinite(total) ? total : undefined
  },
  purchasedProductIds: productIds,
  time: (value) => {
    if (typeof value === 'string' && DATE_TIME.test(value)) return value
    const time = typeof value === 'string' || value instanceof Date ? new Date(value) : undefined
    return time === undefined || Number.isNaN(time.getTime()) ? undefined : time.toISOString()
  }
}

/** Ids of at most 50 characters, together at most 250; the same list if nothing changes. */
function productIds (given: unknown): unknown {
  if (!Array.isArray(given)) return undefined
  const ids: string[] = []
  let length = 0
  for (const value of given) {
    const id = filledText(MAX_PURCHASED_PRODUCT_ID)(value) as string | undefined
    if (id === undefined) continue
    length += id.length + (ids.length === 0 ? 0 : 1)
    if (length > MAX_PURCHASED_PRODUCT_IDS) break
    ids.push(id)
  }
  return ids.length === given.length && ids.every((id, index) => id === given[index]) ? given : ids
}

/** A purchase that the edge accepts: what does not fit is cut or left out, so that the purchase still counts. */
export const acceptableOrder = (order: Order, report: ReportLimit): Order => {
  const accepted = applyRules(order, ORDER_RULES, 'order', report)
  if (Array.isArray(order.purchasedProductIds) && accepted.purchasedProductIds !== order.purchasedProductIds) {
    report(`\`order.purchasedProductIds\` was cut: ids have at most ${MAX_PURCHASED_PRODUCT_ID} characters, together at most ${MAX_PURCHASED_PRODUCT_IDS}`)
  }
  return accepted
}

/** Members that mboxes, page loads, views and notifications have in common; the same object if nothing changes. */
export function acceptableDetails<Details extends RequestDetails> (given: Details, report: ReportLimit): Details {
  const { parameters, profileParameters, order, product, address } = given
  if (parameters === undefined && profileParameters === undefined && order === undefined && product === undefined && address === undefined) return given
  const details: Record<string, unknown> = { ...given }
  const set = (name: string, value: unknown) => { if (value === undefined) delete details[name]; else details[name] = value }
  for (const kind of ['parameters', 'profileParameters'] as const) {
    if (given[kind] !== undefined) set(kind, acceptableParameters(given[kind], kind, report) ?? (isObject(given[kind]) ? {} : undefined))
  }
  const isSection = (name: 'order' | 'product' | 'address'): boolean => {
    const value: unknown = given[name]
    if (!isObject(value) && value !== undefined && value !== null) report(`\`${name}\` must be an object and was left out`)
    return isObject(value)
  }
  if (order !== undefined) set('order', isSection('order') ? acceptableOrder(order, report) : undefined)
  if (product !== undefined) set('product', isSection('product') ? applyRules<Product>(product, PRODUCT_RULES, 'product', report) : undefined)
  if (address !== undefined) set('address', isSection('address') ? applyRules<Address>(address, ADDRESS_RULES, 'address', report) : undefined)
  return details as Details
}

/**
 * The mboxes that the edge accepts, by name or as requests. Each bad one is left out by itself; an index that is not an
 * integer, or is there twice, is left for the caller to fill in.
 */
export function acceptableMboxes<Form extends string | MboxRequest> (given: readonly Form[], report: ReportLimit): Form[] {
  const indexes = new Set<number>()
  const accepted: Form[] = []
  for (const form of given) {
    if (typeof form === 'string') {
      if (acceptsMbox(form, report)) accepted.push(form)
      continue
    }
    if (!isObject(form) || !acceptsMbox(form.name, report)) {
      if (!isObject(form)) report('an mbox without a name was left out')
      continue
    }
    let mbox = acceptableDetails(form as MboxRequest, report)
    if (mbox.index !== undefined && (!Number.isInteger(mbox.index) || indexes.has(mbox.index))) {
      report(`the index of mbox ${quoted(mbox.name)} was replaced: indexes are integers, each used once`)
      const { index, ...rest } = mbox
      mbox = rest
    }
    if (mbox.index !== undefined) indexes.add(mbox.index)
    accepted.push(mbox as Form)
  }
  return accepted
}

/** A notification that the edge accepts. */
export function acceptableNotification<Form extends Partial<Notification>> (given: Form, report: ReportLimit): Form {
  return acceptableDetails(given, report)
}

const GEO_RULES: Record<string, Rule> = {
  countryCode: (value) => typeof value === 'string' && value.length === 2 ? value : undefined,
  stateCode: (value) => value === '' ? undefined : atMost(3)(value),
  city: atMost(50),
  zip: atMost(12),
  latitude: finite,
  longitude: finite,
  ipAddress: (value) => typeof value === 'string' && (value === UNKNOWN_IP_ADDRESS || isIP(value.trim()) !== 0) ? value : undefined
}

const SECTION_RULES: Readonly<Record<string, Record<string, Rule>>> = {
  geo: GEO_RULES,
  address: ADDRESS_RULES,
  application: { id: atMost(250), name: atMost(250), version: atMost(128) },
  mobilePlatform: { version: atMost(128) }
}

/** The context that the edge accepts; the same object if nothing changes. */
export function acceptableContext (context: Context, report: ReportLimit): Context {
  let accepted: Record<string, unknown> = context
  for (const [name, rules] of Object.entries(SECTION_RULES)) {
    const section = (context as Record<string, unknown>)[name]
    if (!isObject(section)) continue
    const checked = applyRules(section, rules, `context.${name}`, report)
    if (checked === section) continue
    if (accepted === context) accepted = { ...context }
    accepted[name] = checked
  }
  return accepted as Context
}

/** The visitor ids that the edge accepts. An id is left out rather than cut: the rest of it may be another person's. */
export function acceptableIds (given: { [Name in 'thirdPartyId' | 'marketingCloudVisitorId']?: unknown }, report: ReportLimit): Pick<VisitorId, 'thirdPartyId' | 'marketingCloudVisitorId'> {
  const ids: Pick<VisitorId, 'thirdPartyId' | 'marketingCloudVisitorId'> = {}
  const thirdPartyId = acceptableId(given.thirdPartyId, 'thirdPartyId', MAX_THIRD_PARTY_ID, report)
  const marketingCloudVisitorId = acceptableId(given.marketingCloudVisitorId, 'marketingCloudVisitorId', MAX_ID, report)
  if (thirdPartyId !== undefined) ids.thirdPartyId = thirdPartyId
  if (marketingCloudVisitorId !== undefined) ids.marketingCloudVisitorId = marketingCloudVisitorId
  return ids
}

function acceptableId (given: unknown, name: string, max: number, report: ReportLimit): string | undefined {
  if (given === undefined || given === null || given === '') return undefined
  const id = idText(given)
  if (id === undefined) report(`\`${name}\` was left out: it must be a string or a number`)
  else if (id.length > max) report(`\`${name}\` was left out: it has more than ${max} characters`)
  else return id
}

/** The customer ids that the edge accepts, in the Delivery API's form; each bad one is left out by itself. */
export function acceptableCustomerIds (given: readonly CustomerId[], report: ReportLimit): CustomerId[] {
  const accepted: CustomerId[] = []
  for (const entry of given) {
    const id = isObject(entry) ? entry.id === '' ? '' : idText(entry.id) : undefined
    const integrationCode = isObject(entry) ? entry.integrationCode === '' ? '' : idText(entry.integrationCode) : undefined
    if (id === undefined || integrationCode === undefined) report('an entry of `customerIds` without an id or integration code was left out')
    else if (id.length > MAX_ID) report(`the customer id ${quoted(integrationCode)} was left out: ids have at most ${MAX_ID} characters`)
    else if (integrationCode.length > MAX_INTEGRATION_CODE) report(`the customer id ${quoted(integrationCode)} was left out: integration codes have at most ${MAX_INTEGRATION_CODE} characters`)
    else if (accepted.length === MAX_CUSTOMER_IDS) report(`the customer id ${quoted(integrationCode)} was left out: there are at most ${MAX_CUSTOMER_IDS}`)
    else accepted.push({ ...entry, id, integrationCode, authenticatedState: entry.authenticatedState ?? 'unknown' })
  }
  return accepted
}
