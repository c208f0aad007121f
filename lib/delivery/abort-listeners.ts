/**
 * Watches the callers' abort signals with one listener per signal.
 *
 * A signal shared by all calls of a process is common, and Node warns of a leak from the eleventh listener.
 */

/** Work that can be aborted when its result is no longer needed. */
export interface Abortable {
  abort (): void
}

/** Stands for work that has ended already, or cannot be aborted. */
export const NOTHING_TO_ABORT: Abortable = { abort () {} }

const groups = new WeakMap<AbortSignal, AbortGroup>()

/** The work that one signal aborts. */
class AbortGroup {
  readonly members = new Set<Abortable>()

  /** The signal's listener. */
  handleEvent (): void {
    for (const member of this.members) member.abort()
  }
}

/** Aborts `member` when the signal fires. */
export function watch (signal: AbortSignal, member: Abortable): void {
  let group = groups.get(signal)
  if (group === undefined) {
    group = new AbortGroup()
    groups.set(signal, group)
    signal.addEventListener('abort', group)
  }
  group.members.add(member)
}

/** Undoes {@link watch}; the last one removes the listener from the signal. */
export function unwatch (signal: AbortSignal, member: Abortable): void {
  const group = groups.get(signal)
  if (group === undefined || !group.members.delete(member) || group.members.size > 0) return
  groups.delete(signal)
  signal.removeEventListener('abort', group)
}
