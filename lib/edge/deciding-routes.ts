/** Common to the routes that decide: the Delivery API's and those of the Edge Network. */
import type { FastifyRequest } from 'fastify'
import type { CompiledArtifact } from '../decisioning/compile.ts'
import type { Notification, VisitorId } from '../schema/index.ts'
import type { Qa } from './qa.ts'
import type { Faults } from './testing/faults.ts'
import { notifiedLocation } from './testing/place.ts'
import type { Recorder } from './testing/recorder.ts'
import type { Watch } from './testing/waits.ts'
import type { EventTokens } from './tokens.ts'

export interface DecidingRouteOptions {
  client: string
  /** The artifact to decide with for a visitor. */
  artifactFor: (id: VisitorId) => Promise<CompiledArtifact>
  /** The response tokens that the artifact lists. */
  responseTokens: () => ReadonlySet<string>
  tokens: EventTokens
  qa: Qa
  recorder: Recorder
  watch: Watch
  faults: Faults
  /** Waits for the configured latency. */
  delay: () => Promise<void>
}

/** Hooks that record each request, wake tests that wait for it, and make it fail where a fault is set. */
export function decidingHooks ({ recorder, watch, faults }: DecidingRouteOptions) {
  const fault = faults.hooks('delivery')
  return {
    preValidation: [
      async ({ body, query, headers, url }: FastifyRequest) => {
        recorder.record({ path: url.split('?', 1)[0]!, body, query: { ...query as Record<string, string> }, headers, time: Date.now() })
        watch.check()
      },
      fault.preValidation
    ],
    onSend: fault.onSend,
    // Only after the response was sent: a waiting test may close the edge.
    onResponse: async () => watch.check()
  }
}

/** Counts displays and clicks. */
export class Counter {
  readonly #options: Pick<DecidingRouteOptions, 'recorder' | 'tokens'>
  readonly #globalMbox: string
  readonly #isQa: boolean

  /** @param isQa whether nothing counts: reports of live activities are kept clear of QA */
  constructor (options: Pick<DecidingRouteOptions, 'recorder' | 'tokens'>, globalMbox: string, isQa: boolean) {
    this.#options = options
    this.#globalMbox = globalMbox
    this.#isQa = isQa
  }

  /** Counts a display of a place and of the activities whose tokens it has. */
  display (of: Notification, impressionId: string): void {
    if (this.#isQa) return
    const { recorder, tokens } = this.#options
    const location = notifiedLocation(of, this.#globalMbox, tokens)
    if (location !== undefined) recorder.display(impressionId, location)
    for (const token of of.tokens ?? []) {
      const facts = tokens.facts(token)
      if (facts?.kind === 'display') recorder.count(impressionId, facts.activityId)
    }
  }

  /** Counts a notification, once however often it is sent. */
  notification (notification: Notification, impressionId = notification.impressionId ?? notification.id): void {
    const { recorder, tokens } = this.#options
    if (!recorder.accept(notification)) return
    recorder.order(notification, notification.mbox?.name)
    if (notification.type === 'display') this.display(notification, impressionId)
    if (notification.type !== 'click' || this.#isQa) return
    const location = notifiedLocation(notification, this.#globalMbox, tokens)
    if (location !== undefined) recorder.click(location)
  }
}
