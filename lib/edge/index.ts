/** The local edge, published as `fastify-adobe-target/edge`. */
export { createEdge } from './create-edge.ts'
export type { EdgeOptions, TargetEdge } from './create-edge.ts'
export type { FaultKind, FaultOptions, FaultRoute } from './testing/faults.ts'
export type { FixedContent, FixedOfferOptions, FixedVisitor } from './testing/offer-input.ts'
export type { Place } from './testing/place.ts'
export type { QaLink } from './qa.ts'
export type { RecordedOrder, RecordedRequest } from './testing/recorder.ts'
export type { Variant, VariantVisitor } from './testing/visitor-for.ts'
