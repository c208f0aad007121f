/** The routes of the inspector: views for a reader, JSON for tools, forms for overrides. */
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, RouteShorthandOptions } from 'fastify'
import type { TargetClient } from '../client/client.ts'
import type { Access } from './access.ts'
import { script } from './assets/script.ts'
import { style } from './assets/style.ts'
import type { Catalog } from './catalog.ts'
import { asJson } from './copy.ts'
import { html, type Html } from './html.ts'
import type { Live } from './live.ts'
import { assign, ownContent, readValue, type OverrideStore } from './overrides.ts'
import type { RecordedPage } from './record.ts'
import type { Recorder } from './recorder.ts'
import type { Redaction } from './redact.ts'
import type { Samples } from './samples.ts'
import { activitiesView } from './views/activities.ts'
import { clientState, clientView } from './views/client.ts'
import { layout, loginPage, type Frame } from './views/layout.ts'
import { overridesView } from './views/overrides.ts'
import { pageView } from './views/page.ts'
import { matches, pageRow, pagesView, readFilter } from './views/pages.ts'

/** The parts of the inspector that the routes use. */
export interface Inspection {
  /** Path of the inspector, with the prefix of the app's scope. */
  base: string
  /** Name of the plugin's decorator. */
  decorator: string
  hasSecret: boolean
  most: number
  client: TargetClient
  access: Access
  store: OverrideStore
  catalog: Catalog
  recorder: Recorder
  redaction: Redaction
  samples: Samples
  live: Live
}

/** Rows in one message of live updates. */
const MAX_ROWS = 25

const HEADERS = {
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store'
}

/** The fields of a form or a query string. */
type Body = Record<string, string>

