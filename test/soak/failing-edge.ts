/** A local edge that fails a share of its calls, each in another way. */
import { createEdge, type EdgeOptions, type FaultKind, type TargetEdge } from '../../lib/edge/index.ts'

/** Ways to fail, as often as they stand here. Not refusals with a 4xx: those are final, and no failure of the edge. */
const FAILURES: readonly FaultKind[] = [
  'status:500', 'status:502', 'status:503', 'hang', 'stall-body', 'drip', 'reset', 'reset', 'reset-mid-body', 'reset-mid-body', 'bad-json'
]

/**
 * A local edge, not listening yet.
 *
 * @param share of the calls that fail, 0 to 1; asked for each
 */
export function createFailingEdge (options: EdgeOptions, share: () => number, failures: readonly FaultKind[] = FAILURES): TargetEdge {
  const edge = createEdge(options)
  edge.addHook('onRequest', async ({ method }) => {
    if (method === 'POST' && Math.random() < share()) edge.fault(failures[Math.floor(Math.random() * failures.length)]!, { times: 1 })
  })
  return edge
}
