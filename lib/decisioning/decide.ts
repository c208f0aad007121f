/**
 * Decides a Delivery request with a rule artifact: synchronously, without I/O, and with the same result for the same visitor.
 *
 * Source: behaviour of `@adobe/target-decisioning-engine` 1.9.3; intended differences are noted in the modules below.
 */
import { randomUUID } from 'node:crypto'
import type {
  DeliveryRequest, DeliveryResponse, ExecuteRequest, ExecuteResponse, MboxRequest, MboxResponse, Metric, Notification,
  Option, PageLoadResponse, PrefetchRequest, PrefetchResponse, RequestDetails, View, ViewRequest, VisitorId
} from '../schema/index.ts'
import type { CompiledArtifact, CompiledRule } from './compile.ts'
import type { AnswerSource, Consequence, Tokens } from './answers.ts'
import { Facts, RequestFacts } from './facts.ts'
import { addOrder, hasOrder, orderNotification, viewPlace } from './orders.ts'
import { remoteDependencies } from './remote.ts'
import { Tracer, type TraceSettings } from './trace.ts'

/** What a decision depends on, apart from artifact and request. */
export interface DecideOptions {
  /** Target client code. */
  client: string
  /** Milliseconds since the epoch; default: now. */
  now?: number
  /** Location hint for a new `tntId`; default: none. */
  locationHint?: string
  /** Contents of a trace; used only if the request has `trace`. */
  trace?: TraceSettings
}

/** The result of a decision. */
export interface Decision {
  /** As from the Delivery API: status 200, or 206 if parts of it need the edge. */
  response: DeliveryResponse
  /** Mboxes that need the edge. */
  remoteMboxes: string[]
  /** Views that need the edge. */
  remoteViews: string[]
  /** Display notifications for what was executed, one for each matched rule that has tokens not notified before. */
  notifications: Notification[]
  /** Display notifications for the orders in the request that none of those carries. */
  orders: Notification[]
}

/** State shared by all mboxes, page load and views of one mode of a request. */
interface Run {
  mode: 'execute' | 'prefetch'
  artifact: CompiledArtifact
  facts: RequestFacts
  /** Response tokens about the visitor's location. */
  tokens: Tokens | undefined
  propertyToken: string | undefined
  /** Displays to notify; undefined for a prefetch. */
  impressions: Impressions | undefined
  orders: Notification[]
  now: number
  tracer: Tracer | undefined
}

/**
 * Decides a request.
 *
 * @param artifact from `compileArtifact`
 * @param request not changed; the response shares nothing with it except the visitor's `customerIds`
 * @param options client code, clock, location hint, trace
 */
export function decide (artifact: CompiledArtifact, request: DeliveryRequest, options: DecideOptions): Decision {
  const { client, now = Date.now() } = options
  const { remoteNeeded, remoteMboxes, remoteViews } = remoteDependencies(artifact, request)
  const id = identify(request.id, options.locationHint)
  const facts = new RequestFacts(request.context, id, client, now)
  const tokens = geoTokens(artifact, facts)
  const propertyToken = request.property?.token
  const impressions = new Impressions(now)
  const orders: Notification[] = []
  // Written out: a spread with further members after it would cost as much as the decision.
  const run = (mode: Run['mode']): Run => ({
    mode,
    artifact,
    facts,
    tokens,
    propertyToken,
    impressions: mode === 'execute' ? impressions : undefined,
    orders,
    now,
    tracer: request.trace === undefined ? undefined : new Tracer(artifact, client, id, options.trace ?? {})
  })

  const response: DeliveryResponse = {
    status: remoteNeeded ? 206 : 200,
    requestId: request.requestId || randomUUID(),
    id,
    client
  }
  if (request.execute) {
    response.execute = decideAll(run('execute'), request.execute)
  }
  if (request.prefetch) {
    response.prefetch = decideAll(run('prefetch'), request.prefetch)
  }
  return { response, remoteMboxes, remoteViews, notifications: impressions.notifications, orders }
}

/** A request may come from a browser: anything that is not a list is ignored, and so are missing entries of a list. */
function decideAll (run: Run, asked: ExecuteRequest & PrefetchRequest): ExecuteResponse & PrefetchResponse {
  const decided: ExecuteResponse & PrefetchResponse = {}
  if (Array.isArray(asked.mboxes)) decided.mboxes = decideEach(run, asked.mboxes, decideMbox)
  if (Array.isArray(asked.views)) decided.views = decideEach(run, asked.views, decideView)
  if (asked.pageLoad) decided.pageLoad = decidePageLoad(run, asked.pageLoad)
  return decided
}

function decideEach<Details, Answer> (run: Run, asked: readonly Details[], decideOne: (run: Run, details: Details) => Answer[]): Answer[] {
  const answers: Answer[] = []
  for (const details of asked) if (details) answers.push(...decideOne(run, details))
  return answers
}

/** The first match; for the global mbox, the first match of each rule key. */
function decideMbox (run: Run, details: MboxRequest): MboxResponse[] {
  const { artifact: { globalMbox, mboxes }, tracer } = run
  const { name, index } = details
  const isGlobal = name === globalMbox
  const answers: MboxResponse[] = judge(run, 'mbox', mboxes.get(name), details, isGlobal)
  if (answers.length === 0 && !isGlobal) {
    const nothing: MboxResponse = index === undefined ? { name } : { name, index }
    if (tracer !== undefined) nothing.trace = tracer.snapshot()
    answers.push(nothing)
  }
  return answers
}