export function addRoutes (app: FastifyInstance, inspection: Inspection): void {
  const { base, decorator, hasSecret, most, client, access, store, catalog, recorder, redaction, samples, live } = inspection
  // Addresses may hold the secret, so the app's log does not get them.
  const options: RouteShorthandOptions = { logLevel: 'warn', schema: { hide: true } as FastifySchema, config: { [decorator]: false } }

  const frame = (request: FastifyRequest, view: Frame['view'], title: string): Frame => ({ base, view, title, hasSecret, overrides: store.read(request) })
  const send = (request: FastifyRequest, reply: FastifyReply, view: Frame['view'], title: string, main: Html) =>
    reply.type('text/html; charset=utf-8').send(layout(frame(request, view, title), main))
  const state = () => clientState(base, client.health(), client.details, catalog, samples.list)

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string', bodyLimit: 32 * 1024 }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
  app.setErrorHandler((error: { statusCode?: number, message: string }, request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) request.log.error({ err: error }, 'fastify-adobe-target: the inspector threw an error')
    reply.code(status).headers(HEADERS).type('text/plain; charset=utf-8').send(status >= 500 ? 'The inspector failed; see the log.' : error.message)
  })

  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(HEADERS)
    const admission = access.admits(request)
    if (admission === 'refused') {
      reply.code(403).type('text/plain; charset=utf-8')
        .send('The Target inspector is available only on its own machine, under a local name such as localhost and not through a proxy. To open it from elsewhere, register it with `remote: true` and a `secret`.\n')
      return
    }
    const path = request.routeOptions.url ?? ''
    if (admission === 'admitted' || path === `${base}/login` || path === `${base}/style.css`) return done()
    const { secret } = request.query as Body
    if (secret === undefined || request.method !== 'GET') return askToLogIn(reply, undefined)
    // Redirects immediately, so that the secret does not stay in the history or in bookmarks.
    return logIn(request, reply, secret)
  })
  app.addHook('preHandler', (request, reply, done) => {
    if (request.method === 'POST' && !access.isOwn(request)) return reply.code(403).type('text/plain; charset=utf-8').send('Refused: forms are only accepted from the inspector\'s own pages.\n')
    done()
  })

  const askToLogIn = (reply: FastifyReply, problem: string | undefined, status = 401) => { reply.code(status).type('text/html; charset=utf-8').send(loginPage(base, problem)) }
  const logIn = (request: FastifyRequest, reply: FastifyReply, secret: unknown) => {
    const outcome = access.login(request, reply, secret)
    if (outcome === 'welcome') return reply.redirect(base, 303)
    if (outcome === 'throttled') return askToLogIn(reply, 'Too many failed attempts; wait a minute.', 429)
    askToLogIn(reply, 'Wrong secret.')
  }

  app.get('/style.css', options, (_request, reply) => { reply.type('text/css; charset=utf-8').send(style) })
  app.get('/script.js', options, (_request, reply) => { reply.type('text/javascript; charset=utf-8').send(script) })
  app.post<{ Body?: Body }>('/login', options, (request, reply) => { logIn(request, reply, request.body?.secret) })
  app.post('/logout', options, (request, reply) => {
    access.logout(request, reply)
    reply.redirect(base, 303)
  })

  app.get<{ Querystring: Body }>('/', options, (request, reply) => {
    send(request, reply, 'Pages', 'Pages', pagesView(base, recorder.pages, readFilter(request.query), redaction, { count: recorder.count, most }))
  })
  app.get<{ Params: { id: string } }>('/pages/:id', options, (request, reply) => {
    const page = recorder.page(request.params.id)
    if (page !== undefined) return send(request, reply, undefined, `${page.method} ${page.route ?? page.url}`, pageView(base, page, client.details, catalog, redaction))
    reply.code(404)
    send(request, reply, undefined, 'Not kept', html`<h1>Page not found</h1><p>It is still being sent, it used no offers, or more than ${most} pages came after it. <a href="${base}">All pages</a></p>`)
  })
  app.get('/client', options, (request, reply) => { send(request, reply, 'Client', 'Client', clientView(base, state())) })
  app.get('/activities', options, (request, reply) => { send(request, reply, 'Activities', 'Activities', activitiesView(base, catalog, client.details.artifact !== undefined)) })
  app.get('/overrides', options, (request, reply) => { send(request, reply, 'Overrides', 'Overrides', overridesView(base, store.read(request), catalog, undefined)) })

  app.post<{ Body?: Body }>('/overrides', options, (request, reply) => {
    const { mbox = '', value = '', content = '', back, clear } = request.body ?? {}
    const values = new Map(clear === undefined ? store.read(request)?.values : [])
    const read = clear !== undefined ? undefined : value === 'content' ? ownContent(content) : readValue(mbox, value)
    const isForced = clear !== undefined || (read !== undefined && mbox !== '' && (value !== 'content' || mbox !== '*'))
    if (isForced && read !== undefined) assign(values, mbox, read)
    if (isForced && store.write(request, reply, values)) return reply.redirect(back?.startsWith(`${base}/`) === true ? back : `${base}/overrides`, 303)
    reply.code(400)
    send(request, reply, 'Overrides', 'Overrides', overridesView(base, store.read(request), catalog, isForced ? 'This does not fit into a cookie; remove an override or shorten the content.' : 'This is not a valid override.'))
  })

  app.get<{ Querystring: Body }>('/api/pages', options, (request, reply) => {
    const filter = readFilter(request.query)
    reply.send(recorder.pages.filter((page) => matches(page, filter, redaction)).map((page) => asJson(page, redaction)))
  })
  app.get<{ Params: { id: string } }>('/api/pages/:id', options, (request, reply) => {
    const page = recorder.page(request.params.id)
    if (page === undefined) return reply.code(404).send({ error: 'page not found' })
    reply.send(asJson(page, redaction))
  })

  app.get<{ Querystring: Body }>('/events', options, (request, reply) => {
    const isOpen = request.query.view === 'client' ? openClient(reply) : openPages(request, reply)
    if (!isOpen) reply.code(503).type('text/plain; charset=utf-8').send('Too many open views.\n')
  })
  const openClient = (reply: FastifyReply) => {
    samples.enter()
    const isOpen = live.open(reply, HEADERS, { event: 'client', next: state, end: () => samples.leave() })
    if (!isOpen) samples.leave()
    return isOpen
  }
  const openPages = (request: FastifyRequest, reply: FastifyReply) => {
    const filter = readFilter(request.query as Body)
    let fresh: RecordedPage[] = []
    const stop = recorder.listen((page) => {
      fresh.push(page)
      // Under load, the last ones are shown.
      if (fresh.length > 4 * MAX_ROWS) fresh = fresh.slice(-MAX_ROWS)
    })
    const isOpen = live.open(reply, HEADERS, {
      event: 'pages',
      next () {
        if (fresh.length === 0) return undefined
        const rows = fresh.filter((page) => matches(page, filter, redaction)).slice(-MAX_ROWS).reverse()
        fresh = []
        return rows.length === 0 ? undefined : html`${rows.map((page) => pageRow(base, page, redaction))}`
      },
      end: stop
    })
    if (!isOpen) stop()
    return isOpen
  }
}
