/** Waiting that ends when the edge is closed, so that `close()` is immediate and leaves no timer. */
export class Pauses {
  readonly #pending = new Map<NodeJS.Timeout, () => void>()
  #ended = false

  /** Resolves after so many milliseconds, or when the edge is closed. */
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

  /** Ends every wait, also those to come. */
  end () {
    this.#ended = true
    for (const [timer, resolve] of this.#pending) {
      clearTimeout(timer)
      resolve()
    }
    this.#pending.clear()
  }
}
