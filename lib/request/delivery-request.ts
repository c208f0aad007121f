/**
 * What a page's calls send: the route's plan, completed with what the request, its visitor and the app's own functions
 * tell. The same for all calls of a page, so it is put together once.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { contextOf, mergeContext, type ContextAdditions } from './context.ts'
import type { Context, DeliveryRequest, Parameters, QAMode, RequestDetails } from '../schema/index.ts'
import { acceptableContext, acceptableParameters, joinParameters, type ReportLimit } from '../schema/limits.ts'
import { requestJson } from './request-json.ts'
import type { TargetPlan } from './route-config.ts'
import type { Visitor, VisitorDetails } from '../visitor/visitor.ts'

type Awaitable<Value> = Value | Promise<Value>
type RequestFunction<Result> = (request: FastifyRequest) => Awaitable<Result | undefined | null>

/** Functions of the app that tell more about a request. One that throws or rejects is logged once and taken as absent. */
export interface RequestFunctions {
  visitor?: RequestFunction<VisitorDetails>
  context?: RequestFunction<ContextAdditions>
  parameters?: RequestFunction<Record<string, unknown>>
  profileParameters?: RequestFunction<Record<string, unknown>>
}

/** What all pages of a plugin instance share. */
export interface PageRequestSettings extends RequestFunctions {
  propertyToken?: string
  environmentId?: number
  /** Called with what was cut or left out of a request. */
  report: ReportLimit
  /** Told when one of the app's functions failed, and what it is taken as. */
  functionFailed (name: string, error: unknown, taken?: string): void
}

/** The requests of one page. */
export class PageRequest {
  readonly #settings: PageRequestSettings
  readonly #request: FastifyRequest
  readonly #visitor: Visitor
  readonly #pending: Promise<void>[] = []
  #additions: ContextAdditions | undefined
  #parameters: Parameters | undefined
  #profileParameters: Parameters | undefined
  #context: Context | undefined

  constructor (settings: PageRequestSettings, request: FastifyRequest, visitor: Visitor) {
    this.#settings = settings
    this.#request = request
    this.#visitor = visitor
    this.#run('visitor', settings.visitor, (details) => visitor.identify(details))
    this.#run('context', settings.context, (additions) => { this.#additions = additions })
    this.#run('parameters', settings.parameters, (parameters) => { this.#parameters = acceptableParameters(parameters, 'parameters', settings.report) })
    this.#run('profileParameters', settings.profileParameters, (parameters) => { this.#profileParameters = acceptableParameters(parameters, 'profileParameters', settings.report) })
  }

  /** Resolves when the app's functions are done; undefined when all of them answered at once. Never rejects. */
  get pending (): Promise<unknown> | undefined {
    return this.#pending.length === 0 ? undefined : Promise.all(this.#pending)
  }

  #run<Result> (name: string, ask: RequestFunction<Result> | undefined, take: (result: Result) => void): void {
    if (ask === undefined) return
    const failed = (error: unknown) => this.#settings.functionFailed(name, error)
    // What it gives is taken inside the guard too: an app may give anything.
    const use = (result: Result | undefined | null) => { if (result !== undefined && result !== null) take(result) }
    try {
      const result = ask(this.#request)
      if (result instanceof Promise) this.#pending.push(result.then(use).catch(failed))
      else use(result)
    } catch (error) {
      failed(error)
    }
  }

  /** What all requests of the page have in common. Not before {@link pending} is done. */
  base (qaMode?: QAMode): DeliveryRequest {
    const { propertyToken, environmentId } = this.#settings
    const { id, experienceCloud } = this.#visitor.parts
    this.#context ??= this.#createContext()
    const request: DeliveryRequest = { id, experienceCloud, context: this.#context }
    if (environmentId !== undefined) request.environmentId = environmentId
    if (propertyToken !== undefined) request.property = { token: propertyToken }
    if (qaMode !== undefined) request.qaMode = qaMode
    return request
  }

  #createContext (): Context {
    const context = contextOf(this.#request, this.#additions)
    return this.#additions === undefined ? context : acceptableContext(context, this.#settings.report)
  }

  /** The complete request for a plan. Not before {@link pending} is done. */
  create (plan: TargetPlan, qaMode?: QAMode): DeliveryRequest {
    const request = this.base(qaMode)
    request.requestId = randomUUID()
    // Carried from the first try on, so that a repeated one is not counted twice. A request is one impression.
    request.impressionId = request.requestId
    if (plan.members !== undefined) this.#join(request, plan.members)
    if (plan.execute !== undefined) request.execute = this.#withParameters(plan.execute)
    if (plan.prefetch !== undefined) request.prefetch = this.#withParameters(plan.prefetch)
    return request
  }

  /** A shorter way to the JSON of a request for a plan, where neither app nor route adds to what is known of it. */
  jsonOf (request: DeliveryRequest, { json, members }: TargetPlan): (() => string) | undefined {
    const added = this.#additions ?? this.#parameters ?? this.#profileParameters ?? members ?? request.qaMode
    return json === undefined || added !== undefined ? undefined : () => requestJson(request, json)
  }

  /** Puts what a route fixes over what the request tells. */
  #join (request: DeliveryRequest, { context, experienceCloud, ...members }: NonNullable<TargetPlan['members']>): void {
    Object.assign(request, members)
    if (context !== undefined) request.context = mergeContext(request.context, context)
    if (experienceCloud !== undefined) {
      const { analytics } = request.experienceCloud ?? {}
      request.experienceCloud = { ...request.experienceCloud, ...experienceCloud, analytics: { ...analytics, ...experienceCloud.analytics } }
    }
  }

  /** Adds the page's parameters to every mbox, page load and view; what an mbox says itself wins. */
  #withParameters<Part extends { pageLoad?: RequestDetails, mboxes?: RequestDetails[], views?: RequestDetails[] }> (part: Part): Part {
    const parameters = this.#parameters
    const profileParameters = this.#profileParameters
    const { report } = this.#settings
    if (parameters === undefined && profileParameters === undefined) return part
    const add = <Details extends RequestDetails>(details: Details): Details => ({
      ...details,
      ...(parameters !== undefined && { parameters: joinParameters(parameters, details.parameters, 'parameters', report) }),
      ...(profileParameters !== undefined && { profileParameters: joinParameters(profileParameters, details.profileParameters, 'profileParameters', report) })
    })
    return {
      ...part,
      ...(part.pageLoad !== undefined && { pageLoad: add(part.pageLoad) }),
      ...(part.mboxes !== undefined && { mboxes: part.mboxes.map(add) }),
      ...(part.views !== undefined && { views: part.views.map(add) })
    }
  }
}
