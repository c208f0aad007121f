/**
 * How an API says what happened: what its answers must have, and what its errors look like. The network, its deadlines and its
 * breakers are the same for all.
 */
import { isObject } from '../validation.ts'
import { findFault } from './response-shape.ts'

/** The words of one API. */
export interface Dialect {
  /** What is wrong with an answer, for an error message; undefined if nothing is. */
  findFault (body: unknown): string | undefined
  /** The status reported in the body, whatever the response's own; 0 if none. */
  statusIn (body: unknown): number
  /** What an error's body says, for people. */
  messageIn (body: unknown): unknown
  /** Whether an error's body is of the API's own form. Firewalls and proxies answer in theirs. */
  isOwnError (status: number, body: unknown): boolean
}

/** Adobe's edge may answer 200 with the error's status in the body. */
const statusIn = (body: unknown): number => isObject(body) && typeof body['status'] === 'number' ? body['status'] : 0

/** The Delivery API: `{ status, message }`. */
export const DELIVERY_API: Dialect = {
  findFault,
  statusIn,
  messageIn: (body) => isObject(body) ? body['message'] : undefined,
  isOwnError: (status, body) => statusIn(body) === status && isObject(body) && typeof body['message'] === 'string'
}
