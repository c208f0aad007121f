/**
 * Executes complete calls: on-device if configured and possible, else through the transport, in parts if one request cannot
 * hold everything.
 */
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { remoteDependencies } from '../decisioning/remote.ts'
import { NOTHING_TO_ABORT, type Abortable } from '../delivery/abort-listeners.ts'
import type { Settled } from '../delivery/delivery.ts'
import { asTargetError, failure, type TargetError } from '../errors.ts'
import type { Answer } from '../offers/result.ts'
import type { Notification } from '../schema/index.ts'
import { senderKey, type NotificationSender, type Reply, type TargetCall, type Transport } from '../transport/transport.ts'
import { withStored } from '../visitor/edge-state.ts'
import type { OnDevice } from './on-device.ts'
import { isTooLarge, joinAnswers, splitRequest, type PartOutcome } from './split-call.ts'
import type { TelemetryStore } from './telemetry.ts'
import type { Warnings } from './warnings.ts'

/** The parts of a client that its calls need. */
export interface CallExecutorOptions {
  transport: Transport
  onDevice: OnDevice
  /** Undefined if the app has turned it off. */
  telemetry: TelemetryStore | undefined
  /** Collects the warnings of `health()`. */
  warnings: Warnings
  /** Queues notifications. */
  notify (sender: NotificationSender, notifications: Notification[]): void
  /** Announces notifications that are not queued yet; returns a function to be called once they are, or will not be. */
  expectNotifications (): () => void
}

const NOTHING_REMOTE = { remoteMboxes: [], remoteViews: [] }

/** Executes the calls of one client. */
export class CallExecutor {
  readonly #options: CallExecutorOptions
  #closed = false

  constructor (options: CallExecutorOptions) {
    this.#options = options
  }

  /**
   * Executes one call.
   *
   * @param settled called exactly once, possibly synchronously; must not throw
   */
  run (call: TargetCall, settled: Settled<Answer>): Abortable {
    const { decisioningMethod } = call
    if (decisioningMethod !== 'server-side') this.#options.onDevice.artifact.start()
    // A call uses one artifact, even if a newer one arrives meanwhile.
    const artifact = call.kind === 'page' ? this.#options.onDevice.artifact.current : undefined
    if (artifact === undefined) {
      if (decisioningMethod !== 'on-device') return this.#ask(call, NOTHING_REMOTE, settled)
      this.#options.onDevice.keepOrders(call)
      settled(undefined, failure('FST_TARGET_NOT_READY', 'no rule artifact has been loaded yet'))
      return NOTHING_TO_ABORT
    }
    if (decisioningMethod !== 'on-device') {
      const remote = remoteDependencies(artifact, call.request)
      if (decisioningMethod === 'hybrid') this.#options.warnings.undecided(remote.remoteMboxes, artifact)
      if (decisioningMethod === 'server-side' || remote.remoteNeeded) return this.#ask(call, remote, settled)
    }
    this.#decide(call, artifact, settled)
    return NOTHING_TO_ABORT
  }

  #decide (call: TargetCall, artifact: CompiledArtifact, settled: Settled<Answer>): void {
    if (this.#closed) return settled(undefined, failure('FST_TARGET_CLOSED', 'no decision was made'))
    const started = performance.now()
    const failed = (thrown: unknown) => settled(undefined, asTargetError(thrown))
    const decided = (answer: Answer) => {
      this.#options.warnings.undecided(answer.remoteMboxes, artifact)
      this.#options.telemetry?.add({ ...answer, decisioningMethod: 'on-device', execution: performance.now() - started })
      settled(answer, undefined)
    }
    let answer: Answer | Promise<Answer>
    try {
      answer = this.#options.onDevice.decide(artifact, call)
    } catch (thrown) {
      return failed(thrown)
    }
    if (answer instanceof Promise) answer.then(decided, failed).finally(this.#options.expectNotifications())
    else decided(answer)
  }

  #ask (call: TargetCall, { remoteMboxes, remoteViews }: Pick<Answer, 'remoteMboxes' | 'remoteViews'>, settled: Settled<Answer>): Abortable {
    if (isTooLarge(call.request, this.#options.transport.limits)) return this.#askInParts(call, { remoteMboxes, remoteViews }, settled)
    const toAnswer = ({ request, response, elapsed, hintIsDead, edgeState, webSdk }: Reply): Answer => {
      this.#options.telemetry?.add({ request, response, decisioningMethod: 'server-side', execution: elapsed })
      const answer: Answer = { request, response, source: 'edge', remoteMboxes, remoteViews }
      if (hintIsDead === true) answer.hintIsDead = true
      if (edgeState !== undefined) answer.edgeState = edgeState
      if (webSdk !== undefined) answer.webSdk = webSdk
      return answer
    }
    const { onLate } = call
    return this.#options.transport.ask({
      ...call,
      request: this.#options.telemetry?.ride(call.request) ?? call.request,
      onLate: onLate === undefined ? undefined : (late) => onLate(toAnswer(late))
    }, (reply, error) => {
      if (reply === undefined) return settled(undefined, error)
      if (reply.displays !== undefined) this.#reportDisplays(call, reply, reply.displays)
      settled(toAnswer(reply), undefined)
    })
  }

  /** Queues displays of what a page executed, for the visitor that the response identifies. */
  #reportDisplays ({ sessionId, locationHint, edgeState }: TargetCall, reply: Reply, displays: Notification[]): void {
    const { context, property, qaMode } = reply.request
    const { id } = reply.response
    this.#options.notify({
      key: senderKey(sessionId, qaMode),
      request: { ...(id !== undefined && { id }), context, ...(property !== undefined && { property }), ...(qaMode !== undefined && { qaMode }) },
      sessionId,
      locationHint,
      edgeState: withStored(edgeState, reply.edgeState)
    }, displays)
  }

  /** Sends a request that is too large for one call as several concurrent calls. */
  #askInParts (call: TargetCall, remote: Pick<Answer, 'remoteMboxes' | 'remoteViews'>, settled: Settled<Answer>): Abortable {
    const outcomes: PartOutcome[] = []
    const requests = splitRequest(call.request, this.#options.transport.limits)
    let waiting = requests.length
    const running = requests.map((request, index) => this.#ask({ ...call, request }, remote, (answer, error) => {
      outcomes[index] = answer === undefined ? { error: error! } : { answer }
      if (--waiting > 0) return
      const joined = joinAnswers(call.request, outcomes)
      settled(joined.answer, joined.error as TargetError)
    }))
    return { abort () { for (const part of running) part.abort() } }
  }

  /** Makes no more decisions; what the network does is the transport's. */
  close (): void {
    this.#closed = true
  }
}
