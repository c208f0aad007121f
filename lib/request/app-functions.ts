/**
 * Whether Target may be asked about a visitor: what the app's `enabled` function says, made certain.
 */
import type { FastifyRequest } from 'fastify'

/** What the plugin's options say of it. */
export interface ConsentSettings {
  /** Undefined: Target may always be asked. */
  enabled?: (request: FastifyRequest) => boolean | Promise<boolean>
  /** Told when one of the app's functions failed, and what it is taken as. */
  functionFailed (name: string, error: unknown, taken?: string): void
}

/**
 * Asks the app. Neither throws nor rejects: where the function does, or gives no boolean, no consent is known, and so there
 * is none.
 *
 * @returns a promise only if the app needs one
 */
export function askConsent ({ enabled, functionFailed }: ConsentSettings, request: FastifyRequest): boolean | Promise<boolean> {
  if (enabled === undefined) return true
  const failed = (error: unknown): boolean => {
    functionFailed('enabled', error, 'false')
    return false
  }
  const certain = (given: unknown): boolean => typeof given === 'boolean' ? given : failed(new TypeError(`\`enabled\` must give true or false, or a promise of one, and gave ${given === null ? 'null' : typeof given}`))
  try {
    const given: unknown = enabled(request)
    if (typeof given === 'boolean') return given
    return isThenable(given) ? Promise.resolve(given).then(certain).catch(failed) : certain(given)
  } catch (error) {
    return failed(error)
  }
}

const isThenable = (given: unknown): given is PromiseLike<unknown> => typeof (given as PromiseLike<unknown> | null | undefined)?.then === 'function'
