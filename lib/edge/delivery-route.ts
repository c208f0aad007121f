/** `POST /rest/v1/delivery`: decides, counts and responds as the real edge does. */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
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

/**
 * That of the first edge, for all edges of a process: Ajv takes 50 to 250 ms to compile the schema of a request, and V8 takes
 * 20 ms more to compile its code and patterns when the first request is checked.
 */
let validatorCompiler: FastifySchemaCompiler<unknown> | undefined

/** Checked before the first caller's request, so that an app's first page does not wait for V8. Has what most requests have. */
export const TYPICAL_REQUEST: DeliveryRequest = {
  requestId: '1',
  impressionId: '1',
  id: { tntId: '1', marketingCloudVisitorId: '1' },
  context: { channel: 'web', address: { url: 'http://localhost/' }, userAgent: '1', geo: { ipAddress: '127.0.0.1' } },
  experienceCloud: { analytics: { logging: 'server_side', supplementalDataId: '0123456789ABCDEF-0123456789ABCDEF' } },
  execute: { mboxes: [{ index: 0, name: '1', parameters: {} }] },
  prefetch: { mboxes: [{ index: 0, name: '1' }] }
}

export function deliveryRoute (app: FastifyInstance, options: DeliveryRouteOptions): void {
  app.addHook('onReady', async () => {
    validatorCompiler ??= app.validatorCompiler
    const validate = validatorCompiler!({ schema: DeliveryRequest, method: 'POST', url: '/rest/v1/delivery', httpPart: 'body' }) as (request: unknown) => unknown
    validate(TYPICAL_REQUEST)
  })
  app.post<{ Body: DeliveryRequest, Querystring: EdgeQuery }>('/rest/v1/delivery', {
    schema: { querystring: EdgeQuery, body: DeliveryRequest },
    ...(validatorCompiler !== undefined && { validatorCompiler }),
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
