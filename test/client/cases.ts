/** Seeded cases for the comparison with Adobe's Node SDK: options of clients and calls, requests, cookies and answers. */

/** Numbers that are the same for the same seed (mulberry32). */
export class Dice {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** At least 0 and below 1. */
  next (): number {
    this.#state = (this.#state + 0x6D2B79F5) >>> 0
    let bits = this.#state
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }

  int (below: number): number {
    return Math.floor(this.next() * below)
  }

  chance (probability: number): boolean {
    return this.next() < probability
  }

  pick<Value> (values: readonly Value[]): Value {
    return values[this.int(values.length)]!
  }
}

export type Json = Record<string, any>
type Maker = (dice: Dice) => unknown

/** Options of one call, and what the edge answers to it. */
export interface CaseCall {
  options: Json
  answer: CannedAnswer
}

export interface CannedAnswer {
  kind: 'good' | 'no-content' | 'wrong-shape' | 'status-in-body' | 'error' | 'garbage' | 'lost'
  status: number
  body: string
}

/** One client and its calls, which share a visitor when there are several. */
export interface Case {
  number: number
  config: Json
  method: 'getOffers' | 'getAttributes' | 'sendNotifications'
  mboxNames: string[]
  /** Whose visitor the calls share: Adobe's, for ours too, or each side's own. */
  visitor: 'none' | 'adobe' | 'own'
  visitorCookie: string | undefined
  calls: CaseCall[]
}

export const ORGANIZATION = '1234567890ABC@AdobeOrg'
const NAMES = ['hero', 'cart', 'checkout-flags', 'target-global-mbox', 'größe', '漢字🎯', 'a|b#c%20', '__proto__', 'x'.repeat(250)]

// Makers of values.

const text: Maker = (dice) => dice.pick(['hero', 'two words', 'Größe 漢字 🎯', '', '<b>&"\'</b>', 'https://shop.example/ü?q=%20#f', '\u2028\ud83d', 'constructor', 'y'.repeat(300)])
const number: Maker = (dice) => dice.pick([0, 1, 7, -3, 2.5, 1e9, 4_294_967_296])
const flag: Maker = (dice) => dice.chance(0.5)
const oneOf = (...values: unknown[]): Maker => (dice) => dice.pick(values)
const listOf = (make: Maker, most = 3): Maker => (dice) => Array.from({ length: dice.int(most + 1) }, () => make(dice))
/** With entries that are missing. */
const gappyListOf = (make: Maker): Maker => (dice) => (listOf(make)(dice) as unknown[]).map((entry) => dice.chance(0.04) ? null : entry)

/** An object with some of its members, some of them null, now and then one that nobody knows. */
function object (shape: Record<string, Maker>, { presence = 0.5, open = true, nulls = 0.05 } = {}): Maker {
  return (dice) => {
    const result: Json = {}
    for (const [name, make] of Object.entries(shape)) {
      if (!dice.chance(presence)) continue
      result[name] = dice.chance(nulls) ? null : dice.chance(0.02) ? undefined : make(dice)
    }
    if (open && dice.chance(0.02)) result.futureField = dice.pick(['new', 1, { deep: true }])
    return result
  }
}

/** Named values of the caller's own. */
const record: Maker = (dice) => Object.fromEntries(Array.from({ length: dice.int(4) }, () =>
  [dice.pick(['color', 'user.age', 'größe', 'a.b.c', '']), dice.chance(0.05) ? null : text(dice)]))

// Requests.

const address = object({ url: text, referringUrl: text })
const order = object({
  id: text,
  total: number,
  purchasedProductIds: listOf(text),
  time: oneOf('2026-11-23T10:00:00.000Z', '2026-11-23T10:00:00Z', '2026-11-23', 'yesterday', new Date(0)),
  experienceLocalId: number,
  duplicate: flag,
  outlier: flag
})
const details = {
  address, parameters: record, profileParameters: record, order, product: object({ id: text, categoryId: text })
}
const pageLoad = object(details)
const mboxName = oneOf(...NAMES, 'hero', 'cart', '')
const mbox = object({ ...details, index: number, name: mboxName }, { presence: 0.6 })
const view = object({ ...details, name: text, key: text })
const notification = object({
  ...details,
  id: oneOf('n-1', 'n-2', ''),
  impressionId: text,
  type: oneOf('display', 'click', 'click', 'display', 'hover'),
  timestamp: number,
  tokens: listOf(text),
  mbox: object({ name: text, state: text }),
  view: object({ name: text, key: text, state: text }),
  pageLoad: object({ state: text })
}, { presence: 0.85 })

