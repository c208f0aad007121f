/** Long work in slices, so that it does not block the event loop. */
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds of work per turn of the event loop. */
const SLICE = 5

/** Divides work between turns of the event loop: `if (slices.isOver) await slices.next()` after each step. */
export class Slices {
  #start = performance.now()

  /** Whether this turn has worked long enough. */
  get isOver (): boolean { return performance.now() - this.#start > SLICE }

  /** Lets the event loop turn. */
  async next (): Promise<void> {
    await nextTurn()
    this.#start = performance.now()
  }
}
