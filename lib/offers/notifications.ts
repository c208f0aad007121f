/**
 * From an answer to the notifications that tell Target what was displayed and clicked.
 */
import { randomUUID } from 'node:crypto'
import type { DeliveryResponse, Metric, Notification, Option } from '../schema/index.ts'

/** What was displayed or clicked: an mbox by name, a view by name, or the page load. */
export type Displayed = string | { view: string } | { pageLoad: true }

/** A notification of the Delivery API; `id`, `timestamp` and `impressionId` are filled in where they are missing. */
export type NotificationForm = Omit<Notification, 'id' | 'timestamp'> & Partial<Pick<Notification, 'id' | 'timestamp'>>

/** Fills in what a notification must have. Once made it is never changed, so that a repeat is known as one. */
export function completeNotification (form: NotificationForm, impressionId: string): Notification {
  return { id: randomUUID(), timestamp: Date.now(), impressionId, ...form }
}

/** Whether something is a notification; only `type` cannot be filled in. */
export function isNotificationForm (form: unknown): form is NotificationForm {
  return typeof form === 'object' && form !== null && 'type' in form && (form.type === 'display' || form.type === 'click')
}

interface Place { options?: Option[], metrics?: Metric[], state?: string }

/** The place in an answer, and how a notification names it; `shown` only where a display is still to be counted. */
function placesOf (response: DeliveryResponse, what: Displayed, shown: boolean): { place: Place, name: Partial<Notification> }[] {
  const { execute, prefetch } = response
  if (typeof what === 'string') {
    const named = (mboxes: (Place & { name?: string })[] = []) => mboxes.filter(({ name }) => name === what)
    return [...shown ? [] : named(execute?.mboxes), ...named(prefetch?.mboxes)]
      .map((place) => ({ place, name: { mbox: { name: what, ...stateOf(place) } } }))
  }
  if ('view' in what) {
    return (prefetch?.views ?? []).filter(({ name }) => name === what.view)
      .map((place) => ({ place, name: { view: { name: what.view, ...(place.key !== undefined && { key: place.key }), ...stateOf(place) } } }))
  }
  // Clicks of a prefetched page load may stand beside it.
  return [...shown ? [] : [execute?.pageLoad, prefetch?.metrics && { metrics: prefetch.metrics }], prefetch?.pageLoad]
    .filter((place) => place !== undefined)
    .map((place: Place) => ({ place, name: { pageLoad: stateOf(place) } }))
}

const stateOf = ({ state }: Place) => state === undefined ? {} : { state }
const tokensOf = (things: readonly (Option | Metric)[] = []) => things.map(({ eventToken }) => eventToken).filter((token) => token !== undefined)

/**
 * Notifications of a display: of what was prefetched, for what was executed is counted already. None without tokens.
 */
export function displayNotifications (response: DeliveryResponse, what: Displayed): NotificationForm[] {
  return placesOf(response, what, true)
    .map(({ place, name }) => ({ type: 'display' as const, ...name, tokens: tokensOf(place.options) }))
    .filter(({ tokens }) => tokens.length > 0)
}

/** Notifications of a click, for the places that count clicks. */
export function clickNotifications (response: DeliveryResponse, what: Displayed): NotificationForm[] {
  return placesOf(response, what, false)
    .map(({ place, name }) => ({ type: 'click' as const, ...name, tokens: tokensOf(place.metrics?.filter(({ type }) => type === 'click')) }))
    .filter(({ tokens }) => tokens.length > 0)
}
