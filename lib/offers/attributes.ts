/**
 * Attributes: the json offers of an mbox as one object, checked against what the page expects.
 */
import { TypeGuard, type Static, type TSchema } from '@sinclair/typebox'
import { contentCheck, defaultsOf } from './content-schema.ts'
import type { DeliveryResponse } from '../schema/index.ts'
import { failure } from '../errors.ts'
import { isObject } from '../validation.ts'
import type { TargetResult } from './offer.ts'

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
export function assignAttributes (target: Record<string, unknown>, source: object): Record<string, unknown> {
  for (const [key, value] of Object.entries(source)) {
    if (key !== '__proto__') target[key] = value
  }
  return target
}

/** Attributes by mbox name: prefetched first, so that executed ones win. */
function attributesByMbox (response: DeliveryResponse): Map<string, Record<string, unknown>> {
  const byMbox = new Map<string, Record<string, unknown>>()
  for (const { name, options } of [...response.prefetch?.mboxes ?? [], ...response.execute?.mboxes ?? []]) {
    if (typeof name !== 'string') continue
    for (const { type, content } of options ?? []) {
      if (type !== 'json' || !isObject(content)) continue
      byMbox.set(name, assignAttributes(byMbox.get(name) ?? {}, content))
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

/** From merged json offers (undefined: none) to attributes, and what did not fit where they did not. */
export type AttributesReading<Attributes> = (offered: Record<string, unknown> | undefined) => { attributes: Attributes, problem?: string }

// By schema: schemas are module constants of the app, and the map does not keep them alive.
const readings = new WeakMap<object, AttributesReading<unknown>>()

/**
 * Prepares the reading of attributes. Called before the answer is there, so that a wrong schema shows at once.
 *
 * @throws FST_TARGET_INVALID_OPTIONS when a schema cannot be filled from its defaults
 */
export function expectAttributes<Expectation extends AttributesExpectation> (expectation: Expectation): AttributesReading<AttributesFor<Expectation>> {
  const known = readings.get(expectation) ?? (TypeGuard.IsSchema(expectation) ? readBy(expectation) : undefined)
  if (known !== undefined) return known as AttributesReading<AttributesFor<Expectation>>
  return (offered) => ({ attributes: assignAttributes({ ...expectation as Record<string, unknown> }, offered ?? {}) as AttributesFor<Expectation> })
}

function readBy (schema: TSchema): AttributesReading<unknown> {
  const { content: defaults, problem = isObject(defaults) ? undefined : '`content` must be an object' } = defaultsOf(schema, {})
  if (problem !== undefined) {
    throw failure('FST_TARGET_INVALID_OPTIONS', `attributes(): the defaults of the schema do not satisfy it: ${problem}; give every required property a default`)
  }
  const check = contentCheck(schema)
  // A copy: what a page does with its attributes must not show in another's.
  const instead = (problem?: string) => ({ attributes: structuredClone(defaults), problem })
  const reading: AttributesReading<unknown> = (offered) => {
    if (offered === undefined) return instead()
    const { content, problem } = check(offered)
    return problem === undefined ? { attributes: content } : instead(problem)
  }
  readings.set(schema, reading)
  return reading
}
