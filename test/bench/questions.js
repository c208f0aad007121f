/** What is asked on-device: requests by name, each with the artifact it is for. */
import { ASKED, generateArtifact, shippedArtifact } from './artifact.js'
import { newVisitorHeaders } from './page.js'

const context = {
  channel: 'web',
  address: { url: 'http://shop.example.com/products?foo=bar#top' },
  userAgent: newVisitorHeaders['user-agent'],
  geo: { ipAddress: '203.0.113.7', countryCode: 'US', stateCode: 'CA', city: 'SANFRANCISCO', latitude: 37.75, longitude: -122.4 }
}

const TEN = [
  'mbox-macros', 'mbox-salutations', 'super-duper', 'mbox-magician', 'mbox-geography', 'perf-mbox', 'mbox-params',
  'mbox-feature-flags', 'mbox-browsers', 'mbox-dateranges'
]
const named = (names) => names.map((name, index) => ({ name, index }))
const shipped = (title, ask) => ({ title, artifact: shippedArtifact, ask })
const generated = (rules, mboxes, rulesEach) => ({
  title: mboxes === 1 ? `one mbox of ${rulesEach} rules` : `one mbox, ${rules} rules in ${mboxes} mboxes`,
  rules,
  grows: mboxes === 1 ? 'rules' : 'mboxes',
  artifact: () => generateArtifact({ mboxes, rulesEach }),
  ask: { execute: { mboxes: named([ASKED]) } }
})

export const questions = {
  'one-mbox': shipped('one mbox', { execute: { mboxes: named(['mbox-salutations']) } }),
  'one-mbox-prefetch': shipped('one mbox, prefetched (no impression)', { prefetch: { mboxes: named(['mbox-salutations']) } }),
  'ten-mboxes': shipped('ten mboxes', { execute: { mboxes: named(TEN) } }),
  'page-load': shipped('page load', { execute: { pageLoad: {} } }),
  views: shipped('all views', { prefetch: { views: [{}] } }),
  'global-mbox': shipped('global mbox of 87 rules', { execute: { mboxes: named(['target-global-mbox']) } }),
  'rules-10': generated(10, 5, 2),
  'rules-1000': generated(1000, 500, 2),
  'rules-10000': generated(10_000, 5000, 2),
  'rules-10-in-one': generated(10, 1, 10),
  'rules-100-in-one': generated(100, 1, 100),
  'rules-1000-in-one': generated(1000, 1, 1000)
}

/** Requests of 1,000 visitors in turn: the reference remembers visitors, and does so here to its advantage. */
export function requestsFor ({ ask }) {
  return Array.from({ length: 1000 }, (_, visitor) => ({ id: { tntId: visitorId(visitor) }, context, ...ask }))
}

/** A different id for each number. */
export const visitorId = (number) => `${number.toString(16).padStart(8, '0')}c0ffee00c0ffee00c0ffee00`
