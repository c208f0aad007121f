/** README and docs: what they show compiles and runs, what they list is there, where they lead is somewhere. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { Agent, createServer, get, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { TargetEdge } from '../../lib/edge/index.ts'
import { errors, TARGET_COOKIE } from '../../lib/index.ts'
import { PluginOptionsSchema, resolvePluginOptions } from '../../lib/options.ts'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { anchorsOf, blocksOf, compile, complete, documents, parseProblems, readDocument, type Block } from './documents.ts'
import { client, organizationId, startEdge } from '../support/helper.ts'
import { environment, root, startProject } from '../support/project.ts'
import '../support/no-unhandled-rejections.ts'

const project = await startProject(t)
const blocks = documents.flatMap(blocksOf)
const isCode = ({ language }: Block) => language === 'ts' || language === 'js'
/** JavaScript that is not a reader's to have: what migration leaves behind, and what edge/testing-kit.test.ts runs in its own way. */
const isParsedOnly = ({ place, language }: Block) => language === 'js' && /^docs\/(migration|testing)\.md/.test(place)

t.test('every block of code compiles', async (t) => {
  const compiled = compile(project, blocks.filter((block) => isCode(block) && !isParsedOnly(block)))
  t.ok(compiled.size >= 40, `${compiled.size} blocks`)
  for (const [place, problems] of compiled) t.same(problems, [], place)
  for (const block of blocks.filter(isParsedOnly)) t.same(parseProblems(block), [], block.place)
})

t.test('a mistake in a block is found', async (t) => {
  const broken = (code: string, language = 'js') => compile(project, [{ place: 'a:1', heading: '', language, code, file: undefined, inPage: false }]).get('a:1')
  t.match(broken('await app.register(fastifyAdobeTarget, { ...account, tiemout: 1 })'), [/tiemout/])
  t.match(broken('app.get(\'/\', async (request) => request.target.contents(\'hero\'))'), [/contents/])
  t.match(broken('app.target.close('), [/expected/])
  t.match(broken('const twice = (a) => a', 'ts'), [/implicitly/])
})

t.test('every other block is of a kind that is checked here', async (t) => {
  for (const { language, place } of blocks) t.match(language, /^(ts|js|sh|html|text)$/, place)
})

