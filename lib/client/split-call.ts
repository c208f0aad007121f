/**
 * Splits a request that is too large for one call, and joins the responses.
 */
import { randomUUID } from 'node:crypto'
import type { DeliveryRequest, DeliveryResponse, MboxRequest } from '../schema/index.ts'
import type { TargetError } from '../errors.ts'
import type { Answer } from '../offers/result.ts'
import type { Transport } from '../transport/transport.ts'

type Limits = Transport['limits']

/** Whether a request must be split. Runs for every call. */
export function isTooLarge ({ execute, prefetch, notifications }: DeliveryRequest, limits: Limits): boolean {
  return (execute?.mboxes?.length ?? 0) + (prefetch?.mboxes?.length ?? 0) > limits.mboxes || (notifications?.length ?? 0) > limits.notifications
}

/**
 * Splits a request. The first part keeps everything that is requested once: page load, views, telemetry. Each part is a separate
 * impression: the edge would not count the activities of a second request with the first one's id.
 */
export function splitRequest (request: DeliveryRequest, limits: Limits): DeliveryRequest[] {
  const { execute, prefetch, notifications = [], telemetry, ...common } = request
  // Without an id, the edge would create a visitor for each part.
  if (Object.keys(common.id ?? {}).length === 0) common.id = { tntId: randomUUID() }
  const mboxes = [
    ...(execute?.mboxes ?? []).map((mbox) => ({ part: 'execute' as const, mbox })),
    ...(prefetch?.mboxes ?? []).map((mbox) => ({ part: 'prefetch' as const, mbox }))
  ]
  const count = Math.max(Math.ceil(mboxes.length / limits.mboxes), Math.ceil(notifications.length / limits.notifications))
  return Array.from({ length: count }, (_, index) => {
    const first = index === 0
    const some = mboxes.slice(index * limits.mboxes, (index + 1) * limits.mboxes)
    const of = (part: 'execute' | 'prefetch'): { mboxes?: MboxRequest[] } => {
      const list = some.filter((entry) => entry.part === part).map(({ mbox }) => mbox)
      return list.length === 0 ? {} : { mboxes: list }
    }
    const { mboxes: _executed, ...executeRest } = execute ?? {}
    const { mboxes: _prefetched, ...prefetchRest } = prefetch ?? {}
    const parts = { execute: { ...(first && executeRest), ...of('execute') }, prefetch: { ...(first && prefetchRest), ...of('prefetch') } }
    const told = notifications.slice(index * limits.notifications, (index + 1) * limits.notifications)
    const requestId = first ? request.requestId : randomUUID()
    return {
      ...common,
      ...(requestId !== undefined && { requestId }),
      ...(common.impressionId !== undefined && !first && { impressionId: randomUUID() }),
      ...(Object.keys(parts.execute).length > 0 && { execute: parts.execute }),
      ...(Object.keys(parts.prefetch).length > 0 && { prefetch: parts.prefetch }),
      ...(told.length > 0 && { notifications: told }),
      ...(first && telemetry !== undefined && { telemetry })
    }
  })
}

/** The outcome of one part. */
export type PartOutcome = { answer: Answer, error?: undefined } | { answer?: undefined, error: TargetError }

/**
 * Joins the responses in the order of the parts. If a part failed, its mboxes have no offers and the status becomes 206; the
 * call fails only if all parts do.
 *
 * @param request before it was split
 */
export function joinAnswers (request: DeliveryRequest, outcomes: readonly PartOutcome[]): PartOutcome {
  const answers = outcomes.flatMap(({ answer }) => answer ?? [])
  const [first, ...others] = answers
  if (first === undefined) return { error: outcomes[0]!.error! }
  const response: DeliveryResponse = { ...first.response, ...(request.requestId !== undefined && { requestId: request.requestId }) }
  for (const { response: { execute, prefetch, notifications } } of others) {
    if (execute !== undefined) response.execute = join(response.execute, execute)
    if (prefetch !== undefined) response.prefetch = join(response.prefetch, prefetch)
    if (notifications !== undefined) response.notifications = [...response.notifications ?? [], ...notifications]
  }
  if (answers.length < outcomes.length) response.status = 206
  return { answer: { ...first, request, response } }
}

/** Page load and views are in one part only. */
function join<Part extends { mboxes?: object[] }> (one: Part | undefined, other: Part): Part {
  if (one === undefined) return other
  return { ...one, ...other, ...((one.mboxes ?? other.mboxes) !== undefined && { mboxes: [...one.mboxes ?? [], ...other.mboxes ?? []] }) }
}
