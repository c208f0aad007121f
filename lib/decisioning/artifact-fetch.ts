/** The interface through which the engine fetches the rule artifact and geo lookups, independent of the HTTP client. */

/** Adobe's CDN for artifacts and geo lookups. */
export const CDN = 'https://assets.adobetarget.com'

/** A GET over the plugin's own connections; resolves with any complete response, whatever its status. */
export type ArtifactFetch = (url: string, options: {
  /** For the tracing channel. */
  kind: 'artifact' | 'geo'
  headers: Record<string, string>
  /** Largest body, in bytes. */
  maxSize: number
  /** Timeout of the whole request in ms. */
  timeout: number
  signal?: AbortSignal | undefined
}) => Promise<FetchedFile>

/** The response to a GET. */
export interface FetchedFile {
  status: number
  /** Names in lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>>
  /** In chunks: joining those of a large body blocks the event loop. */
  body: readonly Uint8Array[]
}
