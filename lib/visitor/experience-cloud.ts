/**
 * The Experience Cloud side of a visitor: ECID and Audience Manager values from the AMCV cookie, customer ids, supplemental data
 * ids, and the state that Adobe's VisitorAPI.js takes over in the browser.
 *
 * `ExperienceCloudVisitor` has the methods that the Node SDK calls on its `visitor` option, so either can be used.
 */
import { randomUUID } from 'node:crypto'
import type { AudienceManager, AuthenticatedState, CustomerId } from '../schema/index.ts'
import { idText } from '../schema/acceptable.ts'

/** Authentication states of a customer id in the Visitor API form, as in the Node SDK's `TargetClient.AuthState`. */
export const AuthState = Object.freeze({ UNKNOWN: 0, AUTHENTICATED: 1, LOGGED_OUT: 2 } as const)

/** Customer ids in the Visitor API form: `{ userid: { id: 'x', authState: AuthState.AUTHENTICATED }, other: 'y' }`. */
export type VisitorCustomerIds = Record<string, string | number | { id?: string | number, authState?: 0 | 1 | 2 }>

/** Supplemental data ids of one page, in the format of VisitorAPI.js. */
export interface SupplementalDataState {
  supplementalDataIDCurrent?: string
  supplementalDataIDCurrentConsumed?: Record<string, boolean>
  supplementalDataIDLast?: string
  supplementalDataIDLastConsumed?: Record<string, boolean>
}

/** The `serverState` of `Visitor.getInstance('<org>', { serverState })`: state by organization id. */
export type VisitorState = Record<string, { customerIDs?: VisitorCustomerIds, sdid?: SupplementalDataState }>

/** The methods required of a visitor: the part of Adobe's server-side `Visitor` that the Node SDK uses. */
export interface VisitorLike {
  getVisitorValues (): Record<string, string | undefined> | undefined
  getState (): VisitorState
  getSupplementalDataID (consumerId: string): string
  setCustomerIDs? (customerIds: VisitorCustomerIds): void
}

/** Default consumer of a supplemental data id, as in the SDK. */
export const DEFAULT_CONSUMER_ID = 'target-global-mbox'

const AUTHENTICATED_STATES: Record<number, AuthenticatedState> = { 0: 'unknown', 1: 'authenticated', 2: 'logged_out' }
const MAX_COOKIE_LENGTH = 8192
const VISITOR_VALUES = ['MCMID', 'MCAAMLH', 'MCAAMB']

/**
 * Reads an AMCV cookie: `|`-separated keys and values, plain or percent-encoded; a key may end in `-<expiry>`, which is
 * ignored, as by the server-side `Visitor`.
 *
 * @returns `MCMID`, the ECID; `MCAAMLH`, the location hint; `MCAAMB`, the blob; none of them if it is malformed
 */
export function parseVisitorCookie (cookie: string | undefined): Record<string, string> {
  const values: Record<string, string> = {}
  if (cookie === undefined || cookie.length > MAX_COOKIE_LENGTH) return values
  let text = cookie
  if (text.includes('%')) {
    try {
      text = decodeURIComponent(text)
    } catch {
      return values
    }
  }
  const parts = text.split('|')
  // A version number may come first: `-1712354808|MCMID|1234…|MCAAMLH-1609459200|6|…`.
  for (let i = /^-?\d+$/.test(parts[0]!) ? 1 : 0; i + 1 < parts.length; i += 2) {
    const key = parts[i]!.split('-', 1)[0]!
    const value = parts[i + 1]!
    if (VISITOR_VALUES.includes(key) && value !== '' && value !== 'NONE') values[key] = value
  }
  return values
}

/** A new supplemental data id: two groups of 16 random hexadecimal digits. */
function createSupplementalDataId (): string {
  const uuid = randomUUID().toUpperCase()
  return `${uuid.slice(0, 8)}${uuid.slice(9, 13)}${uuid.slice(14, 18)}-${uuid.slice(19, 23)}${uuid.slice(24)}`
}

/** One visitor of one organization, for the lifetime of one page. */
export class ExperienceCloudVisitor implements VisitorLike {
  readonly #organizationId: string
  readonly #values: Record<string, string>
  #customerIds: VisitorCustomerIds | undefined
  #current: string | undefined
  /** Consumers that have used the current id. */
  #currentConsumers: string[] = []
  #last: string | undefined
  #lastConsumers: string[] = []

