/** fastify-adobe-target: Adobe Target's offers, fetched in parallel with the handler. */
import './next-tick.ts'
import { createTargetClient } from './client/create-client.ts'
import { fileArtifactStore } from './decisioning/file-artifact-store.ts'
import { errors } from './errors.ts'
import { isSafeRedirect } from './offers/redirect.ts'
import { fileStore } from './outbox/file-store.ts'
import { fastifyAdobeTarget } from './plugin.ts'
import * as schemas from './schema/index.ts'
import { getVisitorCookieName, LOCATION_HINT_COOKIE, TARGET_COOKIE } from './visitor/cookies.ts'
import { AuthState, ExperienceCloudVisitor } from './visitor/experience-cloud.ts'

/**
 * What `require()` returns: the plugin itself, with the named exports on it, as Fastify's own plugins have them for CommonJS.
 *
 * @internal
 */
const commonjs: typeof fastifyAdobeTarget = Object.assign(fastifyAdobeTarget, {
  default: fastifyAdobeTarget,
  fastifyAdobeTarget,
  createTargetClient,
  fileArtifactStore,
  errors,
  schemas,
  AuthState,
  ExperienceCloudVisitor,
  fileStore,
  isSafeRedirect,
  getVisitorCookieName,
  LOCATION_HINT_COOKIE,
  TARGET_COOKIE
})

export {
  fastifyAdobeTarget as default, fastifyAdobeTarget, createTargetClient, fileArtifactStore, errors, schemas, AuthState, ExperienceCloudVisitor,
  fileStore, isSafeRedirect, getVisitorCookieName, LOCATION_HINT_COOKIE, TARGET_COOKIE
}
/** @internal TypeScript reads such a name from 5.6 on only. */
export { commonjs as 'module.exports' }
export type { FileArtifactStoreOptions } from './decisioning/file-artifact-store.ts'
export type { ArtifactStore, StoredArtifact } from './decisioning/artifact-store.ts'
export type { AttributesProvider } from './offers/attributes.ts'
export type { GetOffersOptions, KnownVisitor } from './client/call.ts'
export type { EdgeCookies } from './client/edge-cookies.ts'
export type { TargetCallback, TargetClient } from './client/client.ts'
export type { TargetHealth } from './client/health.ts'
export type { TargetCookie, WrittenCookie } from './visitor/cookies.ts'
export type { TargetError, TargetErrorCode, TargetErrorMeta } from './errors.ts'
export type { SupplementalDataState, VisitorCustomerIds, VisitorState } from './visitor/experience-cloud.ts'
export type { ScriptOptions, ServerState } from './request/at-js.ts'
export type { WebSdkState } from './offers/web-sdk-state.ts'
export type { TargetClientOptions } from './client/options.ts'
export type { FastifyAdobeTargetOptions, OpenFeatureOptions, RouteForm } from './options.ts'
export type { MboxDefinition, MboxDefinitions, MboxTypes, TargetMboxes } from './offers/mbox-types.ts'
export type { Conversion, OrderForm } from './offers/conversions.ts'
export type { MboxOffer, Offer, OfferContent, OfferReason, OfferSource, ViewOffer } from './offers/offer.ts'
export type { TargetResult } from './offers/result.ts'
export type { VariantKeyOptions } from './offers/variant.ts'
export type { RequestTarget } from './request/target.ts'
export type { TargetTiming } from './request/calls.ts'
export type { RequestForm, TargetRequestForm, TargetRouteConfig } from './request/route-config.ts'
export type { FileStoreOptions } from './outbox/file-store.ts'
export type { OutboxStore, OutboxTransform, StoredRecord } from './outbox/store.ts'
export type { CallMessage, OfferMessage, OutboxMessage, PageMessage, TargetLogger } from './diagnostics.ts'
export type { VisitorDetails } from './visitor/visitor.ts'
