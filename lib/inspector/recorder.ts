/**
 * Keeps the last pages. It receives them through the diagnostics channels and holds no request or reply of Fastify:
 * its memory is bounded in number and in bytes. Keeping pages costs the garbage collector more than recording them, so
 * under load only some of them are kept.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyRequest } from 'fastify'
import type { TargetClient } from '../client/client.ts'
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { calls, channels, type CallMessage, type OutboxMessage, type PageMessage } from '../diagnostics.ts'
import type { Context, DeliveryRequest, DeliveryResponse, Notification } from '../schema/index.ts'
import { brief, sizeOf, type RecordedCall, type RecordedDecision, type RecordedNotification, type RecordedPage } from './record.ts'

/** Bytes of a request or response beyond which it is not kept. */
const MAX_BODY = 256 * 1024

/** Estimated bytes of all pages; the oldest go first. */
const MAX_BYTES = 32 * 1024 * 1024

/** Calls and notifications that belong to no page yet. */
const MAX_OPEN = 2000

/** ms for which every page is kept after a browser has looked. */
const ATTENTION = 10_000

/** Artifacts that pages refer to; an explanation needs the rules that decided. */
const MAX_ARTIFACTS = 3

interface DecisionMessage {
  requestId: string | undefined
  startedAt: number
  elapsed: number
  request: DeliveryRequest
  response: DeliveryResponse
  context: Context
  artifact: CompiledArtifact
  notifications: string[]
}

/** Settings of a recorder. */
export interface RecorderSettings {
  /** Pages of this client are kept. */
  client: TargetClient
  /** Name of its decorator. */
  decorator: string
  /** Pages that are kept. */
  pages: number
  /** The overrides of a request's page, in words. */
  overridesOf (request: FastifyRequest): string[]
  /** Pages that are kept in a second. */
  rate: number
  /** Whether a page is kept in any case: its browser has access. */
  isWanted (request: FastifyRequest): boolean
  /** Called with the answers of pages. */
  onAnswer (response: DeliveryResponse): void
}

export class Recorder {
  readonly #settings: RecorderSettings
  /** The oldest first. */
  readonly #pages = new Map<string, RecordedPage>()
  readonly #open = new Map<string, Array<RecordedCall | RecordedDecision>>()
  readonly #records = new Map<CallMessage, RecordedCall>()
  readonly #notifications = new Map<string, RecordedNotification>()
  readonly #impressions = new Map<string, string[]>()
  readonly #ids = new WeakMap<object, string>()
  readonly #artifacts: CompiledArtifact[] = []
  readonly #listeners = new Set<(page: RecordedPage) => void>()
  readonly #subscriptions: Array<[name: string | symbol, listener: (message: any) => void]>
  #bytes = 0
  #count = 0
  /** Pages kept since the second began. */
  #kept = 0
  #second = 0
  /** Runs while nothing is heard. */
  #pause: NodeJS.Timeout | undefined
  #attendedAt = -Infinity

