/** Two ways to wait that end when the edge is closed: for something to happen at it, and for a time. */
import { failure } from '../../errors.ts'
import { callback, check, MillisecondsOrZero } from '../../validation.ts'

/** ms */
const DEFAULT_TIMEOUT = 5000

/** Waits until something has happened at the edge, without polling. */
export class Watch {
  readonly #checks = new Set<() => void>()
  readonly #ends = new Set<(error: Error) => void>()

  /** Checks the conditions of all waits. */
  check (): void {
    for (const check of this.#checks) check()
  }

  /**
   * Resolves when the condition holds: checked now, and after each event.
   *
   * @returns rejects with FST_TARGET_TIMEOUT after `timeout` ms, with FST_TARGET_CLOSED if the edge is closed first, or with the
   * condition's own error
   */
  async until (condition: () => unknown, { timeout = DEFAULT_TIMEOUT }: { timeout?: number } = {}): Promise<void> {
    check(callback, condition, { call: 'edge.until()', root: 'condition' })
    check(MillisecondsOrZero, timeout, { call: 'edge.until()', root: 'timeout' })
    if (condition()) return
    let timer: NodeJS.Timeout | undefined
    let evaluate: () => void
    let end: (error: Error) => void
    try {
      await new Promise<void>((resolve, reject) => {
        evaluate = () => {
          try {
            if (condition()) resolve()
          } catch (error) {
            reject(error)
          }
        }
        end = reject
        this.#checks.add(evaluate)
        this.#ends.add(end)
        timer = setTimeout(() => reject(failure('FST_TARGET_TIMEOUT', `edge.until(): \`${condition}\` did not become true within ${timeout} ms`)), timeout)
      })
    } finally {
      clearTimeout(timer)
      this.#checks.delete(evaluate!)
      this.#ends.delete(end!)
    }
  }

  /** Ends every wait. */
  end (): void {
    for (const end of this.#ends) end(failure('FST_TARGET_CLOSED', 'edge.until(): the edge was closed'))
  }
}

/** Pauses. They end when the edge is closed, so that `close()` is immediate and leaves no timer. */
export class Pauses {
  readonly #pending = new Map<NodeJS.Timeout, () => void>()
  #ended = false

  /** Resolves after `ms` milliseconds, or when the edge is closed. */
  wait (ms: number): Promise<void> {
    if (ms <= 0 || this.#ended) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#pending.delete(timer)
        resolve()
      }, ms)
      this.#pending.set(timer, resolve)
    })
  }

  /** Ends all current and future pauses. */
  end (): void {
    this.#ended = true
    for (const [timer, resolve] of this.#pending) {
      clearTimeout(timer)
      resolve()
    }
    this.#pending.clear()
  }
}
