/** Completes an on-device decision to a response of the real edge: response tokens, states, clicks, analytics. */
import type { AnalyticsResponse, DeliveryRequest, DeliveryResponse, Metric, MboxResponse, PageLoadResponse, PrefetchMboxResponse, View } from '../schema/index.ts'
import { stateOf, type EventTokens } from './tokens.ts'

/** The offers of one mbox, view or page load. */
interface Place {
  offers: MboxResponse | PageLoadResponse | PrefetchMboxResponse | View
  /** The artifact's name for it. */
  location: string
  /** State of a prefetched place. */
  state?: string
}

/** Response tokens that identify an option's activity: the decision must contain them, listed by the artifact or not. */
export const ACTIVITY_TOKENS = ['activity.id', 'experience.id'] as const

/** Analytics event types, as in Adobe's A4T examples: displays (visit, impression) and clicks. */
const DISPLAYED = ['0|2', '0|1']
const CLICKED = ['0|32767']

/**
 * Completes a decision in place.
 *
 * @param response the engine's answer, with `ACTIVITY_TOKENS` in every option
 * @param listed the response tokens that the artifact lists
 * @param globalMbox the mbox that stands for the page load
 */
export function completeAnswer (response: DeliveryResponse, request: DeliveryRequest, tokens: EventTokens, listed: ReadonlySet<string>, globalMbox: string): void {
  const analytics = request.experienceCloud?.analytics?.logging === 'client_side'
  for (const { offers, location, state } of places(response, globalMbox)) {
    if (state !== undefined) {
      Object.assign(offers, { state })
      const clicks = clicksOf(offers, location, tokens)
      if (clicks.length > 0) offers.metrics ??= clicks
    }
    if (analytics) addAnalytics(offers, tokens)
    for (const option of offers.options ?? []) {
      if (option.responseTokens === undefined) continue
      option.responseTokens['activity.decisioningMethod'] = 'server-side'
      for (const name of ACTIVITY_TOKENS) {
        if (!listed.has(name)) delete option.responseTokens[name]
      }
    }
  }
}

function * places ({ execute, prefetch }: DeliveryResponse, globalMbox: string): Generator<Place> {
  for (const offers of execute?.mboxes ?? []) yield { offers, location: String(offers.name) }
  if (execute?.pageLoad !== undefined) yield { offers: execute.pageLoad, location: globalMbox }
  for (const offers of prefetch?.mboxes ?? []) yield { offers, location: String(offers.name), state: stateOf('mbox', offers.name) }
  for (const offers of prefetch?.views ?? []) yield { offers, location: String(offers.name), state: stateOf('view', offers.name) }
  if (prefetch?.pageLoad !== undefined) yield { offers: prefetch.pageLoad, location: globalMbox, state: stateOf('pageLoad') }
}

/** Click metrics of prefetched mboxes, which on-device decisions lack and the real edge sends. */
function clicksOf (offers: Place['offers'], location: string, tokens: EventTokens): Metric[] {
  const clicks = new Map<string | undefined, Metric>()
  for (const { eventToken = '' } of offers.options ?? []) {
    for (const metric of tokens.clicks(location, eventToken)) clicks.set(metric.eventToken, { ...metric })
  }
  return [...clicks.values()]
}

function addAnalytics (offers: Place['offers'], tokens: EventTokens) {
  const experiences = new Set((offers.options ?? []).map(({ responseTokens = {} }) => `${responseTokens['activity.id']}:${responseTokens['experience.id']}`))
  if (experiences.size > 0) offers.analytics = payload([...experiences], DISPLAYED)
  for (const metric of offers.metrics ?? []) {
    const facts = tokens.facts(metric.eventToken ?? '')
    if (facts !== undefined) metric.analytics = payload([`${facts.activityId}:${facts.experienceId}`], CLICKED)
  }
}

const payload = (experiences: string[], events: string[]): AnalyticsResponse => ({
  payload: { pe: 'tnt', tnta: experiences.flatMap((experience) => events.map((event) => `${experience}:${event}`)).join(',') }
})
