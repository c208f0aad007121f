/** Recipes: every block of the pages below runs against a local edge that works, and against one that fails. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { TargetEdge } from '../../lib/edge/index.ts'
import { TARGET_COOKIE } from '../../lib/index.ts'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { client, startEdge } from '../support/helper.ts'
import { bin, environment, startProject } from '../support/project.ts'
import { blocksOf, complete, documents, type Block } from './documents.ts'
import '../support/no-unhandled-rejections.ts'

const project = await startProject(t)
const blocks = ['recipes', 'at-js', 'privacy', 'typescript', 'fastify', 'conversions', 'production'].flatMap((name) => blocksOf(`docs/${name}.md`))
const isCode = ({ language }: Block) => language === 'ts' || language === 'js'

/** A forward proxy that opens tunnels, and counts them. */
async function startProxy (t: Test): Promise<{ url: string, tunnels: () => number }> {
  let tunnels = 0
  const proxy = createServer()
  proxy.on('connect', (request, socket) => {
    tunnels++
    const { hostname, port } = new URL(`http://${request.url}`)
    const upstream = connect(Number(port), hostname, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      upstream.pipe(socket).pipe(upstream)
    })
    for (const side of [upstream, socket]) side.on('error', () => {})
  })
  t.teardown(() => { proxy.close() })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, tunnels: () => tunnels }
}

async function freePort (): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

interface Recipe { app: FastifyInstance, edge: TargetEdge }

const HERO = /class="hero hero--[ab]"/
const visitor = { [TARGET_COOKIE]: 'session#s-1#9999999999|PC#p-1.35_0#9999999999' }

async function ordered (t: Test, app: FastifyInstance, edge: TargetEdge, url: string, order: object): Promise<void> {
  t.equal((await app.inject({ method: 'POST', url })).statusCode, 200)
  await app.target.flush()
  t.match(edge.orders('orderConfirm'), [order])
}

