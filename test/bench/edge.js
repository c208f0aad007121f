/**
 * The edge stand-in, a process of its own: as little HTTP server as the Delivery API needs, so that it is not what is
 * measured. It answers what was asked, after a delay that the parent sets.
 */
import { createServer } from 'node:http'
import { answerParent } from './child.js'
import { generateArtifact } from './artifact.js'
import { OFFER } from './page.js'

/** ms */
let delay = 0
let calls = 0
let notified = 0
let artifact = ''

// No `edgeHost` in the answer: Adobe's SDK would call that host from then on.
function answerTo ({ requestId, id, execute, notifications }) {
  const answer = { status: 200, requestId, client: 'benchclient', id: { tntId: 'c0ffee00c0ffee00c0ffee00c0ffee00', ...id } }
  if (execute !== undefined) {
    answer.execute = {
      mboxes: execute.mboxes.map(({ index, name }) => ({
        index,
        name,
        options: [{ type: 'html', content: OFFER, responseTokens: { 'activity.id': '410001', 'activity.name': 'Welcome', 'experience.id': '0' } }]
      }))
    }
  }
  if (notifications !== undefined) {
    notified += notifications.length
    answer.notifications = notifications.map(({ id }) => ({ id }))
  }
  return JSON.stringify(answer)
}

/** The same of the Edge Network; to a report, no more than that it came. */
function edgeNetworkAnswerTo ({ event, query }) {
  if (event === undefined) return '{"requestId":"r"}'
  const handle = [
    { type: 'identity:result', payload: [{ id: event.xdm.identityMap.ECID[0].id, namespace: { code: 'ECID' } }] },
    {
      type: 'personalization:decisions',
      payload: query.personalization.decisionScopes.map((scope) => ({
        id: 'AT:eyJhY3Rpdml0eUlkIjoiNDEwMDAxIiwiZXhwZXJpZW5jZUlkIjoiMCJ9',
        scope,
        scopeDetails: { decisionProvider: 'TGT', activity: { id: '410001' }, experience: { id: '0' }, characteristics: { eventToken: '6AzAkPKZSMNLJiOIBIkMYmqipfsIHvVzTQxHolz2IpSCnQ9Y9OaLL2gsdrWQTvE5' } },
        items: [{ id: '1', schema: 'https://ns.adobe.com/personalization/html-content-item', meta: { 'activity.id': '410001', 'activity.name': 'Welcome', 'experience.id': '0' }, data: { id: '1', format: 'text/html', content: OFFER } }]
      }))
    },
    { type: 'locationHint:result', payload: [{ scope: 'EdgeNetwork', hint: 'or2', ttlSeconds: 1800 }] },
    { type: 'state:store', payload: [{ key: 'kndctr_EDGE_AdobeOrg_identity', value: 'CiYxMjM0NTY3ODkwMTIzNDU2Nzg5MTIzNDU2Nzg5MDEyMzQ1Njc4OQ', maxAge: 34_128_000 }, { key: 'kndctr_EDGE_AdobeOrg_cluster', value: 'or2', maxAge: 1800 }] }
  ]
  return JSON.stringify({ requestId: 'r', handle })
}

const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(artifact)
    return
  }
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    calls += 1
    const given = JSON.parse(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))
    const body = request.url.startsWith('/ee/') ? edgeNetworkAnswerTo(given) : answerTo(given)
    const send = () => response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body)
    if (delay === 0) send()
    else setTimeout(send, delay)
  })
})

server.listen(0, '127.0.0.1', () => {
  answerParent({
    delay (milliseconds) { delay = milliseconds },
    calls () { return calls },
    /** Notifications since it was last asked. */
    notified () {
      const count = notified
      notified = 0
      return count
    },
    artifact (shape) { artifact = JSON.stringify(generateArtifact(shape)) }
  }, { host: `127.0.0.1:${server.address().port}` })
})
