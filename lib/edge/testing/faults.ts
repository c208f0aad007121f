/** Faults of the edge, on demand. */
import { Type } from '@sinclair/typebox'
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { alternatives, check, checkOptions, oneOf, passing, strict } from '../../validation.ts'
import type { Pauses } from './waits.ts'

/**
 * | kind | what the client sees |
 * |---|---|
 * | `status:<n>` | this status, 300 to 599, with `{ status, message }`, or the Edge Network's `{ type, status, title }` |
 * | `hang` | nothing, ever |
 * | `stall-body` | headers and half of the body, then nothing |
 * | `drip` | the body, one byte every 50 ms |
 * | `reset` | the connection reset before any byte |
 * | `reset-mid-body` | the connection reset after half of the body |
 * | `bad-json` | status 200 and the first half of the body as if it were all |
 * | `status-in-body` | status 200 and `{ status: 400, message }`; from the Edge Network status 207 with an error of Target's |
 * | `huge-body` | the body with 100 MiB of white space after it |
 * | `slow:<ms>` | the answer, that much later |
 *
 * With `status`, `hang`, `reset` and `status-in-body` the request is not processed; with the others it is, and executed offers
 * count, as when a real response is lost in transit. Connection faults need a real connection, not `inject()`.
 */
export type FaultKind = `status:${number}` | 'hang' | 'stall-body' | 'drip' | 'reset' | 'reset-mid-body' | 'bad-json' |
  'status-in-body' | 'huge-body' | `slow:${number}`

/** The requests that a fault applies to; `delivery` includes those of the Edge Network. */
export type FaultRoute = 'delivery' | 'artifact' | 'geo'

export interface FaultOptions {
  /** Number of requests that it applies to. Default: all until `reset()`. */
  times?: number
  /** The requests that it applies to. Default `'delivery'`. */
  route?: FaultRoute
}

interface Fault {
  kind: string
  /** The number after the colon. */
  value: number
  times: number
}

const DRIP_INTERVAL = 50
const HUGE_SIZE = 100 * 1024 * 1024
const PLAIN_KINDS: readonly string[] = ['hang', 'stall-body', 'drip', 'reset', 'reset-mid-body', 'bad-json', 'status-in-body', 'huge-body']
const call = 'edge.fault()'

const Kind = passing((kind) => parse(kind) !== undefined, alternatives(['status:<300 to 599>', 'slow:<ms>', ...PLAIN_KINDS]))
const OptionsSchema = Type.Object({
  times: Type.Optional(passing((times) => times === Infinity || (Number.isInteger(times) && times as number > 0), 'an integer ≥ 1 or Infinity')),
  route: Type.Optional(oneOf('delivery', 'artifact', 'geo'))
}, strict)

export class Faults {
  readonly #faults = new Map<FaultRoute, Fault>()
  readonly #pauses: Pauses

  constructor (pauses: Pauses) {
    this.#pauses = pauses
  }

  /** Sets the fault of a route, replacing the previous one. Throws FST_TARGET_INVALID_OPTIONS. */
  set (kind: FaultKind, options: FaultOptions = {}): void {
    check(Kind, kind, { call, root: 'kind' })
    const { times = Infinity, route = 'delivery' } = checkOptions<FaultOptions>(OptionsSchema, options, { call })
    this.#faults.set(route, { ...parse(kind)!, times })
  }

  clear (): void {
    this.#faults.clear()
  }

  /** The hooks that cause the faults of a route. */
  hooks (route: FaultRoute) {
    const taken = new WeakMap<FastifyRequest, Fault>()
    return {
      // After the body has been read, so that the request is recorded as received.
      preValidation: async (request: FastifyRequest, reply: FastifyReply) => {
        const fault = this.#take(route)
        if (fault === undefined) return
        taken.set(request, fault)
        return before(fault, request, reply)
      },
      onSend: async (request: FastifyRequest, reply: FastifyReply, payload: unknown) => {
        const fault = taken.get(request)
        if (fault?.kind === 'slow') await this.#pauses.wait(fault.value)
        if (fault === undefined || reply.statusCode !== 200) return payload
        if (typeof payload === 'string' || Buffer.isBuffer(payload)) return this.#after(fault.kind, Buffer.from(payload), request, reply) ?? payload
        return payload
      }
    }
  }

  #take (route: FaultRoute): Fault | undefined {
    const fault = this.#faults.get(route)
    if (fault !== undefined && --fault.times <= 0) this.#faults.delete(route)
    return fault
  }

  /** The body to send instead, or undefined. */
  #after (kind: string, body: Buffer, request: FastifyRequest, reply: FastifyReply): Readable | Buffer | undefined {
    const half = body.subarray(0, body.length >> 1)
    switch (kind) {
      case 'bad-json':
        return half
      case 'stall-body':
        reply.header('content-length', body.length)
        return firstHalf(half, () => {})
      case 'reset-mid-body':
        reply.header('content-length', body.length)
        // Delayed, or the reset would overtake the half that was sent.
        return firstHalf(half, () => { this.#pauses.wait(20).then(() => request.raw.socket.resetAndDestroy()) })
      case 'drip':
        reply.header('content-length', body.length)
        return Readable.from(this.#drip(body))
      case 'huge-body':
        return Readable.from(padded(body))
    }
  }

  async * #drip (body: Buffer) {
    for (let at = 0; at < body.length; at++) {
      await this.#pauses.wait(DRIP_INTERVAL)
      yield body.subarray(at, at + 1)
    }
  }
}

/** Parses a fault; undefined if there is no such kind. */
function parse (kind: unknown): { kind: string, value: number } | undefined {
  if (typeof kind === 'string') {
    if (PLAIN_KINDS.includes(kind)) return { kind, value: 0 }
    const [, name, digits] = /^(status|slow):(\d{1,7})$/.exec(kind) ?? []
    const value = Number(digits)
    if (name === 'slow' || (name === 'status' && value >= 300 && value <= 599)) return { kind: name, value }
  }
  return undefined
}

const isEdgeNetwork = ({ url }: FastifyRequest): boolean => url.startsWith('/ee')

/** An error in the format of the called API. */
function errorFor (request: FastifyRequest, status: number): object {
  if (!isEdgeNetwork(request)) return { status, message: 'A fault was requested' }
  return { type: `https://ns.adobe.com/aep/errors/EXEG-0201-${status}`, status, title: "A fault was requested of the 'com.adobe.target' service" }
}

/** The faults that leave the request unprocessed. */
function before (fault: Fault, request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
  switch (fault.kind) {
    case 'status':
      if (fault.value < 400) reply.header('location', request.url)
      return reply.code(fault.value).send(errorFor(request, fault.value))
    case 'status-in-body':
      return isEdgeNetwork(request) ? reply.code(207).send({ handle: [], errors: [errorFor(request, 400)] }) : reply.send(errorFor(request, 400))
    case 'hang':
      return reply.hijack()
    case 'reset':
      reply.hijack()
      request.raw.socket.resetAndDestroy()
      return reply
  }
}

/** A body that sends its first half, calls back once that is written, and never ends. */
function firstHalf (half: Buffer, written: () => void): Readable {
  let given = false
  return new Readable({
    read () {
      if (given) {
        written()
      } else {
        given = true
        this.push(half)
      }
    }
  })
}

function * padded (body: Buffer) {
  yield body
  const spaces = Buffer.alloc(64 * 1024, ' ')
  for (let sent = 0; sent < HUGE_SIZE; sent += spaces.length) yield spaces
}
