/** One app in a fresh process that has loaded nothing but what it needs: `node fresh.js <name> <edge host>`. */
import Fastify from 'fastify'
import { answerParent } from './child.js'
import { client, FALLBACK, mbox, organizationId, render } from './page.js'

const [name, host] = process.argv.slice(2)
const settings = { client, organizationId, serverDomain: host, secure: false }
const asked = { context: { channel: 'web' }, execute: { mboxes: [{ index: 0, name: mbox }] } }
const contentOf = ({ execute }) => execute.mboxes[0].options[0].content

/** Each gives the function that gets a page's content. */
const apps = {
  'no-target': () => () => FALLBACK,

  async plugin (app) {
    const { default: fastifyAdobeTarget } = await import('fastify-adobe-target')
    await app.register(fastifyAdobeTarget, settings)
    return ({ target }) => target.html(mbox, FALLBACK)
  },

  async 'bare-undici' () {
    const { Pool } = await import('undici')
    const pool = new Pool(`http://${host}`)
    const path = `/rest/v1/delivery?imsOrgId=${encodeURIComponent(organizationId)}&sessionId=1`
    const call = { method: 'POST', path, headers: { 'content-type': 'application/json' }, body: JSON.stringify(asked) }
    return async () => {
      const { body } = await pool.request(call)
      return contentOf(await body.json())
    }
  },

  async sdk () {
    const { default: TargetClient } = await import('@adobe/target-nodejs-sdk')
    const target = await new Promise((resolve) => {
      const created = TargetClient.create({ ...settings, events: { clientReady: () => resolve(created) } })
    })
    return async () => contentOf((await target.getOffers({ request: asked })).response)
  }
}

const app = Fastify()
const content = await apps[name](app)
app.get('/', { config: { target: [mbox] } }, async (request, reply) => {
  reply.type('text/html')
  return render(await content(request))
})
app.get('/plain', async () => 'no Target here')
await app.listen({ host: '127.0.0.1', port: 0 })

answerParent({}, { url: `http://127.0.0.1:${app.server.address().port}`, startedAt: performance.timeOrigin })
