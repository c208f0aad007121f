/**
 * Common to the routes that the plugin adds: only pages of the same site may call them, and `@fastify/swagger` shows
 * them if the app says so.
 */
import type { FastifyRequest, FastifySchema } from 'fastify'
import { isObject } from '../validation.ts'

/** A route's documentation for `@fastify/swagger`. */
export interface RouteDocumentation {
  /** Whether the route is left out. Default `true`. */
  hide?: boolean
  /** Default: none. */
  tags?: string[]
  /** Default: one line on what the route does. */
  summary?: string
  description?: string
  operationId?: string
}

/** A route to add. */
export interface RouteSettings {
  path: string
  schema?: RouteDocumentation
}

/** Leaves the validation of a body to the route: the app's validator may strip or convert what has to be refused. */
export const unchecked = () => () => true

/** Fastify's own form of an error. Named one by one: it serializes no other members. */
const errorForm = {
  type: 'object',
  properties: { statusCode: { type: 'integer' }, code: { type: 'string' }, error: { type: 'string' }, message: { type: 'string' } }
}

/** The `schema` of a route, for `@fastify/swagger` alone. */
export function documented (given: RouteDocumentation = {}, { summary, body, response }: { summary: string, body: object, response: Record<number, string> }): FastifySchema {
  const responses = Object.entries(response).map(([status, description]) => [status, { description, ...(status === '204' ? { type: 'null' } : errorForm) }])
  return { hide: true, summary, ...given, body: plain(body), response: Object.fromEntries(responses) } as FastifySchema
}

/** JSON Schema without what only this package's own validator reads. */
function plain (schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(plain)
  if (!isObject(schema)) return schema
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== 'expected' && name !== 'test').map(([name, member]) => [name, plain(member)]))
}

/** By Fetch Metadata if the browser sends it, else by comparing `Origin` with the origin of the request as Fastify sees it. */
export function isSameOrigin ({ headers, protocol, host }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site === 'same-origin'
  try {
    return headers.origin === new URL(`${protocol}://${host}`).origin
  } catch {
    return false
  }
}
