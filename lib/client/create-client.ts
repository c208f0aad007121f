/** `createTargetClient()`: a client without the plugin. */
import type { TargetResult } from '../offers/result.ts'
import { TargetClient } from './client.ts'
import { resolveClientOptions, type TargetClientOptions } from './options.ts'
import { WARM_UP, warmUp } from './warm-up.ts'

/**
 * Makes a pooled Target client. Close it when it is no longer needed.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function createTargetClient (options: TargetClientOptions): TargetClient {
  const client = new TargetClient(resolveClientOptions(options))
  // Later, so that a call that is made at once comes first.
  if (options.dispatcher === undefined) setImmediate(warmUp, callOnce).unref()
  return client
}

const callOnce = (client: TargetClient): Promise<TargetResult> => client.getOffers({ request: { execute: { mboxes: [{ index: 0, name: WARM_UP }] } } })
