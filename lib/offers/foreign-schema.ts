/**
 * Schemas that are not checked by this package's own TypeBox: a Standard Schema checks itself, a JSON Schema (also of TypeBox 1) is
 * compiled by the app's own Fastify. Either may take time.
 */
import { isThenable } from '../diagnostics.ts'
import { isObject, pathOf } from '../validation.ts'
import { after, type Checked, type ContentSchema, type MaybePromise } from './checks.ts'

/** Compiles a JSON Schema into one of Fastify's validators. May throw. */
export type CompileSchema = (schema: object) => Validator

/** A validator as Fastify accepts it: of Ajv, or of any other library. */
export interface Validator {
  (content: unknown): unknown
  errors?: readonly { instancePath?: string, message?: string }[] | null
}

/** A copy of content that a schema may write to, so that the response stays unchanged. */
export const copyOf = (content: unknown): unknown => typeof content === 'object' ? structuredClone(content) : content

interface Issue { message?: string, path?: readonly (PropertyKey | { key: PropertyKey })[] }

/** Prepares a Standard Schema. Its messages may contain values, so only those about the app's own data are shown. */
export function preparedStandard (schema: { '~standard': { validate (value: unknown): unknown } }): ContentSchema {
  const standard = schema['~standard']
  const check = (content: unknown, isOwn = false) => guarded(() => after(standard.validate(copyOf(content)), (result): Checked => {
    const { issues, value } = result as { issues?: readonly Issue[], value?: unknown }
    if (issues === undefined || issues === null || issues.length === 0) return { content: value }
    const { message, path = [] } = issues[0]!
    return { problem: problemAt(path.map((part) => String(typeof part === 'object' ? part.key : part)), isOwn ? message : undefined) }
  }))
  return {
    mayWait: true,
    check,
    standIn: () => after(check(undefined), (none) => none.problem === undefined
      ? none
      : after(check({}, true), (made) => made.problem === undefined
        ? (isObject(made.content) ? made : { content: undefined })
        // Said of a member: an object is expected. Of the whole: something else.
        : (made.problem.startsWith('`content.') || made.problem.startsWith('`content[') ? made : { content: undefined })))
  }
}

/** Prepares a JSON Schema with the app's own compiler. */
export function preparedJson (schema: object, compile: CompileSchema): ContentSchema | { problem: string } {
  const { default: given, ...rest } = schema as { type?: unknown, properties?: unknown, default?: unknown }
  const { type, properties } = rest
  let validate: Validator
  try {
    // Ajv has no use for the default of a whole, and in its strict mode refuses it.
    validate = compile(given === undefined ? schema : rest)
  } catch (error) {
    return { problem: `cannot be compiled by the app's validator: ${(error as Error).message}` }
  }
  const isRequired = (type === 'object' || isObject(properties)) && !('~optional' in schema)
  const check = (content: unknown, isOwn = false) => guarded(() => {
    // Ajv would convert the whole of it, and have nowhere to put the result.
    if (typeof content === 'string' && typeof type === 'string' && type !== 'string') return { problem: `\`content\` must be ${type}` }
    const copy = copyOf(content)
    return after(validate(copy), (result): Checked => {
      const outcome = (typeof result === 'object' && result !== null ? result : {}) as { error?: unknown, value?: unknown }
      if (result === false) {
        const [{ instancePath = '', message } = {}] = validate.errors ?? []
        return { problem: problemAt(instancePath.split('/').slice(1), message) }
      }
      const error = result instanceof Error ? result : outcome.error
      if (error !== undefined && error !== null) return { problem: problemAt([], isOwn ? (error as Error).message : undefined) }
      return { content: outcome.value ?? copy }
    })
  })
  return {
    mayWait: true,
    check,
    standIn () {
      if (given !== undefined) return check(given, true)
      return isRequired || type === 'object' ? after(check({}, true), (made) => made.problem === undefined || isRequired ? made : { content: undefined }) : { content: undefined }
    }
  }
}

function problemAt (path: readonly string[], message: string | undefined): string {
  return `\`${pathOf('content', path)}\` ${message === undefined ? 'does not match the schema' : `does not match the schema (${message})`}`
}

/** A check that throws or rejects has not passed. JSON.parse takes thousands of levels that a copy cannot. */
function guarded (check: () => MaybePromise<Checked>): MaybePromise<Checked> {
  const failed = (thrown: unknown): Checked => ({ problem: thrown instanceof RangeError ? 'it is nested too deeply' : 'it cannot be checked' })
  try {
    const checked = check()
    return isThenable(checked) ? checked.catch(failed) : checked
  } catch (thrown) {
    return failed(thrown)
  }
}
