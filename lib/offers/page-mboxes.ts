/**
 * The mboxes of one page as the option `mboxes` declares them: content that matches its schema, or the fallback.
 */
import { assignAttributes, attributesOf, type AttributesReading, type ExpectAttributes } from './attributes.ts'
import { after, type Checked, type MaybePromise } from './checks.ts'
import type { DeliveryResponse } from '../schema/index.ts'
import { isThenable, type Log } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { isObject } from '../validation.ts'
import type { DeclaredMbox, DeclaredMboxes } from './mbox-declarations.ts'
import { fallbackOffer, hasContent, mboxEntries, type Offer, type OfferContent } from './offer.ts'

/** Settings shared by all requests of a plugin instance. */
export interface MboxSettings {
  mboxes: DeclaredMboxes
  /** Called with an mbox whose content does not match, and the place in it. */
  contentFailed (mbox: string, problem: string): void
  /** Prepares the second argument of `attributes()`. */
  expectAttributes: ExpectAttributes
}

/** Logs content that does not match, one line per mbox, problem and interval. */
export function contentReporter (log: Log): MboxSettings['contentFailed'] {
  return (mbox, problem) => {
    const error = failure('FST_TARGET_INVALID_RESPONSE', `the content of mbox ${mbox} does not match its schema (invalid-content): ${problem}`)
    log.failure(error, { message: `${error.message}; its fallback is used`, kind: `content ${mbox} ${problem}` })
  }
}

/** Reads the attributes of an mbox from a response, or the fallback without one. */
export interface AttributesReader {
  /** Does work that takes time in advance; undefined if there is none. Never rejects. */
  prepare?: (response: DeliveryResponse | undefined) => Promise<unknown> | undefined
  read (response: DeliveryResponse | undefined): unknown
}

/** Checks by mbox; a promise while one is pending. */
type Checks = Map<string, MaybePromise<Checked>>

/** The offers of one page as declared. A page has one response per mbox, so each content is checked once. */
export class PageMboxes {
  readonly #settings: MboxSettings
  readonly #contents: Checks = new Map()
  readonly #merged: Checks = new Map()

  constructor (settings: MboxSettings) {
    this.#settings = settings
  }

  /** An offer with content that matches, or with the fallback; `fallback`, if passed, overrides the declared one. */
  offer<Fallback> (mbox: string, offer: Offer<OfferContent, Fallback>, fallback: Fallback): Offer<OfferContent, Fallback> {
    const declared = this.#settings.mboxes.get(mbox)
    if (declared === undefined) return offer
    const otherwise = () => (fallback === undefined ? declared.otherwise() : fallback) as Fallback
    if (offer.type === undefined && offer.reason !== 'matched') return { ...offer, content: otherwise() }
    const { content, problem } = this.#check(this.#contents, mbox, declared, offer.content)
    if (problem === undefined) return { ...offer, content: content as OfferContent }
    const { options, metrics, analytics } = offer
    return { ...fallbackOffer(otherwise(), 'invalid-content'), options, metrics, analytics }
  }

  /** Whether a check of an mbox's content may take time. */
  mayWait (mbox: string): boolean {
    return this.#settings.mboxes.get(mbox)?.schema?.mayWait === true
  }

  /** Begins the check of an mbox's content; a promise of its end, which never rejects, if that takes time. */
  prepare (mbox: string, response: DeliveryResponse | undefined): Promise<unknown> | undefined {
    const declared = this.#settings.mboxes.get(mbox)
    const contents = declared?.schema === undefined || response === undefined ? [] : contentsOf(response, mbox)
    return contents.length === 0 ? undefined : this.#begin(this.#contents, mbox, declared!, contents[0])
  }

