/** The current rules, from the artifact and a test's fixed offers, for the edge to decide with and for others to download. */
import { type CompiledArtifact, compileArtifact } from '../../decisioning/compile.ts'
import type { VisitorId } from '../../schema/index.ts'
import { ACTIVITY_TOKENS } from '../answer.ts'
import { fixedOffer, isFor, sameCase, type FixedContent, type FixedOffer, type FixedOfferOptions } from './offer-input.ts'
import { checkCompiles, withFixedOffers } from './offer-rules.ts'
import { locationOf, type Place } from './place.ts'
import type { EventTokens } from '../tokens.ts'

export class Rules {
  readonly #tokens: EventTokens
  readonly #report: (problem: string) => void
  /** In order of precedence. */
  #offers: FixedOffer[] = []
  #served: object | undefined
  #base: Promise<CompiledArtifact> | undefined
  /** Compiled artifacts, by their offers for single visitors. */
  readonly #compiled = new Map<string, Promise<CompiledArtifact>>()

  /** @param report called for rules that can never match */
  constructor (tokens: EventTokens, report: (problem: string) => void) {
    this.#tokens = tokens
    this.#report = report
  }

  /** The mbox that stands for the page load. */
  get globalMbox (): string {
    const { globalMbox } = this.#tokens.artifact as { globalMbox?: unknown }
    return typeof globalMbox === 'string' && globalMbox !== '' ? globalMbox : 'target-global-mbox'
  }

  /** The response tokens that the artifact lists. */
  get responseTokens (): ReadonlySet<string> { return responseTokensOf(this.#tokens.artifact) }

  /**
   * Replaces the current artifact. Fixed offers stay, and so do the event tokens of the old one.
   *
   * @returns rejects with FST_TARGET_ARTIFACT if it is unusable; the old one then stays
   */
  async publish (artifact: object): Promise<CompiledArtifact> {
    const withTokens = this.#tokens.read(artifact)
    const compiled = await this.#compile(withTokens)
    this.#tokens.replace(withTokens)
    this.#base = Promise.resolve(compiled)
    this.#changed()
    return compiled
  }

  /** Fixes an offer from the next request on. Throws FST_TARGET_INVALID_OPTIONS. */
  offer (place: Place, content: FixedContent, options: FixedOfferOptions = {}): void {
    const read = fixedOffer(locationOf(place, this.globalMbox, 'edge.offer()'), content, options)
    const before = this.#offers.find((known) => sameCase(known, read))
    const offer = { ...read, experience: before?.experience ?? this.#nextExperience(read) }
    checkCompiles(offer)
    const others = this.#offers.filter((known) => known !== before)
    const isDefault = offer.when.length === 0 && offer.visitor === undefined
    this.#offers = isDefault ? [...others, offer] : [offer, ...others]
    this.#changed()
  }

  /** Removes the fixed offers. Their event tokens stay known: some may still be in transit. */
  reset (): void {
    if (this.#offers.length === 0) return
    this.#offers = []
    this.#changed()
  }

  /** The artifact to serve: the same object until something changes. Offers for single visitors need the edge. */
  get served (): object {
    if (this.#offers.length === 0) return this.#tokens.artifact
    return (this.#served ??= this.#with(this.#offers.filter(({ visitor }) => visitor === undefined)))
  }

  /** Rejects with FST_TARGET_ARTIFACT if the artifact is unusable. */
  ready (): Promise<CompiledArtifact> {
    return (this.#base ??= this.#compile(this.#tokens.artifact))
  }

  /** The artifact to decide with for a visitor. */
  compiledFor (id: VisitorId = {}): Promise<CompiledArtifact> {
    if (this.#offers.length === 0) return this.ready()
    const offers = this.#offers.filter((offer) => isFor(offer, id))
    const key = this.#offers.map((offer) => isFor(offer, id) ? '1' : '0').join('')
    let compiled = this.#compiled.get(key)
    if (compiled === undefined) this.#compiled.set(key, compiled = this.#compile(this.#with(offers)))
    return compiled
  }

  #nextExperience ({ location }: Pick<FixedOffer, 'location'>): number {
    const taken = this.#offers.filter((known) => known.location.kind === location.kind && known.location.name === location.name)
    return Math.max(-1, ...taken.map(({ experience }) => experience)) + 1
  }

  #changed (): void {
    this.#served = undefined
    this.#compiled.clear()
  }

  #with (offers: readonly FixedOffer[]): object {
    const remote = this.#offers.filter((offer) => !offers.includes(offer)).map(({ location }) => location)
    return this.#tokens.read(withFixedOffers(this.#tokens.artifact, offers, remote, this.globalMbox))
  }

  #compile (artifact: object): Promise<CompiledArtifact> {
    return compileArtifact({ ...artifact, responseTokens: [...new Set([...responseTokensOf(artifact), ...ACTIVITY_TOKENS])] }, { report: this.#report })
  }
}

function responseTokensOf (artifact: object): ReadonlySet<string> {
  const { responseTokens } = artifact as { responseTokens?: unknown }
  return new Set(Array.isArray(responseTokens) ? responseTokens.map(String) : [])
}
