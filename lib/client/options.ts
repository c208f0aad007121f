/**
 * The options of the client: their types, schema and defaults.
 */
import { Type } from '@sinclair/typebox'
import type { Dispatcher } from 'undici'
import type { ArtifactStore } from '../decisioning/artifact-store.ts'
import { Log, type TargetLogger } from '../diagnostics.ts'
import type { DeliverySettings } from '../delivery/delivery.ts'
import type { DecisioningMethod } from '../schema/index.ts'
import { callback, checkOptions, flag, integer, isObject, MAX_MILLISECONDS, Milliseconds, MillisecondsOrZero, oneOf, passing, strict, text, withMethods } from '../validation.ts'
import type { CallDefaults } from './call.ts'
import { EdgeVisitors } from './edge-cookies.ts'
import { failure } from '../errors.ts'
import type { EdgeNetworkSettings } from '../transport/edge-network/edge-network.ts'
import { REFUSED_OPTIONS } from '../transport/edge-network/unsupported.ts'
import type { TargetEvents } from './events.ts'
import type { OnDeviceSettings } from './on-device.ts'
import type { OutboxSettings } from '../outbox/outbox.ts'
import type { DeliveryApiSettings } from '../transport/delivery-api.ts'
import type { OutboxStore, OutboxTransform } from '../outbox/store.ts'

/** Options of `createTargetClient()`, and the client's part of the plugin's options. */
export interface TargetClientOptions {
  /** Target client code. Required. */
  client: string
  /** IMS organization id, `…@AdobeOrg`. Required. */
  organizationId: string
  /** Host and optional port of the edge. Default `<client>.tt.omtrdc.net`. If set, visitors' location hints do not replace it. */
  serverDomain?: string
  /** https. Default `true`. */
  secure?: boolean
  /** ms for the whole call: queue, connect, headers, body, retry. Default 3000. */
  timeout?: number
  /** ms for which a call may continue in the background after its deadline, to keep its socket. Default 1000. */
  grace?: number
  /** Target property (`at_property`), which limits the activities. */
  propertyToken?: string
  /** Name of the Target environment of the rule artifact, in any case. Default `production`. */
  environment?: 'production' | 'staging' | 'development' | (string & {})
  /** Target environment id (host group). Default: by the page's host. */
  environmentId?: number
  /** Default location hint, 1 to 4 digits, for visitors without one. */
  targetLocationHint?: string
  /** Where decisions are made: by the edge, on-device by a rule artifact, or on-device if possible. Default `server-side`. */
  decisioningMethod?: DecisioningMethod
  /** Full URL of the rule artifact. Default: at Adobe's CDN, by client, environment and property token. */
  artifactLocation?: string
  /** A rule artifact to start with; the first poll is one interval later. */
  artifactPayload?: object
  /** Default: by the location's extension. */
  artifactFormat?: 'json' | 'bin'
  /**
   * Keeps the last rule artifact for restarts, and shares it between instances: `fileArtifactStore()`, `redisArtifactStore()`
   * of `fastify-adobe-target/redis`, or a custom one. Default: none.
   */
  artifactStore?: ArtifactStore
  /** ms between polls for a new artifact, give or take a tenth; from 1000, or 0 for none. Default 300000. */
  pollingInterval?: number
  /** `version` in the query string of every call. */
  version?: string
  /** Adds the SDK's telemetry to the next call to the edge; never makes a separate call. Default `false`. */
  telemetryEnabled?: boolean
  /** Connections and queue, each per edge host, on undici. */
  pool?: {
    /** Maximum number of connections, and so of concurrent calls. Default 128. */
    connections?: number
    /** ms for which an idle connection is kept; must be shorter than at the edge. Default 4000. */
    keepAliveTimeout?: number
    /** ms after which a host's pool is replaced by a fresh one, so that a change of DNS is noticed. Default 300000. */
    maxAge?: number
    /** HTTP/2. Default `false`. */
    allowH2?: boolean
    /** Maximum size of a response in bytes. Default 8 MiB. */
    maxResponseSize?: number
    /** Maximum number of calls waiting for a connection; further ones end immediately with OVERLOAD. Default 1024. */
    maxQueue?: number
  }
  /**
   * Connections to the edge that are opened before the app listens, so that the first pages find them; nothing is sent over them.
   * They are closed after `pool.keepAliveTimeout` like all that are idle. If the edge cannot be reached, the start waits for at
   * most 500 ms and goes on. 0: none, and none with `dispatcher`. Default 4.
   */
  preconnect?: number
  /**
   * Any undici dispatcher (proxy, mock, instrumented), used for every outgoing call and never closed. Of `pool`, only
   * `maxResponseSize` and, as a limit on calls in flight, `connections + maxQueue` then apply.
   */
  dispatcher?: Dispatcher
  /** Circuit breaker per edge host; `false` turns it off, `Retry-After` included. */
  breaker?: false | {
    /** Failures in a row that open it, or failures within `window` if they are at least half of the calls. Default 10. */
    failures?: number
    /** ms in which calls are counted for that half. Default 10000. */
    window?: number
    /** Longest pause between probes of the host, in ms; the first is 250. Default 5000. */
    cooldown?: number
  }
  /** The background outbox for notifications. */
  notifications?: {
    /**
     * Maximum number of concurrent calls; the actual number follows the backlog and what the edge can handle. Each call carries
     * one visitor's notifications, so this divided by the edge's latency is the maximum number of visitors per second: 4000 at
     * 60 ms. These calls use separate connections, in addition to `pool.connections`. Default 256.
     */
    concurrency?: number
    /** Maximum number of notifications kept; beyond that the oldest is dropped and reported. Default 10000. */
    maxQueue?: number
    /** Maximum bytes of waiting notifications, estimated; beyond that the oldest are dropped and reported. Default 64 MiB. */
    maxBytes?: number
    /** Maximum number of retries. Default 10. */
    retries?: number
    /** ms after which an unsent notification counts as failed. Default 3600000, an hour. */
    maxAge?: number
    /** ms from the start of the shutdown until remaining notifications are given up. Default 5000. */
    closeTimeout?: number
    /**
     * Keeps notifications until they are sent, even beyond the process: `fileStore()`, `redisStore()` or a custom one. Pages
     * never wait for it. Default: none, they are kept in memory.
     */
    store?: OutboxStore
    /** Transforms records as they are written to and read from the store, e.g. encrypts them. Default: none. */
    transform?: OutboxTransform
  }
  /**
   * Calls Target through the Edge Network, as Web SDK does, instead of the Delivery API: for sites with Web SDK in the page. Default:
   * none, the Delivery API.
   */
  edgeNetwork?: EdgeNetworkSettings
  /** Callbacks by event, as in the Node SDK. */
  events?: TargetEvents
  /** Default: none. */
  logger?: TargetLogger
}

