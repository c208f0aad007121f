/**
 * Who the visitor is: Target's own ids and those of the Experience Cloud.
 *
 * Source: Adobe Target Delivery API 1.0, OpenAPI.
 */
import { Type, type Static } from '@sinclair/typebox'
import { MAX_CUSTOMER_IDS, MAX_ID, MAX_INTEGRATION_CODE, MAX_THIRD_PARTY_ID } from './limits.ts'
import { choice, open } from './shape.ts'

/** Whether the visitor was logged in under a customer id. */
export const AuthenticatedState = choice(['unknown', 'authenticated', 'logged_out'], 'Whether the visitor is logged in under this id.')
export type AuthenticatedState = Static<typeof AuthenticatedState>

/** An id of the customer's own systems. */
export const CustomerId = Type.Object({
  id: Type.String({ maxLength: MAX_ID, description: 'The id.' }),
  integrationCode: Type.String({ maxLength: MAX_INTEGRATION_CODE, description: 'Alias of the customer attributes data source it belongs to.' }),
  authenticatedState: AuthenticatedState
}, { ...open, description: 'An id of the customer\'s own systems.' })
export type CustomerId = Static<typeof CustomerId>

/** The visitor's ids; without any, Target generates a `tntId`. */
export const VisitorId = Type.Object({
  tntId: Type.Optional(Type.String({ maxLength: MAX_ID, description: 'Target\'s own id; a dot separates it from its location hint, as in <id>.35_0.' })),
  thirdPartyId: Type.Optional(Type.String({ maxLength: MAX_THIRD_PARTY_ID, description: 'The site\'s own id of the visitor (mbox3rdPartyId).' })),
  marketingCloudVisitorId: Type.Optional(Type.String({ maxLength: MAX_ID, description: 'Experience Cloud id (ECID).' })),
  customerIds: Type.Optional(Type.Array(CustomerId, { maxItems: MAX_CUSTOMER_IDS, description: 'Further ids, in addition to the ECID.' }))
}, { ...open, description: 'The visitor\'s ids.' })
export type VisitorId = Static<typeof VisitorId>

/** Audience Manager's data for finding the profile. */
export const AudienceManager = Type.Object({
  locationHint: Type.Optional(Type.Integer({ minimum: 1, description: 'DCS region that holds the profile.' })),
  blob: Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description: 'Encrypted visitor metadata (AAM blob).' }))
}, { ...open, description: 'Audience Manager.' })
export type AudienceManager = Static<typeof AudienceManager>

/** Who reports to Analytics: the edge or the page. */
export const LoggingType = choice(['server_side', 'client_side'], 'Who reports to Analytics: the edge, or the page with the payload of the answer.')
export type LoggingType = Static<typeof LoggingType>

/** Analytics for Target (A4T). */
export const AnalyticsRequest = Type.Object({
  supplementalDataId: Type.Optional(Type.String({
    minLength: 33,
    maxLength: 33,
    pattern: '^[0-9A-Fa-f]{16}-[0-9A-Fa-f]{16}$',
    description: 'Stitches the Target and the Analytics hit of one page, for server_side: <16 hex>-<16 hex>.'
  })),
  logging: Type.Optional(LoggingType),
  trackingServer: Type.Optional(Type.String({ description: 'Tracking server, a host name.' })),
  trackingServerSecure: Type.Optional(Type.String({ description: 'Tracking server for https, a host name.' }))
}, { ...open, description: 'Analytics for Target (A4T).' })
export type AnalyticsRequest = Static<typeof AnalyticsRequest>

/** Audience Manager and Analytics. */
export const ExperienceCloud = Type.Object({
  audienceManager: Type.Optional(AudienceManager),
  analytics: Type.Optional(AnalyticsRequest)
}, { ...open, description: 'Audience Manager and Analytics.' })
export type ExperienceCloud = Static<typeof ExperienceCloud>
