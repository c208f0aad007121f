/**
 * Batches that wait because their host must not be called for now: its breaker is open, or too many calls wait for it.
 *
 * However many wait for a host, only one scout is sent ahead now and then; when it is answered, the rest follow.
 */
import { backoff } from '../retries.ts'
import type { TargetError } from '../errors.ts'
import type { Batch } from './batch.ts'
import { Queue } from './queue.ts'

/** The batches that wait for one host. */
interface Hold<Visitor> {
  readonly batches: Queue<Batch<Visitor>>
  /** Sends the next scout. */
  timer: NodeJS.Timeout | undefined
}

/** Time between scouts to a host: 250 to 1000 ms. */
const INTERVAL = { first: 1000, max: 1000, jitter: [0.25, 1] } as const

/** The batches that wait for their hosts, and the scouts sent ahead of them. */
export class Holds<Visitor> {
  readonly #holds = new Map<string, Hold<Visitor>>()
  readonly #random: () => number
  readonly #onReady: (batch: Batch<Visitor>) => void

  /** @param onReady called with a batch that is to be sent */
  constructor (random: () => number, onReady: (batch: Batch<Visitor>) => void) {
    this.#random = random
    this.#onReady = onReady
  }

  /** Lets a batch wait for the host that the error names. */
  add (batch: Batch<Visitor>, error: TargetError): void {
    const host = error.meta?.host ?? ''
    let hold = this.#holds.get(host)
    if (hold === undefined) {
      hold = { batches: new Queue(), timer: undefined }
      this.#holds.set(host, hold)
      this.#sendScoutLater(host, hold)
    }
    batch.moveTo(hold.batches)
  }

  /** Releases batches whose host answers again. */
  release (batches: Queue<Batch<Visitor>>): void {
    for (const batch of batches) this.#onReady(batch)
  }

  /** Sends no more scouts. */
  close (): void {
    for (const { timer } of this.#holds.values()) clearTimeout(timer)
  }

  #sendScoutLater (host: string, hold: Hold<Visitor>): void {
    hold.timer = setTimeout(() => {
      const scout = hold.batches.first
      if (scout === undefined) {
        this.#holds.delete(host)
        return
      }
      scout.scoutOf = hold.batches
      this.#onReady(scout)
      this.#sendScoutLater(host, hold)
    }, backoff(1, { ...INTERVAL, random: this.#random })).unref()
  }
}

/** Whether the call was not sent because its host must not be called for now. */
export function isPause ({ code }: TargetError): boolean {
  return code === 'FST_TARGET_BREAKER_OPEN' || code === 'FST_TARGET_OVERLOAD'
}
