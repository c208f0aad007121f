/**
 * Target decided on the server, applied in the browser: the page load and the views of `GET /product` are asked for beside
 * the handler, and at.js finds them in the page instead of asking again. The page allows no script without its nonce.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { client, organizationId } from './account.ts'
import { atJs } from './at-js.ts'
import { html, Html } from './html.ts'

/** @param edge host and port of the edge, for the displays and clicks that the browser tells itself */
export async function browserRoutes (app: FastifyInstance, { edge }: { edge: string }): Promise<void> {
  // With a real account at.js knows all this; then the settings may hold what else the page wants, or not be there.
  const settings = { clientCode: client, imsOrgId: organizationId, serverDomain: edge, secureOnly: false, overrideMboxEdgeServer: false }

  app.get('/product', {
    config: { target: { execute: { pageLoad: {} }, prefetch: { views: [{}] }, maxWait: 200 } }
  }, async ({ target }, reply) => {
    const nonce = randomBytes(16).toString('base64')
    await target.pageLoad() // the answer, or maxWait
    return reply
      .type('text/html; charset=utf-8')
      .header('cache-control', 'private, no-cache')
      .header('content-security-policy', `default-src 'self'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self' ${edge}; img-src data:`)
      .send(html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Tarn sweater</title>
<link rel="icon" href="data:,">
<script nonce="${nonce}">window.targetGlobalSettings = ${new Html(JSON.stringify({ ...settings, cspScriptNonce: nonce, cspStyleNonce: nonce }))}</script>
${new Html(target.script({ nonce }))}
<script nonce="${nonce}" src="/at.js"></script>
</head>
<body>
<h1>Tarn sweater</h1>
<p id="promise">Delivery in three days</p>
<p id="sizes">Sizes: S, M, L</p>
<a href="/">All products</a>
<script nonce="${nonce}">addEventListener('load', () => adobe.target.triggerView('product'))</script>
</body>
</html>
`.toString())
  })

  app.get('/at.js', async (_request, reply) => reply.type('text/javascript; charset=utf-8').send(atJs))
}
