/** Adobe's Web SDK, the real one, in a real browser: with the local edge alone, and with pages of the plugin. */
import Fastify, { type FastifyReply } from 'fastify'
import t from 'tap'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import fastifyAdobeTarget, { type FastifyAdobeTargetOptions, type RequestTarget } from '../../lib/index.ts'
import { client, organizationId, startEdge, startServer } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { until } from '../support/wait.ts'
import { alloy, alloyJs, commandQueue, configure, visitor } from './browser.ts'

t.test('Web SDK', { skip: withoutBrowser }, async (t) => {
  const browser = await startBrowser(t)

  t.test('requests offers from the local edge', async (t) => {
    const edge = await startEdge(t)
    edge.offer('flag', { express: true })
    edge.offer('hero', '<b>for you</b>')
    const app = Fastify()
    t.teardown(() => app.close())
    app.get('/alloy.js', (_request, reply) => reply.type('text/javascript').send(alloyJs))
    app.get('/', (_request, reply) => reply.type('text/html').send(
      `<!doctype html><head>${commandQueue}${configure()}<script src="/alloy.js"></script></head><body><p id="promise">Fast</p><div id="sizes"></div><div id="hero"></div></body>`
    ))
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const { context, calls } = await visitor(browser, edge.host)
    const page = await context.newPage()
    await page.goto(url)

    const { propositions } = await alloy(page, 'sendEvent', {
      renderDecisions: true,
      personalization: { decisionScopes: ['hero', 'flag'], sendDisplayEvent: false },
      data: { __adobe: { target: { 'profile.level': 'gold', basket: '12' } } },
      xdm: { web: { webPageDetails: { name: 'home' } } }
    })
    t.ok(await until(async () => await page.textContent('#promise') !== 'Fast'))
    t.equal(await page.textContent('#promise'), 'Ordered by noon, sent today', 'the page load is rendered')
    t.same([...new Set(propositions.map(({ scope }: any) => scope))].sort(), ['__view__', 'flag', 'hero'])
    const of = (scope: string) => propositions.find((proposition: any) => proposition.scope === scope)
    t.same(of('flag').items[0].data.content, { express: true })
    t.equal(of('hero').items[0].data.content, '<b>for you</b>')
    t.match(of('hero').scopeDetails, { decisionProvider: 'TGT', characteristics: { eventTokens: { display: String, click: String } } })
    t.equal(edge.displays({ pageLoad: true }), 0, 'answering counts nothing')

    await alloy(page, 'sendEvent', { personalization: { includeRenderedPropositions: true } })
    t.equal(edge.displays({ pageLoad: true }), 1, 'the display was reported')
    t.equal(edge.impressions(), 1)

    await page.click('#promise')
    await edge.until(() => edge.clicks({ pageLoad: true }) === 1)

    await alloy(page, 'applyPropositions', { propositions: [of('hero')], metadata: { hero: { selector: '#hero', actionType: 'setHtml' } } })
    t.equal(await page.innerHTML('#hero'), '<b>for you</b>')
    await alloy(page, 'sendEvent', { personalization: { includeRenderedPropositions: true } })
    t.equal(edge.displays('hero'), 1)
    await alloy(page, 'sendEvent', {
      xdm: { eventType: 'decisioning.propositionInteract', _experience: { decisioning: { propositions: [{ id: of('hero').id, scope: 'hero', scopeDetails: of('hero').scopeDetails }], propositionEventType: { interact: 1 } } } }
    })
    t.equal(edge.clicks('hero'), 1)

    await alloy(page, 'sendEvent', { renderDecisions: true, xdm: { web: { webPageDetails: { viewName: 'product' } } } })
    await page.waitForSelector('.advice')
    t.equal(edge.displays({ view: 'product' }), 1, 'a view needs no call for its content')

    const cookies = await context.cookies()
    const named = (name: string) => cookies.find((cookie) => cookie.name === `kndctr_1234567890_AdobeOrg_${name}`)?.value
    t.equal(named('cluster'), 'or2')
    const { identity } = await alloy(page, 'getIdentity', { namespaces: ['ECID'] })
    t.match(identity.ECID, /^\d{38}$/)
    t.match(Buffer.from(named('identity')!, 'base64url').toString('latin1'), identity.ECID)
    const seen = edge.requests.map(({ path }) => path)
    t.same(seen, calls, 'every call was recorded')
    t.equal(seen[0], '/ee/v1/interact')
    t.equal(seen.at(-1), '/ee/or2/v1/interact', 'with the location hint')

    await alloy(page, 'setConsent', { consent: [{ standard: 'Adobe', version: '1.0', value: { general: 'out' } }] })
    t.equal(await page.evaluate("decodeURIComponent(document.cookie).includes('_consent=general=out')"), true)
    const before = calls.length
    await alloy(page, 'sendEvent', {})
    t.equal(calls.length, before, 'without consent nothing is sent')
  })

  t.test('takes over from pages of the plugin', async (t) => {
    const edge = await startEdge(t)
    const app = Fastify({ forceCloseConnections: true })
    t.teardown(() => app.close())
    const options = { client, organizationId, secure: false, edgeNetwork: { datastreamId: 'server-datastream', edgeDomain: edge.host } }
    await app.register(fastifyAdobeTarget, options)
    const nonce = 'cmFuZG9tMTIz'
    const send = (reply: FastifyReply, script: string, settings = {}, body = '') => reply.type('text/html')
      .header('content-security-policy', `script-src 'self' 'nonce-${nonce}'`)
      .send(`<!doctype html><head>${commandQueue}${configure(settings)}`.replaceAll('<script>', `<script nonce="${nonce}">`) +
        `${script}<script src="/alloy.js"></script></head><body>${body}<p id="promise">Fast</p><div id="sizes"></div></body>`)
    app.get('/alloy.js', { config: { target: false } }, (_request, reply) => reply.type('text/javascript').send(alloyJs))
    app.get('/', { config: { target: { execute: { pageLoad: {}, mboxes: ['hero'] }, prefetch: { views: [{}] } } } }, async ({ target }, reply) =>
      send(reply, (await target.pageLoad(), target.script({ nonce })), {}, await target.html('hero', '')))
    app.get('/rendered', { config: { target: { prefetch: { pageLoad: {} } } } }, async ({ target }, reply) => send(reply, (await target.pageLoad(), target.script({ nonce }))))
    app.get('/slow', { config: { target: { execute: { pageLoad: {} }, maxWait: 1 } } }, async ({ target }, reply) => send(reply, (await target.pageLoad(), target.script({ nonce }))))
    app.get('/late', { config: { target: { execute: { pageLoad: {} }, timeout: 50 } } }, async ({ target }, reply) => send(reply, (await target.pageLoad(), target.script({ nonce }))))
    await app.register(fastifyAdobeTarget, { ...options, decorator: 'careful', edgeNetwork: { ...options.edgeNetwork, defaultConsent: 'pending' } } as FastifyAdobeTargetOptions)
    app.get('/careful', { config: { careful: { execute: { pageLoad: {} } } } } as object, async (request, reply) => {
      const { careful } = request as unknown as { careful: RequestTarget }
      const offer = await careful.pageLoad()
      return send(reply, careful.script({ nonce }), { defaultConsent: 'pending' }, `<i>${offer.reason}</i>`)
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })

    const { context, calls } = await visitor(browser, edge.host)
    const page = await context.newPage()
    const errors: string[] = []
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) errors.push(message.text()) })
    page.on('pageerror', (error) => errors.push(String(error)))
    await page.goto(url)
    t.ok(await until(async () => await page.textContent('#promise') !== 'Fast'))
    t.ok(await page.$('.hero'), 'the server rendered its mbox')
    t.same(calls, [], 'and the page load needed no call of the browser')
    await alloy(page, 'sendEvent', { renderDecisions: true, xdm: { eventType: 'web.webpagedetails.pageViews' } })
    t.equal(calls.length, 1, 'the page view is one event')
    const pageView = edge.requests.at(-1)!.body.events[0]
    t.same(pageView.query?.personalization?.decisionScopes ?? [], [], 'that asks for nothing')
    await edge.until(() => edge.displays({ pageLoad: true }) === 1 && edge.displays('hero') === 1)
    t.equal(edge.impressions(), 2, 'each activity was displayed once')

    await alloy(page, 'sendEvent', { renderDecisions: true, xdm: { web: { webPageDetails: { viewName: 'product' } } } })
    await page.waitForSelector('.advice')
    await edge.until(() => edge.displays({ view: 'product' }) === 1)
    t.notOk(edge.requests.some(({ path, body }) => path.includes('/v1/') && JSON.stringify(body).includes('__view__"]')), 'the views came from the server')
    await page.click('#promise')
    await edge.until(() => edge.clicks({ pageLoad: true }) === 1)
    t.equal(edge.displays({ pageLoad: true }), 1)

    const { identity } = await alloy(page, 'getIdentity', { namespaces: ['ECID'] })
    const asked = edge.requests.find(({ path }) => path.endsWith('/v2/interact'))!
    t.equal(identity.ECID, asked.body.event.xdm.identityMap.ECID[0].id, 'server and browser know one visitor')
    t.equal((await context.cookies()).filter(({ name }) => name.endsWith('_identity')).length, 1)
    await page.reload()
    const again = edge.requests.findLast(({ path }) => path.endsWith('/v2/interact'))!
    t.equal(again.path, '/ee/or2/v2/interact')
    t.equal(again.body.event.xdm.identityMap.ECID[0].id, identity.ECID)

    edge.reset()
    await page.goto(`${url}/rendered`)
    t.ok(await until(async () => await page.textContent('#promise') !== 'Fast'))
    await edge.until(() => edge.displays({ pageLoad: true }) === 1)
    t.equal(edge.requests.filter(({ path }) => path.includes('/v1/')).length, 1, 'what was prefetched the browser reports')
    const scopesOfBrowser = () => edge.requests.filter(({ path }) => path.includes('/v1/')).map(({ body }) => body.events[0].query?.personalization?.decisionScopes ?? [])
    edge.reset()
    edge.fault('slow:200', { times: 1 })
    await page.goto(`${url}/slow`)
    await alloy(page, 'sendEvent', { renderDecisions: true })
    await edge.until(() => edge.displays({ pageLoad: true }) === 1)
    t.same(scopesOfBrowser(), [[]], 'after maxWait the browser asks for nothing, and the server\'s call counts')
    t.equal(await page.textContent('#promise'), 'Fast')
    edge.reset()
    edge.fault('slow:400', { times: 1 })
    await page.goto(`${url}/late`)
    await alloy(page, 'sendEvent', { renderDecisions: true })
    t.same(scopesOfBrowser(), [['__view__']], 'after the timeout it asks')
    t.not(await page.textContent('#promise'), 'Fast')
    t.same(errors, [], 'nothing to complain about')

    edge.reset()
    const { context: other, calls: otherCalls } = await visitor(browser, edge.host)
    const careful = await other.newPage()
    await careful.goto(`${url}/careful`)
    t.equal(await careful.textContent('i'), 'opted-out')
    careful.evaluate("alloy('sendEvent', { renderDecisions: true })").catch(() => {})
    t.same([edge.requests.length, otherCalls, (await other.cookies()).filter(({ name }) => name.startsWith('kndctr'))], [0, [], []], 'before consent nothing is sent and no cookie is set')
    await alloy(careful, 'setConsent', { consent: [{ standard: 'Adobe', version: '1.0', value: { general: 'in' } }] })
    await careful.reload()
    t.equal(await careful.textContent('i'), 'matched', 'then the server asks')
    t.ok(await until(async () => await careful.textContent('#promise') !== 'Fast'))
  })

  t.test('writes and reads the same cookies as the server, byte for byte', async (t) => {
    const edge = await startEdge(t)
    const prefix = 'kndctr_1234567890_AdobeOrg_'
    // Everything that a cookie's value may need encoded, and what Adobe's own values look like.
    const odd = Array.from({ length: 95 }, (_, index) => String.fromCharCode(0x20 + index)).join('') + 'CiYw-_pv9Lw=='
    const host = await startServer(t, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => { chunks.push(chunk) }).on('end', async () => {
        const answer = await fetch(`http://${edge.host}${request.url}`, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: Buffer.concat(chunks) })
        const body = await answer.json().catch(() => undefined) as any
        body?.handle?.find(({ type }: any) => type === 'state:store')?.payload.push({ key: `${prefix}odd`, value: odd, maxAge: 1800 })
        response.writeHead(answer.status, { 'content-type': 'application/json', 'access-control-allow-origin': request.headers.origin ?? '*', 'access-control-allow-credentials': 'true' }).end(JSON.stringify(body ?? {}))
      })
    })
    const app = Fastify({ forceCloseConnections: true })
    t.teardown(() => app.close())
    await app.register(fastifyAdobeTarget, { client, organizationId, secure: false, cookies: { domain: 'shop.localhost' }, edgeNetwork: { datastreamId: 'server-datastream', edgeDomain: host } })
    const page = `<!doctype html><head>${commandQueue}${configure()}<script src="/alloy.js"></script></head><p id="promise">Fast</p>`
    app.get('/alloy.js', { config: { target: false } }, (_request, reply) => reply.type('text/javascript').send(alloyJs))
    app.get('/browser', { config: { target: false } }, (_request, reply) => reply.type('text/html').send(page))
    app.get('/server', { config: { target: ['hero'] } }, async ({ target }, reply) => reply.type('text/html').send(`${page}<i>${(await target.offer('hero')).reason}</i>`))
    const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
    const site = `http://www.shop.localhost:${port}`
    const stateSent = () => Object.fromEntries(edge.requests.at(-1)!.body.meta.state.entries.map(({ key, value }: any) => [key.slice(prefix.length), value]))
    const written = async (context: Awaited<ReturnType<typeof visitor>>['context']) => (await context.cookies())
      .filter(({ name }) => name.startsWith('kndctr_')).map(({ name, value, domain, path, httpOnly, secure, expires }) => ({ name, value, domain, path, httpOnly, secure, days: Math.round(expires / 86_400) }))
      .sort((one, other) => one.name < other.name ? -1 : 1)

    const { context: first } = await visitor(browser, host)
    const served = await first.newPage()
    await served.goto(`${site}/server`)
    const byServer = await written(first)
    const { context: second } = await visitor(browser, host)
    const alone = await second.newPage()
    await alone.goto(`${site}/browser`)
    const { identity } = await alloy(alone, 'getIdentity', { namespaces: ['ECID'] })
    const byWebSdk = await written(second)
    t.same(byServer.map(({ name }) => name), [`${prefix}cluster`, `${prefix}identity`, `${prefix}odd`])
    const without = (cookies: typeof byServer) => cookies.map(({ value, ...cookie }) => cookie.name.endsWith('_identity') ? { ...cookie, length: value.length } : { ...cookie, value })
    t.same(without(byServer), without(byWebSdk), 'one writes as the other does; two identities are of two visitors')
    t.equal(byWebSdk[1]!.value, Buffer.from(`\n&${identity.ECID}`).toString('base64url'))

    await alloy(served, 'sendEvent', {})
    t.same(stateSent(), { identity: byServer[1]!.value, cluster: 'or2', odd }, 'Web SDK reads what the server wrote')
    t.same((await written(first)).map(({ name }) => name), byServer.map(({ name }) => name), 'and writes over it: there is one of each')
    await alone.goto(`${site}/server`)
    await edge.until(() => edge.displays('hero') === 2)
    const asked = edge.requests.findLast(({ path }) => path.endsWith('/v2/interact'))!
    t.equal(asked.path, '/ee/or2/v2/interact')
    t.match(asked.body.event.xdm.identityMap, { ECID: [{ id: identity.ECID }] })
    t.same(Object.fromEntries(asked.body.meta.state.entries.map(({ key, value }: any) => [key.slice(prefix.length), value])), { identity: byWebSdk[1]!.value, cluster: 'or2', odd }, 'the server reads what Web SDK wrote')

    await alloy(alone, 'setConsent', { consent: [{ standard: 'Adobe', version: '1.0', value: { general: 'out' } }] })
    const calls = edge.requests.length
    await alone.reload()
    t.equal(await alone.textContent('i'), 'opted-out', 'its consent too')
    t.equal(edge.requests.length, calls)
  })
})
