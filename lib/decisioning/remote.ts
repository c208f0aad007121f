/**
 * Finds the parts of a request that cannot be decided on-device.
 *
 * Source: behaviour of `@adobe/target-decisioning-engine` 1.9.3, except that the page load stands for the artifact's own
 * `globalMbox`, not always for `target-global-mbox`: there, a custom global mbox always gets 206.
 */
import type { DeliveryRequest } from '../schema/index.ts'
import type { CompiledArtifact } from './compile.ts'

/** Mboxes and views that need the edge. */
export interface RemoteDependencies {
  /** Whether there is any. */
  remoteNeeded: boolean
  remoteMboxes: string[]
  remoteViews: string[]
}

/**
 * Mboxes and views of the request that the artifact leaves to the edge or does not contain. If all views are requested (one
 * without a name and none with), these are all remote views.
 */
export function remoteDependencies (artifact: CompiledArtifact, request: DeliveryRequest): RemoteDependencies {
  const { prefetch, execute } = request
  const mboxes = new Set<string>()
  addNames(mboxes, prefetch?.mboxes)
  addNames(mboxes, execute?.mboxes)
  if (execute?.pageLoad || prefetch?.pageLoad) mboxes.add(artifact.globalMbox)

  const views = new Set<string>()
  addNames(views, prefetch?.views)

  const remoteMboxes = remoteOf(mboxes, artifact.local.mboxes, artifact.remote.mboxes)
  const remoteViews = Array.isArray(prefetch?.views) && views.size === 0
    ? [...artifact.remote.views.keys()]
    : remoteOf(views, artifact.local.views, artifact.remote.views)
  return { remoteNeeded: remoteMboxes.length > 0 || remoteViews.length > 0, remoteMboxes, remoteViews }
}

function addNames (names: Set<string>, asked: ReadonlyArray<{ name?: string }> | undefined): void {
  if (!Array.isArray(asked)) return
  for (const details of asked) {
    if (details?.name !== undefined) names.add(details.name)
  }
}

/** First the names that the artifact lists as remote, in its order, then those it does not list as local, in request order. */
function remoteOf (names: ReadonlySet<string>, local: ReadonlySet<string>, remote: ReadonlyMap<string, number>): string[] {
  const listed: string[] = []
  const unknown: string[] = []
  for (const name of names) {
    if (remote.has(name)) listed.push(name)
    else if (!local.has(name)) unknown.push(name)
  }
  listed.sort((a, b) => remote.get(a)! - remote.get(b)!)
  return [...listed, ...unknown]
}
