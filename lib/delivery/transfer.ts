/**
 * One request and its answer, under one deadline: queue, connection, answer, retry and grace, whatever is being fetched.
 *
 * An object of this kind is the handler that undici calls. It settles exactly once, and leaves its host exactly once:
 * the first is what the asker sees, the second is when its connection is free. They differ when a call is given up.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { failure, type CallPhase, type TargetError, type TargetErrorCode } from '../errors.ts'
import { unwatch, watch } from './abort-listeners.ts'
import type { Guest, Host } from './host.ts'
import { bytesReadBefore, describeNetworkError, isDeadSocket } from './network-error.ts'
import type { Connection } from './pool.ts'

/** How long a transfer may take, and how often it may be tried. */
export interface TransferTerms {
  /** ms from {@link Transfer.begin} */
  timeout: number
  /** ms it may go on after that, so that its connection is not wasted; 0 ends it there */
  grace: number
  /** Whether it may be sent once more when a reused connection died before any byte of an answer. */
  retryable: boolean
  /** The `requestId` for error messages. */
  requestId?: string | undefined
  /** The caller's own; no listener stays on it. */
  signal?: AbortSignal | undefined
}

/** What is read of an error answer, in bytes: enough for its message. */
const ERROR_BODY = 64 * 1024

/** A deadline's timer that fires this much too late, in ms, says that the event loop was held up. */
const HELD_UP = 5

/** Why undici is told to stop; nobody sees it. */
const GIVEN_UP = new Error('The Target call was given up')

/** See the top of the file. */
export abstract class Transfer<Answer> implements Guest, Dispatcher.DispatchHandler {
  protected readonly host: Host
  protected attempts = 0
  protected phase: CallPhase = 'queue'
  readonly #request: Dispatcher.DispatchOptions
  readonly #terms: TransferTerms
  readonly #maxSize: number
  /** On the clock of `performance.now()`. */
  protected readonly startedAt = performance.now()
  /** When it settled; of a late answer, when that was complete. */
  protected endedAt: number | undefined
  #timer: NodeJS.Timeout | undefined
  #controller: Dispatcher.DispatchController | undefined
  /** The connection it is on; unknown with a dispatcher that was lent. */
  #connection: Connection | undefined
  #settled = false
  #left = false
  #retried = false
  #answering = false
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #chunks: Buffer[] = []
  #size = 0

  /** @param maxSize of the answer, in bytes */
  constructor (host: Host, request: Dispatcher.DispatchOptions, terms: TransferTerms, maxSize: number) {
    this.host = host
    this.#request = request
    this.#terms = terms
    this.#maxSize = maxSize
  }

  /** Makes the result of a complete answer. Throws an error of this package, made with {@link failure}. */
  protected abstract read (status: number, headers: IncomingHttpHeaders, body: Buffer): Answer

  /** It is settled: with an answer, or with an error of this package. Must not throw. */
  protected abstract ended (answer: Answer | undefined, error: TargetError | undefined): void

  /** Whether an answer after the deadline is wanted. */
  protected abstract readonly wantsLate: boolean

  /** The answer came after the deadline. */
  protected abstract late (answer: Answer): void

  /** ms from when it was made, until it settled. */
  protected get elapsed (): number {
    return (this.endedAt ?? performance.now()) - this.startedAt
  }

