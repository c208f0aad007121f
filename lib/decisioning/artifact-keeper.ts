/**
 * The rule artifact's life cycle: fetched, checked, compiled, kept fresh. The only part of the engine with timers and network.
 *
 * The last good artifact stays until a better one is compiled, whatever its origin returns in between. With a store it
 * outlives the process, and only the leading instance polls the origin; the others follow the store.
 */
import { AsyncResource } from 'node:async_hooks'
import { channels, Log, type TargetLogger } from '../diagnostics.ts'
import { backoff } from '../retries.ts'
import { failure, isTargetError, type TargetError } from '../errors.ts'
import { ArtifactSharing } from './artifact-sharing.ts'
import { ArtifactSource, parse, type ArtifactSourceSettings } from './artifact-source.ts'
import type { ArtifactStore, StoredArtifact } from './artifact-store.ts'
import { type CompiledArtifact, compileArtifact } from './compile.ts'
import { geoFromHeaders } from './geo.ts'

/**
 * - `loading`: the first artifact is being loaded
 * - `ready`: there is one, and the last poll succeeded
 * - `stale`: there is one, but the last poll failed, or it is a stored one that has not been confirmed since the start
 * - `failed`: there is none, and the last attempt failed
 */
export type ArtifactState = 'loading' | 'ready' | 'stale' | 'failed'

/** Events as Adobe's Node SDK names them. */
export type ArtifactEvent = 'clientReady' | 'artifactDownloadSucceeded' | 'artifactDownloadFailed' | 'geoLocationUpdated'

/** Settings of an {@link ArtifactKeeper}; options have the names of Adobe's Node SDK. */
export interface ArtifactSettings extends ArtifactSourceSettings {
  /** An artifact to start with, as parsed JSON; the first poll is then one interval later. It must not be changed. */
  artifactPayload?: unknown
  /** Keeps the last artifact and shares it with other instances. */
  artifactStore?: ArtifactStore | undefined
  /** ms between polls of the origin; 0: none once there is an artifact. */
  pollingInterval: number
  logger: TargetLogger
  /** Must not throw. */
  onEvent?: ((name: ArtifactEvent, detail: object) => void) | undefined
}

/** The state of the artifact, for `health()`. */
export interface ArtifactHealth {
  state: ArtifactState
  /** Version of the artifact in use; absent before there is one. */
  version?: string
  /** ms since its origin last confirmed it. */
  age?: number
  /** Why the last poll failed; absent if it succeeded. */
  error?: string
}

/** ms before the first retry, doubled each time up to the polling interval, or up to `MAX_RETRY` without polling. */
const FIRST_RETRY = 1000
const MAX_RETRY = 300_000

/** Intervals vary by up to a tenth, so that many processes do not poll at the same time. */
const JITTER = [0.9, 1.1] as const

/** The result of an attempt. */
interface Attempt {
  changed: boolean
  /** When the origin confirmed the artifact, by `performance.now()`. */
  confirmedAt: number | undefined
}

interface Waiter {
  resolve: () => void
  reject: (error: TargetError) => void
}

