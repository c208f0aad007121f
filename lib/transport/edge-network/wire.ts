/**
 * The Edge Network's format: the parts of its responses that are read here, and the propositions that displays and clicks name.
 *
 * Sources: Adobe, Edge Network API: interact, collect, personalization, error handling.
 */
import { isObject } from '../../validation.ts'

/** A decision about one scope. */
export interface Proposition {
  id: string
  scope: string
  scopeDetails: Record<string, unknown>
  items: Item[]
}

/** A part of a decision. */
export interface Item {
  schema: string
  meta?: Record<string, unknown>
  data?: Record<string, unknown>
}

/** A part of an answer. */
export interface Handle {
  type: string
  payload: unknown[]
}

/** The page-wide scope: the page load and all views. */
export const PAGE_SCOPE = '__view__'

const NAMESPACE = 'https://ns.adobe.com/personalization/'
export const SCHEMA = {
  html: `${NAMESPACE}html-content-item`,
  json: `${NAMESPACE}json-content-item`,
  redirect: `${NAMESPACE}redirect-item`,
  action: `${NAMESPACE}dom-action`,
  default: `${NAMESPACE}default-content-item`
}

/** What is measured of a place that Web SDK does not render: its clicks. It comes without being asked for. */
export const MEASUREMENT = `${NAMESPACE}measurement`

/** The handles of an answer; what is not of the form is left out. */
export function handlesOf (body: unknown): Handle[] {
  const handles = isObject(body) && Array.isArray(body['handle']) ? body['handle'] : []
  return handles.filter((handle): handle is Handle => isObject(handle) && typeof handle['type'] === 'string' && Array.isArray(handle['payload']))
}

/** All payloads of a type. */
export const payloadsOf = (handles: readonly Handle[], type: string): unknown[] => handles.filter((handle) => handle.type === type).flatMap(({ payload }) => payload)

/** Target's propositions. Other services of the datastream have theirs in the same place. */
export function propositionsIn (handles: readonly Handle[]): Proposition[] {
  return payloadsOf(handles, 'personalization:decisions').flatMap((payload) => {
    if (!isObject(payload) || typeof payload['id'] !== 'string' || typeof payload['scope'] !== 'string') return []
    const { scopeDetails, items } = payload
    if (!isObject(scopeDetails) || (scopeDetails['decisionProvider'] ?? 'TGT') !== 'TGT') return []
    return [{ ...payload, items: Array.isArray(items) ? items.flatMap(readItem) : [] } as unknown as Proposition]
  })
}

function readItem (item: unknown): Item[] {
  if (!isObject(item) || typeof item['schema'] !== 'string') return []
  const { schema, meta, data } = item
  const read: Item = { schema }
  if (isObject(meta)) read.meta = meta
  if (isObject(data)) read.data = data
  return [read]
}

/** A member at a path; undefined where there is none. */
export function at (value: unknown, ...path: string[]): unknown {
  for (const name of path) {
    if (!isObject(value)) return undefined
    value = value[name]
  }
  return value
}

/** What a display or a click names of a proposition. */
export type Reported = Pick<Proposition, 'scope'> & Partial<Pick<Proposition, 'id' | 'scopeDetails'>>

/** Longest token that is read: it may come back from a browser. */
const MAX_TOKEN = 8192

/** A proposition as an event token of the Delivery API: opaque to apps, stores and pages. */
export const tokenOf = ({ id, scope, scopeDetails }: Proposition): string => Buffer.from(JSON.stringify({ id, scope, scopeDetails })).toString('base64url')

/** The proposition in a token; undefined if it is not one. */
export function reportedIn (token: string): Reported | undefined {
  if (token.length > MAX_TOKEN) return undefined
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString())
    if (!isObject(value)) return undefined
    const { id, scope, scopeDetails } = value
    return typeof id === 'string' && typeof scope === 'string' && isObject(scopeDetails) ? { id, scope, scopeDetails } : undefined
  } catch {
    return undefined
  }
}