const context = object({
  channel: oneOf('web', 'mobile', 'web', 'Web', ''),
  mobilePlatform: object({ deviceName: text, deviceType: oneOf('phone', 'tablet'), platformType: oneOf('android', 'ios'), version: text }),
  application: object({ id: text, name: text, version: text }),
  screen: object({ width: number, height: number, colorDepth: number, pixelRatio: number, orientation: oneOf('portrait', 'landscape') }),
  window: object({ width: number, height: number }),
  browser: object({ host: text, language: text, webGLRenderer: text }),
  address,
  geo: object({ ipAddress: text, latitude: number, longitude: number, countryCode: text, stateCode: text, city: text, zip: text }),
  timeOffsetInMinutes: number,
  userAgent: text,
  clientHints: object({
    mobile: flag, model: text, platform: text, platformVersion: text, browserUAWithMajorVersion: text, browserUAWithFullVersion: text, architecture: text, bitness: text
  }),
  beacon: flag
})

const customerId = object({ id: text, integrationCode: text, authenticatedState: oneOf('unknown', 'authenticated', 'logged_out') }, { presence: 0.9 })
const visitorId = object({
  tntId: oneOf('t-1', 't-2.35_0', ''), thirdPartyId: text, marketingCloudVisitorId: oneOf('12345678901234567890', ''), customerIds: listOf(customerId)
}, { presence: 0.4 })

const requestShape: Record<string, Maker> = {
  requestId: oneOf('request-1', 'é', ''),
  impressionId: text,
  id: visitorId,
  environmentId: number,
  property: object({ token: oneOf('token-1', '') }),
  trace: object({ authorizationToken: text, usage: record }),
  context,
  experienceCloud: object({
    audienceManager: object({ locationHint: number, blob: text }),
    analytics: object({
      supplementalDataId: oneOf('0123456789ABCDEF-0123456789ABCDEF', ''), logging: oneOf('server_side', 'client_side', ''), trackingServer: text, trackingServerSecure: text
    })
  }),
  execute: object({ pageLoad, mboxes: gappyListOf(mbox) }, { presence: 0.7 }),
  prefetch: object({ pageLoad, mboxes: gappyListOf(mbox), views: gappyListOf(view) }, { presence: 0.6 }),
  telemetry: object({
    entries: listOf(object({
      requestId: text,
      timestamp: oneOf(1, 1600000000000),
      mode: oneOf('edge', 'local'),
      execution: number,
      parsing: number,
      features: object({
        decisioningMethod: text, executeMboxCount: number, executePageLoad: flag, prefetchMboxCount: number, prefetchPageLoad: flag, prefetchViewCount: number
      }),
      request: object({ dns: number, tls: number, timeToFirstByte: number, download: number, responseSize: number }),
      telemetryServerToken: text
    }))
  }),
  notifications: gappyListOf(notification),
  qaMode: object({
    token: text,
    listedActivitiesOnly: flag,
    evaluateAsTrueAudienceIds: listOf(number),
    evaluateAsFalseAudienceIds: listOf(number),
    previewIndexes: listOf(object({ activityIndex: number, experienceIndex: number }))
  }),
  preview: object({ token: text })
}
const request = object(requestShape, { presence: 0.35 })

// Cookies.

function targetCookie (dice: Dice): string {
  const now = Math.ceil(Date.now() / 1000)
  const later = () => now + 300 + dice.int(2000)
  const session = () => `session#${dice.pick(['s-1', 's-2', 's-1', 'a%2Fb', 'not%20valid', '%C3%A9'])}#${later()}`
  const device = () => `PC#${dice.pick([
    'd-1', 'd-1.35_0', 'd-2.41_3', 'd-1.35', 'd-1.35_0_1', 'd.1.35_0', 'd-1.99999_0', 'd-1.evil.example%2F%23_0', 'd-1.evil%2F_0', 'two%20words'
  ])}#${later()}`
  return dice.pick([
    session, device,
    () => `${session()}|${device()}`,
    () => `${device()}|${session()}`,
    () => `session#s-old#${now - 100}|${device()}`,
    () => `${session()}|PC#d-old.38_0#${now - 100}`,
    () => encodeURIComponent(`${session()}|${device()}`),
    () => `${session()}|PC#d-1.35_0#${now + 5}|PC#d-2.41_0#${now + 900}|session#s-3#${now + 2}`,
    () => `${session()}|PC#d-2.41_0#${now + 900}|PC#d-1.35_0#${now + 500}`,
    () => `session#%E0%A4%A#${later()}|${device()}`,
    () => `session#s-1#${later()}|PC#%#${later()}`,
    () => `session#s-1#9e9|PC#d-1#${later()}x`,
    () => `session#s-1|${device()}`,
    () => `||#|#####|check#true#${later()}|${session()}`,
    () => 'nonsense',
    () => '##',
    () => ''
  ])()
}

