/**
 * Where a call goes: the edge's origin, and the path with its query string.
 */
import { isSessionId } from '../visitor/cookies.ts'

/** What the address depends on. */
export interface EdgeAddressSettings {
  client: string
  organizationId: string
  /** Host (and port) that always wins over a visitor's location hint. */
  serverDomain?: string
  secure: boolean
  /** `version` in the query string. */
  version?: string
}

/** Addresses of one client's calls; what does not change from call to call is put together once. */
export class EdgeAddress {
  readonly #settings: EdgeAddressSettings
  readonly #scheme: string
  /** Of visitors without a location hint, or of all. */
  readonly #origin: string
  readonly #start: string
  readonly #end: string

  constructor (settings: EdgeAddressSettings) {
    const { secure, organizationId, version, serverDomain, client } = settings
    this.#settings = settings
    this.#scheme = secure ? 'https://' : 'http://'
    this.#origin = this.#scheme + (serverDomain ?? `${client}.tt.omtrdc.net`)
    // Adobe's specification of 2025 requires `client`, its SDKs send `imsOrgId`; Target accepts both.
    this.#start = `/rest/v1/delivery?imsOrgId=${encodeURIComponent(organizationId)}&client=${encodeURIComponent(client)}&sessionId=`
    this.#end = version === undefined ? '' : `&version=${encodeURIComponent(version)}`
  }

  /**
   * @param locationHint a cluster number, checked to be one before it gets here
   */
  origin (locationHint: string | undefined): string {
    return locationHint === undefined || this.#settings.serverDomain !== undefined
      ? this.#origin
      : `${this.#scheme}mboxedge${locationHint}.tt.omtrdc.net`
  }

  path (sessionId: string): string {
    return this.#start + (/^[\w.-]{1,128}$/.test(sessionId) ? sessionId : encodeSessionId(sessionId)) + this.#end
  }
}

/** What the edge accepts as a session id needs no more than `encodeURIComponent`; the rest is the edge's to refuse. */
function encodeSessionId (sessionId: unknown): string {
  return isSessionId(sessionId) ? encodeURIComponent(sessionId) : new URLSearchParams({ id: String(sessionId) }).toString().slice(3)
}