const host = text('^([A-Za-z0-9_.-]+|\\[[0-9A-Fa-f:.]+\\])(:\\d{1,5})?$', 'a host, optionally with a port, without scheme or path')

/** Schema of each client option; the plugin's options have them too. */
export const clientProperties = {
  client: text('^[A-Za-z0-9][A-Za-z0-9_-]*$', 'a Target client code (letters, digits, - and _)'),
  organizationId: text('^[ -~]*[!-~][ -~]*$', 'an IMS organization id such as 1234567890@AdobeOrg'),
  serverDomain: Type.Optional(host),
  secure: Type.Optional(flag),
  timeout: Type.Optional(Milliseconds),
  grace: Type.Optional(MillisecondsOrZero),
  propertyToken: Type.Optional(text('\\S', 'a property token, a string that is not empty')),
  environment: Type.Optional(text('^(?!\\.{1,2}$).*\\S', 'the name of a Target environment')),
  environmentId: Type.Optional(Type.Integer({ minimum: 0, expected: 'a Target environment id, an integer ≥ 0' })),
  targetLocationHint: Type.Optional(text('^\\d{1,4}$', 'a string of 1 to 4 digits')),
  decisioningMethod: Type.Optional(oneOf('server-side', 'on-device', 'hybrid')),
  artifactLocation: Type.Optional(text('^https?://[^\\s/]+', 'the full http or https URL of the artifact')),
  artifactPayload: Type.Optional(passing(isObject, 'a rule artifact, as an object')),
  artifactStore: Type.Optional(withMethods(['read', 'write'], 'a store with the methods `read` and `write`, such as fileArtifactStore() makes')),
  artifactFormat: Type.Optional(oneOf('json', 'bin')),
  pollingInterval: Type.Optional(Type.Union([Type.Literal(0), Type.Number({ minimum: 1000, maximum: MAX_MILLISECONDS })], { expected: `a number of ms ≥ 1000 and ≤ ${MAX_MILLISECONDS}, or 0 for no polling` })),
  version: Type.Optional(text('\\S', 'a string that is not empty')),
  telemetryEnabled: Type.Optional(flag),
  pool: Type.Optional(Type.Object({
    connections: Type.Optional(integer(1)),
    keepAliveTimeout: Type.Optional(Milliseconds),
    maxAge: Type.Optional(Milliseconds),
    allowH2: Type.Optional(flag),
    maxResponseSize: Type.Optional(Type.Integer({ minimum: 1, expected: 'a number of bytes, an integer ≥ 1' })),
    maxQueue: Type.Optional(integer(0))
  }, strict)),
  preconnect: Type.Optional(integer(0)),
  dispatcher: Type.Optional(withMethods(['dispatch'], 'an undici Dispatcher')),
  breaker: Type.Optional(Type.Union([Type.Literal(false), Type.Object({
    failures: Type.Optional(integer(1)),
    window: Type.Optional(Milliseconds),
    cooldown: Type.Optional(Milliseconds)
  }, strict)], { expected: 'an object { failures, window, cooldown }, or false' })),
  notifications: Type.Optional(Type.Object({
    concurrency: Type.Optional(integer(1)),
    maxQueue: Type.Optional(integer(1)),
    maxBytes: Type.Optional(Type.Integer({ minimum: 1, expected: 'a number of bytes, an integer ≥ 1' })),
    retries: Type.Optional(integer(0)),
    maxAge: Type.Optional(Milliseconds),
    closeTimeout: Type.Optional(MillisecondsOrZero),
    store: Type.Optional(withMethods(['append', 'settle', 'recover', 'close'], 'a store with the methods append, settle, recover and close')),
    transform: Type.Optional(withMethods(['encode', 'decode'], 'an object with the functions encode and decode'))
  }, strict)),
  edgeNetwork: Type.Optional(Type.Object({
    datastreamId: text('^[\\w.:-]+$', 'the id of a datastream'),
    edgeDomain: Type.Optional(host),
    edgeBasePath: Type.Optional(text('^[\\w-]+$', 'a path segment such as ee')),
    credentials: Type.Optional(Type.Object({
      clientId: text('^[!-~]+$', 'the client id of OAuth server-to-server credentials'),
      clientSecret: text('\\S', 'the client secret of OAuth server-to-server credentials'),
      scopes: Type.Optional(Type.Array(text('^[!-+\\--~]+$', 'the name of a scope'))),
      tokenUrl: Type.Optional(text('^https?://[^\\s/]+', 'the full http or https URL of the token endpoint'))
    }, { ...strict, expected: 'an object { clientId, clientSecret }' })),
    thirdPartyIdNamespace: Type.Optional(text('^[\\w.-]{1,50}$', 'the code of an identity namespace')),
    defaultConsent: Type.Optional(oneOf('in', 'pending', 'out'))
  }, { ...strict, expected: 'an object { datastreamId, … }' })),
  events: Type.Optional(Type.Object({
    clientReady: Type.Optional(callback),
    artifactDownloadSucceeded: Type.Optional(callback),
    artifactDownloadFailed: Type.Optional(callback),
    geoLocationUpdated: Type.Optional(callback),
    sendNotificationError: Type.Optional(callback)
  }, { ...strict, expected: 'an object of functions by event name' })),
  logger: Type.Optional(withMethods(['debug', 'error'], 'a logger with the methods debug and error'))
}