function visitorCookie (dice: Dice): string {
  const ecid = '12345678901234567890123456789012345678'
  return dice.pick([
    `MCMID|${ecid}`,
    `-1712354808|MCIDTS|18000|MCMID|${ecid}|MCAAMLH-1609459200|6|MCAAMB-1609459200|blob_-x|MCOPTOUT-1609459200s|NONE|MCAID|NONE|vVersion|4.4.0`,
    encodeURIComponent(`1|MCMID|${ecid}|MCAAMLH|9`),
    'MCMID|NONE', '1|MCMID|', 'MCMID|5|MCAAMLH', '1|MCAAMLH|x|MCMID|é', 'MCAAMLH|0', 'MCAAMLH|-3|MCMID|7', '1|MCAAMLH|6x', 'MCAAMB|',
    `MCMID|7|MCAAMB|${'b'.repeat(2000)}`, `MCMID|${'7'.repeat(9000)}`, 'MCMID|%E0%A4%A', '1|MCMID|1|MCMID|2', '|MCMID|5', 'x|MCMID|5', '1|A|MCMID|5',
    '1|__proto__|x|MCMID|5', 'nonsense', ''
  ])
}

const customerIds: Maker = (dice) => dice.pick([
  { userid: { id: 'u-1', authState: 1 } },
  { userid: { id: 'ü', authState: 2 }, crm: 'c-1' },
  { userid: { id: 'u-1' }, empty: '', blank: { id: '' }, none: null, odd: { id: 'u-3', authState: 7 } },
  { userid: { authState: 0 } },
  {}
])
const deliveryCustomerIds = [{ id: 'u-1', integrationCode: 'crm', authenticatedState: 'authenticated' }]

// Answers.

const analytics = object({ payload: object({ pe: text, tnta: text }, { presence: 0.8 }) }, { presence: 0.8, open: false })
const option = object({
  type: oneOf('html', 'json', 'json', 'redirect', 'actions', 'dynamic'),
  content: oneOf('<p>é</p>', { showBanner: true, size: 3 }, { size: 4, color: null }, [{ type: 'setHtml', selector: '#a', content: 'x' }], '', 'text', 5),
  eventToken: text,
  responseTokens: oneOf({}, { 'activity.name': 'A', 'geo.city': '漢字' }, { 'profile.x': null })
}, { presence: 0.8 })
const metric = object({ type: oneOf('click', 'display'), selector: text, eventToken: text, analytics }, { presence: 0.7 })
const entry = { options: listOf(option), metrics: listOf(metric), analytics, trace: oneOf({}, { request: { pageURL: 'u' } }) }
const answeredMbox = object({ ...entry, index: number, name: oneOf(...NAMES) }, { presence: 0.8 })
const answer = object({
  status: oneOf(200, 206),
  requestId: text,
  id: object({ tntId: oneOf('t-1.35_0', 't-9.41_2', ''), thirdPartyId: text, marketingCloudVisitorId: text, customerIds: listOf(customerId) }),
  client: text,
  edgeHost: oneOf('mboxedge35.tt.omtrdc.net', 'mboxedge41.tt.omtrdc.net', 'acmeclient.tt.omtrdc.net', 'localhost', 'mboxedge.tt.omtrdc.net', ''),
  execute: object({ pageLoad: object(entry), mboxes: listOf(answeredMbox, 4) }, { presence: 0.7 }),
  prefetch: object({
    pageLoad: object({ ...entry, state: text }),
    mboxes: listOf(object({ ...entry, state: text, index: number, name: oneOf(...NAMES) }), 4),
    views: listOf(object({ ...entry, state: text, name: text, key: text })),
    metrics: listOf(metric)
  }, { presence: 0.6 }),
  notifications: listOf(object({ id: text, trace: oneOf({}, { a: 1 }) })),
  telemetryServerToken: text
}, { presence: 0.7 })

/** Json offers for few mboxes, so that they meet. */
const attributeMboxes = listOf(object({
  name: oneOf('checkout-flags', 'hero', 'cart'),
  options: listOf(object({ type: oneOf('json', 'json', 'html'), content: oneOf({ size: 5 }, { size: 6, wide: true }, { wide: false }, {}) }, { presence: 1, nulls: 0 }))
}, { presence: 1, nulls: 0 }), 4)
const attributesAnswer = object({
  execute: object({ mboxes: attributeMboxes }, { presence: 0.9, nulls: 0 }),
  prefetch: object({ mboxes: attributeMboxes }, { presence: 0.9, nulls: 0 })
}, { presence: 0.9, nulls: 0 })

