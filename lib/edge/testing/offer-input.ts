/** Parses and checks a test's fixed offers. */
import { Type } from '@sinclair/typebox'
import type { OptionType, VisitorId } from '../../schema/index.ts'
import { failure } from '../../errors.ts'
import { check, checkOptions, invalid, isObject, oneOf, passing, show, strict } from '../../validation.ts'
import type { Location } from './place.ts'

/** The content of a place: a string, an object or a list, or null for nothing. */
export type FixedContent = string | object | null

/** Ids that identify a visitor; all ids passed must match. */
export type FixedVisitor = Pick<VisitorId, 'tntId' | 'thirdPartyId' | 'marketingCloudVisitorId'>

export interface FixedOfferOptions {
  /**
   * Kind of the content. Default: `html` for a string, `json` for an object, `actions` for a list. Set `redirect` (or `dynamic`)
   * for a string that is a URL, `json` for a list that is not actions.
   */
  type?: OptionType
  /** Mbox parameters that must all have these values. Default: any. */
  when?: Record<string, string | number | boolean>
  /** The visitor it is for; only the edge knows visitors, so its place then needs the edge on-device. Default: all. */
  visitor?: FixedVisitor
}

/** A fixed offer. */
export interface FixedOffer {
  location: Location
  /** Position of the experience in its place's activity. */
  experience: number
  option: { type: OptionType, content: unknown } | null
  when: Array<[name: string, value: string]>
  visitor: FixedVisitor | undefined
}

const call = 'edge.offer()'
const VISITOR_NAMES = ['tntId', 'thirdPartyId', 'marketingCloudVisitorId'] as const
const id = Type.Optional(Type.String({ minLength: 1 }))

const OptionsSchema = Type.Object({
  type: Type.Optional(oneOf('html', 'redirect', 'dynamic', 'json', 'actions')),
  when: Type.Optional(passing(isObject, 'an object of mbox parameters')),
  visitor: Type.Optional(Type.Object({ tntId: id, thirdPartyId: id, marketingCloudVisitorId: id }, { ...strict, minProperties: 1, expected: 'an object with at least one of tntId, thirdPartyId and marketingCloudVisitorId' }))
}, strict)
const Parameter = Type.Union([Type.String(), Type.Number(), Type.Boolean()], { expected: 'a string, a number or a boolean' })
// A Map, a Date or a promise would become an empty object, or a string.
const Content = passing((content) => content === null || typeof content === 'string' || Array.isArray(content) || Object.prototype.toString.call(content) === '[object Object]', 'a string, an object, a list or null')

const expected: Record<OptionType, string> = {
  html: 'a string', redirect: 'a URL string', dynamic: 'a URL string', json: 'an object or a list', actions: 'a list of objects'
}
const matches: Record<OptionType, (content: unknown) => boolean> = {
  html: (content) => typeof content === 'string',
  redirect: (content) => typeof content === 'string' && content !== '',
  dynamic: (content) => typeof content === 'string' && content !== '',
  json: (content) => typeof content === 'object',
  actions: (content) => Array.isArray(content) && content.every(isObject)
}

/**
 * Reads the arguments of `edge.offer()`. The content is copied.
 *
 * @throws FST_TARGET_INVALID_OPTIONS
 */
export function fixedOffer (location: Location, content: FixedContent, options: FixedOfferOptions): Omit<FixedOffer, 'experience'> {
  const { type, when = {}, visitor } = checkOptions<FixedOfferOptions>(OptionsSchema, options, { call })
  check(Content, content, { call, root: 'content' })
  return { location, option: content === null ? null : optionOf(content, type), when: conditionsOf(when), visitor }
}

function optionOf (given: string | object, type: OptionType = typeof given === 'string' ? 'html' : Array.isArray(given) ? 'actions' : 'json') {
  let content: unknown
  try {
    content = JSON.parse(JSON.stringify(given))
  } catch (cause) {
    throw failure('FST_TARGET_INVALID_OPTIONS', 'edge.offer(): `content` must be data that JSON.stringify() accepts', { cause })
  }
  if (content === null || !matches[type](content)) throw invalid({ call, root: 'content' }, `${expected[type]} for an offer of type ${type}`, given)
  return { type, content }
}

function conditionsOf (when: NonNullable<FixedOfferOptions['when']>): FixedOffer['when'] {
  return Object.entries(when).map(([name, value]) => {
    // Conditions cannot find the first, and the others are never sent.
    if (name.split('.').includes('') || name.startsWith('profile.') || name.length > 128) throw failure('FST_TARGET_INVALID_OPTIONS', `${call}: \`when\` must have names of mbox parameters, got ${show(name)}`)
    check(Parameter, value, { call, root: `when.${name}` })
    return [name, String(value)]
  })
}

/** Whether an offer is for the visitor with these ids. */
export function isFor ({ visitor }: FixedOffer, id: VisitorId): boolean {
  if (visitor === undefined) return true
  // The part after the dot is the location hint.
  const plain = (name: typeof VISITOR_NAMES[number], value: string | undefined) => name === 'tntId' ? value?.split('.', 1)[0] : value
  return VISITOR_NAMES.every((name) => visitor[name] === undefined || plain(name, visitor[name]) === plain(name, id[name]))
}

/** Whether both are for the same visitors and parameters, so that the later one replaces the earlier one. */
export function sameCase (one: Omit<FixedOffer, 'experience'>, other: Omit<FixedOffer, 'experience'>): boolean {
  const key = ({ location, when, visitor }: Omit<FixedOffer, 'experience'>) =>
    JSON.stringify([location.kind, location.name, [...when].sort(), VISITOR_NAMES.map((name) => visitor?.[name])])
  return key(one) === key(other)
}
