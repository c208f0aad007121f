/** Converts an Edge Network response to the Delivery API's format, with the places of the request. */
import type { Action, DeliveryRequest, DeliveryResponse, Metric, Option } from '../../schema/index.ts'
import { at, MEASUREMENT, PAGE_SCOPE, payloadsOf, propositionsIn, SCHEMA, tokenOf, type Handle, type Proposition } from './wire.ts'

type Place = { options: Option[], metrics?: Metric[] }

/** Makes the response. */
export function toResponse (request: DeliveryRequest, handles: readonly Handle[], client: string): DeliveryResponse {
  const { execute, prefetch } = request
  const propositions = propositionsIn(handles)
  const isOfView = ({ scope, scopeDetails }: Proposition) => scope !== PAGE_SCOPE && at(scopeDetails, 'characteristics', 'scopeType') === 'view'
  const mbox = (name: string) => placeOf(propositions.filter((proposition) => proposition.scope === name && !isOfView(proposition)))
  const pageLoad = () => placeOf(propositions.filter(({ scope }) => scope === PAGE_SCOPE))
  const ecid = ecidIn(handles)
  const response: DeliveryResponse = {
    status: 200,
    client,
    ...(request.requestId !== undefined && { requestId: request.requestId }),
    id: { ...request.id, ...(ecid !== undefined && { marketingCloudVisitorId: ecid }) }
  }
  if (execute !== undefined) {
    response.execute = {
      ...(execute.pageLoad !== undefined && { pageLoad: pageLoad() }),
      ...(execute.mboxes !== undefined && { mboxes: execute.mboxes.map(({ name, index }) => ({ name, index, ...mbox(name) })) })
    } as DeliveryResponse['execute']
  }
  if (prefetch !== undefined) {
    response.prefetch = {
      ...(prefetch.pageLoad !== undefined && { pageLoad: pageLoad() }),
      ...(prefetch.mboxes !== undefined && { mboxes: prefetch.mboxes.map(({ name, index }) => ({ name, index, ...mbox(name) })) }),
      ...(prefetch.views !== undefined && { views: viewsOf(propositions.filter(isOfView), prefetch.views) })
    } as DeliveryResponse['prefetch']
  }
  return response
}

/** The ECID by which the Edge Network identifies the visitor. */
function ecidIn (handles: readonly Handle[]): string | undefined {
  const identity = payloadsOf(handles, 'identity:result').find((payload) => at(payload, 'namespace', 'code') === 'ECID')
  const id = at(identity, 'id')
  return typeof id === 'string' && /^\d{1,128}$/.test(id) ? id : undefined
}

/** All views, or those that were requested; view names are not case-sensitive, as in Web SDK. */
function viewsOf (propositions: readonly Proposition[], asked: readonly { name?: string }[]) {
  const all = asked.some(({ name }) => name === undefined)
  // A name that is not text names no view.
  const names = new Map(asked.flatMap(({ name }) => typeof name !== 'string' ? [] : [[name.toLowerCase(), name] as const]))
  const byName = new Map<string, Proposition[]>()
  for (const proposition of propositions) {
    const name = names.get(proposition.scope.toLowerCase()) ?? (all ? proposition.scope : undefined)
    if (name !== undefined) byName.set(name, [...byName.get(name) ?? [], proposition])
  }
  return [...byName].map(([name, list]) => ({ name, ...placeOf(list) }))
}

function placeOf (propositions: readonly Proposition[]): Partial<Place> {
  const options = propositions.flatMap(optionsOf)
  const metrics = propositions.flatMap(clicksOf)
  return { ...(options.length > 0 && { options }), ...(metrics.length > 0 && { metrics }) }
}

const isClick = (data: unknown) => at(data, 'type') === 'click'

/** The options of a proposition; the changes to a page are one. */
function optionsOf (proposition: Proposition): Option[] {
  const eventToken = tokenOf(proposition)
  const options: Option[] = []
  const actions: Action[] = []
  for (const { schema, data, meta } of proposition.items) {
    const common = { eventToken, ...(meta !== undefined && { responseTokens: meta }) }
    const content = data?.['content']
    if (schema === SCHEMA.html) options.push({ type: 'html', content, ...common } as Option)
    else if (schema === SCHEMA.json) options.push({ type: 'json', content, ...common } as Option)
    else if (schema === SCHEMA.redirect) options.push({ type: 'redirect', content, ...common } as Option)
    else if (schema === SCHEMA.action && !isClick(data)) {
      if (actions.length === 0) options.push({ type: 'actions', content: actions, ...common } as Option)
      actions.push({ ...data, cssSelector: data?.['selector'] } as Action)
    } else if (schema === SCHEMA.default) options.push(common as Option)
  }
  return options
}

/**
 * The clicks of a proposition: of an mbox as a second token or as a measurement, alone or beside its content; of a page as actions
 * of their own.
 */
function clicksOf (proposition: Proposition): Metric[] {
  const eventToken = tokenOf(proposition)
  const clicks = proposition.items.filter(({ data }) => isClick(data))
  const ofPage = clicks.filter(({ schema }) => schema === SCHEMA.action)
    .map(({ data }) => ({ type: 'click', eventToken, ...(typeof data?.['selector'] === 'string' && { selector: data['selector'] }) }) as Metric)
  const isMeasured = typeof at(proposition.scopeDetails, 'characteristics', 'eventTokens', 'click') === 'string' || clicks.some(({ schema }) => schema === MEASUREMENT)
  return isMeasured ? [{ type: 'click', eventToken } as Metric, ...ofPage] : ofPage
}

/**
 * What Web SDK takes over in the page: the page load and the views as they came, and the ECID. Not the mboxes, which the
 * server renders and which may be confidential.
 */
export function handOverOf (request: DeliveryRequest, handles: readonly Handle[]): Handle[] | undefined {
  if (request.execute?.pageLoad === undefined && request.prefetch?.pageLoad === undefined && request.prefetch?.views === undefined) return undefined
  const ecid = ecidIn(handles)
  const decisions = payloadsOf(handles, 'personalization:decisions')
    .filter((payload) => at(payload, 'scope') === PAGE_SCOPE || at(payload, 'scopeDetails', 'characteristics', 'scopeType') === 'view')
  return [
    ...ecid === undefined ? [] : [{ type: 'identity:result', payload: [{ id: ecid, namespace: { code: 'ECID' } }] }],
    { type: 'personalization:decisions', payload: decisions }
  ]
}
