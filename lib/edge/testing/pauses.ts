/** Pauses that end when the edge is closed, so that `close()` is immediate and leaves no timer. */
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
  end () {
    this.#ended = true
    for (const [timer, resolve] of this.#pending) {
      clearTimeout(timer)
      resolve()
    }
    this.#pending.clear()
  }
}
