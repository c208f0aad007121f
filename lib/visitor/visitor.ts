/**
 * One visitor for the lifetime of one page: read from the request's `Cookie` header, completed by the app's own data, updated by
 * the edge's responses, and written back as cookies.
 */
import { randomUUID } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import {
  clusterOf, createLocationHintCookie, createTargetCookie, createCookieNames, getVisitorCookieName, isLocationHint, isUpToDate, LOCATION_HINT_COOKIE, locationHintOf,
  parseTargetCookie, readCookieHeader, TARGET_COOKIE, type CookieNames, type RawCookies, type TargetCookieParts, type WrittenCookie
} from './cookies.ts'
import { CNAME_COOKIE, ecidOfCname, ecidOfFirstPartyId, ecidOfWebSdk, FIRST_PARTY_ID_MAX_AGE, isFirstPartyId, webSdkCookieName } from './ecid.ts'
import { cookieOf, edgeStatePrefix, identityIn, isOptedOut, locationIn, withStored, type EdgeState, type StoredEntry } from './edge-state.ts'
import type { DeliveryResponse, ExperienceCloud, VisitorId } from '../schema/index.ts'
import { alternatives, problemIn, strict, typeName } from '../validation.ts'
import { MAX_ID } from '../schema/limits.ts'
import { acceptableCustomerIds, acceptableIds, type ReportLimit } from '../schema/acceptable.ts'
import { createAudienceManager, DEFAULT_CONSUMER_ID, ExperienceCloudVisitor, toDeliveryCustomerIds, type CustomerIds } from './experience-cloud.ts'

/** Details that an app may know about its visitor, e.g. from the session. */
export interface VisitorDetails {
  /** The app's own id for the person (mbox3rdPartyId), at most 256 characters; a longer one is left out. */
  thirdPartyId?: string | number
  /** Experience Cloud id, used if no cookie has one. */
  marketingCloudVisitorId?: string | number
  /** In the Visitor API form or in the Delivery API form. */
  customerIds?: CustomerIds
}

/** Settings shared by all visitors of a client. */
export interface VisitorSettings {
  organizationId: string
  cookieNames: CookieNames
  /** Location hint for visitors without one. */
  targetLocationHint?: string
  /** Called for each of the app's ids that is left out. */
  report: ReportLimit
  /** The consent of visitors who have not chosen yet; undefined with the Delivery API. */
  defaultConsent?: 'in' | 'pending' | 'out' | undefined
}

/** Options of {@link visitorSettings}. */
export interface VisitorOptions {
  targetLocationHint?: string | undefined
  report?: ReportLimit
  /** Name of the cookie with a first-party id, if one is used. */
  firstPartyId?: string | undefined
  /** The client code, if Target's own cookies belong to another client of the app. */
  cookieSuffix?: string | undefined
  /** With the Edge Network, the visitor has its cookies and not Target's. */
  edgeNetwork?: { defaultConsent?: 'in' | 'pending' | 'out' } | undefined
}

/** Prepares {@link VisitorSettings} once per client. */
export function visitorSettings (organizationId: string, options: VisitorOptions = {}): VisitorSettings {
  const { targetLocationHint, report = () => {}, firstPartyId, cookieSuffix, edgeNetwork } = options
  const name = getVisitorCookieName(organizationId)
  const own = (cookie: string) => cookieSuffix === undefined ? cookie : `${cookie}_${cookieSuffix}`
  const cookieNames = createCookieNames({
    target: own(TARGET_COOKIE),
    locationHint: own(LOCATION_HINT_COOKIE),
    visitor: [name, encodeURIComponent(name)],
    webSdk: webSdkCookieName(organizationId),
    cname: CNAME_COOKIE,
    firstPartyId,
    edgeState: edgeNetwork === undefined ? undefined : edgeStatePrefix(organizationId)
  })
  return { organizationId, cookieNames, targetLocationHint, report, ...(edgeNetwork !== undefined && { defaultConsent: edgeNetwork.defaultConsent ?? 'in' }) }
}

const Details = Type.Object({ thirdPartyId: Type.Any(), marketingCloudVisitorId: Type.Any(), customerIds: Type.Any() }, strict)
const MEMBERS = Object.keys(Details.properties)

/** One visitor for the lifetime of one page. All calls of the page use the same one. */
export class Visitor {
  /** 1 to 128 printable characters; from the cookie until that expires. */
  readonly sessionId: string
  /** Cluster number of the edge that knows this visitor: of the `tntId`, else the cookie's, else the configured one. */
  locationHint: string | undefined
  /** Whether the browser sent Target's cookie, with a session or device that has not expired, or those of the Edge Network. */
  readonly cameBack: boolean
  /** Raw value of the cookie that holds QA mode. */
  readonly qaCookie: string | undefined
  readonly #settings: VisitorSettings
  readonly #received: RawCookies
  /** The parts of the received `mbox` cookie. */
  readonly #target: TargetCookieParts
  readonly #experienceCloud: ExperienceCloudVisitor
  /** Whether the cookies identify a visitor. A session alone does not. */
  readonly #came: boolean
  /** The ECID from cookies: VisitorAPI.js's, else Web SDK's, else the copy on Adobe's CNAME. */
  #ecid: string | undefined
  #firstPartyId: string | undefined
  #tntId: string | undefined
  #edgeCluster: string | undefined
  /** The Edge Network's state, from the cookies or a response; undefined with the Delivery API. */
  #edgeState: EdgeState | undefined
  /** The part of it to write. */
  readonly #stored = new Map<string, StoredEntry>()
  #details: Pick<VisitorId, 'thirdPartyId' | 'marketingCloudVisitorId'> & Pick<VisitorDetails, 'customerIds'> = {}
  #parts: { id: VisitorId, experienceCloud: ExperienceCloud } | undefined

