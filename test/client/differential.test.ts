/**
 * The client beside Adobe's Node SDK: for thousands of generated calls, what both put on the wire and what both return.
 * What is not the same must be in `differences.json`, which is judged by the code below, entry by entry.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { connect, type AddressInfo } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { Agent, type Dispatcher } from 'undici'
import { createTargetClient } from '../../lib/client/create-client.ts'
import type { TargetError } from '../../lib/errors.ts'
import { DeliveryRequest } from '../../lib/schema/index.ts'
import { ExperienceCloudVisitor } from '../../lib/visitor/experience-cloud.ts'
import { createCase, ORGANIZATION, type CannedAnswer, type Case, type CaseCall, type Json } from './cases.ts'
import { FULL } from '../support/full.ts'

const require = createRequire(import.meta.url)
const sdk = require('@adobe/target-nodejs-sdk')
// What the SDK itself makes a visitor of. It is called and observed, and its source was not read.
const AdobeVisitor = createRequire(require.resolve('@adobe/target-nodejs-sdk'))('@adobe-mcid/visitor-js-server')

// Some hours from UTC, so that the offset shows.
process.env.TZ = 'Asia/Kolkata'

const CASES = Number(process.env.DIFFERENTIAL_CASES ?? (FULL ? 2500 : 800))
const SEED = Number(process.env.DIFFERENTIAL_SEED ?? 20261123)

/** A request as it went over the wire, and how often. */
interface Wire {
  origin: string
  path: string
  query: Record<string, string>
  headers: Record<string, string>
  body: Json
  times: number
}

/** What one side did in one call. */
interface Performance {
  wire: Wire | undefined
  outcome: 'resolved' | 'rejected'
  result: Json | undefined
  error: unknown
}

/** One place where the two sides differ. */
interface Difference {
  path: string
  sdk: any
  ours: any
}

/** What a judge may look at. */
interface Facts {
  config: Json
  method: Case['method']
  mboxNames: string[]
  call: CaseCall
  request: Json
  /** Position among the case's calls. */
  position: number
  visitor: Case['visitor']
  /** What the SDK did in the case's earlier calls. */
  earlier: Performance[]
  sdk: Performance
  ours: Performance
}

/** Lists of product ids that are together too long. */
function longLists (value: unknown, path: string): { path: string }[] {
  if (!isObject(value)) return []
  if (path.endsWith('/purchasedProductIds')) return String(value).length > 250 ? [{ path }] : []
  return Object.entries(value).flatMap(([name, member]) => longLists(member, `${path}/${name}`))
}

/** Where Target refuses a request, by its limits. */
function refusedPlaces (body: Json): string[] {
  const lists = JSON.stringify(body).includes('purchasedProductIds') ? longLists(body, '') : []
  return [...lists, ...Value.Errors(DeliveryRequest, body)].map(({ path }) => path.slice(1).replaceAll('/', '.').replace(/^(id\.customerIds|.*order\.purchasedProductIds)\..*/, '$1'))
}

type Judge = (difference: Difference, facts: Facts) => boolean

const clone = (value: unknown) => value === undefined ? undefined : JSON.parse(JSON.stringify(value))
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null