  constructor (organizationId: string, visitorCookie: string | undefined) {
    this.#organizationId = organizationId
    this.#values = parseVisitorCookie(visitorCookie)
  }

  /** The AMCV cookie's values by key. */
  getVisitorValues (): Record<string, string | undefined> {
    return this.#values
  }

  /** Replaces the customer ids, which are in the Visitor API form. */
  setCustomerIDs (customerIds: VisitorCustomerIds): void {
    this.#customerIds = { ...customerIds }
  }

  /**
   * The supplemental data id for a consumer: the page's own for each new consumer, a fresh one for a consumer that has already
   * used it, so that the calls of one page are joined and those of the next are not.
   */
  getSupplementalDataID (consumerId: string): string {
    if (this.#last !== undefined && !this.#lastConsumers.includes(consumerId)) {
      this.#lastConsumers.push(consumerId)
      return this.#last
    }
    if (this.#current === undefined || this.#currentConsumers.includes(consumerId)) {
      this.#last = this.#current
      this.#lastConsumers = this.#currentConsumers
      this.#current = createSupplementalDataId()
      this.#currentConsumers = []
    }
    this.#currentConsumers.push(consumerId)
    return this.#current
  }

  /** The state for VisitorAPI.js; a copy, by organization id. */
  getState (): VisitorState {
    const state: VisitorState[string] = {}
    if (this.#customerIds !== undefined) state.customerIDs = { ...this.#customerIds }
    if (this.#current !== undefined) {
      state.sdid = {
        supplementalDataIDCurrent: this.#current,
        supplementalDataIDCurrentConsumed: consumed(this.#currentConsumers),
        ...(this.#last !== undefined && { supplementalDataIDLast: this.#last }),
        supplementalDataIDLastConsumed: consumed(this.#lastConsumers)
      }
    }
    return { [this.#organizationId]: state }
  }
}

/** Consumers in the format of VisitorAPI.js. */
const consumed = (consumers: string[]): Record<string, boolean> => Object.fromEntries(consumers.map((consumer) => [`payload:${consumer}`, true]))

/** Customer ids as passed by the caller, in either form. */
export type CustomerIds = VisitorCustomerIds | CustomerId[]

/** Converts the Visitor API form to the Delivery API's. Blank entries are left out, numbers become text. */
export function toDeliveryCustomerIds (customerIds: VisitorCustomerIds | undefined): CustomerId[] {
  const result: CustomerId[] = []
  for (const [integrationCode, value] of Object.entries(customerIds ?? {})) {
    if (typeof value === 'object' && value !== null) {
      const customerId: Partial<CustomerId> = { integrationCode }
      const id = idText(value.id)
      if (id !== undefined) customerId.id = id
      const state = value.authState === undefined ? undefined : AUTHENTICATED_STATES[value.authState]
      if (state !== undefined) customerId.authenticatedState = state
      result.push(customerId as CustomerId)
    } else {
      const id = idText(value)
      if (id !== undefined) result.push({ id, integrationCode, authenticatedState: 'unknown' })
    }
  }
  return result
}

/** Largest integer of the API; too many digits would become `Infinity`, and `null` as JSON. */
const MAX_INTEGER = 2 ** 31 - 1

/** Audience Manager's values from the caller, else from the AMCV cookie. */
export function createAudienceManager (given: AudienceManager | undefined, visitor: VisitorLike): AudienceManager | undefined {
  const values = visitor.getVisitorValues()
  if (given === undefined && values?.MCAAMLH === undefined && values?.MCAAMB === undefined) return undefined
  const result: AudienceManager = {}
  const hint = Number.parseInt(values?.MCAAMLH ?? '', 10)
  if (given?.locationHint !== undefined) result.locationHint = given.locationHint
  // Limits of the Delivery API: the edge would refuse the whole request for an invalid value from a cookie.
  else if (hint >= 1 && hint <= MAX_INTEGER) result.locationHint = hint
  if (given?.blob !== undefined) result.blob = given.blob
  else if (values?.MCAAMB && values.MCAAMB.length <= 1024) result.blob = values.MCAAMB
  return Object.keys(result).length > 0 ? result : undefined
}
