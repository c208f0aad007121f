/**
 * A process: an edge, and an origin of rule artifacts that serves another one every second. Says `{ edge, origin }`, their
 * hosts; takes `{ share }`, the share of requests that fail from now on.
 */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo, Server } from 'node:net'
import { answerParent } from './child.ts'
import { createFailingEdge } from './failing-edge.ts'

let share = 0
const hostOf = (server: Pick<Server, 'address'>) => `127.0.0.1:${(server.address() as AddressInfo).port}`

const edge = createFailingEdge({ latency: () => Math.random() * 20 }, () => share, [
  'status:500', 'status:502', 'status:503', 'status:400', 'status-in-body', 'hang', 'stall-body', 'drip', 'reset', 'reset-mid-body',
  'bad-json', 'slow:50', 'slow:400', ...Math.random() < 0.5 ? ['huge-body' as const] : []
])
await edge.listen({ port: 0, host: '127.0.0.1' })

// As this edge serves it, for the tokens of its own.
const artifact = (await edge.inject('/acmeclient/production/v1/rules.json')).json<object>()
const origin = createServer((request, response) => {
  if (Math.random() < share) return Math.random() < 0.5 ? request.socket.resetAndDestroy() : response.end('{"version":')
  const version = `1.0.${Math.floor(Date.now() / 1000)}`
  response.setHeader('etag', `"${version}"`)
  response.end(JSON.stringify({ ...artifact, version }))
}).listen(0, '127.0.0.1')
await once(origin, 'listening')

answerParent((question) => {
  share = question.share
})
process.send!({ edge: hostOf(edge.server), origin: hostOf(origin) })
