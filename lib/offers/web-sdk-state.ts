/**
 * The options of Web SDK's command `applyResponse`: the server's response, for the browser.
 *
 * Sources: Adobe, Web SDK, `applyResponse`, hybrid personalization; `@adobe/alloy` 2.33, which refuses members it does not know.
 */

/** Parts of the Edge Network's answer. */
export type Handles = readonly { type: string, payload: unknown[] }[]

/** Options of Web SDK's command `applyResponse`. The offers in it are those of the answer, not copies. */
export interface WebSdkState {
  renderDecisions: true
  responseHeaders: Record<string, string>
  responseBody: { handle: Handles }
  personalization: { sendDisplayEvent: boolean }
}

/** @param isReported whether the server reports the page load as displayed, as with one that it executes */
export const webSdkStateWith = (handle: Handles, isReported: boolean): WebSdkState =>
  ({ renderDecisions: true, responseHeaders: {}, responseBody: { handle }, personalization: { sendDisplayEvent: !isReported } })
