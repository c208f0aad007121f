/** Fastify's own ways: options of `register`, scopes, autoload, documentation, decorators by name. */
import autoload from '@fastify/autoload'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import fastifyAdobeTarget, { type FastifyAdobeTargetOptions, type RequestTarget, type TargetClient } from '../../lib/index.ts'
import { optionsFor, startEdge } from '../support/helper.ts'
import { root } from '../support/project.ts'
import '../support/no-unhandled-rejections.ts'

const HERO = /class="hero/
const edge = await startEdge(t)

/** An app that is not registered on anything yet, and what it logs. */
function createApp (t: { teardown (fn: () => unknown): void }) {
  const logged: { level: number, msg: string, plugin?: string }[] = []
  const app = Fastify({ logger: { level: 'info', stream: { write: (line: string) => { logged.push(JSON.parse(line)) } } } }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  return { app, logged, warnings: () => logged.filter(({ level }) => level === 40).map(({ msg }) => msg) }
}

t.test('`prefix`, `logLevel` and `logSerializers` of register are Fastify\'s, for the plugin\'s own routes and lines', async (t) => {
  const { app, logged } = createApp(t)
  await app.register(fastifyAdobeTarget, {
    ...optionsFor(edge.host, { notificationsRoute: true, parameters () { throw new Error('no') } }), prefix: '/api', logLevel: 'fatal', logSerializers: { err: () => 'shortened' }
  })
  app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  t.match((await app.inject('/')).body, HERO, 'the app\'s own routes have no prefix')
  const post = async (url: string) => (await app.inject({ method: 'POST', url, headers: { 'sec-fetch-site': 'same-origin' }, payload: { notifications: [{ type: 'click', mbox: { name: 'hero' }, tokens: ['a'] }] } })).statusCode
  t.equal(await post('/api/target/notifications'), 204)
  t.equal(await post('/target/notifications'), 404)
  t.same(logged.filter(({ plugin, msg }) => plugin !== undefined || msg.includes('parameters')), [], 'an error of the plugin is below its level')
  t.ok(logged.some(({ msg }) => msg === 'incoming request'))

  const other = createApp(t)
  await other.app.register(fastifyAdobeTarget, { ...optionsFor(edge.host, { parameters () { throw new Error('no') } }), logSerializers: { err: () => 'shortened' } })
  other.app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  await other.app.inject('/')
  t.match(other.logged.filter(({ level }) => level === 50), [{ err: 'shortened' }])

  const wrong = createApp(t)
  await t.rejects(async () => await wrong.app.register(fastifyAdobeTarget, { ...optionsFor(edge.host), perfix: '/api' } as FastifyAdobeTargetOptions), { message: /unknown option `perfix`/ })
})

t.test('outside the plugin\'s scope there are fallbacks, and one warning that says what to write', async (t) => {
  const { app, warnings } = createApp(t)
  app.register(async (child) => {
    await child.register(fastifyAdobeTarget, optionsFor(edge.host))
    child.get('/inside', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  })
  app.get('/outside', { config: { target: ['hero'] } }, async (request) => {
    request.target.displayed('hero')
    return { reason: (await request.target.offer('hero')).reason, hero: await request.target.content('hero', 'fallback'), attributes: await request.target.attributes('flags', { a: 1 }) }
  })
  app.register(async (child) => {
    await child.register(fastifyAdobeTarget, optionsFor(edge.host, { propertyToken: 'sibling' }))
    child.get('/sibling', { config: { target: ['hero'] } }, async (request) => (await request.target.result()).request.property)
  })
  app.register(async (child) => {
    child.decorateRequest('target', null as unknown as RequestTarget)
    child.addHook('onRequest', async (request) => { request.target = 'its own' as unknown as RequestTarget })
    child.get('/own', async (request) => ({ target: request.target }))
  })
  await app.ready()
  t.match((await app.inject('/inside')).body, HERO)
  t.same((await app.inject('/sibling')).json(), { token: 'sibling' })
  t.same((await app.inject('/own')).json(), { target: 'its own' }, 'a decorator of another scope is left alone')
  t.same(warnings(), [])
  edge.reset()
  for (let visit = 0; visit < 3; visit++) t.same((await app.inject('/outside')).json(), { reason: 'not-requested', hero: 'fallback', attributes: { a: 1 } })
  t.equal(edge.requests.length, 0, 'nothing is called')
  t.match(warnings(), [/^fastify-adobe-target: request\.target was used in GET \/outside, outside the scope .* fastify-plugin/])
  t.notOk(app.hasDecorator('target'))
})

t.test('with @fastify/autoload, the plugin may be a file by itself', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'autoload-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const options = JSON.stringify(optionsFor(edge.host, { notificationsRoute: true }))
  writeFileSync(join(folder, 'target.mjs'), `export { default } from '${pathToFileURL(join(root, 'lib/index.ts'))}'\nexport const autoConfig = ${options}\nexport const autoPrefix = '/auto'\n`)
  const { app } = createApp(t)
  await app.register(autoload, { dir: folder, forceESM: true })
  app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero'))
  t.match((await app.inject('/')).body, HERO)
  t.ok(app.hasRoute({ method: 'POST', url: '/auto/target/notifications' }))
})

t.test('@fastify/swagger hides notificationsRoute by default', async (t) => {
  const documented = async (notificationsRoute: FastifyAdobeTargetOptions['notificationsRoute']) => {
    const { app } = createApp(t)
    await app.register(swagger, { openapi: {} })
    await app.register(fastifyAdobeTarget, optionsFor(edge.host, { notificationsRoute }))
    await app.ready()
    return { app, paths: app.swagger().paths! as Record<string, any> }
  }
  t.same((await documented(true)).paths, {})
  const { app, paths } = await documented({ path: '/clicks', schema: { hide: false, tags: ['target'] } })
  const { post } = paths['/clicks']
  t.match(post, { summary: /Clicks/, tags: ['target'], responses: { 204: {}, 400: {}, 403: {} } })
  const schema = post.requestBody.content['application/json'].schema
  t.match(schema.properties.notifications.items.anyOf[0].properties.tokens, { type: 'array', maxItems: 50 })
  t.notMatch(JSON.stringify(schema), /expected/)
  const answer = await app.inject({ method: 'POST', url: '/clicks', headers: { 'sec-fetch-site': 'same-origin' }, payload: { notifications: [] } })
  t.match(answer.json(), { statusCode: 400, code: 'FST_TARGET_INVALID_NOTIFICATIONS' }, 'it checks its body itself')
})

t.test('a decorator by another name is there by getDecorator()', async (t) => {
  const { app } = createApp(t)
  await app.register(fastifyAdobeTarget, optionsFor(edge.host, { decorator: 'blog' }))
  app.get('/', { config: { blog: ['hero'] } as object }, async (request: FastifyRequest) => await request.getDecorator<RequestTarget>('blog').content('hero'))
  t.match((await app.inject('/')).body, HERO)
  t.equal(app.getDecorator<TargetClient>('blog').health().status, 'ok')
})
