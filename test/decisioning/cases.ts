/** Seeded requests and artifacts for the comparison of on-device decisions with Adobe's engine. */
/* eslint-disable no-template-curly-in-string -- macros of Target */
import { readdirSync, readFileSync } from 'node:fs'
import { Dice, type Json } from '../client/cases.ts'

const SHIPPED = new URL('../../node_modules/@adobe/target-decisioning-engine/test/schema/', import.meta.url)

/** Reads one of the files that Adobe's engine ships for its own tests. */
export function shipped (path: string): Json {
  return JSON.parse(readFileSync(new URL(path, SHIPPED), 'utf8'))
}

/** Names of the artifacts it ships, but for the one of an unknown version. */
export function shippedArtifacts (): string[] {
  const small = readdirSync(new URL('artifacts/', SHIPPED)).filter((name) => !name.includes('UNSUPPORTED'))
  return ['artifact.json', ...small.map((name) => `artifacts/${name}`)]
}

const agents = [
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_3) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.163 Safari/537.36',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:73.0) Gecko/20100101 Firefox/73.0',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_3) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0.5 Safari/605.1.15',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 13_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0.4 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (Linux; Android 10; SM-G973F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36',
  'Mozilla/5.0 (Linux; U; Android 4.0.3; de-ch) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.61',
  'Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.0 EdgiOS/44.5.2 Mobile/15E148 Safari/605.1.15',
  'Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763',
  'Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; AS; rv:11.0) like Gecko',
  'Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)',
  'Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0',
  'Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36',
  'Mozilla/5.0 (X11; FreeBSD amd64; rv:109.0) Gecko/20100101 Firefox/118.0',
  'Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18',
  'curl/8.4.0', 'Chrome/v99.1', 'Version/x.y Safari', 'chrome/', 'firefox/12-beta', 'MSIE 7', ''
]
const agentWords = [
  'Version/13.1.2', 'Mobile/15E148', 'Safari/604.1', 'Chrome/99.0', 'Firefox/70', 'Edg/88.0', 'MSIE 9.0;', 'Trident/7.0;', 'rv:11.0)',
  'like Gecko', 'iPhone', 'Android 9.1;', ' Linux ', '(Windows ', 'Macintosh;', 'mobile safari', 'version/', 'rv 8', 'chrome/v', 'CrOS'
]
const brands = [
  '"Google Chrome";v="120", "Chromium";v="120", "Not?A_Brand";v="24"', '"Microsoft Edge";v="119.0.2151", "Chromium";v="119"',
  '"Safari";v="17.1"', '"Firefox";v="121.0"', '"Chromium";v="99"', 'Chrome";v="x"', 'Chrome";v=""', 'Chrome";v="."', '"Opera";v="1", "Google Chrome";v="3.2"', ''
]
const platforms = ['Windows', 'macOS', 'Mac OS', 'Macintosh', 'Linux', 'Android', 'Chrome OS', '"macOS"', '', 'windows']

