/**
 * Attributes: the json offers of an mbox as one object, checked against what the page expects.
 */
import { TypeGuard, type Static, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { DeliveryResponse } from './delivery/schema/index.ts'
import { failure } from './errors.ts'
import type { TargetResult } from './offers.ts'

/** What `getAttributes` resolves with: the Node SDK's provider. */
export interface AttributesProvider {
  /** One attribute of an mbox, or the fallback when there is none. */
  getValue (mboxName: string, key: string, fallback?: unknown): unknown
  /** All attributes of an mbox, or of all mboxes by name. */
  asObject (mboxName?: string): Record<string, unknown>
  /** All attributes of all mboxes by name. */
  toJSON (): Record<string, Record<string, unknown>>
  /** The result the attributes were read from. */
  getResponse (): TargetResult
}

/** Adds properties, never a prototype: content is JSON of a third party and may carry `__proto__`. */
function assign (target: Record<string, unknown>, source: object): void {
  for (const [key, value] of Object.entries(source)) {
    if (key !== '__proto__') target[key] = value
  }
}

/** Attributes by mbox name: prefetched first, so that executed ones win. */
function attributesByMbox (response: DeliveryResponse): Map<string, Record<string, unknown>> {
  const byMbox = new Map<string, Record<string, unknown>>()
  for (const { name, options } of [...response.prefetch?.mboxes ?? [], ...response.execute?.mboxes ?? []]) {
    if (typeof name !== 'string') continue
    for (const { type, content } of options ?? []) {
      if (type !== 'json' || typeof content !== 'object' || content === null || Array.isArray(content)) continue
      const attributes = byMbox.get(name) ?? {}
      assign(attributes, content)
      byMbox.set(name, attributes)
    }
  }
  return byMbox
}

/** The merged json offers of one mbox; undefined when there are none. A new object each time, but not a deep copy. */
export function attributesOf (response: DeliveryResponse, mbox: string): Record<string, unknown> | undefined {
  return attributesByMbox(response).get(mbox)
}

/** Makes the SDK's attributes provider. */
export function createAttributesProvider (result: TargetResult): AttributesProvider {
  const byMbox = attributesByMbox(result.response)
  const toJSON = () => Object.fromEntries([...byMbox].map(([name, attributes]) => [name, { ...attributes }]))
  return {
    getValue (mboxName, key, fallback) {
      const attributes = byMbox.get(mboxName)
      return attributes !== undefined && Object.hasOwn(attributes, key) ? attributes[key] : fallback
    },
    asObject: (mboxName) => mboxName === undefined ? toJSON() : { ...byMbox.get(mboxName) },
    toJSON,
    getResponse: () => result
  }
}

/** What a page expects of an mbox's attributes: a TypeBox object schema, or an object of defaults. */
export type AttributesExpectation = TSchema | Record<string, unknown>

/** The attributes a page gets for what it expects. */
export type AttributesFor<Expectation> = Expectation extends TSchema ? Static<Expectation> : Expectation

// By schema: schemas are module constants of the app, and the map does not keep them alive.
const checkedSchemas = new WeakMap<object, string>()

/** Checks once that a schema can be filled from its own defaults. */
function defaultsOf (schema: TSchema): unknown {
  const known = checkedSchemas.get(schema)
  if (known !== undefined) return JSON.parse(known)
  const defaults = Value.Default(schema, {})
  const problem = Value.Errors(schema, defaults).First()
  if (problem !== undefined) {
    throw failure('FST_TARGET_INVALID_OPTIONS', `the schema given to attributes() cannot be filled from its own defaults: ${problem.path || '/'} ${problem.message}; give each required property a default`)
  }
  checkedSchemas.set(schema, JSON.stringify(defaults))
  return defaults
}

/** From merged json offers (undefined: none) to attributes, and what did not fit where they did not. */
export type AttributesReader<Attributes> = (offered: Record<string, unknown> | undefined) => { attributes: Attributes, problem?: string }

/**
 * Prepares the reading of attributes. Called before the answer is there, so that a wrong schema shows at once.
 *
 * @throws FST_TARGET_INVALID_OPTIONS when a schema cannot be filled from its defaults
 */
export function expectAttributes<Expectation extends AttributesExpectation> (expectation: Expectation): AttributesReader<AttributesFor<Expectation>> {
  if (!TypeGuard.IsSchema(expectation)) {
    return (offered) => {
      const attributes = { ...expectation as Record<string, unknown> }
      if (offered !== undefined) assign(attributes, offered)
      return { attributes: attributes as AttributesFor<Expectation> }
    }
  }
  const schema: TSchema = expectation
  const defaults = defaultsOf(schema)
  return (offered) => {
    if (offered === undefined) return { attributes: defaults as AttributesFor<Expectation> }
    const instead = (problem: string) => ({ attributes: defaults as AttributesFor<Expectation>, problem })
    try {
      // The response stays as it came: defaults are written into a copy.
      const attributes = Value.Default(schema, structuredClone(offered))
      const problem = Value.Errors(schema, attributes).First()
      return problem === undefined ? { attributes: attributes as AttributesFor<Expectation> } : instead(`${problem.path || '/'} ${problem.message}`)
    } catch {
      // JSON.parse takes thousands of levels that a copy cannot.
      return instead('/ is nested too deep')
    }
  }
}
