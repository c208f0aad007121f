/** Failures in the log: the first of a kind at once, then one line per interval that says how many there were. */
import type { TargetLogger } from './diagnostics.ts'
import type { TargetError } from './errors.ts'

/** Least time between two lines about the same kind of failure, in ms. */
const INTERVAL = 10_000

/** Kinds are error codes with their status, so there are never many of them. */
export class FailureLog {
  readonly #logger: TargetLogger
  readonly #kinds = new Map<string, { loggedAt: number, unlogged: number }>()

  constructor (logger: TargetLogger) {
    this.#logger = logger
  }

  /**
   * Never throws, even if the logger does.
   *
   * @param message the line, without visitor data; by default the error's own
   * @param count how many of a kind are reported at once
   */
  report (error: TargetError, message: string = error.message, count = 1): void {
    const name = `${error.code} ${error.meta?.status ?? ''}`
    const now = performance.now()
    const kind = this.#kinds.get(name)
    if (kind !== undefined && now - kind.loggedAt < INTERVAL) {
      kind.unlogged += count
      return
    }
    this.#kinds.set(name, { loggedAt: now, unlogged: 0 })
    const more = kind !== undefined && kind.unlogged > 0 ? ` (and ${kind.unlogged} more like it since the last line)` : ''
    try {
      this.#logger.error({ err: error }, message + more)
    } catch {
      // A logger that throws is treated as absent: there is nowhere left to say so.
    }
  }
}
