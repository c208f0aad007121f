/**
 * The kinds of schema that content may be checked against, as types: TypeBox 0.34, TypeBox 1, every Standard Schema (Zod, Valibot,
 * ArkType and others), and JSON Schema. Their libraries are not imported: each is known by its shape, so that any version fits.
 *
 * @see https://standardschema.dev
 */
import type { Static, TObject, TOptional, TSchema } from '@sinclair/typebox'

/** A Standard Schema of version 1. */
export interface StandardSchema {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => unknown
    readonly types?: { readonly input: unknown, readonly output: unknown } | undefined
  }
}

/** A schema of TypeBox 1, the package `typebox`. */
export interface TypeBox1Schema { readonly '~kind': string }

type JsonType = 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean' | 'null'

/** A JSON Schema; written inline or `as const`, it types its content. */
export type JsonSchema =
  | {
    readonly type: JsonType | readonly JsonType[]
    readonly properties?: Readonly<Record<string, JsonSchema>>
    readonly items?: JsonSchema | boolean
    readonly required?: readonly string[]
    readonly [keyword: string]: unknown
  }
  | { readonly $schema: string, readonly [keyword: string]: unknown }
  | { readonly $ref: string, readonly [keyword: string]: unknown }
  | { readonly anyOf: readonly object[], readonly [keyword: string]: unknown }
  | { readonly oneOf: readonly object[], readonly [keyword: string]: unknown }
  | { readonly allOf: readonly object[], readonly [keyword: string]: unknown }
  | { readonly enum: readonly unknown[], readonly [keyword: string]: unknown }
  | { readonly const: unknown, readonly [keyword: string]: unknown }

/** A schema of any of these kinds. */
export type AnySchema = TSchema | StandardSchema | TypeBox1Schema | JsonSchema

/** The content that a schema describes. */
export type ContentOf<Schema> =
  Schema extends StandardSchema ? NonNullable<Schema['~standard']['types']>['output']
    : Schema extends TSchema ? Static<Schema>
      : JsonContent<Schema>

type JsonContent<Schema> =
  Schema extends { readonly const: infer Value } ? Value
    : Schema extends { readonly enum: readonly (infer Value)[] } ? Value
      : Schema extends { readonly anyOf: readonly (infer Option)[] } ? JsonContent<Option>
        : Schema extends { readonly oneOf: readonly (infer Option)[] } ? JsonContent<Option>
          : Schema extends { readonly type: 'string' } ? string
            : Schema extends { readonly type: 'number' | 'integer' } ? number
              : Schema extends { readonly type: 'boolean' } ? boolean
                : Schema extends { readonly type: 'null' } ? null
                  : Schema extends { readonly type: 'array', readonly items: infer Item } ? JsonContent<Item>[]
                    : Schema extends { readonly type: 'array' } ? unknown[]
                      : Schema extends { readonly properties: infer Properties } ? JsonObject<Properties, RequiredOf<Schema>>
                        : Schema extends { readonly patternProperties: Readonly<Record<string, infer Value>> } ? Record<string, JsonContent<Value>>
                          : Schema extends { readonly type: 'object' } ? Record<string, unknown> : unknown

/** Names of the required members. They are unknown unless the schema was written `as const`. */
type RequiredOf<Schema> = Schema extends { readonly required: readonly (infer Name)[] } ? string extends Name ? never : Name : never

/** A member with a default is always present. */
type IsThere<Member, Name, Required> = Name extends Required ? true : Member extends { readonly default: unknown } ? true : false

type JsonObject<Properties, Required> = Simplify<
  { -readonly [Name in keyof Properties as IsThere<Properties[Name], Name, Required> extends true ? Name : never]: JsonContent<Properties[Name]> } &
  { -readonly [Name in keyof Properties as IsThere<Properties[Name], Name, Required> extends true ? never : Name]?: JsonContent<Properties[Name]> }
>

type Simplify<Type> = { [Name in keyof Type]: Type[Name] } & {}

/** The type of missing content, by the schema alone, in addition to the content's own type. */
export type OtherwiseOf<Schema> =
  Schema extends StandardSchema
    ? undefined extends NonNullable<Schema['~standard']['types']>['input'] ? never
      : [ContentOf<Schema>] extends [object] ? never : undefined
    : Schema extends TOptional<TSchema> ? undefined
      : Schema extends { readonly '~optional': true } ? undefined
        : Schema extends TObject | { readonly type: 'object' } ? never : undefined
