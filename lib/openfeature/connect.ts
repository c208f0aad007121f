/** The plugin's option `openFeature`: registers the provider and gives every request its transaction context. */
import { AsyncLocalStorageTransactionContextPropagator, NOOP_PROVIDER, OpenFeature } from '@openfeature/server-sdk'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TargetClient } from '../client/client.ts'
import { TargetProvider, type TargetProviderOptions } from './provider.ts'
import { requestContext } from './request-context.ts'

/**
 * Connects a plugin instance to OpenFeature. Flags of clients of the `domain` (default: all without their own provider)
 * are evaluated with the request in which they are read.
 */
export function connectOpenFeature (app: FastifyInstance, client: TargetClient, { domain, ...options }: TargetProviderOptions & { domain?: string }): void {
  const provider = new TargetProvider(client, options)
  if (!hasPropagator()) OpenFeature.setTransactionContextPropagator(new AsyncLocalStorageTransactionContextPropagator())

  const enter = (request: FastifyRequest, done: () => void) =>
    OpenFeature.setTransactionContext({ ...OpenFeature.getTransactionContext(), ...requestContext(request) }, done)
  app.addHook('onRequest', (request, _reply, done) => enter(request, done))
  // A body is read in the async context of its connection, so what comes after has lost the one above.
  app.addHook('preValidation', (request, _reply, done) => enter(request, done))

  app.addHook('onReady', (done) => {
    if (domain === undefined) OpenFeature.setProvider(provider)
    else OpenFeature.setProvider(domain, provider)
    done()
  })
  app.addHook('onClose', async () => {
    if (OpenFeature.getProvider(domain) === provider) {
      if (domain === undefined) OpenFeature.setProvider(NOOP_PROVIDER)
      else OpenFeature.setProvider(domain, NOOP_PROVIDER)
    }
    await provider.onClose()
  })
}

/** Whether the app has set a propagator. The default one keeps nothing. */
function hasPropagator (): boolean {
  let found = false
  OpenFeature.setTransactionContext({ probe: true }, () => { found = OpenFeature.getTransactionContext().probe === true })
  return found
}
