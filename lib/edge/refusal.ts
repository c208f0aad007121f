/**
 * Requests that the edge refuses although they match the schema.
 *
 * The limits are deliberately repeated here: a wrong one in the schema must not go unnoticed because both ends share it.
 *
 * Sources: the validation notes in Adobe's specification of the Delivery API; Adobe Target, "Limits".
 */
import type { DeliveryRequest, MboxRequest, Notification, RequestDetails } from '../schema/index.ts'
import { stateOf, type EventTokens } from './tokens.ts'

/** Names that belong in `order`, not in the parameters. */
const RESERVED_PARAMETERS = ['orderId', 'orderTotal', 'productPurchasedIds']
const RESERVED_MBOXES = /^\s*$|-clicked$|^(?:display mboxes|any mbox|click from display mbox)$/

/** Maximum number of mboxes in one call; the error has Adobe's wording. */
const MAX_MBOXES = 50
const MAX_PARAMETERS = { parameters: 100, profileParameters: 50 }
const MAX_PROFILE_VALUE = 256
const MAX_MBOX_NAME = 250

/** Why a request is refused, as a sentence for its sender; undefined if it is not. */
export function refusal (request: DeliveryRequest, tokens: EventTokens): string | undefined {
  const { id, execute, prefetch, notifications = [] } = request
  if (id?.tntId !== undefined && !/^[^.]+(?:\.[^.]+)?$/.test(id.tntId)) return 'id.tntId is blank or has a dot that does not part off the location hint'
  if ((execute?.mboxes?.length ?? 0) + (prefetch?.mboxes?.length ?? 0) > MAX_MBOXES) return `mboxes: size must be between 0 and ${MAX_MBOXES}`
  return duplicate('execute.mboxes', execute?.mboxes) ??
    duplicate('prefetch.mboxes', prefetch?.mboxes) ??
    first(allDetails(request), detailsRefusal) ??
    first(notifications, (notification) => notificationRefusal(notification, tokens))
}

function duplicate (list: string, mboxes: MboxRequest[] = []): string | undefined {
  const seen = new Set<number>()
  return first(mboxes, ({ name, index }) => {
    if (name.length > MAX_MBOX_NAME) return `${list}: a name is longer than ${MAX_MBOX_NAME} characters`
    if (name.trim() === '') return `${list}: a name is blank`
    if (index === undefined) return `${list}: "${name}" has no index`
    if (seen.has(index)) return `${list}: the index ${index} is there twice`
    seen.add(index)
  })
}

function * allDetails ({ execute, prefetch, notifications = [] }: DeliveryRequest): Generator<RequestDetails> {
  if (execute?.pageLoad !== undefined) yield execute.pageLoad
  if (prefetch?.pageLoad !== undefined) yield prefetch.pageLoad
  yield * execute?.mboxes ?? []
  yield * prefetch?.mboxes ?? []
  yield * prefetch?.views ?? []
  yield * notifications
}

function detailsRefusal ({ parameters, profileParameters, order }: RequestDetails): string | undefined {
  for (const [name, given] of Object.entries({ parameters, profileParameters })) {
    const max = MAX_PARAMETERS[name as keyof typeof MAX_PARAMETERS]
    if (Object.keys(given ?? {}).length > max) return `the number of ${name} cannot exceed ${max}`
  }
  const long = Object.entries(profileParameters ?? {}).find(([, value]) => value.length > MAX_PROFILE_VALUE)
  if (long !== undefined) return `the profile parameter "${long[0]}" is longer than ${MAX_PROFILE_VALUE} characters`
  const reserved = RESERVED_PARAMETERS.find((name) => parameters !== undefined && Object.hasOwn(parameters, name))
  if (reserved !== undefined) return `the parameter name "${reserved}" is reserved, use order`
  const products = order?.purchasedProductIds?.join(',') ?? ''
  if (products.length > 250) return 'order.purchasedProductIds is longer than 250 characters'
}

function notificationRefusal ({ id, tokens = [], mbox, view, pageLoad }: Notification, known: EventTokens): string | undefined {
  const refuse = (why: string) => `notification "${id}": ${why}`
  if (mbox !== undefined && view !== undefined) return refuse('mbox and view exclude each other')
  if (mbox?.name !== undefined && RESERVED_MBOXES.test(mbox.name)) return refuse('this mbox name is not allowed')
  if (tokens.some((token) => known.facts(token) === undefined)) return refuse('invalid event token')
  const states = [[mbox?.state, stateOf('mbox', mbox?.name)], [view?.state, stateOf('view', view?.name)], [pageLoad?.state, stateOf('pageLoad')]]
  if (states.some(([given, expected]) => given !== undefined && given !== expected)) return refuse('invalid state')
}

function first<T> (items: Iterable<T>, why: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const reason = why(item)
    if (reason !== undefined) return reason
  }
}