/** What each recipe promises, seen from what a visitor gets and what the edge received. By heading. */
const PROMISES: Record<string, (t: Test, recipe: Recipe, tunnels?: () => number) => unknown> = {
  'Feature flags': async (t, { app, edge }) => {
    edge.offer('checkout-flags', { express: true })
    t.same((await app.inject('/checkout')).json(), { express: true })
    edge.offer('checkout-flags', { express: 'perhaps' })
    t.same((await app.inject('/checkout')).json(), { express: false })
  },
  'A hero in a template': async (t, { app }) => {
    const { body, headers } = await app.inject('/home')
    t.match(body, /<title>Winter<\/title>/)
    t.match(body, HERO)
    t.equal(headers['cache-control'], 'private')
  },
  'Personalised pages are private': async (t, { app }) => {
    app.get('/personal', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero', ''))
    app.get('/plain', async () => 'for all')
    t.equal((await app.inject('/personal')).headers['cache-control'], 'private, no-cache')
    t.notOk((await app.inject('/plain')).headers['cache-control'])
  },
  'Page load and views, decided on the server': async (t, { app, edge }) => {
    const { body } = await app.inject('/spa')
    t.match(body, /VisitorAPI\.js"><\/script>\n<script>[^]*serverState[^]*<\/script>\n<script src="\/at\.js">/)
    t.match(body, HERO)
    t.match(edge.requests[0]?.body, { execute: { pageLoad: {} }, prefetch: { views: [{}] } })
  },
  'Content-Security-Policy': async (t, { app }) => {
    const { body, headers } = await app.inject('/strict')
    const nonce = /script-src 'nonce-([^']+)'/.exec(String(headers['content-security-policy']))![1]!
    t.equal(body.match(/<script/g)?.length, 4)
    t.equal(body.split(`<script nonce="${nonce}"`).length, 5, 'each script has the nonce')
    t.match(body, 'serverState')
  },
  Consent: async (t, { app, edge }) => {
    const without = await app.inject('/consent')
    t.equal(without.body, '<!doctype html>\n<h1>Welcome</h1>')
    t.notOk(without.headers['set-cookie'])
    t.equal(edge.requests.length, 0)
    const { body } = await app.inject({ url: '/consent', cookies: { consent: 'yes' } })
    t.match(body, /serverState[^]*src="\/at\.js"/)
    t.match(body, HERO)
  },
  'What the server sends': async (t, { app, edge }) => {
    await app.inject({ url: '/?email=ann@shop.example', headers: { host: 'shop.example', referer: 'http://shop.example/?q=secret', 'user-agent': 'Mozilla/5.0', 'sec-ch-ua-mobile': '?0' } })
    t.strictSame(edge.requests[0]?.body.context, { channel: 'web', address: { url: 'http://shop.example/' } }, 'and nothing else')
  },
  'Content typed by mbox': async (t, { app, edge }) => {
    edge.offer('flags', { express: true })
    // Two blocks: declared for all routes, and with a schema of Zod.
    if (app.hasRoute({ method: 'GET', url: '/checkout' })) return t.same((await app.inject('/checkout')).json(), { flags: { express: true }, limits: { items: 9 } })
    t.match((await app.inject('/')).json(), { hero: HERO, express: true })
  },
  'A second decorator': async (t, { app }) => {
    t.match((await app.inject('/')).body, /banner/)
  },
  'Errors by code': async (t, { app, edge }) => {
    t.match((await app.inject('/')).json(), [{ name: 'hero' }])
    edge.fault('status:500')
    t.same((await app.inject('/')).json(), [])
  },
  'Where to register it': async (t, { app }) => {
    t.match((await app.inject('/shop')).body, HERO)
  },
  'Pages cached per variant': async (t, { app, edge }) => {
    const visit = async (experience: string, query = '') => {
      const { body, cookies } = await app.inject({ url: `/${query}`, headers: { cookie: edge.visitorFor({ activity: 410001, experience }).cookie } })
      return { body, cookie: cookies.find(({ name }) => name === TARGET_COOKIE)?.value }
    }
    const [layers, night, again, gold] = [await visit('Layers'), await visit('Night'), await visit('Layers'), await visit('Layers', '?member=gold')]
    t.match(layers.body, HERO)
    t.not(night.body, layers.body)
    t.equal(again.body, layers.body)
    t.match(gold.body, /hero--a|banner--gold/)
    t.not(night.cookie, layers.cookie)
    await app.target.flush()
    t.same([edge.displays('hero'), edge.displays('banner')], [4, 4])
  },
  'Who the visitor is': async (t, { app, edge }) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero', ''))
    await app.ready()
    await app.inject({ url: '/', cookies: { user: app.signCookie('ann') } })
    await app.inject({ url: '/', cookies: { user: 'ann.forged' } })
    t.same(edge.requests.map(({ body }) => body.id?.thirdPartyId), ['ann', undefined])
    t.match(edge.requests[1]?.body.id, { tntId: String }, 'an id made here')
  },
  'Consent, and pages fetched ahead': async (t, { app, edge }) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => (await request.target.offer('hero', '')).reason)
    const reason = async (headers: object, consent = 'yes') => (await app.inject({ url: '/', headers: { cookie: `consent=${consent}`, ...headers } })).body
    t.equal(await reason({}), 'matched')
    t.equal(await reason({}, 'no'), 'opted-out')
    t.equal(await reason({ 'sec-gpc': '1' }), 'opted-out')
    t.equal(await reason({ 'sec-purpose': 'prefetch;prerender' }), 'opted-out')
    t.equal(edge.requests.length, 1)
  },
  'Behind a proxy or CDN': async (t, { app, edge }, tunnels) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => await request.target.content('hero', ''))
    const { body } = await app.inject({ url: '/', remoteAddress: '10.1.2.3', headers: { 'x-forwarded-for': '203.0.113.7' } })
    t.match(body, HERO)
    t.equal(tunnels!(), 1)
    t.equal(edge.requests[0]?.body.context.geo.ipAddress, '203.0.113.7')
  },
  'Several properties': async (t, { app, edge }) => {
    t.match((await app.inject('/')).json(), { hero: HERO, teaser: /banner/ })
    t.same(edge.requests.map(({ body }) => body.property.token).sort(), ['8c4630b1-16db-e2fc-3391-8b3d81436cfb', 'a4d8ff78-7c50-4d3a-8d5b-1d1f5e0c9f1b'])
    t.equal(new Set(edge.requests.map(({ body }) => body.id.tntId)).size, 1, 'one visitor')
  },
  'Clicks and displays from the page': async (t, { app, edge }) => {
    const script = blocks.find(({ file }) => file === 'public/clicks.js')!.code
    app.get('/clicks.js', async (_request, reply) => reply.type('text/javascript').send(script))
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    if (withoutBrowser !== false) {
      t.match((await app.inject('/')).body, /data-token="[^"]+"/)
      return t.comment(withoutBrowser)
    }
    const page = await (await startBrowser(t)).newPage()
    await page.goto(url)
    await page.click('#hero button')
    await edge.until(() => edge.clicks('hero') === 1)
    t.equal(edge.clicks('hero'), 1)
  },
  'A conversion': (t, { app, edge }) => ordered(t, app, edge, '/checkout/done', { id: 'A-1001', total: 129.9 }),
  'An order': (t, { app, edge }) => ordered(t, app, edge, '/orders', { id: 'A-1001', total: 129.9, purchasedProductIds: ['parka', 'beanie'] }),
  'Other conversions': async (t, { app, edge }) => {
    await app.inject({ method: 'POST', url: '/signup' })
    await app.target.flush()
    t.match(edge.notifications, [{ type: 'display', mbox: { name: 'signup' }, parameters: { plan: 'pro' } }])
  },
  'A webhook or a job': async (t, { app, edge }) => {
    await app.inject({ method: 'POST', url: '/checkout', cookies: visitor })
    await ordered(t, app, edge, '/paid', { id: 'A-1002', total: 59 })
    t.match(edge.requests.at(-1)?.body.id, { tntId: 'p-1.35_0' })
  },
  'Attributes of the profile': async (t, { app, edge }) => {
    await app.inject({ method: 'POST', url: '/preferences' })
    await app.target.flush()
    t.match(edge.notifications, [{ mbox: { name: 'profile-update' }, profileParameters: { favourite: 'outdoor', newsletter: 'true' } }])
  },
  'Lambda and Cloud Run': async (t, { app, edge }) => {
    app.get('/', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async (request) => { request.target.displayed('hero'); return await request.target.html('hero') })
    t.match((await app.inject('/')).body, HERO)
    t.equal(edge.displays('hero'), 1, 'delivered when the response is there')
  },
  'Redirect offers': async (t, { app, edge }) => {
    const to = async (content: string) => {
      edge.offer('landing', content, { type: 'redirect' })
      return (await app.inject({ url: '/landing', headers: { host: 'www.shop.example' } })).headers.location
    }
    t.equal(await to('/sale'), '/sale')
    t.equal(await to('https://shop.example/sale'), 'https://shop.example/sale')
    t.equal(await to('https://evil.example/'), undefined)
  },
  'Redirects and Analytics': async (t, { app, edge }) => {
    edge.offer('campaign', '/sale?a=1', { type: 'redirect' })
    const { headers } = await app.inject({ url: '/campaign', headers: { host: 'www.shop.example', referer: 'https://search.example/?q=parka' } })
    const { pathname, searchParams } = new URL(headers.location!)
    t.equal(pathname, '/sale')
    const { supplementalDataId } = edge.requests[0]!.body.experienceCloud.analytics
    t.match(searchParams.get('adobe_mc_sdid'), new RegExp(`^SDID=${supplementalDataId}\\|MCORGID=1234567890@AdobeOrg\\|TS=\\d{10}$`))
    t.equal(searchParams.get('adobe_mc_ref'), 'https://search.example/?q=parka')
    t.equal(searchParams.get('a'), '1')
  },
  'QA links': async (t, { app, edge }) => {
    for (const [experienceIndex, hero] of [[1, 'hero--a'], [2, 'hero--b']] as const) {
      const { pathname, search } = new URL(edge.qaLink('http://127.0.0.1/', { activities: [410001], previewIndexes: [{ activityIndex: 1, experienceIndex }] }))
      const { body, headers } = await app.inject(pathname + search)
      t.match(body, `<p>Activity QA</p><section class="hero ${hero}">`)
      t.equal(headers['cache-control'], 'private, no-store')
    }
    t.notMatch((await app.inject('/')).body, /Activity QA/)
  },
  'A health route': async (t, { app }) => {
    t.match((await app.inject('/health')).json(), { status: 'ok', breaker: {}, outbox: { pending: 0 }, pool: {} })
  },
  'Sizing the pool': async (t, { app, edge }) => {
    app.get('/', { config: { target: ['hero'] } }, async (request) => (await request.target.offer('hero', '')).reason)
    edge.fault('hang', { times: 1 })
    t.equal((await app.inject('/')).body, 'max-wait')
  },
  'Deciding on-device': async (t, { app, edge }) => {
    t.match((await app.inject('/')).json(), { content: HERO, source: 'edge' }, 'nothing waits for the artifact')
    await app.target.ready({ timeout: 5000 })
    edge.reset()
    t.match((await app.inject({ url: '/', cookies: visitor })).json(), { content: HERO, source: 'on-device' })
    t.equal(edge.requests.some(({ body }) => body.execute !== undefined), false, 'no delivery was asked for')
  }
}

