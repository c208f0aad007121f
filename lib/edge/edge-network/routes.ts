/**
 * The Edge Network: `interact`, `collect`, `privacy/set-consent` and `identity/acquire`, for Web SDK in a browser and for a
 * server, with the same artifact and the same counts as the Delivery API.
 *
 * A datastream's configuration is unknown here: every datastream exists, has Target enabled, and belongs to this edge's
 * organization.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { decide } from '../../decisioning/decide.ts'
import type { DeliveryRequest } from '../../schema/index.ts'
import { isObject } from '../../validation.ts'
import { completeAnswer } from '../answer.ts'
import { Counter, decidingHooks, type DecidingRouteOptions } from '../deciding-routes.ts'
import { cluster, visitorId } from '../visitor-id.ts'
import { tokenFor, tokenRefusal } from './authorization.ts'
import { ecidOf, ecidOfDevice, identityCookie, newEcid } from './identity.ts'
import { at, contextOf, detailsOf, eventsOf, hasPrimaryIdentity, identityOf, pageScope, qaModeOf, stateOf, textAt, wantsEcid, type EdgeEvent } from './payload.ts'
import { notificationsOf, propositionsOf } from './propositions.ts'

export interface EdgeNetworkOptions extends DecidingRouteOptions {
  /** Default: that of the visitor's state entries or of the caller's headers. */
  organizationId: string | undefined
}

interface Query { configId?: string, datastreamId?: string, dataStreamId?: string, requestId?: string, silent?: string }
interface Handle { type: string, payload: object[], eventIndex?: number }

/** Adobe's own numbers: 13 months for the identity, 30 minutes for the cluster, 180 days for the consent. */
const MAX_AGE = { identity: 34_128_000, cluster: 1800, consent: 15_552_000 }
const MAX_BODY = 64 * 1024
const MAX_SCOPES = 30
const REGION = 'or2'
/** Hints in the path; Web SDK also makes one of at.js's cluster cookie. */
const HINTS = /^(?:or2|va6|irl1|ind1|jpn3|sgp3|aus3|t\d{1,4})$/

export function edgeNetworkRoutes (app: FastifyInstance, options: EdgeNetworkOptions): void {
  const hooks = { bodyLimit: MAX_BODY, ...decidingHooks(options) }
  for (const base of ['/ee', '/ee/:hint', '/ee-pre-prd', '/ee-pre-prd/:hint']) {
    for (const version of ['v1', 'v2']) {
      for (const [action, answer] of Object.entries({ interact, collect, 'privacy/set-consent': setConsent, 'identity/acquire': interact })) {
        app.post(`${base}/${version}/${action}`, hooks, async (request, reply) => await respond(request, reply, answer, options))
      }
    }
  }
  app.options('/ee/*', async (_request, reply) => {
    reply.headers({ 'access-control-allow-methods': 'POST', 'access-control-allow-headers': 'content-type' })
    return reply.code(204).send()
  })
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => done(null, new URLSearchParams(String(body))))
  app.post('/ims/token/v3', async ({ body }, reply) => {
    const token = body instanceof URLSearchParams ? tokenFor(body) : undefined
    return token ?? reply.code(400).send({ error: 'invalid_client', error_description: 'invalid client_id, client_secret or grant_type' })
  })
}

/** Responds with an error in Adobe's format (RFC 7807). */
function refuse (reply: FastifyReply, code: string, title: string, detail = title): FastifyReply {
  const status = Number(code.slice(-3))
  return reply.code(status).type('application/problem+json').send(JSON.stringify({ type: `https://ns.adobe.com/aep/errors/${code}`, status, title, detail, report: {} }))
}

/** One call whose visitor is known. */
interface Call {
  body: unknown
  headers: FastifyRequest['headers']
  query: Query
  requestId: string
  state: ReadonlyMap<string, string>
  /** The key of a state entry. */
  key: (name: string) => string
  ecid: string
  options: EdgeNetworkOptions
}

