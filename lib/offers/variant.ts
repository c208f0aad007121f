/**
 * The key of a page's variant: the same for two visitors exactly when Target gave them the same offers.
 *
 * It is a digest of the offers as they are, and not of activities and experiences. Those are known only where response tokens name
 * them, stay the same when an offer is edited, and are shared by visitors for whom the edge fills in different content from their
 * profiles. Whatever the edge puts into an offer, visitors with different offers have different keys.
 */
import { hash } from 'node:crypto'
import { hasParameters } from '../decisioning/macros.ts'
import type { Option } from '../schema/index.ts'
import type { Displayed } from './notifications.ts'
import type { Offer, OfferContent } from './offer.ts'

/** Options of `variantKey()`. */
export interface VariantKeyOptions {
  /**
   * Whether the page shows nothing of the offers but their content: no response tokens, no event tokens, no Analytics payload. The
   * key then covers the type and the content of all options, and nothing else. Default: `false`
   */
  contentOnly?: boolean
}

/** An offer and its place. */
export interface PlacedOffer {
  readonly place: Displayed
  readonly offer: Offer<OfferContent, unknown>
}

/** Response tokens that identify a variant. All others describe the visitor: `profile.…`, `geo.…`, profile scripts. */
const VARIANT_TOKEN = /^(?:activity|experience|offer|option|location)\./

/** Characters of a key: 192 bits. */
const LENGTH = 32

/** The name of a place, for keys and sets. */
export const placeName = (place: Displayed): string => JSON.stringify(place)

/**
 * The key of some offers; their order does not matter.
 *
 * @throws RangeError if content is nested too deep
 */
export function keyOf (offers: readonly PlacedOffer[], contentOnly: boolean): string {
  const parts = offers.map(({ place, offer: { reason, options, metrics, analytics } }) => {
    const shown = contentOnly ? [options.map(({ type, content }) => [type, content])] : [options, metrics, analytics]
    return JSON.stringify([place, reason, ...shown])
  })
  return hash('sha256', JSON.stringify([...new Set(parts)].sort()), 'base64url').slice(0, LENGTH)
}

/** The part of an offer that is known to belong to one visitor; undefined if there is none. */
export function personalPart ({ options }: Offer<OfferContent, unknown>, contentOnly: boolean): PersonalPart | undefined {
  for (const option of options) {
    if (hasParameters(option)) return { kind: 'content', problem: 'parameters of the request are filled into its content' }
    if (option.type === 'dynamic') return { kind: 'content', problem: 'its content is of the type dynamic' }
    const token = contentOnly ? undefined : visitorToken(option)
    if (token !== undefined) return { kind: 'token', token }
  }
  return undefined
}

/** A part of an offer that belongs to one visitor. */
export type PersonalPart = { readonly kind: 'content', readonly problem: string } | { readonly kind: 'token', readonly token: string }

function visitorToken ({ responseTokens }: Option): string | undefined {
  return responseTokens === undefined ? undefined : Object.keys(responseTokens).find((name) => !VARIANT_TOKEN.test(name))
}
