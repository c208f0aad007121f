/**
 * On-device decisions: the current artifact, the engine, and the resulting impressions.
 */
import type { ArtifactFetch } from '../decisioning/artifact-fetch.ts'
import { DEFAULT_GLOBAL_MBOX } from '../decisioning/artifact-schema.ts'
import { ArtifactKeeper } from '../decisioning/artifact-keeper.ts'
import type { ArtifactStore } from '../decisioning/artifact-store.ts'
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { decide } from '../decisioning/decide.ts'
import { GeoLookup, needsGeo } from '../decisioning/geo.ts'
import { ordersOf } from '../decisioning/orders.ts'
import type { DeliveryRequest, Notification, RequestDetails } from '../schema/index.ts'
import { channels, type Log } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import type { Emit, TargetEventDetails } from './events.ts'
import type { Answer } from '../offers/result.ts'
import type { NotificationSender, TargetCall } from '../transport/transport.ts'

/** Settings of the artifact, named as in the Node SDK. */
export interface OnDeviceSettings {
  client: string
  organizationId: string
  environment?: string
  propertyToken?: string
  artifactLocation?: string
  artifactPayload?: object
  artifactStore?: ArtifactStore
  artifactFormat?: 'json' | 'bin'
  /** ms */
  pollingInterval: number
  logger: Log
}

/** Decides on-device. */
export class OnDevice {
  readonly artifact: ArtifactKeeper
  readonly #client: string
  readonly #logger: Log
  readonly #geo: GeoLookup
  readonly #queue: (sender: NotificationSender, notifications: Notification[]) => void

  /**
   * @param queue called with the impressions
   */
  constructor (settings: OnDeviceSettings, fetch: ArtifactFetch, emit: Emit, queue: (sender: NotificationSender, notifications: Notification[]) => void) {
    const onEvent = (name: keyof TargetEventDetails, detail: object) => emit(name, detail as never)
    this.artifact = new ArtifactKeeper({ ...settings, fetch, onEvent })
    this.#geo = new GeoLookup({ artifactLocation: settings.artifactLocation, fetch, onEvent })
    this.#client = settings.client
    this.#logger = settings.logger
    this.#queue = queue
  }

  /**
   * Decides a call with one artifact, synchronously unless the visitor must be located first. Executed offers are queued as
   * displayed.
   */
  decide (artifact: CompiledArtifact, call: TargetCall): Answer | Promise<Answer> {
    const { request, timeout, signal } = call
    if (signal?.aborted === true) throw failure('FST_TARGET_ABORTED', 'signal was already aborted')
    const { context } = request
    if (!needsGeo(artifact, context)) return this.#decide(artifact, call, request)
    // Leaves some time for the decision itself.
    return this.#geo.locate(context.geo!, { timeout: Math.max(1, timeout - 10), signal })
      .then((geo) => this.#decide(artifact, call, { ...request, context: { ...context, geo } }))
  }

  #decide (artifact: CompiledArtifact, { request, sessionId, locationHint }: TargetCall, located: DeliveryRequest): Answer {
    const watched = channels.decision.hasSubscribers
    const started = watched ? performance.now() : 0
    const trace = request.trace === undefined ? undefined : { sessionId, artifact: this.artifact.trace }
    const { response, remoteMboxes, remoteViews, notifications, orders } = decide(artifact, located, { client: this.#client, locationHint, trace })
    const queued = orders.length === 0 ? notifications : [...notifications, ...orders]
    if (queued.length > 0) this.#notify({ ...located, id: response.id }, sessionId, locationHint, queued)
    this.#warnOfProfile(request)
    if (watched) channels.decision.publish({ requestId: request.requestId, remoteMboxes, remoteViews, startedAt: started, elapsed: performance.now() - started, request, response, context: located.context, artifact, notifications: queued.map(({ id }) => id) })
    return { request, response, source: 'on-device', remoteMboxes, remoteViews }
  }

  /** Queues the orders of a call that cannot be decided because there is no artifact yet. */
  keepOrders ({ request, sessionId, locationHint }: TargetCall): void {
    this.#notify(request, sessionId, locationHint, ordersOf(request, DEFAULT_GLOBAL_MBOX))
  }

  #notify ({ id, context, property, environmentId, experienceCloud }: DeliveryRequest, sessionId: string, locationHint: string | undefined, notifications: Notification[]): void {
    if (notifications.length === 0) return
    const request: DeliveryRequest = { id, context }
    if (environmentId !== undefined) request.environmentId = environmentId
    if (property !== undefined) request.property = property
    if (experienceCloud !== undefined) request.experienceCloud = experienceCloud
    this.#queue({ key: sessionId, request, sessionId, locationHint }, notifications)
  }

  /** Warns that profile attributes are not sent: rules cannot use them, and on-device decisions avoid a call for each page. */
  #warnOfProfile ({ execute, prefetch }: DeliveryRequest): void {
    if (!hasProfile(execute) && !hasProfile(prefetch)) return
    this.#logger.warnOnce('`profileParameters` do not reach Target from on-device decisions; send them with request.target.profile()')
  }
}

/** Whether a request has profile attributes, other than with an order, which are sent along with that. */
function hasProfile (part: { pageLoad?: RequestDetails, mboxes?: RequestDetails[] } | undefined): boolean {
  if (part === undefined) return false
  const { pageLoad, mboxes } = part
  if (pageLoad?.profileParameters !== undefined && pageLoad.order === undefined) return true
  if (Array.isArray(mboxes)) for (const mbox of mboxes) if (mbox?.profileParameters !== undefined && mbox.order === undefined) return true
  return false
}
