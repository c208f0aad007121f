/** Waiting: for some time, or for something to become true; and measuring what was waited. */
import { setTimeout as sleep } from 'node:timers/promises'

export { sleep }

/**
 * Waits until something holds, looking every 5 ms.
 *
 * @param ms - how long at most; then it is for the caller's assertions to fail
 * @returns whether it holds
 */
export async function until (holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<boolean> {
  for (const end = performance.now() + ms; performance.now() < end; await sleep(5)) if (await holds()) return true
  return await holds()
}

/** ms that may pass between two looks at the clock, which are due every 5 ms, before they count as time of other processes. */
const LATE = 20

/** Time that was this process's own, and what the clocks said at the last look. */
const clock = { own: 0, time: 0, cpu: 0, watches: 0, timer: undefined as NodeJS.Timeout | undefined }

function look (): void {
  const time = performance.now()
  const { user, system } = process.cpuUsage()
  const cpu = (user + system) / 1000
  if (clock.watches > 0) clock.own += Math.min(time - clock.time, Math.max(LATE, cpu - clock.cpu))
  Object.assign(clock, { time, cpu })
}

/**
 * Measures time for an upper bound. A machine that is busy with something else may stop this process for longer than the bound;
 * that time does not count. Time in which it idles or computes does.
 *
 * @returns stops it, and returns the ms
 */
export function stopwatch (): () => number {
  look()
  if (++clock.watches === 1) clock.timer = setInterval(look, 5).unref()
  const began = clock.own
  let ms: number | undefined
  return () => {
    if (ms === undefined) {
      look()
      ms = clock.own - began
      if (--clock.watches === 0) clearInterval(clock.timer)
    }
    return ms
  }
}
