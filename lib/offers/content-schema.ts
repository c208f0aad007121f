/**
 * Content against a schema: checked, and completed from the schema's own defaults.
 */
import { FormatRegistry, Kind, TypeGuard, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { problemIn } from '../validation.ts'

/** Content as a page gets it, or what does not fit in it: a path and what is expected there, never a value. */
export type Checked = { content: unknown, problem?: undefined } | { content?: undefined, problem: string }

/** Checks content. Never throws, and never writes to what it is given. */
export type ContentCheck = (content: unknown) => Checked

/** Prepares the check of content. TypeBox interprets the schema: its compiler needs `new Function`, which a process may forbid. */
export function contentCheck (schema: TSchema): ContentCheck {
  const completes = [...partsOf(schema)].some((part) => 'default' in part)
  return (content) => {
    try {
      // The response stays as it came: defaults are written into a copy.
      return check(schema, completes && typeof content === 'object' ? Value.Default(schema, structuredClone(content)) : content)
    } catch (thrown) {
      // JSON.parse takes thousands of levels that a copy cannot.
      return { problem: thrown instanceof RangeError ? 'it is nested too deeply' : 'it cannot be checked' }
    }
  }
}

/** What a schema makes of `start` by its own defaults. */
export const defaultsOf = (schema: TSchema, start: {} | undefined): Checked => check(schema, Value.Default(schema, start))

/** Why a schema cannot be used; undefined when it can. */
export function schemaProblem (schema: unknown): string | undefined {
  if (!TypeGuard.IsSchema(schema)) return 'is not a TypeBox schema (@sinclair/typebox 0.34)'
  for (const part of partsOf(schema)) {
    // Either would make every content fail.
    if (TypeGuard.IsKind(part) && !TypeRegistry.Has(part[Kind])) return `has the kind ${part[Kind]}, which is not in TypeBox's TypeRegistry`
    if (part[Kind] === 'String' && part.format !== undefined && !FormatRegistry.Has(part.format)) return `has the format ${part.format}, which is not in TypeBox's FormatRegistry`
  }
  return undefined
}

function check (schema: TSchema, content: unknown): Checked {
  const problem = problemIn(schema, content, { root: 'content', isPrivate: true })
  return problem === undefined ? { content } : { problem }
}

/** A schema and all schemas in it. */
function * partsOf (value: unknown): Generator<TSchema> {
  if (typeof value !== 'object' || value === null) return
  if (Kind in value) yield value as TSchema
  for (const [key, member] of Object.entries(value)) if (key !== 'default') yield * partsOf(member)
}
