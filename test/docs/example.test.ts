/**
 * The example, compiled and started as `npm start` does it, in a directory of its own: the package it imports by name is
 * this one as it is now, whatever `dist` holds.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { FULL } from '../support/full.ts'
import { builtPackage } from '../support/project.ts'
import { withoutRedis } from '../support/redis-server.ts'
import { sleep, until } from '../support/wait.ts'

const run = promisify(execFile)

const directory = t.testdir({ 'package.json': readFileSync('package.json', 'utf8') })
const compiler = join('node_modules', 'typescript', 'bin', 'tsc')
cpSync(await builtPackage(), join(directory, 'dist'), { recursive: true })
// Types are the type check's business.
await run(process.execPath, [compiler, '-p', join('example', 'tsconfig.json'), '--noCheck', '--outDir', join(directory, 'example')])
const example = (file: string) => join(directory, 'example', file)
const { startShop }: typeof import('../../example/start-shop.ts') = await import(pathToFileURL(example('start-shop.js')).href)
const { reportOnce }: typeof import('../../example/once.ts') = await import(pathToFileURL(example('once.js')).href)
const { html, Html }: typeof import('../../example/html.ts') = await import(pathToFileURL(example('html.js')).href)

const shop = await startShop(0)
t.teardown(() => shop.close())
const { edge, address } = shop
t.beforeEach(() => edge.reset())

/** A browser as far as it matters: it keeps cookies. */
class Browser {
  readonly cookies = new Map<string, string>()

  async fetch (path: string, init: RequestInit = {}): Promise<Response> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(address + path, { ...init, redirect: 'manual', headers: { ...init.headers as Record<string, string>, ...(cookie !== '' && { cookie }) } })
    for (const header of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(header)!
      if (/Expires=Thu, 01 Jan 1970/.test(header)) this.cookies.delete(name!)
      else this.cookies.set(name!, value!)
    }
    return response
  }

  async page (path = '/'): Promise<string> {
    return await (await this.fetch(path)).text()
  }

  async submit (path: string, fields: Record<string, string> = {}): Promise<Response> {
    return await this.fetch(path, { method: 'POST', body: new URLSearchParams(fields) })
  }

  /** Session and `tntId`, as the `mbox` cookie has them. */
  get ids () {
    const [, session, tntId] = /^session#([^#]+)#\d+\|PC#([^#]+)#\d+$/.exec(this.cookies.get('mbox') ?? '') ?? []
    return { session, tntId }
  }
}

const experienceOf = (page: string, mbox: string) => new RegExp(`data-mbox="${mbox}" data-experience="([^"]+)"`).exec(page)?.[1]
const tokenOf = (page: string) => /name="token" value="([^"]+)"/.exec(page)![1]!

