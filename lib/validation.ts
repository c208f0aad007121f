/**
 * How options are described and checked: the pieces of their schema, and the errors for what does not fit.
 */
import { Kind, Type, TypeRegistry, type TObject, type TSchema } from '@sinclair/typebox'
import { Value, ValueErrorType, type ValueError } from '@sinclair/typebox/value'
import { inspect } from 'node:util'
import { failure } from './errors.ts'

TypeRegistry.Set('fastify-adobe-target:method-holder', (schema: { methods: string[] }, value) =>
  (typeof value === 'object' || typeof value === 'function') && value !== null && schema.methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function'))

/** An object of any class that has some methods. It is passed on as it is. */
export const withMethods = (methods: string[], description: string): TSchema => ({ [Kind]: 'fastify-adobe-target:method-holder', methods, description } as unknown as TSchema)

export const text = (pattern: string, description: string) => Type.String({ pattern, description })
export const milliseconds = (description = 'a number of ms above 0') => Type.Number({ exclusiveMinimum: 0, maximum: 2 ** 31 - 1, description })
export const wait = Type.Number({ minimum: 0, maximum: 2 ** 31 - 1, description: 'a number of ms, 0 or more' })
export const count = Type.Integer({ minimum: 1, description: 'a whole number from 1' })
export const flag = Type.Boolean({ description: 'true or false' })
export const oneOf = (values: unknown[], description: string) => Type.Unsafe({ ...Type.Union(values.map((value) => Type.Literal(value as string))), description })
export const fn = withMethods(['call'], 'a function of the request')
export const callback = withMethods(['call'], 'a function')
export const strict = { additionalProperties: false }

/** Options of Adobe's Node SDK that do not exist here, and what to use. */
const REPLACED: Record<string, string> = {
  fetchApi: 'use `dispatcher`, any undici Dispatcher (ProxyAgent, MockAgent, …)',
  maximumWaitReady: 'use `ready({ timeout })`',
  cdnEnvironment: 'use `artifactLocation`, the whole address of the artifact',
  cdnBasePath: 'use `artifactLocation`, the whole address of the artifact'
}

const isPlain = (value: unknown): value is Record<string, unknown> => {
  const prototype = typeof value === 'object' && value !== null ? Object.getPrototypeOf(value) : undefined
  return prototype === Object.prototype || (prototype === null && value !== null)
}

/** Options that are used as they are, though they may be plain objects. */
const PASSED_ON = ['artifactPayload', 'dispatcher', 'logger', 'request']

/** A copy of the options and of the plain objects in them, without undefined members. Nothing that is deeper is an option. */
function copyOptions (options: object, depth = 0): object {
  return Object.fromEntries(Object.entries(options).filter(([, member]) => member !== undefined).map(([name, member]) =>
    [name, depth === 0 && isPlain(member) && !PASSED_ON.includes(name) ? copyOptions(member, 1) : member]))
}

/**
 * Checks options against their schema and returns a copy of them.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option, what was given and what is allowed
 */
export function checkOptions<Options> (schema: TObject, given: unknown): Options {
  if (typeof given !== 'object' || given === null) throw failure('FST_TARGET_INVALID_OPTIONS', 'an object with `client` and `organizationId` is required')
  const options = copyOptions({ ...given }) as Options & Record<string, unknown>
  for (const [name, instead] of Object.entries(REPLACED)) {
    if (Object.hasOwn(options, name)) throw failure('FST_TARGET_INVALID_OPTIONS', `\`${name}\` is an option of Adobe's Node SDK that is not here: ${instead}`)
  }
  if (!Value.Check(schema, options)) throw failure('FST_TARGET_INVALID_OPTIONS', describe(schema, Value.Errors(schema, options).First()!))
  return options
}

/** Names the option, what was given and what is allowed. */
function describe (schema: TObject, error: ValueError): string {
  // Of several forms of one option, look into the object form, which knows the member.
  const problem = deepest(error)
  const path = problem.path.slice(1).split('/').filter((part) => part !== '')
  const name = `\`${path.join('.')}\``
  if (problem.type === ValueErrorType.ObjectAdditionalProperties) {
    const parent = schemaAt(schema, path.slice(0, -1))
    return `${name} is no option; there are ${Object.keys(parent?.properties ?? {}).join(', ')}`
  }
  const allowed = schemaAt(schema, path)?.description ?? problem.schema.description ?? problem.message
  if (problem.type === ValueErrorType.ObjectRequiredProperty) return `${name} is required: ${allowed}`
  return `${name} is ${inspect(problem.value, { depth: 0, breakLength: Infinity, maxStringLength: 80 })}; allowed is ${allowed}`
}

function deepest (error: ValueError): ValueError {
  for (const errors of error.errors) {
    const inner = errors.First()
    if (inner !== undefined && inner.path.length > error.path.length) return deepest(inner)
  }
  return error
}

function schemaAt (schema: TSchema, path: string[]): TSchema | undefined {
  return path.reduce<TSchema | undefined>((at, name) => {
    const object = at?.anyOf?.find((form: TSchema) => form.properties !== undefined) ?? at
    return object?.properties?.[name]
  }, schema)
}