/** Loads the artifact and keeps it current. */
export class ArtifactKeeper {
  readonly #settings: ArtifactSettings
  readonly #source: ArtifactSource
  readonly #sharing: ArtifactSharing | undefined
  readonly #log: Log
  /** Runs work in the async context in which this object was created, never in that of a request. */
  readonly #scope = new AsyncResource('FASTIFY_ADOBE_TARGET_ARTIFACT')
  readonly #waiters = new Set<Waiter>()
  readonly #closing = new AbortController()
  #started = false
  #current: CompiledArtifact | undefined
  #state: ArtifactState = 'loading'
  #error: TargetError | undefined
  #failures = 0
  #retrievals = 0
  /** By `performance.now()`, which is unaffected by clock changes. */
  #confirmedAt: number | undefined
  /** The same by the wall clock, ms since the epoch, for traces. */
  #retrievedAt: number | undefined
  #announced = false
  /** Whether an artifact was confirmed since the start, by its origin or by the leader; a restored one at first is not. */
  #confirmed = false
  #running: Promise<Attempt> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor (settings: ArtifactSettings) {
    this.#settings = settings
    this.#source = new ArtifactSource(settings)
    this.#log = Log.of(settings.logger)
    const { artifactStore } = settings
    if (artifactStore !== undefined) this.#sharing = new ArtifactSharing({ ...settings, artifactStore, location: this.location })
  }

  /** Where the artifact comes from. */
  get location (): string { return this.#source.location }

  /** Whether {@link start} was called. */
  get started (): boolean { return this.#started }

  /** The artifact to decide with. A request should read it only once. */
  get current (): CompiledArtifact | undefined { return this.#current }

  get state (): ArtifactState { return this.#state }

  /** The current state, without I/O; works even after `stop()`. */
  get health (): ArtifactHealth {
    const health: ArtifactHealth = { state: this.#state }
    if (this.#current !== undefined) health.version = this.#current.version
    if (this.#confirmedAt !== undefined) health.age = Math.round(performance.now() - this.#confirmedAt)
    if (this.#error !== undefined) health.error = this.#error.message
    return health
  }

  /** For traces, in the format of Adobe's engine. */
  get trace (): Record<string, unknown> {
    return {
      artifactLocation: this.#settings.artifactPayload === undefined ? this.location : 'Not Applicable',
      pollingInterval: this.#settings.pollingInterval,
      pollingHalted: this.#stopped,
      artifactVersion: this.#current?.version ?? 'unknown',
      artifactRetrievalCount: this.#retrievals,
      artifactLastRetrieved: new Date(this.#retrievedAt ?? Date.now()).toISOString(),
      ...this.#current?.meta
    }
  }

  get #stopped (): boolean { return this.#closing.signal.aborted }

  /** Starts loading and polling. Returns immediately; timers do not keep the process alive. */
  start (): void {
    if (this.#started || this.#stopped) return
    this.#started = true
    const { artifactPayload } = this.#settings
    this.#run(artifactPayload === undefined ? () => this.#begin() : () => this.#useGiven(artifactPayload)).catch(() => {})
  }

  /**
   * Fetches the artifact now, or joins the current download.
   *
   * @returns `changed: false` if the origin has nothing new; rejects with `FST_TARGET_ARTIFACT` and keeps the old artifact
   * if the new one is unusable, with `FST_TARGET_CLOSED` after `stop()`
   */
  async refresh (): Promise<{ changed: boolean }> {
    if (this.#stopped) throw failure('FST_TARGET_CLOSED', 'the rule artifact was not fetched')
    // The running attempt may only be reading the store.
    if (this.#sharing !== undefined) await this.#running?.catch(() => {})
    const { changed } = await this.#run(() => this.#download())
    return { changed }
  }

  /**
   * Resolves when there is an artifact.
   *
   * @param options `timeout`: ms; default: none
   * @returns rejects with `FST_TARGET_NOT_READY` at the timeout, or if the client is closed first
   */
  async ready ({ timeout }: { timeout?: number } = {}): Promise<void> {
    if (this.#current !== undefined) return
    if (this.#stopped) throw this.#notReady('the client is closed')
    // A caller waits for the next attempt: it must keep the process alive.
    this.#timer?.ref()
    let timer: NodeJS.Timeout | undefined
    let waiter: Waiter | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiters.add(waiter = { resolve, reject })
        if (timeout !== undefined) timer = setTimeout(() => reject(this.#notReady(`no rule artifact within ${timeout} ms`)), timeout)
      })
    } finally {
      clearTimeout(timer)
      this.#waiters.delete(waiter!)
    }
  }

  #notReady (detail: string): TargetError {
    return failure('FST_TARGET_NOT_READY', detail, { cause: this.#error })
  }

  /** Stops polling and aborts the current download. The artifact stays. */
  stop (): void {
    this.#closing.abort()
    clearTimeout(this.#timer)
    for (const { reject } of this.#waiters) reject(this.#notReady('the client was closed'))
  }

  /** Runs one attempt at a time, in the keeper's own async context, and schedules the next. */
  #run (attempt: () => Promise<Attempt>): Promise<Attempt> {
    this.#running ??= this.#scope.runInAsyncScope(async () => {
      clearTimeout(this.#timer)
      try {
        const result = await attempt()
        this.#succeed(result)
        return result
      } catch (thrown) {
        throw this.#fail(thrown)
      } finally {
        this.#running = undefined
        this.#schedule()
      }
    })
    return this.#running
  }

  /** The first attempt: uses the stored artifact before polling the origin, unless the store is slow. */
  async #begin (): Promise<Attempt> {
    const restored = await this.#sharing?.restore((stored) => this.#restore(stored))
    return await (restored === false ? this.#download() : this.#look())
  }

  async #restore (stored: StoredArtifact): Promise<void> {
    // The stored artifact may arrive after a fetched one.
    const wanted = () => this.#current === undefined
    if (!wanted() || this.#stopped) return
    try {
      if (!await this.#useStored(stored, wanted)) return
    } catch (thrown) {
      const err = asArtifactError(thrown)
      if (!this.#stopped) this.#log.error(`${err.message}; the stored artifact was not used`, { err })
      return
    }
    this.#turn('stale', undefined)
    this.#announce()
  }

  /** Polls once: the origin, or the store if another instance leads. */
  async #look (): Promise<Attempt> {
    const sharing = this.#sharing
    if (sharing === undefined) return await this.#download()
    if (!await sharing.leads()) return await this.#follow(sharing)
    if (!this.#isDue) return { changed: false, confirmedAt: this.#confirmedAt }
    try {
      return await this.#download()
    } catch (thrown) {
      sharing.fail()
      throw thrown
    }
  }

  async #follow (sharing: ArtifactSharing): Promise<Attempt> {
    const known = sharing.stored
    const stored = await sharing.look(this.#current === undefined, this.#closing.signal)
    if (stored === undefined && this.#current === undefined) return await this.#download()
    const changed = stored !== undefined && stored.digest !== known?.digest
    if (changed) await this.#useStored(stored)
    // It was confirmed just now, by this machine's clock: clocks of two machines are compared only if nothing else is known.
    if (stored !== undefined && known !== undefined && stored.fetchedAt !== known.fetchedAt) this.#confirmedAt = performance.now()
    if (stored !== undefined) sharing.use(stored)
    if (sharing.isStale(this.#confirmedAt!)) throw failure('FST_TARGET_ARTIFACT', 'the leading instance has not confirmed it recently')
    return { changed, confirmedAt: this.#confirmedAt }
  }

  async #download (): Promise<Attempt> {
    const fetched = await this.#source.look(this.#closing.signal)
    if (fetched === undefined) {
      this.#sharing?.confirm()
      return { changed: false, confirmedAt: performance.now() }
    }
    const { payload, json, digest, etag, headers, accept } = fetched
    await this.#use(payload)
    accept()
    this.#sharing?.confirm({ json: new TextDecoder().decode(json), digest, etag })
    this.#emit('artifactDownloadSucceeded', { artifactLocation: this.location, artifactPayload: payload })
    this.#emit('geoLocationUpdated', { geoContext: geoFromHeaders(headers) })
    return { changed: true, confirmedAt: performance.now() }
  }

  async #useStored (stored: StoredArtifact, wanted?: () => boolean): Promise<boolean> {
    if (!await this.#use(await parse(Buffer.from(stored.json)), wanted)) return false
    this.#source.accept(stored)
    this.#sharing!.use(stored)
    this.#confirmedAt = performance.now() - Math.max(0, Date.now() - stored.fetchedAt)
    return true
  }

  async #useGiven (payload: unknown): Promise<Attempt> {
    await this.#use(payload)
    return { changed: true, confirmedAt: performance.now() }
  }

  /** @returns whether it is in use now: once compiled, it may no longer be `wanted` */
  async #use (payload: unknown, wanted: () => boolean = () => true): Promise<boolean> {
    const compiled = await compileArtifact(payload, { report: (problem) => this.#report(problem) })
    if (this.#stopped) throw failure('FST_TARGET_CLOSED', 'the rule artifact was not compiled')
    if (!wanted()) return false
    this.#retrievals += 1
    this.#current = compiled
    return true
  }

  #succeed ({ confirmedAt }: Attempt): void {
    this.#confirmed = true
    this.#confirmedAt = confirmedAt
    this.#retrievedAt = confirmedAt === undefined ? undefined : Date.now() - Math.round(performance.now() - confirmedAt)
    this.#failures = 0
    this.#turn('ready', undefined)
    this.#announce()
  }

  /** Announces that there is an artifact. */
  #announce (): void {
    for (const { resolve } of this.#waiters) resolve()
    if (this.#announced) return
    this.#announced = true
    this.#emit('clientReady', {})
  }

  #fail (thrown: unknown): TargetError {
    const error = asArtifactError(thrown)
    if (this.#stopped) return error
    this.#failures += 1
    if (error.message !== this.#error?.message) {
      const kept = this.#current === undefined ? 'there is no previous one' : 'the previous one stays in use'
      this.#log.error(`${error.message}; ${kept}`, { err: error })
    }
    this.#turn(this.#current === undefined ? 'failed' : 'stale', error)
    this.#emit('artifactDownloadFailed', { artifactLocation: this.location, error })
    return error
  }

  #turn (state: ArtifactState, error: TargetError | undefined): void {
    this.#state = state
    this.#error = error
    if (channels.artifact.hasSubscribers) channels.artifact.publish({ state, version: this.#current?.version, error })
  }

  #schedule (): void {
    const delay = this.#delay()
    if (delay === undefined || this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#run(() => this.#look()).catch(() => {})
    }, delay)
    if (this.#waiters.size === 0) this.#timer.unref()
  }

  /** Whether the origin is due for a poll: a leader renews its lead more often than that. */
  get #isDue (): boolean {
    if (this.#state !== 'ready' || this.#confirmedAt === undefined) return true
    return performance.now() - this.#confirmedAt + this.#sharing!.interval / 2 >= this.#settings.pollingInterval
  }

  /** ms until the next attempt; undefined if there is none. */
  #delay (): number | undefined {
    const { pollingInterval, artifactPayload } = this.#settings
    const jitter = JITTER
    const interval = this.#sharing?.interval ?? pollingInterval
    if (this.#failures === 0) return interval > 0 ? backoff(1, { first: interval, max: interval, jitter }) : undefined
    if (pollingInterval > 0) return backoff(this.#failures, { first: FIRST_RETRY, max: pollingInterval, jitter })
    // Without polling, retry only if no artifact was ever confirmed.
    return !this.#confirmed && artifactPayload === undefined ? backoff(this.#failures, { first: FIRST_RETRY, max: MAX_RETRY, jitter }) : undefined
  }

  /** Logs a broken rule once, not with every new artifact that still has it. */
  #report (problem: string): void {
    if (this.#log.once(`artifact ${problem}`)) this.#log.error(`rule artifact: ${problem}`)
  }

  #emit (name: ArtifactEvent, detail: object): void {
    this.#settings.onEvent?.(name, detail)
  }
}

function asArtifactError (thrown: unknown): TargetError {
  if (isTargetError(thrown) && (thrown.code === 'FST_TARGET_ARTIFACT' || thrown.code === 'FST_TARGET_CLOSED')) return thrown
  return failure('FST_TARGET_ARTIFACT', thrown instanceof Error ? thrown.message : 'it could not be fetched', { cause: thrown })
}
