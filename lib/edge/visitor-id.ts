/** Identifies the visitor of a request. */
import { createHash, randomUUID } from 'node:crypto'
import type { VisitorId } from '../schema/index.ts'

/** The cluster that this edge claims to be: in the suffix of its `tntId`s, and in its host name. */
export const cluster = '35'

/**
 * The ids of the request; a `tntId` gets a location hint. A visitor without ids gets a `tntId`, and so does one known only by
 * the ECID: the same each time, as Target keeps it in the profile.
 */
export function visitorId (given: VisitorId = {}): VisitorId {
  const { tntId, marketingCloudVisitorId, thirdPartyId } = given
  // With an ECID the visitor stays in the same experience; but a visitor known by thirdPartyId might change with a new tntId.
  if (!tntId && !marketingCloudVisitorId && thirdPartyId) return given
  const own = tntId || (marketingCloudVisitorId ? idFor(marketingCloudVisitorId) : randomUUID())
  return { ...given, tntId: own.includes('.') ? own : `${own}.${cluster}_0` }
}

/** A tntId in the form of a UUID. */
function idFor (ecid: string): string {
  const digits = createHash('sha256').update(ecid).digest('hex')
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20, 32)].join('-')
}
