/**
 * The visitor of one call on the Edge Network, for callers without Fastify: read from Web SDK's cookies, which the caller passes.
 * For the visitor of a page, see `visitor/visitor.ts`.
 */
import { randomUUID } from 'node:crypto'
import type { VisitorId } from '../schema/index.ts'
import { readCookieHeader, type CookieNames } from '../visitor/cookies.ts'
import { ecidOfFirstPartyId, ecidOfWebSdk } from '../visitor/ecid.ts'
import { addEntry, edgeStatePrefix, identityIn, isOptedOut, locationIn, type EdgeState, type StateEntry } from '../visitor/edge-state.ts'
import { visitorSettings } from '../visitor/visitor.ts'

/** Cookies of a request: the `Cookie` header, or decoded values by name, such as `request.cookies` of `@fastify/cookie`. */
export type EdgeCookies = string | { readonly [name: string]: string | undefined }

/** The settings of `edgeNetwork` that say who a visitor is. */
export interface EdgeVisitorSettings {
  thirdPartyIdNamespace?: string
  defaultConsent?: 'in' | 'pending' | 'out'
}

/** What the cookies say about a visitor. */
export interface EdgeVisitor {
  state: EdgeState
  location: string | undefined
  ecid: string | undefined
  /** Whether the visitor's choice, or the lack of one, forbids calls to Target. */
  isOptedOut: boolean
}

/** Reads the visitors of one organization. */
export class EdgeVisitors {
  readonly #organizationId: string
  readonly #settings: EdgeVisitorSettings
  readonly #prefix: string
  readonly #cookieNames: CookieNames

  constructor (organizationId: string, settings: EdgeVisitorSettings) {
    this.#organizationId = organizationId
    this.#settings = settings
    this.#prefix = edgeStatePrefix(organizationId)
    this.#cookieNames = visitorSettings(organizationId, { edgeNetwork: {} }).cookieNames
  }

  /**
   * Malformed, oversized and foreign cookies count as absent.
   *
   * @param ownId the caller's own ECID: the cookie must not say otherwise
   */
  read (cookies: EdgeCookies | undefined, ownId: string | undefined): EdgeVisitor {
    let entries = typeof cookies === 'string' ? readCookieHeader(cookies, this.#cookieNames).edgeState : this.#ofObject(cookies ?? {})
    const ecid = ecidOfWebSdk(identityIn(entries, this.#prefix))
    if (ownId && ownId !== ecid) entries = entries.filter(({ key }) => key !== `${this.#prefix}identity`)
    return {
      state: { entries },
      location: locationIn(entries, this.#prefix),
      ecid,
      isOptedOut: isOptedOut(entries, this.#prefix, this.#settings.defaultConsent ?? 'in')
    }
  }

  /** Whether some ids identify a visitor of the Edge Network. Target's own ids do not. */
  knows ({ marketingCloudVisitorId, thirdPartyId, customerIds = [] }: VisitorId): boolean {
    return Boolean(marketingCloudVisitorId) || (Boolean(thirdPartyId) && this.#settings.thirdPartyIdNamespace !== undefined) || customerIds.length > 0
  }

  /** The ECID of a new visitor, as the Edge Network makes them. */
  newEcid (): string {
    return ecidOfFirstPartyId(this.#organizationId, randomUUID())
  }

  #ofObject (cookies: Exclude<EdgeCookies, string>): StateEntry[] {
    const entries: StateEntry[] = []
    for (const name of Object.keys(cookies)) {
      const value: unknown = cookies[name]
      if (name.startsWith(this.#prefix) && typeof value === 'string') addEntry(entries, name, value)
    }
    return entries
  }
}
