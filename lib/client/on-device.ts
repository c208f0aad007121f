/**
 * Decisions in memory: the artifact in force, the engine, and the impressions they cause.
 */
import type { ArtifactFetch } from '../decisioning/artifact-fetch.ts'
import { ArtifactKeeper } from '../decisioning/artifact-keeper.ts'
import type { ArtifactStore } from '../decisioning/artifact-store.ts'
import type { CompiledArtifact } from '../decisioning/compile.ts'
import { decide } from '../decisioning/decide.ts'
import { GeoLookup, needsGeo } from '../decisioning/geo.ts'
import type { DeliveryRequest, Notification } from '../schema/index.ts'
import { channels, type Log } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import type { Emit, TargetEventDetails } from './events.ts'
import type { Answer } from '../offers/offer.ts'
import type { NotificationSender, TargetCall } from '../transport/transport.ts'

/** Where rules come from; named as in the Node SDK. */
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
  readonly #geo: GeoLookup
  readonly #queue: (sender: NotificationSender, notifications: Notification[]) => void

  /**
   * @param queue takes the impressions
   */
  constructor (settings: OnDeviceSettings, fetch: ArtifactFetch, emit: Emit, queue: (sender: NotificationSender, notifications: Notification[]) => void) {
    const onEvent = (name: keyof TargetEventDetails, detail: object) => emit(name, detail as never)
    this.artifact = new ArtifactKeeper({ ...settings, fetch, onEvent })
    this.#geo = new GeoLookup({ artifactLocation: settings.artifactLocation, fetch, onEvent })
    this.#client = settings.client
    this.#queue = queue
  }

  /**
   * Decides a call by one artifact, at once unless the visitor must be located first. What was executed is queued as
   * displayed.
   */
  decide (artifact: CompiledArtifact, call: TargetCall): Answer | Promise<Answer> {
    const { request, timeout, signal } = call
    if (signal?.aborted === true) throw failure('FST_TARGET_ABORTED', 'signal was already aborted')
    const { context } = request
    if (!needsGeo(artifact, context)) return this.#decide(artifact, call, request)
    // A moment is left for the decision itself.
    return this.#geo.locate(context.geo!, { timeout: Math.max(1, timeout - 10), signal })
      .then((geo) => this.#decide(artifact, call, { ...request, context: { ...context, geo } }))
  }

  #decide (artifact: CompiledArtifact, { request, sessionId, locationHint }: TargetCall, located: DeliveryRequest): Answer {
    const watched = channels.decision.hasSubscribers
    const started = watched ? performance.now() : 0
    const trace = request.trace === undefined ? undefined : { sessionId, artifact: this.artifact.trace }
    const { response, remoteMboxes, remoteViews, notifications } = decide(artifact, located, { client: this.#client, locationHint, trace })
    if (notifications.length > 0) {
      const { property, experienceCloud } = request
      this.#queue({
        key: sessionId,
        request: { id: response.id, context: located.context, ...(property !== undefined && { property }), ...(experienceCloud !== undefined && { experienceCloud }) },
        sessionId,
        locationHint
      }, notifications)
    }
    if (watched) channels.decision.publish({ requestId: request.requestId, remoteMboxes, remoteViews, startedAt: started, elapsed: performance.now() - started, request, response, artifact })
    return { request, response, source: 'on-device', remoteMboxes, remoteViews }
  }
}
