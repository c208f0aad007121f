/**
 * What is asked of Target: `POST /rest/v1/delivery`.
 *
 * Source: Adobe Target Delivery API 1.0, OpenAPI.
 */
import { Type, type Static } from '@sinclair/typebox'
import { Context } from './context.ts'
import { RequestDetails } from './details.ts'
import { ExperienceCloud, VisitorId } from './identity.ts'
import { MAX_MBOX_NAME, MAX_VIEW_NAME, SESSION_ID } from './limits.ts'
import { Notification } from './notification.ts'
import { open } from './shape.ts'
import { Telemetry } from './telemetry.ts'

/** The Target property (`at_property`) that limits which activities count. */
export const Property = Type.Object({
  token: Type.String({ description: 'The at_property token.' })
}, { ...open, description: 'The Target property that limits which activities count.' })
export type Property = Static<typeof Property>

/** Asks for a trace of the decision. */
export const Trace = Type.Object({
  authorizationToken: Type.String({ description: 'Short-lived token from the Target UI.' }),
  usage: Type.Optional(Type.Record(Type.String(), Type.String(), { description: 'Diagnostics about the calling SDK.' }))
}, { ...open, description: 'Asks for a trace of the decision.' })
export type Trace = Static<typeof Trace>

/** Pins an experience of an activity in QA mode; both count from 1. */
export const QAModePreviewIndex = Type.Object({
  activityIndex: Type.Optional(Type.Integer({ minimum: 1, description: 'Position in the token\'s list of activities, from 1.' })),
  experienceIndex: Type.Optional(Type.Integer({ minimum: 1, description: 'Position of the experience, from 1; absent: as the activity decides.' }))
}, { ...open, description: 'Pins an experience of an activity.' })
export type QAModePreviewIndex = Static<typeof QAModePreviewIndex>

/** Target's activity QA, as its QA links carry it. */
export const QAMode = Type.Object({
  token: Type.Optional(Type.String({ description: 'Encrypted list of the activities.' })),
  listedActivitiesOnly: Type.Optional(Type.Boolean({ description: 'true: no other activity runs.' })),
  evaluateAsTrueAudienceIds: Type.Optional(Type.Array(Type.Integer(), { description: 'Audiences taken as matching.' })),
  evaluateAsFalseAudienceIds: Type.Optional(Type.Array(Type.Integer(), { description: 'Audiences taken as not matching.' })),
  previewIndexes: Type.Optional(Type.Array(QAModePreviewIndex, { minItems: 1, description: 'Pinned experiences.' }))
}, { ...open, description: 'Target\'s activity QA.' })
export type QAMode = Static<typeof QAMode>

/** Target's preview mode. */
export const Preview = Type.Object({
  token: Type.Optional(Type.String({ description: 'Preview token.' }))
}, { ...open, description: 'Target\'s preview mode.' })
export type Preview = Static<typeof Preview>

/**
 * An mbox to decide.
 *
 * The OpenAPI lists `mbox` as required, a slip for `name`. It requires `index` too; here it may be left out, the position
 * in the list is filled in before the request is sent.
 */
export const MboxRequest = Type.Object({
  ...RequestDetails.properties,
  index: Type.Optional(Type.Integer({ description: 'Ties the answer to the question; unique in its list.' })),
  name: Type.String({ minLength: 1, maxLength: MAX_MBOX_NAME, description: 'Mbox name.' })
}, { ...open, description: 'An mbox to decide.' })
export type MboxRequest = Static<typeof MboxRequest>

/** A view to prefetch; without a name, all views. */
export const ViewRequest = Type.Object({
  ...RequestDetails.properties,
  name: Type.Optional(Type.String({ maxLength: MAX_VIEW_NAME, description: 'View name; absent: all views.' })),
  key: Type.Optional(Type.String({ maxLength: 512, description: 'View key, for fingerprinted views.' }))
}, { ...open, description: 'A view to prefetch.' })
export type ViewRequest = Static<typeof ViewRequest>

/** What to decide and count now. */
export const ExecuteRequest = Type.Object({
  pageLoad: Type.Optional(RequestDetails),
  mboxes: Type.Optional(Type.Array(MboxRequest, { description: 'Mboxes to decide and count.' }))
}, { ...open, description: 'What to decide and count now.' })
export type ExecuteRequest = Static<typeof ExecuteRequest>

/** What to decide now and count when a display is notified. */
export const PrefetchRequest = Type.Object({
  views: Type.Optional(Type.Array(ViewRequest, { description: 'Views to decide.' })),
  pageLoad: Type.Optional(RequestDetails),
  mboxes: Type.Optional(Type.Array(MboxRequest, { description: 'Mboxes to decide.' }))
}, { ...open, description: 'What to decide now and count when a display is notified.' })
export type PrefetchRequest = Static<typeof PrefetchRequest>

/** A Delivery API request: one visitor, one page. */
export const DeliveryRequest = Type.Object({
  requestId: Type.Optional(Type.String({ maxLength: 128, description: 'Comes back in the answer; made by Target when absent.' })),
  impressionId: Type.Optional(Type.String({ maxLength: 128, description: 'A repeat of an earlier one does not count as an impression again.' })),
  id: Type.Optional(VisitorId),
  environmentId: Type.Optional(Type.Integer({ description: 'Environment (host group); absent: by the page\'s host.' })),
  property: Type.Optional(Property),
  trace: Type.Optional(Trace),
  context: Context,
  experienceCloud: Type.Optional(ExperienceCloud),
  execute: Type.Optional(ExecuteRequest),
  prefetch: Type.Optional(PrefetchRequest),
  telemetry: Type.Optional(Telemetry),
  notifications: Type.Optional(Type.Array(Notification, { description: 'What was displayed or clicked before.' })),
  qaMode: Type.Optional(QAMode),
  preview: Type.Optional(Preview)
}, { ...open, description: 'A Delivery API request.' })
export type DeliveryRequest = Static<typeof DeliveryRequest>

/** The query string of a Delivery API request. */
export const DeliveryQuery = Type.Object({
  imsOrgId: Type.String({ pattern: '\\S', description: 'IMS organization id.' }),
  sessionId: Type.String({ pattern: SESSION_ID, description: 'Session, the same for a visitor for 30 minutes; printable, no space, ?, /, { or }.' }),
  version: Type.Optional(Type.String({ description: 'Version of the calling library.' }))
}, { ...open, description: 'Query string of a Delivery API request.' })
export type DeliveryQuery = Static<typeof DeliveryQuery>
