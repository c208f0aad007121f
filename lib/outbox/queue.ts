/**
 * A queue from which anything can leave at any time, in constant time: a doubly linked list, closed to a ring.
 *
 * An array would have to be searched, and a `Set` that loses its oldest members steps over the holes they leave.
 */

/** Where a value stands in a queue. */
export class Place<Value> {
  readonly value: Value
  #previous: Place<Value> = this
  #next: Place<Value> = this

  constructor (value: Value) {
    this.value = value
  }

  /** The place behind this one. */
  get next (): Place<Value> {
    return this.#next
  }

  /** Puts a value directly behind this one. */
  append (value: Value): Place<Value> {
    const place = new Place(value)
    place.#previous = this
    place.#next = this.#next
    this.#next.#previous = place
    this.#next = place
    return place
  }

  /** Puts a value directly before this one. */
  prepend (value: Value): Place<Value> {
    return this.#previous.append(value)
  }

  /** Leaves the queue; once more does nothing. */
  leave (): void {
    this.#previous.#next = this.#next
    this.#next.#previous = this.#previous
    this.#previous = this.#next = this
  }
}

/** First in, first out. */
export class Queue<Value> {
  /** Where the ring is closed: behind the last value, before the first, and holding none. */
  readonly #end = new Place(undefined as Value)

  /** The value at the front. */
  get first (): Value | undefined {
    return this.#end.next.value
  }

  /** Puts a value at the end. */
  push (value: Value): Place<Value> {
    return this.#end.prepend(value)
  }

  /** Every value from the front; the one at hand may leave meanwhile. */
  * [Symbol.iterator] (): Generator<Value, void> {
    for (let place = this.#end.next, next = place.next; place !== this.#end; place = next, next = place.next) yield place.value
  }
}
