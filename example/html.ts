/** HTML from templates: what is put into one is escaped, unless it is HTML itself. */

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

type Part = string | number | Html | undefined | false | Part[]

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\'': '&#39;' }

function render (part: Part): string {
  if (part === undefined || part === false) return ''
  if (Array.isArray(part)) return part.map(render).join('')
  return part instanceof Html ? part.toString() : String(part).replace(/[&<>"']/g, (character) => entities[character]!)
}

/** A template of HTML; lists are joined, `undefined` is left out. */
export function html (strings: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(strings.reduce((text, string, position) => text + render(parts[position - 1]) + string))
}
