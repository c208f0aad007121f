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
const reservedParameters = ['orderId', 'orderTotal', 'productPurchasedIds']
const reservedMboxes = /^\s*$|-clicked$|^(?:display mboxes|any mbox|click from display mbox)$/

/** Maximum number of mboxes in one call; the error has Adobe's wording. */
const maxMboxes = 50
const maxParameters = { parameters: 100, profileParameters: 50 }
const maxProfileValue = 256
const maxMboxName = 250

/** Why a request is refused, as a sentence for its sender; undefined if it is not. */
export function refusal (request: DeliveryRequest, tokens: EventTokens): string | undefined {
  const { id, execute, prefetch, notifications = [] } = request
  if (id?.tntId !== undefined && !/^[^.]+(?:\.[^.]+)?$/.test(id.tntId)) return 'id.tntId is blank or has a dot that does not part off the location hint'
  if ((execute?.mboxes?.length ?? 0) + (prefetch?.mboxes?.length ?? 0) > maxMboxes) return `mboxes: size must be between 0 and ${maxMboxes}`
  return duplicate('execute.mboxes', execute?.mboxes) ??
    duplicate('prefetch.mboxes', prefetch?.mboxes) ??
    first(allDetails(request), detailsRefusal) ??
    first(notifications, (notification) => notificationRefusal(notification, tokens))
}

function duplicate (list: string, mboxes: MboxRequest[] = []): string | undefined {
  const seen = new Set<number>()
  return first(mboxes, ({ name, index }) => {
    if (name.length > maxMboxName) return `${list}: a name is longer than ${maxMboxName} characters`
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
    const max = maxParameters[name as keyof typeof maxParameters]
    if (Object.keys(given ?? {}).length > max) return `the number of ${name} cannot exceed ${max}`
  }
  const long = Object.entries(profileParameters ?? {}).find(([, value]) => value.length > maxProfileValue)
  if (long !== undefined) return `the profile parameter "${long[0]}" is longer than ${maxProfileValue} characters`
  const reserved = reservedParameters.find((name) => parameters !== undefined && Object.hasOwn(parameters, name))
  if (reserved !== undefined) return `the parameter name "${reserved}" is reserved, use order`
  const products = order?.purchasedProductIds?.join(',') ?? ''
  if (products.length > 250) return 'order.purchasedProductIds is longer than 250 characters'
}

function notificationRefusal ({ id, tokens = [], mbox, view, pageLoad }: Notification, known: EventTokens): string | undefined {
  const refuse = (why: string) => `notification "${id}": ${why}`
  if (mbox !== undefined && view !== undefined) return refuse('mbox and view exclude each other')
  if (mbox?.name !== undefined && reservedMboxes.test(mbox.name)) return refuse('this mbox name is not allowed')
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
