/**
 * Declared mboxes: the schema of their content and the fallback for it, in one place. The compiler gets types by name, a page
 * gets offers as declared.
 */
import { Type } from '@sinclair/typebox'
import { isDeepStrictEqual } from 'node:util'
import type { AnySchema, ContentOf, OtherwiseOf } from './any-schema.ts'
import { assignAttributes, attributesOf, type AttributesReading, type ExpectAttributes } from './attributes.ts'
import { prepareSchema, type Checked, type ContentSchema, type MaybePromise } from './content-schema.ts'
import { after, type CompileSchema } from './foreign-schema.ts'
import type { DeliveryResponse } from '../schema/index.ts'
import { isThenable, type Log } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { check as checkOption, isObject, passing, strict } from '../validation.ts'
import { fallbackOffer, hasContent, mboxEntries, type Offer, type OfferContent } from './offer.ts'

/** The declaration of an mbox. */
export interface MboxDefinition {
  /**
   * Schema of the content: TypeBox, a Standard Schema (Zod, Valibot, ArkType and others) or JSON Schema. Its defaults complete an
   * object; content that does not fit is taken as none, with the reason `invalid-content`. Default: any content fits.
   */
  schema?: AnySchema
  /**
   * What stands in where Target has no content that fits: plain data that fits the schema, copied for every request.
   * Default: what the schema gives by its own defaults, which an object schema must unless it is optional; else undefined.
   */
  fallback?: unknown
}

/** The `mboxes` option: definitions by mbox name. */
export type MboxDefinitions = Record<string, MboxDefinition>

declare const mboxType: unique symbol

/** Types of a declared mbox: its content, and its fallback if of another type (`never`: only content of that type). */
export interface MboxType<Content, Otherwise> { readonly [mboxType]: readonly [Content, Otherwise] }

/**
 * The types that definitions declare, to augment {@link TargetMboxes} with:
 *
 * ```ts
 * const mboxes = { hero: { schema: Type.String(), fallback: '<h1>Welcome</h1>' }, flags: { schema: Flags } } satisfies MboxDefinitions
 * declare module 'fastify-adobe-target' { interface TargetMboxes extends MboxTypes<typeof mboxes> {} }
 * ```
 */
export type MboxTypes<Definitions extends MboxDefinitions> = {
  [Name in keyof Definitions]: MboxType<DefinedContent<Definitions[Name]>, DefinedOtherwise<Definitions[Name]>>
}

type DefinedContent<Definition> =
  Definition extends { schema: infer Schema } ? ContentOf<Schema>
    : Definition extends { fallback: infer Fallback } ? OfferContent | Fallback : OfferContent

type DefinedOtherwise<Definition> =
  Definition extends { fallback: {} | null } ? never
    : Definition extends { schema: infer Schema } ? OtherwiseOf<Schema> : undefined

/**
 * Types of content by mbox name, for `content`, `offer` and `attributes`. Empty here; augment it with {@link MboxTypes},
 * or by hand for content that is not declared in `mboxes` and not checked:
 *
 * ```ts
 * declare module 'fastify-adobe-target' {
 *   interface TargetMboxes { hero: string, flags: { express: boolean } }
 * }
 * ```
 */
export interface TargetMboxes {}

/** A declared mbox name, or any other. */
export type MboxName = keyof TargetMboxes | (string & {})

/** The declared type of an mbox's content; any content for a name that was not declared. */
export type MboxContent<Name> = Name extends keyof TargetMboxes
  ? TargetMboxes[Name] extends MboxType<infer Content, unknown> ? Content : TargetMboxes[Name]
  : OfferContent

/** The default fallback of an mbox, if a call specifies none. */
export type MboxOtherwise<Name> = Name extends keyof TargetMboxes
  ? TargetMboxes[Name] extends MboxType<unknown, infer Otherwise> ? Otherwise : undefined
  : undefined

/** Names of the mboxes whose declared content is always an object. */
export type AttributesName = {
  [Name in keyof TargetMboxes]: TargetMboxes[Name] extends MboxType<infer Content, never>
    ? [Content] extends [readonly unknown[]] ? never : [Content] extends [object] ? Name : never
    : never
}[keyof TargetMboxes]

/** A compiled definition. */
interface DeclaredMbox {
  /** Undefined: any content is accepted. */
  schema: ContentSchema | undefined
  /** Makes the fallback: a new one each time, since pages may write to it. */
  otherwise: () => unknown
}

