/**
 * The `notificationsRoute` option: a route that accepts clicks and displays from the scripts of a server-rendered page, and
 * queues them for the visitor of the request. Anyone can call it, so the body cannot specify a visitor or a time, and only
 * pages of the same origin are accepted.
 */
import type { FastifyInstance, FastifyRequest, RegisterOptions } from 'fastify'
import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { MetricType, NotificationMbox, NotificationView } from '../schema/index.ts'
import { failure } from '../errors.ts'
import type { NotificationForm } from '../offers/notifications.ts'
import { problemIn, strict } from '../validation.ts'
import { documented, isSameOrigin, unchecked, type RouteSettings } from './own-route.ts'

const MAX_ENTRIES = 50
/** Maximum size of a body in bytes, and length of a token: the Delivery API's, and those of the Edge Network, whose tokens hold a proposition. */
const LIMITS = { deliveryApi: { body: 16 * 1024, token: 2000 }, edgeNetwork: { body: 64 * 1024, token: 8192 } }

const State = Type.Optional(Type.String({ minLength: 1, maxLength: 2000 }))

/** The body: `{ notifications: [{ type, tokens, mbox | view | pageLoad }] }`. The lengths are the Delivery API's. */
function bodySchema (maxToken: number) {
  /** One click or display at one place; `place` has the members that identify it. */
  const at = <Place extends Record<string, TSchema>>(place: Place) => Type.Object({
    type: MetricType,
    tokens: Type.Array(Type.String({ minLength: 1, maxLength: maxToken }), { minItems: 1, maxItems: MAX_ENTRIES }),
    ...place
  }, strict)
  return Type.Object({
    notifications: Type.Array(Type.Union([
      at({ mbox: Type.Object({ name: Type.Required(NotificationMbox).properties.name, state: State }, strict) }),
      at({ view: Type.Object({ name: Type.Required(NotificationView).properties.name, key: NotificationView.properties.key, state: State }, strict) }),
      at({ pageLoad: Type.Object({ state: State }, strict) })
    ], { expected: 'an object { type, tokens } with one of mbox, view or pageLoad' }), { minItems: 1, maxItems: MAX_ENTRIES })
  }, strict)
}
type BodySchema = ReturnType<typeof bodySchema>

export interface NotificationsRouteOptions extends RouteSettings {
  /** Options of the scope that the route gets. */
  scope: RegisterOptions
  /** Name of the plugin's decorator. */
  decorator: string
  /** Where the tokens come from. */
  transport: keyof typeof LIMITS
  /** Queues notifications for the visitor of a request. */
  notify: (request: FastifyRequest, notifications: NotificationForm[]) => void
}

/**
 * Adds the route, in a separate scope: the app's content type parsers stay unchanged.
 *
 * It responds with 204 once the notifications are queued, whatever becomes of them; 403 to other origins, 400 to a body that is
 * not of that form, 413 beyond 16 KiB (64 KiB with the Edge Network), 415 to content types other than JSON and text (which `sendBeacon` sends).
 */
export function addNotificationsRoute (app: FastifyInstance, { path, schema, scope: options, decorator, transport, notify }: NotificationsRouteOptions): void {
  const limits = LIMITS[transport]
  const body = bodySchema(limits.token)
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(['application/json', 'text/plain'], { parseAs: 'string' }, scope.getDefaultJsonParser('error', 'error'))
    scope.post(path, {
      bodyLimit: limits.body,
      config: { [decorator]: false },
      schema: documented(schema, {
        summary: 'Clicks and displays, from the page\'s own scripts',
        body,
        response: { 204: 'The notifications are queued.', 400: 'The body is not a list of clicks and displays.', 403: 'The page is of another origin.' }
      }),
      validatorCompiler: unchecked,
      onRequest (request, reply, done) {
        reply.header('cache-control', 'no-store')
        done(isSameOrigin(request) ? undefined : failure('FST_TARGET_FOREIGN_ORIGIN', 'clicks and displays are only accepted from pages of the same origin'))
      }
    }, (request, reply) => {
      notify(request, checked(body, request.body).notifications)
      reply.code(204).send()
    })
  }, options)
}

/**
 * Checks the body here rather than with the app's validator, which may strip or convert what must be refused.
 *
 * @throws FST_TARGET_INVALID_NOTIFICATIONS naming the place, without any content of the body
 */
function checked (schema: BodySchema, body: unknown): Static<BodySchema> {
  if (Value.Check(schema, body)) return body
  throw failure('FST_TARGET_INVALID_NOTIFICATIONS', problemIn(schema, body, { root: 'body', isPrivate: true })!)
}
