/**
 * The facts that conditions are evaluated with: the visitor's browser, the page, the parameters and so on, each computed when
 * a rule first reads it, and at most once.
 */
import type { Context, RequestDetails, VisitorId } from '../schema/index.ts'
import { allocate, allocationId } from './allocation.ts'
import { type UserFacts, userFacts } from './browser.ts'
import { parameterFacts, type ParameterFacts } from './parameters.ts'
import { Url, URL_PARTS } from './url.ts'
import { upperCased } from './place-name.ts'

/** The visitor's location; unknown parts are undefined. */
export interface GeoFacts {
  country: unknown
  region: unknown
  city: unknown
  latitude: unknown
  longitude: unknown
}

/** An activity of the artifact. */
export interface Activity {
  /** Its id, as used for the allocation. */
  readonly id: string
  /** Its index among the artifact's activities. */
  readonly place: number
}

/** Facts about the whole request. */
export class RequestFacts {
  readonly now: number
  readonly #context: Partial<Context>
  readonly #client: string
  readonly #visitor: string
  readonly #allocations: number[] = []
  #user: UserFacts | undefined
  #page: Url | undefined
  #referring: Url | undefined
  #geo: GeoFacts | undefined
  #place: GeoFacts | undefined

  /**
   * @param context of the request; undefined if it has none
   * @param id the visitor's ids, complete
   * @param client Target client code
   * @param now milliseconds since the epoch
   */
  constructor (context: Context | undefined, id: VisitorId, client: string, now: number) {
    this.now = now
    this.#context = context ?? {}
    this.#client = client
    this.#visitor = allocationId(id)
  }

  get user (): UserFacts {
    return (this.#user ??= userFacts(this.#context.userAgent, this.#context.clientHints))
  }

  get page (): Url { return (this.#page ??= new Url(this.#context.address?.url)) }
  get referring (): Url { return (this.#referring ??= new Url(this.#context.address?.referringUrl)) }

  get geo (): GeoFacts {
    if (this.#geo === undefined) {
      const { countryCode, stateCode, city, latitude, longitude } = this.#context.geo ?? {}
      this.#geo = { country: countryCode, region: stateCode, city, latitude, longitude }
    }
    return this.#geo
  }

  /** The location in upper case, as in rules. */
  get place (): GeoFacts {
    if (this.#place === undefined) {
      const { country, region, city, latitude, longitude } = this.geo
      this.#place = { country: upperCased(country), region: upperCased(region), city: upperCased(city), latitude, longitude }
    }
    return this.#place
  }

  /** UTC, HHmm. */
  get currentTime (): string {
    const now = new Date(this.now)
    return `${now.getUTCHours()}`.padStart(2, '0') + `${now.getUTCMinutes()}`.padStart(2, '0')
  }

  /** UTC, 1 (Monday) to 7 (Sunday). */
  get currentDay (): number { return new Date(this.now).getUTCDay() || 7 }

  /** The visitor's bucket in an activity, 0 to 99.99. */
  allocation ({ id, place }: Activity): number {
    return (this.#allocations[place] ??= allocate(this.#client, id, this.#visitor))
  }
}

/** Facts about one mbox, page load or view of the request; its own address has precedence over the page's. */
export class Facts {
  readonly request: RequestFacts
  readonly #details: RequestDetails
  #page: Url | undefined
  #referring: Url | undefined
  #mbox: ParameterFacts | undefined

  /** The activity whose rule is being evaluated. */
  activity: Activity = { id: '', place: 0 }

  constructor (request: RequestFacts, details: RequestDetails) {
    this.request = request
    this.#details = details
  }

  get page (): Url {
    const { address } = this.#details
    return (this.#page ??= address === undefined ? this.request.page : new Url(address?.url))
  }

  get referring (): Url {
    const { address } = this.#details
    return (this.#referring ??= address === undefined ? this.request.referring : new Url(address?.referringUrl))
  }

  get mbox (): ParameterFacts { return (this.#mbox ??= parameterFacts(this.#details.parameters)) }

  /** The visitor's bucket in that activity, 0 to 99.99. */
  get allocation (): number { return this.request.allocation(this.activity) }

  /** Everything as a plain object: for traces and for conditions that read a whole branch. */
  toObject (): Record<string, unknown> {
    return {
      current_timestamp: this.request.now,
      current_time: this.request.currentTime,
      current_day: this.request.currentDay,
      user: this.request.user,
      page: this.page.toObject(),
      referring: this.referring.toObject(),
      geo: this.request.place,
      mbox: this.mbox,
      allocation: this.allocation
    }
  }
}

/** Reads one fact. */
export type FactReader = (facts: Facts) => unknown

const readers: ReadonlyMap<string, FactReader> = new Map<string, FactReader>([
  ['allocation', (facts) => facts.allocation],
  ['current_timestamp', (facts) => facts.request.now],
  ['current_time', (facts) => facts.request.currentTime],
  ['current_day', (facts) => facts.request.currentDay],
  ['user.browserType', (facts) => facts.request.user.browserType],
  ['user.platform', (facts) => facts.request.user.platform],
  ['user.locale', (facts) => facts.request.user.locale],
  ['user.browserVersion', (facts) => facts.request.user.browserVersion],
  ['geo.country', (facts) => facts.request.place.country],
  ['geo.region', (facts) => facts.request.place.region],
  ['geo.city', (facts) => facts.request.place.city],
  ['geo.latitude', (facts) => facts.request.place.latitude],
  ['geo.longitude', (facts) => facts.request.place.longitude],
  ...[...URL_PARTS].flatMap(([part, read]): Array<[string, FactReader]> => [
    [`page.${part}`, (facts) => read(facts.page)],
    [`page.${part}_lc`, (facts) => read(facts.page).toLowerCase()],
    [`referring.${part}`, (facts) => read(facts.referring)],
    [`referring.${part}_lc`, (facts) => read(facts.referring).toLowerCase()]
  ])
])

/** Resolves a path such as `page.domain_lc` or `mbox.favorite.color` to its reader, once. */
export function factReader (path: string): FactReader {
  const reader = readers.get(path)
  if (reader !== undefined) return reader
  const [branch, ...rest] = path.split('.')
  if (branch === 'mbox') return (facts) => readPath(facts.mbox, rest)
  return (facts) => readPath(facts.toObject(), [branch!, ...rest])
}

/** Reads a path through own properties only, so that none reaches a prototype; undefined if it does not exist. */
export function readPath (data: unknown, path: readonly string[]): unknown {
  for (const name of path) {
    if (data === null || data === undefined || !Object.hasOwn(Object(data), name)) return undefined
    data = (data as Record<string, unknown>)[name]
  }
  return data
}
