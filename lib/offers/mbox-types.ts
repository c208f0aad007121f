/**
 * Types of mboxes by name, for the compiler: what is declared in the option `mboxes`, and what an app adds to `TargetMboxes`.
 */
import type { AnySchema, ContentOf, OtherwiseOf } from './any-schema.ts'
import type { OfferContent } from './offer.ts'

/** The declaration of an mbox. */
export interface MboxDefinition {
  /**
   * Schema of the content: TypeBox, a Standard Schema (Zod, Valibot, ArkType and others) or JSON Schema. Its defaults complete an
   * object; content that does not match counts as missing, with the reason `invalid-content`. Default: any content is accepted.
   */
  schema?: AnySchema
  /**
   * Used if Target has no content that matches: plain data that matches the schema, copied for every request.
   * Default: the schema's own defaults, which an object schema must have unless it is optional; else undefined.
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