t.test('the page shows what Target decided, and is private', async (t) => {
  const visitor = new Browser()
  const response = await visitor.fetch('/')
  const page = await response.text()
  t.equal(response.status, 200)
  t.equal(response.headers.get('content-type'), 'text/html; charset=utf-8')
  t.match(response.headers.get('cache-control'), /\bprivate\b/)
  t.ok(visitor.ids.tntId, 'the visitor is known from now on')

  const heroes: Record<string, string> = { Layers: 'hero--a', Night: 'hero--b' }
  t.match(page, `<section class="hero ${heroes[experienceOf(page, 'hero')!]}">`, 'the offer is in the page as it is')
  t.match(page, '<p class="banner banner--')
  const isExpress = experienceOf(page, 'checkout-flags') === 'Express'
  t.equal(page.includes('free from €60'), isExpress, 'the flags decide what the shop says')
  t.equal(page.includes('<em>save €20</em>'), isExpress, 'and whether prices show the savings')
  t.equal(page.match(/<li class="card">/g)?.length, 6, 'the second service answered')
  t.notMatch(page, /(?:src|href)="https?:|url\(\W*https?:/, 'nothing is fetched from elsewhere')
  t.equal(edge.requests.length, 1, 'one call')
})

t.test('the timeline has the page\'s own work, the call beside it and the time it held the page', async (t) => {
  const response = await new Browser().fetch('/')
  const [products, target, waited] = ['products', 'target', 'target-wait'].map((name) =>
    new RegExp(`(?:^|, )${name};dur=(\\d+\\.\\d)`).exec(response.headers.get('server-timing')!)![1]!)
  t.ok(Number(target) > 50 && Number(products) > 70, 'both are real calls')
  const page = await response.text()
  const svg = /<svg viewBox="0 0 860[^]+?<\/svg>/.exec(page)![0]
  for (const time of [products, target, waited]) t.match(svg, `>${time} ms</text>`)
  const bar = (kind: string) => new RegExp(`bar--${kind}" x="([\\d.]+)" y="\\d+" width="([\\d.]+)"`).exec(svg)!.slice(1).map(Number) as [number, number]
  const [began, length] = bar('page')
  t.ok(bar('target')[0] < began + length, 'the call began before the work was done')
  t.match(page, `Target delayed this page by <b>${waited} ms</b>`)
})

t.test('?member=gold changes the banner', async (t) => {
  t.match(await new Browser().page('/?member=gold'), 'class="banner banner--gold"')
  t.notMatch(await new Browser().page('/?member=silver'), 'class="banner banner--gold"')
})

t.test('a returning visitor keeps session, tntId and variant', async (t) => {
  const visitor = new Browser()
  const first = await visitor.page()
  const ids = { ...visitor.ids }
  for (let visit = 0; visit < 3; visit++) {
    const page = await visitor.page()
    t.equal(experienceOf(page, 'hero'), experienceOf(first, 'hero'))
    t.equal(experienceOf(page, 'checkout-flags'), experienceOf(first, 'checkout-flags'))
    t.same(visitor.ids, ids)
  }
})

t.test('"New visitor" drops the cookies', async (t) => {
  const visitor = new Browser()
  await visitor.page()
  const { tntId } = visitor.ids
  const response = await visitor.submit('/new-visitor?member=gold')
  t.equal(response.status, 303)
  t.equal(response.headers.get('location'), '/?member=gold')
  t.same([...visitor.cookies.keys()], [])
  await visitor.page()
  t.ok(visitor.ids.tntId)
  t.not(visitor.ids.tntId, tntId)
})

t.test('a click is counted by Target, for the variant and the visitor', async (t) => {
  const visitor = new Browser()
  const page = await visitor.page()
  t.match(page, '0 clicks counted')
  const token = tokenOf(page)
  const { tntId } = visitor.ids
  const response = await visitor.submit('/click', { token })
  t.equal(response.status, 303)
  t.equal(response.headers.get('location'), '/#behind', 'back to the number')
  t.match(edge.notifications, [{ type: 'click', tokens: [token], mbox: { name: 'hero' } }])
  t.equal(edge.notifications.length, 1)
  t.equal(edge.requests.at(-1)!.body.id.tntId, tntId)
  t.equal(visitor.ids.tntId, tntId, 'the visitor stays the same')
  t.match(await visitor.page(), '1 click counted')
})

t.test('a click that Target refuses is not counted and shows no error', async (t) => {
  const visitor = new Browser()
  const before = /\d+ clicks? counted/.exec(await visitor.page())![0]
  const response = await visitor.submit('/click?member=gold', { token: 'made up' })
  t.equal(response.status, 303)
  t.equal(response.headers.get('location'), '/?member=gold#behind')
  t.same(edge.notifications, [])
  t.match(await visitor.page(), before)
  t.equal((await visitor.submit('/click')).status, 400, 'a form without a token is no form of this page')
})

t.test('without Target the page has its defaults, and the report says so', async (t) => {
  edge.fault('bad-json', { times: 1000 })
  const response = await new Browser().fetch('/')
  const page = await response.text()
  t.equal(response.status, 200)
  t.match(page, 'class="hero hero--default"')
  t.match(page, 'free from €100')
  t.notMatch(page, 'action="/click"')
  const { problems } = await reportOnce(address)
  t.same(problems, ['hero', 'banner', 'checkout-flags'].map((mbox) => `50 of 50 visitors got no offer for ${mbox}`))
})

t.test('its buttons spoil Target, and the page stays on time', async (t) => {
  const visitor = new Browser()
  for (const [state, says, reason] of [['slow', 'half a second', 'max-wait'], ['broken', 'status 500', 'error'], ['gone', 'is gone', 'error'], ['fine', 'Target is fine', 'matched']] as const) {
    t.equal((await visitor.submit('/target-is', { state })).headers.get('location'), '/#behind')
    const response = await visitor.fetch('/')
    const page = await response.text()
    t.equal(response.status, 200)
    t.match(page, says)
    t.match(page, `<td>${reason}</td>`)
    t.match(page, state === 'fine' ? /hero--[ab]/ : 'hero--default')
    const held = Number(/target-wait;dur=([\d.]+)/.exec(response.headers.get('server-timing')!)![1])
    t.ok(held < 250, `${state}: Target held it for ${held} ms`)
  }
  t.equal((await visitor.submit('/target-is', { state: 'odd' })).status, 400)
})

t.test('the inspector says why, and forces another hero for one browser', async (t) => {
  const visitor = new Browser()
  await visitor.page()
  const list = await visitor.page('/_target')
  const page = await visitor.page(/href="(\/_target\/pages\/\w+)"/.exec(list)![1]!)
  t.match(page, /Bucket [\d.]+ is in (0 to 50: Layers|50 to 100: Night)\./)
  t.equal((await visitor.fetch('/?target_override=hero:B')).status, 302)
  t.match(await visitor.page(), 'hero--b')
  await visitor.fetch('/?target_override=hero:A')
  const forced = await visitor.page()
  t.match(forced, 'hero--a')
  t.match(forced, '<td>overridden</td>')
  t.notMatch(forced, 'action="/click"', 'there is nothing to count')
})

t.test('in a browser: the banner counts when it is seen, the hero when its button is clicked', { skip: withoutBrowser, timeout: 240_000 }, async (t) => {
  const tab = await (await startBrowser(t)).newPage({ viewport: { width: 320, height: 700 } })
  const problems: string[] = []
  tab.on('pageerror', (error) => problems.push(String(error)))
  tab.on('console', (message) => { if (message.type() === 'error') problems.push(message.text()) })
  const heard = async (count: number) => { for (let wait = 0; wait < 500 && edge.notifications.length < count; wait++) await sleep(10) }
  await tab.goto(address)
  await heard(1)
  t.match(edge.notifications, [{ type: 'display', mbox: { name: 'banner' } }])
  t.equal(edge.impressions(410002), 1)
  await tab.click('.hero__action')
  await heard(2)
  t.match(edge.notifications[1], { type: 'click', mbox: { name: 'hero' }, tokens: [await tab.locator('#hero').getAttribute('data-token')] })
  await tab.locator('.toast').waitFor()
  t.match(await tab.textContent('.toast'), /^Sent to Target: \d+ clicks? counted for this hero$/)
  t.equal(`Sent to Target: ${await tab.textContent('#click output')}`, await tab.textContent('.toast'))
  t.equal(edge.requests.length, 3, 'the page\'s call and two notifications')
  t.equal(new Set(edge.requests.map(({ body }) => body.id.tntId.split('.')[0])).size, 1, 'of one visitor')

  await tab.goto(edge.qaLink(`${address}/`, { activities: [410001], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] }))
  t.equal(await tab.locator('.hero--b').count(), 1, 'a QA link pins the hero')
  t.ok(await tab.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'a small phone shows it whole')
  t.same(problems, [])
})

