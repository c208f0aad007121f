/**
 * The options of the plugin: what they are, their schema and their defaults.
 */
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import type { ClientSettings } from './client/client.ts'
import { clientProperties, clientSettings, replaced, type TargetClientOptions } from './client/options.ts'
import type { TargetLogger } from './diagnostics.ts'
import { failure } from './errors.ts'
import type { CompileSchema } from './offers/foreign-schema.ts'
import { declareMboxes, type DeclaredMboxes } from './offers/mbox-declarations.ts'
import type { MboxDefinitions } from './offers/mbox-types.ts'
import type { ContextAdditions } from './request/context.ts'
import type { RouteDocumentation, RouteSettings } from './request/own-route.ts'
import type { TargetRequestForm } from './request/route-config.ts'
import { callback, checkOptions, flag, Milliseconds, oneOf, strict, text } from './validation.ts'
import type { CookieSettings } from './visitor/cookies.ts'
import type { VisitorDetails } from './visitor/visitor.ts'

/** A route that the plugin adds. */
export interface RouteForm {
  /** A path that begins with `/`. Default: the route's own. */
  path?: string
  /** What `@fastify/swagger` gets of the route. Default: it is hidden. */
  schema?: RouteDocumentation
}

/** What the option `openFeature` may say; see `TargetProvider` of `fastify-adobe-target/openfeature`. */
export interface OpenFeatureOptions {
  /** The domain of OpenFeature that the provider is for. Default: all that have no provider of their own. */
  domain?: string
  /** Flag keys that are not `mbox` or `mbox.path`: where each is. */
  flags?: Record<string, { mbox: string, path?: string }>
  /** Whether an evaluation of what was prefetched counts as a display. Default `false`. */
  countEvaluations?: boolean
  /** Members of `flagMetadata`. Default: all, but no response tokens. */
  metadata?: readonly string[]
}

/** Options of the plugin. */
export interface FastifyAdobeTargetOptions extends TargetClientOptions {
  /** ms, the longest that asking for an offer holds the handler, counted from the asking; not for `result()`. Default: none. */
  maxWait?: number
  /** Where the call starts; `false`: only when first asked. Default `onRequest`. */
  hook?: 'onRequest' | 'preParsing' | 'preValidation' | 'preHandler' | false
  /** Every route gets the default request, unless its `config.target` is `false`. Default `false`. */
  global?: boolean
  /** Default request, for `global` and for `config: { target: true }`; the same forms as a route's. */
  request?: TargetRequestForm | ((request: FastifyRequest) => TargetRequestForm)
  /** Schema of the content and fallback, by mbox name: once for all routes. */
  mboxes?: MboxDefinitions
  /**
   * Whether Target may be asked about this visitor, e.g. by consent; asked once per request, when anything is to be
   * started. `false`: no call, no cookie, no notification, fallbacks with `opted-out`; likewise if it throws or rejects.
   * Default: always.
   */
  enabled?: (request: FastifyRequest) => boolean | Promise<boolean>
  /** What the app knows of the visitor, e.g. from its session. */
  visitor?: (request: FastifyRequest) => VisitorDetails | undefined | null | Promise<VisitorDetails | undefined | null>
  /** More Delivery API `context`, merged over what is read from the request; `null` takes a part away. */
  context?: (request: FastifyRequest) => ContextAdditions | undefined | null | Promise<ContextAdditions | undefined | null>
  /** Parameters for every mbox, page load and view of the request. What the edge would refuse is left out. */
  parameters?: (request: FastifyRequest) => Record<string, unknown> | undefined | null | Promise<Record<string, unknown> | undefined | null>
  /** Profile parameters, likewise. */
  profileParameters?: (request: FastifyRequest) => Record<string, unknown> | undefined | null | Promise<Record<string, unknown> | undefined | null>
  /** Attributes of the cookies, or `false` to write none. Default: `Path=/; SameSite=Lax`, `Secure` on https, no domain, not `HttpOnly`; none that says nothing new. */
  cookies?: CookieSettings | false
  /**
   * A first-party id, as of Web SDK: `true` for a cookie `FPID`, or a cookie name. The cookie has a UUIDv4, which is made
   * where there is none; a visitor without an ECID gets the one that Adobe derives from it, from the first page on.
   * Default `false`.
   */
  firstPartyId?: boolean | string
  /**
   * Asks browsers for the client hints that Target's device audiences need (model, platform version and more), with the
   * header `Accept-CH` on responses that used Target. Browsers send them from the next request on, over https. Default `false`.
   */
  clientHints?: boolean
  /** Target's QA links and the cookie that keeps them for the visit count. Default `true`. */
  qa?: boolean
  /**
   * A route that takes clicks and displays from the page's own scripts: `true` for `POST /target/notifications`, a path, or
   * both with what `@fastify/swagger` is to show of it: `{ path, schema: { hide: false } }`. Default `false`.
   */
  notificationsRoute?: boolean | string | RouteForm
  /**
   * A route with `app.target.health()` as JSON, with status 503 when it is `down`: `true` for `GET /target/health`, a path, or
   * an object as for `notificationsRoute`. For monitors: it names hosts and should not be reachable from outside. Default `false`.
   */
  healthRoute?: boolean | string | RouteForm
  /**
   * Routes of OpenFeature's remote evaluation protocol for the browser, for the declared `mboxes` only: `true` for
   * `POST /ofrep/v1/evaluate/flags` and one below it for each flag, a path that they are below, or an object as for
   * `notificationsRoute`. Default `false`.
   */
  ofrepRoute?: boolean | string | RouteForm
  /**
   * Registers Target as a provider of OpenFeature, whose flags are answered by the request they are asked in. Needs
   * `@openfeature/server-sdk`. Default `false`.
   */
  openFeature?: boolean | OpenFeatureOptions
  /** Adds the `Server-Timing` header. Default `false`. */
  serverTiming?: boolean
  /** Name on the instance, on the request and in the route's config. Default `target`. */
  decorator?: string
}

