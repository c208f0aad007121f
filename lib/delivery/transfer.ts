/**
 * One request and its response, under one deadline that covers queue, connection, response, retry and grace, whatever is
 * being fetched.
 *
 * A transfer is the handler that undici calls. It settles exactly once, and releases its host's slot exactly once: the first
 * is what the caller sees, the second is when its connection is free. They differ when a call is given up.
 */
import { AsyncResource } from 'node:async_hooks'
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { calls, type CallMessage } from '../diagnostics.ts'
import { failure, type CallPhase, type TargetError, type TargetErrorCode } from '../errors.ts'
import { unwatch, watch } from './abort-listeners.ts'
import { codingsOf, decodeContent } from './content-encoding.ts'
import type { Host, QueuedCall } from './host.ts'
import { bytesReadBefore, describeNetworkError, isDeadSocket, isGoaway, isUnprocessed } from './network-error.ts'
import type { Connection } from './pool.ts'

/** How long a transfer may take, and whether it may be repeated. */
export interface TransferTerms {
  /** ms from {@link Transfer.begin} */
  timeout: number
  /** ms it may run past its deadline to keep its connection; 0 ends it at the deadline */
  grace: number
  /** Whether it may be sent once more when a reused connection died before any byte of a response. */
  retryable: boolean
  /** Uses connections of its own: it takes none from pages, and whoever sends it limits the number of such calls. */
  background?: boolean | undefined
  /** The `requestId` for error messages. */
  requestId?: string | undefined
  /** The caller's signal; no listener is left on it. */
  signal?: AbortSignal | undefined
}

/** Bytes read of an error response: enough for its message. */
const MAX_ERROR_BODY = 64 * 1024

/** A deadline's timer that fires this much too late, in ms, shows that the event loop was blocked. */
const BLOCKED = 5

/** The reason given to undici when a transfer is cancelled; nobody sees it. */
const CANCELLED = new Error('The Target call was cancelled')

const EMPTY = Buffer.alloc(0)

/** One request and its response, under one deadline. */
export abstract class Transfer<Answer extends { status: number, body: unknown }> implements QueuedCall, Dispatcher.DispatchHandler {
  protected readonly host: Host
  protected attempts = 0
  protected phase: CallPhase = 'queue'
  /** What the tracing channel's subscribers get; `undefined` without any. */
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
  #controller: Dispatcher.DispatchController | undefined
  /** The connection it is on; unknown with the app's own dispatcher. */
  #connection: Connection | undefined
  #settled = false
  #released = false
  #retried = false
  #answering = false
  /** The body is there, as far as it is wanted. */
  #complete = false
  #status = 0
  #headers: IncomingHttpHeaders = {}
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
  protected abstract read (status: number, headers: IncomingHttpHeaders, body: Buffer): Answer

  /** Called when it has settled: with an answer, or with an error of this package. Must not throw. */
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

  get background (): boolean {
    return this.#terms.background === true
  }

  /** Whether it was put on a connection that had been opened. */
  protected get reached (): boolean {
    return this.attempts > 0
  }

  /** The async context of the page that began it. */
  get scope (): AsyncResource {
    return this.#scope!
  }

  /** Starts it. Never throws. */
  begin (): void {
    if (!calls.hasSubscribers) return this.#open()
    const { host: { name: host, origin }, phase, attempts } = this
    const { method, path } = this.#request
    const message: CallMessage = { requestId: undefined, startedAt: this.startedAt, host, origin, method, path: path.split('?', 1)[0]!, phase, attempts, ...this.describe() }
    this.#message = message
    // With what subscribers bind to the start, such as their span: the request is made, queued and repeated in that context.
    const open = () => this.#open()
    calls.start.runStores(message, () => message.run === undefined ? open() : message.run(open))
    calls.end.publish(message)
  }

