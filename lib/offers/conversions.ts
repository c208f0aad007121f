/**
 * Conversions and profile attributes, as notifications that Target counts: a display of an mbox, with or without an order, as
 * also sent by at.js's `trackEvent`.
 */
import { randomUUID } from 'node:crypto'
import type { Order, Product } from '../schema/index.ts'
import { acceptsConversionMbox, type ReportLimit } from '../schema/acceptable.ts'
import { isObject, mostSimilar, typeName } from '../validation.ts'
import type { NotificationForm } from './notifications.ts'

/** A purchase. Ids may be numbers; amounts may be text or decimals, as databases return them. */
export interface OrderForm extends Omit<Order, 'id' | 'total' | 'purchasedProductIds' | 'time'> {
  /** At most 250 characters. Target counts an id once. */
  id?: string | number | bigint
  /** The amount, 0 or more. */
  total?: number | string | bigint | { toString (): string }
  /** At most 50 characters each, 250 together with the commas between them. */
  purchasedProductIds?: readonly (string | number | bigint)[]
  /** When it was made. Default: now. */
  time?: string | Date
}

/** Details of a conversion. Values beyond Target's limits are cut or left out. */
export interface Conversion {
  order?: OrderForm
  product?: Product
  /** For success metrics and audiences. at.js's names for orders and profiles are recognized, see `converted()`. */
  parameters?: Record<string, unknown>
  /** Kept in the visitor's profile. */
  profileParameters?: Record<string, unknown>
}

/** The mbox that profile attributes are sent with. No activity should use it. */
export const PROFILE_MBOX = 'profile-update'

const MEMBERS = ['order', 'product', 'parameters', 'profileParameters'] as const

/**
 * The notification of a conversion; undefined without an mbox to count it for. Never throws.
 *
 * @param report called for invalid parts: the rest still counts
 */
export function conversionNotification (mbox: unknown, given: unknown, report: ReportLimit): NotificationForm | undefined {
  if (!acceptsConversionMbox(mbox, report)) return undefined
  const conversion = readConversion(given, report)
  const id = randomUUID()
  // With a separate impression id: two conversions on one page count as two.
  return { id, impressionId: id, type: 'display', mbox: { name: mbox }, ...withoutAtJsNames(conversion) } as NotificationForm
}

/** The notification that adds attributes to the visitor's profile; undefined without attributes. Never throws. */
export function profileNotification (given: unknown, report: ReportLimit): NotificationForm | undefined {
  if (!isObject(given)) {
    report(`takes an object of attributes, got ${typeName(given)}`)
    return undefined
  }
  const profileParameters: Record<string, unknown> = {}
  // at.js and mbox.js mark them with a prefix, Target's API has a separate member for them.
  for (const [name, value] of Object.entries(given)) profileParameters[name.replace(/^profile\./, '')] = value
  return Object.keys(profileParameters).length === 0 ? undefined : conversionNotification(PROFILE_MBOX, { profileParameters }, report)
}

function readConversion (given: unknown, report: ReportLimit): Record<string, unknown> {
  if (given === undefined || given === null) return {}
  if (!isObject(given)) {
    report(`takes { order, product, parameters, profileParameters }, got ${typeName(given)}`)
    return {}
  }
  const known: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given)) {
    if ((MEMBERS as readonly string[]).includes(name)) {
      if (value !== undefined && value !== null) known[name] = value
    } else {
      const similar = mostSimilar(name, MEMBERS)
      report(`unknown member \`${name.slice(0, 80)}\` ${similar === undefined ? `was left out; expected ${MEMBERS.join(', ')}` : `was left out (did you mean \`${similar}\`?)`}`)
    }
  }
  return known
}

/** Members of `order` and `product` by their names among the parameters of at.js's `trackEvent`. */
const ORDER_NAMES: Readonly<Record<string, keyof Order>> = { orderId: 'id', orderTotal: 'total', productPurchasedId: 'purchasedProductIds', productPurchasedIds: 'purchasedProductIds' }
const PRODUCT_NAMES: Readonly<Record<string, keyof Product>> = { productId: 'id', categoryId: 'categoryId' }

/**
 * Does the same as at.js: moves order and profile attributes out of the parameters, where the edge refuses them. Values passed
 * in their own members win. A product also stays among the parameters, since an app may have meant only those.
 */
function withoutAtJsNames (conversion: Record<string, unknown>): Record<string, unknown> {
  const { parameters } = conversion
  if (!isObject(parameters)) return conversion
  const order: Record<string, unknown> = {}
  const product: Record<string, unknown> = {}
  const profile: Record<string, unknown> = {}
  const rest: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(parameters)) {
    const inOrder = Object.hasOwn(ORDER_NAMES, name) ? ORDER_NAMES[name] : undefined
    if (inOrder !== undefined) order[inOrder] = inOrder === 'purchasedProductIds' ? idsOf(value) : value
    else if (name.startsWith('profile.')) profile[name.slice('profile.'.length)] = value
    else {
      rest[name] = value
      if (Object.hasOwn(PRODUCT_NAMES, name) && typeof value !== 'object') product[PRODUCT_NAMES[name]!] = value
    }
  }
  const moved: Record<string, unknown> = { ...conversion, parameters: rest }
  for (const [name, found] of Object.entries({ order, product, profileParameters: profile })) {
    const own = conversion[name]
    if (Object.keys(found).length > 0 && (own === undefined || isObject(own))) moved[name] = { ...found, ...own }
  }
  return moved
}

/** at.js accepts a list of product ids as one text. */
const idsOf = (value: unknown): unknown => typeof value === 'string' ? value.split(',').map((id) => id.trim()).filter((id) => id !== '') : typeof value === 'number' ? [value] : value