/** Options of Adobe's Node SDK that do not exist here, and what to use. */
export const replaced = {
  fetchApi: '`dispatcher`, any undici Dispatcher (ProxyAgent, MockAgent, …)',
  maximumWaitReady: '`ready({ timeout })`',
  cdnEnvironment: '`artifactLocation`, the full URL of the artifact',
  cdnBasePath: '`artifactLocation`, the full URL of the artifact'
}

const ClientOptionsSchema = Type.Object(clientProperties, { ...strict, replaced })

const SILENT: TargetLogger = { debug () {}, error () {} }

/** Adds the `@AdobeOrg` that a copied id often lacks, as VisitorAPI.js does: names of cookies and state contain it. */
const withOrganizationDomain = (organizationId: string): string => organizationId.includes('@') ? organizationId : `${organizationId}@AdobeOrg`

/** Refuses what the Edge Network cannot do. */
function checkEdgeNetwork (options: TargetClientOptions): void {
  const { decisioningMethod = 'server-side' } = options
  if (decisioningMethod !== 'server-side') {
    throw failure('FST_TARGET_INVALID_OPTIONS', `\`decisioningMethod\` must be 'server-side' with \`edgeNetwork\`, got '${decisioningMethod}'`)
  }
  for (const [name, advice] of Object.entries(REFUSED_OPTIONS)) {
    const given = options[name as keyof TargetClientOptions]
    if (given !== undefined && given !== false) throw failure('FST_TARGET_INVALID_OPTIONS', `\`${name}\` cannot be used with \`edgeNetwork\`: ${advice}`)
  }
}

