/** A route that passes Delivery requests of browsers on, checked by the published schemas. */
import t from 'tap'
import { schemas } from '../../lib/index.ts'
import { startApp, startEdge } from '../support/helper.ts'

t.test('a route that takes a Delivery request from the browser', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.post<{ Body: schemas.DeliveryRequest }>('/target', {
      schema: { body: schemas.DeliveryRequest },
      config: { target: false }
    }, async (request) => {
      // The page says what it shows; who the visitor is and where from, the server says.
      const { execute, prefetch, notifications, context } = request.body
      const { response } = await app.target.getOffers({
        request: { context: { ...context, geo: undefined, userAgent: request.headers['user-agent'] }, execute, prefetch, notifications },
        sessionId: 'session-of-the-app'
      })
      return response
    })
  })
  const post = async (body: unknown) => {
    const response = await fetch(`${url}/target`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: typeof body === 'string' ? body : JSON.stringify(body) })
    return { status: response.status, body: await response.json() as any }
  }
  const good = await post({ context: { channel: 'web' }, execute: { mboxes: [{ name: 'hero', index: 0 }] } })
  t.equal(good.status, 200)
  t.match(good.body.execute.mboxes, [{ index: 0, name: 'hero', options: [{ type: 'html' }] }])
  t.match(edge.requests[0], { query: { sessionId: 'session-of-the-app' }, body: { context: { userAgent: 'node' } } })

  for (const bad of [
    {},
    { context: { channel: 'tv' } },
    { context: { channel: 'web' }, execute: { mboxes: [{ index: 0 }] } },
    { context: { channel: 'web' }, execute: { pageLoad: { parameters: { 'profile.x': '1' } } } },
    { context: { channel: 'web' }, notifications: [{ id: 'x'.repeat(300), timestamp: 1, type: 'display' }] },
    '{"context":{"channel":"web"},"__proto__":{"polluted":true}}',
    '{'
  ]) t.equal((await post(bad)).status, 400, JSON.stringify(bad))
  t.equal(edge.requests.length, 1, 'what does not fit never reaches the edge')
})
