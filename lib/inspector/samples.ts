/** The client's last minute, for small charts: one sample per second, taken only while a browser watches. */
import type { TargetClient } from '../client/client.ts'
import type { Recorder } from './recorder.ts'

/** A second of the client's life. */
export interface Sample {
  /** Pages that used Target. */
  pages: number
  /** The longest that Target held one of them, ms. */
  waited: number
  /** The longest that it took, ms. */
  duration: number
  /** Calls on connections, and in the queue. */
  running: number
  waiting: number
  sockets: number
  /** Notifications that wait. */
  pending: number
}

const MAX_SAMPLES = 60

export class Samples {
  readonly #client: TargetClient
  readonly #recorder: Recorder
  readonly list: Sample[] = []
  #timer: NodeJS.Timeout | undefined
  #stopListening: (() => void) | undefined
  #viewers = 0
  #pages = 0
  #waited = 0
  #duration = 0

  constructor (client: TargetClient, recorder: Recorder) {
    this.#client = client
    this.#recorder = recorder
  }

  /** Somebody looks. */
  enter (): void {
    if (this.#viewers++ > 0) return
    this.#stopListening = this.#recorder.listen(({ timing }) => {
      this.#pages++
      this.#waited = Math.max(this.#waited, timing.waited)
      this.#duration = Math.max(this.#duration, timing.duration ?? 0)
    })
    this.#timer = setInterval(() => this.#take(), 1000).unref()
  }

  leave (): void {
    if (--this.#viewers > 0) return
    clearInterval(this.#timer)
    this.#stopListening?.()
    this.list.length = 0
  }

  #take (): void {
    const { pool, outbox } = this.#client.health()
    const hosts = Object.values(pool)
    const sum = (member: 'running' | 'waiting' | 'sockets') => hosts.reduce((total, host) => total + host[member], 0)
    this.list.push({ pages: this.#pages, waited: this.#waited, duration: this.#duration, running: sum('running'), waiting: sum('waiting'), sockets: sum('sockets'), pending: outbox.pending })
    if (this.list.length > MAX_SAMPLES) this.list.shift()
    this.#pages = this.#waited = this.#duration = 0
  }
}
