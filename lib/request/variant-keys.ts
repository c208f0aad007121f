/**
 * The keys of one page's variant: which offers they cover, and which other offers the page reads. Created with the first key.
 */
import type { Displayed } from '../offers/notifications.ts'
import { keyOf, personalPart, placeName, type PlacedOffer } from '../offers/variant.ts'

/** The page, as far as keys need it. */
export interface KeyedPage {
  /** Asks for an offer as every later read will find it; undefined if a later read may find another. Never rejects. */
  ask (place: Displayed): Promise<PlacedOffer | undefined>
  /** Logs a mistake of the app, once per route. */
  warn (problem: string): void
  debug (message: string, details: object): void
}

/** The keys of one page. */
export class VariantKeys {
  readonly #page: KeyedPage
  /** Names of the places that keys were asked for. */
  readonly #places = new Set<string>()
  /** Whether there is a key, so that the page may be cached. */
  #hasKey = false

  constructor (page: KeyedPage) {
    this.#page = page
  }

  /** The key of some places; undefined if an offer may change or belongs to one visitor. Never rejects. */
  async create (places: readonly Displayed[], contentOnly: boolean): Promise<string | undefined> {
    const asked = places.map((place) => this.#page.ask(place))
    for (const place of places) this.#places.add(placeName(place))
    const offers = await Promise.all(asked)
    if (!offers.every((offer) => offer !== undefined) || offers.some((offer) => this.#isPersonal(offer, contentOnly))) return undefined
    try {
      const key = keyOf(offers, contentOnly)
      this.#hasKey = true
      return key
    } catch {
      // Content that JSON cannot write.
      return undefined
    }
  }

  /** Whether a key was asked for with this place. */
  covers (place: Displayed): boolean {
    return this.#places.has(placeName(place))
  }

  /** To be called when an offer is read: warns if the page has a key without it. */
  read (place: Displayed): void {
    if (!this.#hasKey || this.covers(place)) return
    this.#page.warn(`variantKey() was called without ${nameOf(place)}, which was read after it: in a page cached by that key, visitors would see the offers of others; ` +
      'add it to variantKey(), or read it before if it is not in the cached markup')
  }

  /** Whether a part of an offer is the visitor's own, which is logged. */
  #isPersonal ({ place, offer }: PlacedOffer, contentOnly: boolean): boolean {
    const part = personalPart(offer, contentOnly)
    if (part?.kind === 'token') {
      this.#page.warn(`variantKey() is undefined: the offer of ${nameOf(place)} has the response token ${part.token}, which describes the visitor; ` +
        'turn it off in Target, or pass { contentOnly: true } if the page shows nothing of its offers but their content')
    } else if (part !== undefined) {
      this.#page.debug(`variantKey() is undefined: the offer belongs to one visitor, since ${part.problem}`, { what: place })
    }
    return part !== undefined
  }
}

const nameOf = (place: Displayed): string => typeof place === 'string' ? `mbox '${place}'` : 'view' in place ? `view '${place.view}'` : 'the page load'
