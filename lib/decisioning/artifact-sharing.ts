/**
 * How instances share one artifact: through a store that may fail or hang at any time, and is then treated as absent.
 *
 * Promises returned here always settle: a broken store behaves like an empty one that lets every instance lead.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Log, type TargetLogger } from '../diagnostics.ts'
import { within } from '../retries.ts'
import type { ArtifactStore, StoredArtifact } from './artifact-store.ts'

/** Maximum ms between reads of the store if the instances elect a leader. */
const FOLLOW_INTERVAL = 10_000

/** Intervals after which a leader that has not renewed its lead loses it. */
const TERM = 3

/** Failed polls of the origin after which a leader lets another instance try. */
const YIELD_AFTER = 3

/** ms to wait for the store at the start before polling the origin too. */
const RESTORE_PATIENCE = 500

/** ms that an instance without an artifact waits for the leader to store the first one, and ms between its reads. */
const FIRST_PATIENCE = 2000
const FIRST_INTERVAL = 100

/** ms until a call to the store counts as failed. */
const TIMEOUT = 1000

/** Settings of {@link ArtifactSharing}. */
export interface ArtifactSharingSettings {
  artifactStore: ArtifactStore
  /** ms between polls of the origin, or 0. */
  pollingInterval: number
  /** Address of the artifact. */
  location: string
  logger: TargetLogger
}

/** This instance's side of sharing an artifact. */
export class ArtifactSharing {
  /** ms between polls of the origin or reads of the store; 0: none. */
  readonly interval: number
  readonly #settings: ArtifactSharingSettings
  readonly #store: ArtifactStore
  readonly #log: Log
  /** The artifact in use, as it is or will be in the store. */
  #stored: StoredArtifact | undefined
  /** Methods whose last call failed. */
  readonly #broken = new Set<keyof ArtifactStore>()
  #failures = 0
  /** Until when this instance does not claim the lead, by `performance.now()`. */
  #yieldsUntil = -Infinity

  constructor (settings: ArtifactSharingSettings) {
    this.#settings = settings
    this.#store = settings.artifactStore
    this.#log = Log.of(settings.logger)
    const { pollingInterval } = settings
    this.interval = this.#elects ? Math.min(pollingInterval, FOLLOW_INTERVAL) : pollingInterval
  }

  get #elects (): boolean {
    return typeof this.#store.lead === 'function'
  }

  /** ms until a lead expires unless renewed. */
  get #term (): number {
    return TERM * (this.interval || FOLLOW_INTERVAL)
  }

  /** Whether an artifact confirmed at that time is stale: the leader should have confirmed it again since. */
  isStale (confirmedAt: number): boolean {
    const { pollingInterval } = this.#settings
    return pollingInterval > 0 && performance.now() - confirmedAt > 2 * pollingInterval + this.#term
  }

  /**
   * Reads the artifact to start with.
   *
   * @param use called with the stored artifact
   * @returns false if the store is slow; `use` is then called when it answers
   */
  async restore (use: (stored: StoredArtifact) => Promise<void>): Promise<boolean> {
    const restored = this.#read().then(async (stored) => {
      if (stored !== undefined) await use(stored)
      return true
    })
    return await Promise.race([restored, sleep(RESTORE_PATIENCE, false)])
  }

  /** Claims or renews the lead, and returns whether this instance polls the origin; true if the store fails. */
  async leads (): Promise<boolean> {
    if (!this.#elects) return true
    if (performance.now() < this.#yieldsUntil) return false
    return await this.#try('lead', () => this.#store.lead!(this.#term), true)
  }

  /** Notes that the leader could not reach the origin. That may concern this instance only, so now and then another one tries. */
  fail (): void {
    this.#failures += 1
    if (this.#failures % YIELD_AFTER === 0) this.#yieldsUntil = performance.now() + 2 * this.#term
  }

  /**
   * Reads what the leader has stored.
   *
   * @param patient whether to wait a moment if there is nothing: the leader may be fetching the first one
   */
  async look (patient: boolean, signal: AbortSignal): Promise<StoredArtifact | undefined> {
    const patience = performance.now() + (patient ? FIRST_PATIENCE : 0)
    let stored = await this.#read(this.#stored)
    while (stored === undefined && performance.now() < patience) {
      await sleep(FIRST_INTERVAL, undefined, { signal })
      stored = await this.#read()
    }
    return stored
  }

  /** The stored artifact that is in use. */
  get stored (): StoredArtifact | undefined { return this.#stored }

  /** Sets the stored artifact that is in use. */
  use (stored: StoredArtifact): void {
    this.#stored = stored
  }

  /** Stores that the origin has confirmed the artifact in use, or has returned a new one. Nothing waits for the store. */
  confirm (artifact: Omit<StoredArtifact, 'location' | 'fetchedAt'> | undefined = this.#stored): void {
    this.#failures = 0
    if (artifact === undefined) return
    const stored = { ...artifact, location: this.#settings.location, fetchedAt: Date.now() }
    this.#stored = stored
    this.#try('write', () => this.#store.write(stored), undefined)
  }

  async #read (known?: StoredArtifact): Promise<StoredArtifact | undefined> {
    const stored = await this.#try('read', () => this.#store.read(known), undefined)
    if (stored === undefined || stored === null) return undefined
    if (!isStoredArtifact(stored)) return this.#report('read', 'contains something that is not an artifact')
    const { location } = this.#settings
    if (stored.location !== location) return this.#report('read', `contains the artifact of ${stored.location}, not of ${location}; give each client its own store`)
    this.#broken.delete('read')
    return stored
  }

  async #try<Result> (method: keyof ArtifactStore, call: () => Promise<Result>, otherwise: Result): Promise<Result> {
    try {
      const result = await within(TIMEOUT, call, { keepsAlive: true })
      // A read succeeds only once its result was checked.
      if (method !== 'read') this.#broken.delete(method)
      return result
    } catch (error) {
      this.#report(method, `\`${method}()\` failed: ${error instanceof Error ? error.message : 'unknown reason'}; the artifact is fetched from its origin`, error)
      return otherwise
    }
  }

  /** Logs one line until the store works again. */
  #report (method: keyof ArtifactStore, problem: string, err?: unknown): undefined {
    const known = this.#broken.size > 0
    this.#broken.add(method)
    if (known) return
    this.#log.error(`rule artifact: the store ${problem}`, { err })
  }
}

function isStoredArtifact (value: unknown): value is StoredArtifact {
  const { json, digest, location, etag, fetchedAt } = Object(value) as Partial<StoredArtifact>
  return typeof json === 'string' && typeof digest === 'string' && typeof location === 'string' && Number.isFinite(fetchedAt) &&
    (etag === undefined || typeof etag === 'string')
}
