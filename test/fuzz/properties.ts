/**
 * What must hold for any input: nothing throws but this package's errors where errors are allowed, nothing throws at all for
 * what a browser sends, what goes to the edge is what it accepts, and no prototype changes.
 */
import { strict as assert } from 'node:assert'
import { validateHeaderValue } from 'node:http'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import fc, { type Arbitrary } from 'fast-check'
import type { FastifyRequest } from 'fastify'
import { attributesOf, attributesExpecter, createAttributesProvider } from '../../lib/offers/attributes.ts'
import { cookieSerializer } from '../../lib/visitor/cookies.ts'
import { compileArtifact } from '../../lib/decisioning/compile.ts'
import { decide } from '../../lib/decisioning/decide.ts'
import { deobfuscate } from '../../lib/decisioning/obfuscation.ts'
import { parseJson } from '../../lib/decisioning/parse-json.ts'
import { edgeMessage } from '../../lib/delivery/edge-message.ts'
import { DeliveryQuery, DeliveryRequest, ExecuteRequest, PrefetchRequest, QAMode, type DeliveryResponse } from '../../lib/schema/index.ts'
import { EdgeAddress } from '../../lib/transport/edge-address.ts'
import { toResponse } from '../../lib/transport/edge-network/answer.ts'
import { handlesOf, payloadsOf, SCHEMA } from '../../lib/transport/edge-network/wire.ts'
import { findFault } from '../../lib/delivery/response-shape.ts'
import { acceptableState, edgeStatePrefix } from '../../lib/visitor/edge-state.ts'
import { Warnings } from '../../lib/client/warnings.ts'
import { refusal } from '../../lib/edge/refusal.ts'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import { EventTokens } from '../../lib/edge/tokens.ts'
import { isTargetError, type TargetErrorCode } from '../../lib/errors.ts'
import { clickNotifications, displayNotifications } from '../../lib/offers/notifications.ts'
import { mboxEntries, offerOf, pageLoadEntries } from '../../lib/offers/offer.ts'
import { createResult } from '../../lib/offers/result.ts'
import { resolvePluginOptions, type FastifyAdobeTargetOptions } from '../../lib/options.ts'
import { AppFunctions } from '../../lib/request/app-functions.ts'
import { DeliveryRequests } from '../../lib/request/delivery-request.ts'
import { readQaVisit } from '../../lib/visitor/qa-mode.ts'
import { isSafeRedirect } from '../../lib/offers/redirect.ts'
import { compileRequest } from '../../lib/request/route-config.ts'
import { Visitor, visitorSettings } from '../../lib/visitor/visitor.ts'
import { client, organizationId } from '../support/helper.ts'
import { cookieHeader, headers, headerText, qaCookie, qaQuery, query, spoil, spoilings, text } from './generators.ts'

/** A property and its part in the whole number of inputs. */
export interface Property {
  name: string
  share: number
  /** Throws, with the smallest input found, when it does not hold. */
  check (inputs: number, seed: number): Promise<void>
}

/** Makes a property of generated inputs. */
export function property<Input> (name: string, share: number, inputs: Arbitrary<Input>, holds: (input: Input) => unknown): Property {
  return {
    name,
    share,
    check: (numRuns, seed) => fc.assert(fc.asyncProperty(inputs, async (input) => { await holds(input) }), { numRuns, seed })
  }
}