  /**
   * @param cookieHeader the raw header; malformed or oversized parts are ignored
   */
  constructor (settings: VisitorSettings, cookieHeader: string | undefined) {
    this.#settings = settings
    const cookies = readCookieHeader(cookieHeader, settings.cookieNames)
    this.#received = cookies
    const parts = parseTargetCookie(cookies.target)
    this.#target = parts
    this.sessionId = parts.sessionId ?? randomUUID()
    this.cameBack = parts.sessionId !== undefined || parts.tntId !== undefined || cookies.edgeState.length > 0
    const prefix = settings.cookieNames.edgeState
    if (prefix === undefined) {
      this.#tntId = parts.tntId
      this.locationHint = locationHintOf(parts.tntId) ??
        (isLocationHint(cookies.locationHint) ? cookies.locationHint : settings.targetLocationHint)
    } else {
      this.#edgeState = { entries: cookies.edgeState }
      this.locationHint = locationIn(cookies.edgeState, prefix)
    }
    this.#experienceCloud = new ExperienceCloudVisitor(settings.organizationId, cookies.visitor)
    const ecid = this.#experienceCloud.getVisitorValues().MCMID
    const ofVisitorApi = ecid !== undefined && ecid.length <= MAX_ID ? ecid : undefined
    // Where Web SDK is in the page, its own id is the visitor's.
    const webSdk = prefix === undefined ? cookies.webSdk : identityIn(cookies.edgeState, prefix)
    this.#ecid = (prefix === undefined ? ofVisitorApi : undefined) ?? ecidOfWebSdk(webSdk) ?? ofVisitorApi ?? ecidOfCname(cookies.cname)
    if (settings.cookieNames.firstPartyId !== undefined) this.#firstPartyId = isFirstPartyId(cookies.firstPartyId) ? cookies.firstPartyId : randomUUID()
    this.qaCookie = cookies.qaMode
    this.#came = this.#tntId !== undefined || this.#ecid !== undefined || (this.#firstPartyId !== undefined && this.#firstPartyId === cookies.firstPartyId)
  }

  /** True if the visitor already has an id, from Target's cookies or from the app; a freshly generated id does not count. */
  get isKnown (): boolean {
    const { thirdPartyId, marketingCloudVisitorId, customerIds } = this.#details
    return this.#came || Boolean(thirdPartyId || marketingCloudVisitorId) || Object.keys(customerIds ?? {}).length > 0
  }

