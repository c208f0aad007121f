/**
 * Attributes: the json offers of an mbox as one object, checked against what the page expects.
 */
import type { AnySchema, ContentOf } from './any-schema.ts'
import { kindOfSchema, prepareSchema } from './content-schema.ts'
import { after, type Checked, type MaybePromise } from './checks.ts'
import type { CompileSchema } from './foreign-schema.ts'
import type { DeliveryResponse, MboxResponse } from '../schema/index.ts'
import { isThenable } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { isObject } from '../validation.ts'
import type { TargetResult } from './result.ts'

/** The result of `getAttributes`: the Node SDK's provider. */
export interface AttributesProvider {
  /** One attribute of an mbox, or the fallback if there is none. */
  getValue (mboxName: string, key: string, fallback?: unknown): unknown
  /** All attributes of an mbox, or of all mboxes by name. */
  asObject (mboxName?: string): Record<string, unknown>
  /** All attributes of all mboxes by name. */
  toJSON (): Record<string, Record<string, unknown>>
  /** The result that the attributes were read from. */
  getResponse (): TargetResult
}

/** Adds properties, but never a prototype: content is third-party JSON and may contain `__proto__`. */
export function assignAttributes (target: Record<string, unknown>, source: object): Record<string, unknown> {
  for (const [key, value] of Object.entries(source)) {
    if (key !== '__proto__') target[key] = value
  }
  return target
}

/** The mboxes of an answer: prefetched first, so that executed ones win. */
const mboxesOf = ({ prefetch, execute }: DeliveryResponse): MboxResponse[] => [...prefetch?.mboxes ?? [], ...execute?.mboxes ?? []]

/** Adds the json offers of an mbox to the attributes so far; undefined while there are none. */
function merge (attributes: Record<string, unknown> | undefined, { options }: MboxResponse): Record<string, unknown> | undefined {
  for (const { type, content } of options ?? []) {
    if (type === 'json' && isObject(content)) attributes = assignAttributes(attributes ?? {}, content)
  }
  return attributes
}

/** The merged json offers of one mbox; undefined if there are none. A new object each time, but not a deep copy. */
export function attributesOf (response: DeliveryResponse, mbox: string): Record<string, unknown> | undefined {
  let attributes: Record<string, unknown> | undefined
  for (const one of mboxesOf(response)) if (one.name === mbox) attributes = merge(attributes, one)
  return attributes
}

/** Makes the SDK's attributes provider. */
export function createAttributesProvider (result: TargetResult): AttributesProvider {
  const byMbox = new Map<string, Record<string, unknown>>()
  for (const mbox of mboxesOf(result.response)) {
    const attributes = merge(byMbox.get(mbox.name!), mbox)
    if (typeof mbox.name === 'string' && attributes !== undefined) byMbox.set(mbox.name, attributes)
  }
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

/** What a page expects of an mbox's attributes: a schema of an object, or an object of defaults. */
export type AttributesExpectation = AnySchema | Record<string, unknown>

/** The type of attributes for an expectation. */
export type AttributesFor<Expectation> = Expectation extends AnySchema ? ContentOf<Expectation> : Expectation

/** Attributes, and what did not fit where they are the schema's own defaults. */
interface ReadAttributes { attributes: unknown, problem?: string }

/** Reads merged json offers as a page expects them. */
export interface AttributesReading {
  /** Whether the page gave defaults, and no schema. */
  readonly isDefaults: boolean
  /** Whether reading may take time. */
  readonly mayWait: boolean
  /**
   * From merged json offers to attributes.
   *
   * @param offered undefined: none
   * @throws FST_TARGET_INVALID_OPTIONS (or rejects) when an asynchronous schema cannot be filled from its defaults
   */
  read (offered: Record<string, unknown> | undefined): MaybePromise<ReadAttributes>
}

/**
 * Prepares the reading of attributes. Called before the response arrives, so that a wrong schema is noticed immediately.
 *
 * @throws FST_TARGET_INVALID_OPTIONS when it is neither a schema nor an object of defaults, or a schema that cannot be filled from
 *   its defaults
 */
export type ExpectAttributes = (expectation: unknown) => AttributesReading

/** Makes {@link ExpectAttributes}, with the compiler for JSON Schema. */
export function attributesExpecter (compile: CompileSchema): ExpectAttributes {
  // Cached by schema: schemas are module constants of the app, and the map does not keep them alive.
  const readings = new WeakMap<object, AttributesReading>()
  return (expectation) => {
    const isKey = (typeof expectation === 'object' || typeof expectation === 'function') && expectation !== null
    const known = isKey ? readings.get(expectation) : undefined
    if (known !== undefined) return known
    const kind = kindOfSchema(expectation)
    if (typeof kind === 'object') throw failure('FST_TARGET_INVALID_OPTIONS', `attributes(): the second argument ${kind.problem}; it must be a schema of an object, or an object of defaults`)
    if (kind === 'defaults') {
      return { isDefaults: true, mayWait: false, read: (offered) => ({ attributes: assignAttributes({ ...expectation as object }, offered ?? {}) }) }
    }
    const reading = readBy(expectation, compile)
    readings.set(expectation as object, reading)
    return reading
  }
}

function readBy (schema: unknown, compile: CompileSchema): AttributesReading {
  const prepared = prepareSchema(schema, compile)
  if ('problem' in prepared) throw failure('FST_TARGET_INVALID_OPTIONS', `attributes(): the schema ${prepared.problem}`)
  const defaults = after(prepared.check({}, true), (made) => isFilled(made)
    ? made
    : after(prepared.standIn(), (instead) => isFilled(instead) ? instead : made))
  const filled = after(defaults, ({ content, problem = isObject(content) ? undefined : '`content` must be an object' }) => {
    if (problem === undefined) return content as object
    throw failure('FST_TARGET_INVALID_OPTIONS', `attributes(): the defaults of the schema do not satisfy it: ${problem}; give every required property a default`)
  })
  // Whoever reads gets the error.
  if (isThenable(filled)) Promise.resolve(filled).catch(() => {})
  // A copy: a page's changes to its attributes must not affect other pages.
  const instead = (problem?: string) => after(filled, (content): ReadAttributes => ({ attributes: structuredClone(content), problem }))
  return {
    isDefaults: false,
    mayWait: prepared.mayWait,
    read: (offered) => offered === undefined
      ? instead()
      : after(prepared.check(offered), ({ content, problem = isObject(content) ? undefined : '`content` must be an object' }) => problem === undefined ? { attributes: content } : instead(problem))
  }
}

const isFilled = ({ content, problem }: Checked): boolean => problem === undefined && isObject(content)