t.test('values in a page are escaped', async (t) => {
  t.equal(String(html`<p title="${'"\'&'}">${['<b>', new Html('<i>'), undefined, 3]}</p>`), '<p title="&quot;&#39;&amp;">&lt;b&gt;<i>3</p>')
})

t.test('a port in use is reported and left alone', async (t) => {
  const other = net.createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const { port } = other.address() as AddressInfo
  const second = await startShop(port)
  t.teardown(() => second.close())
  t.ok(Number(new URL(second.address).port) > port)
  t.equal((await fetch(second.address)).status, 200)
})

t.test('sample routes', async (t) => {
  const json = async (t: Test, path: string, visitor = new Browser()): Promise<any> => {
    const response = await visitor.fetch(path)
    t.equal(response.status, 200)
    t.match(response.headers.get('content-type'), 'application/json')
    t.ok(visitor.ids.tntId, 'Target\'s cookies are set')
    t.ok(visitor.cookies.has('mboxEdgeCluster'))
    return await response.json()
  }
  const notify = async (body: object, visitor = new Browser()) =>
    await visitor.fetch('/sendNotifications', { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })

  await t.test('GET /executePageLoad', async (t) => {
    const { status, client, execute } = await json(t, '/executePageLoad')
    t.match({ status, client }, { status: 200, client: 'acmeclient' })
    t.match(execute.pageLoad.options, [{ type: 'actions', content: [{ type: 'setHtml', selector: '#promise' }] }])
  })

  await t.test('GET /executeMbox', async (t) => {
    const { execute } = await json(t, '/executeMbox?mbox=checkout-flags,banner')
    t.match(execute.mboxes, [
      { index: 0, name: 'checkout-flags', options: [{ type: 'json', content: { freeShippingFrom: Number } }] },
      { index: 1, name: 'banner', options: [{ type: 'html', content: 'Try it outdoors' }] }
    ])
    t.equal((await fetch(`${address}/executeMbox`)).status, 204, 'nothing is asked for')
  })

  await t.test('GET /prefetchMbox', async (t) => {
    const { execute, prefetch } = await json(t, '/prefetchMbox?mbox=banner&prefetch=hero')
    t.match(execute.mboxes, [{ name: 'banner', options: [{ type: 'html' }] }])
    t.notOk(execute.mboxes[0].options[0].eventToken)
    t.match(prefetch.mboxes, [{ name: 'hero', state: String, options: [{ type: 'html', eventToken: String }] }])
    t.notOk((await json(t, '/prefetchMbox?prefetch=hero')).execute)
    t.equal((await fetch(`${address}/prefetchMbox?mbox=&prefetch=`)).status, 204)
  })

  await t.test('the commands of the original\'s README, and what it takes besides', async (t) => {
    const ids = (at = -1) => edge.requests.at(at)!.body.id
    t.equal((await fetch(`${address}/executePageload?tntId=12345`)).status, 200)
    t.equal(ids().tntId, '12345')
    for (const path of ['/executeMbox?mbox=navbar&tntId=12345', '/prefetchMbox?prefetch=cart&mbox=navbar&tntId=12345', '/prefetchView?view=home,cart&tntId=12345', '/prefetchView?view=home&tntId=12345&async=true', '/prefetchViewAsyncio?view=home,cart&tntId=12345&async=true']) {
      t.equal((await fetch(address + path)).status, 200, path)
    }
    const { prefetch } = await json(t, '/prefetchMbox?prefetch=hero')
    const body = JSON.stringify({ mboxes: [{ name: 'hero', event_tokens: [prefetch.mboxes[0].options[0].eventToken] }] })
    for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'application/octet-stream']) {
      edge.reset()
      t.equal((await fetch(`${address}/sendNotifications?tntId=12345`, { method: 'POST', body, headers: { 'content-type': type } })).status, 200, type)
      t.match(edge.notifications, [{ type: 'display', mbox: { name: 'hero' } }])
    }
    t.equal((await fetch(`${address}/executeMbox?mbox=hero&tntId=&thirdPartyId=&mcid=`)).status, 200)
    t.notOk(ids()?.thirdPartyId)
    t.equal((await fetch(`${address}/executeMbox?mbox=hero&mbox=banner&tntId=1&tntId=2`)).status, 200)
    t.match(edge.requests.at(-1)!.body, { id: { tntId: '1' }, execute: { mboxes: [{ name: 'hero' }] } })
    t.equal(edge.requests.at(-1)!.body.execute.mboxes.length, 1)
  })

  for (const route of ['/prefetchView', '/prefetchViewAsyncio']) {
    await t.test(`GET ${route}`, async (t) => {
      const { prefetch } = await json(t, `${route}?view=product`)
      t.match(prefetch.views, [{ name: 'product', state: String, options: [{ type: 'actions', eventToken: String }] }])
      t.equal((await fetch(address + route)).status, 204)
      edge.fault('status:500', { times: 1 })
      const failed = await fetch(`${address}${route}?view=product`)
      t.equal(failed.status, 502)
      t.match(await failed.json(), { code: 'FST_TARGET_HTTP', statusCode: 502 })
    })
  }

  await t.test('POST /sendNotifications takes what a prefetch returned', async (t) => {
    const visitor = new Browser()
    const { mboxes } = (await json(t, '/prefetchMbox?prefetch=hero,nothing-here', visitor)).prefetch
    const { views } = (await json(t, '/prefetchView?view=product', visitor)).prefetch
    t.equal(edge.impressions(), 0, 'prefetched is not displayed')
    const response = await notify({ mboxes, views }, visitor)
    t.equal(response.status, 200)
    t.match(await response.json(), { status: 200, notifications: [{ id: String }, { id: String }] })
    const [hero, product] = [mboxes[0], views[0]]
    t.match(edge.notifications, [
      { type: 'display', mbox: { name: 'hero', state: hero.state }, tokens: [hero.options[0].eventToken] },
      { type: 'display', view: { name: 'product', state: product.state }, tokens: [product.options[0].eventToken] }
    ])
    t.equal(edge.notifications.length, 2, 'an mbox without an offer was not displayed')
    t.equal(edge.impressions(410001), 1)
    t.equal(edge.impressions(410005), 1)
  })

  await t.test('POST /sendNotifications takes the Python sample\'s list of tokens', async (t) => {
    const { prefetch } = await json(t, '/prefetchMbox?prefetch=hero')
    const token = prefetch.mboxes[0].options[0].eventToken
    t.equal((await notify({ mboxes: [{ name: 'hero', event_tokens: [token] }] })).status, 200)
    t.match(edge.notifications, [{ type: 'display', mbox: { name: 'hero' }, tokens: [token] }])
    t.equal(edge.impressions(410001), 1)
  })

  await t.test('POST /sendNotifications refuses an invalid body', async (t) => {
    t.equal((await notify({})).status, 204)
    t.equal((await notify({ mboxes: 'hero' })).status, 400)
    const refused = await notify({ mboxes: [{ name: 'hero', event_tokens: ['made up'] }] })
    t.equal(refused.status, 502)
    t.match(await refused.json(), { code: 'FST_TARGET_HTTP' })
    t.same(edge.notifications, [])
  })

  await t.test('ids in the query string, as in the original', async (t) => {
    await json(t, '/executeMbox?mbox=hero&tntId=12345&thirdPartyId=anna&mcid=998877')
    t.match(edge.requests.at(-1)!.body, {
      id: { tntId: '12345', thirdPartyId: 'anna', marketingCloudVisitorId: '998877' },
      context: { channel: 'web', address: { url: `${address}/executeMbox?mbox=hero&tntId=12345&thirdPartyId=anna&mcid=998877` } }
    })
  })

  await t.test('the visitor of the page is the visitor here', async (t) => {
    const visitor = new Browser()
    const page = await visitor.page()
    const { tntId } = visitor.ids
    const { execute, id } = await json(t, '/executeMbox?mbox=hero', visitor)
    t.equal(id.tntId, tntId)
    t.equal(execute.mboxes[0].options[0].responseTokens['experience.name'], experienceOf(page, 'hero'))
  })
})

