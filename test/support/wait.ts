/** Waiting: for some time, or for something to become true. */
import { setTimeout as sleep } from 'node:timers/promises'

export { sleep }

/**
 * Waits until something holds, looking every 5 ms.
 *
 * @param ms - how long at most; then it is for the caller's assertions to fail
 * @returns whether it holds
 */
export async function until (holds: () => boolean, ms = 10_000): Promise<boolean> {
  for (const end = performance.now() + ms; performance.now() < end; await sleep(5)) if (holds()) return true
  return holds()
}