/** Puts a value of another type into a random place. */
function misshape (dice: Dice, value: Json): void {
  const keys = Object.keys(value)
  if (keys.length === 0) return
  const key = dice.pick(keys)
  const member = value[key]
  if (typeof member === 'object' && member !== null && dice.chance(0.75) && Object.keys(member).length > 0) misshape(dice, member)
  else value[key] = dice.pick(['text', 5, true, [], {}, [null], ['x']].filter((other) => typeof other !== typeof member || Array.isArray(other) !== Array.isArray(member)))
}

function cannedAnswer (dice: Dice): CannedAnswer {
  const roll = dice.next()
  const body = answer(dice) as Json
  if (roll < 0.8) return { kind: 'good', status: dice.pick([200, 200, 200, 200, 201]), body: JSON.stringify(body) }
  if (roll < 0.84) return { kind: 'no-content', status: 204, body: '' }
  if (roll < 0.9) {
    misshape(dice, body)
    return { kind: 'wrong-shape', status: 200, body: dice.chance(0.1) ? dice.pick(['[]', '5', '"x"', 'true']) : JSON.stringify(body) }
  }
  if (roll < 0.92) return { kind: 'status-in-body', status: 200, body: JSON.stringify({ status: dice.pick([400, 500]), message: 'no' }) }
  if (roll < 0.96) return { kind: 'error', status: dice.pick([302, 304, 400, 403, 404, 429, 500, 503]), body: dice.pick(['{"status":400,"message":"no"}', '<html>', '']) }
  if (roll < 0.98) return { kind: 'garbage', status: 200, body: dice.pick(['', 'null', '<html>', '{"status":200', '{}{}', '\u0000']) }
  return { kind: 'lost', status: 0, body: '' }
}

// Cases.

/** Makes a case. */
export function createCase (number: number, seed: number): Case {
  const dice = new Dice(seed + number * 7919)
  const config: Json = { client: dice.pick(['acmeclient', 'acme2']), organizationId: ORGANIZATION, telemetryEnabled: dice.chance(0.3) }
  if (dice.chance(0.2)) config.propertyToken = 'property-1'
  if (dice.chance(0.2)) config.environmentId = dice.pick([0, 7])
  if (dice.chance(0.15)) config.targetLocationHint = '28'
  if (dice.chance(0.5)) config.secure = dice.chance(0.5)
  if (dice.chance(0.2)) config.serverDomain = dice.pick(['target.example.com', 'target.example.com:8443'])
  if (dice.chance(0.2)) config.version = dice.pick(['2.11.4', 'ü &'])
  if (dice.chance(0.2)) config.timeout = 2000
  if (dice.chance(0.2)) config.decisioningMethod = 'server-side'
  const method = dice.pick(['getOffers', 'getOffers', 'getOffers', 'getAttributes', 'sendNotifications'] as const)
  const calls = Array.from({ length: dice.chance(0.25) ? 2 + dice.int(3) : 1 }, () => createCall(dice, method))
  // Not with a shared visitor: the SDK spoils it with them.
  if (calls.length === 1 && dice.chance(0.05)) calls[0]!.options.customerIds = deliveryCustomerIds
  const visitor = calls.length > 1 ? dice.pick(['adobe', 'own', 'own'] as const) : 'none'
  return {
    number,
    config,
    method,
    mboxNames: (listOf(oneOf(...NAMES), 4)(dice) as string[]),
    visitor,
    visitorCookie: visitor === 'none' ? undefined : 'MCMID|123|MCAAMLH|6',
    calls
  }
}

function createCall (dice: Dice, method: Case['method']): CaseCall {
  const options: Json = { request: request(dice) }
  if (method === 'getAttributes' && dice.chance(0.3)) delete options.request
  if (method === 'sendNotifications' && dice.chance(0.9)) options.request.notifications = gappyListOf(notification)(dice)
  if (method === 'getOffers' && dice.chance(0.6)) options.request.execute ??= { mboxes: [mbox(dice)] }
  if (method === 'getOffers' && dice.chance(0.02)) options.request = dice.pick([undefined, null, {}])
  if (dice.chance(0.6)) options.targetCookie = targetCookie(dice)
  if (dice.chance(0.4)) options.visitorCookie = visitorCookie(dice)
  if (dice.chance(0.2)) options.targetLocationHint = dice.pick(['35', '41', '', 'evil.example/#', '99999', 'x'])
  if (dice.chance(0.3)) options.sessionId = dice.pick(['s-9', 'é', '', 'a b?c/d', 'x'.repeat(200)])
  if (dice.chance(0.3)) options.consumerId = dice.pick(['page', 'flags', ''])
  if (dice.chance(0.25)) options.customerIds = customerIds(dice)
  if (dice.chance(0.1)) options.decisioningMethod = 'server-side'
  if (method === 'getAttributes' && dice.chance(0.4)) return { options, answer: { kind: 'good', status: 200, body: JSON.stringify(attributesAnswer(dice)) } }
  return { options, answer: cannedAnswer(dice) }
}
