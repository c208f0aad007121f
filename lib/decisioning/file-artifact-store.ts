/** The rule artifact in a file: the last one survives a restart, and the processes of one machine share it. */
import { Type } from '@sinclair/typebox'
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rename, rm, utimes, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkOptions, strict, text } from '../validation.ts'
import type { ArtifactStore, StoredArtifact } from './artifact-store.ts'

/** Options of {@link fileArtifactStore}. */
export interface FileArtifactStoreOptions {
  /** Folder of its own for one artifact; made if it is not there. */
  directory: string
}

const OptionsSchema = Type.Object({ directory: text('.', 'a path, a string that is not empty') }, strict)

/** Bytes the first line of the file can have. */
const MAX_HEADER = 16 * 1024

/** ms in which all that find an expired lead have claimed it. */
const SETTLING = 30

/**
 * Keeps the rule artifact in `artifact` in a folder: one line of JSON about it, then the artifact. When its origin last
 * confirmed it is the file's time of modification. Written beside it and moved there, so that it is always whole.
 *
 * The lead is the file `leader`: the process named in it, for as long as the file says.
 *
 * @throws FST_TARGET_INVALID_OPTIONS without a `directory`
 */
export function fileArtifactStore (options: FileArtifactStoreOptions): Required<ArtifactStore> {
  const { directory } = checkOptions<FileArtifactStoreOptions>(OptionsSchema, options, { call: 'fileArtifactStore()' })
  const artifact = join(directory, 'artifact')
  const leader = join(directory, 'leader')
  const id = randomUUID()

  /** @param move puts the complete file into its place */
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
        // Of several that find none, one makes the file.
        try {
          await put(leader, claim, link)
          return true
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        }
      } else if (held.id !== id) {
        // A clock that was set back must not leave a leader in office that is gone.
        if (held.until > now && held.until - now <= held.term) return false
        await put(leader, claim)
        // Of several that find it expired, the last one has it.
        await sleep(SETTLING)
      } else {
        await put(leader, claim)
      }
      return (await readLead(leader))?.id === id
    }
  }
}

/** What the first line says, and when the artifact was confirmed; `undefined` where it says nothing. The file is then at its beginning. */
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

/** Who has the lead; one that expired long ago where the file says nothing; undefined without a file. */
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
