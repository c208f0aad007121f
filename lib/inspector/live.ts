/**
 * Live updates by server-sent events: a few times a second, however many pages there are, and only while a browser listens.
 */
import type { FastifyReply } from 'fastify'
import type { Html } from './html.ts'

const MAX_VIEWERS = 20

/** ms between two messages to a viewer. */
const INTERVAL = 500

/** Whatever is between browser and app must not take a quiet connection for a dead one, ms. */
const KEEP_ALIVE = 15_000

/** A stream of one kind of event to one browser. */
export interface Stream {
  event: string
  /** What is new since the last message; undefined for nothing. */
  next (): Html | undefined
  /** The browser has left, or the app closes. */
  end (): void
}

export class Live {
  readonly #viewers = new Map<FastifyReply['raw'], Stream>()
  #timer: NodeJS.Timeout | undefined
  #quietSince = 0

  /** Begins a stream; false if there are too many. */
  open (reply: FastifyReply, headers: Record<string, string>, stream: Stream): boolean {
    if (this.#viewers.size >= MAX_VIEWERS) return false
    const { raw } = reply
    reply.hijack()
    raw.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' })
    raw.write('retry: 2000\n\n')
    this.#viewers.set(raw, stream)
    raw.once('close', () => {
      if (!this.#viewers.delete(raw)) return
      stream.end()
      if (this.#viewers.size === 0) clearInterval(this.#timer)
    })
    if (this.#viewers.size === 1) this.#timer = setInterval(() => this.#send(), INTERVAL).unref()
    return true
  }

  /** Ends all streams: an app that closes waits for its connections. */
  close (): void {
    for (const raw of this.#viewers.keys()) raw.destroy()
  }

  #send (): void {
    const isQuiet = performance.now() - this.#quietSince > KEEP_ALIVE
    if (isQuiet) this.#quietSince = performance.now()
    for (const [raw, { event, next }] of this.#viewers) {
      // A browser that does not read must not fill the memory.
      if (raw.writableNeedDrain) continue
      const html = next()
      if (html !== undefined) raw.write(`event: ${event}\ndata: ${JSON.stringify(html.toString())}\n\n`)
      else if (isQuiet) raw.write(': still here\n\n')
    }
  }
}