function deepFreeze<Value> (value: Value): Value {
  if (isObject(value) && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}

// Judges: the key is the `field` of an entry in differences.json, of which there is one for each.

const ofRequest = (path: string, member: string) =>
  path === `wire.body.${member}` || path.startsWith(`wire.body.${member}.`) || path.endsWith(`.request.${member}`) || path.includes(`.request.${member}.`)
const isVisitorPath = (path: string) => /^wire\.(origin|query\.sessionId)|\.id(\.tntId)?$|targetCookie\.|targetLocationHintCookie|^outcome$/.test(path)
const cookieText = ({ call }: Facts): string => call.options.targetCookie ?? ''
const partsOf = (cookie: string, name: string) => cookie.split('|').map((part) => part.split('#')).filter((part) => part[0] === name)
const hasRefusedId = (cookie: string) => !malformed(cookie) && (
  partsOf(cookie, 'PC').some((part) => !/^[^. /]+(\.\d{1,4}_\d+)?$/.test(decodeURIComponent(part[1]!))) ||
  partsOf(cookie, 'session').some((part) => !/^[!-.0->@-z|~]{1,128}$/.test(decodeURIComponent(part[1]!))))
const visitorCookieOf = ({ call, visitor }: Facts): string => visitor === 'none' ? call.options.visitorCookie ?? '' : ''
/** The SDK throws before it sends anything. */
const sdkFails = ({ path, sdk, ours }: Difference) => path === 'outcome' ? sdk === 'rejected' && ours === 'resolved' : path === 'wire' && sdk === undefined
const oursFails = (code: string) => ({ path, sdk, ours }: Difference, facts: Facts) =>
  path === 'outcome' && sdk === 'resolved' && ours === 'rejected' && (facts.ours.error as TargetError).code === code
const malformed = (text: string) => {
  try {
    decodeURIComponent(text)
    return false
  } catch {
    return true
  }
}
const deliveryIds = (ids: unknown[] | undefined) => clone((ids ?? []).map((id) => Object.fromEntries(Object.entries(id as Json).filter(([, value]) => value !== null))))

const JUDGES: Record<string, Judge> = {
  'header X-EXC-SDK': ({ path, ours }) => /^wire\.headers\.x-(exc-sdk|exc-sdk-version|request-id)$/.test(path) && ours === undefined,
  'query client': ({ path, sdk, ours }, { config }) => path === 'wire.query.client' && sdk === undefined && ours === config.client,
  'number of requests': ({ path, ours }, { call }) => path === 'wire.times' && ['error', 'lost'].includes(call.answer.kind) && ours <= 2,
  'request.context.channel': ({ path, sdk, ours }, { request }) =>
    ofRequest(path, 'context') && path.endsWith('.channel') && sdk === 'web' && ours === 'mobile' && request.context.channel === 'mobile',
  'unknown members': ({ path, sdk, ours }) => path.endsWith('.futureField') && sdk === undefined && ours !== undefined,
  'null in an answer': ({ path, sdk, ours }, { call }) => path.startsWith('result.') && sdk === undefined && ours === null && call.answer.body.includes('null'),
  'null in a request': ({ path, sdk, ours }, { request }) => /^wire\.body\.|request\./.test(path) && sdk === null && ours === undefined && JSON.stringify(request).includes('null') && !/arameters|usage/.test(path),
  'request.requestId': ({ path, sdk, ours }, { request }) =>
    (path === 'wire.body.requestId' || path.endsWith('request.requestId')) && !request.requestId && sdk === undefined && ours === '<request>',
  'request.environmentId': ({ path, sdk, ours }, { config, request }) =>
    ofRequest(path, 'environmentId') && request.environmentId == null && sdk === undefined && ours === config.environmentId,
  'request.property': (difference, { request }) => sdkFails(difference) && request.property === null,
  'request …views, …mboxes': (difference, { request, method }) => sdkFails(difference) && (request.prefetch?.views?.includes(null) ||
    (method === 'getAttributes' && (request.execute?.mboxes?.includes(null) || request.prefetch?.mboxes?.includes(null)))),
  'request …mboxes …index': ({ path }, { sdk, ours }) => {
    const [, part] = /(execute|prefetch)\.mboxes\.\d+\.index$/.exec(path) ?? []
    if (part === undefined) return false
    const distinct = ({ wire }: Performance) => new Set(wire!.body[part].mboxes.map(({ index }: Json) => index)).size
    return distinct(ours) > distinct(sdk)
  },
  'request …order.time': (difference, { request }) => difference.path.endsWith('.order.time')
    ? difference.ours !== undefined && difference.sdk === new Date(difference.ours).toISOString()
    : sdkFails(difference) && JSON.stringify(request).includes('"time":"yesterday"'),
  'sessionId that Target refuses': ({ path }, { call }) => /^wire\.query\.sessionId|targetCookie\./.test(path) && call.options.sessionId !== undefined &&
    (call.options.sessionId.length > 128 || /[\s?/{}\p{Cc}]/u.test(call.options.sessionId)),
  'request, beyond a limit': ({ path }, { sdk, ours }) => {
    if (sdk.wire === undefined || ours.wire === undefined || !/^wire\.body\.|request\./.test(path)) return false
    const place = path.replace(/^.*?(wire\.body|request)\./, '')
    return refusedPlaces(sdk.wire.body).some((refused) => place === refused || place.startsWith(`${refused}.`) || refused.startsWith(`${place}.`))
  },
  'request.telemetry': ({ path, sdk, ours }, { config, request }) => config.telemetryEnabled && /request\.telemetry\.entries|body\.telemetry\.entries/.test(path) &&
    (request.telemetry?.entries?.length > 0 || (/\.mode$/.test(path) && sdk === 'local' && ours === 'edge')),
  'sendNotifications without notifications': (difference, facts) =>
    facts.method === 'sendNotifications' && facts.config.telemetryEnabled && (facts.ours.error as TargetError)?.code === 'FST_TARGET_INVALID_REQUEST' &&
    /^(outcome|wire)$/.test(difference.path),
  serverDomain: ({ path, sdk, ours }, { config }) => path === 'wire.origin' && config.serverDomain !== undefined && /mboxedge/.test(sdk) && ours.endsWith(config.serverDomain),
  'targetLocationHint that is not a number': ({ path, sdk, ours }) => path === 'wire.origin'
    ? /mboxedge/.test(sdk) && !/mboxedge\d{1,4}\.tt\.omtrdc\.net$/.test(sdk) && /\/\/([a-z0-9.:]+)$/.test(ours)
    : path.includes('targetLocationHintCookie') && JSON.stringify(ours ?? '').match(/mboxedge/) === null,
  'targetLocationHint of another visitor': ({ path, sdk }, { earlier, call }) => !call.options.targetLocationHint && earlier.some(({ result }) => {
    const hint = (result?.response?.targetLocationHintCookie ?? result?.targetLocationHintCookie)?.value
    return hint !== undefined && (path === 'wire.origin' ? sdk === `${sdk.split('://')[0]}://mboxedge${hint}.tt.omtrdc.net` : path.includes('targetLocationHintCookie') && JSON.stringify(sdk).includes(hint))
  }),
  'targetCookie, a bad escape': (difference, facts) => sdkFails(difference) && malformed(cookieText(facts)),
  'targetCookie, percent-encoded': ({ path }, facts) => isVisitorPath(path) && !cookieText(facts).includes('#') && cookieText(facts).includes('%23'),
  'targetCookie, a part twice': ({ path }, facts) => isVisitorPath(path) &&
    (partsOf(cookieText(facts), 'PC').length > 1 || partsOf(cookieText(facts), 'session').length > 1),
  'targetCookie, an expiry that is not a number': ({ path }, facts) => isVisitorPath(path) && partsOf(cookieText(facts), 'session').some((part) => !/^\d+$/.test(part[2] ?? '')),
  'targetCookie, an id that Target refuses': ({ path }, facts) => isVisitorPath(path) && hasRefusedId(cookieText(facts)),
  'visitorCookie, a bad escape': (difference, facts) => sdkFails(difference) && malformed(visitorCookieOf(facts)),
  'visitorCookie, MCMID NONE': ({ path, sdk, ours }, facts) => /id(\.marketingCloudVisitorId)?$/.test(path) && visitorCookieOf(facts) === 'MCMID|NONE' && ours !== 'NONE' &&
    (sdk === 'NONE' || sdk?.marketingCloudVisitorId === 'NONE'),
  'visitorCookie, a blob or hint that Target refuses': ({ path, ours }, facts) => path.includes('audienceManager') && ours === undefined &&
    /MCAAMB\||MCAAMLH\|(0|-3)/.test(visitorCookieOf(facts)),
  'visitorCookie, too long': ({ path, ours }, facts) => /id(\.marketingCloudVisitorId)?$/.test(path) && ours === undefined && visitorCookieOf(facts).length > 8192,
  'customerIds in the Delivery API form': ({ path }, { call, request, ours: { wire } }) => Array.isArray(call.options.customerIds) && (
    /visitorState\..*customerIDs/.test(path) ||
    ((ofRequest(path, 'id')) && isDeepStrictEqual(wire?.body.id?.customerIds, [...call.options.customerIds, ...deliveryIds(request.id?.customerIds)]))),
  'analyticsDetails, trace, holes': ({ sdk, ours }) => sdk === HOLES && ours === undefined,
  'answer 204': ({ path, ours }, { call }) => call.answer.kind === 'no-content' &&
    (path.endsWith('response.status') ? ours === 204 : /targetCookie\.(value|maxAge)$/.test(path)),
  'answer of a wrong shape': (difference, facts) => facts.call.answer.kind === 'wrong-shape' && oursFails('FST_TARGET_INVALID_RESPONSE')(difference, facts),
  'answer with an error status in its body': (difference, facts) => facts.call.answer.kind === 'status-in-body' && oursFails('FST_TARGET_HTTP')(difference, facts),
  'answer.edgeHost that names no cluster': ({ path, ours }, { call }) => path.includes('targetLocationHintCookie') && ours === undefined && /acmeclient\.tt\.omtrdc\.net/.test(call.answer.body),
  'getAttributes, getValue': ({ path, sdk, ours }, { method }) => method === 'getAttributes' && path === 'result.missing' && sdk === '<Error>' && ours === 'fallback',
  'getAttributes, content that is not an object': ({ path }, { method, mboxNames, call }) => {
    const [, part, name] = /^result\.(asObject|toJSON|size)\.?([^.]*)/.exec(path) ?? []
    return method === 'getAttributes' && part !== undefined && hasOddJson(call, part === 'toJSON' ? name! : mboxNames[0] ?? name!)
  }
}

/** Stands for the lists in which the SDK leaves an entry of undefined for each mbox or view that has none. */
const HOLES = 'a list with holes'

/** Takes the holes out and says that they were there. */
function fillHoles (result: Json | undefined): void {
  for (const member of ['analyticsDetails', 'trace']) {
    if (!result?.[member]?.includes(null)) continue
    result[member] = result[member].filter((entry: unknown) => entry !== null)
    result[`${member}, as it is`] = HOLES
  }
}

/** Whether an mbox has a json option whose content is no plain object, or is named `__proto__` or not at all. */
function hasOddJson ({ answer }: CaseCall, mbox: string): boolean {
  const { execute, prefetch } = JSON.parse(answer.body)
  return [...execute?.mboxes ?? [], ...prefetch?.mboxes ?? []].some(({ name, options }: Json) => String(name ?? undefined) === mbox && (
    name === '__proto__' || typeof name !== 'string' || options?.some(({ type, content }: Json) => type === 'json' && (!isObject(content) || Array.isArray(content)))))
}

const entries: { area: string, field: string, condition: string, reason: string }[] =
  JSON.parse(readFileSync(new URL('../differences.json', import.meta.url), 'utf8')).filter(({ area }: { area: string }) => area === 'client')

// The edge: one server for ours, the same answers for the SDK's `fetchApi`.

let canned: CannedAnswer
let received: { path: string, headers: IncomingMessage['headers'], body: string }[] = []

const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  received.push({ path: request.url!, headers: request.headers, body: Buffer.concat(chunks).toString() })
  if (canned.kind === 'lost') return request.socket.destroy()
  response.writeHead(canned.status, { 'content-type': 'application/json' })
  response.end(canned.status === 204 || canned.status === 304 ? undefined : canned.body)
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo

/** Whatever host is asked for, the socket goes to the server; `origins` has what was asked for. */
const origins: string[] = []
const agent = new Agent({
  connect (_options: unknown, callback: (error: Error | null, socket: any) => void) {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => callback(null, socket)).once('error', (error) => callback(error, null))
  }
})
const dispatcher = agent.compose((dispatch) => (options: Dispatcher.DispatchOptions, handler) => {
  origins.push(String(options.origin))
  return dispatch(options, handler)
})

