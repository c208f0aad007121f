/**
 * What goes over to at.js and VisitorAPI.js: the states, the script element, and the page in a real browser.
 *
 * Adobe's libraries are no packages, so by default the browser loads the example's stand-in, which reads what at.js reads,
 * and a `Visitor` of this file's. `AT_JS` and `VISITOR_API_JS` name files with the real ones, which must do the same.
 */
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { atJs } from '../../example/at-js.ts'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { client, json, optionsFor, organizationId, startApp, startEdge, startServer } from '../support/helper.ts'
import fastifyAdobeTarget, { type RequestTarget } from '../../lib/index.ts'
import '../support/no-unhandled-rejections.ts'
import { until } from '../support/wait.ts'

const forAtJs = { execute: { pageLoad: {} }, prefetch: { views: [{}] } }

/** What a handler sees of the hand-over at one moment. */
const handOver = (target: RequestTarget) => ({ serverState: target.serverState() ?? null, visitorState: target.visitorState(), script: target.script() })

/** The whole of a request's body. */
async function bodyOf (request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}

/** An edge that gives one answer, whatever it is asked. */
const startAnswering = (t: Test, answer: string) => startServer(t, (request, response) => { request.resume().on('end', () => response.end(answer)) })

/** Runs a script element as a page with these globals would; gives what became of the globals. */
function runIn (element: string, globals: Record<string, unknown> = {}): Record<string, any> {
  const [, code] = /^<script>([^]*)<\/script>$/.exec(element)!
  const window: Record<string, unknown> = globals
  runInNewContext(code!, { window, console: { error: (error: unknown) => { (window['errors'] ??= [] as unknown[]) && (window['errors'] as unknown[]).push(error) } } })
  return window
}

