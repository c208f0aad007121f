/** Memory of notifications that wait, estimated: V8 does not tell the size of an object. */

/** Bytes of an object or array, and of a member in it. */
const PER_OBJECT = 56
const PER_MEMBER = 16

/** What nests deeper is not looked into: notifications do not, and a cycle has to end somewhere. */
const MAX_DEPTH = 8

/** Bytes of what a batch keeps around its contents: its places in queues and the lane of its session. */
export const PER_BATCH = 700

/** Bytes of memory that a JSON-like value takes, give or take a third. Text is taken as one byte a character, as most of it is. */
export function estimateBytes (value: unknown, depth = 0): number {
  if (typeof value === 'string') return 24 + value.length
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return 0
  let bytes = PER_OBJECT
  for (const name in value) bytes += PER_MEMBER + estimateBytes((value as Record<string, unknown>)[name], depth + 1)
  return bytes
}
