/**
 * The copies of TypeBox that an app may have. The published package has one inside, which opens much faster than the 266 modules of
 * the original, but the formats and kinds that an app registers are in the copy that the app imports or requires.
 */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { FormatRegistry, Kind, TypeGuard, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

/** What a schema needs of TypeBox to be checked and completed. */
export interface TypeBox {
  FormatRegistry: Pick<typeof FormatRegistry, 'Has'>
  TypeRegistry: Pick<typeof TypeRegistry, 'Has'>
  Value: Pick<typeof Value, 'Check' | 'Default' | 'Errors'>
}

const inside: TypeBox = { FormatRegistry, TypeRegistry, Value }

const COPIES = ' (with several copies of TypeBox, only the one beside fastify-adobe-target is read: see `npm ls @sinclair/typebox`)'

let others: TypeBox[] | undefined

/** What no copy knows. */
export interface Unknown {
  /** The rest of a sentence. */
  problem: string
  isFormat: boolean
}

/** The copy that knows all formats and kinds in a schema, or the first that none knows. */
export function typeBoxFor (parts: readonly TSchema[]): TypeBox | Unknown {
  const unknown = unknownTo(inside, parts)
  if (unknown === undefined) return inside
  return (others ??= appCopies()).find((copy) => unknownTo(copy, parts) === undefined) ?? unknown
}

/** What a copy does not know: content could never pass. */
function unknownTo ({ FormatRegistry, TypeRegistry }: TypeBox, parts: readonly TSchema[]): Unknown | undefined {
  for (const part of parts) {
    if (TypeGuard.IsKind(part) && !TypeRegistry.Has(part[Kind])) return { problem: `has the kind ${part[Kind]}, which is not in TypeBox's TypeRegistry${COPIES}`, isFormat: false }
    if (part[Kind] === 'String' && part.format !== undefined && !FormatRegistry.Has(part.format)) {
      return { problem: `has the format ${part.format}, which neither TypeBox's FormatRegistry nor the app's validator knows${COPIES}`, isFormat: true }
    }
  }
  return undefined
}

/** As an ES module imports it and as CommonJS requires it: two copies of one package. Synchronous, since the app's schemas are. */
function appCopies (): TypeBox[] {
  const require = createRequire(import.meta.url)
  const imported = (name: string) => fileURLToPath(import.meta.resolve(name))
  return [imported, (name: string) => name].flatMap((locate) => {
    try {
      return [{ ...require(locate('@sinclair/typebox')), ...require(locate('@sinclair/typebox/value')) } as TypeBox]
    } catch {
      // Without the package, or where a test runner has its own module system.
      return []
    }
  })
}