t.test('GET /product: decided on the server, applied in the browser', { skip: withoutBrowser }, async (t) => {
  const browser = await startBrowser(t)
  const page = await browser.newPage()
  const problems: string[] = []
  page.on('console', (message) => { if (message.type() === 'error') problems.push(message.text()) })
  page.on('pageerror', (error) => problems.push(error.message))
  const told = edge.nextRequest()
  const response = await page.goto(`${address}/product`)
  t.match(response!.headers()['content-security-policy'], /script-src 'nonce-[\w+/]{22}=='/)
  t.match(response!.headers()['cache-control'], 'private')
  await page.waitForSelector('#sizes + .advice')
  t.equal(await page.textContent('#promise'), 'Ordered by noon, sent today')
  t.match((await told).body, { execute: { pageLoad: {} }, prefetch: { views: [{}] } }, 'asked by the server')
  await until(() => edge.notifications.length === 1)
  t.match(edge.notifications, [{ type: 'display', view: { name: 'product' } }], 'shown, and told so by the browser')
  await page.click('#promise')
  await until(() => edge.notifications.length === 2)
  t.match(edge.notifications[1], { type: 'click' })
  t.equal(edge.requests.filter(({ body }) => body.execute !== undefined).length, 1, 'the browser asks for nothing')
  t.same(problems, [])

  await t.test('--web-sdk: by the Edge Network, with the real Web SDK', { skip: !FULL && 'only in npm run test:full' }, async (t) => {
    const { edge, address, close } = await startShop(0, { webSdk: true })
    t.teardown(close)
    await page.goto(`${address}/product`)
    await page.waitForSelector('#sizes + .advice')
    t.equal(await page.textContent('#promise'), 'Ordered by noon, sent today')
    t.match(await page.textContent('aside'), 'Hello, Chrome')
    await page.click('#promise')
    await edge.until(() => edge.clicks({ pageLoad: true }) === 1)
    const calls = edge.requests.map(({ path, body }) => `${path} ${body.query?.personalization?.decisionScopes ?? body.events?.[0].xdm.eventType}`)
    t.same(calls.sort(), [
      '/ee/or2/v1/collect decisioning.propositionInteract',
      '/ee/or2/v1/interact web.webpagedetails.pageViews',
      '/ee/v2/collect decisioning.propositionDisplay',
      '/ee/v2/interact __view__,banner'
    ], 'the browser asks for no page load')
    t.same([edge.displays('banner'), edge.displays({ pageLoad: true }), edge.displays({ view: 'product' }), edge.impressions()], [1, 1, 1, 3])
    await page.goto(address)
    await page.click('[data-click]')
    t.ok(await until(async () => (await page.textContent('#click output'))!.startsWith('1 click')))
    t.equal(edge.clicks('hero'), 1)
    await edge.until(() => edge.displays('hero') === 1 && edge.displays('banner') === 2)
    t.equal(new Set(edge.requests.flatMap(({ body }) => [body.event, ...body.events ?? []].flatMap((event) => event?.xdm.identityMap?.ECID?.[0].id ?? []))).size, 1, 'one visitor')
    t.same(problems, [])
    t.same((await reportOnce(address)).problems, [])
    const { execute } = await (await fetch(`${address}/executeMbox?mbox=hero`)).json() as any
    t.match(execute.mboxes, [{ name: 'hero', options: [{ type: 'html' }] }])
    await page.click('form[action^="/new-visitor"] button')
    await page.waitForSelector('.shelf')
  })
})

