/**
 * Computes which share of an activity a visitor falls into.
 *
 * Must agree with Target's edge to the last bit, or a visitor sees one experience on-device and another from the edge.
 * Source: behaviour of `@adobe/target-decisioning-engine` 1.9.3; MurmurHash3 x86 32-bit by Austin Appleby (public domain).
 */
import { randomUUID } from 'node:crypto'
import type { VisitorId } from '../schema/index.ts'

/**
 * MurmurHash3 (x86, 32-bit, seed 0) over UTF-16 code units taken in pairs.
 *
 * @param parts of the text, hashed as if joined; joining them first would cost more than the hash
 * @returns a signed 32-bit integer
 */
export function hashUtf16 (...parts: string[]): number {
  let hash = 0
  let length = 0
  let first = 0
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) {
      const unit = part.charCodeAt(i)
      if ((length++ & 1) === 0) {
        first = unit
        continue
      }
      hash ^= scramble(first | (unit << 16))
      hash = (hash << 13) | (hash >>> 19)
      hash = (Math.imul(hash, 5) + 0xe6546b64) | 0
    }
  }
  if ((length & 1) === 1) hash ^= scramble(first)
  hash ^= length << 1
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

function scramble (pair: number): number {
  const mixed = Math.imul(pair, 0xcc9e2d51)
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593)
}

/**
 * The visitor's bucket in an activity: 0 to 99.99 in steps of 0.01, always the same for the same arguments.
 *
 * @param client Target client code
 * @param activity activity id
 * @param visitor the result of {@link allocationId}
 */
export function allocate (client: string, activity: string, visitor: string): number {
  return Math.abs(hashUtf16(client, '.', activity, '.', visitor, '.0')) % 10000 / 100
}

/**
 * The id that decides the allocation: the first of ECID, `tntId` without its location hint, `thirdPartyId`; if there is none,
 * a new one, so that the bucket is random.
 */
export function allocationId (id: VisitorId): string {
  const { marketingCloudVisitorId, tntId, thirdPartyId } = id
  return text(marketingCloudVisitorId) || text(tntId).split('.', 1)[0] || text(thirdPartyId) || randomUUID()
}

/** Ids come from cookies and callers: anything but a string counts as absent. */
function text (value: unknown): string {
  return typeof value === 'string' ? value : ''
}
