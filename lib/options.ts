/**
 * The options of the plugin: what they are, their schema and their defaults.
 */
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { clientProperties, clientSettings, replaced, type ClientSettings, type TargetClientOptions } from './client/options.ts'
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
  /** The route's documentation for `@fastify/swagger`. Default: it is hidden. */
  schema?: RouteDocumentation
}

/** The option `openFeature`; see `TargetProvider` of `fastify-adobe-target/openfeature`. */
export interface OpenFeatureOptions {
  /** OpenFeature domain of the provider. Default: all clients without their own provider. */
  domain?: string
  /** Where to find flags whose keys are neither `mbox` nor `mbox.path`. */
  flags?: Record<string, { mbox: string, path?: string }>
  /** Whether evaluating prefetched content counts as a display. Default `false`. */
  countEvaluations?: boolean
  /** Members of `flagMetadata`. Default: all, without response tokens. */
  metadata?: readonly string[]
}

/** Options of the plugin. */
export interface FastifyAdobeTargetOptions extends TargetClientOptions {
  /** Maximum time in ms that reading an offer may delay the handler; not for `result()`. Default: the call's deadline. */
  maxWait?: number
  /** The hook in which the call starts; `false`: only when the handler first reads an offer. Default `onRequest`. */
  hook?: 'onRequest' | 'preParsing' | 'preValidation' | 'preHandler' | false
  /** Whether every route gets the default request, unless its `config.target` is `false`. Default `false`. */
  global?: boolean
  /** Default request, for `global` and for `config: { target: true }`; the same forms as a route's. */
  request?: TargetRequestForm | ((request: FastifyRequest) => TargetRequestForm)
  /** Schema and fallback of the content, by mbox name, declared once for all routes. */
  mboxes?: MboxDefinitions
  /**
   * Whether Target may be called for this visitor, e.g. by consent; called once per request, before anything is
   * started. `false`: no call, no cookie, no notification, and fallbacks with the reason `opted-out`; the same if it throws or rejects.
   * Default: always.
   */
  enabled?: (request: FastifyRequest) => boolean | Promise<boolean>
  /** What the app knows about the visitor, e.g. from its session. */
  visitor?: (request: FastifyRequest) => VisitorDetails | undefined | null | Promise<VisitorDetails | undefined | null>
  /** Additions to the Delivery API's `context`, merged over what is read from the request; `null` removes a part. */
  context?: (request: FastifyRequest) => ContextAdditions | undefined | null | Promise<ContextAdditions | undefined | null>
  /** Parameters for every mbox, page load and view of the request. Values that the edge would refuse are left out. */
  parameters?: (request: FastifyRequest) => Record<string, unknown> | undefined | null | Promise<Record<string, unknown> | undefined | null>
  /** Profile parameters, likewise. */
  profileParameters?: (request: FastifyRequest) => Record<string, unknown> | undefined | null | Promise<Record<string, unknown> | undefined | null>
  /** Attributes of the cookies, or `false` to write none. Default: `Path=/; SameSite=Lax`, `Secure` on https, no domain, not `HttpOnly`. Unchanged cookies are not written again. */
  cookies?: CookieSettings | false
  /**
   * A first-party id, as with Web SDK: `true` for a cookie `FPID`, or a cookie name. The cookie holds a UUIDv4, which is generated
   * if missing; a visitor without an ECID gets the one that Adobe derives from it, from the first page on.
   * Default `false`.
   */
  firstPartyId?: boolean | string
  /**
   * Requests the client hints that Target's device audiences need (model, platform version and more), with the
   * header `Accept-CH` on responses that used Target. Browsers send them from the next request on, over https. Default `false`.
   */
  clientHints?: boolean
  /** Whether Target's QA links work, and the cookie that keeps QA mode for the visit. Default `true`. */
  qa?: boolean
  /**
   * A route that accepts clicks and displays from the page's own scripts: `true` for `POST /target/notifications`, a path, or
   * an object with documentation for `@fastify/swagger`: `{ path, schema: { hide: false } }`. Default `false`.
   */
  notificationsRoute?: boolean | string | RouteForm
  /**
   * A route that returns `app.target.health()` as JSON, with status 503 when it is `down`: `true` for `GET /target/health`, a path, or
   * an object as for `notificationsRoute`. For monitoring: it names hosts and should not be reachable from outside. Default `false`.
   */
  healthRoute?: boolean | string | RouteForm
  /**
   * Routes of OpenFeature's remote evaluation protocol for the browser, for the declared `mboxes` only: `true` for
   * `POST /ofrep/v1/evaluate/flags` and one below it for each flag, a path that they are below, or an object as for
   * `notificationsRoute`. Default `false`.
   */
  ofrepRoute?: boolean | string | RouteForm
  /**
   * Registers Target as an OpenFeature provider, whose flags are evaluated with the request in which they are read. Requires
   * `@openfeature/server-sdk`. Default `false`.
   */
  openFeature?: boolean | OpenFeatureOptions
  /** Adds the `Server-Timing` header. Default `false`. */
  serverTiming?: boolean
  /** Name of the decorator on the instance and the request, and of the member in the route's config. Default `target`. */
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
