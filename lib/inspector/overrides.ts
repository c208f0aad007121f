/**
 * Overrides: what one browser gets instead of Target's offers, kept in a signed cookie. Set by a link such as `/?target_override=hero:B`
 * or by the inspector's forms. Only forms may set custom content: a link could put foreign markup into the page.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ForcedOffer, PageOverrides } from '../offers/inspection.ts'
import type { Catalog } from './catalog.ts'
import { cookieOf, setCookie } from './cookie.ts'
import type { Signer } from './signed.ts'

/** Name of the cookie and of the parameter. */
export const OVERRIDE = 'target_override'

/** A working day. */
const LIFETIME = 8 * 3600_000

const MAX_OVERRIDES = 20
const MAX_NAME = 250
const MAX_CONTENT = 2000
/** Browsers keep cookies of 4096 bytes, attributes and name included. */
const MAX_COOKIE = 3700

/** What is forced, in a cookie: `none`, `timeout`, `status:500`, `experience:B` or `content:…`, by mbox; `*` is everything. */
export type OverrideValues = ReadonlyMap<string, string>

/** The overrides of one browser. */
export class Overrides implements PageOverrides {
  readonly values: OverrideValues
  readonly #catalog: Catalog

  constructor (values: OverrideValues, catalog: Catalog) {
    this.values = values
    this.#catalog = catalog
  }

  find (mbox: string | undefined): ForcedOffer | undefined {
    const own = mbox === undefined ? undefined : this.values.get(mbox)
    const value = own ?? this.values.get('*')
    if (value === undefined) return undefined
    if (value === 'none') return mbox === undefined ? undefined : { kind: 'options', options: [] }
    if (value === 'timeout') return { kind: 'fault', fault: 'timeout' }
    const [kind, rest] = split(value)
    switch (kind) {
      case 'status': return { kind: 'fault', fault: Number(rest) }
      case 'content': return { kind: 'options', options: [contentOption(rest)] }
      case 'experience': {
        const experience = this.#catalog.find(mbox ?? '', rest)
        return experience === undefined ? undefined : { kind: 'options', options: experience.options }
      }
    }
  }

  /** In words, by mbox. */
  describe (): string[] {
    return [...this.values].map(([mbox, value]) => `${mbox === '*' ? 'everything' : mbox}: ${this.#words(mbox, value)}`)
  }

  #words (mbox: string, value: string): string {
    const [kind, rest] = split(value)
    switch (kind) {
      case 'none': return 'no offer'
      case 'status': return `error ${rest}`
      case 'content': return 'own content'
      case 'experience': {
        const experience = this.#catalog.find(mbox, rest)
        return experience === undefined ? `experience ${rest} is not known, so Target decides` : `experience ${experience.name || experience.id}`
      }
    }
    return kind
  }
}

/** JSON content is an object or a list, as it is in Target; everything else is html. */
function contentOption (content: string) {
  if (/^\s*[[{]/.test(content)) {
    try {
      return { type: 'json' as const, content: JSON.parse(content) as Record<string, unknown> }
    } catch {}
  }
  return { type: 'html' as const, content }
}

function split (value: string): [kind: string, rest: string] {
  const colon = value.indexOf(':')
  return colon === -1 ? [value, ''] : [value.slice(0, colon), value.slice(colon + 1)]
}

/**
 * Reads one mbox's override from a link or a form.
 *
 * @returns undefined if it is invalid; an empty string removes the override
 */
export function readValue (mbox: string, given: string): string | undefined {
  if (mbox === '' || mbox.length > MAX_NAME) return undefined
  if (given === '') return ''
  if (given === 'none' || given === 'timeout') return given
  const [kind, rest] = split(given)
  if (kind === 'status') return /^[345]\d\d$/.test(rest) ? given : undefined
  return mbox === '*' || given.length > 200 ? undefined : `experience:${kind === 'experience' ? rest : given}`
}

/** Reads and writes the overrides of browsers. */
export class OverrideStore {
  readonly #signer: Signer
  readonly #purpose: string
  readonly #catalog: Catalog

  constructor (signer: Signer, client: string, catalog: Catalog) {
    this.#signer = signer
    this.#purpose = `override ${client}`
    this.#catalog = catalog
  }

  /** The overrides of a browser; undefined without a valid cookie. */
  read (request: FastifyRequest): Overrides | undefined {
    const token = cookieOf(request, OVERRIDE)
    if (token === undefined) return undefined
    const entries = this.#signer.read(this.#purpose, token)
    return Array.isArray(entries) && entries.length > 0 ? new Overrides(new Map(entries as Array<[string, string]>), this.#catalog) : undefined
  }

  /**
   * The overrides of a browser after a link: `?target_override=hero:B,banner:none`. An empty parameter removes all.
   *
   * @returns undefined if the address has no such parameter
   */
  readLink (request: FastifyRequest): OverrideValues | undefined {
    const { originalUrl } = request
    if (!originalUrl.includes(`${OVERRIDE}=`)) return undefined
    const given = new URLSearchParams(originalUrl.slice(originalUrl.indexOf('?') + 1)).getAll(OVERRIDE)
    if (given.length === 0) return undefined
    const values = new Map(given.includes('') ? [] : this.read(request)?.values ?? [])
    for (const entry of given.join(',').split(',', MAX_OVERRIDES)) {
      const [mbox, value] = split(entry)
      const known = readValue(mbox.trim(), value.trim())
      if (known !== undefined) assign(values, mbox.trim(), known)
    }
    return values
  }

  /** @returns false if it does not fit into a cookie */
  write (request: FastifyRequest, reply: FastifyReply, values: OverrideValues): boolean {
    if (values.size === 0) {
      setCookie(request, reply, OVERRIDE, '', 0)
      return true
    }
    const token = this.#signer.sign(this.#purpose, [...values].slice(-MAX_OVERRIDES), LIFETIME)
    if (token.length > MAX_COOKIE) return false
    setCookie(request, reply, OVERRIDE, token, LIFETIME)
    return true
  }

  of (values: OverrideValues): Overrides {
    return new Overrides(values, this.#catalog)
  }
}

/** Custom content, as a form sends it. */
export function ownContent (content: string): string | undefined {
  return content.length > MAX_CONTENT ? undefined : `content:${content.replaceAll('\r\n', '\n')}`
}

export function assign (values: Map<string, string>, mbox: string, value: string): void {
  values.delete(mbox)
  if (value !== '') values.set(mbox, value)
}

/** An address without the parameter. */
export function withoutOverride (url: string): string {
  const mark = url.indexOf('?')
  const pairs = url.slice(mark + 1).split('&').filter((pair) => pair.split('=', 1)[0] !== OVERRIDE)
  // A path that begins with two slashes, or an address as its target, would lead to another host.
  const path = url.slice(0, mark).replace(/^(?:[^/]*:)?[/\\]+/, '/')
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`
}
