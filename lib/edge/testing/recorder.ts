/** Records requests, notifications and impressions for tests to inspect. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Notification, Order, RequestDetails } from '../../schema/index.ts'
import type { Location } from './place.ts'

/** A request to the Delivery API or the Edge Network that reached the edge with a JSON body, answered or not. */
export interface RecordedRequest {
  /** Without the query string: `/rest/v1/delivery`, `/ee/v2/interact`, … */
  path: string
  /** The body as received, valid or not. */
  body: any
  /** The query string. */
  query: Record<string, string | string[] | undefined>
  /** The request's headers, names in lower case. */
  headers: IncomingHttpHeaders
  /** When its body had arrived, in milliseconds since the epoch. */
  time: number
}

/** A purchase that reached the edge. */
export interface RecordedOrder extends Order {
  /** Its mbox; undefined: a page load. */
  mbox: string | undefined
  product?: RequestDetails['product']
  parameters?: RequestDetails['parameters']
}

/** Limits, so that an edge under load for hours does not fill the memory: older entries are dropped. */
const MAX_REQUESTS = 10_000
const MAX_NOTIFICATIONS = 100_000
const MAX_ORDERS = 10_000
const MAX_IDS = 200_000
const MAX_PLACES = 10_000

/** A set that drops its oldest members. */
class RecentIds {
  readonly #ids = new Set<string>()

  /** Adds an id. Returns whether it is new. */
  add (id: string): boolean {
    if (this.#ids.has(id)) return false
    this.#ids.add(id)
    if (this.#ids.size > MAX_IDS) this.#ids.delete(this.#ids.values().next().value as string)
    return true
  }

  clear (): void {
    this.#ids.clear()
  }
}

/** Counts by place; the places counted first are dropped first. */
class PlaceCounts {
  readonly #counts = new Map<string, number>()

  add (key: string): void {
    this.#counts.set(key, this.of(key) + 1)
    if (this.#counts.size > MAX_PLACES) this.#counts.delete(this.#counts.keys().next().value as string)
  }

  of (key: string): number {
    return this.#counts.get(key) ?? 0
  }

  clear (): void {
    this.#counts.clear()
  }
}

export class Recorder {
  /** The last 10,000 requests, oldest first. */
  readonly requests: RecordedRequest[] = []
  /** The last 100,000 accepted notifications, oldest first; a repeated one is listed twice. */
  readonly notifications: Notification[] = []
  /** The last 10,000 orders, oldest first. */
  readonly orders: RecordedOrder[] = []
  readonly #orderKeys = new RecentIds()
  readonly #notificationIds = new RecentIds()
  readonly #impressionKeys = new RecentIds()
  readonly #impressions = new Map<string, number>()
  readonly #displayKeys = new RecentIds()
  readonly #displays = new PlaceCounts()
  readonly #clicks = new PlaceCounts()
  #waiting: Array<(request: RecordedRequest) => void> = []

  record (request: RecordedRequest): void {
    this.requests.push(request)
    if (this.requests.length > MAX_REQUESTS) this.requests.shift()
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve(request)
  }

  /** Records a notification. Returns whether its id is new. */
  accept (notification: Notification): boolean {
    this.notifications.push(notification)
    if (this.notifications.length > MAX_NOTIFICATIONS) this.notifications.shift()
    return this.#notificationIds.add(notification.id)
  }

  /**
   * Records the order of some details, if they have one.
   *
   * @param impressionId under which it counts once for its place
   */
  order (details: RequestDetails | undefined, mbox: string | undefined, impressionId?: string): void {
    if (details?.order === undefined) return
    if (impressionId !== undefined && !this.#orderKeys.add(JSON.stringify([impressionId, mbox, details.order.id]))) return
    const { order, product, parameters } = details
    this.orders.push({ ...order, mbox, ...(product !== undefined && { product }), ...(parameters !== undefined && { parameters }) })
    if (this.orders.length > MAX_ORDERS) this.orders.shift()
  }

  /** Counts an impression of an activity, once for one impression id. */
  count (impressionId: string, activityId: string): void {
    if (this.#impressionKeys.add(`${activityId}:${impressionId}`)) {
      this.#impressions.set(activityId, this.impressions(activityId) + 1)
    }
  }

  /** Counts a display of a place, once for one impression id. */
  display (impressionId: string, location: Location): void {
    const key = keyOf(location)
    if (this.#displayKeys.add(`${key}:${impressionId}`)) this.#displays.add(key)
  }

  /** Counts a click. */
  click (location: Location): void {
    this.#clicks.add(keyOf(location))
  }

  /** Displays of a place. */
  displays (location: Location): number {
    return this.#displays.of(keyOf(location))
  }

  /** Clicks of a place. */
  clicks (location: Location): number {
    return this.#clicks.of(keyOf(location))
  }

  /** Impressions of one activity, or of all. */
  impressions (activityId?: number | string): number {
    if (activityId !== undefined) return this.#impressions.get(String(activityId)) ?? 0
    return [...this.#impressions.values()].reduce((sum, count) => sum + count, 0)
  }

  /** The next request to arrive. */
  nextRequest (): Promise<RecordedRequest> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Clears everything; waits for the next request continue. */
  reset (): void {
    this.requests.length = 0
    this.notifications.length = 0
    this.orders.length = 0
    this.#orderKeys.clear()
    this.#notificationIds.clear()
    this.#impressionKeys.clear()
    this.#impressions.clear()
    this.#displayKeys.clear()
    this.#displays.clear()
    this.#clicks.clear()
  }
}

/** View names match in any case. */
const keyOf = ({ kind, name }: Location) => `${kind}/${kind === 'views' ? name.toLowerCase() : name}`