type Respond = (call: Call, reply: FastifyReply) => Promise<unknown>

async function respond ({ body, headers, ...request }: FastifyRequest, reply: FastifyReply, answer: Respond, options: EdgeNetworkOptions) {
  const query = request.query as Query
  const { hint } = request.params as { hint?: string }
  const requestId = query.requestId || randomUUID()
  reply.header('x-request-id', requestId)
  if (!isObject(body)) return refuse(reply, 'EXEG-0100-400', 'Invalid request', 'The body is not a JSON object.')
  if (!(query.configId ?? query.datastreamId ?? query.dataStreamId)) return refuse(reply, 'EXEG-0003-400', 'Invalid datastream ID', 'The datastream ID is missing.')
  if (hint !== undefined && !HINTS.test(hint)) return refuse(reply, 'EXEG-0001-404', 'Not found', `There is no location ${JSON.stringify(hint.slice(0, 40))}.`)
  const refusal = tokenRefusal(headers)
  if (refusal !== undefined) return refuse(reply, refusal.code, refusal.title)
  const state = stateOf(body)
  const organization = options.organizationId?.replaceAll('@', '_') ?? organizationIn(state) ?? headers['x-gw-ims-org-id']?.toString().replaceAll('@', '_')
  if (organization === undefined) return refuse(reply, 'EXEG-0003-422', 'Invalid datastream ID', 'This edge does not know the organization: createEdge({ organizationId }).')
  if (options.organizationId !== undefined && headers['x-gw-ims-org-id'] !== undefined && headers['x-gw-ims-org-id'] !== options.organizationId) {
    return refuse(reply, 'EXEG-0501-401', 'Invalid authorization token', 'The organization is another one.')
  }
  const key = (name: string) => `kndctr_${organization}_${name}`
  const [first] = eventsOf(body)
  const device = identityOf(body, first, 'FPID')
  const ecid = identityOf(body, first, 'ECID') ?? ecidOf(state.get(key('identity'))) ??
    (device === undefined ? undefined : ecidOfDevice(organization.replace(/_(?=AdobeOrg$)/, '@'), device))
  // Adobe: without a primary identity an authenticated call is refused.
  if (ecid === undefined && headers.authorization !== undefined && (first === undefined || !hasPrimaryIdentity(first))) return refuse(reply, 'EXEG-0306-400', 'No primary identity set in request (event)')
  return await answer({ body, headers, query, requestId, state, key, ecid: ecid ?? newEcid(), options }, reply)
}

/** The organization in the name of the visitor's state. */
function organizationIn (state: ReadonlyMap<string, string>): string | undefined {
  for (const key of state.keys()) {
    const [, organization] = /^kndctr_(.+_AdobeOrg)_[a-z]/i.exec(key) ?? []
    if (organization !== undefined) return organization
  }
}

async function interact (call: Call, reply: FastifyReply) {
  const { body, options, ecid, state } = call
  const events = eventsOf(body)
  const tooMany = events.find(({ scopes = [] }) => scopes.length > MAX_SCOPES)
  if (tooMany !== undefined) return refuse(reply, 'EXEG-0104-422', 'Unprocessable entity', `There are more than ${MAX_SCOPES} decision scopes.`)
  const qaMode = qaModeOf(state)
  const handle: Handle[] = []
  if (wantsEcid(body)) handle.push({ type: 'identity:result', payload: [{ id: ecid, namespace: { code: 'ECID' } }] })
  if (!isOptedOut(call)) {
    for (const [eventIndex, event] of events.entries()) {
      report(event, call, qaMode?.token !== undefined)
      if (event.scopes !== undefined) handle.push({ type: 'personalization:decisions', payload: await decisions(event, call), eventIndex })
    }
  }
  handle.push({
    type: 'locationHint:result',
    payload: [{ scope: 'Target', hint: cluster, ttlSeconds: MAX_AGE.cluster }, { scope: 'AAM', hint: '9', ttlSeconds: MAX_AGE.cluster }, { scope: 'EdgeNetwork', hint: REGION, ttlSeconds: MAX_AGE.cluster }]
  }, {
    type: 'state:store',
    payload: [entry(call, 'identity', identityCookie(ecid)), entry(call, 'cluster', REGION)]
  })
  await options.delay()
  reply.header('x-adobe-edge', 'OR2;9')
  return { requestId: call.requestId, handle }
}

