/**
 * The only validator: options of the plugin, the client, routes, calls, mboxes and the local edge are checked here.
 *
 * TypeBox checks, and this module words the errors, always in one grammar:
 *
 * - ``unknown option `tiemout` (did you mean `timeout`?)``
 * - `` `pool.connections` must be an integer ≥ 1, got 1.5 ``
 * - `config.target.maxWait of GET /: must be a number of ms > 0 and ≤ 2147483647, got '50'`
 *
 * A schema's keyword `expected` is a noun phrase that completes "must be …". Without it, the phrase is derived from the schema
 * itself.
 */
import { Kind, Type, type SchemaOptions, type TObject, type TSchema, type Static } from '@sinclair/typebox'
import { Value, ValueErrorType, type ValueError } from '@sinclair/typebox/value'
import { inspect } from 'node:util'
import { counted } from './diagnostics.ts'
import { failure, type TargetError } from './errors.ts'

/** Maximum delay of Node's timers in ms. A longer timer fires after 1 ms. */
export const MAX_MILLISECONDS = 2 ** 31 - 1

/** A duration in ms, above 0. Every duration that ends in a timer is checked with this schema or the next. */
export const Milliseconds = Type.Number({ exclusiveMinimum: 0, maximum: MAX_MILLISECONDS, expected: `a number of ms > 0 and ≤ ${MAX_MILLISECONDS}` })

/** A duration in ms; 0 means none. */
export const MillisecondsOrZero = Type.Number({ minimum: 0, maximum: MAX_MILLISECONDS, expected: `a number of ms ≥ 0 and ≤ ${MAX_MILLISECONDS}` })

/** Object schema option: members that the schema does not name are refused. */
export const strict = { additionalProperties: false }

export const flag = Type.Boolean()
export const integer = (minimum: number) => Type.Integer({ minimum })
export const text = (pattern: string, expected: string) => Type.String({ pattern, expected })
export const oneOf = (...values: (string | false)[]) => Type.Union(values.map((value) => Type.Literal(value)))
export const callback = Type.Function([], Type.Any())

/** Anything that passes a test. It is passed on unchanged. */
export const passing = (test: (value: unknown) => boolean, expected: string) => Type.Any({ test, expected })

