/**
 * The routes of the app, each with its compiled `config.target`. Routes that were added before the plugin had loaded are
 * compiled at their first request.
 */
import type { FastifyRequest, RouteOptions } from 'fastify'
import type { Log } from '../diagnostics.ts'
import type { ReportLimit } from '../schema/acceptable.ts'
import { mostSimilar } from '../validation.ts'
import { bySymbol } from './fastify-internals.ts'
import { compileRoute, OFF, ON_DEMAND, type RoutePlan } from './route-config.ts'

/** A route. */
export interface Route {
  /** For messages: `GET /`. */
  readonly name: string
  readonly plan: RoutePlan
  /** Whether it has the hook that runs after all other `onSend` hooks. Routes that were added before the plugin do not. */
  readonly hasLastHook: boolean
  readonly isNotFound: boolean
  /** Whether it was seen to write a response without Fastify's hooks. */
  bypassesFastify: boolean
}

/** The plugin's settings for all routes. */
export interface RoutesSettings {
  /** Name of the decorator, and of the member of the routes' config. */
  decorator: string
  /** The default request. */
  request: RoutePlan | undefined
  /** Whether routes without a config get the default request. */
  global: boolean
  logger: Log
  /** Called for each value that was cut or left out of a request. */
  report: ReportLimit
  /** Called with each plan and the name of its route. Throws where the plan cannot be carried out. */
  onPlan (plan: RoutePlan, name: string): void
}

/** The routes of one plugin instance. */
export class Routes {
  readonly #settings: RoutesSettings
  readonly #ROUTE: symbol
  /** 404s start no call by themselves, even with `global`. */
  readonly #notFound = routeOf('404', ON_DEMAND, { isNotFound: true })
  /** Members of route configs, or route options, that are probably misspelt or misplaced. */
  readonly #misplaced: { member: string, warning: string }[] = []
  #misconfigured: Error | undefined

  constructor (settings: RoutesSettings) {
    this.#settings = settings
    this.#ROUTE = Symbol(`fastify-adobe-target:${settings.decorator}:route`)
  }

  /** The first mistake in a route's config. */
  get misconfigured (): Error | undefined {
    return this.#misconfigured
  }

  /** Compiles the config of a route that is being added, and stores it there. */
  add (route: RouteOptions): void {
    const config = route.config as Record<string, unknown> | undefined
    const name = `${String(route.method)} ${route.url}`
    let plan = OFF
    this.#findMisplaced(route, name)
    try {
      plan = this.#compile(config, route.method, route.url)
    } catch (error) {
      this.#misconfigured ??= error as Error
    }
    route.config = { ...route.config, [this.#ROUTE]: routeOf(name, plan, { hasLastHook: true }) } as typeof route.config
  }

  /** The route of a request. */
  of (request: FastifyRequest): Route {
    if (request.is404) return this.#notFound
    const { config, method, url } = request.routeOptions
    const known = config as unknown as Record<string | symbol, unknown>
    const route = (known[this.#ROUTE] ??= this.#compileLate(known, method, url)) as Route
    if (request.method === 'OPTIONS') return { ...route, plan: ON_DEMAND }
    return request.method === 'HEAD' && isAddedByFastify(request) ? { ...route, plan: OFF } : route
  }

  /** Logs misplaced configs. Names of other decorators are ignored. */
  warnOfMisplaced (isDecorator: (name: string) => boolean): void {
    for (const { member, warning } of this.#misplaced) if (!isDecorator(member)) this.#settings.logger.warnOnce(warning)
  }

  #findMisplaced (route: RouteOptions, name: string): void {
    // Fastify adds HEAD with the options of GET.
    if (route.method === 'HEAD') return
    const { decorator } = this.#settings
    const config = (route.config ?? {}) as Record<string, unknown>
    if (decorator in config) return
    const similar = Object.keys(config).find((member) => mostSimilar(member, [decorator]) !== undefined)
    if (similar !== undefined) this.#misplaced.push({ member: similar, warning: `unknown option \`config.${similar}\` of ${name} (did you mean \`config.${decorator}\`?)` })
    else if ((route as unknown as Record<string, unknown>)[decorator] !== undefined) {
      this.#misplaced.push({ member: '', warning: `unknown option \`${decorator}\` of ${name}: write \`config: { ${decorator}: … }\`` })
    }
  }

  #compileLate (config: Record<string, unknown>, method: unknown, url: string | undefined): Route {
    const name = `${String(method)} ${url}`
    try {
      return routeOf(name, this.#compile(config, method, url))
    } catch (error) {
      this.#settings.logger.error('a route is misconfigured and gets no offers', { err: error })
      return routeOf(name, OFF)
    }
  }

  #compile (config: Record<string, unknown> | undefined, method: unknown, url: string | undefined): RoutePlan {
    const { decorator, report, onPlan } = this.#settings
    const name = `${String(method)} ${url}`
    const plan = compileRoute(config?.[decorator], this.#settings, decorator, name, report)
    onPlan(plan, name)
    return plan
  }
}

/** A route of another scope: nothing starts there. */
export const OUTSIDE: Route = { name: 'a route outside the plugin\'s scope', plan: OFF, hasLastHook: false, isNotFound: false, bypassesFastify: false }

const routeOf = (name: string, plan: RoutePlan, { hasLastHook = false, isNotFound = false } = {}): Route => ({ name, plan, hasLastHook, isNotFound, bypassesFastify: false })

/**
 * Whether Fastify itself added the route of a request, as it adds HEAD for every GET. Fastify's marker is not public, and
 * nothing public distinguishes such a route from one of the app's own (they may share handler, config and URL): a test checks
 * this against the installed Fastify, and with an unknown Fastify the route counts as the app's own.
 */
function isAddedByFastify (request: FastifyRequest): boolean {
  const context = bySymbol(request, 'fastify.context')
  return typeof context === 'object' && context !== null && bySymbol(context, 'fastify.routeByFastify') === true
}