/** Only to compare: objects of another realm have another prototype. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value))

t.test('the states, however a page is decided', async (t) => {
  const edge = await startEdge(t)
  const secrets = ['203.0.113.7', 'crm-77', 'loyalty-level', 'platinum', 'basket-value', '4711.11', 'aamblob42', 'Secret/1.0', 'third-party-9', '112233445566']
  const { url, app } = await startApp(t, edge.host, {
    artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json`,
    visitor: () => ({ thirdPartyId: 'third-party-9', customerIds: [{ id: 'crm-77', integrationCode: 'crm', authenticatedState: 'authenticated' as const }] }),
    profileParameters: () => ({ 'loyalty-level': 'platinum' }),
    parameters: () => ({ 'basket-value': '4711.11' }),
    telemetryEnabled: true
  }, (app) => {
    for (const decisioningMethod of ['server-side', 'hybrid', 'on-device'] as const) {
      const form = { execute: { pageLoad: {}, mboxes: ['hero'] }, prefetch: { views: ['product'], mboxes: ['banner'], pageLoad: {} } }
      app.get(`/${decisioningMethod}`, { config: { target: { ...form, decisioningMethod } } }, async (request) => {
        const result = await request.target.result()
        return { result, ...handOver(request.target), again: request.target.serverState() }
      })
    }
  }, { trustProxy: true })
  await app.target.refresh()
  const headers = { 'x-forwarded-for': '203.0.113.7', 'user-agent': 'Secret/1.0', cookie: `AMCV_${organizationId}=MCMID|112233445566|MCAAMLH|6|MCAAMB|aamblob42; mbox=PC#known.35_0#9999999999` }
  for (const decisioningMethod of ['server-side', 'hybrid', 'on-device']) {
    const { result, serverState, visitorState, script, again } = await json(await fetch(`${url}/${decisioningMethod}`, { headers }))
    t.equal(result.meta.decisioningMethod, decisioningMethod === 'hybrid' ? 'on-device' : decisioningMethod)
    const { requestId, execute, prefetch } = result.response
    const local = result.meta.decisioningMethod === 'on-device'
    t.same(serverState, {
      request: { requestId, execute: { pageLoad: {} }, prefetch: { views: [{ name: 'product' }] } },
      response: { status: 200, requestId, id: { tntId: 'known.35_0' }, execute: { pageLoad: execute.pageLoad }, prefetch: { views: prefetch.views } }
    }, decisioningMethod)
    t.match(serverState.response.execute.pageLoad.options, [{ type: 'actions', content: [{ selector: '#promise' }] }])
    t.match(serverState.response.prefetch.views, [{ name: 'product', ...(local ? {} : { state: String }), options: [{ type: 'actions', eventToken: String }] }])
    t.same(again, serverState, 'asked again it is the same')
    t.same(visitorState, result.visitorState)
    t.equal(visitorState[organizationId].sdid.supplementalDataIDCurrent, result.request.experienceCloud.analytics.supplementalDataId)
    const sent = JSON.stringify(result.request)
    for (const secret of secrets) {
      t.ok(sent.includes(secret), `Target was told ${secret}`)
      t.notOk(script.includes(secret) || JSON.stringify([serverState, visitorState]).includes(secret), `the page is not told ${secret}`)
    }
    const seen: any[] = []
    const page = runIn(script, { Visitor: { getInstance: (...given: unknown[]) => seen.push(given) } })
    t.same(plain(page['targetGlobalSettings']), { serverState })
    t.same(plain(seen), [[organizationId, { serverState: visitorState }]])
  }
})

t.test('customer ids in the Visitor API form go to Visitor, and nowhere else', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { visitor: () => ({ customerIds: { crm: { id: 'crm-77', authState: 1 } } }) }, (app) => {
    app.get('/', { config: { target: forAtJs } }, async (request) => {
      await request.target.pageLoad()
      return handOver(request.target)
    })
  })
  const { serverState, visitorState, script } = await json(await fetch(url))
  t.match(visitorState, { [organizationId]: { customerIDs: { crm: { id: 'crm-77', authState: 1 } }, sdid: { supplementalDataIDCurrent: /^[0-9A-F]{16}-[0-9A-F]{16}$/ } } })
  t.notMatch(JSON.stringify(serverState), 'crm-77')
  t.equal(script.split('crm-77').length, 2)
})

t.test('traces, and what at.js does not know, are left out; clicks beside the views are not', async (t) => {
  const host = await startAnswering(t, JSON.stringify({
    status: 200,
    requestId: 'r1',
    client,
    edgeHost: 'mboxedge35.tt.omtrdc.net',
    id: { tntId: 'a.35_0', marketingCloudVisitorId: '99', customerIds: [{ id: 'c' }] },
    execute: { pageLoad: { options: [{ type: 'html', content: 'a', responseTokens: { 'activity.id': 1 } }], metrics: [{ type: 'click', selector: '#a', eventToken: 'x' }], analytics: { payload: { pe: 'tnt', tnta: '1' } }, trace: { profileSnapshot: 1 } } },
    prefetch: { views: [{ id: 9, name: 'home', key: 'k', state: 's', options: [], trace: { profileSnapshot: 1 } }], metrics: [{ type: 'click', selector: '#b', eventToken: 'y' }], mboxes: [{ index: 0, name: 'm' }] },
    telemetryServerToken: 'tst'
  }))
  const { url } = await startApp(t, host, {}, (app) => {
    app.get('/', { config: { target: { ...forAtJs, trace: { authorizationToken: 'secret' } } } }, async (request) => {
      await request.target.pageLoad()
      return handOver(request.target)
    })
  })
  const { serverState } = await json(await fetch(url))
  t.match(serverState.request.requestId, /^[\w-]{36}$/)
  t.same(serverState, {
    request: { requestId: serverState.request.requestId, ...forAtJs },
    response: {
      status: 200,
      requestId: 'r1',
      id: { tntId: 'a.35_0' },
      execute: { pageLoad: { options: [{ type: 'html', content: 'a', responseTokens: { 'activity.id': 1 } }], metrics: [{ type: 'click', selector: '#a', eventToken: 'x' }], analytics: { payload: { pe: 'tnt', tnta: '1' } } } },
      prefetch: { views: [{ name: 'home', state: 's', options: [] }], metrics: [{ type: 'click', selector: '#b', eventToken: 'y' }] }
    }
  })
})

t.test('the state is undefined before the response and after a failure', async (t) => {
  const edge = await startEdge(t, { latency: 60 })
  const routes = (app: FastifyInstance) => {
    app.get('/', { config: { target: forAtJs } }, async (request) => {
      const before = handOver(request.target)
      const offer = await request.target.pageLoad()
      return { before, offer, after: handOver(request.target) }
    })
    app.get('/late', { config: { target: { ...forAtJs, maxWait: 5 } } }, async (request) => {
      const { reason } = await request.target.pageLoad()
      const first = handOver(request.target)
      await request.target.result()
      return { reason, first, later: handOver(request.target) }
    })
    app.get('/timeout', { config: { target: { ...forAtJs, timeout: 20 } } }, async (request) => {
      const { reason } = await request.target.pageLoad()
      const first = handOver(request.target)
      // The answer comes, within grace.
      const isThere = await until(() => Object.values(app.target.health().pool).every(({ running }) => running === 0))
      return { reason, first, isThere, later: handOver(request.target) }
    })
    app.get('/mboxes', { config: { target: ['hero'] } }, async (request) => {
      await request.target.offer('hero')
      return handOver(request.target)
    })
    app.get('/more', { config: { target: ['hero'] } }, async (request) => {
      const { response } = await request.target.start({ execute: { pageLoad: {}, mboxes: ['banner'] } }).result()
      await request.target.pageLoad()
      return { first: response.requestId, ...handOver(request.target) }
    })
    app.get('/asked', async (request) => {
      const nothing = handOver(request.target)
      await request.target.offer('hero')
      return { nothing, asked: handOver(request.target) }
    })
    app.get('/off', { config: { target: false } }, async (request) => {
      await request.target.offer('hero')
      return handOver(request.target)
    })
  }
  const { url } = await startApp(t, edge.host, {}, routes)
  const empty = { serverState: null, script: '' }
  const filled = { serverState: { response: { execute: { pageLoad: Object } } }, script: /^<script>/ }

  const { before, offer, after } = await json(await fetch(url))
  t.match([before, offer.reason, after], [empty, 'matched', filled])
  t.match(before.visitorState, { [organizationId]: {} })

  const late = await json(await fetch(`${url}/late`))
  t.match(late, { reason: 'max-wait', first: filled, later: filled }, 'after maxWait an empty page load, so that it counts once; the answer when it came')
  t.same(late.first.serverState.response.execute.pageLoad, {})
  edge.fault('slow:300', { times: 1 })
  const timeout = await json(await fetch(`${url}/timeout`))
  t.match(timeout, { reason: 'timeout', first: empty, isThere: true, later: empty }, 'one after the deadline never')

  for (const fault of ['status:500', 'bad-json', 'reset-mid-body'] as const) {
    edge.fault(fault, { times: 1 })
    const failed = await json(await fetch(url))
    t.match(failed, { before: empty, offer: { reason: 'error' }, after: empty }, fault)
  }

  const mboxes = await json(await fetch(`${url}/mboxes`))
  t.match(mboxes, { serverState: null, script: /^<script>/ }, 'at.js asks for the page load that nobody asked for')
  const seen: unknown[] = []
  t.same(runIn(mboxes.script, { Visitor: { getInstance: (...given: unknown[]) => seen.push(plain(given)) } })['targetGlobalSettings'], undefined)
  t.same(seen, [[organizationId, { serverState: mboxes.visitorState }]], 'its hits are joined all the same')

  const more = await json(await fetch(`${url}/more`))
  t.match(more, filled, 'what was started beyond the route\'s call')
  t.not(more.serverState.response.requestId, more.first)
  t.match(await json(await fetch(`${url}/asked`)), { nothing: empty, asked: { serverState: null, script: /^<script>/ } })
  t.match(await json(await fetch(`${url}/off`)), empty)
})

t.test('a response without offers is handed over, so that at.js requests nothing', async (t) => {
  const host = await startServer(t, (request, response) => { request.resume().on('end', () => response.writeHead(204).end()) })
  const { url } = await startApp(t, host, {}, (app) => {
    app.get('/', { config: { target: forAtJs } }, async (request) => {
      await request.target.pageLoad()
      return handOver(request.target)
    })
  })
  const { serverState } = await json(await fetch(url))
  t.match(serverState, { request: { requestId: String, ...forAtJs }, response: { status: 204 } })
  t.notOk(serverState.response.execute)
})

t.test('two instances in one app hand over their own state', async (t) => {
  const one = await startEdge(t)
  const two = await startEdge(t, { client: 'other', organizationId: 'B@AdobeOrg' })
  const { url } = await startApp(t, one.host, {}, async (app) => {
    await app.register(fastifyAdobeTarget, { ...optionsFor(two.host), client: 'other', organizationId: 'B@AdobeOrg', decorator: 'shop' })
    app.get('/', { config: { target: { execute: { pageLoad: {} } }, shop: { prefetch: { views: ['product'] } } } as object }, async (request) => {
      const { target, shop } = request as FastifyRequest & { shop: RequestTarget }
      await Promise.all([target.pageLoad(), shop.views()])
      return { target: handOver(target), shop: handOver(shop) }
    })
  })
  const { target, shop } = await json(await fetch(url))
  t.same([Object.keys(target.serverState.response), Object.keys(shop.serverState.response)], [['status', 'requestId', 'id', 'execute'], ['status', 'requestId', 'id', 'prefetch']])
  t.same([Object.keys(target.visitorState), Object.keys(shop.visitorState)], [[organizationId], ['B@AdobeOrg']])
  const organizations: unknown[] = []
  const page = runIn(target.script, { Visitor: { getInstance: (organization: unknown) => organizations.push(organization) } })
  t.same(plain(runIn(shop.script, page)['targetGlobalSettings']), { serverState: shop.serverState }, 'of two scripts on a page at.js gets the last')
  t.same(organizations, [organizationId, 'B@AdobeOrg'])
})

/** Text that ends a script, a comment or a string somewhere, or is read as something else. */
const HOSTILE = [
  '</script><script>document.title="pwned"</script>', '<!--<script>', '-->', ']]>', '<\\/script>', '</SCRIPT\t>', '\u2028\u2029', '\'"`$' + '{1}', '\\', '\\\'',
  '&lt;script&gt;&amp;', '\ud800', '\udc00x', '\0\b\n\r\t\u007f', '$&$\'$`', '\u00e9\u{1f600}\ufeff\u0085\uffff', '\');document.title="pwned";(\'', '{"__proto__":{"polluted":1}}'
]

