/**
 * Who owns a journal, and whether that owner is alive.
 *
 * Node has no `flock`. An owner keeps the file `lock` in its folder open, and on Linux `/proc` shows who has it open: that
 * detects a killed process, a worker thread that ended while its process lives on, and a reused process id, and does not take
 * a stopped process for dead. Where `/proc` cannot show it (another system, another container), the owner's heartbeat does:
 * the file's modification time, of which only changes count, so clocks need not agree.
 */
import { open, readdir, readFile, readlink, rm, stat, writeFile, type FileHandle } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'

const LOCK = 'lock'

/** ms between heartbeats. */
const HEARTBEAT = 5000

/** ms without a heartbeat after which an owner counts as dead. */
const SILENCE = 25_000

interface Owner {
  pid: number
  /** The machine or container in which the process id is valid. */
  place: string
}

/** The lock of a store's own folder. */
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

  /** @param folder its current path; without a lock, any process may take it over */
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

  /** Whether the owner of a folder is alive; `false` if nobody has locked it. */
  async lives (folder: string): Promise<boolean> {
    const lock = join(folder, LOCK)
    let owner: Partial<Owner> | null
    let time: number
    try {
      time = (await stat(lock)).mtimeMs
      owner = JSON.parse(await readFile(lock, 'utf8'))
    } catch (error) {
      // Any other read error proves nothing, so the owner counts as alive.
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

/** Whether a process has the lock of a folder open; undefined if that cannot be determined. */
async function hasOpen (pid: number, folder: string): Promise<boolean | undefined> {
  const files = `/proc/${pid}/fd`
  let names: string[]
  try {
    names = await readdir(files)
  } catch {
    return undefined
  }
  // Compare by the folder's unique name: the path before it may differ between processes.
  const wanted = `/${folder.split(/[\\/]/).at(-1)}/${LOCK}`
  for (const name of names) {
    const path = await readlink(`${files}/${name}`).catch(ignore)
    if (path?.endsWith(wanted) === true) return true
  }
  return false
}

let place: string | undefined

/** The machine and, in a container, the container: the scope in which a process id is unique. */
async function placeOfProcess (): Promise<string> {
  place ??= `${hostname()} ${await readlink('/proc/self/ns/pid').catch(ignore) ?? ''}`
  return place
}

const ignore = () => undefined
