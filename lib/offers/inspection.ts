/**
 * What the inspector, an entry of its own, may do to a page: force offers for one browser, and ask for traces. Nothing of it
 * is in use unless that is registered; without it a page pays for one read.
 */
import type { Option } from '../schema/index.ts'
import { failure, type TargetError } from '../errors.ts'
import { offerOf, type Offer, type OfferContent } from './offer.ts'

/** What one browser gets in place of Target's offer. */
export type ForcedOffer =
  /** These options; an empty list is no offer. */
  | { readonly kind: 'options', readonly options: readonly Option[] }
  /** What an error of Target's does to the page: a timeout, or an HTTP status. */
  | { readonly kind: 'fault', readonly fault: 'timeout' | number }

/** Everything that is forced on one page. While there is anything, nothing of the page is counted. */
export interface PageOverrides {
  /** What is forced for an mbox; undefined asks for what is forced for page load and views. */
  find (mbox: string | undefined): ForcedOffer | undefined
}

/** What the inspector has to say about a page, before its first call. */
export interface PageInspection {
  readonly overrides?: PageOverrides | undefined
  /** Short-lived token of Target's user interface: the page's calls ask for a trace. */
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