/** An object of any class that has some methods. It is passed on unchanged. */
export const withMethods = (methods: readonly string[], expected: string) => passing((value) =>
  (typeof value === 'object' || typeof value === 'function') && value !== null &&
  methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function'), expected)

/** Whether a value is an object: not null, and not an array. */
export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Describes the value being checked, for its name in errors. */
export interface Subject {
  /** Path of the value, e.g. `config.target` or `mboxes.hero`. Default: none, its members are top-level options. */
  root?: string
  /** The route it belongs to: `of GET /`. */
  of?: string
  /** The function it was passed to: `edge.fault()`. */
  call?: string
  /** Leave values and unknown names out of errors, since they come from a visitor. */
  isPrivate?: boolean
}

/**
 * Checks a value.
 *
 * @param checker of the copy of TypeBox that knows the schema's formats and kinds. Default: the package's own
 * @returns the first problem, as a sentence; undefined if the value is valid
 */
export function problemIn (schema: TSchema, value: unknown, subject: Subject = {}, checker: Pick<typeof Value, 'Check' | 'Errors'> = Value): string | undefined {
  if (!checker.Check(schema, value)) return describe(mostSpecific(checker.Errors(schema, value).First()!), subject)
  const failed = failedTest(schema, value, [])
  return failed && mustBe(subject, failed.path, failed.expected, failed.value)
}

/**
 * Checks a value.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option, the expected kind and the value
 */
export function check<Schema extends TSchema> (schema: Schema, value: unknown, subject?: Subject): asserts value is Static<Schema> {
  const problem = problemIn(schema, value, subject)
  if (problem !== undefined) throw failure('FST_TARGET_INVALID_OPTIONS', problem)
}

/**
 * Checks options.
 *
 * @returns a copy of the options, including nested objects of the schema, without undefined members
 * @throws FST_TARGET_INVALID_OPTIONS naming the option, the expected kind and the value
 */
export function checkOptions<Options> (schema: TObject, given: unknown, subject: Subject = {}): Options {
  if (!isObject(given)) throw failure('FST_TARGET_INVALID_OPTIONS', mustBe(subject, [], 'an object', given))
  const options = copyOptions(schema, given)
  check(schema, options, subject)
  return options as Options
}

/** An error in the same grammar, for rules that a schema cannot express. */
export function invalid (subject: Subject, expected: string, value: unknown): TargetError {
  return failure('FST_TARGET_INVALID_OPTIONS', mustBe(subject, [], expected, value))
}

/** The name of a value in an error of another module: `` `request` `` or `config.target of GET /:`. */
export const subjectName = (subject: Subject): string => nameOf(subject, [])

/** A value for an error: on one line, shallow and short. */
export const show = (value: unknown): string => inspect(value, { depth: 0, breakLength: Infinity, maxStringLength: 80 })

/** The type of a value, for an error that must not show the value. */
export function typeName (value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'a list'
  return `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`
}

/** Joins alternatives: `a, b or c`. */
export const alternatives = (names: readonly string[]): string => names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`

function copyOptions (schema: TSchema, given: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([, member]) => member !== undefined).map(([name, member]) => {
    const nested = Object.hasOwn(schema.properties, name) ? objectForm(schema.properties[name]) : undefined
    return [name, nested !== undefined && isPlain(member) ? copyOptions(nested, member) : member]
  }))
}

/** Whether a value is an object of no class. */
export function isPlain (value: unknown): value is Record<string, unknown> {
  if (!isObject(value)) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** The object form of a schema. */
const objectForm = (schema: TSchema | undefined): TSchema | undefined =>
  schema?.properties !== undefined ? schema : schema?.anyOf?.find((form: TSchema) => form.properties !== undefined)

/** The first value that does not pass the test of {@link passing}, which TypeBox does not know. */
function failedTest (schema: TSchema, value: unknown, path: string[]): { path: string[], expected: string, value: unknown } | undefined {
  if (typeof schema.test === 'function') return schema.test(value) ? undefined : { path, expected: schema.expected, value }
  const form = objectForm(schema)
  if (form === undefined || !isObject(value)) return undefined
  for (const [name, member] of Object.entries<TSchema>(form.properties)) {
    const failed = value[name] === undefined ? undefined : failedTest(member, value[name], [...path, name])
    if (failed !== undefined) return failed
  }
  return undefined
}

/** The error of the most likely form of a value: the one that knows most of its members. */
function mostSpecific (error: ValueError): ValueError {
  let best: ValueError | undefined
  for (const errors of error.errors) {
    const first = errors.First()
    if (first === undefined) continue
    const inner = mostSpecific(first)
    if (inner.path.length > error.path.length && (best === undefined || specificity(inner) > specificity(best))) best = inner
  }
  return best === undefined || (best.type === ValueErrorType.ObjectRequiredProperty && error.schema.expected !== undefined) ? error : best
}

function specificity ({ path, type }: ValueError): number {
  const kind = type === ValueErrorType.ObjectRequiredProperty ? 0 : type === ValueErrorType.ObjectAdditionalProperties ? 1 : 2
  return path.split('/').length * 3 + kind
}

function describe (error: ValueError, subject: Subject): string {
  const path = error.path.split('/').slice(1).map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  if (error.type === ValueErrorType.ObjectAdditionalProperties) return unknownOption(error.schema, path, subject)
  const expected = expectedOf(error.schema) ?? error.message.replace(/^Expected /, '')
  if (error.type !== ValueErrorType.ObjectRequiredProperty) return mustBe(subject, path, expected, error.value)
  const reason = error.schema.expected === undefined ? '' : `: ${expected}`
  return `${nameOf(subject, path)} is required${reason}`
}

function unknownOption (parent: TSchema, path: string[], subject: Subject): string {
  const name = path.at(-1)!
  const known = Object.keys(parent.properties ?? {})
  if (subject.isPrivate === true) return `${nameOf(subject, path.slice(0, -1))} has an unknown member; expected ${alternatives(known)}`
  if (Object.hasOwn(parent.replaced ?? {}, name)) return `${unknownName(subject, path)}: use ${parent.replaced[name]}`
  const similar = mostSimilar(name, known)
  if (similar !== undefined) return `${unknownName(subject, path)} (did you mean \`${similar}\`?)`
  return known.length > MAX_LISTED ? unknownName(subject, path) : `${unknownName(subject, path)}; expected ${alternatives(known)}`
}

/** Maximum number of option names listed in an error. */
const MAX_LISTED = 12

function mustBe (subject: Subject, path: readonly string[], expected: string, value: unknown): string {
  return `${nameOf(subject, path)} must be ${expected}${subject.isPrivate === true ? '' : `, got ${show(value)}`}`
}

function nameOf ({ root = '', of, call }: Subject, path: readonly string[]): string {
  const name = pathOf(root, path)
  if (of !== undefined) return `${name} of ${of}:`
  return `${call === undefined ? '' : `${call}: `}${name === '' ? 'options' : `\`${name}\``}`
}

function unknownName ({ root = '', of, call }: Subject, path: readonly string[]): string {
  return `${call === undefined ? '' : `${call}: `}unknown option \`${pathOf(root, path)}\`${of === undefined ? '' : ` of ${of}`}`
}

