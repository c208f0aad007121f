/**
 * Features of the Delivery API that the Edge Network lacks or configures in the datastream: refused by name at registration.
 */
import type { DeliveryRequest } from '../../schema/index.ts'
import { detailsOf, targetData } from './event.ts'

const BY_DATASTREAM = 'the datastream determines it'

/** Members of a request, and why they cannot be sent. */
const REFUSED: Partial<Record<keyof DeliveryRequest, string>> = {
  environmentId: BY_DATASTREAM,
  trace: 'the Edge Network does not return traces',
  preview: 'the Edge Network has no preview mode'
}

/** The part of a request that the Edge Network does not support, as a sentence that begins with its path; undefined if it supports all. */
export function problemIn (request: Partial<DeliveryRequest>): string | undefined {
  for (const [name, why] of Object.entries(REFUSED)) {
    if (request[name as keyof DeliveryRequest] !== undefined) return `\`${name}\` cannot be used with \`edgeNetwork\`: ${why}`
  }
  if (request.experienceCloud?.analytics?.logging === 'client_side') {
    return '`experienceCloud.analytics.logging` cannot be \'client_side\' with `edgeNetwork`: the datastream decides who reports to Analytics'
  }
  const { conflict } = targetData(detailsOf(request))
  if (conflict !== undefined) return `the parameter "${conflict}" cannot have two values with \`edgeNetwork\`: a call has one set of parameters, for all its mboxes`
}

/** Client options without a meaning here, and what to do instead. */
export const REFUSED_OPTIONS = {
  serverDomain: 'set `edgeNetwork.edgeDomain`',
  targetLocationHint: 'the Edge Network has its own locations',
  environmentId: BY_DATASTREAM,
  environment: BY_DATASTREAM,
  version: 'it applies only to the Delivery API',
  telemetryEnabled: 'it applies only to the Delivery API',
  artifactLocation: 'the Edge Network does not decide on-device',
  artifactPayload: 'the Edge Network does not decide on-device',
  artifactFormat: 'the Edge Network does not decide on-device',
  artifactStore: 'the Edge Network does not decide on-device',
  pollingInterval: 'the Edge Network does not decide on-device'
}
