/**
 * Target decided on the server, applied in the browser: the page load and the views of `GET /product` are requested in parallel with
 * the handler, and at.js finds them in the page instead of requesting them again. The page allows no script without its nonce.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { client, organizationId } from './account.ts'
import { atJs, isStandIn } from './at-js.ts'
import { html, Html } from './html.ts'
import { productHeaders, productPage, ProductQuery } from './product-page.ts'
import { fetchProducts } from './products.ts'

/** @param options host and port of the edge, for the displays and clicks that the browser reports, and address of the product service */
export async function browserRoutes (app: FastifyInstance, { edge, productService }: { edge: string, productService: string }): Promise<void> {
  // With a real account at.js knows all this; then the settings may hold what else the page wants, or not be there.
  const settings = { clientCode: client, imsOrgId: organizationId, serverDomain: edge, secureOnly: false, overrideMboxEdgeServer: false }

  app.get<{ Querystring: ProductQuery }>('/product', {
    schema: { querystring: ProductQuery },
    config: { target: { execute: { pageLoad: {} }, prefetch: { views: [{}] }, maxWait: 200 } }
  }, async ({ target, query }, reply) => {
    const nonce = randomBytes(16).toString('base64')
    const products = await fetchProducts(productService) // the Target call is already running
    const product = products.find(({ id }) => id === query.id) ?? products[0]!
    const pageLoad = await target.pageLoad() // the answer, or maxWait
    return reply.headers(productHeaders(nonce, edge)).send(productPage({
      nonce,
      product,
      scripts: html`<script nonce="${nonce}">window.targetGlobalSettings = ${new Html(JSON.stringify({ ...settings, cspScriptNonce: nonce, cspStyleNonce: nonce }))}</script>
${new Html(target.script({ nonce }))}
<script nonce="${nonce}" src="/at.js"></script>`,
      behind: html`<h2 id="behind-title">Decided on the server, applied by at.js</h2>
  <p class="behind__text">The call to Target started when the request arrived, and ran while the shop looked up the product: it delayed the page by ${target.timing.waited.toFixed(1)} ms. Target decided the page load (${pageLoad.reason}) and the view “product”.</p>
  <p class="behind__text">at.js found both in the page and made no request for offers: it wrote the promise of delivery, and the advice on sizes once the view was triggered. It reports displays and clicks to Target itself.</p>
  ${isStandIn && html`<p class="behind__text">at.js is Adobe's, so a stand-in does its part here. To see the real one, download it from your account and run <code>AT_JS=./at.js npm start</code>.</p>`}
  <p class="behind__why"><a href="/_target">Why? The inspector</a></p>`,
      end: html`${new Html(target.toolbar({ nonce }))}
<script nonce="${nonce}">addEventListener('load', () => adobe.target.triggerView('product'))</script>`
    }))
  })

  app.get('/at.js', async (_request, reply) => reply.type('text/javascript; charset=utf-8').send(atJs))
}
