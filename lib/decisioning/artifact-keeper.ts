/**
 * The rule artifact's life: fetched, checked, compiled, kept fresh. The only part of the engine that knows time and network.
 *
 * The last good artifact stays until a better one is compiled, whatever its origin answers in between.
 */
import { AsyncResource } from 'node:async_hooks'
import { backoff, channels, Log, type TargetLogger } from '../diagnostics.ts'
import { failure, isTargetError, type TargetError } from '../errors.ts'
import { ArtifactSource, type ArtifactSourceSettings } from './artifact-source.ts'
import { type CompiledArtifact, compileArtifact } from './compile.ts'
import { geoFromHeaders } from './geo.ts'

/**
 * - `loading`: the first artifact is on its way
 * - `ready`: there is one, and the last look at its origin succeeded
 * - `stale`: there is one, but the last look failed
 * - `failed`: there is none, and the last attempt failed
 */
export type ArtifactState = 'loading' | 'ready' | 'stale' | 'failed'

/** Events as Adobe's Node SDK names them. */
export type ArtifactEvent = 'clientReady' | 'artifactDownloadSucceeded' | 'artifactDownloadFailed' | 'geoLocationUpdated'

/** What an {@link ArtifactKeeper} works with; options are named as in Adobe's Node SDK. */
export interface ArtifactSettings extends ArtifactSourceSettings {
  /** An artifact to start with, parsed JSON; the first look at the origin is then one interval later. It must not be changed. */
  artifactPayload?: unknown
  /** ms between two looks at the origin; 0: none once there is an artifact. */
  pollingInterval: number
  logger: TargetLogger
  /** Must not throw. */
  onEvent?: ((name: ArtifactEvent, detail: object) => void) | undefined
}

/** The artifact for `health()`. */
export interface ArtifactHealth {
  state: ArtifactState
  /** Of the artifact that decisions are made by; absent before there is one. */
  version?: string
  /** ms since its origin last confirmed it. */
  age?: number
  /** Why the last look failed; absent when it did not. */
  error?: string
}

/** ms before the first retry, doubled each time up to the polling interval, or to the second where nothing is polled. */
const FIRST_RETRY = 1000
const MAX_RETRY = 300_000

/** Intervals are shortened or stretched by up to a tenth, so that many processes do not ask at the same time. */
const JITTER = [0.9, 1.1] as const

interface Waiter {
  resolve: () => void
  reject: (error: TargetError) => void
}

