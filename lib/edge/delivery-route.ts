/** `POST /rest/v1/delivery`: decides, counts and responds as the real edge does. */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { decide } from '../decisioning/decide.ts'
import { DeliveryRequest, type DeliveryResponse, type Notification, type VisitorId } from '../schema/index.ts'
import { completeAnswer } from './answer.ts'
import { callerRefusal, EdgeQuery, type Callers } from './cors.ts'
import type { Faults } from './testing/faults.ts'
import { notifiedLocation } from './testing/place.ts'
import type { Qa } from './qa.ts'
import type { Recorder } from './testing/recorder.ts'
import { refusal } from './refusal.ts'
import type { EventTokens } from './tokens.ts'
import type { Watch } from './testing/waits.ts'
import { cluster, visitorId } from './visitor-id.ts'

const edgeHost = `mboxedge${cluster}.tt.omtrdc.net`

/** What the routes that decide have in common: this one and those of the Edge Network. */
export interface DecidingRouteOptions {
  client: string
  /** The artifact to decide with for a visitor. */
  artifactFor: (id: VisitorId) => Promise<CompiledArtifact>
  /** The response tokens that the artifact lists. */
  responseTokens: () => ReadonlySet<string>
  tokens: EventTokens
  qa: Qa
  recorder: Recorder
  watch: Watch
  faults: Faults
  /** Waits for the configured latency. */
  delay: () => Promise<void>
}

export interface DeliveryRouteOptions extends DecidingRouteOptions {
  callers: Callers
}

export function deliveryRoute (app: FastifyInstance, options: DeliveryRouteOptions) {
  const { recorder, watch } = options
  const fault = options.faults.hooks('delivery')

  app.post<{ Body: DeliveryRequest, Querystring: EdgeQuery }>('/rest/v1/delivery', {
    schema: { querystring: EdgeQuery, body: DeliveryRequest },
    preValidation: [
      async ({ body, query, headers, url }) => {
        recorder.record({ path: url.split('?', 1)[0]!, body, query: { ...query }, headers, time: Date.now() })
        watch.check()
      },
      fault.preValidation
    ],
    onSend: fault.onSend,
    // Only after the response was sent: a waiting test may close the edge.
    onResponse: async () => watch.check()
  }, async ({ body, query }, reply) => {
    const message = callerRefusal(query, options.callers) ?? refusal(body, options.tokens) ?? options.qa.refusal(body.qaMode)
    if (message !== undefined) return reply.code(400).send({ status: 400, message })
    const id = visitorId(body.id)
    const answer = respond({ ...body, id }, await options.artifactFor(id), options)
    await options.delay()
    return body.context.beacon === true ? reply.code(204).send() : answer
  })
}

function respond (body: DeliveryRequest & { id: VisitorId }, artifact: CompiledArtifact, { client, responseTokens, tokens, qa, recorder }: DeliveryRouteOptions): DeliveryResponse {
  const { id } = body
  const compiled = qa.apply(artifact, body.qaMode)
  const request = withKnownViews(body, compiled)
  const { response, notifications: impressions } = decide(compiled, request, { client })
  completeAnswer(response, request, tokens, responseTokens(), compiled.globalMbox)

  // Reports of live activities are kept clear of QA.
  const isQa = body.qaMode?.token !== undefined
  const impressionId = body.impressionId ?? randomUUID()
  const countDisplays = (of: Notification, underId: string) => {
    if (isQa) return
    const location = notifiedLocation(of, compiled.globalMbox, tokens)
    if (location !== undefined) recorder.display(underId, location)
    for (const token of of.tokens ?? []) {
      const facts = tokens.facts(token)
      if (facts?.kind === 'display') recorder.count(underId, facts.activityId)
    }
  }
  // Executed offers count like the displays that an on-device client would notify.
  for (const impression of impressions) countDisplays(impression, impressionId)
  for (const mbox of [...body.execute?.mboxes ?? [], ...body.prefetch?.mboxes ?? []]) recorder.order(mbox, mbox.name, impressionId)
  for (const part of [body.execute, body.prefetch]) recorder.order(part?.pageLoad, undefined, impressionId)
  for (const notification of body.notifications ?? []) {
    const isNew = recorder.accept(notification)
    if (isNew) recorder.order(notification, notification.mbox?.name)
    if (!isNew || isQa) continue
    if (notification.type === 'display') countDisplays(notification, notification.impressionId ?? body.impressionId ?? notification.id)
    const location = notifiedLocation(notification, compiled.globalMbox, tokens)
    if (notification.type === 'click' && location !== undefined) recorder.click(location)
  }

  const { requestId, execute, prefetch } = response
  return {
    status: 200,
    requestId,
    id,
    client,
    edgeHost,
    ...(execute && { execute }),
    ...(prefetch && { prefetch }),
    ...(body.notifications && { notifications: body.notifications.map((notification) => ({ id: notification.id })) })
  }
}

/** View names match in any case: at.js sends them in lower case. */
function withKnownViews<Body extends DeliveryRequest> (body: Body, { views }: CompiledArtifact): Body {
  const { prefetch } = body
  if (prefetch?.views === undefined || prefetch.views.every(({ name }) => name === undefined || views.has(name))) return body
  const byLowerCase = new Map([...views.keys()].map((name) => [name.toLowerCase(), name]))
  const known = prefetch.views.map((view) => view.name === undefined ? view : { ...view, name: byLowerCase.get(view.name.toLowerCase()) ?? view.name })
  return { ...body, prefetch: { ...prefetch, views: known } }
}
