/** The places that offers are for: mboxes, views and the page load. */
import type { Notification } from '../../schema/index.ts'
import { invalid } from '../../validation.ts'
import type { EventTokens, Location } from '../tokens.ts'

export type { Location } from '../tokens.ts'

/** An mbox by name, a view by name, or the page load: the forms of `request.target.displayed()`. */
export type Place = string | { view: string } | { pageLoad: true }

/** The edge refuses longer names: of mboxes in notifications, of views everywhere. */
const MAX_LENGTH = { mbox: 250, view: 128 }
const isName = (value: unknown, max: number): value is string => typeof value === 'string' && value.trim() !== '' && value.length <= max

/**
 * The location of a place in an artifact: that of the page load has the name of the global mbox.
 *
 * @param method for the error's message
 * @throws FST_TARGET_INVALID_OPTIONS if it is not a place
 */
export function locationOf (place: Place, globalMbox: string, method: string): Location {
  if (isName(place, MAX_LENGTH.mbox)) return { kind: 'mboxes', name: place }
  if (typeof place === 'object' && place !== null && Object.keys(place).length === 1) {
    if ('view' in place && isName(place.view, MAX_LENGTH.view)) return { kind: 'views', name: place.view }
    if ('pageLoad' in place && place.pageLoad === true) return { kind: 'mboxes', name: globalMbox }
  }
  throw invalid({ call: method, root: 'place' }, 'an mbox name, { view: name } or { pageLoad: true }', place)
}

/**
 * The place of a notification; undefined if it names none, unless its tokens belong to a page load: at.js reports clicks of a
 * page load only by their tokens.
 */
export function notifiedLocation ({ mbox, view, pageLoad, tokens = [] }: Notification, globalMbox: string, known: EventTokens): Location | undefined {
  if (mbox?.name !== undefined) return { kind: 'mboxes', name: mbox.name }
  if (view?.name !== undefined) return { kind: 'views', name: view.name }
  const ofPageLoad: Location = { kind: 'mboxes', name: globalMbox }
  if (pageLoad !== undefined) return ofPageLoad
  const locations = tokens.flatMap((token) => known.locations(token))
  return locations.some(({ kind, name }) => kind === 'mboxes' && name === globalMbox) ? ofPageLoad : undefined
}
