/** Estimates the memory of waiting notifications: V8 does not expose the size of an object. */

/** Bytes of an object or array, and of each member. */
const PER_OBJECT = 56
const PER_MEMBER = 16

/** Deeper values are not counted: notifications are not that deep, and a cycle has to end somewhere. */
const MAX_DEPTH = 8

/** Bytes that a batch needs in addition to its contents: its places in queues and its session's lane. */
export const PER_BATCH = 700

/** Bytes of memory that a JSON-like value takes, give or take a third. Text counts as one byte per character, as most of it is Latin-1. */
export function estimateBytes (value: unknown, depth = 0): number {
  if (typeof value === 'string') return 24 + value.length
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return 0
  let bytes = PER_OBJECT
  for (const name in value) bytes += PER_MEMBER + estimateBytes((value as Record<string, unknown>)[name], depth + 1)
  return bytes
}
