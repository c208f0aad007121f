/** `POST /rest/v1/delivery`: decides, counts and responds as the real edge does. */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { decide } from '../decisioning/decide.ts'
import { DeliveryRequest, type DeliveryResponse, type VisitorId } from '../schema/index.ts'
import { completeAnswer } from './answer.ts'
import { callerRefusal, EdgeQuery, type Callers } from './cors.ts'
import { Counter, decidingHooks, type DecidingRouteOptions } from './deciding-routes.ts'
import { refusal } from './refusal.ts'
import { cluster, visitorId } from './visitor-id.ts'

const edgeHost = `mboxedge${cluster}.tt.omtrdc.net`

export interface DeliveryRouteOptions extends DecidingRouteOptions {
  callers: Callers
}

export function deliveryRoute (app: FastifyInstance, options: DeliveryRouteOptions): void {
  app.post<{ Body: DeliveryRequest, Querystring: EdgeQuery }>('/rest/v1/delivery', {
    schema: { querystring: EdgeQuery, body: DeliveryRequest },
    ...decidingHooks(options)
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

  const impressionId = body.impressionId ?? randomUUID()
  const counter = new Counter({ recorder, tokens }, compiled.globalMbox, body.qaMode?.token !== undefined)
  // Executed offers count like the displays that an on-device client would notify.
  for (const impression of impressions) counter.display(impression, impressionId)
  for (const mbox of [...body.execute?.mboxes ?? [], ...body.prefetch?.mboxes ?? []]) recorder.order(mbox, mbox.name, impressionId)
  for (const part of [body.execute, body.prefetch]) recorder.order(part?.pageLoad, undefined, impressionId)
  for (const notification of body.notifications ?? []) {
    counter.notification(notification, notification.impressionId ?? body.impressionId ?? notification.id)
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