/** An answer with all of that, as text, names and selectors, and a member `__proto__`. */
const hostileAnswer = () => JSON.stringify({
  status: 200,
  requestId: HOSTILE.join(''),
  id: { tntId: 'abc.35_0' },
  execute: { pageLoad: { options: HOSTILE.flatMap((content) => [{ type: 'json', content: { [content]: content } }, { type: 'actions', content: [{ type: 'setHtml', selector: '#none', content }] }]) } },
  prefetch: { views: HOSTILE.map((name) => ({ name, state: name, options: [{ type: 'html', content: name, eventToken: name }] })) }
}).replace('"execute":{', '"execute":{"__proto__":{"polluted":1},').replace('"content":{', '"content":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},')

t.test('content cannot break out of the script', async (t) => {
  const host = await startAnswering(t, hostileAnswer())
  const ids = Object.fromEntries(HOSTILE.map((text) => [text, { id: text }]))
  const { url } = await startApp(t, host, { visitor: () => ({ customerIds: ids }) }, (app) => {
    app.get('/', { config: { target: { execute: { pageLoad: {} }, prefetch: { views: HOSTILE.map((text) => text.slice(0, 128)) } } } }, async (request) => {
      await request.target.pageLoad()
      return handOver(request.target)
    })
  })
  const { serverState, visitorState, script } = await json(await fetch(url))
  t.equal(serverState.response.requestId, HOSTILE.join(''), 'it is all there')
  t.equal(serverState.response.prefetch.views.length, HOSTILE.length)
  const [, inside] = /^<script>([^]*)<\/script>$/.exec(script)!
  t.notMatch(inside, /[<>&\p{Cc}\u2028\u2029\uffff]/u)
  t.ok(script.isWellFormed(), 'a lone surrogate stays an escape')
  const seen: any[] = []
  const page = runIn(script, { Visitor: { getInstance: (_: unknown, given: unknown) => seen.push(given) } })
  t.equal(JSON.stringify(page['targetGlobalSettings'].serverState), JSON.stringify(serverState), 'the page reads the same, members named __proto__ too')
  t.equal(JSON.stringify(seen[0].serverState), JSON.stringify(visitorState))
  const [{ content }] = page['targetGlobalSettings'].serverState.response.execute.pageLoad.options
  t.ok(Object.hasOwn(content, '__proto__'))
  t.equal(content.polluted, undefined, 'as data')
  t.notOk(page['errors'])
})

