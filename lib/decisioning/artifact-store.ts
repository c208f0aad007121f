/** The contract of a store that keeps the rule artifact beyond the process and shares it between instances. */

/** A rule artifact as a store holds it. */
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
 * The option `artifactStore`: where the last rule artifact outlives the process, and where instances share it. Each method
 * has 1 s; one that fails or takes longer is logged once and treated as absent.
 */
export interface ArtifactStore {
  /**
   * Reads what was written last.
   *
   * @param known the artifact in use; a store that holds the same digest may return it with the stored `fetchedAt` rather
   *   than read it all again
   * @returns undefined if there is none
   */
  read (known?: StoredArtifact): Promise<StoredArtifact | undefined>
  /** Keeps an artifact in place of the last one; called again with another `fetchedAt` whenever the origin confirmed it. */
  write (artifact: StoredArtifact): Promise<void>
  /**
   * Claims or renews the lead: the one instance that has it asks the origin, the others follow the store. Asked every 10 s,
   * or every `pollingInterval` if that is shorter. Left out: every instance asks the origin.
   *
   * @param term ms the lead holds unless renewed
   * @returns whether this instance has the lead
   */
  lead? (term: number): Promise<boolean>
}
