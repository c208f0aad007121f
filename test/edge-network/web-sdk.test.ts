/** Adobe's Web SDK, the real one, in a real browser: with the local edge alone, and with pages of the plugin. */
import Fastify, { type FastifyReply } from 'fastify'
import t from 'tap'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import fastifyAdobeTarget, { type FastifyAdobeTargetOptions, type RequestTarget } from '../../lib/index.ts'
import { client, organizationId, startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { alloy, alloyJs, baseCode, configure, visitor } from './browser.ts'

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
      `<!doctype html><head>${baseCode}${configure()}<script src="/alloy.js"></script></head><body><p id="promise">Fast</p><div id="sizes"></div><div id="hero"></div></body>`
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
    await page.waitForFunction("document.querySelector('#promise').textContent !== 'Fast'")
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
      .send(`<!doctype html><head>${baseCode}${configure(settings)}`.replaceAll('<script>', `<script nonce="${nonce}">`) +
        `${script}<script src="/alloy.js"></script></head><body>${body}<p id="promise">Fast</p><div id="sizes"></div></body>`)
    app.get('/alloy.js', { config: { target: false } }, (_request, reply) => reply.type('text/javascript').send(alloyJs))
    app.get('/', { config: { target: { execute: { pageLoad: {}, mboxes: ['hero'] }, prefetch: { views: [{}] } } } }, async ({ target }, reply) =>
      send(reply, (await target.pageLoad(), target.script({ nonce })), {}, await target.html('hero', '')))
    app.get('/rendered', { config: { target: { prefetch: { pageLoad: {} } } } }, async ({ target }, reply) => send(reply, (await target.pageLoad(), target.script({ nonce }))))
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
    await page.waitForFunction("document.querySelector('#promise').textContent !== 'Fast'")
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
    await page.waitForFunction("document.querySelector('#promise').textContent !== 'Fast'")
    await edge.until(() => edge.displays({ pageLoad: true }) === 1)
    t.equal(edge.requests.filter(({ path }) => path.includes('/v1/')).length, 1, 'what was prefetched the browser reports')
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
    await careful.waitForFunction("document.querySelector('#promise').textContent !== 'Fast'")
  })
})
