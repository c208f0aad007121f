/**
 * Who owns a journal, and whether that owner lives.
 *
 * Node has no `flock`. An owner keeps the file `lock` in its folder open, and on Linux `/proc` says who has it open: that
 * sees a process that was killed, a worker thread that ended in a process that lives, and a process number that was given
 * anew, and it does not take a process for dead that is only stopped. Where `/proc` cannot tell (another system, another
 * container), the owner's heartbeat does: the time of the file, of which only the change counts, so no clock matters.
 */
import { open, readdir, readFile, readlink, rm, stat, writeFile, type FileHandle } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'

const LOCK = 'lock'

/** ms between two heartbeats. */
const HEARTBEAT = 5000

/** ms without a heartbeat after which an owner is dead. */
const SILENCE = 25_000

interface Owner {
  pid: number
  /** Where the number means this process. */
  place: string
}

/** The lock of a folder of one's own. */
export class OwnerLock {
  readonly #handle: FileHandle
  readonly #timer: NodeJS.Timeout

  private constructor (handle: FileHandle) {
    this.#handle = handle
    this.#timer = setInterval(() => {
      const now = new Date()
      handle.utimes(now, now).catch(ignore)
    }, HEARTBEAT).unref()
  }

  static async take (folder: string): Promise<OwnerLock> {
    const owner: Owner = { pid: process.pid, place: await placeOfProcess() }
    await writeFile(join(folder, LOCK), JSON.stringify(owner), { flag: 'wx', mode: 0o600 })
    return new OwnerLock(await open(join(folder, LOCK), 'r+'))
  }

  /** @param folder where it is now: without a lock in it, it is anybody's */
  async release (folder: string): Promise<void> {
    clearInterval(this.#timer)
    await this.#handle.close()
    await rm(join(folder, LOCK), { force: true })
  }
}

/** Watches the owners of other folders. */
export class OwnerWatch {
  /** The last heartbeat of an owner, and when it was seen. */
  readonly #heartbeats = new Map<string, { time: number, seen: number }>()

  /** Whether the owner of a folder lives; `false` also for a folder that nobody has locked. */
  async lives (folder: string): Promise<boolean> {
    const lock = join(folder, LOCK)
    let owner: Partial<Owner> | null
    let time: number
    try {
      time = (await stat(lock)).mtimeMs
      owner = JSON.parse(await readFile(lock, 'utf8'))
    } catch (error) {
      // A lock that cannot be read for another reason says nothing.
      return !(error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT')
    }
    if (owner?.pid !== undefined && owner.place === await placeOfProcess()) {
      if (!exists(owner.pid)) return false
      const open = await hasOpen(owner.pid, folder)
      if (open !== undefined) return open
    }
    const known = this.#heartbeats.get(folder)
    const now = performance.now()
    if (known?.time !== time) {
      this.#heartbeats.set(folder, { time, seen: now })
      return true
    }
    return now - known.seen < SILENCE
  }

  forget (folder: string): void {
    this.#heartbeats.delete(folder)
  }
}

function exists (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Whether a process has the lock of a folder open; undefined where that cannot be seen. */
async function hasOpen (pid: number, folder: string): Promise<boolean | undefined> {
  const files = `/proc/${pid}/fd`
  let names: string[]
  try {
    names = await readdir(files)
  } catch {
    return undefined
  }
  // The folder's own name is unique, and what is before it may differ from here.
  const wanted = `/${folder.split(/[\\/]/).at(-1)}/${LOCK}`
  for (const name of names) {
    const path = await readlink(`${files}/${name}`).catch(ignore)
    if (path?.endsWith(wanted) === true) return true
  }
  return false
}

let place: string | undefined

/** The machine and, in a container, the container: where a process number is unique. */
async function placeOfProcess (): Promise<string> {
  place ??= `${hostname()} ${await readlink('/proc/self/ns/pid').catch(ignore) ?? ''}`
  return place
}

const ignore = () => undefined
