/** How the engine fetches, without knowing by what: the rule artifact and the geo lookup. */

/** Adobe's CDN for artifacts and geo lookups. */
export const CDN = 'https://assets.adobetarget.com'

/** A GET over the plugin's own connections: any complete answer resolves, whatever its status. */
export type ArtifactFetch = (url: string, options: {
  /** For the tracing channel. */
  kind: 'artifact' | 'geo'
  headers: Record<string, string>
  /** Largest body, in bytes. */
  maxSize: number
  /** ms, one wall clock over everything. */
  timeout: number
  signal?: AbortSignal | undefined
}) => Promise<FetchedFile>

/** An answer to a GET. */
export interface FetchedFile {
  status: number
  /** Names in lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: Uint8Array
}
