/**
 * What conditions can ask of a URL.
 *
 * Not WHATWG: nothing is encoded or normalised, and without a scheme the text up to the first slash is the host. Source:
 * behaviour of `@adobe/target-nodejs-sdk` 2.4.3, which bundles `parse-uri` and the Public Suffix List of `psl`.
 */
import psl from 'psl'

/** The parts of a URL. Each has a lower-case twin, `<part>_lc`. */
export const URL_PARTS = ['url', 'path', 'query', 'fragment', 'subdomain', 'domain', 'topLevelDomain'] as const

/** One of them. */
export type UrlPart = typeof URL_PARTS[number]

/** host, path, query, fragment; scheme, credentials and port are passed over. Every part of it takes linear time. */
const SPLIT = /^(?:(?![^:@]+:[^:@/]*@)[^:/?#.]+:)?(?:\/\/)?(?:[^:@]*(?::[^:@]*)?@)?([^:/?#]*)(?::\d*)?(\/[^?#]*|[^?#/]*)(?:\?([^#]*))?(?:#(.*))?/

interface Domain {
  subdomain: string
  domain: string
  topLevelDomain: string
}

/** A URL whose parts are computed when first read: most rules read none or one of them. */
export class Url {
  readonly url: string
  #split: RegExpExecArray | null | undefined
  #domain: Domain | undefined

  /** @param url whatever came in its place; anything but a string counts as empty */
  constructor (url: unknown) {
    this.url = typeof url === 'string' ? url : ''
  }

  #part (index: number): string {
    this.#split ??= SPLIT.exec(this.url)
    return this.#split?.[index] ?? ''
  }

  get path (): string { return this.#part(2) }
  get query (): string { return this.#part(3) }
  get fragment (): string { return this.#part(4) }

  get #names (): Domain { return (this.#domain ??= domainOf(this.#part(1))) }
  get subdomain (): string { return this.#names.subdomain }
  get domain (): string { return this.#names.domain }
  get topLevelDomain (): string { return this.#names.topLevelDomain }

  /** All parts and their lower-case twins as a plain object. */
  toObject (): Record<string, string> {
    const parts = URL_PARTS.map((part) => [part, this[part]] as const)
    return Object.fromEntries([...parts, ...parts.map(([part, value]) => [`${part}_lc`, value.toLowerCase()])])
  }
}

/**
 * Registrable domain, what stands before it, and the public suffix; private suffixes count. A host without a known suffix
 * (an address, `localhost`, a bad name) is its own domain with the other two empty.
 */
function domainOf (host: string): Domain {
  // Host names have at most 253 characters and no underscore: the list in Adobe's SDK refuses them, newer ones do not.
  const parsed = host.length < 256 && !host.includes('_') ? psl.parse(host) : undefined
  if (parsed === undefined || parsed.error !== undefined || !parsed.listed || parsed.domain === null) {
    return { subdomain: '', domain: host, topLevelDomain: '' }
  }
  const subdomain = parsed.subdomain ?? ''
  return {
    // Four characters go from any name that begins with "www", as in the SDK.
    subdomain: subdomain.startsWith('www') ? subdomain.slice(4) : subdomain,
    domain: parsed.domain,
    topLevelDomain: parsed.tld ?? ''
  }
}
