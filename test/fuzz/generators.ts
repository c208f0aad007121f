/** What hostile browsers, edges and artifacts send: text, headers, cookies, JSON with parts of it spoiled. */
import fc, { type Arbitrary } from 'fast-check'
import { edgeStatePrefix } from '../../lib/visitor/edge-state.ts'
import { organizationId } from '../support/helper.ts'

/** Names that mean something to JavaScript. */
export const MAGIC = ['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', '__defineGetter__', 'length', 'then', 'toJSON']

/** UTF-16 of any kind, halves of pairs and control characters among it. */
const unicode = fc.array(fc.oneof(fc.nat(0xffff), fc.nat(0x7f)), { maxLength: 60 }).map((units) => String.fromCharCode(...units))

/** Text of any kind. */
export const text: Arbitrary<string> = fc.oneof(
  unicode,
  fc.string({ maxLength: 40 }),
  fc.constantFrom(...MAGIC),
  fc.constantFrom('', ' ', '%', '%E0%A4%A', '\r\nset-cookie: a=b', '"', '</script>', '$' + '{constructor}', 'profile.x', 'orderId', '1@evil.example', '../..', 'NaN', '9'.repeat(400)),
  fc.tuple(fc.constantFrom('a', '%41', '\ud800', '|', 'm;', '('), fc.integer({ min: 100, max: 6000 })).map(([unit, times]) => unit.repeat(times))
)

/** What Node's parser lets through in the value of a header: latin1 without control characters. */
export const headerText: Arbitrary<string> = text.map((value) => value.replace(/[^\t\x20-\x7e\x80-\xff]/g, (character) => String.fromCharCode(0x80 + character.charCodeAt(0) % 0x7f)).slice(0, 9000))

const cookieWord = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('mbox=', 'session#', 'PC#', '#9999999999', '#9999999998|', '#1', '|', ';', '; ', '=', '#', '%', '%23', '%7C', '"') },
  { weight: 3, arbitrary: fc.constantFrom('mboxEdgeCluster=', '35', 'abc.35_0', 'abc.35', '1@evil.example', 'evil.example%2f', '.', '12345', '-1') },
  { weight: 3, arbitrary: fc.constantFrom(`AMCV_${organizationId}=`, `AMCV_${encodeURIComponent(organizationId)}=`, 'MCMID|', 'MCAAMLH-1|', 'MCAAMB-1|', 'MCAAMB|', '1|', 'NONE', '9'.repeat(400)) },
  { weight: 3, arbitrary: fc.constantFrom(...['identity', 'cluster', 'consent', '__proto__'].map((name) => `${edgeStatePrefix(organizationId)}${name}=`), 'or2', 'CiY', 'general=in', 'kndctr_OTHER_identity=') },
  { weight: 2, arbitrary: headerText }
)

const encoded = (value: string) => encodeURIComponent(value.replace(/\p{Cs}/gu, ''))
const qaWord = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('at_preview_token=', 'at_preview_token=t', '&at_preview_token=', '&at_preview_index=', '&at_preview_listed_activities_only=true', '&at_preview_evaluate_as_true_audience_ids=', '&at_preview_evaluate_as_false_audience_ids=') },
  { weight: 6, arbitrary: fc.constantFrom('1', '1_2', '_', ',', '0', '-1', '9007199254740993', '1e9', '&', '=', '?', '#', '%', '%5F', '__proto__', '9'.repeat(400)) },
  { weight: 2, arbitrary: fc.oneof(text.map(encoded), headerText) }
)

/** The query string of a QA link, put together of the right words in the wrong order. */
export const qaQuery: Arbitrary<string> = fc.array(qaWord, { maxLength: 25 }).map((words) => words.join(''))

/** A `Cookie` header, put together of the right words in the wrong order. */
export const cookieHeader: Arbitrary<string> = fc.oneof(
  fc.array(cookieWord, { maxLength: 20 }).map((words) => words.join('')),
  fc.tuple(headerText, headerText, headerText, headerText).map(([session, device, hint, ecid]) =>
    `mbox=session#${session}#9999999999|PC#${device}#9999999999; mboxEdgeCluster=${hint}; AMCV_${organizationId}=MCMID|${ecid}|MCAAMLH-1|${hint}|MCAAMB-1|${device}`),
  fc.tuple(text, text).map(([session, device]) => {
    const encoded = (value: string) => encodeURIComponent(value.replace(/\p{Cs}/gu, ''))
    return `mbox=${encoded(`session#${encoded(session)}#9999999999|PC#${encoded(device)}#9999999999`)}`
  })
)

const HEADERS = [
  'referer', 'user-agent', 'sec-ch-ua', 'sec-ch-ua-mobile', 'sec-ch-ua-platform', 'sec-ch-ua-full-version-list', 'sec-ch-ua-model', 'x-geo-country-code',
  'x-geo-region-code', 'x-geo-city', 'x-geo-latitude', 'cf-iplongitude', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'
]

/** Headers of a browser, beside its cookies. */
export const headers: Arbitrary<Record<string, string>> = fc.dictionary(fc.constantFrom(...HEADERS), fc.oneof(headerText, fc.constantFrom('?1', '"x\\"y"', '1e999', '-0', '203.0.113.7', 'XX', 'NO', '::1', 'fe80::1%eth0')), { maxKeys: 8 })

