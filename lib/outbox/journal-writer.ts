/**
 * A store's own journal: segments in its folder, of which only the last grows.
 *
 * The oldest segment is deleted once all its records are settled, so settled records never come back. If a few records keep an
 * old segment while most of the journal is settled, they are rewritten at the end and the segment is deleted.
 */
import { open, readFile, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { readFrames, recordFrames, settleFrame } from './frames.ts'

/** When written data is forced to the disk. */
export type SyncPolicy = 'always' | 'batch' | 'never'

/** ms between syncs with the policy `batch`. */
const SYNC_INTERVAL = 1000

/** Number of segments from which compaction is considered. */
const MANY_SEGMENTS = 4

interface Segment {
  readonly path: string
  bytes: number
  /** Bytes of each unsettled record, by its number. */
  readonly live: Map<number, number>
}

/** File extension of segments. */
export const SEGMENT = '.journal'

/** Writes one journal. Calls must not overlap, except {@link close}. */
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

  /** Whether all records are settled. */
  get empty (): boolean {
    return this.#segments.every(({ live }) => live.size === 0)
  }

  /** Bytes on disk. */
  get bytes (): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** @returns the number of the first record; the others are numbered consecutively */
  async append (payloads: readonly string[]): Promise<number> {
    const first = this.#numbers + 1
    // Numbers of a failed write are not reused: its frames may turn out to be complete on disk.
    this.#numbers += payloads.length
    const segment = await this.#write(recordFrames(first, payloads))
    payloads.forEach((payload, index) => segment.live.set(first + index, payload.length + 24))
    if (this.#sync === 'always') await this.#handle?.datasync()
    return first
  }

  async settle (numbers: readonly number[]): Promise<void> {
    const known = numbers.filter((number) => this.#segments.some(({ live }) => live.has(number)))
    if (known.length === 0) return
    // Write to disk first: if that fails, the outbox settles them again.
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

  /** Deletes settled segments, and compacts the oldest if there are many. */
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
      // The write may be partial: frames after a partial frame could never be read.
      await this.#handle?.truncate(segment.bytes).catch(ignore)
      await this.#abandon()
      throw error
    }
    segment.bytes += data.length
    if (this.#sync === 'batch') this.#syncLater()
    return segment
  }

  /** The segment to write to: the last one, or a new one if that is full. */
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

/** Syncs the directory entry, so that a new file survives a power loss. Not every system supports it. */
async function syncFolder (folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(ignore)
  await handle?.sync().catch(ignore)
  await handle?.close().catch(ignore)
}

const ignore = () => undefined