  #open (): void {
    // Not `AsyncLocalStorage.snapshot()`: that costs 34 µs on Node.js 20, this 15 to 50 ns.
    this.#scope = new AsyncResource('FASTIFY_ADOBE_TARGET_CALL', { requireManualDestroy: true })
    this.open()
  }

  /** Queues or sends it. */
  protected open (): void {
    const { timeout, signal } = this.#terms
    if (signal?.aborted === true) return this.abort()
    if (timeout <= 0) return this.fail('FST_TARGET_TIMEOUT', 'no time left')
    if (!this.host.enqueue(this)) return this.fail('FST_TARGET_OVERLOAD', `the queue for ${this.host.name} is full`)
    if (this.#settled) return
    this.#timer = setTimeout(onDeadline, timeout, this)
    if (signal !== undefined) watch(signal, this)
  }

  /** Gives it up: ends with ABORTED unless it has settled, and nothing goes on. */
  abort (): void {
    if (!this.#settled) this.fail('FST_TARGET_ABORTED', 'the caller aborted it', this.#terms.signal?.reason)
    this.cancel()
  }

  /** Ends whatever is left of it: its place in the queue, its attempt to connect, or its request with the connection. */
  cancel (): void {
    if (this.#released || this.host.dequeue(this)) return
    // Destroy the connection first, or undici would reconnect; then abort the request, which ends at once.
    this.#connection?.destroy(CANCELLED)
    this.#controller?.abort(CANCELLED)
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
      this.onResponseError(undefined, error)
    }
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    if (this.#settled) {
      // Given up while it was waiting for its connection. Throwing keeps that connection, aborting would destroy it.
      if (this.#connection !== undefined) throw CANCELLED
      controller.abort(CANCELLED)
      return
    }
    this.#controller = controller
    this.attempts += 1
    this.phase = 'headers'
    if (this.#message !== undefined) {
      this.#message.connected = this.elapsed
      if (this.#connection !== undefined) this.#message.reused = this.#connection.served > 0
    }
  }

  /** The first byte of a response. */
  onResponseStarted (): void {
    this.#answering = true
    if (this.#message !== undefined) this.#message.firstByte ??= this.elapsed
  }

  onResponseStart (_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return
    this.onResponseStarted()
    this.phase = 'body'
    this.#status = status
    this.#headers = headers
  }

  onResponseData (_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#complete) return
    this.#size += chunk.length
    if (this.#size > this.#limit) this.#tooLarge()
    else if (!this.#settled || this.wantsLate) this.#chunks.push(chunk)
  }

  onResponseEnd (): void {
    if (this.#connection !== undefined) this.#connection.served += 1
    this.#release()
    this.#readBody()
  }

  onResponseError (_controller: unknown, error: unknown): void {
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

  /** The message of an error response is at its beginning; a partial success response is useless. */
  #tooLarge (): void {
    if (!this.#settled) {
      if (this.#status >= 300) this.#readBody()
      else this.fail('FST_TARGET_INVALID_RESPONSE', `larger than ${this.#limit} bytes`)
    }
    this.cancel()
  }

  #body (): Buffer {
    const [only] = this.#chunks
    return this.#chunks.length === 1 ? only! : Buffer.concat(this.#chunks)
  }

  /** Decodes the body, if it must be; the deadline goes on meanwhile. */
  #readBody (): void {
    this.#complete = true
    if (this.#settled && !this.wantsLate) return
    const codings = codingsOf(this.#headers)
    if (codings.length === 0) return this.#finish(this.#body())
    decodeContent(this.#body(), codings, this.#limit).then((body) => this.#finish(body), (error: Error) => {
      // The status says enough; only the edge's message is lost.
      if (this.#status >= 300) this.#finish(EMPTY)
      else if (!this.#settled) this.fail('FST_TARGET_INVALID_RESPONSE', error.message)
    })
  }

  /** A complete response, in time or late. */
  #finish (body: Buffer): void {
    const late = this.#settled
    if (!late) this.phase = 'answer'
    this.endedAt = performance.now()
    let answer: Answer
    try {
      answer = this.read(this.#status, this.#headers, body)
    } catch (error) {
      // For a late one, the caller has had its error already.
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

  /** Completes the tracing message, around the callbacks that the end of the call brings about. */
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
   * Only a connection that has served before can have been dead before this request: a fresh one failed because of it.
   * The request need not have been sent: undici also blames the one that is about to be. A server that says it has not
   * processed a request may get it once more in any case.
   */
  #mayRetry (error: unknown): boolean {
    if (!this.#terms.retryable || this.#retried) return false
    // The ids in a request keep a repeated one from being counted twice.
    if (isGoaway(error)) return true
    if (this.#answering) return false
    return isUnprocessed(error) || (isDeadSocket(error) && (this.#connection?.served ?? bytesReadBefore(error)) > 0)
  }

  /** Uses the same connection, which opens a fresh socket, but only after undici has cleaned up the old one. */
  #retry (): void {
    this.#retried = true
    this.#controller = undefined
    this.#answering = false
    this.#status = this.#size = 0
    this.#chunks = []
    setImmediate(() => this.scope.runInAsyncScope(this.run, this))
  }
}

/** If the event loop was blocked, a response may be waiting unread: it gets one turn to be read before it is too late. */
function onDeadline (transfer: { readonly overdue: number, expire (): void }): void {
  if (transfer.overdue > BLOCKED) setImmediate(() => transfer.expire())
  else transfer.expire()
}