/** Compiled definitions by mbox name. */
export type DeclaredMboxes = ReadonlyMap<string, DeclaredMbox>

/**
 * Compiles the `mboxes` option.
 *
 * @param compile for JSON Schema
 * @returns a promise only if a schema has asynchronous parts
 * @throws FST_TARGET_INVALID_OPTIONS (or rejects) naming the mbox
 */
export function declareMboxes (definitions: unknown = {}, compile: CompileSchema): MaybePromise<DeclaredMboxes> {
  checkOption(Definitions, definitions, { root: 'mboxes' })
  const declared = Object.entries(definitions).filter(([, definition]) => definition !== undefined).map(([name, definition]) => [name, declare(name, definition, compile)] as const)
  if (!declared.some(([, definition]) => isThenable(definition))) return new Map(declared as [string, DeclaredMbox][])
  return Promise.all(declared.map(async ([name, definition]) => [name, await definition] as const)).then((entries) => new Map(entries))
}

const Definitions = passing(isObject, 'an object of { schema, fallback } by mbox name')
const Definition = Type.Object({ schema: Type.Optional(Type.Any()), fallback: Type.Optional(Type.Any()) }, { ...strict, expected: 'an object { schema, fallback }' })

const invalid = (where: string, problem: string) => failure('FST_TARGET_INVALID_OPTIONS', `${where} ${problem}`)

function declare (name: string, definition: unknown, compile: CompileSchema): MaybePromise<DeclaredMbox> {
  const where = `\`mboxes.${name}\``
  if (name.trim() === '') throw invalid(where, 'must have a name that is not blank')
  checkOption(Definition, definition, { root: `mboxes.${name}` })
  const { schema: given, fallback } = definition as MboxDefinition
  const schema = given === undefined ? undefined : prepareSchema(given, compile)
  if (schema !== undefined && 'problem' in schema) throw invalid(`\`mboxes.${name}.schema\``, schema.problem)
  return after(fallback === undefined ? standIn(where, schema) : fitting(where, fallback, schema), (content) => ({ schema, otherwise: copies(content) }))
}

/** Checks that a fallback is plain data and matches its schema, and completes it from the schema's defaults. */
function fitting (where: string, fallback: unknown, schema: ContentSchema | undefined): unknown {
  if (!isPlainData(fallback)) throw invalid(where, 'has a fallback that is not plain data and cannot be copied for every request')
  if (schema === undefined) return fallback
  return after(schema.check(fallback, true), ({ content, problem }) => {
    if (problem !== undefined) throw invalid(where, `has a fallback that does not match its schema: ${problem}`)
    return copyable(where, content)
  })
}

/** The schema's own defaults. An object schema must have them unless optional, since pages destructure objects. */
function standIn (where: string, schema: ContentSchema | undefined): unknown {
  if (schema === undefined) return undefined
  let defaults: MaybePromise<Checked>
  try {
    defaults = schema.standIn()
  } catch (cause) {
    throw failure('FST_TARGET_INVALID_OPTIONS', `${where} has a schema that cannot be used`, { cause })
  }
  return after(defaults, ({ content, problem }) => {
    if (problem !== undefined) throw invalid(where, `has no fallback, and the defaults of its schema do not satisfy it: ${problem}; add a fallback or defaults, or make the schema optional (Type.Optional()) if the content may be absent`)
    return copyable(where, content)
  })
}

/** A schema may make anything of content. */
function copyable (where: string, content: unknown): unknown {
  if (!isPlainData(content)) throw invalid(where, 'has a schema that makes something of its fallback that cannot be copied for every request')
  return content
}

function isPlainData (value: unknown): boolean {
  try {
    return isDeepStrictEqual(structuredClone(value), value)
  } catch {
    return false
  }
}

function copies (value: unknown): () => unknown {
  if (typeof value !== 'object' || value === null) return () => value
  // A copy, in case the app changes its own.
  const kept = structuredClone(value)
  return () => structuredClone(kept)
}

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
  /** Does what may take time before; undefined if nothing does. Never rejects. */
  prepare?: (response: DeliveryResponse | undefined) => Promise<unknown> | undefined
  read (response: DeliveryResponse | undefined): unknown
}

/** Checks by mbox; a promise as long as one has not ended. */
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
      // Without a response now, although there was one: it took too long.
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
