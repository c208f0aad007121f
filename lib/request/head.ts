/**
 * The head of a response before it is written: Fastify's own, or that of the raw response if Fastify is bypassed
 * (`reply.hijack()`, `reply.raw`, frameworks that respond themselves).
 */
import type { FastifyReply } from 'fastify'

/** Headers that can still be changed. */
export interface Head {
  readonly status: number
  /** Names of all headers so far, in lower case. */
  readonly names: string[]
  get (name: string): unknown
  set (name: string, value: string): void
  remove (name: string): void
  /** Cookies that were added so far. */
  readonly cookies: string[]
  addCookies (lines: string[]): void
  /** Replaces all cookies. */
  setCookies (lines: string[]): void
}

const linesOf = (value: unknown): string[] => value === undefined ? [] : [value].flat().map(String)

/** The head that Fastify will write. Its headers replace those of the same name on the raw response. */
export class ReplyHead implements Head {
  readonly #reply: FastifyReply

  constructor (reply: FastifyReply) {
    this.#reply = reply
  }

  get status (): number {
    return this.#reply.statusCode
  }

  get names (): string[] {
    return Object.keys(this.#reply.getHeaders())
  }

  get (name: string): unknown {
    return this.#reply.getHeader(name)
  }

  set (name: string, value: string): void {
    this.#reply.header(name, value)
  }

  remove (name: string): void {
    this.#reply.removeHeader(name)
    this.#reply.raw.removeHeader(name)
  }

  get cookies (): string[] {
    const { raw } = this.#reply
    return [...new Set([...linesOf(raw.getHeader('set-cookie')), ...linesOf(this.#reply.getHeader('set-cookie'))])]
  }

  addCookies (lines: string[]): void {
    // Otherwise Fastify's cookies would replace those of the raw response.
    if (this.#reply.raw.hasHeader('set-cookie')) this.setCookies([...this.cookies, ...lines])
    else if (lines.length > 0) this.#reply.header('set-cookie', lines)
  }

  setCookies (lines: string[]): void {
    this.remove('set-cookie')
    if (lines.length > 0) this.#reply.header('set-cookie', lines)
  }
}

/** The head of the raw response. */
export class RawHead implements Head {
  readonly #raw: FastifyReply['raw']

  constructor ({ raw }: FastifyReply) {
    this.#raw = raw
  }

  get status (): number {
    return this.#raw.statusCode
  }

  get names (): string[] {
    return this.#raw.getHeaderNames()
  }

  get (name: string): unknown {
    return this.#raw.getHeader(name)
  }

  set (name: string, value: string): void {
    this.#raw.setHeader(name, value)
  }

  remove (name: string): void {
    this.#raw.removeHeader(name)
  }

  get cookies (): string[] {
    return linesOf(this.#raw.getHeader('set-cookie'))
  }

  addCookies (lines: string[]): void {
    if (lines.length > 0) this.setCookies([...this.cookies, ...lines])
  }

  setCookies (lines: string[]): void {
    if (lines.length > 0) this.#raw.setHeader('set-cookie', lines)
    else this.remove('set-cookie')
  }
}

/**
 * Runs a function when the head is about to be written, with all headers on the raw response. Replaces this response's
 * `writeHead`, which is too slow to do for every page.
 */
export function beforeHead ({ raw }: FastifyReply, run: () => void): void {
  if (raw.headersSent) return
  const { writeHead } = raw
  raw.writeHead = (status: number, ...rest: unknown[]) => {
    raw.writeHead = writeHead
    const headers = rest.at(-1)
    // Headers passed to writeHead() take precedence over setHeader(), so they must be set first.
    if (typeof headers === 'object' && headers !== null) {
      rest.pop()
      for (const [name, value] of pairsOf(headers)) raw.setHeader(name, value)
    }
    raw.statusCode = status
    run()
    return (writeHead as (status: number, ...rest: unknown[]) => typeof raw).call(raw, status, ...rest)
  }
}

/** Headers as accepted by Node.js: an object, pairs, or a flat list of names and values, which may repeat a name. */
function pairsOf (headers: object): Iterable<[string, string | string[]]> {
  if (!Array.isArray(headers)) return Object.entries(headers)
  const pairs = Array.isArray(headers[0]) ? headers as string[][] : headers.flatMap((name, index) => index % 2 === 0 ? [[name, headers[index + 1]]] : [])
  const values = new Map<string, string[]>()
  for (const [name, value] of pairs) values.set(name!.toLowerCase(), [...values.get(name!.toLowerCase()) ?? [], value!].flat())
  return [...values].map(([name, all]) => [name, all.length === 1 ? all[0]! : all])
}
