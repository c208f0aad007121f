/**
 * Adobe's identity service as far as a server needs it for the Edge Network: OAuth server-to-server credentials against an
 * access token, and whether a token is still good.
 *
 * Sources: Adobe Developer, server-to-server authentication; Edge Network API, authentication.
 */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** Seconds that a token lasts: nearly a day. */
const lifetime = 86_399

const digest = (clientId: string, end: number) => createHash('sha256').update(JSON.stringify(['token', clientId, end])).digest('base64url')

/** The answer of the token endpoint; undefined if the credentials are not complete. Any secret is right here. */
export function tokenFor (form: URLSearchParams, now = Date.now()): { access_token: string, token_type: 'bearer', expires_in: number } | undefined {
  const clientId = form.get('client_id')
  if (form.get('grant_type') !== 'client_credentials' || !clientId || !form.get('client_secret') || !form.get('scope')) return undefined
  const end = now + lifetime * 1000
  return { access_token: `${end}.${digest(clientId, end)}`, token_type: 'bearer', expires_in: lifetime }
}

/** Why an authenticated call is refused, with Adobe's code; undefined for a good one, and for one without a token. */
export function tokenRefusal ({ authorization, ...headers }: IncomingHttpHeaders, now = Date.now()): { code: string, title: string } | undefined {
  if (authorization === undefined) return undefined
  const title = 'Invalid authorization token'
  const [, end, proof] = /^Bearer (\d+)\.([\w-]+)$/.exec(authorization) ?? []
  const clientId = headers['x-api-key']
  if (end === undefined || typeof clientId !== 'string' || headers['x-gw-ims-org-id'] === undefined) return { code: 'EXEG-0500-401', title }
  if (proof !== digest(clientId, Number(end))) return { code: 'EXEG-0502-401', title }
  return Number(end) <= now ? { code: 'EXEG-0503-401', title } : undefined
}
