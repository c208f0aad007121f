/** The rule artifact that a command works on: from a file, from an address, or as published by Target for a client. */
import { readFile } from 'node:fs/promises'
import type { ArtifactFetch } from '../decisioning/artifact-fetch.ts'
import { ArtifactSource } from '../decisioning/artifact-source.ts'
import { CommandError, type CommandOption, textOf, UsageError, type Values } from './command.ts'

/** Options of every command that reads an artifact. */
export const artifactOptions = {
  artifact: { type: 'string', value: 'FILE|URL', description: 'Rule artifact, rules.json or rules.bin. Default: the one of --client at Adobe\'s CDN' },
  client: { type: 'string', value: 'CODE', description: 'Target client code. Default: the artifact\'s own' },
  environment: { type: 'string', value: 'NAME', description: 'production, staging or development. Default: production' },
  'property-token': { type: 'string', value: 'TOKEN', description: 'Target property (at_property)' },
  'organization-id': { type: 'string', value: 'ID', description: 'IMS organization id; needed to read rules.bin' }
} satisfies Record<string, CommandOption>

/** An artifact that was read. */
export interface ArtifactInput {
  /** Parsed JSON, not checked. */
  payload: object
  /** Its client code. */
  client: string
  /** File or address. */
  location: string
  /** Path of the file; undefined for an address. */
  file: string | undefined
  /** Size in bytes, before decoding. */
  size: number
  /** Headers of the response; empty for a file. */
  headers: Readonly<Record<string, string | string[] | undefined>>
}

/**
 * Reads the artifact that the options name.
 *
 * @throws UsageError if they name none; CommandError if it cannot be read
 */
export async function readArtifact (values: Values): Promise<ArtifactInput> {
  const given = textOf(values, 'artifact')
  const code = textOf(values, 'client')
  if (given === undefined && code === undefined) throw new UsageError('pass --artifact with a file or a URL, or --client with a client code')
  const isAddress = given === undefined || /^https?:\/\//i.test(given)
  let size = 0
  let headers: ArtifactInput['headers'] = {}
  const fetchArtifact: ArtifactFetch = async (url, options) => {
    const { body, ...fetched } = isAddress ? await download(url, options.maxSize, options.timeout) : { status: 200, headers: {}, body: await readFile(given!) }
    size = body.length
    headers = fetched.headers
    return { ...fetched, body: [body] }
  }
  const source = new ArtifactSource({
    client: code ?? '',
    organizationId: textOf(values, 'organization-id') ?? '',
    environment: textOf(values, 'environment'),
    propertyToken: textOf(values, 'property-token'),
    artifactLocation: given === undefined ? undefined : isAddress ? given : `file:///${given}`,
    fetch: fetchArtifact
  })
  const location = isAddress ? source.location : given!
  try {
    const { payload } = (await source.look(AbortSignal.timeout(60_000)))!
    if (typeof payload !== 'object' || payload === null) throw new Error('it is not an object')
    const { meta } = payload as { meta?: { clientCode?: unknown } }
    return { payload, client: code ?? String(meta?.clientCode ?? 'local'), location, file: isAddress ? undefined : given, size, headers }
  } catch (error) {
    throw new CommandError(`cannot read the rule artifact ${location}: ${messageOf(error)}`)
  }
}

/** One line for an error of the file system or of the network. */
export function messageOf (error: unknown): string {
  const { message = String(error), cause } = error as Error
  return cause instanceof Error && !message.includes(cause.message) ? `${message}: ${cause.message || (cause as NodeJS.ErrnoException).code}` : message
}

async function download (url: string, maxSize: number, timeout: number) {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeout) })
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > maxSize) throw new Error(`it is larger than ${maxSize} bytes`)
    chunks.push(chunk)
  }
  return { status: response.status, headers: Object.fromEntries(response.headers), body: Buffer.concat(chunks) }
}
