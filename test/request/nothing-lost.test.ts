/** Nothing of the app's is lost: its cookies, pages that bypass Fastify, error handlers, wrong arguments; misuse is said once. */
import Fastify from 'fastify'
import t from 'tap'
import fastifyAdobeTarget from '../../lib/index.ts'
import { isSharedCacheable } from '../../lib/request/shared-cache.ts'
import { json, optionsFor, startApp, startEdge } from '../support/helper.ts'

const names = (response: Response) => response.headers.getSetCookie().map((cookie) => cookie.split('=', 1)[0]).sort()

t.test('cookies that others put on the raw response survive beside Target\'s', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request, reply) => {
      reply.raw.setHeader('set-cookie', ['sid=1; Path=/', 'csrf=2; Path=/'])
      return await request.target.content('hero', '')
    })
    app.get('/both', { config: { target: ['hero'] } }, async (request, reply) => {
      reply.raw.setHeader('set-cookie', 'sid=1; Path=/')
      reply.header('set-cookie', 'theme=dark')
      return await request.target.content('hero', '')
    })
    app.get('/early', { config: { target: ['hero'] } }, async (request, reply) => {
      const hero = await request.target.content('hero', '')
      request.target.writeCookies()
      reply.header('set-cookie', 'theme=dark')
      return hero
    })
  })
  t.same(names(await fetch(url)), ['csrf', 'mbox', 'mboxEdgeCluster', 'sid'])
  const both = await fetch(`${url}/both`)
  t.same(names(both), ['mbox', 'mboxEdgeCluster', 'sid', 'theme'])
  const cookie = both.headers.getSetCookie().map((line) => line.split(';', 1)[0]).join('; ')
  t.same(names(await fetch(`${url}/both`, { headers: { cookie } })), ['sid', 'theme'], 'nothing new of Target\'s, all of the others')
  t.same(names(await fetch(`${url}/early`)), ['mbox', 'mboxEdgeCluster', 'theme'])
})

t.test('a page that writes the raw response gets its cookies by writeCookies()', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/hijack', { config: { target: ['hero'] } }, async (request, reply) => {
      const hero = await request.target.content('hero', '')
      reply.hijack()
      request.target.writeCookies()
      reply.raw.writeHead(200, { 'content-type': 'text/html' })
      reply.raw.end(hero)
    })
  })
  for (let i = 0; i < 2; i++) t.same(names(await fetch(`${url}/hijack`)), ['mbox', 'mboxEdgeCluster'])
})

t.test('request.target works in error handlers and hooks, whatever refused the request before', async (t) => {
  const edge = await startEdge(t)
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async (request) => { if (request.url === '/refused') throw Object.assign(new Error('no'), { statusCode: 401 }) })
  await app.register(fastifyAdobeTarget, optionsFor(edge.host))
  app.setErrorHandler(async (_error, request, reply) => reply.code(401).send({ hero: await request.target.content('hero', 'fallback') }))
  app.get('/refused', { config: { target: ['hero'] } }, async () => '')
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const response = await fetch(`${url}/refused`)
  t.equal(response.status, 401)
  t.match((await json(response)).hero, /class="hero/)
})

t.test('a wrong argument throws nowhere that is said not to throw', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => {
      await request.target.content('hero', '')
      for (const wrong of [undefined, null, 5, [], {}, Symbol('x'), { view: 5 }]) {
        request.target.displayed(wrong as never)
        request.target.clicked(wrong as never)
        request.target.notify(wrong as never)
      }
      for (const wrong of [null, 5, 'x']) request.target.script(wrong as never)
      return 'well'
    })
  })
  const response = await fetch(url)
  t.equal(response.status, 200)
  t.equal(await response.text(), 'well')
  t.ok(logged.some(({ msg }) => /displayed\(\) takes an mbox name/.test(msg)), 'said once, with what to write')
})

t.test('html() is a string of an html offer or the fallback; enabled is the result of the option', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { enabled: (request) => request.headers['x-consent'] === '1' }, (app) => {
    app.get('/', { config: { target: ['hero', 'checkout-flags'] } }, async (request) => ({
      hero: await request.target.html('hero', 'fallback'),
      flags: await request.target.html('checkout-flags', 'fallback'),
      none: await request.target.html('nowhere'),
      enabled: request.target.enabled
    }))
  })
  const page = await json(await fetch(url, { headers: { 'x-consent': '1' } }))
  t.match(page, { hero: /class="hero/, flags: 'fallback', none: '', enabled: true })
  t.match(await json(await fetch(url)), { hero: 'fallback', enabled: false })
})

t.test('an mbox that the route does not declare is said once, with the mbox and the route', async (t) => {
  const edge = await startEdge(t)
  const { url, logged } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('banner', ''))
  })
  await fetch(url)
  await fetch(url)
  const lines = logged.filter(({ msg }) => /banner.*GET \//.test(msg))
  t.equal(lines.length, 1, JSON.stringify(logged))
})

t.test('what a shared cache may keep is decided by RFC 9111 and the headers of CDNs', async (t) => {
  const judge = (headers: Record<string, string>, method = 'GET', authorized = false) => isSharedCacheable(method, authorized, { status: 200, names: Object.keys(headers), get: (name) => headers[name] })
  const kept: Record<string, string>[] = [
    { 'cache-control': 'public' }, { 'cache-control': 'max-age=60' }, { 'cache-control': 's-maxage=60, max-age=0' },
    { 'cache-control': 'no-store', 'cdn-cache-control': 'max-age=60' }, { 'cache-control': 'private', 'surrogate-control': 'max-age=60' },
    { 'cache-control': 'private', 'x-accel-expires': '60' }, { expires: new Date(Date.now() + 60_000).toUTCString() },
    { 'cache-control': 'max-age=0, stale-while-revalidate=60' }, { 'cache-control': 'private="x-user", max-age=60' }
  ]
  const notKept: Record<string, string>[] = [
    {}, { 'cache-control': 'private, max-age=60' }, { 'cache-control': 'no-store' }, { 'cache-control': 'no-cache, max-age=60' },
    { 'cache-control': 'max-age=0' }, { 'cache-control': 's-maxage=0, max-age=60' }, { 'cache-control': 'max-age=60', vary: 'Cookie, *' },
    { 'cache-control': 'private', 'cdn-cache-control': 'no-store' }, { 'cache-control': 'private', 'x-accel-expires': '0' },
    { expires: 'Thu, 01 Jan 1970 00:00:00 GMT' }
  ]
  for (const headers of kept) t.ok(judge(headers), JSON.stringify(headers))
  for (const headers of notKept) t.notOk(judge(headers), JSON.stringify(headers))
  t.notOk(judge({ 'cache-control': 'public' }, 'POST'))
  t.notOk(judge({ 'cache-control': 'max-age=60' }, 'GET', true), 'authorized, RFC 9111 section 3.5')
})
