/**
 * The TypeBox that checks an app's schemas. The published package has a copy inside, which loads much faster than the 266 modules of
 * the original; but what an app registers, formats, kinds and policies, is in the copy that the app itself imports or requires.
 */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { FormatRegistry, Kind, TypeGuard, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

/** What is needed of TypeBox to check and complete content. */
export interface TypeBox {
  FormatRegistry: Pick<typeof FormatRegistry, 'Has'>
  TypeRegistry: Pick<typeof TypeRegistry, 'Has'>
  Value: Pick<typeof Value, 'Check' | 'Default' | 'Errors'>
}

const inside: TypeBox = { FormatRegistry, TypeRegistry, Value }

/** The one that the app imports, once it is loaded. */
let imported: TypeBox | undefined

/** The others, where a schema was given that needs them. */
let found: TypeBox[] | undefined

/** Loads the app's own TypeBox: before its schemas are prepared, where there is time for that. Never rejects. */
export async function loadAppTypeBox (): Promise<void> {
  try {
    // The build leaves these two out of the bundle, and a bundler of the app's makes them the app's own.
    const [{ FormatRegistry, TypeRegistry }, { Value }] = await Promise.all([import('@sinclair/typebox'), import('@sinclair/typebox/value')])
    imported = { FormatRegistry, TypeRegistry, Value }
  } catch {
    // The copy inside remains.
  }
}

/** The TypeBox that knows every format and kind in a schema; a problem, as the rest of a sentence, if there is none. */
export function typeBoxFor (parts: readonly TSchema[]): TypeBox | { problem: string } {
  const first = imported ?? inside
  const problem = problemFor(first, parts)
  if (problem === undefined) return first
  return (found ??= findAppCopies()).find((copy) => problemFor(copy, parts) === undefined) ?? { problem }
}

/** What a copy does not know: content could never pass. */
function problemFor ({ FormatRegistry, TypeRegistry }: TypeBox, parts: readonly TSchema[]): string | undefined {
  for (const part of parts) {
    if (TypeGuard.IsKind(part) && !TypeRegistry.Has(part[Kind])) return `has the kind ${part[Kind]}, which is not in TypeBox's TypeRegistry${HINT}`
    if (part[Kind] === 'String' && part.format !== undefined && !FormatRegistry.Has(part.format)) return `has the format ${part.format}, which is not in TypeBox's FormatRegistry${HINT}`
  }
  return undefined
}

const HINT = ' (register it before the schema is used; if it is registered, the app has several copies of TypeBox: see `npm ls @sinclair/typebox`, or declare the schema in the option `mboxes` if the app is bundled)'

/** As an ES module imports it and as CommonJS requires it: two copies of one package. Synchronous, as `attributes()` is. */
function findAppCopies (): TypeBox[] {
  return [(name: string) => fileURLToPath(import.meta.resolve(name)), (name: string) => name].flatMap((locate) => {
    try {
      const require = createRequire(import.meta.url)
      return [{ ...require(locate('@sinclair/typebox')), ...require(locate('@sinclair/typebox/value')) } as TypeBox]
    } catch {
      // Without the package, in a bundle, or where a test runner has its own module system.
      return []
    }
  })
}
