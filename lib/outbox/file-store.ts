/**
 * `fileStore()`: keeps notifications in a directory of this machine.
 *
 * Every store object writes its own journal in its own folder, so any number of processes and worker threads share a directory
 * without waiting for each other. A folder whose owner has died is taken over with one `rename`, at which only one process can
 * succeed. Nothing here blocks the event loop.
 */
import { randomBytes } from 'node:crypto'
import { access, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { Type } from '@sinclair/typebox'
import { checkOptions, oneOf, strict, text } from '../validation.ts'
import { AdoptedJournal } from './adopted-journal.ts'
import { JournalWriter, type SyncPolicy } from './journal-writer.ts'
import { OwnerLock, OwnerWatch } from './owner-lock.ts'
import type { OutboxStore, StoredRecord } from './store.ts'

/** Options of {@link fileStore}. */
export interface FileStoreOptions {
  /** Directory of the journals, created if missing. On a local disk, shared by all processes of one app on this machine. */
  directory: string
  /**
   * When written data is forced to the disk (`fdatasync`), to survive a crash of the machine; a crash of the process alone
   * loses nothing that was written. `always`: before it counts as stored. `batch`: within a second. `never`: left to the
   * operating system. Default `batch`.
   */
  sync?: SyncPolicy
  /** Bytes after which a journal continues in a new file, so that the old one can be deleted. Default 8 MiB. */
  segmentSize?: number
}

const FileStoreOptionsSchema = Type.Object({
  directory: text('\\S', 'the path of a directory'),
  sync: Type.Optional(oneOf('always', 'batch', 'never')),
  segmentSize: Type.Optional(Type.Integer({ minimum: 1024, expected: 'a number of bytes, an integer ≥ 1024' }))
}, strict)

/** ms between checks that the store's folder still exists. */
const LOOK_INTERVAL = 1000

/** Prefix of journal folders; while being created, they have a dot before it. */
const PREFIX = 'outbox-'

/**
 * A store in a directory, for the option `notifications.store`.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option. An unusable directory is not an error: the outbox logs it, keeps
 *   notifications in memory and tries again
 */
export function fileStore (options: FileStoreOptions): OutboxStore {
  const { directory, sync = 'batch', segmentSize = 8 * 1024 * 1024 } = checkOptions<FileStoreOptions>(FileStoreOptionsSchema, options, { call: 'fileStore()' })
  return new FileStore(directory, sync, segmentSize)
}

class FileStore implements OutboxStore {
  readonly #directory: string
  readonly #sync: SyncPolicy
  readonly #segmentSize: number
  readonly #watch = new OwnerWatch()
  readonly #adopted = new Map<string, AdoptedJournal>()
  #own: Promise<{ token: string, folder: string, lock: OwnerLock, writer: JournalWriter }> | undefined
  #lookedAt = 0
  /** The last write: writes run one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor (directory: string, sync: SyncPolicy, segmentSize: number) {
    this.#directory = directory
    this.#sync = sync
    this.#segmentSize = segmentSize
  }

  append (payloads: readonly string[]): Promise<string[]> {
    return this.#inTurn(async () => {
      const { token, folder, writer } = await this.#open()
      await this.#look(folder)
      const first = await writer.append(payloads)
      return payloads.map((_, index) => `${token}:${first + index}`)
    })
  }

  settle (ids: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      const { token: ownToken, writer } = await this.#open()
      const numbers = new Map<string, number[]>()
      for (const id of ids) {
        const [token = '', number] = id.split(':')
        const list = numbers.get(token)
        if (list === undefined) numbers.set(token, [Number(number)])
        else list.push(Number(number))
      }
      for (const [token, list] of numbers) {
        const journal = token === ownToken ? writer : this.#adopted.get(token)
        await journal?.settle(list)
        if (journal instanceof AdoptedJournal && journal.done) this.#adopted.delete(token)
      }
    })
  }

  async * recover (): AsyncIterable<StoredRecord> {
    const { folder } = await this.#open()
    await this.#adoptDead(folder)
    for (const [token, journal] of this.#adopted) {
      if (journal.wasRead) continue
      for await (const records of journal.files()) {
        for (const { number, payload } of records) if (journal.take(number)) yield { id: `${token}:${number}`, payload }
      }
      if (journal.done) this.#adopted.delete(token)
    }
  }

  close (): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#own === undefined) return
      const { folder, lock, writer } = await this.#own
      this.#own = undefined
      await writer.close().finally(() => lock.release(folder))
      if (writer.empty && this.#adopted.size === 0) await rm(folder, { recursive: true, force: true })
    })
  }

  #inTurn<Result> (work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work)
    this.#last = result.catch(ignore)
    return result
  }

  /** Opens this store's folder, created on first use; after a failure the next call tries again. */
  #open () {
    this.#own ??= this.#makeFolder().catch((error) => {
      this.#own = undefined
      throw error
    })
    return this.#own
  }

  /** Checks that the folder still exists: if it was deleted or taken over, writes to it would be lost. */
  async #look (folder: string): Promise<void> {
    const now = performance.now()
    if (now - this.#lookedAt < LOOK_INTERVAL) return
    try {
      await access(folder)
      this.#lookedAt = now
    } catch (error) {
      const own = await this.#own
      this.#own = undefined
      await own?.writer.close().catch(ignore)
      await own?.lock.release(folder).catch(ignore)
      throw error
    }
  }

  async #makeFolder () {
    const token = `${PREFIX}${process.pid}-${threadId}-${randomBytes(6).toString('hex')}`
    const folder = join(this.#directory, token)
    // Hidden until it is locked: without a lock, any process could take it over.
    const hidden = join(this.#directory, `.${token}`)
    await mkdir(this.#directory, { recursive: true })
    await mkdir(hidden, { mode: 0o700 })
    const lock = await OwnerLock.take(hidden)
    await rename(hidden, folder)
    return { token, folder, lock, writer: new JournalWriter(folder, this.#sync, this.#segmentSize) }
  }

  /** Takes over the journals of dead owners, including those they had taken over themselves. */
  async #adoptDead (own: string): Promise<void> {
    for (const token of await foldersIn(this.#directory)) {
      const folder = join(this.#directory, token)
      if (folder === own || await this.#watch.lives(folder)) continue
      this.#watch.forget(folder)
      for (const inner of await foldersIn(folder)) await this.#adopt(join(folder, inner), own, inner)
      await this.#adopt(folder, own, token)
    }
  }

  async #adopt (folder: string, own: string, token: string): Promise<void> {
    const here = join(own, token)
    try {
      await rename(folder, here)
    } catch (error) {
      // Another process was faster.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    this.#adopted.set(token, new AdoptedJournal(here))
  }
}

async function foldersIn (directory: string): Promise<string[]> {
  try {
    return (await readdir(directory, { withFileTypes: true })).filter((entry) => entry.isDirectory() && entry.name.startsWith(PREFIX)).map(({ name }) => name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

const ignore = () => {}
