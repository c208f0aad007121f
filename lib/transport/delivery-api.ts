/**
 * The Delivery API: one POST with the request as JSON, to the client's host or the visitor's cluster.
 */
import { withoutUnknownAddress } from '../decisioning/geo.ts'
import { NOTHING_TO_ABORT, type Abortable } from '../delivery/abort-listeners.ts'
import type { Delivery, DeliveryAnswer, DeliveryCall, Settled } from '../delivery/delivery.ts'
import { isUnknownHost } from '../delivery/network-error.ts'
import { failure } from '../errors.ts'
import { emptyResponse } from '../offers/result.ts'
import type { DeliveryRequest } from '../schema/index.ts'
import { MAX_MBOXES, MAX_NOTIFICATIONS } from '../schema/limits.ts'
import { EdgeAddress, type EdgeAddressSettings } from './edge-address.ts'
import { deliveryCallOf, replying, type Reply, type Transport, type TransportCall } from './transport.ts'

/** The client's settings that the Delivery API needs. */
export interface DeliveryApiSettings extends EdgeAddressSettings {
  /** ms, the client's own. */
  timeout: number
}

/** Calls of the Delivery API. */
export class DeliveryApi implements Transport {
  readonly limits = { mboxes: MAX_MBOXES, notifications: MAX_NOTIFICATIONS }
  readonly #settings: DeliveryApiSettings
  readonly #delivery: Delivery
  readonly #address: EdgeAddress

  constructor (settings: DeliveryApiSettings, delivery: Delivery) {
    this.#settings = settings
    this.#delivery = delivery
    this.#address = new EdgeAddress(settings)
  }

  origin (locationHint: string | undefined): string {
    return this.#address.origin(locationHint)
  }

  ask (call: TransportCall, settled: Settled<Reply>): Abortable {
    const request = withKnownPlace(call.request)
    let body: string
    try {
      body = JSON.stringify(request)
    } catch (cause) {
      settled(undefined, failure('FST_TARGET_INVALID_REQUEST', 'the request is not JSON', { cause }))
      return NOTHING_TO_ABORT
    }
    const hint = this.#address.hintFor(call.locationHint)
    const toReply = ({ body, elapsed }: DeliveryAnswer): Reply => {
      const reply: Reply = { request, response: body ?? emptyResponse(), elapsed }
      if (hint !== call.locationHint) reply.hintIsDead = true
      return reply
    }
    const delivery = deliveryCallOf(call, { origin: this.#address.origin(hint), path: this.#address.path(call.sessionId), body, request }, this.#settings.timeout, toReply)
    const ended = replying(settled, toReply)
    return hint === undefined || !this.#address.usesHints
      ? this.#delivery.send(delivery, ended)
      : this.#sendToCluster(hint, delivery, ended, (answer) => settled({ ...toReply(answer), hintIsDead: true }, undefined))
  }

  /** Sends a call to the visitor's cluster; where that no longer exists, to the client's own host within the same deadline. */
  #sendToCluster (hint: string, call: DeliveryCall, ended: Settled<DeliveryAnswer>, moved: (answer: DeliveryAnswer) => void): Abortable {
    const started = performance.now()
    let again: Abortable | undefined
    const first = this.#delivery.send(call, (answer, error) => {
      if (error?.code !== 'FST_TARGET_CONNECTION' || !isUnknownHost(error.cause)) return ended(answer, error)
      const timeout = call.timeout - (performance.now() - started)
      again = this.#delivery.send({ ...call, origin: this.#address.origin(undefined), timeout }, (answer, error) => {
        if (answer === undefined) return ended(undefined, error)
        this.#address.markDead(hint)
        moved(answer)
      })
    })
    return { abort: () => (again ?? first).abort() }
  }
}

/** The edge looks up the sender's own address where it gets none. */
function withKnownPlace (request: DeliveryRequest): DeliveryRequest {
  const { context } = request
  if (context.geo === undefined) return request
  const geo = withoutUnknownAddress(context.geo)
  return geo === context.geo ? request : { ...request, context: { ...context, geo } }
}
