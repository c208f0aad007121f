/** Starts everything in one process on loopback: the local edge, the product service, the shop. */
import { createEdge, type TargetEdge } from 'fastify-adobe-target/edge'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { client, organizationId } from './account.ts'
import { createApp } from './app.ts'
import { createProductService } from './products.ts'

export interface RunningShop {
  app: FastifyInstance
  edge: TargetEdge
  /** Where the page is, e.g. `http://127.0.0.1:3000`. */
  address: string
  close (): Promise<void>
}

const host = '127.0.0.1'

/** Milliseconds the edge takes, about what the real one takes from a data centre nearby. */
const latency = 60

/**
 * @param port of the shop, or the next one that is free; 0 for any
 * @param logger of the shop. Default: none
 */
export async function startShop (port: number, logger?: FastifyServerOptions['logger']): Promise<RunningShop> {
  const edge = createEdge({ client, organizationId, latency })
  const productService = createProductService()
  const edgeAddress = await edge.listen({ host, port: 0 })
  const app = await createApp({
    edge: new URL(edgeAddress).host,
    productService: await productService.listen({ host, port: 0 }),
    logger
  })
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

async function listenFrom (app: FastifyInstance, port: number): Promise<string> {
  try {
    return await app.listen({ host, port })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return await listenFrom(app, port + 1)
  }
}
