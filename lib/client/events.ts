/** The Node SDK's events, as callbacks by name. */
import type { Geo, Notification } from '../schema/index.ts'
import type { Log } from '../diagnostics.ts'
import type { TargetError } from '../errors.ts'

/** Details of each event, in addition to its `type`. */
export interface TargetEventDetails {
  /** Decisions can be made: immediately if server-side, else when there is an artifact. */
  clientReady: object
  artifactDownloadSucceeded: { artifactLocation: string, artifactPayload: object }
  artifactDownloadFailed: { artifactLocation: string, error: TargetError }
  /** The location of this server, or of a visitor's IP address. */
  geoLocationUpdated: { geoContext: Geo }
  /** A notification was given up: refused, out of retries, or dropped (OVERLOAD, CLOSED). */
  sendNotificationError: { notification: FailedNotification, error: TargetError }
}

/** A notification that was given up. Its `request`, which is not enumerable, is for code that was written for the Node SDK. */
export type FailedNotification = Notification & { readonly request: { readonly notifications: readonly [Notification] } }

/** The detail of `sendNotificationError`. */
export function failedNotification (notification: Notification): FailedNotification {
  return Object.defineProperty({ ...notification }, 'request', { value: { notifications: [notification] } }) as FailedNotification
}

/** Callbacks by event. One that throws is logged and changes nothing. */
export type TargetEvents = { [Name in keyof TargetEventDetails]?: (event: { type: Name } & TargetEventDetails[Name]) => void }

/** Emits an event. */
export type Emit = <Name extends keyof TargetEventDetails>(type: Name, detail: TargetEventDetails[Name]) => void

/** Makes the function that calls the callbacks. */
export function emitterOf (events: TargetEvents, log: Log): Emit {
  const callbacks = new Map(Object.entries(events).map(([name, callback]) => [name, log.guard(callback as (event: object) => void, `events.${name}`)]))
  return (type, detail) => callbacks.get(type)?.({ type, ...detail })
}