t.test('every link has a target', async (t) => {
  for (const document of [...documents, 'CHANGELOG.md']) {
    const text = readDocument(document).replaceAll(/^```[\s\S]*?^```$|`[^`\n]*`/gm, '')
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue
      const [path, anchor] = target!.split('#') as [string, string?]
      const file = path === '' ? document : join(dirname(document), path)
      t.ok(existsSync(join(root, file)), `${document}: ${target}`)
      if (anchor !== undefined) t.ok(anchorsOf(file).has(anchor), `${document}: ${target}`)
    }
  }
})

t.test('every command exists', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const benchmarks = ['plans', 'index'].map((name) => readFileSync(join(root, 'test/bench', `${name}.js`), 'utf8')).join('\n')
  for (const document of documents) {
    const text = readDocument(document)
    for (const [command, script] of text.matchAll(/\bnpm (?:run )?(start|test|(?<=run )[\w:]+)\b/g)) t.ok(script! in scripts, `${document}: ${command}`)
    for (const [command, files] of text.matchAll(/\b(?:npx tap|node)((?: test\/[\w./-]+)+)/g)) {
      for (const file of files!.trim().split(' ')) t.ok(existsSync(join(root, file)), `${document}: ${command}`)
    }
    for (const [command, words] of text.matchAll(/\bnpm run bench -- ([\w -]+)/g)) {
      for (const word of words!.split(' ')) t.match(benchmarks, new RegExp(`^ +'?${word}'?: |[{,] '?${word}'?[,:]|words\\.includes\\('${word}'\\)`, 'm'), `${document}: ${command}`)
    }
  }
  const section = /^## Promises\n([\s\S]*?)^## /m.exec(readDocument('README.md'))![1]!
  const promises = [...section.matchAll(/^\| (?!promise|-)(.+) \| (.+) \|$/gm)]
  t.ok(promises.length >= 10)
  for (const [, promise, command] of promises) t.match(command, /^`(npm run [\w:]+|npx tap test\/)/, promise!)
  t.same(readDocument('README.md').match(/^npm ci && npm (start|test)$/gm), ['npm ci && npm start', 'npm ci && npm test'], 'the two commands')
})

/** The cells of a table below a heading of the reference. */
function rowsBelow (heading: RegExp): string[][] {
  const section = readDocument('docs/reference.md').split(/^## /m).find((text) => heading.test(text.split('\n', 1)[0]!))!
  const lines = section.split('\n').filter((line) => line.startsWith('|'))
  return lines.map((line) => line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => cell.trim()))
}
const namesIn = (cell: string) => [...cell.matchAll(/`(\w+)[^`]*`/g)].map(([, name]) => name!)

t.test('the reference has every option, and its default', async (t) => {
  const rows = rowsBelow(/^Options/).slice(2)
  const options = rows.filter(([name]) => name!.startsWith('`'))
  t.same(options.flatMap(([names]) => namesIn(names!)).sort(), Object.keys(PluginOptionsSchema.properties).sort())
  const { client: clientSettings, ...settings } = resolvePluginOptions({ client, organizationId }, { debug () {}, error () {} })
  const defaults: Record<string, unknown> = { ...clientSettings, ...settings }
  let checked = 0
  for (const [cell, given] of options) {
    const [name, ...others] = namesIn(cell!)
    const literal = /^`([^`<]+)`$/.exec(given!)?.[1]
    if (others.length > 0 || literal === undefined || defaults[name!] === undefined) continue
    t.same(defaults[name!], runInNewContext(`(${literal})`), name!)
    checked++
  }
  t.ok(checked >= 12, `${checked} defaults`)
})

t.test('the reference has every reason and every error', async (t) => {
  const union = /export type OfferReason =([^]*?)\n\n/.exec(readFileSync(join(root, 'lib/offers/offer.ts'), 'utf8'))![1]!
  const reasons = rowsBelow(/^A handler reads/).filter(([name]) => /^`[a-z]+(-[a-z]+)*`$/.test(name!) && !/^`(timing|qaMode)`$/.test(name!)).map(([name]) => name!.slice(1, -1))
  t.same(reasons.sort(), [...union.matchAll(/'([\w-]+)'/g)].map(([, reason]) => reason).sort())
  const listed = rowsBelow(/^Errors/).slice(2).flatMap(([codes, , statuses]) => {
    const each = statuses!.split(', ')
    return namesIn(codes!).map((code, index) => [code, Number(each[index] ?? each[0])])
  })
  t.same(Object.fromEntries(listed), Object.fromEntries(Object.entries(errors).map(([code, Class]) => [code.replace('FST_TARGET_', ''), new Class('').statusCode])))
})

t.test('the reference has every member', async (t) => {
  const membersOf = (file: string, name: string) => {
    const text = readFileSync(join(project.folder, 'node_modules/fastify-adobe-target/dist', file), 'utf8')
    const body = new RegExp(`export declare class ${name} [^]*?\\n}`).exec(text)![0]
    return [...new Set([...body.matchAll(/^ {4}(?:get )?(\w+)(?=[(<:])/gm)].map(([, member]) => member!))].filter((member) => member !== 'constructor').sort()
  }
  const rows = rowsBelow(/^A handler reads/)
  const table = rows.slice(2, rows.findIndex(([name]) => name === 'reason'))
  t.same(table.flatMap(([names]) => namesIn(names!)).sort(), membersOf('request/target.d.ts', 'RequestTarget'))
  const section = /^## The client\n([\s\S]*?)^## /m.exec(readDocument('docs/reference.md'))![1]!
  for (const member of membersOf('client/client.d.ts', 'TargetClient')) t.match(section, new RegExp(`\`${member}\\(`), `TargetClient: ${member}`)
})

/** Writes the files that README shows, and returns their folder. */
function writeFiles (): string {
  const files = blocks.filter(({ place, file }) => place.startsWith('README.md') && file !== undefined)
  t.same(files.map(({ file }) => file), ['app.js', 'server.js', 'app.test.js', 'views/home.eta'])
  const paths = files.map(({ file, code }) => project.write('start', file!, code))
  return dirname(paths[0]!)
}

