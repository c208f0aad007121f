/**
 * The journal that a store writes: segments in its own folder, the last of which grows.
 *
 * The oldest segment is deleted when nothing in it is left, so that what is settled never comes back. If something in it is
 * left for long while most of the journal is settled, that is written anew at the end, and the segment deleted.
 */
import { open, readFile, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { readFrames, recordFrames, settleFrame } from './frames.ts'

/** When written data is forced to the disk. */
export type SyncPolicy = 'always' | 'batch' | 'never'

/** ms between two syncs with the policy `batch`. */
const SYNC_INTERVAL = 1000

/** Segments from which on it is worth while to look for a way to have fewer. */
const MANY_SEGMENTS = 4

interface Segment {
  readonly path: string
  bytes: number
  /** Bytes of records, by number, that are not settled. */
  readonly live: Map<number, number>
}

/** Ending of a segment's name. */
export const SEGMENT = '.journal'

/** Writes one journal. Its methods are not to be called before the last one has ended, but {@link close}. */
export class JournalWriter {
  readonly #folder: string
  readonly #sync: SyncPolicy
  readonly #segmentSize: number
  readonly #segments: Segment[] = []
  #handle: FileHandle | undefined
  #names = 0
  #numbers = 0
  #dirty = false
  #timer: NodeJS.Timeout | undefined
  #syncError: unknown

  constructor (folder: string, sync: SyncPolicy, segmentSize: number) {
    this.#folder = folder
    this.#sync = sync
    this.#segmentSize = segmentSize
  }

  /** Whether no record is left. */
  get empty (): boolean {
    return this.#segments.every(({ live }) => live.size === 0)
  }

  /** Bytes on disk. */
  get bytes (): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** @returns the number of the first record; the others follow it */
  async append (payloads: readonly string[]): Promise<number> {
    const first = this.#numbers + 1
    // Numbers of a failed write are not used again: what it left may yet be found whole.
    this.#numbers += payloads.length
    const segment = await this.#write(recordFrames(first, payloads))
    payloads.forEach((payload, index) => segment.live.set(first + index, payload.length + 24))
    if (this.#sync === 'always') await this.#handle?.datasync()
    return first
  }

  async settle (numbers: readonly number[]): Promise<void> {
    const known = numbers.filter((number) => this.#segments.some(({ live }) => live.has(number)))
    if (known.length === 0) return
    // First on disk: if that fails, it will be asked again.
    await this.#write(settleFrame(known))
    for (const number of known) for (const { live } of this.#segments) live.delete(number)
    await this.#clean()
  }

  async close (): Promise<void> {
    clearTimeout(this.#timer)
    const handle = this.#handle
    this.#handle = undefined
    if (handle === undefined) return
    try {
      if (this.#sync !== 'never') await handle.datasync()
    } finally {
      await handle.close()
    }
  }

  /** Deletes what is settled; the segments are not to be used after that. */
  async #clean (): Promise<void> {
    while (this.#segments.length > 1 && this.#segments[0]!.live.size === 0) await this.#deleteOldest()
    if (this.#segments.length <= MANY_SEGMENTS) return
    const oldest = this.#segments[0]!
    let left = 0
    for (const { live } of this.#segments) for (const bytes of live.values()) left += bytes
    if (left * 2 > this.bytes) return
    const numbers: number[] = []
    const payloads: string[] = []
    readFrames(await readFile(oldest.path), {
      record (number, read) {
        if (!oldest.live.has(number) || numbers.includes(number)) return
        numbers.push(number)
        payloads.push(read())
      }
    })
    for (const [index, number] of numbers.entries()) {
      const segment = await this.#write(recordFrames(number, [payloads[index]!]))
      segment.live.set(number, payloads[index]!.length + 24)
    }
    if (this.#sync !== 'never') await this.#handle?.datasync()
    await this.#deleteOldest()
  }

  async #deleteOldest (): Promise<void> {
    await unlink(this.#segments[0]!.path)
    this.#segments.shift()
  }

  async #write (data: Buffer): Promise<Segment> {
    if (this.#syncError !== undefined) {
      const error = this.#syncError
      this.#syncError = undefined
      await this.#abandon()
      throw error
    }
    const segment = await this.#segment()
    try {
      for (let done = 0; done < data.length;) {
        const { bytesWritten } = await this.#handle!.write(data, done)
        done += bytesWritten
      }
    } catch (error) {
      // A part of it may be there: nothing may follow that, or it would not be found.
      await this.#handle?.truncate(segment.bytes).catch(ignore)
      await this.#abandon()
      throw error
    }
    segment.bytes += data.length
    if (this.#sync === 'batch') this.#syncLater()
    return segment
  }

  /** The segment to write to, a new one if the last is large enough. */
  async #segment (): Promise<Segment> {
    const last = this.#segments.at(-1)
    if (this.#handle !== undefined && last !== undefined && last.bytes < this.#segmentSize) return last
    await this.#abandon()
    const path = join(this.#folder, `${String(++this.#names).padStart(8, '0')}${SEGMENT}`)
    this.#handle = await open(path, 'ax', 0o600)
    if (this.#sync !== 'never') await syncFolder(this.#folder)
    const segment = { path, bytes: 0, live: new Map<number, number>() }
    this.#segments.push(segment)
    return segment
  }

  async #abandon (): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    if (handle === undefined) return
    if (this.#sync === 'batch' && this.#dirty) await handle.datasync().catch(ignore)
    await handle.close().catch(ignore)
  }

  #syncLater (): void {
    this.#dirty = true
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#dirty = false
      this.#handle?.datasync().catch((error) => { if (error.code !== 'EBADF') this.#syncError = error })
    }, SYNC_INTERVAL).unref()
  }
}

/** So that a new file in it survives a loss of power. Not every system can do that. */
async function syncFolder (folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(ignore)
  await handle?.sync().catch(ignore)
  await handle?.close().catch(ignore)
}

const ignore = () => undefined