/** Checks all properties. */
export async function checkAll (properties: Property[], inputs: number, seed: number, report: (line: string) => void): Promise<number> {
  const shares = properties.reduce((sum, { share }) => sum + share, 0)
  let total = 0
  for (const { name, share, check } of properties) {
    const before = prototypes()
    const count = Math.ceil(inputs * share / shares)
    const started = performance.now()
    await check(count, seed)
    assert.deepEqual(prototypes(), before, `${name}: a prototype changed`)
    total += count
    report(`${name}: ${count} inputs in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  }
  return total
}

const prototypes = () => [Object, Array, Function, String, Number, Boolean, Map, Set, Promise, Date, RegExp, Error].map(({ name, prototype }) => `${name}: ${Reflect.ownKeys(prototype).map(String).join(' ')}`)

/** Runs something that may throw this package's errors, with these codes, and nothing else. */
export async function coded<Result> (codes: TargetErrorCode[], run: () => Result | Promise<Result>): Promise<Result | undefined> {
  try {
    return await run()
  } catch (thrown) {
    if (!isTargetError(thrown) || !codes.includes(thrown.code)) throw thrown
    assert.ok(thrown.message.length < 2000 && !/[\r\n]/.test(thrown.message), 'an error is one readable line')
    return undefined
  }
}

const settings = visitorSettings(organizationId)
const addresses = new EdgeAddress({ client, organizationId, secure: true })
const serialize = cookieSerializer({})
const noTokens = new EventTokens({})
const artifact = await compileArtifact(sampleArtifact)

function fits (schema: Parameters<typeof Value.Check>[0], value: unknown): void {
  const sent = JSON.parse(JSON.stringify(value))
  if (Value.Check(schema, sent)) return
  const wrong = Value.Errors(schema, sent).First()!
  assert.fail(`the edge would refuse ${wrong.path}: ${wrong.message}, ${JSON.stringify(wrong.value)?.slice(0, 200)}`)
}

/** The edge is never of a visitor's choice, and neither its path nor the cookies hold more than they should. */
function safeToSend (visitor: Visitor): void {
  assert.match(addresses.origin(visitor.locationHint), /^https:\/\/(acmeclient|mboxedge\d{1,4})\.tt\.omtrdc\.net$/)
  const url = new URL(addresses.origin(visitor.locationHint) + addresses.path(visitor.sessionId))
  assert.deepEqual([url.pathname, [...url.searchParams.keys()], url.hash], ['/rest/v1/delivery', ['imsOrgId', 'client', 'sessionId'], ''])
  fits(DeliveryQuery, Object.fromEntries(url.searchParams))
  for (const cookie of visitor.cookies) {
    const line = serialize(cookie, true)
    validateHeaderValue('set-cookie', line)
    assert.match(line, /^(mbox=[\w.!~*'()%#|-]+|mboxEdgeCluster=\d{1,4}); Max-Age=\d+; Path=\/; SameSite=Lax; Secure$/)
  }
}

/** A decision for a browser's request never throws. */
function decided (request: DeliveryRequest): void {
  const decision = decide(artifact, request, { client, trace: {} })
  assert.ok([200, 206].includes(decision.response.status!))
}

const plan = compileRequest({
  execute: { pageLoad: {}, mboxes: ['hero', { name: 'banner', parameters: { member: 'gold' }, profileParameters: { tier: '1' } }] },
  prefetch: { mboxes: ['checkout-flags'], views: [{}] }
}, { root: 'plan' })

const cookies = property('cookies', 20, fc.tuple(cookieHeader, text), ([header, answered]) => {
  const visitor = new Visitor(settings, header)
  fits(DeliveryRequest, { context: { channel: 'web' }, ...visitor.parts })
  safeToSend(visitor)
  visitor.learn({ id: { tntId: answered }, edgeHost: `mboxedge${answered}.tt.omtrdc.net` })
  safeToSend(visitor)
})

const edgeSettings = visitorSettings(organizationId, { edgeNetwork: {} })
const statePrefix = edgeStatePrefix(organizationId)
const handle = fc.record({
  type: fc.constantFrom('state:store', 'personalization:decisions', 'identity:result', ''),
  payload: fc.oneof(fc.jsonValue(), fc.array(fc.oneof(
    fc.jsonValue(),
    fc.record({ key: text.map((name) => statePrefix + name), value: text, maxAge: fc.jsonValue() }, { requiredKeys: [] }),
    fc.record({ id: fc.oneof(text, fc.jsonValue()), scope: fc.constantFrom('hero', '__view__', 'x'), scopeDetails: fc.oneof(fc.jsonValue(), fc.constant({ characteristics: { scopeType: 'view' } })), items: fc.oneof(fc.jsonValue(), fc.array(fc.record({ schema: fc.constantFrom(...Object.values(SCHEMA)), data: fc.jsonValue(), meta: fc.jsonValue() }))) })
  )))
})

const edgeNetwork = property('cookies and answers of the Edge Network', 10, fc.tuple(text, text, text, fc.array(handle)), ([cluster, identity, name, handles]) => {
  const visitor = new Visitor(edgeSettings, `${statePrefix}cluster=${cluster}; ${statePrefix}identity=${identity}; ${statePrefix}${name}=${name}`)
  assert.match(visitor.locationHint ?? 'or2', /^(or2|va6|irl1|ind1|jpn3|sgp3|aus3)$/)
  assert.match(visitor.parts.id.marketingCloudVisitorId!, /^\d{1,128}$/)
  fits(DeliveryRequest, { context: { channel: 'web' }, ...visitor.parts })
  const request = { context: { channel: 'web' as const }, execute: { pageLoad: {}, mboxes: [{ name: 'hero', index: 0 }] }, prefetch: { views: [{}] } }
  const read = handlesOf({ handle: handles })
  const response = toResponse(request, read, client)
  assert.equal(findFault(JSON.parse(JSON.stringify(response))), undefined)
  visitor.learn(response, acceptableState(payloadsOf(read, 'state:store'), statePrefix))
  assert.ok(visitor.edgeState!.entries.every(({ key }) => key.startsWith(statePrefix)))
  for (const cookie of visitor.cookies) {
    const line = serialize(cookie, true)
    validateHeaderValue('set-cookie', line)
    assert.match(line, /^kndctr_1234567890_AdobeOrg_\w*=[!#-+\--:<-[\]-~]*(; Max-Age=-?\d+)?; Path=\/; SameSite=Lax; Secure$/)
  }
})

const qaModes = property('QA links and cookies', 10, fc.tuple(qaQuery, fc.option(qaCookie, { nil: undefined })), ([query, cookie]) => {
  const visit = readQaVisit(`/?${query}`, cookie)
  if (visit === undefined) return
  const line = serialize(visit.cookie, true)
  validateHeaderValue('set-cookie', line)
  assert.match(line, /^at_qa_mode=[\w.!~*'()%-]*; Max-Age=(0|1860); Path=\/; SameSite=Lax; Secure$/)
  assert.ok(line.length < 4096)
  if (visit.mode === undefined) return
  fits(QAMode, visit.mode)
  assert.ok(Object.isFrozen(visit.mode) && JSON.stringify(visit.mode).length < 4096)
  assert.deepEqual(readQaVisit('/', visit.cookie.value), visit, 'the next page reads what this one wrote')
})

const redirects = property('redirects', 4, fc.oneof(text, headerText, fc.webUrl(), fc.array(fc.constantFrom('/', '\\', ':', '//', 'https:', 'javascript:', '@', '?', '#', '.', '\t', '\n', '%2f', 'shop.example', 'evil.example', ':443'), { maxLength: 8 }).map((parts) => parts.join(''))), (location) => {
  if (!isSafeRedirect(location, { host: 'shop.example' })) return
  validateHeaderValue('location', location)
  // As a browser resolves it, whether the page came over http or https.
  for (const page of ['http://shop.example/a/b', 'https://shop.example/a/b']) {
    const { protocol, hostname, username, password } = new URL(location, page)
    assert.deepEqual([/^https?:$/.test(protocol), hostname, username, password], [true, 'shop.example', '', ''])
  }
})

const browserRequest = fc.record({
  headers, cookie: cookieHeader, url: headerText, host: headerText, ip: fc.oneof(text, fc.constantFrom('203.0.113.7', '::1', '::ffff:1.2.3.4')), query, form: query, trusted: fc.boolean()
})

const requests = property('requests of browsers', 24, browserRequest, ({ headers, cookie, url, host, ip, query, form, trusted }) => {
  // The part of a FastifyRequest that is read; the wire's properties go through real ones.
  const request = { headers, protocol: 'https', host, originalUrl: `/${url}`, ip, ips: trusted ? [ip] : undefined } as unknown as FastifyRequest
  const failed: unknown[] = []
  const visitor = new Visitor(settings, cookie)
  const functions = new AppFunctions({ parameters: () => query, profileParameters: () => form, report () {}, functionFailed: (_name, error) => failed.push(error), earlyBody: { run: (_name, request, ask) => ask(request) } }, request, visitor)
  assert.equal(functions.ready, true)
  assert.deepEqual(failed, [])
  const made = new DeliveryRequests({ warnings: new Warnings(), report () {} }, request, visitor, functions).create(plan)
  fits(DeliveryRequest, made)
  assert.equal(refusal(JSON.parse(JSON.stringify(made)), noTokens), undefined)
  assert.deepEqual([made.execute?.mboxes?.[1]?.parameters?.member, made.execute?.mboxes?.[1]?.profileParameters?.tier], ['gold', '1'], 'what the route says wins')
  decided(made)
})

const validForm = {
  execute: { pageLoad: { parameters: { a: 'b' } }, mboxes: ['hero', { name: 'cart', index: 3, parameters: { size: '3' }, order: { id: 'o', total: 3, purchasedProductIds: ['p'] } }] },
  prefetch: { views: [{ name: 'product' }, 'home'], mboxes: [{ name: 'banner', product: { id: 'x', categoryId: 'y' } }] },
  context: { channel: 'web', address: { url: 'https://a.example/' } },
  property: { token: 'p' },
  qaMode: { token: 't', previewIndexes: [{ activityIndex: 1 }] },
  maxWait: 5,
  timeout: 100,
  decisioningMethod: 'hybrid'
}

const forms = property('requests of routes', 8, spoilings, async (how) => {
  const compiled = await coded(['FST_TARGET_INVALID_OPTIONS'], () => compileRequest(spoil(validForm, how), { root: 'config.target', of: 'GET /' }))
  if (compiled === undefined) return
  if (compiled.execute !== undefined) assert.ok(Value.Check(ExecuteRequest, compiled.execute))
  if (compiled.prefetch !== undefined) assert.ok(Value.Check(PrefetchRequest, compiled.prefetch))
})

const validOptions = {
  client,
  organizationId,
  serverDomain: 'edge.example:8080',
  timeout: 100,
  pool: { connections: 1, maxQueue: 0 },
  breaker: { failures: 3 },
  notifications: { retries: 1 },
  cookies: { domain: 'a.example', path: '/', sameSite: 'Lax' },
  targetLocationHint: '35',
  artifactLocation: 'https://a.example/rules.json',
  decorator: 'target',
  events: {}
}

const options = property('options', 4, spoilings, async (how) => {
  const resolved = await coded(['FST_TARGET_INVALID_OPTIONS'], () => resolvePluginOptions(spoil(validOptions, how) as FastifyAdobeTargetOptions, { debug () {}, error () {} }))
  if (resolved === undefined) return
  const { serverDomain } = resolved.client
  const { origin, pathname } = new URL(`https://${serverDomain ?? 'x'}`)
  assert.ok(pathname === '/' && origin !== 'null')
  if (resolved.cookies !== false) validateHeaderValue('set-cookie', cookieSerializer(resolved.cookies)({ name: 'mbox', value: 'x', maxAge: 1 }, true))
})

const entry = { options: [{ type: 'json', content: { express: true, nested: { a: [1] } }, eventToken: 't', responseTokens: { 'activity.id': '1' } }, { type: 'html', content: '<b>' }], metrics: [{ type: 'click', eventToken: 'c', selector: 'a' }], analytics: { payload: { pe: 'tnt', tnta: '1' } }, state: 's', trace: { a: 1 } }
const validAnswer = {
  status: 200,
  requestId: 'r',
  id: { tntId: 'abc.35_0', marketingCloudVisitorId: '1', customerIds: [{ id: 'c' }] },
  client,
  edgeHost: 'mboxedge35.tt.omtrdc.net',
  execute: { pageLoad: entry, mboxes: [{ index: 0, name: 'hero', ...entry }, { index: 1, name: 'flags', ...entry }] },
  prefetch: { pageLoad: entry, mboxes: [{ index: 0, name: 'hero', ...entry }], views: [{ name: 'product', key: 'k', ...entry }], metrics: [{ type: 'click', eventToken: 'm' }] },
  notifications: [{ id: 'n', trace: {} }],
  telemetryServerToken: 'x'
}
const { read: readFlags } = attributesExpecter(() => () => true)(Type.Object({ express: Type.Boolean({ default: false }), nested: Type.Any({ default: {} }) }))

/** What a page does with an answer. */
export function useAnswer (response: DeliveryResponse): void {
  const names = [...response.execute?.mboxes ?? [], ...response.prefetch?.mboxes ?? []].map(({ name }) => name ?? '')
  for (const name of ['hero', 'flags', '__proto__', ...names]) {
    const offer = offerOf(mboxEntries(response, name), 'edge', 'fallback')
    assert.ok(offer.reason === 'matched' ? offer.content !== undefined : offer.content === 'fallback')
    const attributes = attributesOf(response, name)
    assert.equal(typeof (readFlags(attributes) as { attributes: { express: boolean } }).attributes.express, 'boolean')
    displayNotifications(response, name)
    clickNotifications(response, name)
  }
  offerOf(pageLoadEntries(response), 'edge', undefined)
  for (const what of [{ pageLoad: true } as const, { view: 'product' }]) {
    displayNotifications(response, what)
    clickNotifications(response, what)
  }
  const request = { context: { channel: 'web' as const } }
  const result = createResult({ request, response, source: 'edge', remoteMboxes: [], remoteViews: [] }, 'session', undefined, {})
  const provider = createAttributesProvider(result)
  assert.equal(provider.getValue('hero', '__proto__', 'fallback'), 'fallback')
  assert.equal((provider.asObject('hero') as { polluted?: unknown }).polluted, undefined)
  provider.toJSON()
  const visitor = new Visitor(settings, undefined)
  visitor.learn(response)
  safeToSend(visitor)
}

const answers = property('answers of edges', 16, spoilings, (how) => {
  const answer: unknown = spoil(validAnswer, how)
  if (findFault(answer) === undefined) useAnswer(answer as DeliveryResponse)
})

const secret = fc.oneof(fc.uuid(), fc.string({ minLength: 4, maxLength: 300 }).filter((value) => value.trim().length >= 4), headerText.filter((value) => /\w{8}/.test(value)))
const messages = property('error messages of edges', 6, fc.tuple(secret, fc.constantFrom('name', 'type', 'channel', 'requestId', 'other'), fc.array(fc.oneof(text, fc.constant(undefined)), { maxLength: 30 })), ([value, name, parts]) => {
  // What it quotes is the visitor's, wherever and however often it stands.
  const body = JSON.stringify({ requestId: 'r', id: { tntId: `${value}`.slice(0, 128) }, execute: { mboxes: [{ name: 'hero', index: 0, parameters: { [name]: value } }] } })
  const quoted = edgeMessage(parts.map((part) => part ?? value).join(' in '), { body, path: '/rest/v1/delivery?sessionId=0a1b2c3d' })
  assert.ok(quoted.length < 300 && !/[\p{Cc}\u2028\u2029]/u.test(quoted))
  if (!parts.some((part) => part?.includes(value))) assert.ok(!quoted.includes(value), `${JSON.stringify(quoted)} repeats what the visitor sent`)
})

const request: DeliveryRequest = {
  id: { tntId: 'abc.35_0' },
  context: { channel: 'web', address: { url: 'https://www.example.co.uk/a?b=c#d', referringUrl: 'https://other.example/' }, userAgent: 'Firefox/132.0' },
  execute: { pageLoad: {}, mboxes: [{ name: 'hero', index: 0 }, { name: 'banner', index: 1, parameters: { member: 'gold', '__proto__.x': 'y' } }] },
  prefetch: { views: [{}], mboxes: [{ name: 'checkout-flags', index: 0 }] }
}

const artifacts = property('artifacts', 10, fc.tuple(spoilings, headerText), async ([how, url]) => {
  const compiled = await coded(['FST_TARGET_ARTIFACT'], () => compileArtifact(spoil(sampleArtifact, how)))
  if (compiled === undefined) return
  const { response } = decide(compiled, { ...request, context: { ...request.context, address: { url } } }, { client })
  useAnswer(response)
})

const files = property('obfuscated artifacts', 2, fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.boolean()), async ([bytes, plausible]) => {
  if (plausible) bytes.set(Buffer.from('ATOD:001').subarray(0, bytes.length))
  const json = await coded(['FST_TARGET_ARTIFACT'], () => deobfuscate(bytes, organizationId))
  assert.ok(json === undefined || json.length === bytes.length - 40)
})

