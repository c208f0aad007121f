/**
 * One request and its response, under one deadline that covers queue, connection, response, retry and grace, whatever is
 * being fetched.
 *
 * A transfer is the handler that undici calls, see `response-handler.ts`. It settles exactly once, which is what the caller sees,
 * and releases its host's slot exactly once, when its connection is free. The two differ if a call is cancelled.
 */
import { AsyncResource } from 'node:async_hooks'
import type { Dispatcher } from 'undici'
import { calls, type CallMessage } from '../diagnostics.ts'
import { failure, type CallPhase, type TargetError, type TargetErrorCode } from '../errors.ts'
import { unwatch, watch } from './abort-listeners.ts'
import { codingsOf, decodeContent } from './content-encoding.ts'
import type { Host, QueuedCall } from './host.ts'
import { bytesReadBefore, describeNetworkError, isDeadSocket, isGoaway, isUnprocessed } from './network-error.ts'
import type { Connection } from './pool.ts'
import type { ReceivedHeaders, ResponseHandler } from './response-handler.ts'

/** How long a transfer may take, and whether it may be repeated. */
export interface TransferTerms {
  /** ms from {@link Transfer.begin} */
  timeout: number
  /** ms it may run past its deadline to keep its connection; 0 ends it at the deadline */
  grace: number
  /** Whether it may be sent once more when a reused connection died before any byte of a response. */
  retryable: boolean
  /** Uses separate connections: it takes none from pages, and the sender limits the number of such calls. */
  background?: boolean | undefined
  /** The `requestId` for error messages. */
  requestId?: string | undefined
  /** The caller's signal; its listener is removed afterwards. */
  signal?: AbortSignal | undefined
}

/** Bytes read of an error response: enough for its message. */
const MAX_ERROR_BODY = 64 * 1024

/** ms of delay from which a deadline's timer shows that the event loop was blocked. */
const BLOCKED = 5

/** The reason passed to undici when a transfer is cancelled; never shown. */
const CANCELLED = new Error('The Target call was cancelled')

/** One request and its response, under one deadline. */
export abstract class Transfer<Answer extends { status: number, body: unknown }> implements QueuedCall, ResponseHandler {
  protected readonly host: Host
  protected attempts = 0
  protected phase: CallPhase = 'queue'
  /** The message for the tracing channel's subscribers; `undefined` without any. */
  #message: CallMessage | undefined
  #scope: AsyncResource | undefined
  readonly #request: Dispatcher.DispatchOptions
  readonly #terms: TransferTerms
  readonly #maxSize: number
  /** On the clock of `performance.now()`. */
  protected readonly startedAt = performance.now()
  /** When it settled; for a late response, when that was complete. */
  protected endedAt: number | undefined
  #timer: NodeJS.Timeout | undefined
  #abort: ((reason: Error) => void) | undefined
  /** The connection it is on; unknown with the app's own dispatcher. */
  #connection: Connection | undefined
  #settled = false
  #released = false
  #retried = false
  #answering = false
  /** Whether the needed part of the body has arrived. */
  #complete = false
  #status = 0
  #headers: ReceivedHeaders = {}
  #chunks: Buffer[] = []
  #size = 0

  /** @param maxSize of the response, in bytes */
  constructor (host: Host, request: Dispatcher.DispatchOptions, terms: TransferTerms, maxSize: number) {
    this.host = host
    this.#request = request
    this.#terms = terms
    this.#maxSize = maxSize
  }

  /** Makes the result from a complete response. Throws an error of this package, made with {@link failure}. */
  protected abstract read (status: number, headers: ReceivedHeaders, body: readonly Buffer[]): Answer

  /** Called when it has settled, with an answer or with an error of this package. Must not throw. */
  protected abstract ended (answer: Answer | undefined, error: TargetError | undefined): void

  /** Whether a response after the deadline is wanted. */
  protected abstract readonly wantsLate: boolean

  /** Called with a response that came after the deadline. */
  protected abstract late (answer: Answer): void

  /** The part of a tracing message that depends on what is being fetched. */
  protected abstract describe (): Pick<CallMessage, 'kind'> & Partial<CallMessage>

  /** ms from construction until it settled. */
  protected get elapsed (): number {
    return (this.endedAt ?? performance.now()) - this.startedAt
  }

  /** Whether it has its result. */
  get isSettled (): boolean {
    return this.#settled
  }

  get background (): boolean {
    return this.#terms.background === true
  }

  /** Whether it was put on an open connection. */
  protected get reached (): boolean {
    return this.attempts > 0
  }

  /** The async context of the page that started it. */
  get scope (): AsyncResource {
    return this.#scope!
  }

