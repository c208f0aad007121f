/** The local edge, published as `fastify-adobe-target/edge`. */
export { createEdge } from './create-edge.ts'
export type { EdgeOptions, TargetEdge } from './create-edge.ts'
export type { FaultKind, FaultOptions, FaultRoute } from './faults.ts'
export type { RecordedRequest } from './recorder.ts'
