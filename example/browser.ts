/**
 * Target decided on the server, applied in the browser: the page load and the views of `GET /product` are requested in parallel with
 * the handler, and at.js finds them in the page instead of requesting them again. The page allows no script without its nonce.
 */
import { randomBytes } from 'node:crypto'
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { client, organizationId } from './account.ts'
import { logo, productArt } from './art.ts'
import { atJs, isStandIn } from './at-js.ts'
import { html, Html } from './html.ts'
import { fetchProducts } from './products.ts'
import { style } from './style.ts'

const ProductQuery = Type.Object({ id: Type.String({ default: 'sweater', maxLength: 50 }) })

/** @param options host and port of the edge, for the displays and clicks that the browser reports, and address of the product service */
export async function browserRoutes (app: FastifyInstance, { edge, productService }: { edge: string, productService: string }): Promise<void> {
  // With a real account at.js knows all this; then the settings may hold what else the page wants, or not be there.
  const settings = { clientCode: client, imsOrgId: organizationId, serverDomain: edge, secureOnly: false, overrideMboxEdgeServer: false }

  app.get<{ Querystring: Static<typeof ProductQuery> }>('/product', {
    schema: { querystring: ProductQuery },
    config: { target: { execute: { pageLoad: {} }, prefetch: { views: [{}] }, maxWait: 200 } }
  }, async ({ target, query }, reply) => {
    const nonce = randomBytes(16).toString('base64')
    const products = await fetchProducts(productService) // the Target call is already running
    const product = products.find(({ id }) => id === query.id) ?? products[0]!
    const pageLoad = await target.pageLoad() // the answer, or maxWait
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
<script nonce="${nonce}">window.targetGlobalSettings = ${new Html(JSON.stringify({ ...settings, cspScriptNonce: nonce, cspStyleNonce: nonce }))}</script>
${new Html(target.script({ nonce }))}
<script nonce="${nonce}" src="/at.js"></script>
</head>
<body>
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
  <h2 id="behind-title">Decided on the server, applied by at.js</h2>
  <p class="behind__text">The call to Target started when the request arrived, and ran while the shop looked up the product: it delayed the page by ${target.timing.waited.toFixed(1)} ms. Target decided the page load (${pageLoad.reason}) and the view “product”.</p>
  <p class="behind__text">at.js found both in the page and made no request for offers: it wrote the promise of delivery, and the advice on sizes once the view was triggered. It reports displays and clicks to Target itself.</p>
  ${isStandIn && html`<p class="behind__text">at.js is Adobe's, so a stand-in does its part here. To see the real one, download it from your account and run <code>AT_JS=./at.js npm start</code>.</p>`}
  <p class="behind__why"><a href="/_target">Why? The inspector</a></p>
</div></section>
${new Html(target.toolbar({ nonce }))}
<script nonce="${nonce}">addEventListener('load', () => adobe.target.triggerView('product'))</script>
</body>
</html>
`.toString())
  })

  app.get('/at.js', async (_request, reply) => reply.type('text/javascript; charset=utf-8').send(atJs))
}
