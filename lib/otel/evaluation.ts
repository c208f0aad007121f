/** `feature_flag.evaluation`, as the semantic conventions for feature flags describe it. */
import type { Attributes } from '@opentelemetry/api'
import type { OfferMessage } from '../diagnostics.ts'
import type { OfferReason } from '../offers/offer.ts'

/** Name of the event. */
export const FEATURE_FLAG_EVALUATION = 'feature_flag.evaluation'

/** at.js's name for the mbox of a page load. */
const PAGE_LOAD_KEY = 'target-global-mbox'

/** `feature_flag.result.reason` by the plugin's own. */
const REASONS: Record<OfferReason, string> = {
  matched: 'targeting_match',
  overridden: 'static',
  'no-offer': 'default',
  'not-requested': 'default',
  'opted-out': 'disabled',
  timeout: 'error',
  'max-wait': 'error',
  'breaker-open': 'error',
  overload: 'error',
  'not-ready': 'error',
  'invalid-content': 'error',
  aborted: 'error',
  error: 'error'
}

/** Attributes of the event. Without `feature_flag.context.id`, which would be the visitor's, and without the content. */
export function evaluationOf ({ mbox, view, reason, source, activity, experience, error, waited }: OfferMessage): Attributes {
  const result = REASONS[reason as OfferReason] ?? 'unknown'
  return {
    'feature_flag.key': mbox ?? view ?? PAGE_LOAD_KEY,
    'feature_flag.provider.name': 'adobe-target',
    'feature_flag.result.reason': result,
    'feature_flag.result.variant': experience?.name ?? experience?.id,
    'error.type': result === 'error' ? (error?.code.replace('FST_TARGET_', '').toLowerCase() ?? reason.replaceAll('-', '_')) : undefined,
    'adobe_target.reason': reason,
    'adobe_target.source': source,
    'adobe_target.activity.id': activity?.id,
    'adobe_target.activity.name': activity?.name,
    'adobe_target.waited_ms': waited
  }
}
