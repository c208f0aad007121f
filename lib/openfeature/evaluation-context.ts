/**
 * Maps an evaluation context to what is sent to Target: ids, parameters and profile parameters, within Target's limits.
 */
import type { EvaluationContext, EvaluationContextValue } from '@openfeature/server-sdk'
import type { Parameters, VisitorId } from '../schema/index.ts'
import { acceptableIds, acceptableParameters, type ReportLimit } from '../schema/acceptable.ts'

/** The parts of a Delivery request that come from an evaluation context. */
export interface ContextParts {
  id: VisitorId | undefined
  details: { parameters?: Parameters, profileParameters?: Parameters }
}

/**
 * Maps an evaluation context. Members of `profile`, and names that begin with `profile.`, are profile parameters; all others
 * are parameters of the mbox. Objects are flattened with dots, lists are written as JSON, dates in ISO 8601.
 *
 * @param keyName the id that `targetingKey` is
 * @param report called with what was cut or left out
 */
export function partsOfContext ({ targetingKey, ...attributes }: EvaluationContext, keyName: 'thirdPartyId' | 'marketingCloudVisitorId', report: ReportLimit): ContextParts {
  const parameters: Record<string, unknown> = {}
  const profileParameters: Record<string, unknown> = {}
  const add = (name: string, value: EvaluationContextValue): void => {
    if (value === undefined || value === null) return
    if (typeof value !== 'object' || value instanceof Date || Array.isArray(value)) {
      const text = value instanceof Date ? (Number.isNaN(value.getTime()) ? undefined : value.toISOString()) : Array.isArray(value) ? JSON.stringify(value) : value
      if (name.startsWith('profile.')) profileParameters[name.slice(8)] = text
      else parameters[name] = text
      return
    }
    for (const [member, inner] of Object.entries(value)) add(`${name}.${member}`, inner)
  }
  for (const [name, value] of Object.entries(attributes)) add(name, value)
  const ids = targetingKey === undefined || targetingKey === '' ? {} : acceptableIds({ [keyName]: targetingKey }, report)
  const accepted = acceptableParameters(parameters, 'parameters', report)
  const profile = acceptableParameters(profileParameters, 'profileParameters', report)
  return {
    id: Object.keys(ids).length === 0 ? undefined : ids as VisitorId,
    details: { ...(accepted !== undefined && { parameters: accepted }), ...(profile !== undefined && { profileParameters: profile }) }
  }
}