const schemes = ['http://', 'https://', 'HTTP://', '//', '', 'ftp://', 'file:///', 'mailto:', 'http:', 'http:/']
const users = ['', '', '', 'user@', 'user:pa%20ss@', 'a:b:c@', '@']
const hosts = [
  'local-target-test', 'target-perf-site.netlify.app', 'www.target-perf-site.netlify.app', 'example.com', 'www.example.com', 'WWW.Example.COM',
  'shop.example.co.uk', 'www2.shop.example.co.uk', 'wwwhat.example.com', 'a.b.c.d.example.com.au', 'localhost', '127.0.0.1', '[::1]',
  'github.io', 'me.github.io', 'co.uk', 'example.local', 'example.unlisted', 'a.example.unlisted', 'münchen.de', 'xn--mnchen-3ya.de', 'bücher.example.com',
  'a_b.example.com', '-a.example.com', 'a..example.com', 'example.com.', '.example.com', 'example', 'x.city.kawasaki.jp', 'a.b.kawasaki.jp',
  'foo.bar.adobe.com', 'www.adobe.com', 'bit.ly', 'ex ample.com', 'blogspot.com', 'my.blogspot.com', '食狮.公司.cn', 's3.amazonaws.com', ''
]
const ports = ['', '', '', ':80', ':8080', ':', ':x']
const paths = ['', '/', '/', '/index.html', '/a/b/c', '/A/B.C/d', '/a.b/c.html', '/päth/%20x', '/shop/mbox-shopping', '/a:b@c/d', '//double//', '/x;y=1', 'relative/path.html', '/.hidden', '/a/..']
const queries = ['', '', '?', '?foo=bar', '?jason=Correct&greg=correct', '?a=1&a=2', '?x=/y/z.html', '?q=a?b', '?ÄÖÜ=%C3%9C', '?member=GOLD#no', '?@']
const fragments = ['', '', '#', '#top', '#Foo?bar', '#a#b', '#/route/x']

const parameterNames = [
  'foo', 'jason', 'greg', 'user', 'first.programming.language', 'favorite.color', 'favorite.movie', 'bad.', '.bad', 'bad..one', 'a.b.c.d', 'Foo',
  'foo_lc', 'a b', 'ä', '', 'x.y', '1', '1.2', 'length', 'name', 'profile', 'url', 'mbox.foo', 'showName', 'hasOwnProperty', 'toString'
]
const parameterValues = ['bar', 'BAR', 'correct', 'Correct', 'jason', 'Greg', '', ' ', 'pizza', 'COBOL', 'cobol', 'red', 'The Matrix', '1', '0', 'true', 'null', 'ÄÖ', '${mbox.foo}', '<b>$&$1</b>', 'a'.repeat(300)]

const countries = ['US', 'DE', 'JP', 'ZA', 'UNITED STATES', 'us', '']
const cities = ['SAN FRANCISCO', 'NEW YORK', 'MÜNCHEN', '']
const states = ['CA', 'CALIFORNIA', 'NY', 'BY', '']

/** A seeded URL, from plain to odd. */
export function createUrl (dice: Dice): string {
  if (dice.chance(0.3)) return dice.pick(['http://local-target-test/', 'https://target-perf-site.netlify.app/', 'http://local-target-test', 'https://www.example.com/shop?foo=bar#top'])
  return [schemes, users, hosts, ports, paths, queries, fragments].map((parts) => dice.pick(parts)).join('')
}

/** A seeded user agent, from plain to odd. */
export function createAgent (dice: Dice): string {
  if (dice.chance(0.8)) return dice.pick(agents)
  return Array.from({ length: 1 + dice.int(6) }, () => dice.pick(agentWords)).join(' ')
}

/** A seeded `Sec-CH-UA`, from plain to odd. */
export function createBrands (dice: Dice): string {
  return dice.chance(0.8) ? dice.pick(brands) : Array.from({ length: dice.int(4) }, () => dice.pick(['Chrome";v="', 'edge";V="', 'Safari";v="', '1.2', '9', '"', '.', ', ', 'x', 'İ'])).join('')
}

/** Seeded parameters with dotted and odd names. */
export function createParameters (dice: Dice): Json {
  const parameters: Json = {}
  for (let i = dice.int(6); i > 0; i--) parameters[dice.pick(parameterNames)] = dice.pick(parameterValues)
  if (dice.chance(0.3)) parameters[dice.pick(['foo', 'jason', 'greg', 'user'])] = dice.pick(['bar', 'correct', 'jason'])
  return parameters
}