const jsonKey = fc.constantFrom('a', 'b', '1', '2', '10', '__proto__', 'constructor', '', 'x"y', 'ü', '\\', '\u2028')
const { json } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 7 },
    fc.constantFrom(1, -2.5e3, true, null, '', 'a,b', '{[', ']}"\\', '€😀', '\ufeff', '\u00a0'),
    fc.array(tie('json'), { maxLength: 5 }),
    fc.array(fc.tuple(jsonKey, tie('json')), { maxLength: 5 }).map((members) => Object.fromEntries(members))
  )
}))
const jsonEdit = fc.record({ at: fc.nat(300), cut: fc.nat(2), put: fc.constantFrom('', ',', '[', ']', '{', '}', '"', '\\', ':', ' ', '1', '[]', '"a":', '\u00a0', '\ufeff') })
const pieces = property('JSON in pieces', 10, fc.tuple(json, fc.constantFrom(0, 1), fc.array(jsonEdit, { maxLength: 2 }), fc.constantFrom(1, 3, 8, 20)), async ([value, indent, edits, piece]) => {
  const edited = edits.reduce((text, { at, cut, put }) => text.slice(0, at % text.length) + put + text.slice(at % text.length + cut), JSON.stringify(value, undefined, indent))
  const bytes = Buffer.from(edited)
  const attempt = async (parse: () => unknown) => {
    try {
      return await parse()
    } catch (error) {
      assert.ok(error instanceof SyntaxError)
      return SyntaxError
    }
  }
  const [actual, expected] = [await attempt(() => parseJson(bytes, { piece })), await attempt(() => JSON.parse(new TextDecoder().decode(bytes)))]
  assert.deepStrictEqual(actual, expected)
  assert.equal(JSON.stringify(actual), JSON.stringify(expected), 'in order')
})

/** Properties of single functions: fast. */
export const properties: Property[] = [cookies, edgeNetwork, qaModes, redirects, requests, forms, options, answers, messages, artifacts, files, pieces]
