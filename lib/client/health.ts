/**
 * How a client is, for a health route: what its parts report, and what that comes to.
 */
import type { ArtifactHealth } from '../decisioning/artifact-keeper.ts'
import type { DeliveryHealth } from '../delivery/delivery.ts'
import type { DecisioningMethod } from '../schema/index.ts'
import type { OutboxReport } from '../outbox/outbox.ts'

/** How a client is. */
export interface TargetHealth {
  status: 'ok' | 'degraded' | 'down'
  /** Circuit breakers by host. */
  breaker: DeliveryHealth['breaker']
  /** The rule artifact, where decisions are made on-device. `age` is ms since its origin last confirmed it. */
  artifact?: ArtifactHealth
  /** Notifications since the start, `accepted = pending + sent + failed + dropped`, and how they are getting on. */
  outbox: OutboxReport
  /** Calls and connections by host. */
  pool: DeliveryHealth['pool']
}

/** What the parts report. */
interface Reports {
  decisioningMethod: DecisioningMethod
  delivery: DeliveryHealth
  outbox: OutboxReport
  /** The outbox says that something is wrong. */
  outboxDegraded: boolean
  /** Undefined where no artifact is wanted. */
  artifact: ArtifactHealth | undefined
}

/** Puts the reports together and judges them; see `TargetClient.health()`. */
export function createHealth ({ decisioningMethod, delivery, outbox, outboxDegraded, artifact }: Reports): TargetHealth {
  const { breaker, pool } = delivery
  const states = Object.values(breaker).map(({ state }) => state)
  const down = (states.length > 0 && states.every((state) => state === 'open')) ||
    (decisioningMethod === 'on-device' && artifact?.version === undefined)
  const degraded = states.some((state) => state !== 'closed') || outboxDegraded ||
    artifact?.state === 'stale' || artifact?.state === 'failed'
  return { status: down ? 'down' : degraded ? 'degraded' : 'ok', breaker, ...(artifact !== undefined && { artifact }), outbox, pool }
}