/** Keeps the current artifact. */
export class ArtifactKeeper {
  readonly #settings: ArtifactSettings
  readonly #source: ArtifactSource
  readonly #log: Log
  /** Work runs in the async context of this object's making, never in that of a request. */
  readonly #scope = new AsyncResource('fastify-adobe-target.artifact')
  readonly #waiters = new Set<Waiter>()
  readonly #closing = new AbortController()
  #started = false
  #current: CompiledArtifact | undefined
  #state: ArtifactState = 'loading'
  #error: TargetError | undefined
  #failures = 0
  #retrievals = 0
  #confirmedAt: number | undefined
  #running: Promise<{ changed: boolean }> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor (settings: ArtifactSettings) {
    this.#settings = settings
    this.#source = new ArtifactSource(settings)
    this.#log = Log.of(settings.logger)
  }

  /** Where the artifact comes from. */
  get location (): string { return this.#source.location }

  /** The artifact to decide by. A request should read it once and keep to it. */
  get current (): CompiledArtifact | undefined { return this.#current }

  get state (): ArtifactState { return this.#state }

  /** Plain facts, without I/O; also after `stop()`. */
  get health (): ArtifactHealth {
    const health: ArtifactHealth = { state: this.#state }
    if (this.#current !== undefined) health.version = this.#current.version
    if (this.#confirmedAt !== undefined) health.age = Date.now() - this.#confirmedAt
    if (this.#error !== undefined) health.error = this.#error.message
    return health
  }

  /** For traces, as Adobe's engine tells it. */
  get trace (): Record<string, unknown> {
    return {
      artifactLocation: this.#settings.artifactPayload === undefined ? this.location : 'Not Applicable',
      pollingInterval: this.#settings.pollingInterval,
      pollingHalted: this.#stopped,
      artifactVersion: this.#current?.version ?? 'unknown',
      artifactRetrievalCount: this.#retrievals,
      artifactLastRetrieved: new Date(this.#confirmedAt ?? Date.now()).toISOString(),
      ...this.#current?.meta
    }
  }

  get #stopped (): boolean { return this.#closing.signal.aborted }

  /** Begins loading and polling. Returns at once; timers do not keep the process alive. */
  start (): void {
    if (this.#started || this.#stopped) return
    this.#started = true
    const { artifactPayload } = this.#settings
    this.#run(artifactPayload === undefined ? () => this.#download() : () => this.#use(artifactPayload)).catch(() => {})
  }

  /**
   * Fetches the artifact now, or joins the download under way.
   *
   * @returns `changed: false` when the origin has nothing new; rejects with `FST_TARGET_ARTIFACT` and keeps the old artifact
   * when there is no usable one, with `FST_TARGET_CLOSED` after `stop()`
   */
  async refresh (): Promise<{ changed: boolean }> {
    if (this.#stopped) throw failure('FST_TARGET_CLOSED', 'no artifact is fetched any more')
    return await this.#run(() => this.#download())
  }

  /**
   * Resolves when there is an artifact.
   *
   * @param options `timeout`: ms; default: as long as it takes
   * @returns rejects with `FST_TARGET_NOT_READY` at the timeout, or when the client is closed first
   */
  async ready ({ timeout }: { timeout?: number } = {}): Promise<void> {
    if (this.#current !== undefined) return
    if (this.#stopped) throw this.#notReady('the client is closed')
    // Somebody waits for the next attempt: the process must not end before it.
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

  /** Ends polling and the download under way. The artifact stays. */
  stop (): void {
    this.#closing.abort()
    clearTimeout(this.#timer)
    for (const { reject } of this.#waiters) reject(this.#notReady('the client was closed'))
  }

  /** One attempt at a time, in the keeper's own async context; then the next one is set. */
  #run (attempt: () => Promise<{ changed: boolean }>): Promise<{ changed: boolean }> {
    this.#running ??= this.#scope.runInAsyncScope(async () => {
      clearTimeout(this.#timer)
      try {
        const result = await attempt()
        this.#succeed()
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

  async #download (): Promise<{ changed: boolean }> {
    const fetched = await this.#source.look(this.#closing.signal)
    if (fetched === undefined) return { changed: false }
    const { payload, headers, accept } = fetched
    await this.#use(payload)
    accept()
    this.#emit('artifactDownloadSucceeded', { artifactLocation: this.location, artifactPayload: payload })
    this.#emit('geoLocationUpdated', { geoContext: geoFromHeaders(headers) })
    return { changed: true }
  }

  async #use (payload: unknown): Promise<{ changed: boolean }> {
    const compiled = await compileArtifact(payload, { report: (problem) => this.#report(problem) })
    if (this.#stopped) throw failure('FST_TARGET_CLOSED', 'the client was closed meanwhile')
    this.#retrievals += 1
    this.#current = compiled
    return { changed: true }
  }

  #succeed (): void {
    const first = this.#confirmedAt === undefined
    this.#confirmedAt = Date.now()
    this.#failures = 0
    this.#turn('ready', undefined)
    for (const { resolve } of this.#waiters) resolve()
    if (first) this.#emit('clientReady', {})
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
      this.#run(() => this.#download()).catch(() => {})
    }, delay)
    if (this.#waiters.size === 0) this.#timer.unref()
  }

  /** ms to the next attempt, if there is to be one. */
  #delay (): number | undefined {
    const { pollingInterval, artifactPayload } = this.#settings
    const jitter = JITTER
    if (this.#failures === 0) return pollingInterval > 0 ? backoff(1, { first: pollingInterval, max: pollingInterval, jitter }) : undefined
    if (pollingInterval > 0) return backoff(this.#failures, { first: FIRST_RETRY, max: pollingInterval, jitter })
    // Without polling only what was never there is tried again.
    return this.#current === undefined && artifactPayload === undefined ? backoff(this.#failures, { first: FIRST_RETRY, max: MAX_RETRY, jitter }) : undefined
  }

  /** A rule that cannot work is logged once, not with every new artifact that still has it. */
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