t.test('offers that nest too deep to be written are not handed over', async (t) => {
  const host = await startAnswering(t, `{"status":200,"execute":{"pageLoad":{"options":[{"type":"json","content":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}]}}}`)
  const { url } = await startApp(t, host, {}, (app) => {
    app.get('/', { config: { target: forAtJs } }, async (request) => {
      const { reason } = await request.target.pageLoad()
      return { reason, script: request.target.script() }
    })
  })
  t.same(await json(await fetch(url)), { reason: 'matched', script: '' })
})

t.test('the script works with unusual settings and Visitor objects of the page', async (t) => {
  const edge = await startEdge(t)
  let script = ''
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: forAtJs } }, async (request) => {
      await request.target.pageLoad()
      script = request.target.script()
    })
  })
  await fetch(url)
  t.notOk(runIn(script)['errors'], 'neither is there')
  t.ok(runIn(script)['targetGlobalSettings'].serverState.response)

  const settings: Record<string, unknown> = { timeout: 500, serverState: { old: true } }
  const page = runIn(script, { targetGlobalSettings: settings })
  t.equal(page['targetGlobalSettings'], settings, 'settings are added to')
  t.same(Object.keys(settings), ['timeout', 'serverState'])
  t.equal(settings['timeout'], 500)
  t.ok((settings['serverState'] as { response?: unknown }).response)

  for (const odd of [null, 0, '', 'settings', true, Symbol('s')]) {
    const { targetGlobalSettings, errors } = runIn(script, { targetGlobalSettings: odd })
    t.ok(targetGlobalSettings.serverState.response, `${String(odd)} is no settings`)
    t.notOk(errors)
  }
  const unyielding: Record<string, object> = {
    frozen: Object.freeze({ timeout: 500 }),
    sealed: Object.seal({ timeout: 500 }),
    'a read-only member': Object.defineProperty({ timeout: 500 }, 'serverState', { value: {}, writable: false }),
    'a setter that throws': Object.defineProperty({ timeout: 500 }, 'serverState', { get () { return 1 }, set () { throw new Error('no') } })
  }
  for (const [what, given] of Object.entries(unyielding)) {
    const { targetGlobalSettings, errors } = runIn(script, { targetGlobalSettings: given })
    t.ok(targetGlobalSettings.serverState.response, what)
    t.equal(targetGlobalSettings.timeout, 500, what)
    t.notOk(errors, what)
  }
  const seen: unknown[] = []
  const Visitor = { getInstance: (organization: string) => seen.push(organization) }
  const failing = runIn(script, Object.defineProperty({ Visitor }, 'targetGlobalSettings', { get () { throw new Error('no') } }))
  t.match(failing['errors'], [{ message: 'no' }], 'an error is shown')
  t.same(seen, [organizationId], 'and Visitor gets its state')

  for (const odd of [null, 0, 'Visitor', {}, () => {}]) t.notOk(runIn(script, { Visitor: odd })['errors'])
  const throwing = runIn(script, { Visitor: { getInstance () { throw new Error('opted out') } } })
  t.match(throwing['errors'], [{ message: 'opted out' }])
  t.ok(throwing['targetGlobalSettings'].serverState.response)
})

