/**
 * Where a call goes: the edge's origin, and the path with its query string.
 */
import { isSessionId } from '../visitor/cookies.ts'

/** The settings that an address depends on. */
export interface EdgeAddressSettings {
  client: string
  organizationId: string
  /** Host (and port) that always wins over a visitor's location hint. */
  serverDomain?: string
  secure: boolean
  /** `version` in the query string. */
  version?: string
}

/** For how many ms a location hint is not used after its host was unknown to DNS, and how many such hints are kept. */
const DEAD_FOR = 300_000
const MAX_DEAD = 64

/** Addresses of one client's calls; their constant parts are joined once. */
export class EdgeAddress {
  readonly #settings: EdgeAddressSettings
  readonly #scheme: string
  /** Of visitors without a location hint, or of all. */
  readonly #origin: string
  readonly #start: string
  readonly #end: string
  /** Location hints of clusters that no longer exist, and until when they are not used. */
  readonly #dead = new Map<string, number>()

  constructor (settings: EdgeAddressSettings) {
    const { secure, organizationId, version, serverDomain, client } = settings
    this.#settings = settings
    this.#scheme = secure ? 'https://' : 'http://'
    this.#origin = this.#scheme + (serverDomain ?? `${client}.tt.omtrdc.net`)
    // Adobe's specification of 2025 requires `client`, its SDKs send `imsOrgId`; Target accepts both.
    this.#start = `/rest/v1/delivery?imsOrgId=${encodeURIComponent(organizationId)}&client=${encodeURIComponent(client)}&sessionId=`
    this.#end = version === undefined ? '' : `&version=${encodeURIComponent(version)}`
  }

  /** The location hint to use: the visitor's, or none if its cluster no longer exists. */
  hintFor (locationHint: string | undefined): string | undefined {
    if (locationHint === undefined || this.#dead.size === 0) return locationHint
    const until = this.#dead.get(locationHint)
    if (until === undefined) return locationHint
    if (performance.now() < until) return undefined
    this.#dead.delete(locationHint)
    return locationHint
  }

  /** To be called if a cluster's host is unknown to DNS, while the client's own is not. */
  markDead (locationHint: string): void {
    if (this.#dead.size < MAX_DEAD) this.#dead.set(locationHint, performance.now() + DEAD_FOR)
  }

  /** Whether a location hint makes a difference. */
  get usesHints (): boolean {
    return this.#settings.serverDomain === undefined
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

/** `encodeURIComponent` is enough for session ids that the edge accepts; it refuses all others. */
function encodeSessionId (sessionId: unknown): string {
  return isSessionId(sessionId) ? encodeURIComponent(sessionId) : new URLSearchParams({ id: String(sessionId) }).toString().slice(3)
}