/** Makes a value when it is put in, so that a counterexample that nests deep can still be printed. */
interface Maker { name: string, make: () => unknown }

function nest (levels: number, wrap: (inner: unknown) => unknown): unknown {
  let value: unknown = 'core'
  for (let level = 0; level < levels; level++) value = wrap(value)
  return value
}

const MAKERS: Maker[] = [
  { name: 'lists 20,000 deep', make: () => nest(20_000, (inner) => [inner]) },
  { name: 'objects 20,000 deep', make: () => nest(20_000, (inner) => ({ a: inner })) },
  { name: 'objects 100 deep', make: () => nest(100, (inner) => ({ a: inner, b: 'Text' })) },
  { name: 'and 3,000 deep', make: () => nest(3000, (inner) => ({ and: [inner, true] })) },
  { name: '__proto__', make: () => JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}') },
  { name: 'dotted __proto__', make: () => JSON.parse('{"__proto__.polluted":"1","constructor.prototype.polluted":"1","a.__proto__.polluted":"1"}') },
  { name: 'no text', make: () => ({ toString: 1, valueOf: null, toJSON: 2 }) },
  { name: 'list of no text', make: () => [{ toString: 1 }, [[{ valueOf: {} }]]] },
  { name: 'a thousand members', make: () => Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`name${index}`, 'v'])) }
]

/** A JSON value that is probably the wrong one. */
const spoiler: Arbitrary<Maker> = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...MAKERS) },
  { weight: 2, arbitrary: fc.constantFrom<unknown>(null, true, false, 0, -1, 1e308, 5e-324, 2 ** 53, '', [], {}, [[]], [null]).map((value) => ({ name: JSON.stringify(value), make: () => structuredClone(value) })) },
  { weight: 2, arbitrary: text.map((value) => ({ name: JSON.stringify(value), make: () => value })) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }).map((value) => ({ name: JSON.stringify(value), make: () => structuredClone(value) })) }
)

interface Spoiling { place: number, how: 'replace' | 'delete' | 'rename' | 'add', value: Maker, name: string }

/** Where and how a JSON value is spoiled. */
export const spoilings: Arbitrary<Spoiling[]> = fc.array(fc.record({
  place: fc.nat(9999),
  how: fc.constantFrom('replace' as const, 'replace' as const, 'delete' as const, 'rename' as const, 'add' as const),
  value: spoiler,
  name: text
}), { minLength: 1, maxLength: 4 })

/** A copy of a JSON value with some places spoiled. */
export function spoil (valid: object, how: Spoiling[]): any {
  const root = { value: structuredClone(valid) as any }
  for (const spoiling of how) {
    const places = placesIn(root)
    if (places.length === 0) break
    const { holder, key } = places[spoiling.place % places.length]!
    const value = holder[key]
    if (spoiling.how === 'replace') set(holder, key, spoiling.value.make())
    else if (spoiling.how === 'delete') delete holder[key]
    else if (spoiling.how === 'rename') {
      delete holder[key]
      set(holder, spoiling.name, value)
    } else if (typeof value === 'object' && value !== null) set(value, spoiling.name, spoiling.value.make())
  }
  return root.value
}

/** Every member of every object, as far down as valid values go. */
function placesIn (value: any, depth = 0): { holder: any, key: string }[] {
  if (typeof value !== 'object' || value === null || depth > 12) return []
  return Object.keys(value).flatMap((key) => [{ holder: value, key }, ...placesIn(value[key], depth + 1)])
}

/** Sets an own member, whatever its name, as JSON.parse does. */
function set (holder: any, key: string, value: unknown): void {
  if (Array.isArray(holder) && !/^\d{1,3}$/.test(key)) return
  Object.defineProperty(holder, key, { value, writable: true, enumerable: true, configurable: true })
}

/** A flat query string or form, as `parameters(request)` often passes it on. */
export const query: Arbitrary<Record<string, unknown>> = fc.oneof(
  fc.array(fc.tuple(text, fc.oneof(text, fc.array(text, { maxLength: 2 }), fc.double(), fc.boolean(), fc.constant(null))), { maxLength: 12 }).map(fromEntries),
  fc.integer({ min: 45, max: 80 }).map((count) => fromEntries(Array.from({ length: count }, (_, index) => [`q${index}`, 'v'])))
)

function fromEntries (entries: [string, unknown][]): Record<string, unknown> {
  const object = {}
  for (const [key, value] of entries) set(object, key, value)
  return object
}

const validQaMode = { token: 'WyI0MTAwMDEiXQ', listedActivitiesOnly: true, evaluateAsTrueAudienceIds: ['1', 2], evaluateAsFalseAudienceIds: [3], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] }

/** The value of an `at_qa_mode` cookie that is probably a wrong one. */
export const qaCookie: Arbitrary<string> = fc.oneof(
  headerText,
  spoilings.map((how) => {
    try {
      return encoded(JSON.stringify(spoil(validQaMode, how)) ?? '')
    } catch {
      return encoded('['.repeat(1300))
    }
  }),
  fc.tuple(fc.nat(300), text).map(([place, junk]) => encoded(JSON.stringify(validQaMode).slice(0, place) + junk + JSON.stringify(validQaMode).slice(place)))
)