async function collect (call: Call, reply: FastifyReply) {
  if (!isOptedOut(call)) for (const event of eventsOf(call.body)) report(event, call, qaModeOf(call.state)?.token !== undefined)
  await call.options.delay()
  if (call.query.silent === 'true') return reply.code(204).send()
  return reply.code(202).send({ requestId: call.requestId })
}

async function setConsent (call: Call, reply: FastifyReply) {
  const { body, requestId, ecid, options } = call
  const [consent] = [at(body, 'consent')].flat()
  const general = textAt(consent, 'value', 'general') ?? textAt(consent, 'value', 'collect', 'val')
  if (general === undefined) return refuse(reply, 'EXEG-0104-422', 'Unprocessable entity', 'Consent must have a value.')
  await options.delay()
  return {
    requestId,
    handle: [{
      type: 'state:store',
      payload: [entry(call, 'consent', `general=${general === 'in' || general === 'y' ? 'in' : 'out'}`), entry(call, 'identity', identityCookie(ecid))]
    }]
  }
}

/** An entry of the visitor's state. Adobe adds `SameSite` only for pages on https: it requires `Secure`. */
function entry ({ key, headers: { origin, referer } }: Call, name: keyof typeof MAX_AGE, value: string): object {
  return { key: key(name), value, maxAge: MAX_AGE[name], ...((origin ?? referer)?.startsWith('https:') === true && { attrs: { SameSite: 'None' } }) }
}

const isOptedOut = ({ state, key }: Call): boolean => state.get(key('consent'))?.split(';').includes('general=out') === true

/** The propositions of an event's scopes. The Edge Network does not count them as displayed. */
async function decisions (event: EdgeEvent, { body, headers, state, ecid, options }: Call): Promise<object[]> {
  const { client, artifactFor, qa, tokens, responseTokens } = options
  const id = visitorId({ marketingCloudVisitorId: ecid })
  const asked = qaModeOf(state)
  const compiled = qa.apply(await artifactFor(id), qa.refusal(asked) === undefined ? asked : undefined)
  const { order, ...details } = detailsOf(event)
  const token = textAt(body, 'meta', 'configOverrides', 'com_adobe_target', 'propertyToken')
  const scopes = [...new Set(event.scopes)]
  const mboxes = scopes.filter((scope) => scope !== pageScope).map((name, index) => ({ name, index, ...details }))
  const request: DeliveryRequest = {
    id,
    context: contextOf(event, headers),
    experienceCloud: { analytics: { logging: 'server_side' } },
    ...(token !== undefined && { property: { token } }),
    prefetch: { mboxes, ...(scopes.includes(pageScope) && { pageLoad: details, views: [details] }) }
  }
  const { response } = decide(compiled, request, { client })
  completeAnswer(response, request, tokens, responseTokens(), compiled.globalMbox)
  options.recorder.order({ ...details, ...(order !== undefined && { order }) }, mboxes[0]?.name, textAt(event.xdm, '_id'))
  return propositionsOf(response, tokens, event.schemas)
}

/** Counts an event's reports. As in Target, tokens that this edge has not issued are not counted. */
function report (event: EdgeEvent, { options: { recorder, tokens } }: Call, isQa: boolean): void {
  const globalMbox = (tokens.artifact as { globalMbox?: string }).globalMbox ?? 'target-global-mbox'
  const counter = new Counter({ recorder, tokens }, globalMbox, isQa)
  for (const notification of notificationsOf(event, tokens)) {
    if (notification.tokens?.every((token) => tokens.facts(token) !== undefined) !== false) counter.notification(notification)
  }
}