/** A path as in JavaScript: `a.b[0]["c d"]`. */
export function pathOf (root: string, path: readonly string[]): string {
  return path.reduce((joined, part) => {
    if (/^\d+$/.test(part)) return `${joined}[${part}]`
    if (!/^[\w$-]+$/.test(part)) return `${joined}[${JSON.stringify(part)}]`
    return joined === '' ? part : `${joined}.${part}`
  }, root)
}

/** What a schema expects, as a noun phrase; undefined for unknown kinds. */
function expectedOf (schema: TSchema): string | undefined {
  if (typeof schema.expected === 'string') return schema.expected
  if (Array.isArray(schema.anyOf)) {
    const forms = schema.anyOf.map(expectedOf)
    return forms.includes(undefined) ? undefined : alternatives([...new Set(forms as string[])])
  }
  switch (schema[Kind]) {
    case 'Literal': return typeof schema.const === 'string' ? `'${schema.const}'` : String(schema.const)
    case 'Boolean': return 'true or false'
    case 'Integer': return `an integer${range(schema)}`
    case 'Number': return `a number${range(schema)}`
    case 'String': return expectedString(schema)
    case 'Array': return `a list${length(schema.minItems, schema.maxItems, 'entry', 'entries')}`
    case 'Function': return 'a function'
    case 'Null': return 'null'
    case 'Object': case 'Record': return 'an object'
  }
  return undefined
}

function expectedString (schema: TSchema): string {
  if (Array.isArray(schema.enum)) return alternatives(schema.enum.map((value) => `'${value}'`))
  if (schema.minLength === 1 && schema.maxLength === undefined) return 'a string that is not empty'
  return `a string${length(schema.minLength, schema.maxLength, 'character')}${schema.format === undefined ? '' : ` of the format ${schema.format}`}${schema.pattern === undefined ? '' : ` that matches ${schema.pattern}`}`
}

function range ({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }: SchemaOptions): string {
  const bounds = [['≥', minimum], ['>', exclusiveMinimum], ['≤', maximum], ['<', exclusiveMaximum]].filter(([, bound]) => bound !== undefined)
  return bounds.length === 0 ? '' : ` ${bounds.map((bound) => bound.join(' ')).join(' and ')}`
}

function length (least: number | undefined, most: number | undefined, singular: string, plural?: string): string {
  if (least !== undefined && most !== undefined) return ` of ${least} to ${counted(most, singular, plural)}`
  if (least !== undefined) return ` of at least ${counted(least, singular, plural)}`
  return most === undefined ? '' : ` of at most ${counted(most, singular, plural)}`
}

/** The known name that a misspelled one most likely means. */
export function mostSimilar (name: string, known: readonly string[]): string | undefined {
  const limit = name.length < 5 ? 1 : name.length < 9 ? 2 : 3
  let best: string | undefined
  let bestDistance = limit + 1
  for (const candidate of known) {
    const distance = candidate.toLowerCase() === name.toLowerCase() ? 0 : editDistance(name.slice(0, 64), candidate)
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** Insertions, deletions, replacements and swaps of neighbours that turn one word into another (optimal string alignment). */
function editDistance (a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? rows[i - 2]![j - 2]! + 1 : Infinity
      row.push(Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1), swap))
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