function createDetails (dice: Dice): Json {
  const details: Json = {}
  if (dice.chance(0.6)) details.parameters = createParameters(dice)
  if (dice.chance(0.3)) {
    details.address = {}
    if (dice.chance(0.9)) details.address.url = createUrl(dice)
    if (dice.chance(0.3)) details.address.referringUrl = createUrl(dice)
  }
  if (dice.chance(0.1)) details.profileParameters = createParameters(dice)
  if (dice.chance(0.1)) details.product = { id: 'p1', categoryId: 'c' }
  if (dice.chance(0.1)) details.order = { id: 'o1', total: 3.5, purchasedProductIds: ['a', 'b'] }
  return details
}

function createId (dice: Dice): Json | undefined {
  if (dice.chance(0.05)) return undefined
  const id: Json = {}
  const hex = () => Math.floor(dice.next() * 2 ** 32).toString(16)
  if (dice.chance(0.6)) id.tntId = hex() + hex() + dice.pick(['', '.28_0', '.35_1', '.x.y'])
  if (dice.chance(0.02)) id.tntId = dice.pick(['.28_0', '', '.'])
  if (dice.chance(0.3)) id.marketingCloudVisitorId = String(dice.int(1e9)) + String(dice.int(1e9))
  if (dice.chance(0.3)) id.thirdPartyId = dice.pick(['', 'user-', 'ünï-', 'a.b.']) + dice.int(1000)
  if (dice.chance(0.2)) {
    id.customerIds = Array.from({ length: dice.int(3) }, () => ({
      id: `c${dice.int(100)}`, integrationCode: 'crm', authenticatedState: dice.pick(['unknown', 'authenticated', 'logged_out'])
    }))
  }
  return id
}

function createContext (dice: Dice): Json | undefined {
  if (dice.chance(0.02)) return undefined
  const context: Json = { channel: 'web' }
  if (dice.chance(0.9)) {
    context.address = { url: createUrl(dice) }
    if (dice.chance(0.4)) context.address.referringUrl = createUrl(dice)
  }
  if (dice.chance(0.9)) context.userAgent = createAgent(dice)
  if (dice.chance(0.3)) {
    context.clientHints = {}
    if (dice.chance(0.5)) context.clientHints.platform = dice.pick(platforms)
    if (dice.chance(0.6)) context.clientHints.browserUAWithMajorVersion = createBrands(dice)
    if (dice.chance(0.4)) context.clientHints.browserUAWithFullVersion = createBrands(dice)
  }
  if (dice.chance(0.6)) {
    context.geo = {}
    if (dice.chance(0.7)) context.geo.countryCode = dice.pick(countries)
    if (dice.chance(0.5)) context.geo.stateCode = dice.pick(states)
    if (dice.chance(0.5)) context.geo.city = dice.pick(cities)
    if (dice.chance(0.3)) Object.assign(context.geo, { latitude: dice.pick([37.75, 48.1, 0, -33]), longitude: dice.pick([-122.4, 11.5, 0, 18]) })
    if (dice.chance(0.2)) context.geo.ipAddress = 'no address'
  }
  return context
}

/** What a request may ask of an artifact. */
export interface Names {
  mboxes: string[]
  views: string[]
  properties: string[]
}

/** Names that an artifact knows, and some that it does not. */
export function namesOf (artifact: Json): Names {
  const rules = [...Object.values(artifact.rules.mboxes), ...Object.values(artifact.rules.views)].flat() as Json[]
  return {
    mboxes: [...Object.keys(artifact.rules.mboxes), artifact.globalMbox, artifact.localMboxes[0] ?? 'local', ...artifact.remoteMboxes.slice(0, 3), 'not-there', 'ünknown'],
    views: [...Object.keys(artifact.rules.views), 'contact', 'not-there', ...artifact.remoteViews.slice(0, 3)],
    properties: [...new Set(rules.flatMap((rule) => rule.propertyTokens ?? []))]
  }
}

