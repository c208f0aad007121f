/**
 * The app's functions of a request: `enabled`, then `visitor`, `context`, `parameters` and `profileParameters`. Each is
 * called at most once per request, when the first call or notification needs it. None of them can break a page: one that
 * throws or rejects is logged once and treated as absent, or as `false` in the case of `enabled`.
 */
import type { FastifyRequest } from 'fastify'
import { isThenable } from '../diagnostics.ts'
import type { Parameters } from '../schema/index.ts'
import { typeName } from '../validation.ts'
import { acceptableParameters, type ReportLimit } from '../schema/acceptable.ts'
import type { Visitor, VisitorDetails } from '../visitor/visitor.ts'
import type { ContextAdditions } from './context.ts'
import type { EarlyBody } from './early-body.ts'

type RequestFunction<Result> = (request: FastifyRequest) => Result | undefined | null | Promise<Result | undefined | null>

/** The options that hold functions, shared by all requests. */
export interface AppFunctionsSettings {
  enabled?: (request: FastifyRequest) => boolean | Promise<boolean>
  visitor?: RequestFunction<VisitorDetails>
  context?: RequestFunction<ContextAdditions>
  parameters?: RequestFunction<Record<string, unknown>>
  profileParameters?: RequestFunction<Record<string, unknown>>
  /** Called for each value that was cut or left out of a request. */
  report: ReportLimit
  /** Called when one of them failed, with its name and the consequence: by default it was ignored. */
  functionFailed (name: string, error: unknown, outcome?: string): void
  /** Calls them, and finds those that read the body too early. */
  earlyBody: Pick<EarlyBody, 'run'>
}

/** The results of the app's functions for one request. */
export class AppFunctions {
  readonly #settings: AppFunctionsSettings
  readonly #request: FastifyRequest
  readonly #visitor: Visitor
  #enabled: Promise<boolean> | boolean | undefined
  #ready: Promise<boolean> | boolean | undefined
  /** Names of the functions whose promises have not settled. */
  readonly #pending = new Set<string>()
  contextAdditions: ContextAdditions | undefined
  parameters: Parameters | undefined
  profileParameters: Parameters | undefined

  constructor (settings: AppFunctionsSettings, request: FastifyRequest, visitor: Visitor) {
    this.#settings = settings
    this.#request = request
    this.#visitor = visitor
  }

  /** Whether Target may be called for this visitor; undefined if `enabled` was not called or has not settled. */
  get consent (): boolean | undefined {
    return typeof this.#enabled === 'boolean' ? this.#enabled : undefined
  }

  /** The functions that have not settled, as names of options. */
  get pending (): string[] {
    return this.#enabled instanceof Promise ? ['enabled'] : [...this.#pending]
  }

  /** Calls `enabled`, once. A promise only if the app returned one; never rejects. */
  get enabled (): Promise<boolean> | boolean {
    if (this.#enabled !== undefined) return this.#enabled
    // The function may itself request offers.
    this.#enabled = false
    const enabled = this.#askConsent()
    this.#enabled = typeof enabled === 'boolean'
      ? enabled
      : enabled.then((known) => {
        this.#enabled = known
        return known
      })
    return this.#enabled
  }

  /**
   * Whether Target may be called, once all functions have settled and their results are available. A promise only if one of
   * them returned one; never rejects.
   */
  get ready (): Promise<boolean> | boolean {
    return (this.#ready ??= this.#complete())
  }

  #complete (): Promise<boolean> | boolean {
    const { enabled } = this
    const ready = typeof enabled === 'boolean' ? enabled && this.#callFunctions() : enabled.then((known) => known && this.#callFunctions())
    return typeof ready === 'boolean'
      ? ready
      : ready.then((known) => {
        this.#ready = known
        return known
      })
  }

  /**
   * Reads the visitor's own choice, then calls `enabled`: if that throws, rejects or returns anything but a boolean, the result is
   * `false`, since consent is unknown.
   */
  #askConsent (): Promise<boolean> | boolean {
    if (this.#visitor.isOptedOut) return false
    const { enabled, functionFailed } = this.#settings
    if (enabled === undefined) return true
    const failed = (error: unknown): boolean => {
      functionFailed('enabled', error, 'treated as false')
      return false
    }
    const check = (result: unknown): boolean => typeof result === 'boolean'
      ? result
      : failed(new TypeError(`\`enabled\` must return true or false, or a promise of one, got ${typeName(result)}`))
    try {
      const result: unknown = this.#settings.earlyBody.run('enabled', this.#request, enabled)
      return isThenable(result) ? Promise.resolve(result).then(check).catch(failed) : check(result)
    } catch (error) {
      return failed(error)
    }
  }

  #callFunctions (): Promise<true> | true {
    const { visitor, context, parameters, profileParameters, report } = this.#settings
    if (visitor === undefined && context === undefined && parameters === undefined && profileParameters === undefined) return true
    // One of them may itself request offers, which then wait for all.
    this.#ready ??= Promise.resolve().then(() => this.ready)
    const pending = [
      this.#call('visitor', visitor, (details) => this.#visitor.identify(details)),
      this.#call('context', context, (additions) => { this.contextAdditions = additions }),
      this.#call('parameters', parameters, (given) => { this.parameters = acceptableParameters(given, 'parameters', report) }),
      this.#call('profileParameters', profileParameters, (given) => { this.profileParameters = acceptableParameters(given, 'profileParameters', report) })
    ].filter((result) => result !== undefined)
    return pending.length === 0 ? true : Promise.all(pending).then(() => true)
  }

  #call<Result> (name: string, ask: RequestFunction<Result> | undefined, use: (result: Result) => void): Promise<void> | undefined {
    if (ask === undefined) return undefined
    const failed = (error: unknown) => this.#settings.functionFailed(name, error)
    const take = (result: Result | undefined | null) => { if (result !== undefined && result !== null) use(result) }
    try {
      const result = this.#settings.earlyBody.run(name, this.#request, ask)
      if (isThenable(result)) {
        this.#pending.add(name)
        return Promise.resolve(result).then(take).catch(failed).finally(() => this.#pending.delete(name))
      }
      // Inside the `try`: an app may return anything.
      take(result)
    } catch (error) {
      failed(error)
    }
    return undefined
  }
}
