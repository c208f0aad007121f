/**
 * Reports of what was displayed or clicked.
 *
 * Source: Adobe Target Delivery API 1.0, OpenAPI.
 */
import { Type, type Static } from '@sinclair/typebox'
import { RequestDetails } from './details.ts'
import { MAX_MBOX_NAME, MAX_VIEW_NAME } from './limits.ts'
import { choice, open } from './shape.ts'

/** The kind of event. */
export const MetricType = choice(['click', 'display'], 'What happened.')
export type MetricType = Static<typeof MetricType>

/** The mbox of the event. */
export const NotificationMbox = Type.Object({
  name: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_MBOX_NAME, description: 'Mbox name.' })),
  state: Type.Optional(Type.String({ description: 'State of the prefetched mbox, sent back unchanged.' }))
}, { ...open, description: 'The mbox of the event.' })
export type NotificationMbox = Static<typeof NotificationMbox>

/** The view of the event. */
export const NotificationView = Type.Object({
  name: Type.Optional(Type.String({ maxLength: MAX_VIEW_NAME, description: 'View name.' })),
  key: Type.Optional(Type.String({ maxLength: 512, description: 'View key, for fingerprinted views.' })),
  state: Type.Optional(Type.String({ description: 'State of the prefetched view, sent back unchanged.' }))
}, { ...open, description: 'The view of the event.' })
export type NotificationView = Static<typeof NotificationView>

/** The page load of the event. */
export const NotificationPageLoad = Type.Object({
  state: Type.Optional(Type.String({ description: 'State of the prefetched page load, sent back unchanged.' }))
}, { ...open, description: 'The page load of the event.' })
export type NotificationPageLoad = Static<typeof NotificationPageLoad>

/** One display or click; the response contains its `id` if it was counted. */
export const Notification = Type.Object({
  ...RequestDetails.properties,
  id: Type.String({ maxLength: 200, description: 'Returned in the response if the notification was processed.' }),
  impressionId: Type.Optional(Type.String({ maxLength: 128, description: 'A repeat of an earlier one does not count as an impression again.' })),
  type: MetricType,
  timestamp: Type.Integer({ description: 'When it happened, milliseconds since the epoch.' }),
  tokens: Type.Optional(Type.Array(Type.String(), { description: 'Event tokens of what was displayed or clicked.' })),
  mbox: Type.Optional(NotificationMbox),
  view: Type.Optional(NotificationView),
  pageLoad: Type.Optional(NotificationPageLoad)
}, { ...open, description: 'One display or click.' })
export type Notification = Static<typeof Notification>
