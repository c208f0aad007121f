/** A local edge in a process of its own, which reports its host. */
import { createEdge } from '../../lib/edge/index.ts'

const [client, organizationId] = process.argv.slice(2) as [string, string]
const edge = createEdge({ client, organizationId, latency: 5 })
await edge.listen({ port: 0, host: '127.0.0.1' })
process.send!(edge.host)
// The test's process may be killed.
process.once('disconnect', () => process.exit())
