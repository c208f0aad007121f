/** The json offer of the mbox `checkout-flags`. Without Target, or with an offer that does not fit, the defaults count. */
import { Type, type Static } from '@sinclair/typebox'

export const CheckoutFlagsSchema = Type.Object({
  /** Delivery the next day. */
  express: Type.Boolean({ default: false }),
  /** Euros. */
  freeShippingFrom: Type.Number({ default: 100 }),
  /** Prices show what they were before. */
  showSavings: Type.Boolean({ default: false })
})

export type CheckoutFlags = Static<typeof CheckoutFlagsSchema>
