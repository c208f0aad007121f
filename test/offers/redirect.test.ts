/** `isSafeRedirect()`, and redirect offers with it. */
import t from 'tap'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import { isSafeRedirect } from '../../lib/index.ts'
import { cookiesOf, json, startApp, startEdge, targetCookieOf } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'

t.test('isSafeRedirect', async (t) => {
  const request = { host: 'Shop.example' }
  const hosts = ['other.example', 'stage.example:8443', '[::1]:80', 'bad host', 'x:99999', '']
  for (const location of [
    '/', '/a/b?c=d#e', '/%E2%82%AC', '?a=b', '#a', 'offers/1', './a', '../a', '/a:b', '/?next=https://evil.example', '/a//evil.example',
    'http://shop.example/', 'https://shop.example', 'HTTPS://SHOP.EXAMPLE/a', 'https://shop.example:443/a', 'http://shop.example:80/', 'https://other.example/a', 'https://stage.example:8443/', 'http://[::1]/'
  ]) t.equal(isSafeRedirect(location, request, hosts), true, encodeURIComponent(location))
  for (const location of [
    '', '//evil.example', '///evil.example', '/\\evil.example', '\\\\evil.example', '\\/evil.example', '/a\\b', 'https:\\\\evil.example', 'https:/evil.example', 'https:evil.example', 'http:evil.example', 'https:///evil.example', 'http://evil.example',
    'https://evil.example', 'https://shop.example.evil.example/', 'https://evilshop.example', 'https://shop.example@evil.example/', 'https://user@shop.example/', 'https://user:pass@shop.example/', 'https://evil.example#@shop.example', 'https://evil.example?shop.example', 'https://shop.example:8443/', 'https://stage.example/', 'https://other.example:8443/',
    'javascript:alert(1)', 'JAVASCRIPT:alert(1)', 'java\tscript:alert(1)', ' javascript:alert(1)', 'data:text/html,x', 'vbscript:x', 'file:///etc/passwd', 'ftp://shop.example/', 'blob:https://shop.example/x', 'mailto:a@shop.example', 'intent://shop.example',
    '/a\r\nset-cookie: a=b', '/a\nb', '/a\tb', '\t//evil.example', '/\t/evil.example', '/a b', ' /a', '/a ', '/\u0000', '/\u007f', '/\u00e9', '/\u2028', '/\ud800', '\uff0f\uff0fevil.example', 'https://shop.example\u3002evil.example', 'https://', 'https://%', 'https://[', 'https://shop.example:99999/', `/${'a'.repeat(5000)}`
  ]) t.equal(isSafeRedirect(location, request, hosts), false, escape(location).slice(0, 80))
  for (const odd of [undefined, null, 1, true, {}, [], ['/a'], { toString: () => '/a' }, Symbol('/a'), () => '/a', new URL('https://shop.example/')]) t.equal(isSafeRedirect(odd, request), false)
  for (const host of ['', ' ', 'a b', '/', 'shop.example@evil.example', 'x:y', '[']) {
    t.equal(isSafeRedirect('https://evil.example/', { host }), false, host)
    t.equal(isSafeRedirect('/', { host }), true)
  }
})

t.test('redirect offers: cookies are kept on the redirect, open redirects are refused', async (t) => {
  const artifact = structuredClone(sampleArtifact) as any
  const [rule] = artifact.rules.mboxes['checkout-flags']
  const offer = (location: string, content: string) => {
    artifact.rules.mboxes[location] = [{ ...structuredClone(rule), condition: true, consequence: { name: location, options: [{ type: 'redirect', content }], metrics: [] } }]
    artifact.localMboxes.push(location)
  }
  offer('path', '/sale?from=target')
  offer('listed', 'https://other.example/sale')
  for (const [index, content] of ['//evil.example', '/\\evil.example', 'https://evil.example/', 'javascript:alert(1)', '/a\r\nset-cookie: evil=1', 'https://127.0.0.1@evil.example/'].entries()) offer(`evil-${index}`, content)
  const edge = await startEdge(t, { artifact })
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get<{ Params: { mbox: string } }>('/:mbox', { config: { target: (request) => [(request.params as { mbox: string }).mbox] } }, async (request, reply) => {
      const offer = await request.target.offer(request.params.mbox)
      if (offer.type === 'redirect' && isSafeRedirect(offer.content, request, ['other.example'])) return await reply.redirect(offer.content)
      return { type: offer.type }
    })
  })
  const visit = async (path: string) => await fetch(`${url}/${path}`, { redirect: 'manual' })
  for (const [mbox, location] of [['path', '/sale?from=target'], ['listed', 'https://other.example/sale']] as const) {
    const response = await visit(mbox)
    t.equal(response.status, 302)
    t.equal(response.headers.get('location'), location)
    t.match(targetCookieOf(response), { session: String, PC: /\.35_0$/ }, 'the visitor stays known')
    t.match(cookiesOf(response), 'mboxEdgeCluster=35')
  }
  for (let index = 0; index < 6; index++) {
    const response = await visit(`evil-${index}`)
    t.equal(response.status, 200)
    t.equal(response.headers.get('location'), null)
    t.same(await json(response), { type: 'redirect' })
    t.notMatch(cookiesOf(response), 'evil')
  }
})
