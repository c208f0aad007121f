/**
 * The dialect of an API: what its responses must contain, and what its errors look like. The network, its deadlines and its
 * breakers are the same for all.
 */
import { isObject } from '../validation.ts'
import { findFault } from './response-shape.ts'

/** The dialect of one API. */
export interface Dialect {
  /** The problem of a response, for an error message; undefined if it is valid. */
  findFault (body: unknown): string | undefined
  /** The status reported in the body, whatever the response's own; 0 if none. */
  statusIn (body: unknown): number
  /** The message in an error's body. */
  messageIn (body: unknown): unknown
  /** Whether an error's body has the API's own format. Firewalls and proxies use theirs. */
  isOwnError (status: number, body: unknown): boolean
}

/** Adobe's edge may return 200 with the error's status in the body. */
const statusIn = (body: unknown): number => isObject(body) && typeof body['status'] === 'number' ? body['status'] : 0

/** The Delivery API: `{ status, message }`. */
export const DELIVERY_API: Dialect = {
  findFault,
  statusIn,
  messageIn: (body) => isObject(body) ? body['message'] : undefined,
  isOwnError: (status, body) => statusIn(body) === status && isObject(body) && typeof body['message'] === 'string'
}
