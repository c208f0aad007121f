/**
 * `npm start -- --web-sdk`: the same as `browser.ts` for sites with Adobe's Web SDK. The server asks the Edge Network, renders the
 * banner and hands the page load and the views over to Web SDK, the real one of npm `@adobe/alloy`, which makes no request for them.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { datastreams, organizationId } from './account.ts'
import { html, Html } from './html.ts'
import { productHeaders, productPage, ProductQuery } from './product-page.ts'
import { fetchProducts } from './products.ts'

/** The page's commands wait in a queue until Web SDK is loaded, and finds it by the name that is listed. */
const commandQueue = new Html(`
window.__alloyNS = ['alloy']
window.alloy = (...command) => new Promise((resolve, reject) => window.alloy.q.push([resolve, reject, command]))
window.alloy.q = []`)

function readWebSdk (): string | undefined {
  try {
    const file = join(dirname(createRequire(import.meta.url).resolve('@adobe/alloy')), '..', 'dist', 'alloy.min.js')
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined
  } catch {
    return undefined
  }
}

/** Web SDK as Adobe publishes it for browsers, from `@adobe/alloy`; undefined if that is not installed. */
export const webSdkJs = readWebSdk()

/**
 * A site of yours does not need this. Web SDK calls https and nothing else, and the local edge of this shop speaks http, since browsers
 * would warn of its certificate. So the page sends to the local edge what Web SDK sends to Adobe, unchanged.
 */
const toLocalEdge = (edge: string) => new Html(`
for (const [owner, name] of [[window, 'fetch'], [navigator, 'sendBeacon']]) {
  const send = owner[name].bind(owner)
  owner[name] = (url, ...rest) => send(String(url).replace(/^https:\\/\\/edge\\.adobedc\\.net(?=\\/)/, 'http://${edge}'), ...rest)
}`)

/** @param options host and port of the edge, and address of the product service */
export async function webSdkRoutes (app: FastifyInstance, { edge, productService }: { edge: string, productService: string }): Promise<void> {
  const configuration = new Html(JSON.stringify({ datastreamId: datastreams.browser, orgId: organizationId, thirdPartyCookiesEnabled: false }))

  app.get<{ Querystring: ProductQuery }>('/product', {
    schema: { querystring: ProductQuery },
    config: { target: { execute: { pageLoad: {}, mboxes: ['banner'] }, prefetch: { views: [{}] }, maxWait: 200 } }
  }, async ({ target, query }, reply) => {
    const nonce = randomBytes(16).toString('base64')
    const products = await fetchProducts(productService) // the Target call is already running
    const product = products.find(({ id }) => id === query.id) ?? products[0]!
    const [banner, pageLoad] = await Promise.all([target.html('banner', ''), target.pageLoad()]) // the answer, or maxWait
    return reply.headers(productHeaders(nonce, edge)).send(productPage({
      nonce,
      product,
      scripts: html`<script nonce="${nonce}">${toLocalEdge(edge)}</script>
<script nonce="${nonce}">${commandQueue}
alloy('configure', ${configuration})</script>
${new Html(target.script({ nonce }))}
<script nonce="${nonce}" src="/alloy.js" async></script>`,
      banner: html`<aside aria-label="Announcement">${new Html(banner)}</aside>`,
      behind: html`<h2 id="behind-title">Decided on the server by the Edge Network, applied by Web SDK</h2>
  <p class="behind__text">The call to the Edge Network started when the request arrived, and ran while the shop looked up the product: it delayed the page by ${target.timing.waited.toFixed(1)} ms. Target decided the banner, which the server wrote into the page, the page load (${pageLoad.reason}) and the view “product”.</p>
  <p class="behind__text">Web SDK got page load and views by <code>applyResponse</code> and made no request for offers: it wrote the promise of delivery and, with the page view that it reports, the advice on sizes. The server has reported the banner and the page load, Web SDK reports the view and the clicks.</p>
  <p class="behind__text">This is the real Web SDK. Only its address is changed, to <code>${edge}</code>, the local edge.</p>
  <p class="behind__why"><a href="/_target">The inspector</a></p>`,
      end: html`${new Html(target.toolbar({ nonce }))}
<script nonce="${nonce}">alloy('sendEvent', { renderDecisions: true, xdm: { eventType: 'web.webpagedetails.pageViews', web: { webPageDetails: { viewName: 'product' } } } })</script>`
    }))
  })

  app.get('/alloy.js', { config: { target: false } }, async (_request, reply) => reply.type('text/javascript; charset=utf-8').send(webSdkJs ?? 'console.error("@adobe/alloy is not installed")'))
}
