/**
 * Converts a Delivery API request to the Edge Network's format: one event with a query, and displays and clicks as
 * proposition events.
 *
 * Sources: Adobe, Edge Network API: interact, collect, personalization with Target, identification; Web SDK: parameters in
 * `data.__adobe.target`, conversions.
 */
import { failure } from '../../errors.ts'
import type { DeliveryRequest, Notification, RequestDetails } from '../../schema/index.ts'
import type { ReportLimit } from '../../schema/acceptable.ts'
import type { EdgeState } from '../../visitor/edge-state.ts'
import { PAGE_SCOPE, reportedIn, SCHEMA, type Reported } from './wire.ts'

/** What an event depends on, apart from the request. */
export interface EventSettings {
  /** Namespace of `thirdPartyId` in the datastream. */
  thirdPartyIdNamespace: string | undefined
  report: ReportLimit
}

const SCHEMAS = Object.values(SCHEMA)
const IMPLEMENTATION = { name: 'fastify-adobe-target', environment: 'server' }

/** An event in Adobe's Experience Data Model. */
type Xdm = { web?: { webPageDetails?: object, webReferrer?: object } } & Record<string, unknown>

/** The scopes of a request. */
export function scopesOf ({ execute, prefetch }: DeliveryRequest): string[] {
  const page = execute?.pageLoad !== undefined || prefetch?.pageLoad !== undefined || (prefetch?.views?.length ?? 0) > 0
  return [...new Set([...page ? [PAGE_SCOPE] : [], ...[...execute?.mboxes ?? [], ...prefetch?.mboxes ?? []].map(({ name }) => name)])]
}

/** The body of `interact`. */
export function interactBody (request: DeliveryRequest, scopes: readonly string[], state: EdgeState | undefined, settings: EventSettings): object {
  const { data, conflict } = targetData(detailsOf(request))
  if (conflict !== undefined) settings.report(`the Edge Network has one set of parameters per call: only the first value of "${conflict}" was sent`)
  // Members are added one by one here and below: spreads cost each page more.
  const xdm = xdmOf(request, state, settings)
  xdm['eventType'] = 'decisioning.propositionFetch'
  xdm['timestamp'] = new Date().toISOString()
  xdm['_id'] = request.impressionId ?? request.requestId
  return {
    event: data === undefined ? { xdm } : { xdm, data },
    query: { identity: { fetch: ['ECID'] }, personalization: { schemas: SCHEMAS, decisionScopes: scopes } },
    meta: metaOf(request, state)
  }
}

/**
 * The body of `collect`: the displays of one impression are one event, as Web SDK merges those of one rendering, and each click
 * is one.
 *
 * @throws FST_TARGET_INVALID_REQUEST if a token is not the Edge Network's
 */
export function collectBody (request: DeliveryRequest, notifications: readonly Notification[], state: EdgeState | undefined, settings: EventSettings): object {
  const xdm = xdmOf(request, state, settings)
  const events: { key: string, event: object, propositions: Reported[], seen: Set<string> }[] = []
  for (const notification of notifications) {
    const isClick = notification.type === 'click'
    const { data } = targetData([notification])
    // Further details of a notification belong to it alone.
    const key = isClick || data !== undefined ? notification.id : `${notification.impressionId} ${notification.view?.name ?? ''}`
    const merged = events.find((known) => known.key === key)
    const { propositions = [], seen = new Set<string>() } = merged ?? {}
    for (const proposition of reportedBy(notification)) {
      // As Web SDK compares them: an activity may be in one scope twice, with tokens of its own.
      const text = JSON.stringify(proposition)
      if (seen.has(text)) continue
      seen.add(text)
      propositions.push(proposition)
    }
    if (merged !== undefined) continue
    events.push({
      key,
      propositions,
      seen,
      event: {
        xdm: {
          ...xdm,
          ...(notification.view?.name !== undefined && { web: { ...xdm.web, webPageDetails: { ...xdm.web?.webPageDetails, viewName: notification.view.name } } }),
          _id: notification.id,
          eventType: isClick ? 'decisioning.propositionInteract' : 'decisioning.propositionDisplay',
          timestamp: new Date(notification.timestamp).toISOString(),
          _experience: { decisioning: { propositions, propositionEventType: isClick ? { interact: 1 } : { display: 1 } } }
        },
        ...(data !== undefined && { data })
      }
    })
  }
  return { events: events.map(({ event }) => event), meta: metaOf(request, state) }
}

