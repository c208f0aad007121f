/** Downloads and decodes the rule artifact: JSON or obfuscated, with ETag, bounded in size and time. */
import { createHash } from 'node:crypto'
import { failure } from '../errors.ts'
import { CDN, type ArtifactFetch, type FetchedFile } from './artifact-fetch.ts'
import { deobfuscate } from './obfuscation.ts'
import { parseJson } from './parse-json.ts'
import { Slices } from './slices.ts'

/** Settings of an {@link ArtifactSource}; options have the names of Adobe's Node SDK. */
export interface ArtifactSourceSettings {
  client: string
  organizationId: string
  /** `production`, `staging` or `development`; default `production`. */
  environment?: string | undefined
  propertyToken?: string | undefined
  /** Full address; default: at Adobe's CDN, by client, environment and property token. */
  artifactLocation?: string | undefined
  /** Default: `bin` if the location's path ends in `.bin`, else `json`. */
  artifactFormat?: 'json' | 'bin' | undefined
  fetch: ArtifactFetch
}

/** A new artifact from the origin. */
export interface FetchedArtifact {
  /** Parsed JSON, not checked yet. */
  payload: unknown
  /** The payload as JSON in UTF-8. */
  json: Uint8Array
  digest: string
  etag: string | undefined
  headers: FetchedFile['headers']
  /** To be called once it is in use. */
  accept (): void
}

/** Largest artifact, in bytes. */
const MAX_SIZE = 64 * 1024 * 1024

/** Timeout of a download in ms. */
const TIMEOUT = 30_000

/** Downloads the rule artifact of one client if it has changed. */
export class ArtifactSource {
  /** Address of the artifact. */
  readonly location: string
  readonly #settings: ArtifactSourceSettings
  #etag: string | undefined
  #digest: string | undefined

  constructor (settings: ArtifactSourceSettings) {
    this.#settings = settings
    this.location = locate(settings)
  }

  /**
   * Polls the origin.
   *
   * @returns undefined if the last accepted artifact is still the latest; rejects with `FST_TARGET_ARTIFACT` if the response
   * is unusable, or with the error of `fetch`
   */
  async look (signal: AbortSignal): Promise<FetchedArtifact | undefined> {
    const { status, headers, body } = await this.#settings.fetch(this.location, {
      kind: 'artifact',
      headers: this.#etag === undefined ? {} : { 'if-none-match': this.#etag },
      maxSize: MAX_SIZE,
      timeout: TIMEOUT,
      signal
    })
    if (status === 304 && this.#etag !== undefined) return undefined
    if (status !== 200) throw failure('FST_TARGET_ARTIFACT', `the server returned status ${status}`)
    // Not every origin supports ETags, and recompiling the same artifact is wasted work.
    const digest = await digestOf(body)
    const etag = typeof headers.etag === 'string' ? headers.etag : undefined
    const accept = () => this.accept({ digest, etag })
    if (this.#digest === digest) {
      accept()
      return undefined
    }
    const json = await this.#read(await joined(body))
    return { payload: await parse(json), json, digest, etag, headers, accept }
  }

  /** Sets what is in use: from now on only something newer is returned. */
  accept ({ digest, etag }: { digest: string, etag?: string | undefined }): void {
    this.#digest = digest
    this.#etag = etag
  }

  async #read (body: Uint8Array): Promise<Uint8Array> {
    const { artifactFormat, organizationId } = this.#settings
    const format = artifactFormat ?? (/\.bin$/i.test(new URL(this.location).pathname) ? 'bin' : 'json')
    return format === 'bin' ? await deobfuscate(body, organizationId) : body
  }
}

/** The SHA-256 of a file. `webcrypto` would copy a large one in a single turn of the event loop. */
async function digestOf (chunks: readonly Uint8Array[]): Promise<string> {
  const hash = createHash('sha256')
  const slices = new Slices()
  for (const chunk of chunks) {
    hash.update(chunk)
    if (slices.isOver) await slices.next()
  }
  return hash.digest('base64url')
}

/** A file in one piece. */
async function joined (chunks: readonly Uint8Array[]): Promise<Uint8Array> {
  const file = Buffer.allocUnsafeSlow(chunks.reduce((size, { length }) => size + length, 0))
  const slices = new Slices()
  let start = 0
  for (const chunk of chunks) {
    file.set(chunk, start)
    start += chunk.length
    if (slices.isOver) await slices.next()
  }
  return file
}

/** Parses an artifact; rejects with `FST_TARGET_ARTIFACT`. */
export async function parse (json: Uint8Array): Promise<unknown> {
  try {
    return await parseJson(json)
  } catch (cause) {
    throw failure('FST_TARGET_ARTIFACT', 'not JSON (truncated, or obfuscated for another organization)', { cause })
  }
}

/** Where Target publishes the artifact of a client. */
function locate ({ client, environment, propertyToken, artifactFormat, artifactLocation }: ArtifactSourceSettings): string {
  if (artifactLocation !== undefined) return artifactLocation
  const path = [client, (environment ?? 'production').toLowerCase(), 'v1']
  if (propertyToken !== undefined) path.push(propertyToken)
  path.push(artifactFormat === 'bin' ? 'rules.bin' : 'rules.json')
  return `${CDN}/${path.map(encodeURIComponent).join('/')}`
}