const path = text('^/[!"$-)+-9;->@-~]*$', 'a path that begins with /')
const routeForm = Type.Union([Type.Boolean(), path, Type.Object({
  path: Type.Optional(path),
  schema: Type.Optional(Type.Object({
    hide: Type.Optional(flag),
    tags: Type.Optional(Type.Array(Type.String())),
    summary: Type.Optional(Type.String()),
    description: Type.Optional(Type.String()),
    operationId: Type.Optional(Type.String())
  }, strict))
}, strict)], { expected: 'true, false, a path that begins with / or an object { path, schema }' })

export const PluginOptionsSchema = Type.Object({
  ...clientProperties,
  maxWait: Type.Optional(Milliseconds),
  hook: Type.Optional(oneOf('onRequest', 'preParsing', 'preValidation', 'preHandler', false)),
  global: Type.Optional(flag),
  request: Type.Optional(Type.Any()),
  mboxes: Type.Optional(Type.Any()),
  enabled: Type.Optional(callback),
  visitor: Type.Optional(callback),
  context: Type.Optional(callback),
  parameters: Type.Optional(callback),
  profileParameters: Type.Optional(callback),
  cookies: Type.Optional(Type.Union([Type.Literal(false), Type.Object({
    domain: Type.Optional(text('^\\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$', 'a domain name')),
    path: Type.Optional(text('^/[!-:<-~]*$', 'a path that begins with /')),
    secure: Type.Optional(flag),
    sameSite: Type.Optional(Type.Union(['Strict', 'Lax', 'None', 'strict', 'lax', 'none'].map((value) => Type.Literal(value)), { expected: "'Strict', 'Lax' or 'None'" })),
    httpOnly: Type.Optional(flag),
    partitioned: Type.Optional(flag),
    renewAfter: Type.Optional(Type.Integer({ minimum: 0, maximum: 900_000, expected: 'a number of ms, an integer from 0 to 900000' }))
  }, strict)], { expected: 'an object { domain, path, secure, sameSite, httpOnly, partitioned, renewAfter }, or false' })),
  firstPartyId: Type.Optional(Type.Union([Type.Boolean(), Type.String({ pattern: '^[!#-\'*+\\-.0-9A-Z^-z|~]+$' })], { expected: 'true, false or a cookie name' })),
  clientHints: Type.Optional(flag),
  qa: Type.Optional(flag),
  notificationsRoute: Type.Optional(routeForm),
  healthRoute: Type.Optional(routeForm),
  ofrepRoute: Type.Optional(routeForm),
  openFeature: Type.Optional(Type.Union([Type.Boolean(), Type.Object({
    domain: Type.Optional(Type.String({ minLength: 1 })),
    flags: Type.Optional(Type.Any()),
    countEvaluations: Type.Optional(flag),
    metadata: Type.Optional(Type.Array(Type.String()))
  }, strict)], { expected: 'true, false or an object { domain, flags, countEvaluations, metadata }' })),
  serverTiming: Type.Optional(flag),
  decorator: Type.Optional(text('^[A-Za-z_$][\\w$]*$', 'a JavaScript identifier'))
}, { ...strict, replaced })

