/** Offers that a test fixes, as it gives them. */
import { inspect } from 'node:util'
import type { OptionType, VisitorId } from '../../schema/index.ts'
import { failure } from '../../errors.ts'
import type { Location } from './place.ts'

/** What a place answers: a string, an object or a list, or null for nothing. */
export type FixedContent = string | object | null

/** The ids that tell a visitor; all that are given must be the visitor's. */
export type FixedVisitor = Pick<VisitorId, 'tntId' | 'thirdPartyId' | 'marketingCloudVisitorId'>

export interface FixedOfferOptions {
  /**
   * Kind of the content. Default: `html` for a string, `json` for an object, `actions` for a list. Give `redirect` (or
   * `dynamic`) for a string that is a URL, `json` for a list that is no actions.
   */
  type?: OptionType
  /** Mbox parameters that must have these values, all of them. Default: whatever they are. */
  when?: Record<string, string | number | boolean>
  /** The visitor it is for; only the edge knows visitors, so on-device its place is one that needs the edge. Default: all. */
  visitor?: FixedVisitor
}

/** An offer that was fixed. */
export interface FixedOffer {
  location: Location
  /** Position of the experience in its place's activity. */
  experience: number
  option: { type: OptionType, content: unknown } | null
  when: Array<[name: string, value: string]>
  visitor: FixedVisitor | undefined
}

const optionNames = ['type', 'when', 'visitor']
const visitorNames = ['tntId', 'thirdPartyId', 'marketingCloudVisitorId'] as const
const stringTypes: readonly unknown[] = ['html', 'redirect', 'dynamic'] satisfies OptionType[]
const fits: Record<OptionType, (content: unknown) => boolean> = {
  html: (content) => typeof content === 'string',
  redirect: (content) => typeof content === 'string' && content !== '',
  dynamic: (content) => typeof content === 'string' && content !== '',
  json: (content) => typeof content === 'object',
  actions: (content) => Array.isArray(content) && content.every(isPlain)
}

const isType = (value: unknown): value is OptionType => typeof value === 'string' && Object.hasOwn(fits, value)

function isPlain (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const refused = (why: string) => failure('FST_TARGET_INVALID_OPTIONS', `edge.offer() ${why}`)
const show = (value: unknown) => inspect(value, { depth: 1, maxStringLength: 80 })

/**
 * Reads what `edge.offer()` was given. The content is copied.
 *
 * @throws FST_TARGET_INVALID_OPTIONS
 */
export function fixedOffer (location: Location, content: FixedContent, options: FixedOfferOptions): Omit<FixedOffer, 'experience'> {
  if (!isPlain(options)) throw refused(`takes its options as an object, not ${show(options)}`)
  const unknown = Object.keys(options).find((name) => !optionNames.includes(name))
  if (unknown !== undefined) throw refused(`knows no option "${unknown}", only ${optionNames.join(', ')}`)
  const { type, when = {}, visitor } = options
  return { location, option: content === null ? null : optionOf(content, type), when: conditionsOf(when), visitor: visitorOf(visitor) }
}

function optionOf (given: unknown, type: unknown = typeof given === 'string' ? 'html' : Array.isArray(given) ? 'actions' : 'json') {
  if (!isType(type)) throw refused(`needs one of ${Object.keys(fits).join(', ')} as type, not ${show(type)}`)
  // A Map, a Date or a promise would become an empty object, or a text.
  if (typeof given !== 'string' && !Array.isArray(given) && Object.prototype.toString.call(given) !== '[object Object]') throw refused(`needs a string, an object, a list or null as content, not ${show(given)}`)
  let content: unknown
  try {
    content = JSON.parse(JSON.stringify(given))
  } catch (cause) {
    throw failure('FST_TARGET_INVALID_OPTIONS', 'edge.offer() needs content that can be sent as JSON', { cause })
  }
  if (content === null || !fits[type](content)) {
    const wanted = stringTypes.includes(type) ? 'a string' : type === 'json' ? 'an object or a list' : 'a list of objects'
    throw refused(`needs ${wanted} as content of type ${type}, not ${show(given)}`)
  }
  return { type, content }
}

function conditionsOf (when: unknown): FixedOffer['when'] {
  if (!isPlain(when)) throw refused(`needs mbox parameters as when, not ${show(when)}`)
  return Object.entries(when).map(([name, value]) => {
    // The first are not to be found by a condition, the others are never sent.
    if (name.split('.').includes('') || name.startsWith('profile.') || name.length > 128) throw refused(`cannot tell by "${name}": it is no name of an mbox parameter`)
    if (!['string', 'number', 'boolean'].includes(typeof value)) throw refused(`needs a text, a number or a boolean as value of "${name}", not ${show(value)}`)
    return [name, String(value)]
  })
}

function visitorOf (visitor: unknown): FixedVisitor | undefined {
  if (visitor === undefined) return undefined
  const right = isPlain(visitor) && Object.keys(visitor).length > 0 && Object.entries(visitor)
    .every(([name, id]) => (visitorNames as readonly string[]).includes(name) && typeof id === 'string' && id !== '')
  if (!right) throw refused(`needs one or more of ${visitorNames.join(', ')} as visitor, not ${show(visitor)}`)
  return { ...visitor }
}

/** Whether an offer is for the visitor with these ids. */
export function isFor ({ visitor }: FixedOffer, id: VisitorId): boolean {
  if (visitor === undefined) return true
  // What follows the dot is the location hint.
  const plain = (name: typeof visitorNames[number], value: string | undefined) => name === 'tntId' ? value?.split('.', 1)[0] : value
  return visitorNames.every((name) => visitor[name] === undefined || plain(name, visitor[name]) === plain(name, id[name]))
}

/** Whether both are for the same visitors and parameters, so that the later one takes the place of the other. */
export function sameCase (one: Omit<FixedOffer, 'experience'>, other: Omit<FixedOffer, 'experience'>): boolean {
  const key = ({ location, when, visitor }: Omit<FixedOffer, 'experience'>) =>
    JSON.stringify([location.kind, location.name, [...when].sort(), visitorNames.map((name) => visitor?.[name])])
  return key(one) === key(other)
}
