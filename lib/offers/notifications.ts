/**
 * Makes the notifications that report displays and clicks to Target from a response.
 */
import { randomUUID } from 'node:crypto'
import type { DeliveryResponse, Metric, Notification, Option } from '../schema/index.ts'

/** What was displayed or clicked: an mbox by name, a view by name, or the page load. */
export type Displayed = string | { view: string } | { pageLoad: true }

/** A notification of the Delivery API; `id`, `timestamp` and `impressionId` are filled in if missing. */
export type NotificationForm = Omit<Notification, 'id' | 'timestamp'> & Partial<Pick<Notification, 'id' | 'timestamp'>>

/** Fills in required members. A completed notification is never changed, so that Target recognizes a repeat. */
export function completeNotification (form: NotificationForm, impressionId: string): Notification {
  return { id: randomUUID(), timestamp: Date.now(), impressionId, ...form }
}

/** Whether a value is a notification; only `type` cannot be filled in. */
export function isNotificationForm (form: unknown): form is NotificationForm {
  return typeof form === 'object' && form !== null && 'type' in form && (form.type === 'display' || form.type === 'click')
}

interface Place { options?: Option[], metrics?: Metric[], state?: string }

/** The places in a response, each as named in a notification; with `shown`, only those whose display is not counted yet. */
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
  // Clicks of a prefetched page load may be next to it.
  return [...shown ? [] : [execute?.pageLoad, prefetch?.metrics && { metrics: prefetch.metrics }], prefetch?.pageLoad]
    .filter((place) => place !== undefined)
    .map((place: Place) => ({ place, name: { pageLoad: stateOf(place) } }))
}

const stateOf = ({ state }: Place) => state === undefined ? {} : { state }
const tokensOf = (things: readonly (Option | Metric)[] = []) => things.map(({ eventToken }) => eventToken).filter((token) => token !== undefined)

/**
 * Notifications of a display of prefetched content; executed content is already counted. None without tokens.
 */
export function displayNotifications (response: DeliveryResponse, what: Displayed): NotificationForm[] {
  return placesOf(response, what, true)
    .map(({ place, name }) => ({ type: 'display' as const, ...name, tokens: tokensOf(place.options) }))
    .filter(({ tokens }) => tokens.length > 0)
}

/** Notifications of a click, for places with click metrics. */
export function clickNotifications (response: DeliveryResponse, what: Displayed): NotificationForm[] {
  return placesOf(response, what, false)
    .map(({ place, name }) => ({ type: 'click' as const, ...name, tokens: tokensOf(place.metrics?.filter(({ type }) => type === 'click')) }))
    .filter(({ tokens }) => tokens.length > 0)
}