/** A client's options, checked and with their defaults. */
export interface ClientSettings extends DeliverySettings, OnDeviceSettings, DeliveryApiSettings, CallDefaults {
  decisioningMethod: DecisioningMethod
  /** Connections to open before the first call. */
  preconnect: number
  telemetryEnabled: boolean
  /** Undefined: the Delivery API. */
  edgeNetwork?: EdgeNetworkSettings | undefined
  notifications: OutboxSettings
  events: TargetEvents
  logger: Log
}

/** Checked options of the client with their defaults. */
export function clientSettings (options: TargetClientOptions): ClientSettings {
  if (options.edgeNetwork !== undefined) checkEdgeNetwork(options)
  const { pool, breaker } = options
  const logger = Log.of(options.logger ?? SILENT)
  return {
    client: options.client,
    organizationId: withOrganizationDomain(options.organizationId),
    serverDomain: options.serverDomain,
    secure: options.secure ?? true,
    timeout: options.timeout ?? 3000,
    grace: options.grace ?? 1000,
    propertyToken: options.propertyToken,
    environmentId: options.environmentId,
    targetLocationHint: options.targetLocationHint,
    decisioningMethod: options.decisioningMethod ?? 'server-side',
    environment: options.environment,
    artifactLocation: options.artifactLocation,
    artifactPayload: options.artifactPayload,
    artifactStore: options.artifactStore,
    artifactFormat: options.artifactFormat,
    pollingInterval: options.pollingInterval ?? 300_000,
    version: options.version,
    telemetryEnabled: options.telemetryEnabled ?? false,
    edgeNetwork: options.edgeNetwork,
    edgeVisitors: options.edgeNetwork && new EdgeVisitors(withOrganizationDomain(options.organizationId), options.edgeNetwork),
    pool: {
      connections: 128, keepAliveTimeout: 4000, maxAge: 300_000, allowH2: false, maxResponseSize: 8 * 1024 * 1024, maxQueue: 1024, ...pool
    },
    breaker: breaker === false ? false : { failures: 10, window: 10_000, cooldown: 5000, ...breaker },
    preconnect: options.preconnect ?? 4,
    dispatcher: options.dispatcher,
    notifications: {
      concurrency: 256, maxQueue: 10_000, maxBytes: 64 * 1024 * 1024, retries: 10, maxAge: 3_600_000, closeTimeout: 5000, ...options.notifications
    },
    events: options.events ?? {},
    logger,
    report: logger.warnOnce
  }
}

/**
 * Checks the options of a client.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function resolveClientOptions (given: TargetClientOptions): ClientSettings {
  return clientSettings(checkOptions<TargetClientOptions>(ClientOptionsSchema, given))
}
