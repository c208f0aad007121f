/** What decides on-device: this package, Adobe's Node SDK, and GrowthBook as what a user might pick instead. */
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTargetClient } from 'fastify-adobe-target'
import { impressionsSettled } from './impressions.js'
import { client, organizationId } from './page.js'

/**
 * Each makes an engine: `decide(request)` is a whole `getOffers`, `rest()` lets what it began in the background end.
 * The request is complete, so nobody has to ask where the visitor is.
 */
export const engines = {
  async plugin (artifact, host) {
    const target = createTargetClient({
      client, organizationId, serverDomain: host, secure: false, decisioningMethod: 'on-device', artifactPayload: artifact, pollingInterval: 0
    })
    await target.ready({ timeout: 60_000 })
    return {
      decide: (request) => target.getOffers({ request }),
      // Impressions are queued by the call and sent after it, in turns of the event loop that a batch does not give.
      rest: () => impressionsSettled(target)
    }
  },

  /** Its impressions go to a `fetch` that answers at once: neither side's network is counted. */
  async sdk (artifact) {
    const TargetClient = createRequire(import.meta.url)('@adobe/target-nodejs-sdk')
    let target
    await new Promise((resolve) => {
      target = TargetClient.create({
        client,
        organizationId,
        decisioningMethod: 'on-device',
        artifactPayload: artifact,
        pollingInterval: 300_000,
        telemetryEnabled: false,
        fetchApi: async () => new Response('{"status":200}'),
        events: { clientReady: resolve }
      })
    })
    return {
      decide: (request) => target.getOffers({ request }),
      async rest () { await sleep(20) }
    }
  },

  async growthbook () {
    const { GrowthBookClient } = createRequire(import.meta.url)('@growthbook/growthbook')
    const growthbook = new GrowthBookClient().initSync({
      payload: { features: { hero: { defaultValue: '', rules: [{ key: 'hero-test', hashAttribute: 'id', variations: ['<h2>A</h2>', '<h2>B</h2>'], weights: [0.5, 0.5], coverage: 1 }] } } }
    })
    return {
      decide: async ({ id }) => growthbook.getFeatureValue('hero', '', { attributes: { id: id.tntId } }),
      async rest () {}
    }
  }
}
