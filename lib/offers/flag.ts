/**
 * Offers read as feature flags: a key, a type, a value, and why it is that value, in OpenFeature's words.
 *
 * @see https://openfeature.dev/specification/types
 */
import { knowsMbox, type CompiledArtifact, type CompiledRule } from '../decisioning/compile.ts'
import type { Option } from '../schema/index.ts'
import { isObject } from '../validation.ts'
import { assignAttributes } from './attributes.ts'
import { hasContent, type Offer, type OfferContent } from './offer.ts'

/** `any` accepts every type. */
export type FlagType = 'boolean' | 'string' | 'number' | 'object' | 'any'

/** The location of a flag's value: an mbox, and a member of its json offers. */
export interface FlagPlace {
  mbox: string
  /** Names of members, outside in. Empty: the whole of the offer. */
  path: readonly string[]
}

/** The value of a flag, or why there is none. */
export type FlagReading =
  | {
    kind: 'value'
    value: unknown
    reason: string
    variant: string | undefined
    /** Response tokens of the option that gave it, and what the artifact's rule says of itself. */
    tokens: Record<string, unknown>
  }
  /** The default passed in the code applies. */
  | { kind: 'default', reason: 'DEFAULT' | 'DISABLED' }
  | { kind: 'error', errorCode: 'FLAG_NOT_FOUND' | 'TYPE_MISMATCH' | 'PROVIDER_NOT_READY' | 'PARSE_ERROR' | 'GENERAL', errorMessage: string }

/** What the reading of a flag depends on, apart from the offer. */
export interface FlagContext {
  /** The artifact that decided it, if one did. */
  artifact: CompiledArtifact | undefined
  /** The artifact is out of date. */
  isStale?: boolean
  /** The visitor is a tester in QA mode, whose experiences are fixed. */
  isFixed?: boolean
}

/** Reads a flag key: `mbox`, `mbox.member.member` or `mbox/member`. A name that is known, dots and all, is an mbox. */
export function flagPlaceOf (key: string, isMbox: (name: string) => boolean): FlagPlace {
  const parts = key.split(/[./]/)
  for (let length = parts.length; length > 1; length--) {
    const name = key.slice(0, parts.slice(0, length).join('.').length)
    if (isMbox(name)) return { mbox: name, path: parts.slice(length) }
  }
  return { mbox: parts[0]!, path: parts.slice(1) }
}

/**
 * Reads a flag from an offer.
 *
 * @param merged the json offers of the mbox as one object, where there are several
 */
export function readFlag (offer: Offer<OfferContent, unknown>, place: FlagPlace, type: FlagType, context: FlagContext, merged?: object): FlagReading {
  const { artifact } = context
  switch (offer.reason) {
    case 'matched': break
    case 'no-offer':
      if (artifact !== undefined && offer.content === undefined && !knowsMbox(artifact, place.mbox)) return error('FLAG_NOT_FOUND', `no activity uses the mbox ${place.mbox}`)
      return fallback(offer.content, place, type)
    case 'opted-out': return { kind: 'default', reason: 'DISABLED' }
    case 'not-ready': return error('PROVIDER_NOT_READY', 'there is no rule artifact yet')
    case 'invalid-content': return error('PARSE_ERROR', `the content of the mbox ${place.mbox} does not match its schema`)
    default: return error('GENERAL', offer.error?.message ?? offer.reason)
  }
  const option = optionOf(offer.options, place.path[0])
  const found = valueAt(merged ?? offer.content, place.path, type)
  if (found === undefined) return error('FLAG_NOT_FOUND', `the offer of the mbox ${place.mbox} has no member ${place.path.join('.')}`)
  if (!isOfType(found.value, type)) return error('TYPE_MISMATCH', `expected ${type === 'object' ? 'an object' : `a ${type}`}, got ${typeName(found.value)}`)
  const tokens = option?.responseTokens ?? offer.responseTokens
  const variant = tokens['experience.name'] ?? tokens['experience.id']
  const rules = artifact?.mboxes.get(place.mbox)?.filter(({ activity }) => activity.id === String(tokens['activity.id'])) ?? []
  const rule = rules.find(({ source: { meta } }) => String(meta['experience.id']) === String(tokens['experience.id']))
  return {
    kind: 'value',
    value: found.value,
    reason: reasonOf(rule, rules, tokens, context),
    variant: variant === undefined || variant === null ? undefined : String(variant),
    tokens: { ...rule?.source.meta, ...tokens }
  }
}

