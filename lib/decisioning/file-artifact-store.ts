/** The rule artifact in a file: it survives restarts, and the processes of one machine share it. */
import { Type } from '@sinclair/typebox'
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rename, rm, utimes, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkOptions, strict, text } from '../validation.ts'
import type { ArtifactStore, StoredArtifact } from './artifact-store.ts'

/** Options of {@link fileArtifactStore}. */
export interface FileArtifactStoreOptions {
  /** Directory for this one artifact; created if missing. */
  directory: string
}

const OptionsSchema = Type.Object({ directory: text('.', 'a path, a string that is not empty') }, strict)

/** Maximum bytes of the file's first line. */
const MAX_HEADER = 16 * 1024

/** ms within which all processes that find an expired lead will have claimed it. */
const SETTLING = 30

/**
 * Keeps the rule artifact in the file `artifact` of a directory: one line of JSON about it, then the artifact. The file's
 * modification time is when the origin last confirmed it. It is written to a temporary file and renamed, so it is always whole.
 *
 * The file `leader` names the process that has the lead, and until when.
 *
 * @throws FST_TARGET_INVALID_OPTIONS without a `directory`
 */
export function fileArtifactStore (options: FileArtifactStoreOptions): Required<ArtifactStore> {
  const { directory } = checkOptions<FileArtifactStoreOptions>(OptionsSchema, options, { call: 'fileArtifactStore()' })
  const artifact = join(directory, 'artifact')
  const leader = join(directory, 'leader')
  const id = randomUUID()

  /** @param move moves the complete file into place */
  const put = async (path: string, content: string, move = rename) => {
    const draft = `${path}.${randomUUID()}`
    await mkdir(directory, { recursive: true })
    try {
      const file = await open(draft, 'wx')
      try {
        await file.writeFile(content)
        await file.datasync()
      } finally {
        await file.close()
      }
      await move(draft, path)
    } finally {
      await rm(draft, { force: true })
    }
  }

  return {
    async read (known) {
      const file = await open(artifact).catch(unlessAbsent)
      if (file === undefined) return undefined
      try {
        const [header, fetchedAt] = await readHeader(file)
        if (header === undefined) return undefined
        if (header.digest === known?.digest && header.location === known.location) return { ...known, fetchedAt }
        const text = await file.readFile('utf8')
        return { ...header, fetchedAt, json: text.slice(text.indexOf('\n') + 1) }
      } finally {
        await file.close()
      }
    },

    async write ({ json, fetchedAt, ...header }) {
      const file = await open(artifact).catch(unlessAbsent)
      try {
        const held = file && (await readHeader(file))[0]
        if (held?.digest !== header.digest || held.location !== header.location) await put(artifact, `${JSON.stringify(header)}\n${json}`)
      } finally {
        await file?.close()
      }
      await utimes(artifact, fetchedAt / 1000, fetchedAt / 1000)
    },

    async lead (term) {
      const now = Date.now()
      const claim = JSON.stringify({ id, term, until: now + term })
      const held = await readLead(leader)
      if (held === undefined) {
        // Of several processes that find no file, only one can link it.
        try {
          await put(leader, claim, link)
          return true
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        }
      } else if (held.id !== id) {
        // If the clock was set back, `until` may be too far ahead: that must not keep a dead leader in place.
        if (held.until > now && held.until - now <= held.term) return false
        await put(leader, claim)
        // Of several processes that find it expired, the last to write wins.
        await sleep(SETTLING)
      } else {
        await put(leader, claim)
      }
      return (await readLead(leader))?.id === id
    }
  }
}

/** The first line, `undefined` if invalid, and when the artifact was confirmed. The file position stays at the beginning. */
async function readHeader (file: FileHandle): Promise<[Omit<StoredArtifact, 'json' | 'fetchedAt'> | undefined, number]> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_HEADER), 0, MAX_HEADER, 0)
  const { mtimeMs } = await file.stat()
  const [line] = buffer.toString('utf8', 0, bytesRead).split('\n', 1)
  try {
    const { digest, location, etag } = JSON.parse(line!)
    return [{ digest, location, etag }, Math.round(mtimeMs)]
  } catch {
    return [undefined, 0]
  }
}

/** The current lead; one that expired long ago if the file is invalid; undefined without a file. */
async function readLead (path: string): Promise<{ id: string, term: number, until: number } | undefined> {
  const text = await readFile(path, 'utf8').catch(unlessAbsent)
  if (text === undefined) return undefined
  try {
    const { id, term, until } = JSON.parse(text)
    return { id, term, until }
  } catch {
    return { id: '', term: 0, until: 0 }
  }
}

function unlessAbsent (error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}
