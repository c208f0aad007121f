/** HTML from templates. What is put into one is escaped, unless it is HTML itself: pages show what browsers and offers say. */

/** A piece of HTML. */
export class Html {
  readonly #text: string

  constructor (text: string) {
    this.#text = text
  }

  toString (): string {
    return this.#text
  }
}

/** What a template takes; lists are joined, undefined and false are left out. */
export type Part = string | number | Html | undefined | false | readonly Part[]

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\'': '&#39;' }

function render (part: Part): string {
  if (part === undefined || part === false) return ''
  if (Array.isArray(part)) return part.map(render).join('')
  return part instanceof Html ? part.toString() : String(part).replace(/[&<>"']/g, (character) => ENTITIES[character]!)
}

/** A template of HTML. */
export function html (strings: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(strings.reduce((text, string, position) => text + render(parts[position - 1]) + string))
}

/** A time in ms for a reader. */
export const ms = (time: number | undefined): string => time === undefined ? '–' : `${time < 100 ? time.toFixed(1) : Math.round(time)} ms`
