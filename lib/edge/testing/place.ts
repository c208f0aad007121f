/** The places that offers are for: mboxes, views and the page load. */
import { inspect } from 'node:util'
import type { Notification } from '../../schema/index.ts'
import { failure } from '../../errors.ts'

/** An mbox by name, a view by name, or the page load: the forms of `request.target.displayed()`. */
export type Place = string | { view: string } | { pageLoad: true }

/** Where a place is in an artifact. */
export interface Location {
  kind: 'mboxes' | 'views'
  name: string
}

/** Longer names are refused by the edge: those of mboxes in notifications, those of views everywhere. */
const longest = { mbox: 250, view: 128 }
const isName = (value: unknown, most: number): value is string => typeof value === 'string' && value.trim() !== '' && value.length <= most

/**
 * Finds a place in an artifact: the page load is there under the name of its global mbox.
 *
 * @param method for the error's message
 * @throws FST_TARGET_INVALID_OPTIONS when it is no place
 */
export function locationOf (place: Place, globalMbox: string, method: string): Location {
  if (isName(place, longest.mbox)) return { kind: 'mboxes', name: place }
  if (typeof place === 'object' && place !== null && Object.keys(place).length === 1) {
    if ('view' in place && isName(place.view, longest.view)) return { kind: 'views', name: place.view }
    if ('pageLoad' in place && place.pageLoad === true) return { kind: 'mboxes', name: globalMbox }
  }
  throw failure('FST_TARGET_INVALID_OPTIONS', `${method} needs an mbox name, { view: name } or { pageLoad: true }, not ${inspect(place, { depth: 1 })}`)
}

/** The place that a notification is about; undefined when it names none. */
export function notifiedLocation ({ mbox, view, pageLoad }: Notification, globalMbox: string): Location | undefined {
  if (mbox?.name !== undefined) return { kind: 'mboxes', name: mbox.name }
  if (view?.name !== undefined) return { kind: 'views', name: view.name }
  return pageLoad === undefined ? undefined : { kind: 'mboxes', name: globalMbox }
}
