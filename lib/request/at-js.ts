/**
 * The hand-over to Adobe's own libraries in the browser: at.js gets the response, so that it requests none itself; VisitorAPI.js
 * gets the visitor's state, so that its Analytics hits join Target's.
 *
 * The state contains what at.js 2.11 reads and nothing else. Like every at.js since 2.2, it accepts a state only if `request`
 * and `response` have members; of the request it reads `requestId`, of the response `id.tntId`, the executed page load, the
 * prefetched views and the clicks beside them. It removes mboxes first. The server's data about the visitor, such as IP,
 * customer ids, parameters and traces, stays on the server; so do a view's parameters, which at.js would repeat when it reports
 * the view's display.
 */
import type { DeliveryRequest, DeliveryResponse, PageLoadResponse, View } from '../schema/index.ts'
import { failure } from '../errors.ts'
import type { VisitorState } from '../visitor/experience-cloud.ts'
import type { Answer } from '../offers/result.ts'
import type { PendingCall } from './call.ts'
import type { TargetPlan } from './route-config.ts'

/**
 * For at.js as `window.targetGlobalSettings.serverState`. Its offers are those of the response, not copies.
 *
 * Source: Adobe Target, at.js, `targetGlobalSettings()`, hybrid personalization.
 */
export interface ServerState {
  /** Which page load and views were requested; nothing about the visitor. */
  request: Pick<DeliveryRequest, 'requestId' | 'execute' | 'prefetch'>
  /** The executed page load, the prefetched views, and the visitor's `tntId` only, which at.js keeps in its cookie. */
  response: Pick<DeliveryResponse, 'status' | 'requestId' | 'id' | 'execute' | 'prefetch'>
}

/** Options of `script()`. */
export interface ScriptOptions {
  /** Nonce of the page's Content-Security-Policy: base64 or base64url, as required by the policy itself. Default: none. */
  nonce?: string
  /** With `edgeNetwork`: the name of Web SDK's instance in the page. Default `alloy`. */
  instance?: string
}

/**
 * The state of a page's calls; undefined before the response, after a failure, and if at.js has nothing to apply.
 *
 * If `maxWait` passed before the response, the state is empty: the server's call continues and counts the page load, and at.js
 * would have it counted twice if it requested it again. The page shows its own content, as in all its mboxes.
 */
export function serverStateOf (calls: readonly PendingCall[]): ServerState | undefined {
  const call = callFor(calls)
  if (call === undefined) return undefined
  const { outcome, plan, maxWaitPassed, requestId } = call
  if (outcome === undefined) return maxWaitPassed && plan.execute?.pageLoad !== undefined ? createEmptyState(requestId) : undefined
  return outcome.kind === 'answered' && isForAtJs(outcome.answer.request) ? createServerState(outcome.answer) : undefined
}

/**
 * The script element; empty before the response and after a failure.
 *
 * @param visitorState by organization id
 * @throws FST_TARGET_INVALID_OPTIONS if the nonce is invalid
 */
export function createScript (calls: readonly PendingCall[], visitorState: VisitorState, { nonce }: ScriptOptions): string {
  const serverState = serverStateOf(calls)
  const hasNothing = serverState === undefined && callFor(calls)?.outcome?.kind !== 'answered'
  return scriptElement(TAKE_OVER, hasNothing ? undefined : { serverState, visitorState }, nonce)
}

/**
 * An inline script element that calls a function with data; empty without data.
 *
 * @param code the function, without `<`, `>` and `&`
 * @throws FST_TARGET_INVALID_OPTIONS if the nonce is invalid
 */
export function scriptElement (code: string, data: object | undefined, nonce: string | undefined): string {
  const hasNonce = checkNonce(nonce, 'request.target.script()') !== undefined
  if (data === undefined) return ''
  let text: string
  try {
    text = JSON.stringify(data)
  } catch {
    // Nested too deep to serialize: the page's library makes its own request.
    return ''
  }
  const start = !hasNonce ? '<script>' : `<script nonce="${nonce}">`
  return `${start}(${code})(JSON.parse('${text.replace(UNSAFE, escaped)}'))</script>`
}

