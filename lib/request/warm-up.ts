/** Warms up what a page runs of this package, with a made-up page. See `client/warm-up.ts`. */
import type { FastifyRequest } from 'fastify'
import { WARM_UP, warmUp } from '../client/warm-up.ts'
import { cookieSerializer } from '../visitor/cookies.ts'
import { Visitor, visitorSettings } from '../visitor/visitor.ts'
import { RequestCalls, type RequestCallsSettings } from './calls.ts'
import { compileRequest } from './route-config.ts'
import { RequestTarget, type RequestTargetSettings } from './target.ts'

/** Warms up, see {@link warmUp}. Resolves with the content of the page's mbox. */
export const warmUpPage = (): Promise<string | undefined> => warmUp(async (client, { decisioningMethod, logger, organizationId, report, timeout, grace }) => {
  const settings: RequestCallsSettings & RequestTargetSettings = {
    client,
    timeout,
    grace,
    decisioningMethod,
    logger,
    report,
    warnings: client.warnings,
    qa: true,
    cookies: {},
    handOver: 'at.js',
    decorator: WARM_UP,
    hook: 'onRequest',
    mboxes: new Map(),
    earlyBody: { run: (_name, request, ask) => ask(request) },
    expectAttributes: ignore,
    contentFailed: ignore,
    functionFailed: ignore,
    onBypass: ignore,
    onBypassed: ignore
  }
  const plan = compileRequest([WARM_UP], {})
  const visitor = new Visitor(visitorSettings(organizationId), REQUEST.headers.cookie)
  const calls = new RequestCalls(settings, REQUEST, { name: WARM_UP, plan: { kind: 'fixed', plan }, hasLastHook: true, isNotFound: false, bypassesFastify: false }, visitor)
  const content = await new RequestTarget(settings, calls.start(), ignore).html(WARM_UP)
  const serialize = cookieSerializer({})
  for (const cookie of visitor.cookies) serialize(cookie, false)
  return content
})

/** What the plugin reads of a request. */
const REQUEST = {
  method: 'GET',
  protocol: 'http',
  host: 'localhost',
  ip: '127.0.0.1',
  originalUrl: '/',
  headers: { 'user-agent': WARM_UP, cookie: `mbox=session#${WARM_UP}#1` }
} as unknown as FastifyRequest

const ignore = (): any => {}
