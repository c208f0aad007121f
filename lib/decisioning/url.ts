/**
 * The parts of a URL that conditions can compare.
 *
 * Not WHATWG: nothing is encoded or normalised, and without a scheme the text up to the first slash is the host. Source:
 * behaviour of `@adobe/target-nodejs-sdk` 2.4.3, which bundles `parse-uri` and the Public Suffix List of `psl`.
 */
/// <reference path="./psl.d.ts" />
import type psl from 'psl'

/** host, path, query, fragment; scheme, credentials and port are skipped. Every part matches in linear time. */
const SPLIT = /^(?:(?![^:@]+:[^:@/]*@)[^:/?#.]+:)?(?:\/\/)?(?:[^:@]*(?::[^:@]*)?@)?([^:/?#]*)(?::\d*)?(\/[^?#]*|[^?#/]*)(?:\?([^#]*))?(?:#(.*))?/

interface Domain {
  subdomain: string
  domain: string
  topLevelDomain: string
}

let suffixes: typeof psl | undefined

/** Loads the Public Suffix List. Deferred, since it takes tens of milliseconds and is not needed with server-side decisioning. */
export async function loadSuffixes (): Promise<void> {
  suffixes ??= (await import('psl')).default
}

/** The last host: most pages of an app have the same one, and the list of suffixes is long. */
let last: { host: string, names: Domain } | undefined

/**
 * A URL whose parts are computed when first read: most rules read none or one of them. Domains are available once
 * {@link loadSuffixes} has resolved.
 */
export class Url {
  readonly url: string
  #split: RegExpExecArray | null | undefined
  #domain: Domain | undefined

  /** @param url anything but a string counts as empty */
  constructor (url: unknown) {
    this.url = typeof url === 'string' ? url : ''
  }

  #part (index: number): string {
    this.#split ??= SPLIT.exec(this.url)
    return this.#split?.[index] ?? ''
  }

  get #names (): Domain {
    if (this.#domain === undefined) {
      const host = this.#part(1)
      if (last?.host !== host) last = { host, names: domainOf(host) }
      this.#domain = last.names
    }
    return this.#domain
  }

  get path (): string { return this.#part(2) }
  get query (): string { return this.#part(3) }
  get fragment (): string { return this.#part(4) }
  get subdomain (): string { return this.#names.subdomain }
  get domain (): string { return this.#names.domain }
  get topLevelDomain (): string { return this.#names.topLevelDomain }

  /** All parts and their lower-case twins as a plain object. */
  toObject (): Record<string, string> {
    const parts = [...URL_PARTS].map(([part, read]) => [part, read(this)] as const)
    return Object.fromEntries([...parts, ...parts.map(([part, value]) => [`${part}_lc`, value.toLowerCase()])])
  }
}

/** The parts of a URL by their names in conditions. Each has a lower-case twin, `<part>_lc`. */
export const URL_PARTS: ReadonlyMap<string, (url: Url) => string> = new Map<string, (url: Url) => string>([
  ['url', (url) => url.url],
  ['path', (url) => url.path],
  ['query', (url) => url.query],
  ['fragment', (url) => url.fragment],
  ['subdomain', (url) => url.subdomain],
  ['domain', (url) => url.domain],
  ['topLevelDomain', (url) => url.topLevelDomain]
])

/**
 * Registrable domain, subdomain and public suffix; private suffixes count. A host without a known suffix (an IP address,
 * `localhost`, an invalid name) is its own domain, with the other two empty.
 */
function domainOf (host: string): Domain {
  // Host names have at most 253 characters and no underscore: the list in Adobe's SDK refuses them, newer ones do not.
  const parsed = host.length < 256 && !host.includes('_') ? suffixes?.parse(host) : undefined
  if (parsed === undefined || parsed.error !== undefined || !parsed.listed || parsed.domain === null) {
    return { subdomain: '', domain: host, topLevelDomain: '' }
  }
  const subdomain = parsed.subdomain ?? ''
  return {
    // As in the SDK, four characters are removed from any name that begins with "www".
    subdomain: subdomain.startsWith('www') ? subdomain.slice(4) : subdomain,
    domain: parsed.domain,
    topLevelDomain: parsed.tld ?? ''
  }
}