/** A seeded Delivery request for an artifact. */
export function createRequest (dice: Dice, names: Names): Json {
  const request: Json = {}
  const set = (name: string, value: unknown) => { if (value !== undefined) request[name] = value }
  set('id', createId(dice))
  set('context', createContext(dice))
  if (dice.chance(0.9)) request.requestId = `r${dice.int(1e6)}`
  if (dice.chance(0.3)) request.property = { token: dice.pick([...names.properties, 'other']) }
  if (dice.chance(0.04)) request.trace = { authorizationToken: 't' }

  const mboxes = () => Array.from({ length: 1 + dice.int(4) }, () => {
    const mbox: Json = { name: dice.pick(names.mboxes), ...createDetails(dice) }
    if (dice.chance(0.9)) mbox.index = dice.int(10)
    return mbox
  })
  const views = () => Array.from({ length: dice.int(4) }, () => dice.chance(0.4) ? createDetails(dice) : { name: dice.pick(names.views), ...createDetails(dice) })
  if (dice.chance(0.7)) {
    request.execute = {}
    if (dice.chance(0.7)) request.execute.mboxes = mboxes()
    if (dice.chance(0.4)) request.execute.pageLoad = createDetails(dice)
  }
  if (dice.chance(0.5)) {
    request.prefetch = {}
    if (dice.chance(0.6)) request.prefetch.mboxes = mboxes()
    if (dice.chance(0.5)) request.prefetch.views = views()
    if (dice.chance(0.3)) request.prefetch.pageLoad = createDetails(dice)
  }
  return request
}

const HOUR = 3_600_000

/** A seeded time, often near midnight UTC or the end of a week. */
export function createTime (dice: Dice): number {
  const day = Date.UTC(2020, dice.int(12), 1 + dice.int(28))
  return dice.chance(0.5) ? day + dice.int(24 * HOUR) : day + dice.pick([-1, 0, 1, 60_000, -60_000, 12 * HOUR, 22 * HOUR + 59 * 60_000])
}

const facts = [
  'allocation', 'current_timestamp', 'current_time', 'current_day', 'user.browserType', 'user.platform', 'user.locale', 'user.browserVersion',
  'page.url', 'page.url_lc', 'page.path', 'page.path_lc', 'page.query', 'page.query_lc', 'page.fragment', 'page.fragment_lc', 'page.domain', 'page.domain_lc',
  'page.subdomain', 'page.subdomain_lc', 'page.topLevelDomain', 'page.topLevelDomain_lc', 'geo.country', 'geo.region', 'geo.city',
  'geo.latitude', 'geo.longitude', 'mbox.foo', 'mbox.foo_lc', 'mbox.jason', 'mbox.first', 'mbox.first.programming.language_lc', 'mbox.a.b.c.d',
  'mbox.x.y', 'mbox.foo.length', 'mbox', 'mbox.ä', 'mbox.1.2', 'page', 'page.nothing', 'nothing', 'nothing.at.all', 'mbox.foo.0', 'user'
]

