/**
 * The contract between the outbox and a store that keeps notifications beyond the life of the process.
 *
 * The in-memory queue remains the scheduler: it batches, retries, holds and halves. A store is a journal behind it. It never
 * sees a notification before the outbox has accepted it, and no page, no call to the edge and no shutdown waits for it longer
 * than the outbox allows. Delivery with a store is at least once: every copy of a notification carries the same `id` and
 * `impressionId`, and Target counts a repeat once.
 */

/** A record that a store returns. */
export interface StoredRecord {
  /** As resolved by {@link OutboxStore.append}, or any other string that {@link OutboxStore.settle} accepts for this record. */
  id: string
  /** Exactly the text that was appended. */
  payload: string
}

/**
 * Keeps notifications until they are settled, for the option `notifications.store`. `fileStore()` and `redisStore()` are two.
 *
 * The outbox treats every method as unreliable: it may throw, reject, be slow, or return a promise that never settles. Then
 * notifications are kept in memory only, one line is logged, `health().outbox.durable` is `false`, and the outbox tries
 * again from time to time. A store therefore needs no retries, and should reject rather than wait.
 *
 * One store object belongs to one client, and so does the place it writes to (directory, stream): the records of two clients
 * must not mix. Many instances of one client, in this process or in others, may share the place.
 */
export interface OutboxStore {
  /**
   * Stores records and resolves when they survive the death of this process.
   *
   * The outbox makes one call at a time and passes everything that was accepted since the last one, so a store can write a
   * call as one group. If a call fails or takes too long, its records may be appended again: the same record can then be
   * stored under two ids. Both are settled.
   *
   * @param payloads one text per record: the notifications of one visitor in one tick, 1 to 2 kB of JSON, or the result of
   *   `notifications.transform`; opaque to the store
   * @returns ids chosen by the store, one per payload in the same order; unique among all instances that share the place
   */
  append (payloads: readonly string[]): Promise<string[]>

  /**
   * Removes records whose notifications were sent, given up or dropped.
   *
   * One call at a time, which may overlap with a call of {@link append}. If it fails, the ids are passed again with the next
   * call; an unknown id must be ignored. A record that is never settled is delivered again by a later {@link recover}, which
   * is harmless.
   *
   * @param ids of records that this instance has appended or recovered
   */
  settle (ids: readonly string[]): Promise<void>

  /**
   * Yields the records that no other instance will deliver, and ends when none are left for now.
   *
   * Called when the outbox starts, and again 30 s after each call ends, so that survivors take over from instances that die.
   * It yields records
   *
   * - of instances that were closed, or that the store considers dead (including an earlier run of this one),
   * - never those of an instance that is alive as far as the store can determine, however long they have waited. The outbox
   *   keeps a notification for up to `maxAge` while the edge is down: age alone proves nothing,
   * - never one that this object has appended or yielded before.
   *
   * Once yielded, a record belongs to this instance: other live instances no longer get it, this one settles it, and if this
   * one dies it is orphaned again. If two instances do get the same record, it is sent twice and counted once.
   *
   * The outbox reads at its own pace (it stops reading while its queue is full) and may stop early (`return()`). Records that
   * were not yielded must not be claimed for long.
   */
  recover (): AsyncIterable<StoredRecord>

  /**
   * Ends the use of the store: makes writes durable, releases locks, and leaves the remaining records to other instances or
   * to the next start. Called once, after the last `settle`. Connections that the app passed in stay open.
   */
  close (): Promise<void>
}

/** Transforms records as they are written to and read from the store, for the option `notifications.transform`. */
export interface OutboxTransform {
  /** Encrypts, for example. If it throws or rejects, nothing is stored and notifications stay in memory. */
  encode (payload: string): string | Promise<string>
  /** Reverses `encode`. If it throws or rejects, the record counts as failed and is removed. */
  decode (stored: string): string | Promise<string>
}
