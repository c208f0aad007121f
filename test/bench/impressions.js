/** Impressions are part of a page's price, although they are sent after it. */
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Resolves when a client's outbox is empty: every impression was sent or dropped.
 *
 * @param {import('fastify-adobe-target').TargetClient} target
 */
export async function impressionsSettled (target) {
  while (target.health().outbox.pending > 0) await sleep(2)
}
