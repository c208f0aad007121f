/** The option `ofrepRoute`: OpenFeature's remote evaluation protocol, as HTTP and with the browser's own provider. */
import Fastify, { type FastifyInstance } from 'fastify'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import fastifyAdobeTarget from '../../lib/index.ts'
import { artifactWith } from '../support/artifacts.ts'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { client, optionsFor, startApp, startEdge } from '../support/helper.ts'
import { root } from '../support/project.ts'
import '../support/no-unhandled-rejections.ts'
import { until } from '../support/wait.ts'

const data = (content: unknown) => ({ type: 'json', content })
const edge = await startEdge(t, {
  client,
  artifact: artifactWith({
    checkout: [{ activity: 1, option: data({ express: true, limit: 10, texts: { title: 'Checkout' } }) }],
    gold: [{ activity: 2, condition: { '==': [{ var: 'mbox.member' }, 'gold'] }, option: data({ value: true }) }, { activity: 2, experience: 1, option: data({ value: false }) }],
    banner: [{ activity: 3, option: { type: 'html', content: '<b>Sale</b>' } }],
    secret: [{ activity: 4, option: data({ on: true }) }]
  }, { responseTokens: ['activity.id', 'experience.id', 'experience.name'] })
})
const mboxes = { checkout: {}, gold: {}, banner: {}, nowhere: {}, declared: { fallback: { size: 3 } } }
const BULK = '/ofrep/v1/evaluate/flags'
const headers = { 'sec-fetch-site': 'same-origin' }

t.test('bulk, with an ETag, and one flag: declared mboxes, the visitor of the cookies', async (t) => {
  const { app } = await startApp(t, edge.host, { mboxes, ofrepRoute: '/api' }, () => {})
  edge.reset()
  const ask = (path: string, more: object = {}) => app.inject({ method: 'POST', url: `/api${BULK}${path}`, headers, payload: { context: { targetingKey: 'somebody else', member: 'gold' } }, ...more })
  const bulk = await ask('')
  t.equal(bulk.statusCode, 200)
  const flags = Object.fromEntries(bulk.json().flags.map((flag: { key: string }) => [flag.key, flag]))
  t.match(flags, {
    checkout: { value: { express: true, limit: 10 } },
    'checkout.express': { value: true, variant: '0', reason: 'TARGETING_MATCH', metadata: { activityId: 1, source: 'edge' } },
    'checkout.limit': { value: 10 },
    'checkout.texts.title': { value: 'Checkout' },
    gold: { value: false },
    banner: { value: '<b>Sale</b>' },
    nowhere: { value: undefined, reason: 'UNKNOWN' },
    'declared.size': { value: 3, reason: 'UNKNOWN' }
  })
  t.equal(flags.secret, undefined)
  t.equal(edge.requests.length, 1, 'one call')
  t.match(edge.requests[0]!.body, { id: { thirdPartyId: undefined }, execute: undefined })
  t.notMatch(JSON.stringify(edge.requests[0]!.body), /somebody else/)
  t.match(bulk.headers, { etag: /^"[\w-]+"$/, 'cache-control': 'private, no-cache', 'set-cookie': [/^mbox=/, /./] })
  const cookie = bulk.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  const again = await ask('', { headers: { ...headers, cookie, 'if-none-match': bulk.headers.etag } })
  t.match([again.statusCode, again.body], [304, ''])

  t.match((await ask('/checkout.express')).json(), { key: 'checkout.express', value: true })
  t.match((await ask(`/${encodeURIComponent('checkout/limit')}`)).json(), { value: 10 })
  for (const key of ['secret', 'secret.on', 'checkout.nowhere', '__proto__']) {
    const missing = await ask(`/${key}`)
    t.match([missing.statusCode, missing.json()], [404, { key, errorCode: 'FLAG_NOT_FOUND' }])
  }
  t.match((await ask('', { headers: { 'sec-fetch-site': 'cross-site' } })).json(), { statusCode: 403, code: 'FST_TARGET_FOREIGN_ORIGIN' })
  t.equal((await ask('', { payload: 'x'.repeat(20_000), headers: { ...headers, 'content-type': 'application/json' } })).statusCode, 413)
  t.equal((await ask('', { payload: '{', headers: { ...headers, 'content-type': 'application/json' } })).statusCode, 400)
  edge.fault('status:500')
  t.match((await ask('/checkout.express')).json(), { key: 'checkout.express', errorCode: 'GENERAL' }, 'a failing edge is said, not hidden')
  edge.reset()

  const bad = Fastify()
  t.teardown(() => bad.close())
  await t.rejects(async () => await bad.register(fastifyAdobeTarget, optionsFor(edge.host, { ofrepRoute: true })), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`ofrepRoute` requires `mboxes`/ })
})

