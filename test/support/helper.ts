/** What the tests share: an app and a local edge on real sockets, closed when the test ends. */
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createEdge, type EdgeOptions, type TargetEdge } from '../../lib/edge/index.ts'
import fastifyAdobeTarget, { type FastifyAdobeTargetOptions } from '../../lib/index.ts'

/** The part of a tap test that is needed here. */
interface Test { teardown (fn: () => unknown): void }

export const client = 'acmeclient'
export const organizationId = '1234567890@AdobeOrg'

/** Host and port of a listening server. */
export const hostOf = (server: Server) => `127.0.0.1:${(server.address() as AddressInfo).port}`

/** A local edge that listens. */
export async function startEdge (t: Test, options: EdgeOptions = {}): Promise<TargetEdge & { host: string }> {
  const edge = createEdge({ client, organizationId, ...options })
  t.teardown(() => edge.close())
  await edge.listen({ port: 0, host: '127.0.0.1' })
  return edge
}

/** An HTTP server of the test's own in place of the edge. */
export async function startServer (t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  t.teardown(() => new Promise((resolve) => {
    server.close(resolve)
    server.closeAllConnections()
  }))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return hostOf(server)
}

/** Options that point the plugin at an edge. */
export const optionsFor = (host: string, options: Partial<FastifyAdobeTargetOptions> = {}): FastifyAdobeTargetOptions =>
  ({ client, organizationId, serverDomain: host, secure: false, ...options })

/** Lines that an app logged, as objects. */
export interface Logged { level: number, msg: string, [key: string]: unknown }

/**
 * An app with the plugin on an edge; `routes` adds to it before it listens.
 *
 * @returns the app, its address, and what it logged
 */
export async function startApp (
  t: Test, host: string, options: Partial<FastifyAdobeTargetOptions>, routes: (app: FastifyInstance) => unknown, server: FastifyServerOptions = {}
): Promise<{ app: FastifyInstance, url: string, logged: Logged[] }> {
  const logged: Logged[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { logged.push(JSON.parse(line)) } } }, forceCloseConnections: true, ...server }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, optionsFor(host, options))
  await routes(app)
  // Node's own backlog is 511, and one test opens 1000 connections at once.
  const url = await app.listen({ port: 0, host: '127.0.0.1', backlog: 2048 })
  return { app, url, logged }
}

/** The body of a response, for a test to look into. */
export const json = async (response: Response) => await response.json() as any

/** The name and value pairs of a response's cookies, as a browser sends them back. */
export const cookiesOf = (response: Response) => response.headers.getSetCookie().map((cookie) => cookie.split(';', 1)[0]).join('; ')

/** Parts of the `mbox` cookie that a response sets. */
export function targetCookieOf (response: Response): { session?: string, PC?: string } {
  const value = response.headers.getSetCookie().find((cookie) => cookie.startsWith('mbox='))?.slice(5).split(';', 1)[0] ?? ''
  return Object.fromEntries(value.split('|').filter(Boolean).map((part) => part.split('#', 2)))
}
