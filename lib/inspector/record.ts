/** The record of a page: plain facts, and the Delivery API's requests and responses unless they are large. */
import type { CompiledArtifact } from '../decisioning/compile.ts'
import type { CallMessage, OfferMessage, OutboxMessage, PageMessage } from '../diagnostics.ts'
import type { Context, DeliveryRequest, DeliveryResponse } from '../schema/index.ts'

/** An HTTP request to Target. Times in ms from its start. */
export interface RecordedCall extends Partial<Pick<CallMessage, 'host' | 'method' | 'path' | 'status' | 'attempts' | 'queued' | 'connected' | 'reused' | 'firstByte' | 'elapsed'>> {
  kind: 'call'
  /** On the clock of `performance.now()`. */
  startedAt: number
  error?: { code: string, message: string } | undefined
  request: DeliveryRequest | undefined
  response: DeliveryResponse | undefined
  /** The response was too large to be kept. */
  cut: boolean
  /** Estimated bytes. */
  size: number
}

/** A decision in memory. */
export interface RecordedDecision {
  kind: 'decision'
  startedAt: number
  elapsed: number
  request: DeliveryRequest
  response: DeliveryResponse | undefined
  /** By which it was decided: with the visitor's place. */
  context: Context
  artifact: CompiledArtifact | undefined
  cut: boolean
  size: number
}

/** A notification and what became of it. */
export interface RecordedNotification {
  id: string
  state: 'queued' | Exclude<OutboxMessage['event'], 'accepted'>
  /** `Date.now()` of its last change. */
  at: number
  /** Known once it was on its way. */
  what?: string
  error?: string | undefined
}

export type RecordedOffer = Omit<OfferMessage, 'request' | 'error'> & { error?: { code: string, message: string } }

/** A page. */
export interface RecordedPage {
  id: string
  /** `Date.now()` when its response had ended. */
  at: number
  method: string
  url: string
  route: string | undefined
  statusCode: number
  userAgent: string
  arrivedAt: number
  elapsed: number
  timing: PageMessage['timing']
  offers: RecordedOffer[]
  calls: Array<Omit<PageMessage['calls'][number], 'error'> & { error?: { code: string, message: string }, work: Array<RecordedCall | RecordedDecision> }>
  notifications: RecordedNotification[]
  cookiesIn: string[]
  cookiesOut: string[]
  /** What was forced, in words. */
  overrides: string[]
  /** Estimated bytes. */
  size: number
}

/** The id by which Target identifies a page's visitor; undefined without a call. */
export function visitorOf ({ calls }: RecordedPage): string | undefined {
  for (const { work } of calls) {
    for (const { request, response } of work) {
      const id = { ...request?.id, ...response?.id }
      const name = id.tntId?.replace(/\.\d+_\d+$/, '') ?? id.marketingCloudVisitorId ?? id.thirdPartyId
      if (name !== undefined) return String(name)
    }
  }
}

/** The problems of a page, in words. */
export function faultsOf (page: RecordedPage): string[] {
  const faults = page.calls.flatMap(({ error }) => error === undefined ? [] : [error.code])
  for (const { reason, error } of page.offers) if (FAULTS.includes(reason) && (error === undefined || !faults.includes(error.code))) faults.push(error?.code ?? reason)
  if (page.statusCode >= 500) faults.push(String(page.statusCode))
  for (const { state } of page.notifications) if (state === 'failed' || state === 'dropped') faults.push(`notification ${state}`)
  return [...new Set(faults)]
}

const FAULTS = ['timeout', 'max-wait', 'breaker-open', 'overload', 'not-ready', 'invalid-content', 'error']

/** Code and message of an error, whose cause may hold much more. */
export const brief = (error: { code: string, message: string }): { code: string, message: string } => ({ code: error.code, message: error.message.slice(0, 1000) })

/** The name of what was asked for. */
export const nameOf = ({ mbox, view }: Pick<OfferMessage, 'mbox' | 'view'>): string => mbox ?? (view === undefined ? 'page load' : `view ${view}`)

/**
 * Roughly how many bytes a JSON value takes in memory; stops counting past a limit.
 *
 * @returns Infinity past the limit
 */
export function sizeOf (value: unknown, limit: number): number {
  if (typeof value === 'string') return value.length * 2
  if (typeof value !== 'object' || value === null) return 8
  let size = 32
  for (const key in value) {
    size += 16 + sizeOf((value as Record<string, unknown>)[key], limit)
    if (size > limit) return Infinity
  }
  return size
}