/**
 * Runs in the page: without `<`, `>` and `&`, so that it is the same in HTML and XHTML, and without anything that a strict policy
 * forbids. Frozen settings are copied, and anything but an object is not used as settings. Errors thrown by other scripts'
 * objects are logged and caught here.
 */
const TAKE_OVER = `function(s){
var w=window,g,v;
if(s.serverState)try{
g=w.targetGlobalSettings;
if(Object(g)!==g)g=w.targetGlobalSettings={};
try{g.serverState=s.serverState}catch(e){}
if(g.serverState!==s.serverState)w.targetGlobalSettings=Object.assign({},g,{serverState:s.serverState})
}catch(e){console.error(e)}
try{
v=w.Visitor;
if(v)if(v.getInstance)Object.keys(s.visitorState).forEach(function(o){v.getInstance(o,{serverState:s.visitorState})})
}catch(e){console.error(e)}
}`.replaceAll('\n', '')

/**
 * Characters that end a string in single quotes, could start HTML syntax, or are not allowed in XML. JSON has already escaped
 * the other control characters and lone surrogates.
 */
const UNSAFE = /[\\'<>&\x7f-\x9f\u2028\u2029\ufffe\uffff]/g

const escaped = (character: string) => character === '\\' ? '\\\\' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/**
 * A nonce as it was given.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the method
 */
export function checkNonce (nonce: string | undefined, method: string): string | undefined {
  if (nonce === undefined || isNonce(nonce)) return nonce
  throw failure('FST_TARGET_INVALID_OPTIONS', `${method}: \`nonce\` must be a base64 or base64url string, as in a Content-Security-Policy`)
}

/** `base64-value` of Content Security Policy Level 3. */
const isNonce = (nonce: unknown): boolean => typeof nonce === 'string' && /^[A-Za-z0-9+/_-]+={0,2}$/.test(nonce)

/** The first call that requests something that at.js applies, else the first. */
export const callFor = (calls: readonly PendingCall[]): PendingCall | undefined => calls.find(({ plan }) => isForAtJs(plan)) ?? calls[0]

/** Whether at.js would find anything to apply. If not, at.js should request the page load itself. */
function isForAtJs ({ execute, prefetch }: TargetPlan | DeliveryRequest): boolean {
  return execute?.pageLoad !== undefined || (prefetch?.views !== undefined && prefetch.views.length > 0)
}

const createEmptyState = (requestId: string | undefined): ServerState => ({
  request: { ...(requestId !== undefined && { requestId }), execute: { pageLoad: {} } },
  response: { ...(requestId !== undefined && { requestId }), execute: { pageLoad: {} } }
})

function createServerState ({ request, response }: Answer): ServerState {
  const state: ServerState = {
    request: pick(request, 'requestId'),
    response: pick(response, 'status', 'requestId')
  }
  if (response.id?.tntId !== undefined) state.response.id = { tntId: response.id.tntId }
  if (request.execute?.pageLoad !== undefined) {
    state.request.execute = { pageLoad: {} }
    if (response.execute?.pageLoad !== undefined) state.response.execute = { pageLoad: pageLoadOf(response.execute.pageLoad) }
  }
  if (request.prefetch?.views !== undefined) {
    state.request.prefetch = { views: request.prefetch.views.map((view) => pick(view, 'name')) }
    if (response.prefetch !== undefined) {
      state.response.prefetch = pick(response.prefetch, 'metrics')
      if (response.prefetch.views !== undefined) state.response.prefetch.views = response.prefetch.views.map(viewOf)
    }
  }
  return state
}

const pageLoadOf = (pageLoad: PageLoadResponse): PageLoadResponse => pick(pageLoad, 'options', 'metrics', 'analytics')
const viewOf = (view: View): View => pick(view, 'name', 'state', 'options', 'metrics', 'analytics')

/** The named members that are present. */
function pick<Whole extends object, Name extends keyof Whole> (whole: Whole, ...names: Name[]): Pick<Whole, Name> {
  const part = {} as Pick<Whole, Name>
  for (const name of names) if (whole[name] !== undefined) part[name] = whole[name]
  return part
}