/** Serves packages as they are, for an import map. */
function servePackages (app: FastifyInstance): Record<string, string> {
  const files = {
    '@openfeature/core': '@openfeature/core/dist/esm/index.js',
    '@openfeature/web-sdk': '@openfeature/web-sdk/dist/esm/index.js',
    '@openfeature/ofrep-core': '@openfeature/ofrep-core/index.esm.js',
    '@openfeature/ofrep-web-provider': '@openfeature/ofrep-web-provider/index.esm.js'
  }
  return Object.fromEntries(Object.entries(files).map(([name, file], index) => {
    const path = `/package-${index}.js`
    app.get(path, async (_request, reply) => await reply.type('text/javascript').send(readFileSync(join(root, 'node_modules', file), 'utf8')))
    return [name, path]
  }))
}

t.test('in a browser, with @openfeature/ofrep-web-provider', { skip: withoutBrowser, timeout: 240_000 }, async (t) => {
  const { url } = await startApp(t, edge.host, { mboxes, ofrepRoute: true }, (app) => {
    const imports = servePackages(app)
    app.get('/', { config: { target: ['checkout'] } }, async (request, reply) => {
      await request.target.content('checkout')
      reply.type('text/html').header('cache-control', 'private')
      return `<!doctype html><link rel="icon" href="data:,"><title>Flags</title>
        <script type="importmap">${JSON.stringify({ imports })}</script>
        <script type="module">
        import { OpenFeature } from '@openfeature/web-sdk'
        import { OFREPWebProvider } from '@openfeature/ofrep-web-provider'
        await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: location.origin, pollInterval: 50 }), { targetingKey: 'x' })
        const flags = OpenFeature.getClient()
        window.flags = {
          express: flags.getBooleanDetails('checkout.express', false), limit: flags.getNumberValue('checkout.limit', 1), banner: flags.getStringValue('banner', ''),
          object: flags.getObjectValue('checkout', {}), gold: flags.getBooleanValue('gold', true), nowhere: flags.getStringValue('nowhere', 'default'), secret: flags.getBooleanDetails('secret.on', false)
        }
        setTimeout(() => { window.polled = true }, 300)
        </script>`
    })
  })
  edge.reset()
  const tab = await (await (await startBrowser(t)).newContext()).newPage()
  const statuses: number[] = []
  tab.on('response', (response) => { if (response.url().endsWith(BULK)) statuses.push(response.status()) })
  tab.on('pageerror', (error) => t.fail(error.message))
  await tab.goto(url)
  t.ok(await until(async () => Boolean(await tab.evaluate('window.polled'))))
  t.match(await tab.evaluate('window.flags'), {
    express: { value: true, variant: '0', reason: 'TARGETING_MATCH' },
    limit: 10,
    banner: '<b>Sale</b>',
    object: { express: true, limit: 10 },
    gold: false,
    nowhere: 'default',
    secret: { value: false, errorCode: 'FLAG_NOT_FOUND' }
  })
  t.equal(statuses[0], 200)
  t.ok(await until(() => statuses.includes(304)), `polls with the ETag: ${statuses}`)
  t.equal(new Set(edge.requests.map(({ body }) => body.id.tntId.split('.')[0])).size, 1, 'the visitor of the page')
})
