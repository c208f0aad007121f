/** The one page that all contenders serve and all loads ask for, and who they are to Target. */

export const client = 'benchclient'
export const organizationId = '1234567890ABCDEF@AdobeOrg'
export const mbox = 'hero'
/** Of the contenders on the Edge Network: to all others, the cookie of its visitor is a foreign one. */
export const edgeOrganizationId = 'EDGE@AdobeOrg'

/** What the page shows without an offer. */
export const FALLBACK = '<h1>Welcome</h1>'
/** What the edge stand-in gives for every mbox. */
export const OFFER = '<h1>Welcome back, have a look at what is new</h1>'

export const render = (content) => `<!doctype html><html><head><title>Shop</title></head><body>${content}</body></html>`

/**
 * Headers of a browser whose last page was half a minute ago, with the cookies of that page: plugin and SDK alike may say that
 * nothing new is to be kept. The `tntId` names no cluster: Adobe's SDK would leave the edge stand-in for that cluster's host in
 * the world, `serverDomain` or not.
 */
export function visitorHeaders () {
  const lastPage = Math.ceil(Date.now() / 1000) - 30
  return {
    ...newVisitorHeaders,
    cookie: `theme=dark; mbox=session#8a2f0c41b7d94be19e6d3c5a70f1e2d3#${lastPage + 1860}|PC#5f1d7c1e2b9a4d0f8c3e6b7a90d1c2e4#${lastPage + 63_244_800}; kndctr_EDGE_AdobeOrg_identity=${Buffer.from(`\n&${'1234567890123456789'.repeat(2)}`).toString('base64url')}; kndctr_EDGE_AdobeOrg_cluster=or2`
  }
}

/** Headers of a browser that was never here. */
export const newVisitorHeaders = {
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
  accept: 'text/html'
}
