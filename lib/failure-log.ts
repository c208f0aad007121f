/** Failures in the log: the first of a kind at once, then one line per interval that says how many there were. */
import type { TargetLogger } from './diagnostics.ts'
import type { TargetError } from './errors.ts'

/** Least time between two lines about the same kind of failure, in ms. */
const INTERVAL = 10_000

/** Kinds that are told apart. Past that, what is new counts as one kind: names may come from anywhere. */
const MOST_KINDS = 1000

/** Kinds are error codes with their status, unless a report names its own. */
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
   * @param name of the kind
   */
  report (error: TargetError, message: string = error.message, count = 1, name = `${error.code} ${error.meta?.status ?? ''}`): void {
    if (this.#kinds.size >= MOST_KINDS && !this.#kinds.has(name)) name = error.code
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
