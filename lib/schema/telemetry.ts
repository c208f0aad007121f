/**
 * How earlier calls went, reported along with a later one.
 *
 * Source: Adobe Target Delivery API 1.0, OpenAPI.
 */
import { Type, type Static } from '@sinclair/typebox'
import { choice, open } from './shape.ts'

/** Where a decision is made. */
export const DecisioningMethod = choice(['server-side', 'on-device', 'hybrid'], 'Where the decision is made.')
export type DecisioningMethod = Static<typeof DecisioningMethod>

/** Where a request was decided. */
export const ExecutionMode = choice(['edge', 'local'], 'Where the request was answered.')
export type ExecutionMode = Static<typeof ExecutionMode>

/** The contents of a request. */
export const TelemetryFeatures = Type.Object({
  decisioningMethod: Type.Optional(DecisioningMethod),
  executeMboxCount: Type.Optional(Type.Integer({ description: 'Number of executed mboxes.' })),
  executePageLoad: Type.Optional(Type.Boolean({ description: 'Whether the page load was executed.' })),
  prefetchMboxCount: Type.Optional(Type.Integer({ description: 'Number of prefetched mboxes.' })),
  prefetchPageLoad: Type.Optional(Type.Boolean({ description: 'Whether the page load was prefetched.' })),
  prefetchViewCount: Type.Optional(Type.Integer({ description: 'Number of prefetched views.' }))
}, { ...open, description: 'The contents of the request.' })
export type TelemetryFeatures = Static<typeof TelemetryFeatures>

/** The durations of a call's steps, in milliseconds. */
export const TelemetryRequest = Type.Object({
  dns: Type.Optional(Type.Number({ description: 'DNS lookup, ms.' })),
  tls: Type.Optional(Type.Number({ description: 'TLS handshake, ms.' })),
  timeToFirstByte: Type.Optional(Type.Number({ description: 'Time to the first byte, ms.' })),
  download: Type.Optional(Type.Number({ description: 'Download, ms.' })),
  responseSize: Type.Optional(Type.Integer({ description: 'Size of the response, bytes.' }))
}, { ...open, description: 'The durations of the steps of a call.' })
export type TelemetryRequest = Static<typeof TelemetryRequest>

/** One earlier call. */
export const TelemetryEntry = Type.Object({
  requestId: Type.Optional(Type.String({ description: 'Id of that request.' })),
  timestamp: Type.Optional(Type.Integer({ description: 'When, milliseconds since the epoch.' })),
  mode: Type.Optional(ExecutionMode),
  execution: Type.Optional(Type.Number({ description: 'Duration, ms.' })),
  parsing: Type.Optional(Type.Number({ description: 'Parsing of the response, ms.' })),
  features: Type.Optional(TelemetryFeatures),
  request: Type.Optional(TelemetryRequest),
  telemetryServerToken: Type.Optional(Type.String({ description: 'Token of that response, sent back unchanged.' }))
}, { ...open, description: 'One earlier call.' })
export type TelemetryEntry = Static<typeof TelemetryEntry>

/** Earlier calls. */
export const Telemetry = Type.Object({
  entries: Type.Optional(Type.Array(TelemetryEntry, { description: 'Earlier calls.' }))
}, { ...open, description: 'Earlier calls.' })
export type Telemetry = Static<typeof Telemetry>