/** Seeded JSON-Logic over the facts of a decision, or over an element of a list. */
export function createLogic (dice: Dice, depth: number, element = false): unknown {
  const logic = () => createLogic(dice, depth - 1, element)
  const body = () => createLogic(dice, depth - 1, true)
  const variable = () => ({ var: element && dice.chance(0.7) ? dice.pick(['', 'current', 'accumulator', 'x']) : dice.pick(facts) })
  if (depth === 0) {
    return dice.chance(0.5) ? variable() : dice.pick<unknown>([0, 1, 50, 37.75, -1, '', 'bar', 'chrome', '1', 'a', true, false, null, [], ['bar', 'US'], [1, 2, 3], 'US', '/', {}, { a: 1, b: 2 }])
  }
  const list = () => dice.chance(0.6) ? Array.from({ length: dice.int(4) }, logic) : logic()
  return dice.pick<() => unknown>([
    variable,
    () => ({ var: [variable().var, logic()] }),
    () => ({ var: [{ cat: [dice.pick(['mbox', 'page', 'geo']), '.', dice.pick(['foo', 'url', 'city'])] }] }),
    ...['==', '!=', '===', '!==', '>', '>=', '<', '<=', '-', '/', '%', 'in'].map((operator) => () => ({ [operator]: [logic(), logic()] })),
    ...['<', '<='].map((operator) => () => ({ [operator]: [logic(), logic(), logic()] })),
    ...['and', 'or', '+', 'cat', 'min', 'max', 'merge', 'if', '?:', 'and', 'or', 'and'].map((operator) => () => ({ [operator]: Array.from({ length: 1 + dice.int(4) }, logic) })),
    ...['!', '!!', '-', '+'].map((operator) => () => ({ [operator]: logic() })),
    () => ({ '*': [logic(), logic()] }),
    () => ({ substr: [logic(), dice.pick([0, 1, -2, 3])] }),
    () => ({ substr: [logic(), dice.pick([0, 1, -2]), dice.pick([0, 2, -1, -3])] }),
    ...['filter', 'map', 'all', 'none', 'some'].map((operator) => () => ({ [operator]: [list(), body()] })),
    () => ({ reduce: [list(), body(), dice.pick<unknown>([0, 1, '', [], true])] }),
    () => ({ reduce: [list(), body()] }),
    () => ({ missing: Array.from({ length: 1 + dice.int(3) }, () => dice.pick(facts)) }),
    () => ({ missing: [[dice.pick(facts), dice.pick(facts)]] }),
    () => ({ missing_some: [dice.int(3), [dice.pick(facts), dice.pick(facts), dice.pick(facts)]] })
  ])()
}

/** A seeded condition of the kind that Target publishes: comparisons of facts with constants. */
function createCondition (dice: Dice): unknown {
  if (dice.chance(0.3)) return createLogic(dice, 1 + dice.int(3))
  const from = dice.int(100)
  const share = { and: [{ '<=': [from, { var: 'allocation' }] }, { '>=': [from + dice.int(100), { var: 'allocation' }] }] }
  const audience = dice.pick<unknown>([
    true,
    { '==': ['bar', { var: 'mbox.foo_lc' }] },
    { '==': [{ var: 'user.browserType' }, dice.pick(['chrome', 'firefox', 'safari', 'mobile safari', 'edge', 'ie', 'unknown'])] },
    { '==': [{ var: 'user.platform' }, dice.pick(['mac', 'windows', 'linux', 'iOS', 'Android', 'unknown'])] },
    { in: [dice.pick(['example', 'target', 'foo=bar', 'www']), { var: 'page.url_lc' }] },
    { '==': [{ var: 'page.domain' }, dice.pick(['example.com', 'local-target-test', 'example.co.uk', 'me.github.io'])] },
    { '==': [{ var: 'page.subdomain' }, dice.pick(['', 'shop', 'at.example'])] },
    { '<': [{ var: 'user.browserVersion' }, 80] },
    { '!': [{ in: ['US', { var: 'geo.country' }] }] },
    { and: [{ '>=': [{ var: 'current_day' }, 1] }, { '<=': [{ var: 'current_day' }, 5] }] },
    { or: [{ '<': [{ var: 'current_time' }, '1200'] }, { '==': [{ var: 'current_day' }, 7] }] }
  ])
  return dice.pick<unknown>([share, audience, { and: [share, audience] }, { or: [share, audience] }])
}

