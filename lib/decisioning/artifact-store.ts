/** The contract of a store that keeps the rule artifact beyond the life of the process and shares it between instances. */

/** A stored rule artifact. */
export interface StoredArtifact {
  /** The artifact, as JSON. */
  json: string
  /** SHA-256 of the file at its origin; artifacts with the same digest are the same. */
  digest: string
  /** The address it was fetched from. */
  location: string
  /** Its ETag there, if there was one. */
  etag?: string | undefined
  /** When its origin last confirmed it, in ms since 1970. */
  fetchedAt: number
}

/**
 * The option `artifactStore`: keeps the last rule artifact beyond the life of the process, and shares it between instances.
 * Each method has 1 s; a failure or timeout is logged once, and the store is treated as absent.
 */
export interface ArtifactStore {
  /**
   * Reads the artifact that was written last.
   *
   * @param known the artifact in use; if the stored digest is the same, a store may return this object with the stored
   *   `fetchedAt` rather than read the whole artifact again
   * @returns undefined if there is none
   */
  read (known?: StoredArtifact): Promise<StoredArtifact | undefined>
  /** Stores an artifact in place of the last one; called again with a new `fetchedAt` whenever the origin has confirmed it. */
  write (artifact: StoredArtifact): Promise<void>
  /**
   * Claims or renews the lead: only the instance that has it polls the origin, the others follow the store. Called every 10 s,
   * or every `pollingInterval` if that is shorter. Without this method, every instance polls the origin.
   *
   * @param term ms until the lead expires unless renewed
   * @returns whether this instance has the lead
   */
  lead? (term: number): Promise<boolean>
}
