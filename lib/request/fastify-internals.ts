/**
 * Three internals of Fastify that this plugin needs, found by the description of their symbols. Each caller does
 * without if an unknown Fastify lacks them; tests check them against the installed Fastify.
 */
import type { FastifyInstance } from 'fastify'

/** A member of an object, or of what it inherits from, by the description of its symbol. */
export function bySymbol (object: object, description: string): unknown {
  for (let owner: object | null = object; owner !== null; owner = Object.getPrototypeOf(owner)) {
    const symbol = Object.getOwnPropertySymbols(owner).find((symbol) => symbol.description === description)
    if (symbol !== undefined) return (object as Record<symbol, unknown>)[symbol]
  }
  return undefined
}

/** The app that an instance is a scope of. */
export function rootOf (app: FastifyInstance): FastifyInstance {
  let root: object = app
  // A scope inherits from the one around it.
  for (let parent = Object.getPrototypeOf(root); parent !== null && parent !== Object.prototype; parent = Object.getPrototypeOf(root)) root = parent
  return root as FastifyInstance
}