t.teardown(async () => {
  await agent.destroy()
  server.closeAllConnections()
  server.close()
})

const TRANSPORT = ['host', 'connection', 'content-length', 'accept', 'accept-encoding', 'user-agent']

function createWire (origin: string, target: string, headers: Json, body: string, times: number): Wire {
  const { pathname, search } = new URL(target, 'http://edge')
  return {
    origin,
    path: pathname,
    query: Object.fromEntries(new URLSearchParams(search)),
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]).filter(([name]) => !TRANSPORT.includes(name))),
    body: JSON.parse(body),
    times
  }
}

/** Calls a method of either side and makes its outcome comparable. */
async function settle ({ method, mboxNames }: Case, client: any, options: Json): Promise<Pick<Performance, 'outcome' | 'result' | 'error'>> {
  try {
    if (method !== 'getAttributes') return { outcome: 'resolved', result: clone(await client[method](options)), error: undefined }
    const provider = await client.getAttributes(mboxNames, options)
    const size = provider.getValue(mboxNames[0] ?? 'hero', 'size')
    const missing = provider.getValue('no such mbox', 'key', 'fallback')
    return {
      outcome: 'resolved',
      result: clone({
        response: provider.getResponse(),
        asObject: provider.asObject(mboxNames[0]),
        toJSON: provider.toJSON(),
        size: size instanceof Error ? undefined : size,
        missing: missing instanceof Error ? '<Error>' : missing
      }),
      error: undefined
    }
  } catch (error) {
    return { outcome: 'rejected', result: undefined, error }
  }
}

