/** What real at.js sends, at the local edge; the visitors and clients it answers; the orders that arrive there. */
import t from 'tap'
import { createTargetClient } from '../../lib/client/create-client.ts'
import { client, organizationId, startEdge } from '../support/helper.ts'

const context = { channel: 'web' }

/** Sends a body as at.js does: the client and not the organization in the query string, JSON as text. */
async function send (host: string, body: object, query = `client=${client}&sessionId=s`) {
  const response = await fetch(`http://${host}/rest/v1/delivery?${query}`, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: JSON.stringify({ context, ...body }) })
  return { status: response.status, answer: await response.json() as any }
}

t.test('view names in any case', async (t) => {
  const edge = await startEdge(t)
  edge.offer({ view: 'Cart' }, '<b>cart</b>')
  for (const name of ['Cart', 'cart', 'CART']) {
    const { answer } = await send(edge.host, { prefetch: { views: [{ name }] } })
    t.equal(answer.prefetch.views[0].options[0].content, '<b>cart</b>', name)
  }
  const { answer } = await send(edge.host, { prefetch: { views: [{}] } })
  const cart = answer.prefetch.views.find((view: any) => view.name.toLowerCase() === 'cart')
  const display = { id: '1', type: 'display', timestamp: 1, tokens: [cart.options[0].eventToken], view: { name: 'cart', state: cart.state } }
  t.equal((await send(edge.host, { notifications: [display] })).status, 200, 'the name as at.js writes it')
  for (const view of ['Cart', 'cart']) t.equal(edge.displays({ view }), 1)
  t.equal((await send(edge.host, { notifications: [{ ...display, id: '2', view: { name: 'other', state: cart.state } }] })).status, 400)
})

t.test('clicks of a page load come without a place', async (t) => {
  const edge = await startEdge(t)
  const { answer } = await send(edge.host, { execute: { pageLoad: {} } })
  const click = answer.execute.pageLoad.metrics.find(({ type }: any) => type === 'click')
  await send(edge.host, { notifications: [{ id: '1', type: 'click', timestamp: 1, tokens: [click.eventToken] }] })
  t.equal(edge.clicks({ pageLoad: true }), 1)
  const { answer: product } = await send(edge.host, { prefetch: { views: [{ name: 'product' }] } })
  const token = product.prefetch.views[0].options[0].eventToken
  await send(edge.host, { notifications: [{ id: '2', type: 'display', timestamp: 1, tokens: [token] }] })
  t.equal(edge.displays({ view: 'product' }), 0, 'a display names its view')
  t.equal(edge.displays({ pageLoad: true }), 1, 'the executed one alone')
})

t.test('a visitor known by the ECID alone gets a tntId, the same each time', async (t) => {
  const edge = await startEdge(t)
  const id = { marketingCloudVisitorId: '12345678901234567890123456789012345678' }
  const [one, two] = [await send(edge.host, { id }), await send(edge.host, { id })]
  t.match(one.answer.id.tntId, /^[0-9a-f-]{36}\.35_0$/)
  t.same(one.answer.id, two.answer.id)
  t.equal(one.answer.id.marketingCloudVisitorId, id.marketingCloudVisitorId)
  const ask = async (given: object) => (await send(edge.host, { id: given, execute: { mboxes: [{ name: 'hero', index: 0 }] } })).answer.execute.mboxes[0].options[0].content
  t.equal(await ask(one.answer.id), await ask(id), 'in the same experience')
})

t.test('another client is refused with a reason', async (t) => {
  const edge = await startEdge(t)
  const { status, answer } = await send(edge.host, {}, 'client=other&sessionId=s')
  t.equal(status, 400)
  t.match(answer.message, /unknown client "other": this edge is for "acmeclient"/)
  const target = createTargetClient({ client: 'other', organizationId, serverDomain: edge.host, secure: false })
  t.teardown(() => target.close())
  await t.rejects(target.getOffers({ request: { execute: { mboxes: [{ name: 'hero', index: 0 }] } } }), { code: 'FST_TARGET_HTTP', meta: { status: 400 } })
  t.equal((await send(edge.host, {}, `imsOrgId=${organizationId}&client=${client}&sessionId=s`)).status, 200, 'both')
})

t.test('edge.orders()', async (t) => {
  const edge = await startEdge(t)
  const order = { id: 'o1', total: 19.9, purchasedProductIds: ['p1'] }
  t.same(edge.orders(), [])
  await send(edge.host, { impressionId: 'i', execute: { mboxes: [{ name: 'confirm', index: 0, order, product: { id: 'p1' }, parameters: { a: 'b' } }] } })
  await send(edge.host, { impressionId: 'i', execute: { mboxes: [{ name: 'confirm', index: 0, order }] } })
  t.same(edge.orders(), [{ ...order, mbox: 'confirm', product: { id: 'p1' }, parameters: { a: 'b' } }], 'a repeated request counts once')
  const notification = { id: 'n', type: 'display', timestamp: 1, mbox: { name: 'thanks' }, order: { id: 'o2' } }
  await send(edge.host, { notifications: [notification] })
  await send(edge.host, { notifications: [notification] })
  await send(edge.host, { execute: { pageLoad: { order: { id: 'o3' } } } })
  t.same(edge.orders().map(({ id, mbox }) => [id, mbox]), [['o1', 'confirm'], ['o2', 'thanks'], ['o3', undefined]])
  t.same(edge.orders('thanks').map(({ id }) => id), ['o2'])
  edge.reset()
  t.same(edge.orders(), [])
})
