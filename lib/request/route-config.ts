/**
 * A route's `config.target`, compiled: numbered and indexed, so that a request only has to send it.
 */
import type { FastifyRequest } from 'fastify'
import { Type } from '@sinclair/typebox'
import {
  DecisioningMethod, DeliveryRequest, ExecuteRequest, MboxRequest, PrefetchRequest, ViewRequest
} from '../schema/index.ts'
import { MAX_MBOX_NAME, MAX_VIEW_NAME } from '../schema/limits.ts'
import { acceptableDetails, acceptableMboxes, type ReportLimit } from '../schema/acceptable.ts'
import { failure } from '../errors.ts'
import { check, invalid, Milliseconds, strict, subjectName, type Subject } from '../validation.ts'

/** An mbox to request: its name, or the Delivery API's request for it. */
export type MboxForm = string | MboxRequest

/** Members of the Delivery API request that a route may fix. */
type FixedMembers = Pick<DeliveryRequest, 'context' | 'property' | 'environmentId' | 'trace' | 'qaMode' | 'preview' | 'experienceCloud'>

/**
 * At least one of the members. TypeScript accepts any value for an object whose members are all optional, even a string or a list,
 * and finds no misspelled member in a route's config, which any plugin may extend.
 */
type AtLeastOne<Form> = { [Name in keyof Form]-?: Form & Required<Pick<Form, Name>> }[keyof Form]

/** An object without members that it must have; not a list, a function or `true`. */
type Details<Form> = Form & object & { readonly length?: never }

/** Places that are decided and counted when Target responds. */
export type ExecuteForm = AtLeastOne<{ pageLoad?: Details<NonNullable<ExecuteRequest['pageLoad']>>, mboxes?: MboxForm[] }>

/** Places that are decided now, and counted when a display is notified. */
export type PrefetchForm = AtLeastOne<{ pageLoad?: Details<NonNullable<PrefetchRequest['pageLoad']>>, views?: (string | Details<ViewRequest>)[], mboxes?: MboxForm[] }>

/** A request in full: at least `execute` or `prefetch`. */
export type RequestForm = RequestSettings & AtLeastOne<{ execute?: ExecuteForm, prefetch?: PrefetchForm }>

/** The other members of a request. */
export interface RequestSettings extends Partial<FixedMembers> {
  /** ms for which a read may delay the handler. Default: the plugin's. */
  maxWait?: number
  /** ms for the whole call. Default: the plugin's. */
  timeout?: number
  /** Default: the plugin's. */
  decisioningMethod?: DecisioningMethod
}

/** What to request: a list of mboxes to execute, or a request in full. */
export type TargetRequestForm = MboxForm[] | RequestForm

/** Likely misspellings in a route's config. It is an open type, so the compiler would accept them otherwise. */
export interface MisspelledConfig {
  /** Write `target`. */
  taget?: never
  /** Write `target`. */
  targt?: never
  /** Write `target`. */
  traget?: never
  /** Write `target`. */
  tagret?: never
  /** Write `target`. */
  tareget?: never
}

/** `config.target`: what to request, per request if it is a function; `true` for the default request, `false` for nothing. */
export type TargetRouteConfig = boolean | TargetRequestForm | ((request: FastifyRequest) => TargetRequestForm)

/** A compiled request. Shared by all requests of a route, so never written to. */
export interface TargetPlan {
  readonly execute?: ExecuteRequest
  readonly prefetch?: PrefetchRequest
  /** None in most plans. */
  readonly members?: Partial<FixedMembers>
  /** Names of the mboxes in it. */
  readonly mboxes: ReadonlySet<string>
  readonly pageLoad: boolean
  /** Names of the views in it, or all of them. */
  readonly views: ReadonlySet<string> | 'all'
  readonly maxWait?: number
  readonly timeout?: number
  readonly decisioningMethod?: DecisioningMethod
}

/** When a route calls Target, and what it requests. */
export type RoutePlan =
  /** Never. */
  | { readonly kind: 'off' }
  /** Only when a handler reads something. */
  | { readonly kind: 'on-demand' }
  /** For each request, always the same. */
  | { readonly kind: 'fixed', readonly plan: TargetPlan }
  /** For each request, made by the app's function. */
  | { readonly kind: 'per-request', readonly plan: (request: FastifyRequest) => TargetPlan }

export const OFF: RoutePlan = { kind: 'off' }
export const ON_DEMAND: RoutePlan = { kind: 'on-demand' }

const mboxForms = Type.Array(Type.Union([Type.String({ minLength: 1, maxLength: MAX_MBOX_NAME, pattern: '\\S' }), MboxRequest], { expected: 'an mbox name or an mbox request { name, … }' }))

