/**
 * The option `mboxes`: the schema of each mbox's content and the fallback for it, checked and compiled once.
 */
import { Type } from '@sinclair/typebox'
import { isDeepStrictEqual } from 'node:util'
import { kindOfSchema, prepareSchema } from './content-schema.ts'
import { after, type Checked, type ContentSchema, type MaybePromise } from './checks.ts'
import type { CompileSchema } from './foreign-schema.ts'
import { isThenable } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { check, isObject, passing, strict } from '../validation.ts'
import type { MboxDefinition } from './mbox-types.ts'

/** A compiled definition. */
export interface DeclaredMbox {
  /** Undefined: any content is accepted. */
  schema: ContentSchema | undefined
  /** Makes the fallback: a new one each time, since pages may write to it. */
  otherwise: () => unknown
}

/** Compiled definitions by mbox name. */
export type DeclaredMboxes = ReadonlyMap<string, DeclaredMbox>

/**
 * Compiles the `mboxes` option.
 *
 * @param compile for JSON Schema
 * @returns a promise only if a schema has asynchronous parts
 * @throws FST_TARGET_INVALID_OPTIONS (or rejects) naming the mbox
 */
export function declareMboxes (definitions: unknown = {}, compile: CompileSchema): MaybePromise<DeclaredMboxes> {
  check(Definitions, definitions, { root: 'mboxes' })
  const declared = Object.entries(definitions).filter(([, definition]) => definition !== undefined).map(([name, definition]) => [name, declare(name, definition, compile)] as const)
  if (!declared.some(([, definition]) => isThenable(definition))) return new Map(declared as [string, DeclaredMbox][])
  return Promise.all(declared.map(async ([name, definition]) => [name, await definition] as const)).then((entries) => new Map(entries))
}

/** Whether the content of any mbox is described by a schema of TypeBox. */
export const hasTypeBoxSchema = (definitions: unknown): boolean =>
  isObject(definitions) && Object.values(definitions).some((definition) => isObject(definition) && kindOfSchema(definition.schema) === 'typebox')

const Definitions = passing(isObject, 'an object of { schema, fallback } by mbox name')
const Definition = Type.Object({ schema: Type.Optional(Type.Any()), fallback: Type.Optional(Type.Any()) }, { ...strict, expected: 'an object { schema, fallback }' })

const invalid = (where: string, problem: string) => failure('FST_TARGET_INVALID_OPTIONS', `${where} ${problem}`)

function declare (name: string, definition: unknown, compile: CompileSchema): MaybePromise<DeclaredMbox> {
  const where = `\`mboxes.${name}\``
  if (name.trim() === '') throw invalid(where, 'must have a name that is not blank')
  check(Definition, definition, { root: `mboxes.${name}` })
  const { schema: given, fallback } = definition as MboxDefinition
  const schema = given === undefined ? undefined : prepareSchema(given, compile)
  if (schema !== undefined && 'problem' in schema) throw invalid(`\`mboxes.${name}.schema\``, schema.problem)
  return after(fallback === undefined ? standIn(where, schema) : fitting(where, fallback, schema), (content) => ({ schema, otherwise: copies(content) }))
}

/** Checks that a fallback is plain data and matches its schema, and completes it from the schema's defaults. */
function fitting (where: string, fallback: unknown, schema: ContentSchema | undefined): unknown {
  if (!isPlainData(fallback)) throw invalid(where, 'has a fallback that is not plain data and cannot be copied for every request')
  if (schema === undefined) return fallback
  return after(schema.check(fallback, true), ({ content, problem }) => {
    if (problem !== undefined) throw invalid(where, `has a fallback that does not match its schema: ${problem}`)
    return copyable(where, content)
  })
}

/** The schema's own defaults. An object schema must have them unless optional, since pages destructure objects. */
function standIn (where: string, schema: ContentSchema | undefined): unknown {
  if (schema === undefined) return undefined
  let defaults: MaybePromise<Checked>
  try {
    defaults = schema.standIn()
  } catch (cause) {
    throw failure('FST_TARGET_INVALID_OPTIONS', `${where} has a schema that cannot be used`, { cause })
  }
  return after(defaults, ({ content, problem }) => {
    if (problem !== undefined) throw invalid(where, `has no fallback, and the defaults of its schema do not satisfy it: ${problem}; add a fallback or defaults, or make the schema optional (Type.Optional()) if the content may be absent`)
    return copyable(where, content)
  })
}

/** A schema may make anything of content. */
function copyable (where: string, content: unknown): unknown {
  if (!isPlainData(content)) throw invalid(where, 'has a schema that turns its fallback into something that cannot be copied for every request')
  return content
}

function isPlainData (value: unknown): boolean {
  try {
    return isDeepStrictEqual(structuredClone(value), value)
  } catch {
    return false
  }
}

function copies (value: unknown): () => unknown {
  if (typeof value !== 'object' || value === null) return () => value
  // A copy, in case the app changes its own.
  const kept = structuredClone(value)
  return () => structuredClone(kept)
}