/** A seeded artifact of the shape that Target publishes, with more of everything than those it ships. */
export function createArtifact (dice: Dice): Json {
  const tokens = ['activity.id', 'activity.name', 'activity.type', 'experience.id', 'experience.name', 'location.id', 'location.name', 'location.type',
    'offer.id', 'offer.name', 'option.id', 'option.name', 'geo.city', 'geo.country', 'geo.state', 'geo.latitude', 'geo.longitude']
  const macros = ['${campaign.name}', '${activity.id}', '${recipe.name}', '${mbox.name}', '${mbox.foo}', '${foo}', '${user}', '${a.b.c.d}', '${index}', '${campaign.recipe.id}',
    '${nothing}', '${Campaign.name}', '${x.y}', '${}', '${ foo }', '$&', '${address}', '${experience.name}', '${mbox}', '${audience.ids}']
  const text = () => `<p>${Array.from({ length: dice.int(4) }, () => dice.pick(macros)).join(' ')}</p>`
  let count = 0
  const rule = (location: string, type: 'mbox' | 'view'): Json => {
    count += 1
    const activity = 1000 + dice.int(8)
    const option = (): Json => {
      const eventToken = dice.chance(0.9) ? { eventToken: `event-${activity}-${dice.int(4)}` } : {}
      return dice.pick<() => Json>([
        () => ({ type: 'html', content: text(), ...eventToken }),
        () => ({ type: 'json', content: dice.pick<unknown>([{ a: 1, b: { c: [1, { d: null }] } }, [1, 2], 'text', 5, null, {}]), ...eventToken }),
        () => ({ type: 'actions', content: [{ type: 'setHtml', selector: '#a', cssSelector: '#a', content: text() }, { type: 'setStyle', content: { color: 'red' } }, { type: 'customCode' }], ...eventToken }),
        () => ({ type: 'redirect', content: 'https://example.com/${mbox.foo}', ...eventToken }),
        () => ({ type: 'dynamic', content: 'https://example.com/d', ...eventToken }),
        () => ({ ...eventToken })
      ])()
    }
    const rule: Json = {
      ruleKey: dice.pick([String(activity), `${activity}-${dice.int(2)}`]),
      activityId: activity,
      meta: {
        'activity.id': activity,
        'activity.name': `Activity ${activity}`,
        'activity.type': dice.pick(['ab', 'landing']),
        'experience.id': dice.int(3),
        'experience.name': `Experience ${dice.int(3)}`,
        'location.id': 0,
        'location.name': location,
        'location.type': type,
        'audience.ids': Array.from({ length: dice.int(3) }, () => dice.int(20)),
        'option.id': 2,
        'option.name': `Offer${count}`
      },
      condition: createCondition(dice),
      consequence: {
        name: location,
        options: Array.from({ length: dice.int(4) }, option),
        metrics: Array.from({ length: dice.int(3) }, () => ({ type: dice.pick(['click', 'display']), eventToken: `metric-${dice.int(5)}`, ...(dice.chance(0.5) && { selector: '#buy' }) }))
      }
    }
    if (dice.chance(0.4)) Object.assign(rule.meta, { 'offer.id': dice.int(100), 'offer.name': `offer ${count}` })
    if (dice.chance(0.3)) rule.propertyTokens = [dice.pick(['property-a', 'property-b']), ...(dice.chance(0.3) ? ['property-c'] : [])]
    return rule
  }
  const rules = (names: string[], type: 'mbox' | 'view') => Object.fromEntries(names.map((name) => [name, Array.from({ length: 1 + dice.int(12) }, () => rule(name, type))]))
  return {
    version: '1.0.0',
    globalMbox: 'target-global-mbox',
    geoTargetingEnabled: false,
    responseTokens: tokens.filter(() => dice.chance(0.6)),
    remoteMboxes: ['remote-b', 'remote-a', 'hero'].filter(() => dice.chance(0.5)),
    remoteViews: ['home', 'remote-view'].filter(() => dice.chance(0.5)),
    localMboxes: ['hero', 'flags', 'target-global-mbox', 'banner'].filter(() => dice.chance(0.8)),
    localViews: ['home', 'cart'].filter(() => dice.chance(0.8)),
    meta: { clientCode: 'acmeclient', environment: 'production', generatedAt: '2020-01-01T00:00:00.000Z' },
    rules: { mboxes: rules(['hero', 'flags', 'target-global-mbox'], 'mbox'), views: rules(['home', 'cart', 'contact'], 'view') }
  }
}
