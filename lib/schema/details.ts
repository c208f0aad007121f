/**
 * The members common to page loads, mboxes, views and notifications.
 *
 * Source: Adobe Target Delivery API 1.0, OpenAPI; lengths: limits.ts.
 */
import { Type, type Static } from '@sinclair/typebox'
import { Address } from './context.ts'
import {
  MAX_CATEGORY_ID, MAX_ORDER_ID, MAX_PARAMETER_NAME, MAX_PARAMETER_VALUE, MAX_PARAMETERS, MAX_PRODUCT_ID,
  MAX_PROFILE_PARAMETER_VALUE, MAX_PROFILE_PARAMETERS, MAX_PURCHASED_PRODUCT_ID
} from './limits.ts'
import { open } from './shape.ts'

const parameters = (maxProperties: number, maxLength: number, description: string) => Type.Record(
  Type.String({ pattern: `^(?!profile\\.)(?!\\s*$)[\\s\\S]{1,${MAX_PARAMETER_NAME}}$` }),
  Type.String({ maxLength }),
  { maxProperties, additionalProperties: Type.Never(), description }
)

/**
 * Parameters by name, at most 100: names of 1 to 128 characters, not blank, not starting with `profile.`; values of at most
 * 5000 characters.
 *
 * A bad name fails instead of being removed: `additionalProperties` is a schema that nothing fulfils and not `false`,
 * which ajv with Fastify's `removeAdditional` would strip.
 */
export const Parameters = parameters(MAX_PARAMETERS, MAX_PARAMETER_VALUE, 'Parameters by name.')
export type Parameters = Static<typeof Parameters>

/** Profile parameters by name, at most 50: names as in {@link Parameters}, values of at most 256 characters. */
export const ProfileParameters = parameters(MAX_PROFILE_PARAMETERS, MAX_PROFILE_PARAMETER_VALUE, 'Profile parameters by name.')
export type ProfileParameters = Static<typeof ProfileParameters>

/** A purchase. */
export const Order = Type.Object({
  id: Type.Optional(Type.String({ maxLength: MAX_ORDER_ID, description: 'Order id.' })),
  total: Type.Optional(Type.Number({ minimum: 0, description: 'Amount of money.' })),
  purchasedProductIds: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: MAX_PURCHASED_PRODUCT_ID }), {
    description: 'Product ids; joined by commas at most 250 characters.'
  })),
  time: Type.Optional(Type.String({
    pattern: '^\\d{4}-\\d{2}-\\d{2}[Tt]\\d{2}:\\d{2}:\\d{2}(?:\\.\\d+)?(?:[Zz]|[+-]\\d{2}:\\d{2})$',
    description: 'When it was made, a date-time of RFC 3339.'
  })),
  experienceLocalId: Type.Optional(Type.Integer({ minimum: 0, maximum: 2147483647, description: 'The experience it counts for.' })),
  duplicate: Type.Optional(Type.Boolean({ description: 'Whether it was reported before.' })),
  outlier: Type.Optional(Type.Boolean({ description: 'Whether it is abnormally large or small.' }))
}, { ...open, description: 'A purchase.' })
export type Order = Static<typeof Order>

/** The product shown. */
export const Product = Type.Object({
  id: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_PRODUCT_ID, description: 'Product id.' })),
  categoryId: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_CATEGORY_ID, description: 'Category id.' }))
}, { ...open, description: 'The product shown.' })
export type Product = Static<typeof Product>

/** The members common to page loads, mboxes, views and notifications. */
export const RequestDetails = Type.Object({
  address: Type.Optional(Address),
  parameters: Type.Optional(Parameters),
  profileParameters: Type.Optional(ProfileParameters),
  order: Type.Optional(Order),
  product: Type.Optional(Product)
}, { ...open, description: 'Details that audiences can use.' })
export type RequestDetails = Static<typeof RequestDetails>
