/**
 * Calls from browsers: at.js calls the edge cross-origin from the page. Its requests need no preflight; those of other scripts
 * may. Unlike other callers of the Delivery API, it names the client and not the organization.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { DeliveryQuery } from '../schema/index.ts'

/** The query string of at.js. */
const AtJsQuery = Type.Composite([Type.Omit(DeliveryQuery, ['imsOrgId']), Type.Object({ client: Type.String({ pattern: '\\S' }) })])

/** The query string of either. */
export const EdgeQuery = Type.Union([DeliveryQuery, AtJsQuery])
export type EdgeQuery = Static<typeof EdgeQuery>

/** The accepted callers; undefined: any. */
export interface Callers { client: string | undefined, organizationId: string | undefined }

/** Why a caller is refused, as a sentence for it; undefined if it is not. */
export function callerRefusal (query: EdgeQuery, { client, organizationId }: Callers): string | undefined {
  const { imsOrgId, client: given } = query as { imsOrgId?: string, client?: string }
  if (imsOrgId !== undefined && organizationId !== undefined && imsOrgId !== organizationId) return 'unknown imsOrgId'
  return given === undefined || client === undefined || given === client ? undefined : `unknown client "${given}": this edge is for "${client}"`
}

/** Lets pages of every origin read responses, with cookies. */
export function allowBrowsers (app: FastifyInstance): void {
  app.addHook('onRequest', async ({ headers: { origin } }, reply) => {
    if (origin === undefined) return
    reply.headers({ 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true', vary: 'origin' })
  })
  app.options('/rest/v1/delivery', async (_request, reply) => {
    reply.headers({ 'access-control-allow-methods': 'POST', 'access-control-allow-headers': 'content-type' })
    return reply.code(204).send()
  })
}
