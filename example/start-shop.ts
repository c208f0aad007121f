/** Starts everything in one process on loopback: the local edge, the product service, the shop. */
import { createEdge, type TargetEdge } from 'fastify-adobe-target/edge'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { client, organizationId } from './account.ts'
import { createApp } from './app.ts'
import { createProductService } from './products.ts'
import { setEdge } from './target-states.ts'

export interface RunningShop {
  app: FastifyInstance
  edge: TargetEdge
  /** Where the page is, e.g. `http://127.0.0.1:3000`. */
  address: string
  close (): Promise<void>
}

const host = '127.0.0.1'

/** Latency of the edge in ms, about that of the real one from a nearby data centre. */
const latency = 60

/**
 * @param port of the shop; if it is taken, the next free one. 0: any free port
 * @param options the shop's logger (default: none), and whether it is one with Web SDK
 */
export async function startShop (port: number, { logger, webSdk }: { logger?: FastifyServerOptions['logger'], webSdk?: boolean } = {}): Promise<RunningShop> {
  const edge = createEdge({ client, organizationId, latency })
  const productService = createProductService()
  const edgeAddress = await edge.listen({ host, port: 0 })
  const app = await createApp({
    edge: new URL(edgeAddress).host,
    productService: await productService.listen({ host, port: 0 }),
    setEdge: (state) => setEdge(edge, state),
    webSdk,
    logger
  })
  await warmUp(app)
  edge.reset()
  return {
    app,
    edge,
    address: await listenFrom(app, port),
    async close () {
      await app.close()
      await Promise.all([productService.close(), edge.close()])
    }
  }
}

/**
 * A process's first requests open connections and run code that is not compiled yet, and take twice as long. The shop makes them itself, so
 * that its first visitor sees the times that all later visitors see.
 */
async function warmUp (app: FastifyInstance): Promise<void> {
  await app.ready()
  for (let visit = 0; visit < 3; visit++) for (const url of ['/', '/product']) await app.inject(url)
  await app.target.flush()
}

async function listenFrom (app: FastifyInstance, port: number): Promise<string> {
  try {
    return await app.listen({ host, port })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return await listenFrom(app, port + 1)
  }
}
