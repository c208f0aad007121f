/**
 * The text of a record: the notifications of one visitor, and the rest of the call that carries them.
 *
 * It contains the same data as the call to Target: visitor ids, the page's address, the user agent, parameters.
 */
import type { Notification } from '../schema/index.ts'

/** A record that was read back. */
export interface OutboxRecord<Visitor> {
  visitor: Visitor
  notifications: Notification[]
  /** When they were accepted, in ms since 1970. */
  acceptedAt: number
}

/** Version of the format; records of other versions cannot be read. */
const VERSION = 1

/** @param senderJson the visitor as JSON. @returns undefined if the notifications cannot be serialized */
export function writeRecord (client: string, senderJson: string, notifications: readonly Notification[], acceptedAt: number): string | undefined {
  try {
    return `{"v":${VERSION},"client":${JSON.stringify(client)},"acceptedAt":${Math.round(acceptedAt)},"visitor":${senderJson},"notifications":${JSON.stringify(notifications)}}`
  } catch {
    return undefined
  }
}

/** @returns the record, `'foreign'` if it belongs to another client, undefined if it cannot be read */
export function readRecord<Visitor> (client: string, text: string): OutboxRecord<Visitor> | 'foreign' | undefined {
  let record: { v?: unknown, client?: unknown, acceptedAt?: unknown, visitor?: Record<string, unknown> | null, notifications?: unknown } | null
  try {
    record = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof record !== 'object' || record === null || record.v !== VERSION) return undefined
  if (record.client !== client) return 'foreign'
  const { acceptedAt, visitor, notifications } = record
  if (typeof acceptedAt !== 'number' || typeof visitor !== 'object' || visitor === null || typeof visitor['key'] !== 'string') return undefined
  if (!Array.isArray(notifications) || notifications.length === 0 || !notifications.every(isNotification)) return undefined
  return { acceptedAt, visitor: visitor as Visitor, notifications }
}

const isNotification = (value: unknown): value is Notification => typeof value === 'object' && value !== null && typeof (value as Notification).id === 'string'
