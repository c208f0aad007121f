/**
 * How the schemas of the Delivery API are built, so that one definition serves ajv in a Fastify route, TypeBox `Value`,
 * Fastify's serializer and the TypeScript type.
 */
import { Type } from '@sinclair/typebox'

/**
 * Object option: members that the schema does not name are kept. Adobe adds members without a new API version, ajv's
 * `removeAdditional` must not strip them from a request, and Fastify's serializer would drop them from an answer.
 */
export const open = { additionalProperties: true } as const

/**
 * One of a few strings: `{ type: 'string', enum }`, typed as their union.
 *
 * The pattern says the same once more, because TypeBox's own check of a string does not know `enum`.
 */
export const choice = <Value extends string>(values: readonly Value[], description: string) =>
  Type.Unsafe<Value>(Type.String({ enum: values, pattern: `^(?:${values.join('|')})$`, description }))