t.test('an invalid nonce throws', async (t) => {
  const edge = await startEdge(t)
  const checked: [unknown, string][] = []
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: forAtJs } }, async (request) => {
      const { target } = request
      const write = (nonce: unknown) => {
        try {
          checked.push([nonce, target.script({ nonce: nonce as string })])
        } catch (error) {
          checked.push([nonce, (error as { code: string }).code])
        }
      }
      write('"><script>')
      await target.pageLoad()
      for (const nonce of ['abc', 'aB3+/_-=', 'YWJj==', undefined, '', '=', 'a===', 'a b', 'a"b', 'a>b', 'a\n', '\u00e9', '"><script>', 1, null, ['abc'], {}]) write(nonce)
    })
  })
  await fetch(url)
  const BAD = 'FST_TARGET_INVALID_OPTIONS'
  t.same(checked.map(([nonce, given]) => [nonce, given.startsWith('<') ? given.slice(0, given.indexOf('(')) : given]), [
    ['"><script>', BAD],
    ['abc', '<script nonce="abc">'], ['aB3+/_-=', '<script nonce="aB3+/_-=">'], ['YWJj==', '<script nonce="YWJj==">'], [undefined, '<script>'],
    ...['', '=', 'a===', 'a b', 'a"b', 'a>b', 'a\n', '\u00e9', '"><script>', 1, null, ['abc'], {}].map((nonce) => [nonce, BAD])
  ])
})