  /** Adds the app's details. Only before the first call; later calls keep the identity of the first. */
  identify (details: VisitorDetails | undefined): void {
    if (this.#parts !== undefined) return
    this.#details = {}
    if (details === undefined || details === null) return
    if (typeof details !== 'object' || Array.isArray(details)) {
      return this.#settings.report(`\`visitor\` must return an object with ${alternatives(MEMBERS)}, got ${typeName(details)}; it was ignored`)
    }
    for (const name of Object.keys(details)) {
      if (!MEMBERS.includes(name)) this.#settings.report(`\`visitor\` returned an ${problemIn(Type.Partial(Details), { [name]: '' })}`)
    }
    // Read here, where an error is attributed to the app: it may return any object.
    const { customerIds } = details
    this.#details = { ...acceptableIds(details, this.#settings.report), ...(typeof customerIds === 'object' && customerIds !== null && { customerIds }) }
  }

  /**
   * `id` and `experienceCloud` of the page's calls. A visitor without any id gets a generated `tntId`, so that a slow or failed
   * first call does not split one person into two visitors.
   */
  get parts (): { id: VisitorId, experienceCloud: ExperienceCloud } {
    this.#parts ??= this.#createParts()
    return this.#parts
  }

  #createParts () {
    const { thirdPartyId, marketingCloudVisitorId = this.#ecid ?? this.#ecidOfFirstPartyId() ?? this.#newEcid(), customerIds } = this.#details
    if (this.#tntId === undefined && !marketingCloudVisitorId && !thirdPartyId) this.#tntId = randomUUID()
    const id: VisitorId = {}
    if (this.#tntId !== undefined) id.tntId = this.#tntId
    if (thirdPartyId) id.thirdPartyId = thirdPartyId
    if (marketingCloudVisitorId) id.marketingCloudVisitorId = marketingCloudVisitorId
    if (customerIds !== undefined) {
      if (!Array.isArray(customerIds)) this.#experienceCloud.setCustomerIDs(customerIds)
      const list = acceptableCustomerIds(Array.isArray(customerIds) ? customerIds : toDeliveryCustomerIds(customerIds), this.#settings.report)
      if (list.length > 0) id.customerIds = list
    }
    const experienceCloud: ExperienceCloud = {
      analytics: { logging: 'server_side', supplementalDataId: this.#experienceCloud.getSupplementalDataID(DEFAULT_CONSUMER_ID) }
    }
    const audienceManager = createAudienceManager(undefined, this.#experienceCloud)
    if (audienceManager !== undefined) experienceCloud.audienceManager = audienceManager
    return { id, experienceCloud }
  }

  /** The Edge Network accepts an ECID that is generated here, as by Adobe's own SDK for Node.js. */
  #newEcid (): string | undefined {
    return this.#edgeState === undefined ? undefined : ecidOfFirstPartyId(this.#settings.organizationId, randomUUID())
  }

  /** What is sent to the Edge Network in addition to the request; undefined with the Delivery API. */
  get edgeState (): EdgeState | undefined {
    if (this.#edgeState === undefined) return undefined
    const { entries } = this.#edgeState
    const { marketingCloudVisitorId } = this.#details
    // The app identifies the visitor; the cookie must not contradict it.
    if (marketingCloudVisitorId && marketingCloudVisitorId !== this.#ecid) return { entries: entries.filter(({ key }) => key !== this.#settings.cookieNames.webSdk) }
    return { entries, ...(this.#ecid === undefined && this.#firstPartyId !== undefined && { firstPartyId: this.#firstPartyId }) }
  }

  /** Whether the visitor's choice, or the lack of one, forbids calls to Target; known only from Web SDK's cookie. */
  get isOptedOut (): boolean {
    const { defaultConsent, cookieNames } = this.#settings
    if (defaultConsent === undefined || this.#edgeState === undefined) return false
    return isOptedOut(this.#edgeState.entries, cookieNames.edgeState!, defaultConsent)
  }

  /** For a visitor without an ECID yet: Adobe will derive the same one. */
  #ecidOfFirstPartyId (): string | undefined {
    return this.#firstPartyId === undefined ? undefined : ecidOfFirstPartyId(this.#settings.organizationId, this.#firstPartyId)
  }

  /** The state for VisitorAPI.js. */
  get visitorState () {
    return this.#experienceCloud.getState()
  }

  /** Updates the visitor from a response: the `tntId` with its location hint, and the cluster that answered. */
  learn (response: DeliveryResponse, stored?: readonly StoredEntry[]): void {
    if (this.#edgeState !== undefined) return this.#learnFromEdgeNetwork(response, stored)
    if (typeof response.id?.tntId === 'string') this.#tntId = response.id.tntId
    this.#edgeCluster ??= clusterOf(response.edgeHost)
  }

  #learnFromEdgeNetwork ({ id }: DeliveryResponse, stored: readonly StoredEntry[] = []): void {
    this.#edgeState = withStored(this.#edgeState, stored)
    for (const entry of stored) this.#stored.set(entry.key, entry)
    const ecid = id?.marketingCloudVisitorId
    if (ecid === undefined || this.#parts === undefined || this.#details.marketingCloudVisitorId) return
    this.#ecid = ecid
    this.#parts = { ...this.#parts, id: { ...this.#parts.id, marketingCloudVisitorId: ecid } }
  }

  /** Drops the location hint, whose cluster no longer exists; the one that answered takes its place. */
  forgetLocationHint (): void {
    this.locationHint = undefined
  }

  /** The cookies for the current state of this visitor. */
  get cookies (): WrittenCookie[] {
    const { cookieNames } = this.#settings
    const cookies: WrittenCookie[] = this.#edgeState === undefined
      ? [createTargetCookie(this.sessionId, this.#tntId, cookieNames.target)]
      : [...this.#stored.values()].map(cookieOf)
    const cluster = this.#cluster
    if (cluster !== undefined) cookies.push(createLocationHintCookie(cluster, cookieNames.locationHint))
    if (this.#firstPartyId !== undefined) cookies.push({ name: cookieNames.firstPartyId!, value: this.#firstPartyId, maxAge: FIRST_PARTY_ID_MAX_AGE })
    return cookies
  }

  /** The cluster to keep in a cookie. The Edge Network keeps its own. */
  get #cluster (): string | undefined {
    return this.#edgeState === undefined ? this.locationHint ?? this.#edgeCluster : undefined
  }

  /** The cookies to write: none if the browser has the same, with expiries that differ by less than some ms. */
  newCookies (renewAfter: number): WrittenCookie[] {
    return renewAfter > 0 && this.#isUpToDate(renewAfter / 1000) ? [] : this.cookies
  }

  #isUpToDate (seconds: number): boolean {
    const { target, locationHint, firstPartyId } = this.#received
    // The cookies of the Edge Network do not say when they were written; of several with one name, it is unknown which one counts.
    if (this.#edgeState !== undefined || target.length !== 1) return false
    if (this.#firstPartyId !== firstPartyId || (this.#cluster !== undefined && this.#cluster !== locationHint)) return false
    return isUpToDate(this.#target, this.sessionId, this.#tntId, seconds)
  }
}
