/**
 * The Delivery API request of a Fastify request: the plan of a call, completed from the request, its visitor and the app's
 * functions. Parts shared by all calls of a request are made once.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Warnings } from '../client/warnings.ts'
import type { Context, DeliveryRequest, QAMode, RequestDetails } from '../schema/index.ts'
import { acceptableContext, joinParameters, type ReportLimit } from '../schema/acceptable.ts'
import type { Visitor } from '../visitor/visitor.ts'
import type { AppFunctions } from './app-functions.ts'
import { contextOf, mergeContext } from './context.ts'
import type { TargetPlan } from './route-config.ts'

/** Shared by all requests of a plugin instance. */
export interface DeliveryRequestSettings {
  /** Collects the warnings of `health()`. */
  warnings: Warnings
  propertyToken?: string
  environmentId?: number
  /** Called for each value that was cut or left out of a request. */
  report: ReportLimit
}

/** Makes the Delivery API requests of one Fastify request, once the app's functions have settled. */
export class DeliveryRequests {
  readonly #settings: DeliveryRequestSettings
  readonly #request: FastifyRequest
  readonly #visitor: Visitor
  readonly #app: AppFunctions
  #context: Context | undefined

  constructor (settings: DeliveryRequestSettings, request: FastifyRequest, visitor: Visitor, app: AppFunctions) {
    this.#settings = settings
    this.#request = request
    this.#visitor = visitor
    this.#app = app
  }

  /** The members that all calls have in common. */
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
    const { ips, headers } = this.#request
    // Fastify has `ips` where it trusts a proxy.
    this.#settings.warnings.page(ips === undefined && headers['x-forwarded-for'] !== undefined)
    const { contextAdditions } = this.#app
    const context = contextOf(this.#request, contextAdditions)
    return contextAdditions === undefined ? context : acceptableContext(context, this.#settings.report)
  }

  /** The complete request for a plan. */
  create (plan: TargetPlan, qaMode?: QAMode): DeliveryRequest {
    const request = this.base(qaMode)
    request.requestId = randomUUID()
    // Set before the first try, so that a retry is not counted twice. A call is one impression.
    request.impressionId = request.requestId
    if (plan.members !== undefined) this.#addMembers(request, plan.members)
    if (plan.execute !== undefined) request.execute = this.#withParameters(plan.execute)
    if (plan.prefetch !== undefined) request.prefetch = this.#withParameters(plan.prefetch)
    return request
  }

  /** Members fixed by the route win over those read from the request. */
  #addMembers (request: DeliveryRequest, { context, experienceCloud, ...members }: NonNullable<TargetPlan['members']>): void {
    Object.assign(request, members)
    if (context !== undefined) request.context = mergeContext(request.context, context)
    if (experienceCloud !== undefined) {
      const { analytics } = request.experienceCloud ?? {}
      request.experienceCloud = { ...request.experienceCloud, ...experienceCloud, analytics: { ...analytics, ...experienceCloud.analytics } }
    }
  }

  /** Adds the app's parameters to every mbox, page load and view; an mbox's own parameters win. */
  #withParameters<Part extends { pageLoad?: RequestDetails, mboxes?: RequestDetails[], views?: RequestDetails[] }> (part: Part): Part {
    const { parameters, profileParameters } = this.#app
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
