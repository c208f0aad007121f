/**
 * Messages of the channels `fastify-adobe-target:offer` and `fastify-adobe-target:page` about one page. Created only if one of
 * them has a subscriber when the page begins; otherwise the cost is two reads.
 */
import { AsyncResource } from 'node:async_hooks'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { channels, type OfferMessage, type PageMessage } from '../diagnostics.ts'
import type { Displayed } from '../offers/notifications.ts'
import type { Offer } from '../offers/offer.ts'
import { LOCATION_HINT_COOKIE, QA_MODE_COOKIE, TARGET_COOKIE } from '../visitor/cookies.ts'
import { PendingCall, type Outcome } from './call.ts'

/** Data of a page at the time it is published. */
export interface ReportedPage {
  readonly calls: readonly PendingCall[]
  readonly timing: PageMessage['timing']
}

/** Publishes an offer that a handler waited for. */
export type OfferPublisher = (what: Displayed, offer: Offer<unknown, unknown>) => void

/** Publishes the offers of one page, and the page when it ends. */
export class PageReport {
  readonly #request: FastifyRequest
  readonly #arrivedAt: number
  readonly #offers: OfferMessage[] = []
  readonly #notifications: string[] = []

  constructor (request: FastifyRequest, reply: FastifyReply, arrivedAt: number, page: () => ReportedPage) {
    this.#request = request
    this.#arrivedAt = arrivedAt
    const scope = new AsyncResource('FASTIFY_ADOBE_TARGET_PAGE')
    let ended = false
    const end = () => {
      if (ended) return
      ended = true
      if (channels.page.hasSubscribers) scope.runInAsyncScope(() => this.#publish(reply, page()))
    }
    reply.raw.once('finish', end).once('close', end)
  }

  /** The report of a page; undefined without subscribers. */
  static for (request: FastifyRequest, reply: FastifyReply, arrivedAt: number, page: () => ReportedPage): PageReport | undefined {
    return channels.offer.hasSubscribers || channels.page.hasSubscribers ? new PageReport(request, reply, arrivedAt, page) : undefined
  }

  /** To be called when notifications were queued. */
  queued (notifications: readonly { readonly id: string }[]): void {
    for (const { id } of notifications) this.#notifications.push(id)
  }

  /** To be called when a handler starts waiting for offers of a call; they are published in its async context. */
  waitsFor (call: PendingCall | Outcome): OfferPublisher {
    const scope = channels.offer.hasSubscribers ? new AsyncResource('FASTIFY_ADOBE_TARGET_OFFER') : undefined
    const since = performance.now()
    return (what, { reason, source, type, responseTokens, error }) => {
      const tokens = responseTokens as Record<string, unknown>
      const message: OfferMessage = {
        request: this.#request,
        ...typeof what === 'string' ? { mbox: what } : 'view' in what ? { view: what.view } : { pageLoad: true },
        reason,
        source,
        type,
        activity: named(tokens['activity.id'], tokens['activity.name']),
        experience: named(tokens['experience.id'], tokens['experience.name']),
        ...(error !== undefined && { error }),
        asked: since - this.#arrivedAt,
        waited: performance.now() - since,
        requestId: call instanceof PendingCall ? call.requestId : undefined
      }
      this.#offers.push(message)
      if (channels.offer.hasSubscribers) scope?.runInAsyncScope(() => channels.offer.publish(message))
    }
  }

  #publish (reply: FastifyReply, { calls, timing }: ReportedPage): void {
    if (calls.length === 0 && this.#offers.length === 0 && this.#notifications.length === 0) return
    const message: PageMessage = {
      request: this.#request,
      route: this.#request.routeOptions.url,
      statusCode: reply.raw.statusCode,
      arrivedAt: this.#arrivedAt,
      elapsed: performance.now() - this.#arrivedAt,
      timing,
      offers: this.#offers,
      calls: calls.map((call) => describeCall(call, this.#arrivedAt)),
      notifications: this.#notifications,
      cookies: cookiesOf(reply)
    }
    channels.page.publish(message)
  }
}

function describeCall ({ requestId, outcome, startedAt, endedAt, plan }: PendingCall, arrivedAt: number): PageMessage['calls'][number] {
  const duration = endedAt === undefined ? undefined : endedAt - startedAt
  const call = { requestId, source: outcome?.kind === 'answered' ? outcome.answer.source : undefined, started: startedAt - arrivedAt, duration, mboxes: [...plan.mboxes] }
  return outcome?.kind === 'failed' ? { ...call, error: outcome.error } : call
}

/** An activity or experience from its response tokens. */
function named (id: unknown, name: unknown): { id?: string, name?: string } | undefined {
  if (id === undefined) return name === undefined ? undefined : { name: String(name) }
  return name === undefined ? { id: String(id) } : { id: String(id), name: String(name) }
}

/** A second client of an app appends its client code to the name. */
const isTargetCookie = (name: string) => name === QA_MODE_COOKIE ||
  [TARGET_COOKIE, LOCATION_HINT_COOKIE].some((own) => name === own || name.startsWith(`${own}_`))

/** Names of Target's cookies in a response; they may be on the reply or on the raw response. */
function cookiesOf (reply: FastifyReply): string[] {
  const set = [reply.getHeader('set-cookie') ?? [], reply.raw.getHeader('set-cookie') ?? []].flat()
  return [...new Set(set.map((cookie) => String(cookie).split('=', 1)[0]!))].filter(isTargetCookie)
}
