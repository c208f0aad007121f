/** Retries and time limits: one mechanism for each. */

/** Delays between attempts. */
export interface Backoff {
  /** ms before the second attempt; doubled for each further one. */
  first: number
  /** Maximum delay in ms. */
  max: number
  /** Range of the random factor, so that many processes do not retry at the same time. */
  jitter: readonly [min: number, max: number]
  /** From 0 to below 1. Default: `Math.random`. */
  random?: () => number
}

/**
 * The delay before the next attempt, in ms.
 *
 * @param failures number of consecutive failed attempts, from 1
 */
export function backoff (failures: number, { first, max, jitter: [low, high], random = Math.random }: Backoff): number {
  return Math.min(first * 2 ** (failures - 1), max) * (low + (high - low) * random())
}

/**
 * The result of a call that may never settle, to a store of the app's; rejects after `ms`.
 *
 * @param options `onResult`: called with the result, even if it comes too late. `keepsAlive`: whether the process waits for it;
 *   default `false`
 */
export async function within<Result> (ms: number, call: () => Promise<Result>, { onResult, keepsAlive = false }: { onResult?: (result: Result) => void, keepsAlive?: boolean } = {}): Promise<Result> {
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
    if (!keepsAlive) timer.unref()
    const called = async () => {
      const result = await call()
      clearTimeout(timer)
      onResult?.(result)
      return result
    }
    called().then(resolve, (error) => {
      clearTimeout(timer)
      reject(error)
    })
  })
}
