/** Adobe's Web SDK, the real one, in a real browser: with the local edge alone, and with pages of the plugin. */
import Fastify from 'fastify'
import t from 'tap'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { alloy, alloyJs, baseCode, configure, visitor } from './browser.ts'

t.test('Web SDK', { skip: withoutBrowser }, async (t) => {
  const browser = await startBrowser(t)

  t.test('asks the local edge by itself', async (t) => {
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
})