/** The flags that an mbox has by itself: its members by their paths, in dots. */
export function * membersOf (content: unknown, prefix: string): Generator<string> {
  if (!isObject(content)) return
  for (const [name, member] of Object.entries(content)) {
    yield `${prefix}.${name}`
    yield * membersOf(member, `${prefix}.${name}`)
  }
}

/** The json offers of an mbox as one object; undefined if there are not several. */
export function mergedContent (options: readonly Option[]): Record<string, unknown> | undefined {
  const contents = options.filter(({ type }) => type === 'json').map(({ content }) => content).filter(isObject)
  return contents.length < 2 ? undefined : contents.reduce<Record<string, unknown>>(assignAttributes, {})
}

const error = (errorCode: Extract<FlagReading, { kind: 'error' }>['errorCode'], errorMessage: string): FlagReading => ({ kind: 'error', errorCode, errorMessage })

/** The fallback declared for the mbox takes precedence over the default in the code. */
function fallback (declared: unknown, { path }: FlagPlace, type: FlagType): FlagReading {
  const found = declared === undefined ? undefined : valueAt(declared, path, type)
  if (found === undefined || !isOfType(found.value, type)) return { kind: 'default', reason: 'DEFAULT' }
  return { kind: 'value', value: found.value, reason: 'DEFAULT', variant: undefined, tokens: {} }
}

/** The option that gave a member: of several that have it, the last. */
function optionOf (options: readonly Option[], member: string | undefined): Option | undefined {
  const isGiver = ({ content }: Option) => member !== undefined && isObject(content) && Object.hasOwn(content, member)
  return options.findLast(isGiver) ?? options.find(hasContent)
}

function valueAt (content: unknown, path: readonly string[], type: FlagType): { value: unknown } | undefined {
  let value = content
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  // A json offer is an object, so a flag that is a value by itself is the member of that name.
  const isWrapped = isObject(value) && Object.hasOwn(value, 'value') && (type !== 'any' || Object.keys(value).length === 1)
  if (path.length === 0 && type !== 'object' && isWrapped) return { value: (value as { value: unknown }).value }
  return { value }
}

function isOfType (value: unknown, type: FlagType): boolean {
  const actual: string = typeof value
  return value !== null && (actual === type || type === 'any')
}

const typeName = (value: unknown) => value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`

/** Why an experience was chosen: by the rules of the artifact, where one decided, else by the type of the activity. */
function reasonOf (rule: CompiledRule | undefined, rules: readonly CompiledRule[], tokens: Record<string, unknown>, { isStale, isFixed }: FlagContext): string {
  if (isFixed === true) return 'STATIC'
  if (isStale === true) return 'STALE'
  if (rule === undefined) return tokens['activity.type'] === 'ab' ? 'SPLIT' : 'TARGETING_MATCH'
  const variables = variablesIn(rule)
  if (variables.has('allocation')) return 'SPLIT'
  if (variables.size > 0) return 'TARGETING_MATCH'
  return rules.some((other) => variablesIn(other).size > 0) ? 'DEFAULT' : 'STATIC'
}

const variablesByRule = new WeakMap<CompiledRule, ReadonlySet<string>>()

/** Names of the facts that a rule reads. */
function variablesIn (rule: CompiledRule): ReadonlySet<string> {
  let variables = variablesByRule.get(rule)
  if (variables === undefined) {
    const names = new Set<string>()
    const walk = (node: unknown): void => {
      if (Array.isArray(node)) return node.forEach(walk)
      if (!isObject(node)) return
      for (const [operator, operand] of Object.entries(node)) {
        if (operator === 'var') names.add(String([operand].flat()[0]))
        else walk(operand)
      }
    }
    walk(rule.source.condition)
    variablesByRule.set(rule, variables = names)
  }
  return variables
}
