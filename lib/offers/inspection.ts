/**
 * What the inspector, a separate entry, may do to a page: force offers for one browser, and request traces. None of it
 * is used unless the inspector is registered; otherwise it costs a page one read.
 */
import type { Option } from '../schema/index.ts'
import { failure, type TargetError } from '../errors.ts'
import { offerOf, type Offer, type OfferContent } from './offer.ts'

/** What one browser gets instead of Target's offer. */
export type ForcedOffer =
  /** These options; an empty list is no offer. */
  | { readonly kind: 'options', readonly options: readonly Option[] }
  /** A simulated failure of Target: a timeout, or an HTTP status. */
  | { readonly kind: 'fault', readonly fault: 'timeout' | number }

/** Everything that is forced on one page. While there is anything, nothing of the page is counted. */
export interface PageOverrides {
  /** What is forced for an mbox; for page load and views if that is undefined. */
  find (mbox: string | undefined): ForcedOffer | undefined
}

/** The inspector's instructions for a page, before its first call. */
export interface PageInspection {
  readonly overrides?: PageOverrides | undefined
  /** Short-lived token from Target's user interface: the page's calls request a trace. */
  readonly traceToken?: string | undefined
}

/** The inspector, as a plugin instance knows it. Its methods must not throw. */
export interface Inspector {
  /** Called once per request that uses Target. */
  inspect (request: object): PageInspection | undefined
  /** The markup of `request.target.toolbar()`. */
  toolbar (request: object, nonce: string | undefined): string
}

/** An offer that was forced. */
export function forcedOffer<Fallback> ({ options }: ForcedOffer & { kind: 'options' }, fallback: Fallback): Offer<OfferContent, Fallback> {
  return { ...offerOf([{ options: [...options] }], 'edge', fallback), source: 'override', reason: 'overridden' }
}

/** The error that a forced fault stands for. */
export function forcedError (fault: 'timeout' | number, timeout: number): TargetError {
  return fault === 'timeout'
    ? failure('FST_TARGET_TIMEOUT', 'forced by the inspector', { meta: { phase: 'headers', attempts: 1, elapsed: timeout } })
    : failure('FST_TARGET_HTTP', `${fault}, forced by the inspector`, { meta: { phase: 'answer', status: fault, attempts: 1, elapsed: 0 } })
}
