/** Calls to a `Delivery` of short patience, and how they end. */
import { Delivery, type DeliveryAnswer, type DeliveryCall, type DeliverySettings } from '../../lib/delivery/delivery.ts'
import { loadUndici } from '../../lib/delivery/undici.ts'
import type { TargetError } from '../../lib/errors.ts'
import { stopwatch } from '../support/wait.ts'

// As for the plugin, so that calls begin at once.
await loadUndici()

/** ms for calls that are to time out. */
export const TIMEOUT = 250
/** ms for all others, which no machine is too busy for. */
const PATIENCE = 10_000
export const GRACE = 150

export const POOL = { connections: 4, keepAliveTimeout: 60_000, maxAge: 300_000, allowH2: false, maxResponseSize: 1024 * 1024, maxQueue: 16 }
export const BREAKER = { failures: 10, window: 10_000, cooldown: 100 }

const silent = { debug () {}, error () {} }

export const network = (settings: Partial<DeliverySettings> = {}) => new Delivery({ pool: POOL, breaker: BREAKER, logger: silent, ...settings })

export const callTo = (origin: string, more: Partial<DeliveryCall> = {}): DeliveryCall => ({
  origin,
  path: '/rest/v1/delivery?imsOrgId=org&sessionId=s',
  body: '{"context":{"channel":"web"}}',
  requestId: 'r-1',
  kind: 'page',
  timeout: PATIENCE,
  breakerTimeout: TIMEOUT,
  grace: GRACE,
  retryable: true,
  ...more
})

/** Sends a call; `answer` as a promise, whose rejection may go unseen. */
export function send (delivery: Delivery, call: DeliveryCall): { answer: Promise<DeliveryAnswer>, abort (): void } {
  let abort = () => {}
  const answer = new Promise<DeliveryAnswer>((resolve, reject) => {
    const exchange = delivery.send(call, (answered, error) => answered === undefined ? reject(error) : resolve(answered))
    abort = () => exchange.abort()
  })
  answer.catch(() => {})
  return { answer, abort }
}

/** How a call ended, and after how many ms: by the clock, and by a stopwatch, for upper bounds. */
export type Ending = { elapsed: number, took: number } & ({ answer: DeliveryAnswer, error?: never } | { error: TargetError, answer?: never })

export async function endingOf (delivery: Delivery, call: DeliveryCall): Promise<Ending> {
  const start = performance.now()
  const took = stopwatch()
  const ending = await send(delivery, call).answer.then((answer) => ({ answer }), (error: TargetError) => ({ error }))
  return { ...ending, elapsed: performance.now() - start, took: took() }
}

/** A server's name in `health()`. */
export const hostOf = ({ origin }: { origin: string }): string => new URL(origin).host
