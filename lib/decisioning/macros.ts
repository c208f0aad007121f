/**
 * Macros in offers: `${campaign.name}`, `${mbox.name}`, `${<parameter>}`.
 *
 * Source: behaviour of `@adobe/target-decisioning-engine` 1.9.3, except that macros read own properties only:
 * `${constructor}` stays unchanged.
 */
import type { RequestDetails } from '../schema/index.ts'

/** The details of a request that macros are filled in from. */
export type MacroSource = RequestDetails & { name?: string | undefined }

/** Text with macros. */
export interface MacroText {
  /** Text with its macros filled in. */
  fill: (details: MacroSource) => string
  /** Whether parameters of the request are filled in, and not only values that are the same for all visitors. */
  hasParameters: boolean
}

const MACRO = /\$\{([a-zA-Z0-9_.]*)\}/g

/** Target's older terms. Matched in any case but known in lower case only, so `${Campaign.id}` names nothing. */
const ALIASES: ReadonlyMap<string, string> = new Map([['campaign', 'activity'], ['recipe', 'experience']])

/**
 * Finds the macros of a text and fills in those that depend only on the rule; the rest is filled in per request.
 *
 * @param text html or the content of an action
 * @param meta the rule's metadata in the artifact
 */
export function compileMacros (text: string, meta: object): MacroText {
  const literals: string[] = []
  const macros: Array<{ key: string, literal: string }> = []
  let pending = ''
  let end = 0
  for (const { 0: literal, 1: name = '', index } of text.matchAll(MACRO)) {
    pending += text.slice(end, index)
    end = index + literal.length
    const key = keyOf(name)
    const known = own(meta, key)
    if (known !== undefined) {
      pending += print(known)
    } else {
      literals.push(pending)
      macros.push({ key, literal })
      pending = ''
    }
  }
  const last = pending + text.slice(end)
  if (macros.length === 0) return { fill: () => last, hasParameters: false }

  const fill = (details: MacroSource) => {
    let result = ''
    for (const [i, { key, literal }] of macros.entries()) {
      const value = own(details, key) ?? own(details.parameters, key)
      result += literals[i]! + (value === undefined ? literal : print(value))
    }
    return result + last
  }
  return { fill, hasParameters: macros.some(({ key }) => key !== 'name') }
}

const filled = new WeakSet<object>()

/** Remembers that an option's content has parameters of its request filled in. */
export const markParameters = (option: object): void => { filled.add(option) }

/** Whether an option's content has parameters of its request filled in, which another visitor's request may not have. */
export const hasParameters = (option: object): boolean => filled.has(option)

/** The last two dotted parts, without a part `mbox`. */
function keyOf (name: string): string {
  return name
    .replace(/campaign|recipe/gi, (word) => String(ALIASES.get(word)))
    .split('.')
    .slice(-2)
    .filter((part) => part !== 'mbox')
    .join('.')
}

function own (source: object | undefined, key: string): unknown {
  return source !== undefined && source !== null && Object.hasOwn(source, key) ? (source as Record<string, unknown>)[key] : undefined
}

/** Prints a value without calling a `toString` that came with the request. */
function print (value: unknown): string {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? '[object Object]' : String(value)
}