/** Sends a page that has the hand-over and at.js in its head and allows nothing without the nonce. */
async function sendPage (reply: FastifyReply, target: RequestTarget, serverDomain: string, head = ''): Promise<FastifyReply> {
  const nonce = 'bm9uY2U='
  const settings = { clientCode: client, imsOrgId: organizationId, serverDomain, secureOnly: false, overrideMboxEdgeServer: false, pageLoadEnabled: true, viewsEnabled: true, telemetryEnabled: false, timeout: 3000, decisioningMethod: 'server-side', cspScriptNonce: nonce, cspStyleNonce: nonce }
  return await reply.type('text/html; charset=utf-8')
    .header('content-security-policy', `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src http://${serverDomain}; img-src data:; base-uri 'none'`)
    .send(`<!doctype html><html><head><title>quiet</title><link rel="icon" href="data:,">
<script nonce="${nonce}">window.violations = []; document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => violations.push(violatedDirective + ' ' + blockedURI)); window.targetGlobalSettings = ${JSON.stringify(settings)}; window.given = targetGlobalSettings</script>
${head.replaceAll('<script', `<script nonce="${nonce}"`)}${target.script({ nonce })}<script nonce="${nonce}" src="/at.js"></script></head>
<body><p id="promise">three days</p><p id="sizes">S M L</p></body></html>`)
}

