/**
 * `npm start -- --web-sdk`: the same as `browser.ts` for sites with Adobe's Web SDK. The server asks the Edge Network, renders the
 * banner and hands the page load and the views over to Web SDK, the real one of npm `@adobe/alloy`, which makes no request for them.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { datastreams, organizationId } from './account.ts'
import { logo, productArt } from './art.ts'
import { html, Html } from './html.ts'
import { fetchProducts } from './products.ts'
import { style } from './style.ts'

const ProductQuery = Type.Object({ id: Type.String({ default: 'sweater', maxLength: 50 }) })

/** Adobe's base code: it queues the page's commands until Web SDK is loaded. */
const baseCode = new Html('!function(n,o){o.forEach(function(o){n[o]||((n.__alloyNS=n.__alloyNS||[]).push(o),n[o]=function(){var u=arguments;return new Promise(function(i,l){n[o].q.push([i,l,u])})},n[o].q=[])})}(window,["alloy"])')

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

  app.get<{ Querystring: Static<typeof ProductQuery> }>('/product', {
    schema: { querystring: ProductQuery },
    config: { target: { execute: { pageLoad: {}, mboxes: ['banner'] }, prefetch: { views: [{}] }, maxWait: 200 } }
  }, async ({ target, query }, reply) => {
    const nonce = randomBytes(16).toString('base64')
    const products = await fetchProducts(productService) // the Target call is already running
    const product = products.find(({ id }) => id === query.id) ?? products[0]!
    const [banner, pageLoad] = await Promise.all([target.html('banner', ''), target.pageLoad()]) // the answer, or maxWait
    return reply
      .type('text/html; charset=utf-8')
      .header('cache-control', 'private, no-cache')
      .header('content-security-policy', `default-src 'self'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self' ${edge}; img-src data:`)
      .send(html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${product.name}, Ridge &amp; Burn</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${style}</style>
<script nonce="${nonce}">${toLocalEdge(edge)}</script>
<script nonce="${nonce}">${baseCode}
alloy('configure', ${configuration})</script>
${new Html(target.script({ nonce }))}
<script nonce="${nonce}" src="/alloy.js" async></script>
</head>
<body>
<aside aria-label="Announcement">${new Html(banner)}</aside>
<header class="top"><a class="top__logo" href="/">${logo} Ridge &amp; Burn</a></header>
<main class="product">
<div class="card__art card__art--${product.id}">${productArt(product.id)}</div>
<div>
<h1>${product.name}</h1>
<p>${product.text}</p>
<p class="product__price">€${product.price}</p>
<p id="promise">Delivery in three days</p>
<p id="sizes">Sizes: S, M, L</p>
<p><a href="/">All products</a></p>
</div>
</main>
<section class="behind" id="behind" aria-labelledby="behind-title"><div class="behind__inner">
  <p class="behind__eyebrow">Behind this page</p>
  <h2 id="behind-title">Decided on the server by the Edge Network, applied by Web SDK</h2>
  <p class="behind__text">The call to the Edge Network started when the request arrived, and ran while the shop looked up the product: it delayed the page by ${target.timing.waited.toFixed(1)} ms. Target decided the banner, which the server wrote into the page, the page load (${pageLoad.reason}) and the view “product”.</p>
  <p class="behind__text">Web SDK got page load and views by <code>applyResponse</code> and made no request for offers: it wrote the promise of delivery and, with the page view that it reports, the advice on sizes. The server has reported the banner and the page load, Web SDK reports the view and the clicks.</p>
  <p class="behind__text">This is the real Web SDK. Only its address is changed, to <code>${edge}</code>, the local edge.</p>
  <p class="behind__why"><a href="/_target">The inspector</a></p>
</div></section>
${new Html(target.toolbar({ nonce }))}
<script nonce="${nonce}">alloy('sendEvent', { renderDecisions: true, xdm: { eventType: 'web.webpagedetails.pageViews', web: { webPageDetails: { viewName: 'product' } } } })</script>
</body>
</html>
`.toString())
  })

  app.get('/alloy.js', { config: { target: false } }, async (_request, reply) => reply.type('text/javascript; charset=utf-8').send(webSdkJs ?? 'console.error("@adobe/alloy is not installed")'))
}
