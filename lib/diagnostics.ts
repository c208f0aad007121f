/**
 * What the outside can watch: the logger's shape and the `node:diagnostics_channel` channels.
 *
 * A message object is built only where `channel.hasSubscribers` is true, so an unwatched channel costs one read.
 */
import { channel } from 'node:diagnostics_channel'

/** What the plugin logs to: `app.log` and its children fit, and so does anything else with these two methods. */
export interface TargetLogger {
  debug (...args: any[]): void
  error (...args: any[]): void
}

/** The channels, by what they tell. Their names are public. */
export const channels = {
  /** A call to the edge is sent: `{ requestId, host, kind }`. */
  callStart: channel('fastify-adobe-target:call:start'),
  /** It was answered: `{ requestId, host, kind, status, attempts, elapsed }`. */
  callEnd: channel('fastify-adobe-target:call:end'),
  /** It failed: `{ requestId, host, kind, error, attempts, elapsed }`. */
  callError: channel('fastify-adobe-target:call:error'),
  /** A decision was made on-device: `{ requestId, remoteMboxes, remoteViews, elapsed }`. */
  decision: channel('fastify-adobe-target:decision'),
  /** The rule artifact changed state: `{ state, version?, error? }`. */
  artifact: channel('fastify-adobe-target:artifact'),
  /** Notifications were accepted, sent, failed or dropped: `{ event, count, error? }`. */
  outbox: channel('fastify-adobe-target:outbox'),
  /** A circuit breaker changed state: `{ host, state }`. */
  breaker: channel('fastify-adobe-target:breaker')
}
