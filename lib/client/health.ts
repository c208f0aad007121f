/**
 * A client's health, for a health route: the reports of its parts, and the overall status.
 */
import type { ArtifactHealth } from '../decisioning/artifact-keeper.ts'
import type { DeliveryHealth } from '../delivery/delivery.ts'
import type { DecisioningMethod } from '../schema/index.ts'
import type { OutboxReport } from '../outbox/outbox.ts'

/** The health of a client. */
export interface TargetHealth {
  status: 'ok' | 'degraded' | 'down'
  /** Circuit breakers by host. */
  breaker: DeliveryHealth['breaker']
  /** The rule artifact, if decisions are made on-device. `age` is ms since its origin last confirmed it. */
  artifact?: ArtifactHealth
  /** Notifications since the start, `accepted = pending + sent + failed + dropped`, and the state of the outbox. */
  outbox: OutboxReport
  /** Calls and connections by host. */
  pool: DeliveryHealth['pool']
  /**
   * Mistakes that make no request fail, one sentence each that says what to do: `trustProxy` is off behind a proxy, cookies
   * never come back, an mbox is in no activity of the artifact or is not declared in its route. They do not change `status`.
   */
  warnings: string[]
}

/** The reports of the parts. */
interface Reports {
  decisioningMethod: DecisioningMethod
  delivery: DeliveryHealth
  outbox: OutboxReport
  /** Whether the outbox reports a problem. */
  outboxDegraded: boolean
  /** Undefined if no artifact is used. */
  artifact: ArtifactHealth | undefined
  warnings: string[]
}

/** Combines the reports into an overall status; see `TargetClient.health()`. */
export function createHealth ({ decisioningMethod, delivery, outbox, outboxDegraded, artifact, warnings }: Reports): TargetHealth {
  const { breaker, pool } = delivery
  const states = Object.values(breaker).map(({ state }) => state)
  const down = (states.length > 0 && states.every((state) => state === 'open')) ||
    (decisioningMethod === 'on-device' && artifact?.version === undefined)
  const degraded = states.some((state) => state !== 'closed') || outboxDegraded ||
    artifact?.state === 'stale' || artifact?.state === 'failed'
  return { status: down ? 'down' : degraded ? 'degraded' : 'ok', breaker, ...(artifact !== undefined && { artifact }), outbox, pool, warnings }
}
