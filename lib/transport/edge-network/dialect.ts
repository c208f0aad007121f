/**
 * The Edge Network's errors: problem details (RFC 7807) with Adobe's own type. A service of the datastream that failed is an
 * error within a response of status 207; if that service is Target, the call has failed.
 *
 * Source: Adobe, Edge Network API, error handling.
 */
import type { Dialect } from '../../delivery/dialect.ts'
import { isObject } from '../../validation.ts'

const TARGET = /\bcom[._]adobe[._]target\b/

function targetError (body: unknown): Record<string, unknown> | undefined {
  const errors = isObject(body) && Array.isArray(body['errors']) ? body['errors'] : []
  return errors.find((error) => isObject(error) && TARGET.test(`${String(error['title'])} ${String(error['detail'])}`))
}

/** `interact` answers with handles, `collect` without. */
export const EDGE_NETWORK: Dialect = {
  findFault (body) {
    if (!isObject(body)) return 'the answer is not an object'
    return body['handle'] === undefined || Array.isArray(body['handle']) ? undefined : 'the answer.handle is not a list'
  },
  statusIn (body) {
    const error = targetError(body)
    if (error === undefined) return 0
    return typeof error['status'] === 'number' && error['status'] >= 400 ? error['status'] : 502
  },
  messageIn (body) {
    const error = targetError(body) ?? (isObject(body) ? body : {})
    return error['detail'] ?? error['title']
  },
  isOwnError: (_status, body) => isObject(body) && typeof body['type'] === 'string' && body['type'].startsWith('https://ns.adobe.com/aep/errors/')
}