/** The propositions that a notification is about: those of its tokens, or its place alone, as for a conversion. */
function reportedBy ({ tokens = [], mbox, view, pageLoad }: Notification): Reported[] {
  if (tokens.length === 0) {
    const scope = mbox?.name ?? view?.name ?? (pageLoad === undefined ? undefined : PAGE_SCOPE)
    return scope === undefined ? [] : [{ scope }]
  }
  return tokens.map((token) => {
    const proposition = reportedIn(token)
    if (proposition === undefined) throw failure('FST_TARGET_INVALID_REQUEST', 'invalid event token: not from the Edge Network')
    return proposition
  })
}

/** The parts of the event that identify visitor and page, in an object of its own. */
function xdmOf ({ id = {}, context }: DeliveryRequest, state: EdgeState | undefined, { thirdPartyIdNamespace, report }: EventSettings): Xdm {
  const { address, geo } = context
  const identityMap: Record<string, { id: string, authenticatedState: string, primary: boolean }[]> = {}
  const { firstPartyId } = state ?? {}
  if (firstPartyId !== undefined) identityMap['FPID'] = [{ id: firstPartyId, authenticatedState: 'ambiguous', primary: true }]
  else if (id.marketingCloudVisitorId) identityMap['ECID'] = [{ id: id.marketingCloudVisitorId, authenticatedState: 'ambiguous', primary: true }]
  if (id.thirdPartyId) {
    if (thirdPartyIdNamespace === undefined) report('`thirdPartyId` was left out: `edgeNetwork.thirdPartyIdNamespace` must name its namespace in the datastream')
    else identityMap[thirdPartyIdNamespace] = [{ id: id.thirdPartyId, authenticatedState: 'authenticated', primary: false }]
  }
  for (const { id: customerId, integrationCode, authenticatedState } of id.customerIds ?? []) {
    const state = { unknown: 'ambiguous', authenticated: 'authenticated', logged_out: 'loggedOut' }[authenticatedState]
    ;(identityMap[integrationCode] ??= []).push({ id: customerId, authenticatedState: state ?? 'ambiguous', primary: false })
  }
  // An event has one primary identity; authenticated ones are refused without.
  const [[first] = []] = Object.values(identityMap)
  if (first !== undefined) first.primary = true
  const xdm: Xdm = { web: { webPageDetails: { URL: address?.url ?? '' }, webReferrer: { URL: address?.referringUrl ?? '' } }, implementationDetails: IMPLEMENTATION }
  if (first !== undefined) xdm['identityMap'] = identityMap
  const { countryCode, stateCode, city } = geo ?? {}
  // JSON has no undefined members.
  if (countryCode !== undefined || stateCode !== undefined || city !== undefined) xdm['placeContext'] = { geo: { countryCode, stateProvince: stateCode, city } }
  return xdm
}

/** No cookies are wanted from the Edge Network: the state comes in the answer, also on a first-party domain. */
function metaOf ({ property, qaMode }: DeliveryRequest, state: EdgeState | undefined): object {
  const entries = [...state?.entries ?? []]
  if (qaMode !== undefined) entries.push({ key: 'at_qa_mode', value: JSON.stringify(qaMode) })
  return {
    state: { domain: '', cookiesEnabled: false, entries: entries.length > 0 ? entries : undefined },
    configOverrides: property?.token === undefined ? undefined : { com_adobe_target: { propertyToken: property.token } }
  }
}

/** Everything that has parameters. */
export function detailsOf ({ execute, prefetch }: Pick<DeliveryRequest, 'execute' | 'prefetch'>): RequestDetails[] {
  return [execute?.pageLoad, prefetch?.pageLoad, ...execute?.mboxes ?? [], ...prefetch?.mboxes ?? [], ...prefetch?.views ?? []].filter((details) => details !== undefined)
}

/** `data.__adobe.target` of some details together, and the name of the first value that two of them do not share. */
export function targetData (details: readonly RequestDetails[]): { data?: { __adobe: { target: Record<string, string | number> } }, conflict?: string } {
  const target: Record<string, string | number> = {}
  let conflict: string | undefined
  const put = (name: string, value: string | number | undefined) => {
    if (value === undefined) return
    if (!Object.hasOwn(target, name)) target[name] = value
    else if (target[name] !== value) conflict ??= name
  }
  for (const { parameters, profileParameters, order, product } of details) {
    for (const [name, value] of Object.entries(parameters ?? {})) put(name, value)
    for (const [name, value] of Object.entries(profileParameters ?? {})) put(`profile.${name}`, value)
    put('orderId', order?.id)
    put('orderTotal', order?.total)
    put('productPurchasedId', order?.purchasedProductIds?.join(','))
    put('productId', product?.id)
    put('categoryId', product?.categoryId)
  }
  return { ...(Object.keys(target).length > 0 && { data: { __adobe: { target } } }), ...(conflict !== undefined && { conflict }) }
}