  /** Starts it. Never throws. */
  begin (): void {
    if (!calls.hasSubscribers || !this.host.isPublished) return this.#open()
    const { host: { name: host, origin }, phase, attempts } = this
    const { method, path } = this.#request
    const message: CallMessage = { requestId: undefined, startedAt: this.startedAt, host, origin, method, path: path.split('?', 1)[0]!, phase, attempts, ...this.describe() }
    this.#message = message
    // In the context that subscribers bind to the start, such as their span: the request is made, queued and retried in it.
    const open = () => this.#open()
    calls.start.runStores(message, () => message.run === undefined ? open() : message.run(open))
    calls.end.publish(message)
  }

  /** Ends it before it has begun: undici cannot be loaded. */
  cannotBegin (cause: unknown): void {
    if (!this.#settled) this.fail('FST_TARGET_CONNECTION', 'undici cannot be loaded', cause)
  }

  #open (): void {
    // Not `AsyncLocalStorage.snapshot()`: that costs 34 µs on Node.js 20, this 15 to 50 ns.
    this.#scope = new AsyncResource('FASTIFY_ADOBE_TARGET_CALL', { requireManualDestroy: true })
    this.open()
  }

  /** Queues or sends it. */
  protected open (): void {
    const { timeout, signal } = this.#terms
    // Less than `timeout` if undici had to be loaded first.
    const left = Math.ceil(timeout - this.elapsed)
    if (signal?.aborted === true) return this.abort()
    if (left <= 0) return this.fail('FST_TARGET_TIMEOUT', 'no time left')
    if (!this.host.enqueue(this)) return this.fail('FST_TARGET_OVERLOAD', `the queue for ${this.host.name} is full`)
    if (this.#settled) return
    this.#timer = setTimeout(onDeadline, left, this)
    if (signal !== undefined) watch(signal, this)
  }

  /** Cancels it: ends with ABORTED unless it has settled, and stops all its work. */
  abort (): void {
    if (!this.#settled) this.fail('FST_TARGET_ABORTED', 'the caller aborted it', this.#terms.signal?.reason)
    this.cancel()
  }

  /** Stops its remaining work: leaves the queue, stops connecting, or ends its request along with the connection. */
  cancel (): void {
    if (this.#released || this.host.dequeue(this)) return
    // Destroy the connection first, or undici would reconnect; then abort the request, which ends immediately.
    this.#connection?.destroy(CANCELLED)
    this.#abort?.(CANCELLED)
  }

  /** An error of this package with the details of this call. */
  protected failure (code: TargetErrorCode, detail: string, cause?: unknown, status?: number): TargetError {
    const { phase, attempts, elapsed, host } = this
    const meta = { requestId: this.#terms.requestId, phase, status, attempts, elapsed, host: host.name }
    return failure(code, detail, { cause, meta })
  }

  /** Settles it with an error. */
  protected fail (code: TargetErrorCode, detail: string, cause?: unknown): void {
    this.#settle(undefined, this.failure(code, detail, cause))
  }

  /** Sends it. Called by the host once there is a free slot. */
  run (): void {
    this.phase = 'connect'
    if (this.#message !== undefined) this.#message.queued ??= this.elapsed
    try {
      this.#connection ??= this.host.acquire()
      this.host.dispatch(this.#connection, this.#request, this)
    } catch (error) {
      this.onError(error)
    }
  }

  /** Called as its request is put on a connection. */
  onConnect (abort: (reason: Error) => void): void {
    if (this.#settled) {
      // Cancelled while waiting for its connection. Throwing keeps the connection, aborting would destroy it.
      if (this.#connection !== undefined) throw CANCELLED
      abort(CANCELLED)
      return
    }
    this.#abort = abort
    this.attempts += 1
    this.phase = 'headers'
    if (this.#message !== undefined) {
      this.#message.connected = this.elapsed
      if (this.#connection !== undefined) this.#message.reused = this.#connection.isReused
    }
  }

  /** Called with the first byte of a response. */
  onResponseStarted (): void {
    this.#answering = true
    if (this.#message !== undefined) this.#message.firstByte ??= this.elapsed
  }

  /** @returns `true`: go on reading */
  onHeaders (status: number, headers: ReceivedHeaders): true {
    if (status < 200) return true
    this.onResponseStarted()
    this.phase = 'body'
    this.#status = status
    this.#headers = headers
    return true
  }

  /** @returns `true`: go on reading */
  onData (chunk: Buffer): true {
    if (this.#complete) return true
    this.#size += chunk.length
    if (this.#size > this.#limit) this.#tooLarge()
    else if (!this.#settled || this.wantsLate) this.#chunks.push(chunk)
    return true
  }

  onComplete (): void {
    if (this.#connection !== undefined) this.#connection.isReused = true
    this.#release()
    this.#readBody()
  }

  onError (error: unknown): void {
    if (this.#released) return
    if (!this.#settled && !this.#complete && this.#mayRetry(error)) return this.#retry()
    this.#release()
    if (this.#settled || this.#complete) return
    const { code, detail, cause } = describeNetworkError(error, this.#request)
    this.fail(code, detail, cause)
  }

  /** The deadline has passed. */
  expire (): void {
    if (this.#settled) return
    const { timeout, grace } = this.#terms
    const where = this.phase
    this.fail('FST_TARGET_TIMEOUT', `no response within ${timeout} ms (phase: ${where})`)
    if (where === 'queue' || grace <= 0 || !this.host.extend(this, grace)) this.cancel()
  }

  /** ms by which the deadline has passed. */
  get overdue (): number {
    return this.elapsed - this.#terms.timeout
  }

  get #limit (): number {
    return this.#status < 300 ? this.#maxSize : Math.min(this.#maxSize, MAX_ERROR_BODY)
  }

  /** Handles a body beyond the limit: an error's message is at its beginning, but a partial success response is useless. */
  #tooLarge (): void {
    if (!this.#settled) {
      if (this.#status >= 300) this.#readBody()
      else this.fail('FST_TARGET_INVALID_RESPONSE', `larger than ${this.#limit} bytes`)
    }
    this.cancel()
  }

  /** Decodes the body if needed; the deadline keeps running meanwhile. */
  #readBody (): void {
    this.#complete = true
    if (this.#settled && !this.wantsLate) return
    const codings = codingsOf(this.#headers)
    if (codings.length === 0) return this.#finish(this.#chunks)
    decodeContent(this.#chunks, codings, this.#limit).then((body) => this.#finish(body), (error: Error) => {
      // The status is enough; only the edge's message is lost.
      if (this.#status >= 300) this.#finish([])
      else if (!this.#settled) this.fail('FST_TARGET_INVALID_RESPONSE', error.message)
    })
  }

  /** Ends with a complete response, in time or late. */
  #finish (body: readonly Buffer[]): void {
    const late = this.#settled
    if (!late) this.phase = 'answer'
    this.endedAt = performance.now()
    let answer: Answer
    try {
      answer = this.read(this.#status, this.#headers, body)
    } catch (error) {
      // If late, the caller already has its error.
      if (!late) this.#settle(undefined, error as TargetError)
      return
    }
    if (late) this.late(answer)
    else this.#settle(answer, undefined)
  }

  #settle (answer: Answer | undefined, error: TargetError | undefined): void {
    this.#settled = true
    this.endedAt ??= performance.now()
    clearTimeout(this.#timer)
    if (this.#terms.signal !== undefined) unwatch(this.#terms.signal, this)
    if (this.#message === undefined) this.ended(answer, error)
    else this.scope.runInAsyncScope(this.#publishEnd, this, this.#message, answer, error)
  }

  /** Completes and publishes the tracing message around the callbacks run at the end of the call. */
  #publishEnd (message: CallMessage, answer: Answer | undefined, error: TargetError | undefined): void {
    message.phase = this.phase
    message.attempts = this.attempts
    message.elapsed = this.elapsed
    message.status = answer?.status ?? error?.meta?.status
    message.response = answer?.body
    if (error !== undefined) {
      message.error = error
      calls.error.publish(message)
    }
    calls.asyncStart.runStores(message, () => {
      try {
        this.ended(answer, error)
      } finally {
        calls.asyncEnd.publish(message)
      }
    })
  }

  #release (): void {
    if (this.#released) return
    this.#released = true
    this.#connection?.release()
    this.host.release(this)
  }

  /**
   * Only a reused connection can have been dead before this request: a fresh one failed because of it. The request need not
   * have been sent: undici also fails one that was about to be. If the server reports that it has not processed the request,
   * it may be sent again in any case.
   */
  #mayRetry (error: unknown): boolean {
    if (!this.#terms.retryable || this.#retried) return false
    // The ids in the request prevent it from being counted twice.
    if (isGoaway(error)) return true
    if (this.#answering) return false
    return isUnprocessed(error) || (isDeadSocket(error) && (this.#connection?.isReused ?? bytesReadBefore(error) > 0))
  }

  /** Uses the same connection, which opens a fresh socket, but only after undici has cleaned up the old one. */
  #retry (): void {
    this.#retried = true
    this.#abort = undefined
    this.#answering = false
    this.#status = this.#size = 0
    this.#chunks = []
    setImmediate(() => this.scope.runInAsyncScope(this.run, this))
  }
}

/** If the event loop was blocked, a response may be waiting unread: it gets one more turn before the deadline applies. */
function onDeadline (transfer: { readonly overdue: number, expire (): void }): void {
  if (transfer.overdue > BLOCKED) setImmediate(() => transfer.expire())
  else transfer.expire()
}