/** The global mbox with its matches merged: a click is listed once, however many options it counts for. */
function decidePageLoad (run: Run, details: RequestDetails): PageLoadResponse {
  const { globalMbox, mboxes } = run.artifact
  const answers = judge(run, 'mbox', mboxes.get(globalMbox), { ...details, name: globalMbox }, true)
  const options: Option[] = []
  const metrics = new Map<string | undefined, Metric>()
  for (const answer of answers) {
    options.push(...answer.options)
    for (const metric of answer.metrics ?? []) metrics.set(metric.eventToken, metric)
  }
  const pageLoad: PageLoadResponse = { options }
  if (metrics.size > 0) pageLoad.metrics = [...metrics.values()]
  const trace = answers.at(-1)?.trace
  if (trace !== undefined) pageLoad.trace = trace
  return pageLoad
}

/** A view, or all of them: the first match of each rule key, merged by view. */
function decideView (run: Run, details: ViewRequest): View[] {
  const { views } = run.artifact
  const rules = details.name === undefined ? [...views.values()].flat() : views.get(details.name)
  const answers = new Map<string | undefined, Consequence>()
  for (const answer of judge(run, 'view', rules, details, true)) {
    const first = answers.get(answer.name)
    if (first === undefined) {
      answers.set(answer.name, answer)
    } else {
      first.options.push(...answer.options)
      first.metrics = [...first.metrics ?? [], ...answer.metrics ?? []]
    }
  }
  return [...answers.values()]
}

/** Answers of the matching rules: of the first one, or with `each` of the first of each rule key. */
function judge (
  { mode, artifact, facts: requestFacts, tokens, propertyToken, impressions, orders, now, tracer }: Run,
  kind: 'mbox' | 'view', rules: readonly CompiledRule[] = [], details: AnswerSource, each: boolean
): Consequence[] {
  const facts = new Facts(requestFacts, details)
  const answers: Consequence[] = []
  const answered = new Set<string | undefined>()
  let shown: Notification | undefined
  tracer?.asked(mode, kind, details, facts)

  for (const rule of rules) {
    if (!belongs(rule, propertyToken) || answered.has(rule.key)) continue
    facts.activity = rule.activity
    const satisfied = rule.matches(facts)
    tracer?.evaluated(rule, facts, satisfied)
    if (!satisfied) continue

    const notification = impressions?.add(rule.answers)
    shown ??= notification
    if (mode === 'execute') tracer?.displayed(rule, notification)
    const answer = rule.answers[mode === 'prefetch' && kind === 'view' ? 'prefetchView' : mode](details, tokens)
    if (tracer !== undefined) answer.trace = tracer.snapshot()
    answers.push(answer)
    if (!each) break
    answered.add(rule.key)
  }
  if (hasOrder(details)) {
    if (shown !== undefined) addOrder(shown, details)
    else orders.push(orderNotification(kind === 'view' ? viewPlace(details.name, artifact.globalMbox) : { mbox: { name: details.name! } }, details, now))
  }
  return answers
}

/** A rule with properties applies only if the request is for one of them. */
function belongs ({ propertyTokens }: CompiledRule, propertyToken: string | undefined): boolean {
  return propertyTokens === undefined || (propertyToken !== undefined && propertyTokens.includes(propertyToken))
}

/** Gives a visitor without any id a `tntId`, as the edge does. */
function identify (id: VisitorId | undefined, locationHint: string | undefined): VisitorId {
  const known = { ...id }
  if (!known.tntId && !known.marketingCloudVisitorId && !known.thirdPartyId && !authenticated(known)) {
    known.tntId = locationHint?.trim() ? `${randomUUID()}.${locationHint}_0` : randomUUID()
  }
  return known
}

function authenticated ({ customerIds }: VisitorId): boolean {
  return Array.isArray(customerIds) && Boolean(customerIds.find((customer) => customer?.authenticatedState === 'authenticated')?.id)
}

function geoTokens (artifact: CompiledArtifact, facts: RequestFacts): Tokens | undefined {
  let tokens: Tokens | undefined
  for (const [token, fact] of artifact.geoTokens) {
    const value = facts.geo[fact]
    if (value !== undefined) (tokens ??= {})[token] = value
  }
  return tokens
}

/** Collects displays to notify: each token of a location once. */
class Impressions {
  readonly notifications: Notification[] = []
  readonly #now: number
  /** Tokens by location. */
  readonly #notified = new Map<string | undefined, Set<string>>()

  constructor (now: number) {
    this.#now = now
  }

  add ({ name, displayTokens }: CompiledRule['answers']): Notification | undefined {
    let notified = this.#notified.get(name)
    if (notified === undefined) this.#notified.set(name, notified = new Set())
    const tokens: string[] = []
    for (const token of displayTokens) {
      if (notified.has(token)) continue
      notified.add(token)
      tokens.push(token)
    }
    if (tokens.length === 0) return undefined
    const id = randomUUID()
    const notification: Notification = {
      id,
      impressionId: id,
      timestamp: this.#now,
      type: 'display',
      mbox: { name: name ?? '' },
      tokens
    }
    this.notifications.push(notification)
    return notification
  }
}
