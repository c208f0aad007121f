/**
 * Converts decisions to propositions, and reports about propositions to notifications: between the Delivery API's format and the
 * Edge Network's.
 *
 * Sources: Adobe, Edge Network API, personalization; Web SDK, A4T data in the Edge Network (`eventTokens`); what
 * `@adobe/alloy` 2.33 reads.
 */
import { randomUUID } from 'node:crypto'
import type { Action, DeliveryResponse, Metric, Notification, Option } from '../../schema/index.ts'
import { isObject } from '../../validation.ts'
import type { EventTokens } from '../tokens.ts'
import { at, detailsOf, pageScope, textAt, type EdgeEvent } from './payload.ts'

const schemaOf = {
  html: 'https://ns.adobe.com/personalization/html-content-item',
  json: 'https://ns.adobe.com/personalization/json-content-item',
  redirect: 'https://ns.adobe.com/personalization/redirect-item',
  action: 'https://ns.adobe.com/personalization/dom-action',
  default: 'https://ns.adobe.com/personalization/default-content-item'
}

/** The part of a proposition that is made here. */
export interface Proposition {
  id: string
  scope: string
  scopeDetails: object
  items: Item[]
}

interface Item {
  id: string
  schema: string
  meta?: object
  data?: object
}

/** The decision about one scope. */
interface Place {
  scope: string
  offers: { options?: Option[], metrics?: Metric[] }
  /** Clicks are part of an mbox's proposition; those of the page load and of views are separate propositions. */
  isMbox?: true
  isView?: true
}

/** The propositions of a response that have one of the requested schemas. */
export function propositionsOf ({ prefetch }: DeliveryResponse, tokens: EventTokens, schemas: readonly string[]): Proposition[] {
  const places: Place[] = (prefetch?.mboxes ?? []).map((offers) => ({ scope: String(offers.name), offers, isMbox: true }))
  if (prefetch?.pageLoad !== undefined) places.push({ scope: pageScope, offers: prefetch.pageLoad })
  for (const offers of prefetch?.views ?? []) places.push({ scope: String(offers.name), offers, isView: true })
  return places.flatMap((place) => propositionsOfPlace(place, tokens))
    .map((proposition) => ({ ...proposition, items: proposition.items.filter(({ schema }) => schemas.length === 0 || schemas.includes(schema)) }))
    .filter(({ items }) => items.length > 0)
}

function propositionsOfPlace ({ scope, offers, isMbox, isView }: Place, tokens: EventTokens): Proposition[] {
  const { options = [], metrics = [] } = offers
  const make = (token: string, items: Item[], eventTokens?: object): Proposition => {
    const { activityId = '0', experienceId = '0' } = tokens.facts(token) ?? {}
    return {
      id: `AT:${Buffer.from(JSON.stringify({ activityId, experienceId })).toString('base64')}`,
      scope,
      scopeDetails: {
        decisionProvider: 'TGT',
        activity: { id: activityId },
        experience: { id: experienceId },
        strategies: [{ algorithmID: '0', trafficType: '0' }],
        characteristics: { ...(isView && { scopeType: 'view' }), ...(eventTokens === undefined ? { eventToken: token } : { eventTokens }) }
      },
      items
    }
  }
  const byToken = new Map<string, Option[]>()
  for (const option of options) byToken.set(option.eventToken ?? '', [...byToken.get(option.eventToken ?? '') ?? [], option])
  const clicks = metrics.filter(({ type }) => type === 'click')
  const shown = [...byToken].map(([token, decided]) => {
    const click = isMbox && clicks.find(({ eventToken }) => tokens.facts(eventToken ?? '')?.activityId === tokens.facts(token)?.activityId)
    return make(token, decided.flatMap((option) => itemsOf(option)), click ? { display: token, click: click.eventToken } : undefined)
  })
  if (isMbox) return shown
  return [...shown, ...clicks.map(({ eventToken = '', selector }, index) => make(eventToken, [{
    id: `${index}`,
    schema: schemaOf.action,
    data: { type: 'click', format: 'application/vnd.adobe.target.dom-action', selector }
  }]))]
}

function itemsOf ({ type, content, responseTokens }: Option): Item[] {
  const id = String(responseTokens?.['offer.id'] ?? 0)
  const item = (schema: string, data: object): Item => ({ id, schema, ...(responseTokens !== undefined && { meta: responseTokens }), data: { id, ...data } })
  switch (type) {
    case 'html': return [item(schemaOf.html, { format: 'text/html', content })]
    case 'json': return [item(schemaOf.json, { format: 'application/json', content })]
    case 'redirect':
    case 'dynamic': return [item(schemaOf.redirect, { type: 'redirect', format: 'text/uri-list', content })]
    case 'actions': return (Array.isArray(content) ? content as Action[] : []).map(({ cssSelector, selector, ...action }) => {
      const place = cssSelector ?? selector
      return item(schemaOf.action, { ...action, format: 'application/vnd.adobe.target.dom-action', selector: place, prehidingSelector: place })
    })
    default: return [{ id, schema: schemaOf.default }]
  }
}

/** The displays and clicks reported by an event, one notification per proposition; empty if there are none. */
export function notificationsOf (event: EdgeEvent, tokens: EventTokens): Notification[] {
  const { xdm } = event
  const decisioning = at(xdm, '_experience', 'decisioning')
  const propositions = at(decisioning, 'propositions')
  const kinds = at(decisioning, 'propositionEventType')
  const type = { 'decisioning.propositionDisplay': 'display', 'decisioning.propositionInteract': 'click' }[String(xdm['eventType'])]
  const isClick = at(kinds, 'interact') !== undefined || (!isObject(kinds) && type === 'click')
  const isDisplay = at(kinds, 'display') !== undefined || (!isObject(kinds) && type === 'display')
  if (!Array.isArray(propositions) || (!isClick && !isDisplay)) return []
  const id = textAt(xdm, '_id') ?? randomUUID()
  const sent = Date.parse(textAt(xdm, 'timestamp') ?? '')
  const timestamp = Number.isNaN(sent) ? Date.now() : sent
  // The event's other details are added only once.
  const { parameters, profileParameters, order } = detailsOf(event)
  return propositions.filter(isObject).slice(0, 100).flatMap((proposition, index): Notification[] => {
    const scope = textAt(proposition, 'scope')
    if (scope === undefined) return []
    const kind = isClick ? 'click' : 'display'
    const characteristics = at(proposition, 'scopeDetails', 'characteristics')
    const token = textAt(characteristics, 'eventTokens', kind) ?? textAt(characteristics, 'eventToken')
    const isView = textAt(characteristics, 'scopeType') === 'view' || tokens.locations(token ?? '').some((location) => location.kind === 'views' && location.name.toLowerCase() === scope.toLowerCase())
    return [{
      id: `${id}:${index}`,
      impressionId: id,
      type: kind,
      timestamp,
      ...(token !== undefined && { tokens: [token] }),
      ...(scope === pageScope ? { pageLoad: {} } : isView ? { view: { name: scope } } : { mbox: { name: scope } }),
      ...(index === 0 && { parameters, profileParameters, ...(order !== undefined && { order }) })
    }]
  })
}