  constructor (settings: RecorderSettings) {
    this.#settings = settings
    this.#subscriptions = [
      [calls.start.name, (message: CallMessage) => this.#callStarted(message)],
      [calls.asyncEnd.name, (message: CallMessage) => this.#callEnded(message)],
      [channels.decision.name, (message: DecisionMessage) => this.#decided(message)],
      [channels.outbox.name, (message: OutboxMessage) => this.#notified(message)],
      [channels.page.name, (message: PageMessage) => this.#pageEnded(message)]
    ]
    for (const subscription of this.#subscriptions) {
      const [name, listener] = subscription
      // A message of an unexpected form must not fail a page: channels report what throws as uncaught.
      subscription[1] = (message) => { try { listener(message) } catch {} }
      subscribe(name, subscription[1])
    }
  }

  /** Ends the recording and forgets everything. */
  close (): void {
    clearTimeout(this.#pause)
    this.#pause = undefined
    for (const [name, listener] of this.#subscriptions) unsubscribe(name, listener)
    for (const kept of [this.#pages, this.#open, this.#records, this.#notifications, this.#impressions, this.#listeners]) kept.clear()
    this.#bytes = 0
  }

  /** Number of pages since the start. */
  get count (): number {
    return this.#count
  }

  /** Estimated bytes of what is kept. */
  get bytes (): number {
    return this.#bytes
  }

  /** The pages, the last first. */
  get pages (): RecordedPage[] {
    return [...this.#pages.values()].reverse()
  }

  page (id: string): RecordedPage | undefined {
    return this.#pages.get(id)
  }

  /** The id that the page of a request has, or will have. */
  idOf (request: object): string {
    let id = this.#ids.get(request)
    if (id === undefined) this.#ids.set(request, id = (++this.#lastId).toString(36))
    return id
  }

  #lastId = 0

  /** Calls a function with every new page. */
  listen (listener: (page: RecordedPage) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  #callStarted (message: CallMessage): void {
    const { kind, requestId, startedAt, request } = message
    if (kind === 'notification') this.#onTheirWay((request as DeliveryRequest | undefined)?.notifications ?? [])
    if (kind !== 'page' || requestId === undefined) return
    const record: RecordedCall = { kind: 'call', startedAt, request: request as DeliveryRequest | undefined, response: undefined, cut: false, size: 0 }
    keep(this.#records, message, record)
    this.#add(requestId, record)
  }

  #callEnded (message: CallMessage): void {
    const record = this.#records.get(message)
    if (record === undefined) return
    this.#records.delete(message)
    const { host, method, path, status, attempts, queued, connected, reused, firstByte, elapsed, error } = message
    const response = message.response as DeliveryResponse | undefined
    Object.assign(record, { host, method, path, status, attempts, queued, connected, reused, firstByte, elapsed, error: error === undefined ? undefined : brief(error) })
    if (response === undefined) return
    record.response = response
    // It came after the page.
    if (record.size > 0) weigh(record)
    this.#settings.onAnswer(response)
  }

  #decided ({ requestId, startedAt, elapsed, request, response, context, artifact, notifications }: DecisionMessage): void {
    if (requestId === undefined) return
    if (!this.#artifacts.includes(artifact) && this.#artifacts.push(artifact) > MAX_ARTIFACTS) this.#forget(this.#artifacts.shift()!)
    this.#add(requestId, { kind: 'decision', startedAt, elapsed, request, response, context, artifact, cut: false, size: 0 })
    if (notifications.length > 0) keep(this.#impressions, requestId, notifications)
  }

  /** Pages of an old artifact keep what was decided, and lose the rules. */
  #forget (artifact: CompiledArtifact): void {
    for (const { calls } of this.#pages.values()) {
      for (const { work } of calls) for (const one of work) if (one.kind === 'decision' && one.artifact === artifact) one.artifact = undefined
    }
  }

  #add (requestId: string, record: RecordedCall | RecordedDecision): void {
    const known = this.#open.get(requestId)
    if (known !== undefined) known.push(record)
    else keep(this.#open, requestId, [record])
  }

  #notified ({ event, ids, error }: OutboxMessage): void {
    const state = event === 'accepted' ? 'queued' : event
    const at = Date.now()
    for (const id of ids) Object.assign(this.#notification(id), { state, at, error: error?.code })
  }

  #notification (id: string): RecordedNotification {
    let known = this.#notifications.get(id)
    if (known === undefined) keep(this.#notifications, id, known = { id, state: 'queued', at: Date.now() })
    return known
  }

  #onTheirWay (notifications: readonly Notification[]): void {
    for (const { id, type, mbox, view, pageLoad, order } of notifications) {
      const known = this.#notifications.get(id)
      if (known === undefined) continue
      const place = mbox?.name ?? (view === undefined ? pageLoad === undefined ? '' : 'page load' : `view ${view.name ?? ''}`)
      known.what = `${type ?? ''} ${place}${order === undefined ? '' : ' with an order'}`.trim().slice(0, 200)
    }
  }

  #pageEnded (message: PageMessage): void {
    const request = message.request as FastifyRequest
    const { client, decorator, pages, overridesOf } = this.#settings
    if ((request.server as unknown as Record<string, unknown>)[decorator] !== client) return
    this.#count++
    if (!this.#hasRoom() && !this.#settings.isWanted(request)) {
      this.#drop(message)
      if (this.#kept > 3 * this.#settings.rate) this.#suspend()
      return
    }
    const { headers, method, originalUrl } = request
    const ids = [...message.notifications]
    const calls: RecordedPage['calls'] = message.calls.map(({ error, ...call }) => {
      const work = this.#open.get(call.requestId ?? '') ?? []
      this.#open.delete(call.requestId ?? '')
      ids.push(...this.#impressions.get(call.requestId ?? '') ?? [])
      this.#impressions.delete(call.requestId ?? '')
      return { ...call, ...error !== undefined && { error: brief(error) }, work }
    })
    const page: RecordedPage = {
      id: this.#ids.get(request) ?? (++this.#lastId).toString(36),
      at: Date.now(),
      method,
      url: originalUrl.slice(0, 4096),
      route: message.route,
      statusCode: message.statusCode,
      userAgent: (headers['user-agent'] ?? '').slice(0, 500),
      arrivedAt: message.arrivedAt,
      elapsed: message.elapsed,
      timing: message.timing,
      offers: message.offers.map(({ request: _, error, ...offer }) => ({ ...offer, ...error !== undefined && { error: brief(error) } })),
      calls,
      notifications: ids.slice(0, 100).map((id) => this.#notification(id)),
      cookiesIn: cookieNames(headers.cookie),
      cookiesOut: message.cookies,
      overrides: overridesOf(request),
      size: 0
    }
    page.size = 2000 + page.url.length * 2
    for (const { work } of calls) {
      for (const record of work) page.size += weigh(record)
    }
    this.#pages.set(page.id, page)
    this.#bytes += page.size
    for (const [id, old] of this.#pages) {
      if (this.#pages.size <= pages && this.#bytes <= MAX_BYTES) break
      this.#pages.delete(id)
      this.#bytes -= old.size
    }
    for (const listener of this.#listeners) listener(page)
  }

  #hasRoom (): boolean {
    const now = performance.now()
    if (now - this.#second > 1000) [this.#second, this.#kept] = [now, 0]
    return this.#kept++ < this.#settings.rate
  }

  /** To be called when a browser with access requests a page: it is recorded, whatever the load. */
  attend (): void {
    this.#attendedAt = performance.now()
    this.#resume()
  }

  /** Unsubscribes for the rest of the second, so that messages are not even built. */
  #suspend (): void {
    const now = performance.now()
    if (this.#pause !== undefined || now - this.#attendedAt < ATTENTION) return
    for (const [name, listener] of this.#subscriptions) if (name !== channels.outbox.name) unsubscribe(name, listener)
    this.#pause = setTimeout(() => this.#resume(), Math.max(1, 1000 - (now - this.#second))).unref()
  }

  #resume (): void {
    if (this.#pause === undefined) return
    clearTimeout(this.#pause)
    this.#pause = undefined
    for (const [name, listener] of this.#subscriptions) if (name !== channels.outbox.name) subscribe(name, listener)
  }

  #drop ({ calls }: PageMessage): void {
    for (const { requestId = '' } of calls) {
      this.#open.delete(requestId)
      this.#impressions.delete(requestId)
    }
  }
}

/** Estimates a record's size, and leaves out what is too large. */
function weigh (record: RecordedCall | RecordedDecision): number {
  const request = Math.min(sizeOf(record.request, MAX_BODY), MAX_BODY)
  const response = sizeOf(record.response, MAX_BODY)
  record.cut = response === Infinity
  if (record.cut) record.response = undefined
  record.size = request + (record.cut ? 0 : response)
  return record.size
}

/** Adds to a map, whose oldest entry goes when there are too many. */
function keep<Key, Value> (map: Map<Key, Value>, key: Key, value: Value): void {
  map.set(key, value)
  if (map.size > MAX_OPEN) map.delete(map.keys().next().value!)
}

/** Names of Target's and Adobe's cookies in a header, which are the ones that matter here. */
function cookieNames (header = ''): string[] {
  const names = header.split(';', 100).map((pair) => pair.split('=', 1)[0]!.trim().slice(0, 80))
  return names.filter((name) => /^(mbox|at_qa_mode|AMCV|s_ecid|kndctr_|FPID|target_override)/.test(name))
}
