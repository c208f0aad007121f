/**
 * fastify-adobe-target/inspector: shows in the browser what the last pages got from Target and why, and lets developers override it.
 *
 * Nothing is recorded, and nothing can be forced, unless this is registered.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TargetClient } from '../client/client.ts'
import { failure } from '../errors.ts'
import type { PageInspection } from '../offers/inspection.ts'
import { Access } from './access.ts'
import { Catalog } from './catalog.ts'
import { Live } from './live.ts'
import { resolveOptions, type TargetInspectorOptions } from './options.ts'
import { OVERRIDE, OverrideStore, withoutOverride } from './overrides.ts'
import { Recorder } from './recorder.ts'
import { Redaction } from './redact.ts'
import { addRoutes } from './routes.ts'
import { Samples } from './samples.ts'
import { Signer } from './signed.ts'
import { badgeScript } from './toolbar.ts'

export type { TargetInspectorOptions }

/** Pages of ordinary visitors kept per second. */
const MAX_RATE = 20

async function inspector (app: FastifyInstance, given: TargetInspectorOptions): Promise<void> {
  const { path, enabled, secret, remote, pages, artifact, traceToken, decorator, signingSecret } = resolveOptions(given)
  if (!enabled) return
  const client = (app as unknown as Record<string, TargetClient | undefined>)[decorator]
  if (typeof client?.health !== 'function') throw failure('FST_TARGET_INVALID_OPTIONS', `targetInspector: register fastify-adobe-target first; \`app.${decorator}\` does not exist in this scope`)
  if (client.inspector !== undefined) throw failure('FST_TARGET_INVALID_OPTIONS', 'targetInspector: already registered for this client')
  if (artifact) client.loadArtifact()

  const base = `${app.prefix.replace(/\/$/, '')}${path}`
  const code = client.details.client
  const signer = new Signer(signingSecret)
  const access = new Access({ secret, remote }, signer, code)
  const catalog = new Catalog(() => client.details.artifact)
  const store = new OverrideStore(signer, code, catalog)
  const inspected = new WeakMap<object, PageInspection>()
  const overridesOf = (request: FastifyRequest) => {
    const link = linkOf(request)
    return link === undefined ? store.read(request) : link.size === 0 ? undefined : store.of(link)
  }
  /** The overrides in a link, if this browser may set them. Any browser may end its own. */
  const linkOf = (request: FastifyRequest) => {
    const link = store.readLink(request)
    return link !== undefined && (link.size === 0 ? store.read(request) !== undefined : access.mayForce(request)) ? link : undefined
  }
  const recorder = new Recorder({
    client,
    decorator,
    pages,
    overridesOf: (request) => (inspected.get(request)?.overrides as ReturnType<typeof overridesOf>)?.describe() ?? [],
    rate: MAX_RATE,
    isWanted: (request) => inspected.has(request) || (secret !== undefined && access.admits(request) === 'admitted'),
    // Forced offers must not be taken for Target's responses.
    onAnswer: (response) => catalog.learn(response)
  })

  client.inspector = {
    inspect (request) {
      const overrides = overridesOf(request as FastifyRequest)
      const token = traceToken !== undefined && access.admits(request as FastifyRequest) === 'admitted' ? traceToken : undefined
      if (overrides !== undefined || (secret !== undefined && access.admits(request as FastifyRequest) === 'admitted')) recorder.attend()
      if (overrides === undefined && token === undefined) return undefined
      const inspection = { overrides, traceToken: token }
      inspected.set(request, inspection)
      return inspection
    },
    toolbar (request, nonce) {
      const overrides = overridesOf(request as FastifyRequest)?.describe() ?? []
      const isAdmitted = access.admits(request as FastifyRequest) === 'admitted'
      if (overrides.length === 0 && !isAdmitted) return ''
      return badgeScript({ overrides, inspect: isAdmitted ? `${base}/pages/${recorder.idOf(request)}` : undefined }, nonce)
    }
  }

  // Redirects immediately: Target decides by addresses, and a reload must not repeat an override that was ended.
  app.addHook('onRequest', (request, reply, done) => {
    if ((request.method !== 'GET' && request.method !== 'HEAD') || !request.originalUrl.includes(OVERRIDE)) return done()
    const link = linkOf(request)
    if (link === undefined || !store.write(request, reply, link)) return done()
    reply.header('cache-control', 'private, no-store').redirect(withoutOverride(request.originalUrl), 302)
  })

  const live = new Live()
  const samples = new Samples(client, recorder)
  app.register(async (scope) => addRoutes(scope, {
    base, decorator, hasSecret: secret !== undefined, most: pages, client, access, store, catalog, recorder, redaction: new Redaction(), samples, live
  }), { prefix: path })
  app.addHook('preClose', (done) => {
    live.close()
    done()
  })
  app.addHook('onClose', (_app, done) => {
    client.inspector = undefined
    recorder.close()
    done()
  })
}

/** The plugin. Register it after `fastify-adobe-target`, in the same scope or below. */
export const targetInspector = fp(inspector, { fastify: '5.x', name: 'fastify-adobe-target-inspector' })
export default targetInspector
