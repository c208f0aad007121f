/** Import and registration, once, in a fresh process: `node register.js <edge host>`. */
import Fastify from 'fastify'
import { answerParent } from './child.js'

const [host] = process.argv.slice(2)

answerParent({
  /** ms; Fastify is imported before, as in every app. */
  async plugin () {
    const started = performance.now()
    const { default: fastifyAdobeTarget } = await import('fastify-adobe-target')
    const imported = performance.now()
    const app = Fastify()
    await app.register(fastifyAdobeTarget, { client: 'benchclient', organizationId: 'bench@AdobeOrg', serverDomain: host, secure: false })
    app.get('/', { config: { target: ['hero'] } }, async () => '')
    await app.ready()
    const ready = performance.now()
    await app.close()
    return { import: imported - started, register: ready - imported }
  },
  async sdk () {
    const started = performance.now()
    await import('@adobe/target-nodejs-sdk')
    return { import: performance.now() - started }
  }
}, {})