function sdkPerformer (testCase: Case): (options: Json) => Promise<Performance> {
  let requests: { url: string, init: Json }[] = []
  const fetchApi = async (url: string, init: Json) => {
    requests.push({ url, init })
    if (canned.kind === 'lost') throw new TypeError('fetch failed')
    return new Response(canned.status === 204 || canned.status === 304 ? null : canned.body, { status: canned.status })
  }
  const client = sdk.create({ ...structuredClone(testCase.config), fetchApi })
  return async (options) => {
    requests = []
    const settled = await settle(testCase, client, options)
    const first = requests[0]
    if (first === undefined) return { wire: undefined, ...settled }
    // Not parsed: what the SDK makes of a visitor's text may be any host, or none.
    const end = first.url.indexOf('/rest/v1/delivery')
    return { wire: createWire(first.url.slice(0, end), first.url.slice(end), first.init.headers, first.init.body, requests.length), ...settled }
  }
}

function ourPerformer (testCase: Case) {
  const client = createTargetClient({ ...deepFreeze(structuredClone(testCase.config)) as { client: string, organizationId: string }, dispatcher, breaker: false })
  const perform = async (options: Json): Promise<Performance> => {
    received = []
    origins.length = 0
    const settled = await settle(testCase, client, options)
    const first = received[0]
    if (first === undefined) return { wire: undefined, ...settled }
    return { wire: createWire(origins[0]!, first.path, first.headers, first.body, received.length), ...settled }
  }
  return { perform, close: () => client.close() }
}