t.test('--once reports and ends', async (t) => {
  const { stdout, stderr } = await run(process.execPath, [example('shop.js'), '--once'])
  t.match(stdout, '50 visitors')
  const counted = [...stdout.matchAll(/^(hero|banner|checkout-flags) .*? (\d+) +\d+ %/gm)].map(([, mbox, count]) => [mbox, Number(count)] as const)
  for (const mbox of ['hero', 'banner', 'checkout-flags']) {
    t.equal(counted.reduce((sum, [name, count]) => name === mbox ? sum + count : sum, 0), 50, `everyone got ${mbox}`)
  }
  t.match(stdout, /^banner +Gold members +10 +20 %/m)
  for (const label of ['own work', 'Target\'s call', 'waited', 'effective Target time']) t.match(stdout, new RegExp(`${label}.* \\d+\\.\\d ms +\\d+\\.\\d ms$`, 'm'))
  t.notMatch(stderr, 'Off:')
})

t.test('a fleet whose servers are killed loses no impression', { skip: FULL ? withoutRedis : 'only in npm run test:full', timeout: 120_000 }, async (t) => {
  const { stdout } = await run(process.execPath, [example('fleet.js'), '--seconds', '2', '--rate', '50'])
  const count = (row: string) => Number(new RegExp(`^${row} +(\\d+)$`, 'm').exec(stdout)?.[1])
  t.ok(count('servers killed') >= 1)
  t.ok(count('pages served') >= 50)
  t.ok(count('impressions taken') >= 0.5 * count('pages served'), 'all but those of the last moment of a server')
  t.equal(count('counted once at the edge'), count('impressions taken'))
  t.equal(count('lost'), 0)
})

t.test('Ctrl-C closes the shop', async (t) => {
  const child = spawn(process.execPath, [example('shop.js')], { env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let open: string | undefined
  for await (const line of createInterface({ input: child.stdout })) {
    open = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0]
    if (open !== undefined) break
  }
  t.equal((await fetch(open!)).status, 200, 'a browser is connected')
  const exit = once(child, 'exit')
  child.kill('SIGINT')
  t.same(await exit, [0, null])
})