/** The plugin's options, checked and with their defaults. */
export interface PluginSettings extends Pick<FastifyAdobeTargetOptions, 'maxWait' | 'request' | 'enabled' | 'visitor' | 'context' | 'parameters' | 'profileParameters'> {
  client: ClientSettings
  hook: NonNullable<FastifyAdobeTargetOptions['hook']>
  global: boolean
  /** A promise only if a schema has asynchronous parts. */
  mboxes: DeclaredMboxes | Promise<DeclaredMboxes>
  cookies: CookieSettings | false
  /** Name of the cookie, where there is to be one. */
  firstPartyId: string | undefined
  clientHints: boolean
  qa: boolean
  /** Its path and documentation, where there is to be one. */
  notificationsRoute: RouteSettings | undefined
  /** Likewise. */
  healthRoute: RouteSettings | undefined
  /** Likewise; its path is what the protocol's are below. */
  ofrepRoute: RouteSettings | undefined
  /** Its options, where it is to be used. */
  openFeature: OpenFeatureOptions | undefined
  serverTiming: boolean
  decorator: string
}

/**
 * Checks the options of the plugin.
 *
 * @param logger used when the options have none
 * @param compile for JSON Schema in `mboxes`
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function resolvePluginOptions (given: FastifyAdobeTargetOptions, logger: TargetLogger, compile: CompileSchema = noCompiler): PluginSettings {
  const options = checkOptions<FastifyAdobeTargetOptions>(PluginOptionsSchema, given)
  if (options.global === true && options.request === undefined) {
    throw failure('FST_TARGET_INVALID_OPTIONS', '`global` requires a default request; set `request`')
  }
  return {
    client: clientSettings({ ...options, logger: options.logger ?? logger }),
    maxWait: options.maxWait,
    hook: options.hook ?? 'onRequest',
    global: options.global ?? false,
    request: options.request,
    mboxes: declareMboxes(options.mboxes, compile),
    enabled: options.enabled,
    visitor: options.visitor,
    context: options.context,
    parameters: options.parameters,
    profileParameters: options.profileParameters,
    cookies: options.cookies ?? {},
    firstPartyId: options.firstPartyId === true ? 'FPID' : options.firstPartyId || undefined,
    clientHints: options.clientHints ?? false,
    qa: options.qa ?? true,
    notificationsRoute: routeSettings(options.notificationsRoute, '/target/notifications'),
    healthRoute: routeSettings(options.healthRoute, '/target/health'),
    ofrepRoute: routeSettings(options.ofrepRoute, ''),
    openFeature: options.openFeature === true ? {} : options.openFeature || undefined,
    serverTiming: options.serverTiming ?? false,
    decorator: options.decorator ?? 'target'
  }
}

const noCompiler: CompileSchema = () => { throw new Error('there is none') }

function routeSettings (given: boolean | string | RouteForm | undefined, path: string): RouteSettings | undefined {
  if (given === undefined || given === false) return undefined
  return { path, ...(typeof given === 'string' ? { path: given } : given === true ? {} : given) }
}
