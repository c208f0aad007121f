/**
 * The hand-over to Adobe's Web SDK in the browser: it gets the server's response, so that it makes no request itself.
 *
 * Web SDK gets the page load and the views as the Edge Network returned them, and renders them. It reports what it renders only
 * where the server has not: an executed page load is reported by the server. The visitor's state is left out where the server
 * writes it as cookies, which Web SDK would overwrite.
 */
import type { PendingCall } from './call.ts'
import { callFor, scriptElement, type ScriptOptions } from './at-js.ts'
import { failure } from '../errors.ts'
import { webSdkStateWith, type WebSdkState } from '../offers/web-sdk-state.ts'

/** An empty decision in Web SDK's format, so that it makes no request. */
const NOTHING = [{ type: 'personalization:decisions', payload: [] }]

/**
 * The state of a page's calls; undefined before the response, after a failure, and if neither page load nor views were
 * requested. If `maxWait` passed before the response to an executed page load, it is empty, as for at.js.
 *
 * @param writesCookies whether the server writes the visitor's cookies
 */
export function webSdkStateOf (calls: readonly PendingCall[], writesCookies: boolean): WebSdkState | undefined {
  const call = callFor(calls)
  if (call === undefined) return undefined
  const { outcome, plan, maxWaitPassed } = call
  const isReported = plan.execute?.pageLoad !== undefined
  if (outcome === undefined) return maxWaitPassed && isReported ? webSdkStateWith(NOTHING, isReported) : undefined
  if (outcome.kind !== 'answered' || outcome.answer.webSdk === undefined) return undefined
  const { webSdk, edgeState = [] } = outcome.answer
  const store = writesCookies || edgeState.length === 0
    ? []
    : [{ type: 'state:store', payload: edgeState.map(({ key, value, maxAge }) => ({ key, value, ...(maxAge !== undefined && { maxAge }) })) }]
  return webSdkStateWith([...webSdk, ...store], isReported)
}

/**
 * The script element; empty if there is nothing to hand over.
 *
 * @throws FST_TARGET_INVALID_OPTIONS if an option is invalid
 */
export function createWebSdkScript (state: WebSdkState | undefined, { nonce, instance = 'alloy' }: ScriptOptions): string {
  if (typeof instance !== 'string' || !/^[A-Za-z_$][\w$]{0,99}$/.test(instance)) {
    throw failure('FST_TARGET_INVALID_OPTIONS', 'request.target.script(): `instance` must be the name of Web SDK\'s instance, a JavaScript identifier')
  }
  return scriptElement(APPLY, state === undefined ? undefined : { instance, state }, nonce)
}

/** Runs in the page, as at.js's does. Web SDK shows its own errors. */
const APPLY = `function(s){
var a=window[s.instance];
try{
if(typeof a==='function')a('applyResponse',s.state).catch(function(){});
else console.error('Web SDK: '+s.instance+' is not defined; add its base code before this script')
}catch(e){console.error(e)}
}`.replaceAll('\n', '')
