/** The client without Fastify, for workers and scripts. */
import { TargetClient } from './client.ts'
import { resolveClientOptions, type TargetClientOptions } from '../options.ts'

/**
 * Makes a pooled Target client. Close it when it is no longer needed.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function createTargetClient (options: TargetClientOptions): TargetClient {
  return new TargetClient(resolveClientOptions(options))
}