  /** Starts it. Never throws. */
  begin (): void {
    const { timeout, signal } = this.#terms
    if (signal?.aborted === true) return this.abort()
    if (timeout <= 0) return this.fail('FST_TARGET_TIMEOUT', 'no time was left')
    if (!this.host.enter(this)) return this.fail('FST_TARGET_OVERLOAD', `the queue for ${this.host.name} is full`)
    if (this.#settled) return
    this.#timer = setTimeout(onDeadline, timeout, this)
    if (signal !== undefined) watch(signal, this)
  }

  /** Gives it up: ends with ABORTED unless it is settled, and nothing goes on. */
  abort (): void {
    if (!this.#settled) this.fail('FST_TARGET_ABORTED', 'its caller gave up', this.#terms.signal?.reason)
    this.cut()
  }

  /** Ends what is left of it: its place in the queue, its attempt to connect, or its request with the connection. */
  cut (): void {
    if (this.#left || this.host.forget(this)) return
    // First the connection, so that undici does not open it again; then its request, which so ends at once.
    this.#connection?.destroy(GIVEN_UP)
    this.#controller?.abort(GIVEN_UP)
  }

  /** An error of this package with the facts of this call. */
  protected failure (code: TargetErrorCode, detail: string, cause?: unknown, status?: number): TargetError {
    const { phase, attempts, elapsed, host } = this
    const meta = { requestId: this.#terms.requestId, phase, status, attempts, elapsed, host: host.name }
    return failure(code, detail, { cause, meta })
  }

  /** Settles it with an error. */
  protected fail (code: TargetErrorCode, detail: string, cause?: unknown): void {
    this.#settle(undefined, this.failure(code, detail, cause))
  }

  /** Called by the host when it is its turn. */
  go (): void {
    this.phase = 'connect'
    try {
      this.#connection ??= this.host.connection()
      this.host.dispatch(this.#connection, this.#request, this)
    } catch (error) {
      this.onResponseError(undefined, error)
    }
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    if (this.#settled) {
      // Given up while it was waiting for its connection. Throwing keeps that connection, aborting would destroy it.
      if (this.#connection !== undefined) throw GIVEN_UP
      controller.abort(GIVEN_UP)
      return
    }
    this.#controller = controller
    this.attempts += 1
    this.phase = 'headers'
  }

  /** The first byte of an answer. */
  onResponseStarted (): void {
    this.#answering = true
  }

  onResponseStart (_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return
    this.#answering = true
    this.phase = 'body'
    this.#status = status
    this.#headers = headers
  }

  onResponseData (_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#size += chunk.length
    if (this.#size > this.#limit) this.#tooLarge()
    else if (!this.#settled || this.wantsLate) this.#chunks.push(chunk)
  }

  onResponseEnd (): void {
    if (this.#connection !== undefined) this.#connection.served += 1
    this.#leave()
    if (!this.#settled) this.#finish()
    else if (this.wantsLate) this.#finishLate()
  }

  onResponseError (_controller: unknown, error: unknown): void {
    if (this.#left) return
    if (!this.#settled && this.#mayRetry(error)) return this.#retry()
    this.#leave()
    if (this.#settled) return
    const { code, detail, cause } = describeNetworkError(error)
    this.fail(code, detail, cause)
  }

  /** The deadline is over. */
  expire (): void {
    if (this.#settled) return
    const { timeout, grace } = this.#terms
    const where = this.phase
    this.fail('FST_TARGET_TIMEOUT', `${timeout} ms were over (phase: ${where})`)
    if (where === 'queue' || grace <= 0 || !this.host.linger(this, grace)) this.cut()
  }

  /** ms by which the deadline has passed. */
  get overdue (): number {
    return this.elapsed - this.#terms.timeout
  }

  get #limit (): number {
    return this.#status < 300 ? this.#maxSize : Math.min(this.#maxSize, ERROR_BODY)
  }

  /** The message of an error answer is at its beginning; what came so far of any other answer is of no use. */
  #tooLarge (): void {
    if (!this.#settled) {
      if (this.#status >= 300) this.#finish()
      else this.fail('FST_TARGET_INVALID_RESPONSE', `more than ${this.#limit} bytes`)
    }
    this.cut()
  }

  #body (): Buffer {
    const [only] = this.#chunks
    return this.#chunks.length === 1 ? only! : Buffer.concat(this.#chunks)
  }

  #finish (): void {
    let answer: Answer
    this.phase = 'answer'
    this.endedAt = performance.now()
    try {
      answer = this.read(this.#status, this.#headers, this.#body())
    } catch (error) {
      return this.#settle(undefined, error as TargetError)
    }
    this.#settle(answer, undefined)
  }

  #finishLate (): void {
    this.endedAt = performance.now()
    try {
      this.late(this.read(this.#status, this.#headers, this.#body()))
    } catch {
      // The asker has had its error already.
    }
  }

  #settle (answer: Answer | undefined, error: TargetError | undefined): void {
    this.#settled = true
    this.endedAt ??= performance.now()
    clearTimeout(this.#timer)
    if (this.#terms.signal !== undefined) unwatch(this.#terms.signal, this)
    this.ended(answer, error)
  }

  #leave (): void {
    if (this.#left) return
    this.#left = true
    this.#connection?.release()
    this.host.leave(this)
  }

  /**
   * Only a connection that has answered before can have been dead before this request: a fresh one failed because of it.
   * It need not have been sent: undici also blames the request that is about to go.
   */
  #mayRetry (error: unknown): boolean {
    if (!this.#terms.retryable || this.#retried || this.#answering) return false
    return isDeadSocket(error) && (this.#connection?.served ?? bytesReadBefore(error)) > 0
  }

  /** On the same connection, which opens a fresh socket; but not while undici is still burying the old one. */
  #retry (): void {
    this.#retried = true
    this.#controller = undefined
    setImmediate(() => this.go())
  }
}

/** If the event loop was held up, an answer may be lying there unread: it gets one turn to be read before it is too late. */
function onDeadline (transfer: { readonly overdue: number, expire (): void }): void {
  if (transfer.overdue > HELD_UP) setImmediate(() => transfer.expire())
  else transfer.expire()
}
