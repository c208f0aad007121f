/** The `healthRoute` option: `app.target.health()` for a monitor, which reads the status and not the body. */
import type { FastifyInstance, FastifySchema, RegisterOptions } from 'fastify'
import type { TargetHealth } from '../client/health.ts'
import type { RouteSettings } from './own-route.ts'

export interface HealthRouteOptions extends RouteSettings {
  /** Options of the scope that the route gets. */
  scope: RegisterOptions
  /** Name of the plugin's decorator. */
  decorator: string
  health: () => TargetHealth
}

/** Adds the route: JSON, 200 while the client is `ok` or `degraded` and 503 when it is `down`. It is not cacheable and makes no call. */
export function addHealthRoute (app: FastifyInstance, { path, schema, scope: options, decorator, health }: HealthRouteOptions): void {
  app.register(async (scope) => {
    scope.get(path, {
      config: { [decorator]: false },
      schema: { hide: true, summary: 'How the Target client is', ...schema } as FastifySchema
    }, (_request, reply) => {
      const report = health()
      reply.code(report.status === 'down' ? 503 : 200).header('cache-control', 'no-store').send(report)
    })
  }, options)
}
