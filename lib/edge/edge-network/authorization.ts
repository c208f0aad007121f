/**
 * The part of Adobe's identity service that a server needs for the Edge Network: exchanges OAuth server-to-server credentials for
 * an access token, and checks tokens.
 *
 * Sources: Adobe Developer, server-to-server authentication; Edge Network API, authentication.
 */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** Lifetime of a token in seconds: nearly a day. */
const LIFETIME = 86_399

const digest = (clientId: string, end: number) => createHash('sha256').update(JSON.stringify(['token', clientId, end])).digest('base64url')

/** The response of the token endpoint; undefined if credentials are missing. Any secret is accepted. */
export function tokenFor (form: URLSearchParams, now = Date.now()): { access_token: string, token_type: 'bearer', expires_in: number } | undefined {
  const clientId = form.get('client_id')
  if (form.get('grant_type') !== 'client_credentials' || !clientId || !form.get('client_secret') || !form.get('scope')) return undefined
  const end = now + LIFETIME * 1000
  return { access_token: `${end}.${digest(clientId, end)}`, token_type: 'bearer', expires_in: LIFETIME }
}

/** Why an authenticated call is refused, with Adobe's code; undefined if the token is valid or missing. */
export function tokenRefusal ({ authorization, ...headers }: IncomingHttpHeaders, now = Date.now()): { code: string, title: string } | undefined {
  if (authorization === undefined) return undefined
  const title = 'Invalid authorization token'
  const [, end, proof] = /^Bearer (\d+)\.([\w-]+)$/.exec(authorization) ?? []
  const clientId = headers['x-api-key']
  if (end === undefined || typeof clientId !== 'string' || headers['x-gw-ims-org-id'] === undefined) return { code: 'EXEG-0500-401', title }
  if (proof !== digest(clientId, Number(end))) return { code: 'EXEG-0502-401', title }
  return Number(end) <= now ? { code: 'EXEG-0503-401', title } : undefined
}
