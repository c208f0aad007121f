/**
 * From a Delivery API response to what pages use: offers with their reason.
 */
import type { AnalyticsResponse, DeliveryResponse, MboxResponse, Metric, Option, OptionType, PageLoadResponse, ResponseTokens, View } from '../schema/index.ts'
import type { TargetError, TargetErrorCode } from '../errors.ts'

/** Content of an option: a string for html, a URL for redirect and dynamic, an object for json, a list for actions. */
export type OfferContent = string | Record<string, unknown> | unknown[]

/** The source of an offer. */
export type OfferSource = 'edge' | 'on-device' | 'default' | 'override'

/**
 * Why an offer is what it is. `matched` is Target's offer, `overridden` was forced for this browser by the inspector; with all
 * others the content is the fallback. With an `error`: `timeout`, `breaker-open`, `overload`, `not-ready`, `aborted`, `error`.
 */
export type OfferReason =
  'matched' | 'no-offer' | 'timeout' | 'max-wait' | 'breaker-open' | 'overload' | 'not-ready' | 'invalid-content' |
  'aborted' | 'error' | 'not-requested' | 'opted-out' | 'overridden'

/** Target's decision for one place, or the reason why there is none. */
export interface Offer<Content = OfferContent, Fallback = undefined> {
  /** Content of the first option that has any, or the fallback. */
  content: Content | Fallback
  /** Kind of the content; undefined for a fallback. */
  type: OptionType | undefined
  /** All options of all entries with that name. */
  options: Option[]
  /** Clicks that can be reported, with their event tokens. */
  metrics: Metric[]
  /** Response tokens of the option that the content comes from. */
  responseTokens: ResponseTokens
  /** Analytics payload, with `client_side` logging. */
  analytics: AnalyticsResponse | undefined
  source: OfferSource
  reason: OfferReason
  /** The error behind the reason, if any. */
  error?: TargetError
}

/** The offer of an mbox. */
export interface MboxOffer<Content = OfferContent, Fallback = undefined> extends Offer<Content, Fallback> {
  mbox: string
}

/** The offer of a view. */
export interface ViewOffer<Fallback = undefined> extends Offer<OfferContent, Fallback> {
  view: string
}

type Entry = MboxResponse | PageLoadResponse | View

const REASONS: Partial<Record<TargetErrorCode, OfferReason>> = {
  FST_TARGET_TIMEOUT: 'timeout',
  FST_TARGET_BREAKER_OPEN: 'breaker-open',
  FST_TARGET_OVERLOAD: 'overload',
  FST_TARGET_NOT_READY: 'not-ready',
  FST_TARGET_ABORTED: 'aborted',
  FST_TARGET_CLOSED: 'aborted'
}

/** An offer without content from Target: the fallback and its reason. */
export function fallbackOffer<Fallback> (fallback: Fallback, reason: OfferReason, error?: TargetError): Offer<never, Fallback> {
  return { content: fallback, type: undefined, options: [], metrics: [], responseTokens: {}, analytics: undefined, source: 'default', reason, ...(error !== undefined && { error }) }
}

/** The fallback for a failed call. */
export function failedOffer<Fallback> (fallback: Fallback, error: TargetError): Offer<never, Fallback> {
  return fallbackOffer(fallback, REASONS[error.code] ?? 'error', error)
}

/** Whether an option has content to show. */
export const hasContent = (option: Option) => option.content !== undefined && option.content !== null

/** Merges entries of a response into one offer; executed ones come first. */
export function offerOf<Fallback> (entries: readonly Entry[], source: 'edge' | 'on-device', fallback: Fallback): Offer<OfferContent, Fallback> {
  const options = entries.length === 1 ? entries[0]!.options ?? [] : entries.flatMap((entry) => entry.options ?? [])
  const metrics = entries.length === 1 ? entries[0]!.metrics ?? [] : entries.flatMap((entry) => entry.metrics ?? [])
  const analytics = entries.find((entry) => entry.analytics !== undefined)?.analytics
  const option = options.find(hasContent)
  if (option === undefined) return { ...fallbackOffer(fallback, 'no-offer'), options, metrics, analytics }
  return {
    content: option.content as OfferContent,
    type: option.type,
    options,
    metrics,
    responseTokens: option.responseTokens ?? {},
    analytics,
    source,
    reason: 'matched'
  }
}

/** Entries of an mbox, executed before prefetched. */
export function mboxEntries (response: DeliveryResponse, mbox: string): MboxResponse[] {
  const entries: MboxResponse[] = []
  for (const entry of response.execute?.mboxes ?? []) if (entry.name === mbox) entries.push(entry)
  for (const entry of response.prefetch?.mboxes ?? []) if (entry.name === mbox) entries.push(entry)
  return entries
}

/** The page load's entries, executed before prefetched. */
export function pageLoadEntries (response: DeliveryResponse): PageLoadResponse[] {
  return [response.execute?.pageLoad, response.prefetch?.pageLoad].filter((entry) => entry !== undefined)
}