  /** The same for everything that can be read of an mbox: also for its json offers as one object. */
  prepareAll (mbox: string, response: DeliveryResponse | undefined): Promise<unknown> | undefined {
    const declared = this.#settings.mboxes.get(mbox)
    const checks = declared?.schema === undefined ? [] : [this.prepare(mbox, response), this.#prepareAttributes(mbox, declared, response)].filter((check) => check !== undefined)
    return checks.length === 0 ? undefined : Promise.all(checks)
  }

  /** The declared fallback of an mbox if it is text, else an empty text. */
  fallbackText (mbox: string): string {
    const fallback = this.#settings.mboxes.get(mbox)?.otherwise()
    return typeof fallback === 'string' ? fallback : ''
  }

  /** Whether an mbox shows Target's content: content that does not match is never shown. */
  shows (mbox: string, response: DeliveryResponse): boolean {
    const declared = this.#settings.mboxes.get(mbox)
    const [content] = declared === undefined ? [] : contentsOf(response, mbox)
    return content === undefined || this.#check(this.#contents, mbox, declared!, content).problem === undefined
  }

  /**
   * Prepares the reading of attributes before the response arrives, so that mistakes show immediately.
   *
   * @param expectation undefined: as declared
   * @throws FST_TARGET_INVALID_OPTIONS if neither declares the attributes, or a schema cannot be filled from its defaults
   */
  attributes (mbox: string, expectation: unknown): AttributesReader {
    const declared = this.#settings.mboxes.get(mbox)
    const mayWait = declared?.schema?.mayWait === true
    const prepare = mayWait ? (response: DeliveryResponse | undefined) => this.#prepareAttributes(mbox, declared, response) : undefined
    if (expectation === undefined) {
      if (declared?.schema === undefined || !isObject(declared.otherwise())) {
        throw failure('FST_TARGET_INVALID_OPTIONS', `attributes(): mbox ${mbox} requires a schema or defaults; pass them as the second argument, or declare an object schema in the \`mboxes\` option`)
      }
      return { prepare, read: (response) => this.#attributes(mbox, declared, response) ?? declared.otherwise() }
    }
    const reading = this.#settings.expectAttributes(expectation)
    if (declared?.schema !== undefined && reading.isDefaults) {
      return { prepare, read: (response) => (reading.read(this.#attributes(mbox, declared, response)) as { attributes: unknown }).attributes }
    }
    return this.#expected(mbox, reading)
  }

  #expected (mbox: string, { mayWait, read }: AttributesReading): AttributesReader {
    const finish = ({ attributes, problem }: { attributes: unknown, problem?: string }) => {
      if (problem !== undefined) this.#settings.contentFailed(mbox, problem)
      return attributes
    }
    const start = (response: DeliveryResponse | undefined) => read(response === undefined ? undefined : attributesOf(response, mbox))
    if (!mayWait) return { read: (response) => after(start(response), finish) }
    let started: ReturnType<typeof start> | undefined
    return {
      prepare (response) {
        started = start(response)
        return isThenable(started) ? started.then(() => {}, () => {}) : undefined
      },
      // Called without a response although there was one: the check took too long.
      read: (response) => after(response === undefined || started === undefined ? start(response) : started, finish)
    }
  }

  /** The attributes in a response as declared; undefined if there are none that match. */
  #attributes (mbox: string, declared: DeclaredMbox, response: DeliveryResponse | undefined): Record<string, unknown> | undefined {
    if (response === undefined) return undefined
    const found = this.#attributesIn(mbox, response)
    if (found === undefined) return undefined
    const { content } = this.#check(found.checks, mbox, declared, found.content)
    return isObject(content) ? assignAttributes({}, content) : undefined
  }

  #prepareAttributes (mbox: string, declared: DeclaredMbox, response: DeliveryResponse | undefined): Promise<unknown> | undefined {
    const found = response === undefined ? undefined : this.#attributesIn(mbox, response)
    return found && this.#begin(found.checks, mbox, declared, found.content)
  }

  /** The content that has the attributes: the only one, or all of them merged. */
  #attributesIn (mbox: string, response: DeliveryResponse): { checks: Checks, content: unknown } | undefined {
    const contents = contentsOf(response, mbox)
    if (contents.length === 0) return undefined
    const merged = contents.length === 1 ? undefined : attributesOf(response, mbox)
    return merged === undefined ? { checks: this.#contents, content: contents[0] } : { checks: this.#merged, content: merged }
  }

  #check (checks: Checks, mbox: string, declared: DeclaredMbox, content: unknown): Checked {
    if (declared.schema === undefined) return { content }
    this.#begin(checks, mbox, declared, content)
    const checked = checks.get(mbox)!
    return isThenable(checked) ? { problem: 'its check has not ended' } : checked
  }

  /** Begins a check, once. */
  #begin (checks: Checks, mbox: string, { schema }: DeclaredMbox, content: unknown): Promise<unknown> | undefined {
    const keep = (checked: Checked) => {
      checks.set(mbox, checked)
      if (checked.problem !== undefined) this.#settings.contentFailed(mbox, checked.problem)
      return checked
    }
    let checked = checks.get(mbox)
    if (checked === undefined) {
      checked = after(schema!.check(content), keep)
      if (isThenable(checked)) checks.set(mbox, checked)
    }
    return isThenable(checked) ? checked : undefined
  }
}

const contentsOf = (response: DeliveryResponse, mbox: string) =>
  mboxEntries(response, mbox).flatMap(({ options }) => options ?? []).filter(hasContent).map(({ content }) => content)
