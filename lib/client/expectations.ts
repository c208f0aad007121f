/** Expected notifications: they wait for a response, a decision or the app's functions before they are queued. */

/** Counts expected notifications, and waits for them. */
export class Expectations {
  readonly #open = new Set<object>()
  readonly #watches = new Set<(ended: object) => void>()

  /** Expects one more. Returns a function to be called when it is queued, or will not be. */
  add (): () => void {
    const one = {}
    this.#open.add(one)
    return () => {
      this.#open.delete(one)
      for (const onEnded of this.#watches) onEnded(one)
    }
  }

  /**
   * Waits for those expected so far.
   *
   * @param timeout maximum wait in ms
   * @returns how many of them are still outstanding
   */
  async ended (timeout: number): Promise<number> {
    if (this.#open.size === 0) return 0
    const left = new Set(this.#open)
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#watches.delete(onEnded)
        resolve()
      }
      const timer = setTimeout(done, timeout)
      const onEnded = (ended: object) => {
        left.delete(ended)
        if (left.size === 0) done()
      }
      this.#watches.add(onEnded)
    })
    return left.size
  }
}
