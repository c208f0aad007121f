/** The inspector in a real browser: wide and narrow, light and dark, by keyboard, and with pages that try to break out. */
import Fastify from 'fastify'
import type { Page } from 'playwright-core'
import t from 'tap'
import fastifyAdobeTarget from '../../lib/index.ts'
import targetInspector from '../../lib/inspector/index.ts'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { client, optionsFor, startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'

const HOSTILE = '"><img src=x onerror="alert(1)"><script>alert(2)</script>\u2028</textarea></pre></script>'

t.test('the inspector in Chromium', { skip: withoutBrowser }, async (t) => {
  const edge = await startEdge(t)
  edge.offer('hostile', `<b>${HOSTILE}</b>`)
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, optionsFor(edge.host, { artifactLocation: `http://${edge.host}/${client}/production/v1/rules.json` }))
  await app.register(targetInspector, { artifact: true })
  app.get('/', { config: { target: ['hero', 'banner'] } }, async ({ target }, reply) => {
    const [hero, banner] = await Promise.all([target.html('hero'), target.html('banner')])
    const nonce = 'bm9uY2U='
    return reply.type('text/html').header('content-security-policy', `default-src 'none'; img-src data:; script-src 'nonce-${nonce}'`).send(`<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,">${banner}${hero}${target.toolbar({ nonce })}`)
  })
  app.get<{ Params: { '*': string } }>('/hostile/*', async ({ target, params }) => await target.offer(params['*'] === '' ? 'hostile' : params['*'], HOSTILE))
  const url = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('127.0.0.1', 'localhost')
  await app.target.ready()
  const browser = await startBrowser(t)
  const problems: string[] = []
  const open = async (options: Parameters<typeof browser.newContext>[0]): Promise<Page> => {
    const page = await (await browser.newContext(options)).newPage()
    page.on('console', (message) => { if (message.type() !== 'log') problems.push(message.text()) })
    page.on('pageerror', (error) => problems.push(error.message))
    page.on('dialog', (dialog) => { problems.push(`a script ran: ${dialog.message()}`); dialog.dismiss() })
    page.on('request', (request) => { if (!request.url().startsWith(url) && !request.url().startsWith('data:')) problems.push(`a request to ${request.url()}`) })
    return page
  }
  const badgeOf = (page: Page) => page.evaluate('document.querySelector("target-inspector").shadowRoot.textContent') as Promise<string>
  const WAYS = [{ viewport: { width: 390, height: 844 }, colorScheme: 'dark' }, { viewport: { width: 1280, height: 860 }, colorScheme: 'light' }] as const

  for (const way of WAYS) {
    await t.test(`${way.viewport.width} wide, ${way.colorScheme}`, async (t) => {
      const page = await open(way)
      const fits = async (what: string, on = page) => t.ok(await on.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${what} is not wider than the window`)
      await page.goto(`${url}/_target`)
      const before = await page.locator('#pages tr').count()
      const shop = await page.context().newPage()
      await shop.goto(url)
      await page.locator('#pages tr').nth(before).waitFor()
      t.match(await page.textContent('[data-live-state]'), 'Live', 'the page has come by itself')
      await fits('the list')
      const background = await page.evaluate('getComputedStyle(document.body).backgroundColor')
      t.equal(background, way.colorScheme === 'dark' ? 'rgb(17, 23, 30)' : 'rgb(246, 247, 249)')

      // From the shop's badge, by keyboard, to the reason.
      t.equal(await badgeOf(shop), 'Adobe TargetInspect this page')
      await shop.locator('target-inspector').getByRole('link', { name: 'Inspect this page' }).focus()
      await shop.keyboard.press('Enter')
      await shop.waitForSelector('.verdict')
      const experience = await shop.textContent('.offer h3 strong')
      t.match(await shop.textContent('.verdict'), new RegExp(`^Bucket [\\d.]+ is in \\d+ to \\d+: ${experience}\\.$`), 'the answer is the first sentence')
      const rules = shop.getByText('Every rule, in order').first()
      await rules.focus()
      await shop.keyboard.press('Enter')
      t.ok(await shop.getByText('The edge decided. These are').first().isVisible())
      await fits('the page', shop)
      t.equal(await shop.evaluate('getComputedStyle(document.activeElement).outlineStyle'), 'solid', 'the focus shows')

      // Force the other experience by keyboard, and see it on the page.
      const other = experience === 'Night' ? 'Layers' : 'Night'
      await shop.getByText('Override it for this browser').first().focus()
      await shop.keyboard.press('Enter')
      await shop.getByRole('button', { name: other }).first().focus()
      await Promise.all([shop.waitForNavigation(), shop.keyboard.press('Enter')])
      t.match(await shop.textContent('.notice'), `hero: experience ${other}`)
      await shop.goto(url)
      t.ok(await shop.locator(other === 'Night' ? '.hero--b' : '.hero--a').isVisible())
      t.match(await badgeOf(shop), `Overridden: hero: experience ${other}Nothing is counted.`)
      await Promise.all([shop.waitForNavigation(), shop.locator('target-inspector').getByRole('link', { name: 'End overrides' }).click()])
      t.ok(await shop.locator(experience === 'Night' ? '.hero--b' : '.hero--a').isVisible(), 'the visitor is who it was')
      t.equal(shop.url(), `${url}/`)

      for (const [view, text] of [['client', 'Rule artifact'], ['activities', 'Winter hero'], ['overrides', 'By address']] as const) {
        await page.goto(`${url}/_target/${view}`)
        t.ok(await page.getByText(text).first().isVisible())
        if (view === 'client') await page.waitForSelector('.chart polyline', { state: 'attached' })
        await fits(view)
        const bare = await page.evaluate(`[...document.querySelectorAll('button, a, input:not([type=hidden]), select, textarea, summary')]
          .filter((element) => !(element.getAttribute('aria-label') ?? element.textContent.trim()) && !element.labels?.length).length`)
        t.equal(bare, 0, 'everything has a name')
      }
      await page.context().close()
    })
  }

  await t.test('hostile content is shown as text, everywhere', async (t) => {
    const name = '"><img src=x onerror=alert(3)>'
    const headers = { 'user-agent': HOSTILE.replace('\u2028', '') }
    for (const path of [`/hostile/?${HOSTILE}`, `/hostile/${encodeURIComponent(name)}`]) await app.inject({ url: path, headers })
    const page = await open(WAYS[1])
    await page.goto(`${url}/?target_override=${encodeURIComponent(`hero:${HOSTILE}`)}`)
    t.match(await badgeOf(page), 'onerror="alert(1)"', 'in the badge')
    const isText = async (what: string) => t.equal(await page.evaluate('document.querySelectorAll("img, script:not([src])").length'), 0, `nothing has become an element in ${what}`)
    await page.goto(`${url}/_target?q=${encodeURIComponent(HOSTILE)}&reason=${encodeURIComponent(HOSTILE)}`)
    t.equal(await page.inputValue('[name=q]'), HOSTILE)
    await isText('the filter')
    await page.goto(`${url}/_target?q=hostile`)
    t.match(await page.textContent('.notice'), 'onerror="alert(1)"')
    await isText('the list')
    await app.inject({ url: `/hostile/${encodeURIComponent(name)}?live`, headers })
    await page.getByText('?live').waitFor()
    await isText('a live row')
    const links = await page.locator('#pages a').evaluateAll((links: any[]) => links.map(({ href }) => String(href)))
    t.equal(links.length, 3)
    for (const link of links) {
      await page.goto(link)
      t.match(await page.textContent('.facts .wide'), '<img src=x onerror="alert(1)">')
      await page.evaluate('for (const details of document.querySelectorAll("details")) details.open = true')
      await isText('a page')
    }
    await page.goto(`${url}/_target/overrides`)
    await isText('the overrides')
    await page.context().close()
  })
  // What the policy forbids is named on the console, and so are errors of any script.
  t.same(problems, [])
})