const answerTo = async (url: string, agent?: Agent) => {
  const [response] = await once(get(url, { agent }), 'response') as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += chunk
  return { headers: response.headers, body }
}

t.test('the start: a page, and an end', async (t) => {
  const folder = writeFiles()
  const server = spawn(process.execPath, ['server.js'], { cwd: folder, env: { ...environment(), PORT: '0' } })
  t.teardown(() => server.kill('SIGKILL'))
  let log = ''
  let url: string | undefined
  for await (const chunk of server.stdout) {
    log += chunk
    url = /Server listening at (http:\/\/[^"]+)/.exec(log)?.[1]
    if (url !== undefined) break
  }
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const pages = []
  for (let visit = 0; visit < 3; visit++) pages.push(await answerTo(url!, agent))
  const { headers, body } = pages.at(-1)!
  t.match(body, /^<!doctype html>\n<section class="hero hero--[ab]">/)
  t.match(body, /<li>Parka<\/li>/)
  t.match(headers['server-timing'], /^target;dur=[\d.]+;desc="edge", target-wait;dur=[\d.]+$/)
  t.match(headers['set-cookie']?.[0], /^mbox=session#.*; Path=\/; SameSite=Lax$/)
  t.equal(headers['cache-control'], 'private')
  t.equal(Object.values(agent.freeSockets).flat().length, 1, 'a connection is kept alive')
  const exit = once(server, 'exit')
  server.kill('SIGTERM')
  t.same(await exit, [0, null], 'it ends by itself')
})

t.test('the start: the reader\'s own test', async (t) => {
  const folder = writeFiles()
  const passing = await project.run(['--test', '--test-reporter=tap'], folder)
  t.equal(passing.code, 0, passing.output)
  t.match(passing.stdout, /# pass 2/)
  project.write('start', 'app.js', readFileSync(join(folder, 'app.js'), 'utf8').replace('target: [\'hero\']', 'target: false'))
  t.not((await project.run(['--test'], folder)).code, 0, 'and it can fail')
})

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

interface Recipe { app: FastifyInstance, edge: TargetEdge }

const HERO = /class="hero hero--[ab]"/
const visitor = { [TARGET_COOKIE]: 'session#s-1#9999999999|PC#p-1.35_0#9999999999' }

/** What each recipe promises: told from what a visitor gets and what the edge saw. Documents before what they run for. */
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
  'at.js on the page': async (t, { app, edge }) => {
    const { body } = await app.inject('/spa')
    t.match(body, /VisitorAPI\.js"><\/script>\n<script>[^]*serverState[^]*<\/script>\n<script src="\/at\.js">/)
    t.match(body, HERO)
    t.match(edge.requests[0]?.body, { execute: { pageLoad: {} }, prefetch: { views: [{}] } })
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
  'Redirect offers': async (t, { app, edge }) => {
    const to = async (content: string) => {
      edge.offer('landing', content, { type: 'redirect' })
      return (await app.inject({ url: '/landing', headers: { host: 'www.shop.example' } })).headers.location
    }
    t.equal(await to('/sale'), '/sale')
    t.equal(await to('https://shop.example/sale'), 'https://shop.example/sale')
    t.equal(await to('https://evil.example/'), undefined)
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

t.test('the recipes run', async (t) => {
  const recipes = blocks.filter((block) => isCode(block) && block.file === undefined && /^(README|docs\/recipes)\.md/.test(block.place))
  t.same([...new Set(recipes.map(({ heading }) => heading))].sort(), Object.keys(PROMISES).sort(), 'each has its promises')
  // Where the views are.
  process.chdir(writeFiles())
  for (const [number, block] of recipes.entries()) {
    await t.test(block.heading, async (t) => {
      const edge = await startEdge(t)
      const proxy = block.code.includes('proxy.internal') ? await startProxy(t) : undefined
      const options = { serverDomain: edge.host, secure: false, artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json` }
      const code = complete(block, options).replace('http://proxy.internal:3128', proxy?.url ?? '')
      const file = project.write(`recipes/${number}`, `recipe.${block.language}`, code)
      const { app } = await import(pathToFileURL(file).href) as Recipe
      t.teardown(() => app.close())
      await PROMISES[block.heading]!(t, { app, edge }, proxy?.tunnels)
    })
  }
})
