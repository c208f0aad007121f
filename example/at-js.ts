/**
 * What the browser loads as at.js. The real one comes from a Target account (Administration, Implementation, Download):
 * `AT_JS=./at.js npm start` serves it. Without one, this stands in for it, so that the page does something.
 *
 * The stand-in is not at.js. Of `targetGlobalSettings.serverState` it reads what at.js 2.11 reads and does with it what
 * that does, for the few kinds of content of this shop: the executed page load and, when triggered, the prefetched views,
 * their displays and clicks reported to Target. Where at.js would request offers, it does so and ignores the response.
 */
import { readFileSync } from 'node:fs'

const standIn = `(() => {
  const { serverState = {}, serverDomain, clientCode, imsOrgId } = window.targetGlobalSettings || {}
  const views = {}
  const empty = (thing) => !thing || Object.keys(thing).length === 0
  const blank = (text) => typeof text !== 'string' || text.trim() === ''

  const tell = (body) => {
    const [, sessionId = crypto.randomUUID()] = /\\bmbox=session#([^#;]+)/.exec(document.cookie) || []
    const query = new URLSearchParams({ client: clientCode, imsOrgId, sessionId })
    navigator.sendBeacon('//' + serverDomain + '/rest/v1/delivery?' + query, JSON.stringify({ context: { channel: 'web', beacon: true }, ...body }))
  }
  const notify = (type, tokens, place) => tell({ notifications: [{ id: crypto.randomUUID(), type, timestamp: Date.now(), tokens, ...place }] })

  const act = ({ type, selector, content }) => {
    const element = document.querySelector(selector)
    if (!element) return
    if (type === 'setHtml') element.innerHTML = content
    if (type === 'insertAfter') element.insertAdjacentHTML('afterend', content)
  }
  const render = (options, usable) => (options || []).filter(usable).map(({ type, content, eventToken }) => {
    if (type === 'actions') content.forEach(act)
    if (type === 'html') document.head.insertAdjacentHTML('beforeend', content)
    if (type === 'redirect') location.replace(content)
    return eventToken
  })
  const countClicks = (metrics, place) => (metrics || []).filter(({ type, selector, eventToken }) => type === 'click' && !blank(selector) && !blank(eventToken))
    .forEach(({ selector, eventToken }) => document.querySelectorAll(selector).forEach((element) => element.addEventListener('click', () => notify('click', [eventToken], place))))

  window.adobe = {
    target: {
      triggerView (name) {
        const view = views[name.toLowerCase()]
        if (!view) return
        const place = { view: { name: view.name.toLowerCase(), state: view.state } }
        notify('display', render(view.options, ({ eventToken }) => !blank(eventToken)), place)
        countClicks(view.metrics, place)
      }
    }
  }

  const { request, response } = serverState
  if (empty(request) || empty(response)) return tell({ execute: { pageLoad: {} }, prefetch: { views: [{}] } })
  const { execute: { pageLoad = {} } = {}, prefetch = {} } = response
  for (const view of prefetch.views || []) if (!blank(view.name)) views[view.name.toLowerCase()] = view
  document.addEventListener('DOMContentLoaded', () => {
    render(pageLoad.options, () => true)
    countClicks(pageLoad.metrics)
    countClicks(prefetch.metrics)
  })
})()
`

/** Whether the stand-in is in use. */
export const isStandIn = process.env.AT_JS === undefined

/** The script's text. */
export const atJs = process.env.AT_JS === undefined ? standIn : readFileSync(process.env.AT_JS, 'utf8')