/** Makes random ids and clocks comparable. `names` has the ids that were seen before in the same case. */
function canonical ({ wire, outcome, result }: Performance, { options }: CaseCall, position: number, names: Map<string, string>): Json {
  fillHoles(result)
  fillHoles(result?.response)
  const name = (value: unknown, label: string) => {
    if (typeof value === 'string' && value !== '' && !names.has(value)) names.set(value, label)
  }
  const given = JSON.stringify(options)
  if (wire !== undefined) {
    const { sessionId } = wire.query
    if (sessionId !== undefined && /^[0-9a-f-]{32,36}$/.test(sessionId) && !given.includes(sessionId)) name(sessionId, '<session>')
    if (!options.request?.requestId) name(wire.body.requestId, '<request>')
    const sdid = wire.body.experienceCloud.analytics.supplementalDataId
    if (!given.includes(sdid)) name(sdid, `<sdid ${position}>`)
    if (wire.headers['x-request-id'] !== undefined) wire.headers['x-request-id'] = '<random>'
  }
  let text = JSON.stringify({ wire, outcome, result })
  for (const [value, label] of names) text = text.replaceAll(value, label)
  names.forEach((label, value) => { if (label === '<request>' || label === '<session>') names.delete(value) })
  const now = Date.now() / 1000
  text = text.replace(/#(\d{10})(?=[|"])/g, (_, expires) => `#+${Math.round((Number(expires) - now) / 5) * 5}`)
  return JSON.parse(text, (key, value) => {
    if (key === 'maxAge') return Math.round(value / 5) * 5
    if (!isObject(value) || !(Math.abs((value.timestamp as number) / 1000 - now) < 60) || value.execution === undefined) return value
    return { ...value, timestamp: '<now>', execution: '<ms>', requestId: '<earlier>' }
  })
}

/** All places where two values differ. */
function compare (sdk: unknown, ours: unknown, path: string, found: Difference[] = []): Difference[] {
  if (isObject(sdk) && isObject(ours) && Array.isArray(sdk) === Array.isArray(ours)) {
    for (const key of new Set([...Object.keys(sdk), ...Object.keys(ours)])) {
      compare(Object.hasOwn(sdk, key) ? sdk[key] : undefined, Object.hasOwn(ours, key) ? ours[key] : undefined, path === '' ? key : `${path}.${key}`, found)
    }
  } else if (!Object.is(sdk, ours)) {
    found.push({ path, sdk, ours })
  }
  return found
}

function differencesOf (sdk: Json, ours: Json): Difference[] {
  // Where only one side has a result there is nothing to compare in it.
  return sdk.outcome === ours.outcome ? compare(sdk, ours, '') : [{ path: 'outcome', sdk: sdk.outcome, ours: ours.outcome }]
}

t.test('every difference from the Node SDK is listed', async (t) => {
  const hits = new Map<string, number>(Object.keys(JUDGES).map((field) => [field, 0]))
  const unlisted: unknown[] = []
  let calls = 0
  let sent = 0
  let resolved = 0
  const uncoded: unknown[] = []
  for (let number = 0; number < CASES; number++) {
    const testCase = createCase(number, SEED)
    const { config, method, mboxNames, visitor, visitorCookie } = testCase
    const performSdk = sdkPerformer(testCase)
    const { perform, close } = ourPerformer(testCase)
    const sdkVisitor = visitor === 'none' ? undefined : new AdobeVisitor(ORGANIZATION, visitorCookie)
    const ourVisitor = visitor === 'adobe' ? new AdobeVisitor(ORGANIZATION, visitorCookie) : new ExperienceCloudVisitor(ORGANIZATION, visitorCookie)
    const sdkNames = new Map<string, string>()
    const ourNames = new Map<string, string>()
    const earlier: Performance[] = []
    for (const [position, call] of testCase.calls.entries()) {
      canned = call.answer
      const sdkDid = await performSdk({ ...structuredClone(call.options), ...visitor !== 'none' && { visitor: sdkVisitor } })
      const weDid = await perform({ ...deepFreeze(structuredClone(call.options)), ...visitor !== 'none' && { visitor: ourVisitor } })
      const facts: Facts = { config, method, mboxNames, call, request: call.options.request ?? {}, position, visitor, earlier, sdk: sdkDid, ours: weDid }
      const differences = differencesOf(canonical(sdkDid, call, position, sdkNames), canonical(weDid, call, position, ourNames))
      for (const difference of differences) {
        const explained = Object.keys(JUDGES).filter((field) => JUDGES[field]!(difference, facts))
        for (const field of explained) hits.set(field, hits.get(field)! + 1)
        if (explained.length === 0) unlisted.push({ case: number, position, method, ...difference, options: call.options, answer: call.answer, config, error: String(weDid.error ?? sdkDid.error) })
      }
      calls += 1
      if (weDid.wire !== undefined) sent += 1
      if (weDid.outcome === 'resolved') resolved += 1
      else if (!/^FST_TARGET_/.test((weDid.error as TargetError).code)) uncoded.push(weDid.error)
      earlier.push(sdkDid)
      // From here on the visitors are not in the same state.
      if (sdkDid.outcome !== weDid.outcome || sdkDid.wire === undefined || weDid.wire === undefined) break
    }
    await close()
  }
  t.same(unlisted.slice(0, 5), [], `${unlisted.length} differences are not listed`)
  t.same(uncoded, [], 'rejections have codes')
  t.ok(sent > calls * 0.7 && resolved > calls * 0.5, `${calls} calls, ${sent} sent, ${resolved} resolved`)
  for (const { field } of entries) t.ok(hits.get(field), `differences.json: "${field}" was seen`)
  t.same(entries.map(({ field }) => field).sort(), Object.keys(JUDGES).sort(), 'differences.json and the judges tell of the same')
  for (const { field, condition, reason } of entries) t.ok(condition.length > 0 && reason.length > 0, `"${field}" has condition and reason`)
})
