/**
 * Hooks for `@opentelemetry/instrumentation-undici`. The Delivery API wants the visitor's session id in the query string, and
 * that instrumentation writes whole addresses into its spans.
 */
import type { Attributes } from '@opentelemetry/api'

/** The members of undici's request that are read here. */
export interface UndiciRequestLike {
  origin: string | URL
  path: string
}

/**
 * Whether a request is a call of the Delivery API or of the Edge Network. As `ignoreRequestHook`, it leaves these calls to `adobe_target.delivery`, and
 * sends Adobe no `traceparent` and no `baggage`.
 */
export const isDeliveryRequest = ({ path }: UndiciRequestLike): boolean => DELIVERY.test(path)

/** The Delivery API; of the Edge Network, whose base path may be the app's own, the calls that this plugin makes. */
const DELIVERY = /^\/rest\/v1\/delivery|\/v2\/(?:interact|collect)\?datastreamId=/

/**
 * As `startSpanHook`: attributes in place of those with the query string, for these calls; none for other requests.
 */
export function withoutQuery (request: UndiciRequestLike): Attributes {
  if (!isDeliveryRequest(request)) return {}
  const { origin, pathname } = new URL(request.path, request.origin)
  return { 'url.full': origin + pathname, 'url.query': '' }
}
