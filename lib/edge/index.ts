/** The local edge, published as `fastify-adobe-target/edge`. */
export { createEdge } from './create-edge.ts'
export type { EdgeOptions, TargetEdge } from './create-edge.ts'
export type { FaultKind, FaultOptions, FaultRoute } from './faults.ts'
export type { FixedContent, FixedOfferOptions, FixedVisitor } from './fixed-offers.ts'
export type { Place } from './place.ts'
export type { QaLink } from './qa.ts'
export type { RecordedRequest } from './recorder.ts'
export type { Variant, VariantVisitor } from './visitor-for.ts'
