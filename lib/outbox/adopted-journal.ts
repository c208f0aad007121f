/** A journal that another instance left behind: read once, and deleted when all its records are settled. */
import { appendFile, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readFrames, settleFrame } from './frames.ts'
import { SEGMENT } from './journal-writer.ts'

/** The name sorts after those of the segments. */
const SETTLED = `settled${SEGMENT}`

/** Tracks which records of such a journal were read and which are still unsettled. */
export class AdoptedJournal {
  readonly #folder: string
  readonly #live = new Set<number>()
  #settled: Set<number> | undefined
  /** Bytes of whole frames in each file. */
  readonly #whole = new Map<string, number>()
  #read = false

  constructor (folder: string) {
    this.#folder = folder
  }

  /** Whether the whole journal was read. */
  get wasRead (): boolean {
    return this.#read
  }

  /** Yields the unsettled records that were not taken before, file by file. A yielded record counts as taken only after {@link take}. */
  async * files (): AsyncGenerator<{ number: number, payload: string }[]> {
    const paths = (await readdir(this.#folder)).filter((name) => name.endsWith(SEGMENT)).sort().map((name) => join(this.#folder, name))
    this.#settled ??= await this.#findSettled(paths)
    const settled = this.#settled
    const read = fileReader()
    for (const path of paths) {
      const found: { number: number, payload: string }[] = []
      readFrames(await read(path), {
        record (number, read) { if (!settled.has(number)) found.push({ number, payload: read() }) }
      }, this.#whole.get(path))
      yield found
    }
    this.#read = true
    await this.#deleteIfDone()
  }

  /** Makes a record the caller's: no copy of it and no second reading yields it again. Returns `false` if it was taken before. */
  take (number: number): boolean {
    if (this.#settled?.has(number) === true) return false
    const { size } = this.#live
    return this.#live.add(number).size > size
  }

  async settle (numbers: readonly number[]): Promise<void> {
    const known = numbers.filter((number) => this.#live.has(number))
    if (known.length === 0) return
    // A journal that is about to be deleted needs no more frames.
    if (!this.#read || known.length < this.#live.size) await appendFile(join(this.#folder, SETTLED), settleFrame(known), { mode: 0o600 })
    for (const number of known) {
      this.#live.delete(number)
      // Another reading would find it again.
      if (!this.#read) this.#settled?.add(number)
    }
    await this.#deleteIfDone()
  }

  async #deleteIfDone (): Promise<void> {
    if (this.done) await rm(this.#folder, { recursive: true, force: true })
  }

  /** Whether the journal was read and all its records are settled. */
  get done (): boolean {
    return this.#read && this.#live.size === 0
  }

  async #findSettled (paths: string[]): Promise<Set<number>> {
    const settled = new Set<number>()
    const read = fileReader()
    for (const path of paths) {
      this.#whole.set(path, readFrames(await read(path), {
        settled (numbers) { for (const number of numbers) settled.add(number) }
      }))
    }
    return settled
  }
}

/** Reads files into one shared buffer: a result is valid until the next call. */
function fileReader (): (path: string) => Promise<Buffer> {
  let memory = Buffer.alloc(0)
  return async (path) => {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      if (memory.length < size) memory = Buffer.allocUnsafeSlow(size)
      let length = 0
      while (length < size) {
        const { bytesRead } = await file.read(memory, length, size - length)
        if (bytesRead === 0) break
        length += bytesRead
      }
      return memory.subarray(0, length)
    } finally {
      await file.close()
    }
  }
}
