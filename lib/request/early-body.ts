/**
 * Detects app functions that read `request.body` before Fastify has parsed it: the call to Target starts in a hook, where such
 * a function sees `undefined`, without an error or with one that does not explain why.
 */
import type { FastifyRequest } from 'fastify'
import type { Log } from '../diagnostics.ts'

/** Methods whose requests have no body. */
const WITHOUT_BODY = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Number of calls watched per function: the first ones may not reach the branch that reads the body. */
const WATCHED_CALLS = 20

/** Watches the functions of a plugin instance. */
export class EarlyBody {
  readonly #logger: Log
  readonly #hook: string | false
  readonly #advice: string
  readonly #calls = new Map<string, number>()

  /**
   * @param hook in which calls start
   * @param decorator name of `request.target`
   */
  constructor (logger: Log, hook: string | false, decorator: string) {
    this.#logger = logger
    this.#hook = hook
    this.#advice = `call request.${decorator}.converted() or start() in the handler, or register the plugin with \`hook: 'preHandler'\``
  }

  /**
   * Calls a function of the app with the request, and warns once if it reads the body too early.
   *
   * @param name of the option, and of the route if the function belongs to one
   */
  run<Result> (name: string, request: FastifyRequest, ask: (request: FastifyRequest) => Result): Result {
    if (request.body !== undefined || WITHOUT_BODY.has(request.method) || (this.#hook !== 'onRequest' && this.#hook !== 'preParsing')) return ask(request)
    const calls = this.#calls.get(name) ?? 0
    if (calls >= WATCHED_CALLS) return ask(request)
    this.#calls.set(name, calls + 1)
    let body: unknown
    const property = { configurable: true, enumerable: true }
    Object.defineProperty(request, 'body', {
      ...property,
      get: () => {
        this.#warn(name, request)
        return body
      },
      set: (value: unknown) => { body = value }
    })
    try {
      return ask(request)
    } finally {
      Object.defineProperty(request, 'body', { ...property, writable: true, value: body })
    }
  }

  #warn (name: string, request: FastifyRequest): void {
    this.#calls.set(name, WATCHED_CALLS)
    const route = name.includes(' of ') ? '' : ` for ${request.method} ${request.routeOptions.url ?? '(404)'}`
    this.#logger.warnOnce(`${name} reads request.body${route}, which is parsed after the hook \`${String(this.#hook)}\`: ${this.#advice}`)
  }
}