/** The routes that a block adds. */
const routesOf = (code: string) => [...code.matchAll(/\b(?:app|shop)\.(get|post)(?:<[^(]*>)?\(\s*'([^']+)'/g)].map(([, method, url]) => ({ method: method as 'get' | 'post', url: url! }))

/** Requests the routes of a block while Target fails. */
async function keepsItsPages (t: Test, app: FastifyInstance, edge: TargetEdge, { code }: Block): Promise<void> {
  const prefix = /prefix: '([^']+)'/.exec(code)?.[1] ?? ''
  for (const fault of ['status:503', 'reset', 'bad-json'] as const) {
    edge.reset()
    edge.fault(fault)
    edge.fault('status:500', { route: 'artifact' })
    for (const { method, url } of routesOf(code)) {
      const { statusCode } = await app.inject({ method, url: prefix + url, ...(method === 'post' && { payload: {} }) })
      t.ok(statusCode < 300, `${fault}: ${method} ${prefix}${url}: ${statusCode}`)
    }
  }
  // close() waits for what is queued.
  edge.reset()
}

t.test('the recipes run, and keep their pages when Target fails', async (t) => {
  const recipes = blocks.filter((block) => isCode(block) && block.file === undefined)
  t.same([...new Set(recipes.map(({ heading }) => heading))].sort(), Object.keys(PROMISES).sort(), 'each has its promises')
  const view = blocks.find(({ file }) => file === 'views/home.eta')!
  process.chdir(dirname(dirname(project.write('recipes', view.file!, view.code))))
  for (const [number, block] of recipes.entries()) {
    await t.test(block.heading, async (t) => {
      const edge = await startEdge(t)
      const proxy = block.code.includes('proxy.internal') ? await startProxy(t) : undefined
      const options = { serverDomain: edge.host, secure: false, artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json` }
      const code = complete(block, options).replace('http://proxy.internal:3128', proxy?.url ?? '')
      const file = project.write(`recipes/${number}`, `recipe.${block.language}`, code)
      const start = async (query = '') => {
        const { app } = await import(pathToFileURL(file).href + query) as { app: FastifyInstance }
        t.teardown(() => app.close())
        return app
      }
      await PROMISES[block.heading]!(t, { app: await start(), edge }, proxy?.tunnels)
      await keepsItsPages(t, await start('?failing'), edge, block)
    })
  }
})

t.test('all other routes of the docs keep their pages when Target fails', async (t) => {
  // docs/migration.md is run by its own test.
  const others = documents.filter((name) => name !== 'docs/migration.md').flatMap(blocksOf)
    .filter((block) => isCode(block) && /\.(?:get|post)\([^\n]*config:/.test(block.code) && !(blocks.some(({ place }) => place === block.place) && block.file === undefined))
    // Run below, with the command line of Fastify; and tests, which have an edge of their own.
    .filter(({ file }) => file !== 'routes/root.js' && file?.startsWith('test/') !== true)
  t.ok(others.length >= 7, `${others.length} blocks`)
  for (const [number, block] of others.entries()) {
    await t.test(block.place, async (t) => {
      const edge = await startEdge(t)
      const options = { serverDomain: edge.host, secure: false, request: ['hero'] }
      // A listing of a test is about the edge; the route in it is what can be copied.
      const route = block.code.includes('edge.offer(') ? /^app\.(?:get|post)\([\s\S]*?\)(?=\n\n|\n$)/m.exec(block.code)![0] : block.code
      const code = complete({ ...block, code: route }, options)
        .replace(/^await app\.listen.*$/m, 'export { app }')
        .replace(/^for \(const signal of.*$/m, '')
        .replace(/organizationId: (process\.env\.\w+ \?\? )?'1234567890@AdobeOrg',/, `organizationId: '1234567890@AdobeOrg', serverDomain: '${edge.host}', secure: false,`)
        .replace(/^(?:const edge = createEdge.*|await edge\.listen.*)$/gm, '')
        .replace('serverDomain: edge.host, secure: false, serverTiming: true', 'serverTiming: true')
      const module = await import(pathToFileURL(project.write(`others/${number}`, `block.${block.language}`, code)).href)
      const app: FastifyInstance = module.app ?? await module.buildApp(options)
      t.teardown(() => app.close())
      t.not(routesOf(route).length, 0)
      await keepsItsPages(t, app, edge, block.code === route ? block : { ...block, code: route })
    })
  }
})

t.test('the files of docs/fastify.md make an app, with @fastify/autoload and with fastify-cli', async (t) => {
  const edge = await startEdge(t)
  const files = blocks.filter(({ place, file }) => place.startsWith('docs/fastify.md') && file !== undefined)
  t.same(files.map(({ file }) => file), ['plugins/target.js', 'routes/root.js', 'app.js'])
  for (const { file, code } of files) project.write('fastify', file!, code.replace('...options.target', `serverDomain: '${edge.host}', secure: false, ...options.target`))

  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(import(pathToFileURL(join(project.folder, 'fastify/app.js')).href), { target: { timeout: 1000 } })
  t.match((await app.inject('/')).json(), { hero: HERO })
  edge.fault('status:503', { times: 1 })
  t.match((await app.inject('/')).json(), { hero: 'Welcome' })

  const port = await freePort()
  const [, command] = /^npx (fastify start .*) --port 3000 (app\.js)$/m.exec(blocks.find(({ language, heading }) => language === 'sh' && heading === 'fastify-cli')!.code)!
  const child = spawn(process.execPath, [bin('fastify-cli', 'cli.js'), ...command!.split(' ').slice(1), '--port', String(port), '--address', '127.0.0.1', '--close-grace-delay', '6000', '--plugin-timeout', '60000', 'app.js'], { cwd: join(project.folder, 'fastify'), env: environment() })
  t.teardown(() => child.kill('SIGKILL'))
  let log = ''
  await new Promise<void>((resolve) => {
    child.on('exit', () => resolve())
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        log += chunk
        if (log.includes('Server listening')) resolve()
      })
    }
  })
  if (!log.includes('Server listening')) throw new Error(`it ended: ${log}`)
  t.match(await (await fetch(`http://127.0.0.1:${port}/`)).json(), { hero: HERO })
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  t.same(await exit, [0, null])
})
