/**
 * Orders in a request that is decided on-device. The edge would count them with its response; here they go with the impression
 * of their mbox, or in a separate notification.
 */
import { randomUUID } from 'node:crypto'
import type { DeliveryRequest, Notification, RequestDetails } from '../schema/index.ts'

/** Where an order was in the request. */
export type OrderPlace = Pick<Notification, 'mbox' | 'view'>

/** Adds an order and its details to the notification of their impression. */
export function addOrder (notification: Notification, { order, product, parameters, profileParameters }: RequestDetails): void {
  notification.order = order
  if (product !== undefined) notification.product = product
  if (parameters !== undefined) notification.parameters = parameters
  if (profileParameters !== undefined) notification.profileParameters = profileParameters
}

/** The notification of an order without an impression. */
export function orderNotification (place: OrderPlace, details: RequestDetails, now: number): Notification {
  const id = randomUUID()
  const notification: Notification = { id, impressionId: id, timestamp: now, type: 'display', ...place }
  addOrder(notification, details)
  return notification
}

/** All orders of a request, for one that cannot be decided. */
export function ordersOf ({ execute, prefetch }: DeliveryRequest, globalMbox: string): Notification[] {
  const now = Date.now()
  const found: Notification[] = []
  const add = (place: OrderPlace, details: RequestDetails | undefined | null) => {
    if (hasOrder(details)) found.push(orderNotification(place, details, now))
  }
  for (const part of [execute, prefetch]) {
    add({ mbox: { name: globalMbox } }, part?.pageLoad)
    if (Array.isArray(part?.mboxes)) for (const mbox of part.mboxes) add({ mbox: { name: mbox?.name } }, mbox)
  }
  if (Array.isArray(prefetch?.views)) for (const view of prefetch.views) add(viewPlace(view?.name, globalMbox), view)
  return found
}

/** A request for all views names none. */
export const viewPlace = (name: string | undefined, globalMbox: string): OrderPlace => name === undefined ? { mbox: { name: globalMbox } } : { view: { name } }

/** Whether some details have an order; they may come from a browser. */
export const hasOrder = (details: RequestDetails | undefined | null): details is RequestDetails => typeof details?.order === 'object' && details.order !== null
