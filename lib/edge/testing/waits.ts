/** Waiting until something has happened at the edge, without asking again and again. */
import { failure } from '../../errors.ts'

/** ms */
const patience = 5000

export class Watch {
  readonly #checks = new Set<() => void>()
  readonly #ends = new Set<(error: Error) => void>()

  /** Looks whether what somebody waits for has come. */
  check () {
    for (const check of this.#checks) check()
  }

  /**
   * Resolves when the condition holds: judged now, and after each thing that happens.
   *
   * @returns rejects with FST_TARGET_TIMEOUT after `timeout` ms, with FST_TARGET_CLOSED when the edge is closed before, or
   * with what the condition throws
   */
  async until (condition: () => unknown, { timeout = patience }: { timeout?: number } = {}): Promise<void> {
    if (typeof condition !== 'function') throw failure('FST_TARGET_INVALID_OPTIONS', 'edge.until() needs a function')
    if (!(timeout >= 0)) throw failure('FST_TARGET_INVALID_OPTIONS', 'edge.until() needs milliseconds as timeout')
    if (condition()) return
    let timer: NodeJS.Timeout | undefined
    let check: () => void
    let end: (error: Error) => void
    try {
      await new Promise<void>((resolve, reject) => {
        check = () => {
          try {
            if (condition()) resolve()
          } catch (error) {
            reject(error)
          }
        }
        end = reject
        this.#checks.add(check)
        this.#ends.add(end)
        timer = setTimeout(() => reject(failure('FST_TARGET_TIMEOUT', `edge.until() saw no ${condition} within ${timeout} ms`)), timeout)
      })
    } finally {
      clearTimeout(timer)
      this.#checks.delete(check!)
      this.#ends.delete(end!)
    }
  }

  /** Ends every wait. */
  end () {
    for (const end of this.#ends) end(failure('FST_TARGET_CLOSED', 'the edge was closed while edge.until() waited'))
  }
}
