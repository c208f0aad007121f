/**
 * Content against a schema of any kind: checked, and completed from the schema's own defaults.
 */
import { Kind, TypeGuard, type TSchema } from '@sinclair/typebox'
import { isObject, isPlain, pathOf, problemIn } from '../validation.ts'
import { typeBoxFor } from './app-typebox.ts'
import type { Checked, ContentSchema } from './checks.ts'
import { copyOf, preparedJson, preparedStandard, type CompileSchema } from './foreign-schema.ts'

/** The kind of a schema, or an object of defaults; a problem if a value is neither, or could be mistaken for the other. */
export type SchemaKind = 'typebox' | 'standard' | 'json' | 'defaults' | { problem: string }

const SCHEMAS = 'a TypeBox schema, a Standard Schema (Zod, Valibot, ArkType and others) or a JSON Schema'

/** Distinguishes schemas by kind, and from defaults: a schema must never be shown as if it were content. */
export function kindOfSchema (value: unknown): SchemaKind {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null || Array.isArray(value)) return { problem: `is not ${SCHEMAS}` }
  if ('~standard' in value) return isStandard(value) ? 'standard' : { problem: 'is a Standard Schema of an unknown version' }
  if (Kind in value) return 'typebox'
  if ('~kind' in value) return 'json'
  if (!isPlain(value)) return { problem: `is not ${SCHEMAS}` }
  if (isJsonSchema(value)) return 'json'
  for (const [name, member] of Object.entries(value)) {
    if (isSchemaItself(member)) return { problem: `has a schema in its member ${pathOf('', [name])}: wrap the members in an object schema` }
  }
  return 'defaults'
}

/**
 * Prepares a schema.
 *
 * @returns a problem, as the rest of a sentence, if it is not a schema or cannot be used
 */
export function prepareSchema (schema: unknown, compile: CompileSchema): ContentSchema | { problem: string } {
  const kind = kindOfSchema(schema)
  if (kind === 'standard') return preparedStandard(schema as Parameters<typeof preparedStandard>[0])
  if (kind === 'json') return preparedJson(schema as object, compile)
  if (kind === 'defaults') return { problem: `is not ${SCHEMAS}` }
  return kind === 'typebox' ? preparedTypeBox(schema as TSchema) : kind
}

function isStandard (value: object): boolean {
  const standard = (value as { '~standard': unknown })['~standard']
  return isObject(standard) && standard.version === 1 && typeof standard.validate === 'function'
}

/** A value that is not data: a schema of a library, or its JSON Schema. */
function isSchemaItself (value: unknown): boolean {
  if (typeof value === 'function') return true
  if (typeof value !== 'object' || value === null) return false
  return '~standard' in value || Kind in value || '~kind' in value || (isObject(value) && isJsonSchema(value))
}

const JSON_TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null']
const KEYWORDS = new Set(['type', 'properties', 'items', 'required', 'enum', 'const', 'default', 'title', 'description', 'examples', 'format', 'pattern', 'nullable',
  'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf', 'minLength', 'maxLength', 'minItems', 'maxItems', 'uniqueItems', 'minProperties',
  'maxProperties', 'additionalProperties', 'patternProperties', 'propertyNames', 'anyOf', 'oneOf', 'allOf', 'not', 'if', 'then', 'else', 'definitions'])

/** Whether an object is a JSON Schema, or too similar to one to be content. */
function isJsonSchema (value: Record<string, unknown>): boolean {
  const { type, properties } = value
  if (typeof value.$schema === 'string' || typeof value.$ref === 'string') return true
  const names = Object.keys(value)
  const isType = [type].flat().some((name) => JSON_TYPES.includes(name as string))
  if (isType && (isObject(properties) || names.every((name) => KEYWORDS.has(name) || name.startsWith('$')))) return true
  if (type !== undefined) return false
  const isList = (list: unknown) => Array.isArray(list) && list.length > 0 && list.every(isObject)
  if ([value.anyOf, value.oneOf, value.allOf].some(isList)) return true
  return isObject(properties) && Object.values(properties).some((member) => isObject(member) && isJsonSchema(member))
}

/** TypeBox interprets the schema: its compiler needs `new Function`, which a process may forbid. */
function preparedTypeBox (schema: TSchema): ContentSchema | { problem: string } {
  if (!TypeGuard.IsSchema(schema)) return { problem: 'is not a TypeBox schema of @sinclair/typebox 0.34' }
  const parts = [...partsOf(schema)]
  const typeBox = typeBoxFor(parts)
  if ('problem' in typeBox) return typeBox
  const { Value } = typeBox
  const completes = parts.some((part) => 'default' in part)
  const checked = (content: unknown): Checked => {
    const problem = problemIn(schema, content, { root: 'content', isPrivate: true }, Value)
    return problem === undefined ? { content } : { problem }
  }
  const isRequired = TypeGuard.IsObject(schema) && !TypeGuard.IsOptional(schema)
  return {
    mayWait: false,
    check (content) {
      try {
        // Defaults are written into a copy, so that the response stays unchanged.
        return checked(completes && typeof content === 'object' ? Value.Default(schema, copyOf(content)) : content)
      } catch (thrown) {
        return { problem: whyNot(thrown) }
      }
    },
    standIn () {
      const made = checked(Value.Default(schema, TypeGuard.IsObject(schema) ? {} : undefined))
      return made.problem === undefined || isRequired ? made : { content: undefined }
    }
  }
}

/** JSON.parse takes thousands of levels that a copy cannot. */
const whyNot = (thrown: unknown) => thrown instanceof RangeError ? 'it is nested too deeply' : 'it cannot be checked'

/** A schema and all schemas in it. */
function * partsOf (value: unknown): Generator<TSchema> {
  if (typeof value !== 'object' || value === null) return
  if (Kind in value) yield value as TSchema
  for (const [key, member] of Object.entries(value)) if (key !== 'default') yield * partsOf(member)
}