const RequestFormSchema = Type.Object({
  execute: Type.Optional(Type.Object({ pageLoad: ExecuteRequest.properties.pageLoad, mboxes: Type.Optional(mboxForms) }, strict)),
  prefetch: Type.Optional(Type.Object({
    pageLoad: PrefetchRequest.properties.pageLoad,
    views: Type.Optional(Type.Array(Type.Union([Type.String({ minLength: 1, maxLength: MAX_VIEW_NAME }), ViewRequest], { expected: `a view name of 1 to ${MAX_VIEW_NAME} characters or a view request { name, … }` }))),
    mboxes: Type.Optional(mboxForms)
  }, strict)),
  context: Type.Optional(DeliveryRequest.properties.context),
  property: DeliveryRequest.properties.property,
  environmentId: DeliveryRequest.properties.environmentId,
  trace: DeliveryRequest.properties.trace,
  qaMode: DeliveryRequest.properties.qaMode,
  preview: DeliveryRequest.properties.preview,
  experienceCloud: DeliveryRequest.properties.experienceCloud,
  maxWait: Type.Optional(Milliseconds),
  timeout: Type.Optional(Milliseconds),
  decisioningMethod: Type.Optional(DecisioningMethod)
}, strict)

const FORMS = 'a list of mboxes, an object { execute, prefetch, … } or a function that returns one of them'

/**
 * Compiles a request.
 *
 * @param subject names the form in an error, e.g. `config.target of GET /`
 * @param report for a form that is made per request: values that the edge would refuse are cut or left out and reported, so that
 *   one invalid mbox or parameter does not affect the others
 * @throws FST_TARGET_INVALID_OPTIONS
 */
export function compileRequest (form: TargetRequestForm, subject: Subject, report?: ReportLimit): TargetPlan {
  const given = Array.isArray(form) ? { execute: { mboxes: form } } : form
  const full = report === undefined ? given : acceptableForm(given, report)
  if (Array.isArray(form)) check(mboxForms, full.execute?.mboxes, subject)
  else check(RequestFormSchema, full, subject)
  const { execute, prefetch, maxWait, timeout, decisioningMethod, ...members } = full
  const names = new Set<string>()
  const plan = {
    ...(execute !== undefined && { execute: { ...execute, ...numbered(execute.mboxes, names, subject) } as ExecuteRequest }),
    ...(prefetch !== undefined && {
      prefetch: {
        ...prefetch,
        ...(prefetch.views !== undefined && { views: prefetch.views.map((view) => typeof view === 'string' ? { name: view } : { ...view }) }),
        ...numbered(prefetch.mboxes, names, subject)
      } as PrefetchRequest
    })
  }
  checkJson(plan, subject)
  const pageLoad = execute?.pageLoad !== undefined || prefetch?.pageLoad !== undefined
  const views = plan.prefetch?.views ?? []
  if (names.size === 0 && !pageLoad && views.length === 0) {
    throw failure('FST_TARGET_INVALID_OPTIONS', `${subjectName(subject)} must request at least one mbox, page load or view`)
  }
  return {
    ...plan,
    ...(Object.keys(members).length > 0 && { members }),
    mboxes: names,
    pageLoad,
    views: views.some((view) => view.name === undefined) ? 'all' : new Set(views.map((view) => view.name!)),
    maxWait,
    timeout,
    decisioningMethod
  }
}

/** Removes parts of a form that the edge would refuse. A form that is not a request at all is left for the check. */
function acceptableForm (form: RequestForm, report: ReportLimit): RequestForm {
  interface AnyPart { mboxes?: MboxForm[], views?: (string | ViewRequest)[], pageLoad?: NonNullable<PrefetchRequest['pageLoad']> }
  const part = (given: AnyPart): AnyPart => {
    if (typeof given !== 'object' || given === null) return given
    const { mboxes, views, pageLoad } = given
    return {
      ...given,
      ...(Array.isArray(mboxes) && { mboxes: acceptableMboxes(mboxes, report) }),
      ...(Array.isArray(views) && { views: views.map((view) => typeof view === 'object' && view !== null ? acceptableDetails(view, report) : view) }),
      ...(typeof pageLoad === 'object' && pageLoad !== null && { pageLoad: acceptableDetails(pageLoad, report) })
    }
  }
  if (typeof form !== 'object' || form === null) return form
  return {
    ...form,
    ...(form.execute !== undefined && { execute: part(form.execute as AnyPart) }),
    ...(form.prefetch !== undefined && { prefetch: part(form.prefetch as AnyPart) })
  } as RequestForm
}

