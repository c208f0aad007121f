/**
 * `request.target` outside the scope that the plugin was registered in. A handler there would fail with "Cannot read
 * properties of undefined (reading 'content')", which does not mention scopes; so it gets fallbacks, and the log says what to write.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Log } from '../diagnostics.ts'
import { bySymbol, rootOf } from './fastify-internals.ts'
import type { RequestTarget } from './target.ts'

/**
 * Gives the requests of the scopes around the plugin's own something in place of undefined, once all plugins have loaded: what
 * any of them has decorated itself stays.
 *
 * @param name of the decorator
 * @param target makes it; every read of it has only fallbacks
 */
export function standInOutside (app: FastifyInstance, name: string, log: Log, target: (request: FastifyRequest) => RequestTarget): void {
  const root = rootOf(app)
  if (root === app) return
  // Requests of a scope without decorators are not of a class of its own.
  root.decorateRequest(Symbol(`fastify-adobe-target:${name}:outside`), { getter: () => true })
  app.addHook('onReady', (done) => {
    if (!root.hasRequestDecorator(name)) decorate(root, name, log, target)
    done()
  })
}

function decorate (root: FastifyInstance, name: string, log: Log, target: (request: FastifyRequest) => RequestTarget): void {
  const { prototype } = (bySymbol(root, 'fastify.Request') ?? {}) as { prototype?: object }
  if (prototype === undefined) return
  Object.defineProperty(prototype, name, {
    configurable: true,
    get (this: FastifyRequest) {
      const { method, routeOptions: { url } } = this
      log.warnOnce(`request.${name} was used in ${method} ${url ?? '(404)'}, outside the scope in which the plugin was registered, so it returns only fallbacks: ` +
        'wrap the function that registers the plugin with fastify-plugin, or register the plugin at the root')
      return target(this)
    },
    // Another scope may have a decorator of that name.
    set (this: FastifyRequest, value: unknown) {
      Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true })
    }
  })
}
