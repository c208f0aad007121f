/** Who a request is from, in the eyes of this edge. */
import { createHash, randomUUID } from 'node:crypto'
import type { VisitorId } from '../schema/index.ts'

/** The cluster this edge claims to be: the suffix of the `tntId`s it gives, and its host name. */
export const cluster = '35'

/**
 * The ids that were given; a `tntId` gets a location hint. A visitor without ids gets a `tntId`, and so does one known by
 * the ECID alone: the same each time, as Target keeps it in the profile.
 */
export function visitorId (given: VisitorId = {}): VisitorId {
  const { tntId, marketingCloudVisitorId, thirdPartyId } = given
  // By the ECID the visitor stays in the same experience; with a tntId, one known by the thirdPartyId might not.
  if (!tntId && !marketingCloudVisitorId && thirdPartyId) return given
  const own = tntId || (marketingCloudVisitorId ? idFor(marketingCloudVisitorId) : randomUUID())
  return { ...given, tntId: own.includes('.') ? own : `${own}.${cluster}_0` }
}

/** A tntId in the form of a UUID. */
function idFor (ecid: string): string {
  const digits = createHash('sha256').update(ecid).digest('hex')
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20, 32)].join('-')
}