/** Converts mboxes to objects with unique indexes: two with the same index could not be distinguished in the response. */
function numbered (mboxes: MboxForm[] | undefined, names: Set<string>, subject: Subject): { mboxes?: MboxRequest[] } {
  if (mboxes === undefined) return {}
  const indexes = new Set<number>()
  const taken = new Set(mboxes.map((form) => typeof form === 'string' ? undefined : form.index))
  return {
    mboxes: mboxes.map((form, position) => {
      const { index: given, ...rest } = typeof form === 'string' ? { index: undefined, name: form } : form
      let index = given ?? position
      // The position, unless another mbox has that index.
      if (given === undefined) while (taken.has(index)) index++
      taken.add(index)
      const mbox = { index, ...rest }
      if (indexes.has(mbox.index)) throw failure('FST_TARGET_INVALID_OPTIONS', `${subjectName(subject)} must not have the mbox index ${mbox.index} twice; omit the indexes or make them unique`)
      indexes.add(mbox.index)
      names.add(mbox.name)
      return mbox
    })
  }
}

/** Refuses at registration what cannot be serialized. */
function checkJson (plan: Pick<TargetPlan, 'execute' | 'prefetch'>, subject: Subject): void {
  try {
    JSON.stringify(plan)
  } catch (cause) {
    throw failure('FST_TARGET_INVALID_OPTIONS', `${subjectName(subject)} must be data that JSON.stringify() accepts`, { cause })
  }
}

/** A plan without the mboxes that a call already has; undefined if nothing is left to request. */
export function withoutMboxes (plan: TargetPlan, isKnown: (mbox: string) => boolean): TargetPlan | undefined {
  const mboxes = new Set([...plan.mboxes].filter((name) => !isKnown(name)))
  if (mboxes.size === plan.mboxes.size) return plan
  const views = plan.views === 'all' || plan.views.size > 0
  if (mboxes.size === 0 && !plan.pageLoad && !views) return undefined
  const rest = <Part extends { mboxes?: MboxRequest[] }>(part: Part): Part => ({ ...part, mboxes: part.mboxes?.filter(({ name }) => mboxes.has(name)) })
  return {
    ...plan,
    mboxes,
    ...(plan.execute !== undefined && { execute: rest(plan.execute) }),
    ...(plan.prefetch !== undefined && { prefetch: rest(plan.prefetch) })
  }
}

/**
 * Compiles a route's `config.target`.
 *
 * @param defaults `request`: used for `true`, and with `global` for routes without a config
 * @param name of the decorator
 * @param route for errors, e.g. `GET /`
 * @throws FST_TARGET_INVALID_OPTIONS naming the route
 */
export function compileRoute (config: unknown, { request, global }: { request: RoutePlan | undefined, global: boolean }, name: string, route: string, report: ReportLimit = () => {}): RoutePlan {
  const subject: Subject = { root: `config.${name}`, of: route }
  if (config === undefined) return global && request !== undefined ? request : ON_DEMAND
  if (config === false) return OFF
  if (config !== true) return compileForm(config, subject, report)
  if (request === undefined) throw failure('FST_TARGET_INVALID_OPTIONS', `${subjectName(subject)} must not be true without a default request; set the \`request\` option`)
  return request
}

/** Compiles a request, or a function that makes one for each request. */
export function compileForm (form: unknown, subject: Subject, report: ReportLimit = () => {}): RoutePlan {
  const { root = '', of } = subject
  if (typeof form === 'function') {
    const result = { ...subject, root: `${root}()` }
    return { kind: 'per-request', plan: (request) => compileRequest(synchronous(form(request), result), result, report) }
  }
  // Only a route can be switched off or use the default request.
  if (typeof form !== 'object' || form === null) throw invalid(subject, of === undefined ? FORMS : `${FORMS}, true or false`, form)
  return { kind: 'fixed', plan: compileRequest(form as TargetRequestForm, subject) }
}

/** The call starts in the hook, so its request must be known there. */
function synchronous (form: TargetRequestForm | PromiseLike<unknown>, subject: Subject): TargetRequestForm {
  if (typeof (form as PromiseLike<unknown> | undefined | null)?.then !== 'function') return form as TargetRequestForm
  // A rejection of the ignored promise must not go unhandled.
  Promise.resolve(form).catch(() => {})
  throw failure('FST_TARGET_INVALID_OPTIONS', `${subjectName(subject)} must be the request itself, not a promise; load what it needs in an earlier hook, and register the plugin with \`hook: 'preHandler'\``)
}
