/**
 * Responses of Target. Loose on purpose: nearly every member may be absent.
 *
 * Source: Adobe Target Delivery API 1.0, OpenAPI.
 */
import { Type, type Static } from '@sinclair/typebox'
import { VisitorId } from './identity.ts'
import { MetricType } from './notification.ts'
import { choice, open } from './shape.ts'

/** A JSON object with unknown members. */
const record = (description: string) => Type.Unsafe<Record<string, unknown>>(Type.Object({}, { ...open, description }))

/** The kind of an option's content. */
export const OptionType = choice(['html', 'json', 'redirect', 'dynamic', 'actions'], 'Kind of content.')
export type OptionType = Static<typeof OptionType>

/** One change to a page, made in Target's visual composer. */
export const Action = Type.Object({
  type: Type.Optional(Type.String({ description: 'What to do: setHtml, insertAfter, setStyle…' })),
  selector: Type.Optional(Type.String({ description: 'Selector in Target\'s own syntax (:eq).' })),
  cssSelector: Type.Optional(Type.String({ description: 'The same as a CSS selector.' })),
  content: Type.Optional(Type.Unsafe<string | Record<string, unknown>>(Type.Unknown({ description: 'A string or an object.' })))
}, { ...open, description: 'One change to a page.' })
export type Action = Static<typeof Action>

/** Values for response tokens, by token name; usually strings. */
export const ResponseTokens = record('Response tokens by name.')
export type ResponseTokens = Static<typeof ResponseTokens>

/** The trace, if it was requested. */
export const TraceResponse = record('The trace, when the request asked for one.')
export type TraceResponse = Static<typeof TraceResponse>

/** Payload that the page sends to Analytics after the content was applied. */
export const AnalyticsPayload = Type.Object({
  pe: Type.Optional(Type.String({ description: 'Event type; tnt for Target.' })),
  tnta: Type.Optional(Type.String({ description: 'Activity and experience, encoded.' }))
}, { ...open, description: 'Payload for Analytics.' })
export type AnalyticsPayload = Static<typeof AnalyticsPayload>

/** Analytics for Target with client_side logging. */
export const AnalyticsResponse = Type.Object({
  payload: Type.Optional(AnalyticsPayload)
}, { ...open, description: 'Analytics for Target, client_side.' })
export type AnalyticsResponse = Static<typeof AnalyticsResponse>

/**
 * The content of one offer.
 *
 * `content` is a string for html, a URL for redirect and dynamic, an object (or any JSON) for json, a list of actions for
 * actions. The schema takes any JSON there: a union of types would be rewritten by ajv's coercion of types.
 */
export const Option = Type.Object({
  type: Type.Optional(OptionType),
  content: Type.Optional(Type.Unsafe<string | Record<string, unknown> | unknown[]>(Type.Unknown({ description: 'A string, an object or a list, by type.' }))),
  eventToken: Type.Optional(Type.String({ description: 'To notify its display; only when prefetched.' })),
  responseTokens: Type.Optional(ResponseTokens)
}, { ...open, description: 'The content of one offer.' })
export type Option = Static<typeof Option>

/** An event to notify, usually a click. */
export const Metric = Type.Object({
  type: Type.Optional(MetricType),
  selector: Type.Optional(Type.String({ description: 'The element to click.' })),
  eventToken: Type.Optional(Type.String({ description: 'To notify the click.' })),
  analytics: Type.Optional(AnalyticsResponse)
}, { ...open, description: 'An event to notify.' })
export type Metric = Static<typeof Metric>

/** The executed or prefetched page load. */
export const PageLoadResponse = Type.Object({
  options: Type.Optional(Type.Array(Option, { description: 'Options to apply.' })),
  metrics: Type.Optional(Type.Array(Metric, { description: 'Clicks to notify.' })),
  analytics: Type.Optional(AnalyticsResponse),
  state: Type.Optional(Type.String({ description: 'To send back when its display is notified; only when prefetched.' })),
  trace: Type.Optional(TraceResponse)
}, { ...open, description: 'The page load.' })
export type PageLoadResponse = Static<typeof PageLoadResponse>

