/**
 * Mistakes that make no request fail, so that they go unnoticed: `health()` reports them in words.
 *
 * They cost a page two counters. Names are kept only of mistakes, and only a limited number.
 */
import { knowsMbox, type CompiledArtifact } from '../decisioning/compile.ts'

/** Warnings of one kind that are kept, and shown. */
const MAX_OF_A_KIND = 20

/** Pages after which older ones count half, so that a fixed mistake, or one visitor's odd header, is forgotten. */
const PAGES_REMEMBERED = 1000

/** Pages in a row whose cookies were new: of the first ones, and on a site where cookies have come back. */
const NEW_VISITORS = { first: 20, later: 1000 }

/** The warnings of one client. */
export class Warnings {
  #pages = 0
  #forwarded = 0
  /** Pages that wrote cookies since the last one that brought them. */
  #newVisitors = 0
  #cameBack = false
  readonly #late = new Map<string, string>()
  readonly #unknown = new Set<string>()

  /**
   * A page was read.
   *
   * @param isForwarded whether a proxy names the browser's address, and Fastify ignores it
   */
  page (isForwarded: boolean): void {
    this.#pages += 1
    if (isForwarded) this.#forwarded += 1
    if (this.#pages < PAGES_REMEMBERED) return
    this.#pages /= 2
    this.#forwarded /= 2
  }

  /** A page's cookies were written. */
  cookiesWritten (cameBack: boolean): void {
    if (cameBack) this.#cameBack = true
    this.#newVisitors = cameBack ? 0 : this.#newVisitors + 1
  }

  /** A call had to start late, for an mbox that its route does not declare. */
  lateAsk (route: string, mbox: string, text: string): void {
    if (this.#late.size < MAX_OF_A_KIND) this.#late.set(`${route} ${mbox}`, text)
  }

  /** Mboxes that an artifact does not decide: those that it does not know either are in no activity. */
  undecided (mboxes: readonly string[], artifact: CompiledArtifact): void {
    for (const mbox of mboxes) {
      if (!knowsMbox(artifact, mbox) && this.#unknown.size < MAX_OF_A_KIND) this.#unknown.add(mbox)
    }
  }

  /** The warnings that hold now, one sentence each. */
  list (artifact: CompiledArtifact | undefined): string[] {
    const warnings: string[] = []
    if (this.#forwarded > 0 && this.#forwarded >= this.#pages / 2) {
      warnings.push('requests have X-Forwarded-For, but `trustProxy` is off, so Target gets the address, host and scheme of the proxy; set Fastify\'s `trustProxy` to its address')
    }
    if (this.#newVisitors >= (this.#cameBack ? NEW_VISITORS.later : NEW_VISITORS.first)) {
      warnings.push(`the last ${this.#newVisitors} pages that set the visitor's cookies had been requested without them, so visitors may get another variant on each page; check \`cookies.domain\`, \`cookies.secure\` and whether a CDN removes cookies`)
    }
    if (artifact !== undefined) {
      const unknown = [...this.#unknown].filter((mbox) => !knowsMbox(artifact, mbox))
      for (const mbox of unknown) warnings.push(`no activity of rule artifact ${artifact.version} uses mbox '${mbox}'; check its name, the environment, and that the activity is live and decided on-device`)
    }
    warnings.push(...this.#late.values())
    return warnings
  }
}
