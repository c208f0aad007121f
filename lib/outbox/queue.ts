/**
 * A queue from which any value can be removed in constant time: a circular doubly linked list.
 *
 * An array would have to be searched, and iterating a `Set` whose oldest members were deleted steps over their holes.
 */

/** A value's place in a queue. */
export class Place<Value> {
  readonly value: Value
  #previous: Place<Value> = this
  #next: Place<Value> = this

  constructor (value: Value) {
    this.value = value
  }

  /** The next place. */
  get next (): Place<Value> {
    return this.#next
  }

  /** Inserts a value directly after this one. */
  append (value: Value): Place<Value> {
    const place = new Place(value)
    place.#previous = this
    place.#next = this.#next
    this.#next.#previous = place
    this.#next = place
    return place
  }

  /** Inserts a value directly before this one. */
  prepend (value: Value): Place<Value> {
    return this.#previous.append(value)
  }

  /** Leaves the queue; repeated calls do nothing. */
  leave (): void {
    this.#previous.#next = this.#next
    this.#next.#previous = this.#previous
    this.#previous = this.#next = this
  }
}

/** First in, first out. */
export class Queue<Value> {
  /** Sentinel that closes the ring: after the last value, before the first. */
  readonly #end = new Place(undefined as Value)

  /** The value at the front. */
  get first (): Value | undefined {
    return this.#end.next.value
  }

  /** Puts a value at the end. */
  push (value: Value): Place<Value> {
    return this.#end.prepend(value)
  }

  /** Iterates from the front; the current value may leave during the iteration. */
  * [Symbol.iterator] (): Generator<Value, void> {
    for (let place = this.#end.next, next = place.next; place !== this.#end; place = next, next = place.next) yield place.value
  }
}