/** An executed mbox. Without a matching activity it has no options. */
export const MboxResponse = Type.Object({
  index: Type.Optional(Type.Integer({ description: 'The index of the request.' })),
  name: Type.Optional(Type.String({ description: 'Mbox name.' })),
  options: Type.Optional(Type.Array(Option, { description: 'Options to show.' })),
  metrics: Type.Optional(Type.Array(Metric, { description: 'Clicks to notify.' })),
  analytics: Type.Optional(AnalyticsResponse),
  trace: Type.Optional(TraceResponse)
}, { ...open, description: 'An executed mbox.' })
export type MboxResponse = Static<typeof MboxResponse>

/** A prefetched mbox. */
export const PrefetchMboxResponse = Type.Object({
  ...MboxResponse.properties,
  state: Type.Optional(Type.String({ description: 'To send back when its display is notified.' }))
}, { ...open, description: 'A prefetched mbox.' })
export type PrefetchMboxResponse = Static<typeof PrefetchMboxResponse>

/** A prefetched view. */
export const View = Type.Object({
  name: Type.Optional(Type.String({ maxLength: 128, description: 'View name.' })),
  key: Type.Optional(Type.String({ maxLength: 512, description: 'View key, for fingerprinted views.' })),
  options: Type.Optional(Type.Array(Option, { description: 'Options to apply.' })),
  metrics: Type.Optional(Type.Array(Metric, { description: 'Clicks to notify.' })),
  analytics: Type.Optional(AnalyticsResponse),
  state: Type.Optional(Type.String({ description: 'To send back when its display is notified.' })),
  trace: Type.Optional(TraceResponse)
}, { ...open, description: 'A prefetched view.' })
export type View = Static<typeof View>

/** The executed places. */
export const ExecuteResponse = Type.Object({
  pageLoad: Type.Optional(PageLoadResponse),
  mboxes: Type.Optional(Type.Array(MboxResponse, { description: 'The mboxes.' }))
}, { ...open, description: 'The executed places.' })
export type ExecuteResponse = Static<typeof ExecuteResponse>

/** The prefetched places. */
export const PrefetchResponse = Type.Object({
  views: Type.Optional(Type.Array(View, { description: 'The views.' })),
  pageLoad: Type.Optional(PageLoadResponse),
  mboxes: Type.Optional(Type.Array(PrefetchMboxResponse, { description: 'The mboxes.' })),
  metrics: Type.Optional(Type.Array(Metric, { description: 'Clicks of activities with views that belong to no view.' }))
}, { ...open, description: 'The prefetched places.' })
export type PrefetchResponse = Static<typeof PrefetchResponse>

/** A processed notification. One that is missing from the response was not processed. */
export const NotificationResponse = Type.Object({
  id: Type.Optional(Type.String({ description: 'Id of the notification.' })),
  trace: Type.Optional(TraceResponse)
}, { ...open, description: 'A processed notification.' })
export type NotificationResponse = Static<typeof NotificationResponse>

/** A Delivery API response. */
export const DeliveryResponse = Type.Object({
  status: Type.Optional(Type.Integer({ description: 'HTTP status.' })),
  requestId: Type.Optional(Type.String({ description: 'Id of the request.' })),
  id: Type.Optional(VisitorId),
  client: Type.Optional(Type.String({ description: 'Client code.' })),
  edgeHost: Type.Optional(Type.String({ description: 'The edge that responded; later calls should go there.' })),
  execute: Type.Optional(ExecuteResponse),
  prefetch: Type.Optional(PrefetchResponse),
  notifications: Type.Optional(Type.Array(NotificationResponse, { description: 'Processed notifications.' })),
  telemetryServerToken: Type.Optional(Type.String({ description: 'To send back in the next telemetry entry.' }))
}, { ...open, description: 'A Delivery API response.' })
export type DeliveryResponse = Static<typeof DeliveryResponse>

/** The response if the request was refused or the edge failed. */
export const UnexpectedError = Type.Object({
  status: Type.Integer({ description: 'HTTP status: 400 for a refused request, 500 for a failure of the edge.' }),
  message: Type.String({ description: 'The reason.' })
}, { ...open, description: 'An error.' })
export type UnexpectedError = Static<typeof UnexpectedError>