t.test('in a browser at.js applies the state without a request', { skip: withoutBrowser }, async (t) => {
  const edge = await startEdge(t)
  const hostile = await startAnswering(t, hostileAnswer())
  const browser = await startBrowser(t)
  /** What the browser itself tells Target. */
  const told: { url: string, body: any }[] = []
  const recorder = await startServer(t, async (request, response) => {
    const body = await bodyOf(request)
    if (request.method === 'POST') told.push({ url: request.url!, body: JSON.parse(body) })
    response.writeHead(204, { 'access-control-allow-origin': request.headers.origin ?? '*', 'access-control-allow-credentials': 'true' }).end()
  })
  const routes = (app: FastifyInstance) => {
    app.get('/at.js', async (_request, reply) => await reply.type('text/javascript; charset=utf-8').send(atJs))
    for (const decisioningMethod of ['server-side', 'hybrid', 'on-device'] as const) {
      app.get(`/${decisioningMethod}`, { config: { target: { execute: { pageLoad: {}, mboxes: ['hero'] }, prefetch: { views: [{}] }, decisioningMethod } } }, async ({ target }, reply) => {
        await target.pageLoad()
        return await sendPage(reply, target, recorder, '<script>window.Visitor = { getInstance (organization, config) { (window.visitors ||= []).push([organization, config, !!window.adobe]) } }</script>')
      })
    }
  }
  const { url, app } = await startApp(t, edge.host, { artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json` }, routes)
  await app.target.refresh()

  /** Opens an address in a context of its own; problems are what the console and the policy say. */
  const open = async (address: string) => {
    const context = await browser.newContext()
    t.teardown(() => context.close())
    const page = await context.newPage()
    const problems: string[] = []
    page.on('console', (message) => { if (message.type() === 'error') problems.push(message.text()) })
    page.on('pageerror', (error) => problems.push(error.message))
    await page.goto(address, { waitUntil: 'load' })
    return { page, problems, violations: () => page.evaluate('violations') }
  }

  for (const decisioningMethod of ['server-side', 'hybrid', 'on-device']) {
    told.length = 0
    edge.reset()
    const { page, problems, violations } = await open(`${url}/${decisioningMethod}`)
    t.ok(await until(async () => await page.textContent('#promise') === 'Ordered by noon, sent today'))
    await page.evaluate("adobe.target.triggerView('product')")
    await page.waitForSelector('#sizes + .advice')
    await until(() => told.length > 0)
    t.equal(told.filter(({ body }) => body.execute !== undefined || body.prefetch !== undefined).length, 0, `${decisioningMethod}: the browser asks for nothing`)
    t.match(told[0]?.body.notifications, [{ type: 'display', view: { name: 'product' }, tokens: [String] }], 'it tells that the view is shown')
    t.equal(await page.evaluate('given === targetGlobalSettings'), true, 'the page\'s settings are the same object')
    t.match(await page.evaluate('visitors[0]'), [organizationId, { serverState: { [organizationId]: { sdid: { supplementalDataIDCurrent: String } } } }, false], 'Visitor has it before at.js runs')
    t.equal(await page.evaluate('!targetGlobalSettings.serverState.response.execute.mboxes'), true)
    t.same([problems, await violations()], [[], []])
  }

  told.length = 0
  edge.fault('status:500')
  const { page: alone, problems: failures } = await open(`${url}/server-side`)
  await until(() => told.length > 0)
  t.match(told[0]?.body, { execute: { pageLoad: {} }, prefetch: { views: [{}] } }, 'without a state at.js asks')
  t.equal(await alone.evaluate("'serverState' in targetGlobalSettings"), false)
  t.same(failures.filter((text) => !/AT:|Failed to load/.test(text)), [])

  const { url: attacked } = await startApp(t, hostile, {}, (app) => {
    app.get('/at.js', async (_request, reply) => await reply.type('text/javascript').send(''))
    app.get('/', { config: { target: forAtJs } }, async ({ target }, reply) => {
      await target.pageLoad()
      return await sendPage(reply, target, recorder)
    })
    app.get('/xhtml', { config: { target: forAtJs } }, async ({ target }, reply) => {
      await target.pageLoad()
      return await reply.type('application/xhtml+xml; charset=utf-8').send(`<html xmlns="http://www.w3.org/1999/xhtml"><head><title>quiet</title><link rel="icon" href="data:,"/>${target.script()}</head><body><p id="end"/></body></html>`)
    })
  })
  for (const path of ['/', '/xhtml']) {
    const { page, problems } = await open(attacked + path)
    t.equal(await page.title(), 'quiet', `${path}: no offer ran`)
    t.equal(await page.evaluate('targetGlobalSettings.serverState.response.requestId'), HOSTILE.join(''))
    t.equal(await page.evaluate('({}).polluted'), undefined)
    t.equal(await page.evaluate("document.querySelectorAll('#end, #sizes').length"), 1, 'the page goes on after it')
    t.same(problems, [])
    if (path === '/') t.same(await page.evaluate('violations'), [])
  }
})

t.test('VisitorAPI.js takes the state over', { skip: withoutBrowser || (process.env.VISITOR_API_JS === undefined && 'VISITOR_API_JS names no file') }, async (t) => {
  const edge = await startEdge(t)
  const browser = await startBrowser(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/visitor.js', async (_request, reply) => await reply.type('text/javascript').send(readFileSync(process.env.VISITOR_API_JS!)))
    app.get('/', { config: { target: ['hero'] } }, async ({ target }, reply) => {
      await target.offer('hero')
      return await reply.type('text/html').send(`<!doctype html><script src="/visitor.js"></script>${target.script()}`)
    })
  })
  const page = await browser.newPage()
  await page.route(/demdex|omtrdc/, (route) => route.abort())
  await page.goto(url)
  const { supplementalDataId } = edge.requests[0]!.body.experienceCloud.analytics
  t.equal(await page.evaluate(`Visitor.getInstance('${organizationId}').getSupplementalDataID('AppMeasurement')`), supplementalDataId, 'the page\'s hits join Target\'s')
})
