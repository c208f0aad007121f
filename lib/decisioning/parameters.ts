/**
 * The parameters of an mbox as conditions see them: dotted names nested, strings with a lower-case twin `<name>_lc`.
 *
 * Source: behaviour of `@adobe/target-decisioning-engine` 1.9.3. Names come from browsers: `__proto__`, `constructor` and
 * `prototype` are ordinary names here, at any depth, and reach no prototype.
 */
import { isObject } from '../validation.ts'

/** Nested parameters; read them by own properties only. */
export type ParameterFacts = Record<string, unknown>

/** The API's longest parameter name, 128 characters, has no more parts than this; longer ones are not split. */
const MAX_DEPTH = 64

/** @param parameters the request's `parameters`; anything but an object counts as none */
export function parameterFacts (parameters: unknown): ParameterFacts {
  const facts: ParameterFacts = {}
  if (!isObject(parameters)) return facts
  for (const name of Object.keys(parameters)) {
    const value = copy(parameters[name], MAX_DEPTH)
    const parts = partsOf(name)
    if (parts === undefined) put(facts, name, value)
    else nest(facts, parts, value)
  }
  return withTwins(facts)
}

/** The parts of a dotted name; undefined for a name that is used unsplit: without a dot, with two in a row, or with one at an end. */
function partsOf (name: string): string[] | undefined {
  if (!name.includes('.')) return undefined
  const parts = name.split('.')
  return parts.length > MAX_DEPTH || parts.includes('') ? undefined : parts
}

/** If `a` has a value, `a.b` is left out: the SDK fails the whole request in this case. */
function nest (facts: ParameterFacts, parts: string[], value: unknown): void {
  let place = facts
  for (const part of parts.slice(0, -1)) {
    const next = Object.hasOwn(place, part) ? place[part] : undefined
    if (isObject(next)) place = next
    else if (next) return
    else place = put(place, part, {})
  }
  put(place, parts.at(-1)!, value)
}

/** Adds the twins, which override parameters of the same name. */
function withTwins (facts: ParameterFacts): ParameterFacts {
  for (const name of Object.keys(facts)) {
    const value = facts[name]
    if (typeof value === 'string') put(facts, `${name}_lc`, value.toLowerCase())
    else if (isObject(value)) withTwins(value)
  }
  return facts
}

/** The API's parameters are strings; a caller may still pass objects, which must not be changed. */
function copy (value: unknown, depth: number): unknown {
  if (!isObject(value)) return value
  if (depth === 0) return undefined
  const result: ParameterFacts = {}
  for (const name of Object.keys(value)) put(result, name, copy(value[name], depth - 1))
  return result
}

function put<Value> (facts: ParameterFacts, name: string, value: Value): Value {
  if (name === '__proto__') Object.defineProperty(facts, name, { value, writable: true, enumerable: true, configurable: true })
  else facts[name] = value
  return value
}
