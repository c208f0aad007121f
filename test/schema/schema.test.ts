import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import Fastify from 'fastify'
import t from 'tap'
import * as schemas from '../../lib/schema/index.ts'

const all = Object.entries(schemas)

/** A Fastify app with its default ajv, one route a schema; the checked value comes back as ajv left it. */
async function routes (entries: Record<string, TSchema>) {
  const app = Fastify()
  for (const [name, schema] of Object.entries(entries)) {
    app.post(`/${name}`, { schema: { body: Type.Object({ value: schema }) } }, async (request) => request.body)
  }
  await app.ready()
  return {
    app,
    async check (name: string, value: unknown) {
      const answer = await app.inject({ method: 'POST', url: `/${name}`, payload: { value } as object })
      return { ok: answer.statusCode === 200, value: answer.json().value as unknown, message: answer.json().message as string }
    }
  }
}

t.test('every schema compiles as request and as response of a Fastify route, without a word from ajv', async (t) => {
  const warned: unknown[][] = []
  for (const method of ['log', 'warn', 'error'] as const) {
    t.intercept(console, method, { value: (...args: unknown[]) => { warned.push(args) } })
  }
  const app = Fastify({ ajv: { customOptions: { allErrors: true } } })
  t.teardown(() => app.close())
  for (const [name, schema] of all) {
    app.post(`/${name}`, { schema: { body: schema, response: { 200: schema } } }, async (request) => request.body)
  }
  await app.ready()
  t.ok(all.length > 60)
  t.strictSame(warned, [])
  t.strictSame(all.filter(([, schema]) => !('description' in schema)).map(([name]) => name), [], 'all have a description')
})

t.test('the schemas are plain JSON schema', async (t) => {
  t.strictSame(JSON.parse(JSON.stringify(schemas.ChannelType)).enum, ['mobile', 'web'])
  t.equal(JSON.parse(JSON.stringify(schemas.ChannelType)).type, 'string')
  t.notMatch(JSON.stringify(all), /"format"|"\$ref"|"allOf"/)
})

const text = (length: number) => 'x'.repeat(length)
const list = <T>(length: number, item: (at: number) => T) => Array.from({ length }, (_, at) => item(at))
const named = (count: number) => Object.fromEntries(list(count, (at) => [`name${at}`, 'value']))
const customer = { id: '1', integrationCode: 'crm', authenticatedState: 'authenticated' }
const context = { channel: 'web' }
const notification = { id: '1', type: 'display', timestamp: 1 }

/** By schema, values on the right side of each limit, then values just over it. */
const limits: Record<string, { good: unknown[], bad: unknown[] }> = {
  ChannelType: { good: ['web', 'mobile'], bad: ['Web', 'web ', 'webmobile', ''] },
  MobilePlatformType: { good: ['ios', 'android'], bad: ['windows'] },
  DeviceType: { good: ['phone', 'tablet'], bad: ['tv'] },
  ScreenOrientationType: { good: ['portrait', 'landscape'], bad: ['square'] },
  AuthenticatedState: { good: ['unknown', 'authenticated', 'logged_out'], bad: ['0'] },
  LoggingType: { good: ['server_side', 'client_side'], bad: ['both'] },
  MetricType: { good: ['click', 'display'], bad: ['hover'] },
  OptionType: { good: ['html', 'json', 'redirect', 'dynamic', 'actions'], bad: ['text'] },
  DecisioningMethod: { good: ['server-side', 'on-device', 'hybrid'], bad: ['server_side'] },
  ExecutionMode: { good: ['edge', 'local'], bad: ['remote'] },
  MobilePlatform: {
    good: [{ deviceType: 'phone', platformType: 'ios', version: text(128) }],
    bad: [{ deviceType: 'phone' }, { platformType: 'ios' }, { deviceType: 'phone', platformType: 'ios', version: text(129) }]
  },
  Application: {
    good: [{}, { id: text(250), name: text(250), version: text(128) }],
    bad: [{ id: text(251) }, { name: text(251) }, { version: text(129) }]
  },
  Screen: { good: [{ width: 1.5, orientation: 'portrait' }], bad: [{ width: 'wide' }] },
  Browser: { good: [{ host: 'example.com', language: 'en' }], bad: [{ host: {} }] },
  Address: {
    good: [{ url: text(4096), referringUrl: text(4096) }],
    bad: [{ url: text(4097) }, { referringUrl: text(4097) }]
  },
  Geo: {
    good: [
      ...['127.0.0.1', '255.255.255.255', ' 8.8.8.8 ', '::1', '::', '1::', '1::8', '2001:db8::8a2e:370:7334', '::ffff:127.0.0.1',
        '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:7::', 'fe80::1%eth0', '::2:3:4:5:6:7:8'].map((ipAddress) => ({ ipAddress })),
      { latitude: 59.9, longitude: 10.7, countryCode: 'NO', stateCode: '03', city: text(50), zip: text(12) }
    ],
    bad: [
      ...['', 'localhost', '256.1.1.1', '1.2.3', '1.2.3.4.5', '01.2.3.4', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', ':::', '12345::',
        '::g', '127.0.0.1 evil', '127.0.0.1:80'].map((ipAddress) => ({ ipAddress })),
      { countryCode: 'NOR' }, { countryCode: 'N' }, { stateCode: '' }, { stateCode: text(4) }, { city: text(51) }, { zip: text(13) }
    ]
  },
  ClientHints: { good: [{ mobile: true, bitness: '64' }], bad: [{ mobile: 'maybe' }] },
  Context: { good: [context, { ...context, beacon: true, timeOffsetInMinutes: -60 }], bad: [{}, { channel: 'tv' }, { ...context, geo: [] }] },
  CustomerId: {
    good: [customer, { ...customer, id: text(128), integrationCode: text(50) }],
    bad: [{ ...customer, id: text(129) }, { ...customer, integrationCode: text(51) }, { id: '1' }, { ...customer, authenticatedState: '1' }]
  },
  VisitorId: {
    good: [{}, { tntId: text(128), thirdPartyId: text(256), marketingCloudVisitorId: text(128), customerIds: list(50, () => customer) }],
    bad: [{ tntId: text(129) }, { thirdPartyId: text(257) }, { marketingCloudVisitorId: text(129) }, { customerIds: list(51, () => customer) }]
  },
  AudienceManager: {
    good: [{ locationHint: 1, blob: text(1024) }, { blob: 'x' }],
    bad: [{ locationHint: 0 }, { blob: '' }, { blob: text(1025) }]
  },
  AnalyticsRequest: {
    good: [{ supplementalDataId: '7D3AA246CC99FD7F-1B3DD2E75595498E', logging: 'client_side', trackingServer: 'a.example' }],
    bad: ['7D3AA246CC99FD7F-1B3DD2E75595498', '7D3AA246CC99FD7F-1B3DD2E75595498EE', '7D3AA246CC99FD7F1B3DD2E75595498EE', 'ZD3AA246CC99FD7F-1B3DD2E75595498E']
      .map((supplementalDataId) => ({ supplementalDataId }))
  },
  Parameters: {
    good: [{}, named(100), { [text(128)]: text(5000) }, { empty: '' }, { 'user.profile.x': '1', profile: '1', '<æ>\n': '1', 'a b': '1' }],
    bad: [named(101), { [text(129)]: '' }, { x: text(5001) }, { '': '' }, { ' ': '' }, { 'profile.age': '1' }, { x: {} }]
  },
  ProfileParameters: {
    good: [{}, named(50), { [text(128)]: text(256) }, { tier: '' }],
    bad: [named(51), { [text(129)]: '' }, { x: text(257) }, { '': '' }, { 'profile.age': '1' }, { x: {} }]
  },
  Order: {
    good: [{ id: text(250), total: 0, purchasedProductIds: ['1', text(50)], time: '2026-11-23T20:48:00.123Z', experienceLocalId: 2147483647 },
      { time: '2026-11-23T20:48:00+01:00', duplicate: false, outlier: true }],
    bad: [{ id: text(251) }, { total: -0.01 }, { purchasedProductIds: [''] }, { purchasedProductIds: [text(51)] }, { time: 'yesterday' },
      { experienceLocalId: -1 }, { experienceLocalId: 2147483648 }]
  },
  Product: {
    good: [{ id: text(128), categoryId: text(256) }],
    bad: [{ id: text(129) }, { categoryId: text(257) }, { id: '' }, { categoryId: '' }]
  },
  RequestDetails: { good: [{}, { parameters: { a: '1' }, profileParameters: { age: '30' } }], bad: [{ parameters: [] }, { profileParameters: { 'profile.age': '1' } }] },
  MboxRequest: { good: [{ name: 'hero' }, { name: text(250), index: 0, parameters: {} }], bad: [{}, { name: text(251) }, { index: 1 }, { name: '' }, { name: 'hero', index: 1.5 }] },
  ViewRequest: { good: [{}, { name: text(128), key: text(512) }], bad: [{ name: text(129) }, { key: text(513) }] },
  NotificationMbox: { good: [{ name: text(250), state: 's' }], bad: [{ name: text(251) }, { name: '' }] },
  NotificationView: { good: [{ name: text(128), key: text(512) }], bad: [{ name: text(129) }, { key: text(513) }] },
  Notification: {
    good: [notification, { ...notification, id: text(200), impressionId: text(128), tokens: ['a', 'b'] }],
    bad: [{ type: 'display', timestamp: 1 }, { id: '1', timestamp: 1 }, { id: '1', type: 'display' }, { ...notification, id: text(201) },
      { ...notification, impressionId: text(129) }, { ...notification, timestamp: 1.5 }, { ...notification, parameters: { ' ': '' } }]
  },
  Property: { good: [{ token: 'a' }], bad: [{}] },
  Trace: { good: [{ authorizationToken: 'a', usage: { sdk: 'x' } }], bad: [{}, { authorizationToken: 'a', usage: { sdk: {} } }] },
  QAModePreviewIndex: { good: [{ activityIndex: 1 }, { activityIndex: 1, experienceIndex: 1 }], bad: [{ activityIndex: 0 }, { experienceIndex: 0 }] },
  QAMode: { good: [{ token: 'a', previewIndexes: [{ activityIndex: 1 }] }], bad: [{ previewIndexes: [] }, { evaluateAsTrueAudienceIds: ['x'] }] },
  DeliveryRequest: {
    good: [{ context }, { context, requestId: text(128), impressionId: text(128), environmentId: 1, telemetry: { entries: [{ execution: 1.5 }] } },
      { context, execute: { pageLoad: {}, mboxes: [{ name: 'a' }] }, prefetch: { views: [{}], pageLoad: {}, mboxes: [{ name: 'a' }] } }],
    bad: [{}, { context, requestId: text(129) }, { context, impressionId: text(129) }, { context, execute: { mboxes: [{}] } },
      { context, prefetch: { mboxes: [{}] } }, { context, notifications: [{}] }, { context, property: {} }, { context, environmentId: 1.5 }]
  },
  DeliveryQuery: {
    good: [{ imsOrgId: 'a@AdobeOrg', sessionId: 's' }, { imsOrgId: 'a', sessionId: text(128), version: '2.0' }],
    bad: [{ imsOrgId: 'a' }, { sessionId: 's' }, { imsOrgId: ' ', sessionId: 's' }, ...['', 'a b', 'a?', 'a/b', '{a', 'a}', 'a\n', text(129)].map((sessionId) => ({ imsOrgId: 'a', sessionId }))]
  },
  View: { good: [{ name: text(128), key: text(512) }], bad: [{ name: text(129) }, { key: text(513) }] },
  DeliveryResponse: {
    good: [{}, { status: 200, execute: { mboxes: [{ index: 0, name: 'a', options: [{ type: 'json', content: { a: [1] }, responseTokens: { list: ['a'] } }] }] } }],
    bad: [{ status: 'ok' }, { execute: { mboxes: {} } }, { prefetch: { views: [{ options: [{ type: 'text' }] }] } }]
  },
  UnexpectedError: { good: [{ status: 400, message: 'no' }], bad: [{ status: 400 }, { message: 'no' }] }
}

t.test('limits hold at the boundary, for TypeBox and for ajv as Fastify sets it up', async (t) => {
  const { app, check } = await routes(schemas as unknown as Record<string, TSchema>)
  t.teardown(() => app.close())
  for (const [name, { good, bad }] of Object.entries(limits)) {
    const schema = (schemas as unknown as Record<string, TSchema>)[name] as TSchema
    const wrong: unknown[] = []
    for (const value of good) {
      const answer = await check(name, value)
      if (!Value.Check(schema, value)) wrong.push({ refused: value, by: 'TypeBox' })
      if (!answer.ok) wrong.push({ refused: value, by: 'ajv', message: answer.message })
      else if (!isDeepStrictEqual(answer.value, value)) wrong.push({ changed: value, into: answer.value })
    }
    for (const value of bad) {
      if (Value.Check(schema, value)) wrong.push({ taken: value, by: 'TypeBox' })
      if ((await check(name, value)).ok) wrong.push({ taken: value, by: 'ajv' })
    }
    t.strictSame(wrong, [], `${name}: ${good.length} on the right side of its limits, ${bad.length} beyond`)
  }
})

t.test('a real request with unknown members passes unchanged', async (t) => {
  const { app, check } = await routes({ DeliveryRequest: schemas.DeliveryRequest })
  t.teardown(() => app.close())
  const request = {
    requestId: '1',
    future: { a: [1, null] },
    id: { tntId: 'a.35_0', future: 1 },
    context: { channel: 'web', address: { url: 'https://example.com/?a=b', future: true }, future: null },
    execute: { mboxes: [{ index: 0, name: 'hero', parameters: { 'deep.name': '1', constructor: '1', 'a|b': '1' }, future: 'x' }] },
    notifications: [{ id: '1', type: 'click', timestamp: 1e12, tokens: ['one'], mbox: { name: 'hero', future: 1 } }]
  }
  t.ok(Value.Check(schemas.DeliveryRequest, request))
  t.strictSame((await check('DeliveryRequest', request)).value, request)
})

t.test('an answer survives ajv with coercion and Fastify\'s serializer, whatever the content is', async (t) => {
  const contents = ['<b>html</b>', { express: true, nested: { list: [1] } }, [{ type: 'setHtml', selector: 'h1', content: 'x' }], ['one'], [], '1', { content: { color: 'red' } }]
  const response = {
    status: 200,
    future: 1,
    prefetch: {
      views: [{ id: 1, name: 'product', options: contents.map((content) => ({ type: 'json', content, future: 1 })), metrics: [{ type: 'click', eventToken: 'a', future: 1 }] }],
      mboxes: [{ index: 1, name: 'a', state: 's', options: [{ type: 'actions', content: [{ type: 'setStyle', content: { color: 'red' } }], responseTokens: { a: ['b'], n: 1 } }] }]
    }
  }
  const app = Fastify()
  t.teardown(() => app.close())
  app.post('/', { schema: { body: schemas.DeliveryResponse, response: { 200: schemas.DeliveryResponse } } }, async (request) => request.body as typeof response)
  const answer = await app.inject({ method: 'POST', url: '/', payload: response })
  t.equal(answer.statusCode, 200)
  t.strictSame(answer.json(), response)
  t.ok(Value.Check(schemas.DeliveryResponse, response))
})

t.test('patterns reject hostile text of 200,000 characters without backtracking', async (t) => {
  const spaces = ' '.repeat(200_000)
  // Quadratic backtracking over 200,000 characters would take minutes and run into the test's own timeout.
  t.notOk(Value.Check(schemas.Geo, { ipAddress: `1.1.1.1${spaces}x` }))
  t.notOk(Value.Check(schemas.Geo, { ipAddress: `::1%a${spaces}\nx` }))
  t.notOk(Value.Check(schemas.Geo, { ipAddress: `${spaces}` }))
  t.notOk(Value.Check(schemas.Parameters, { [`${spaces}x`]: '' }))
  t.notOk(Value.Check(schemas.DeliveryQuery, { imsOrgId: spaces, sessionId: 's' }))
})

/** Where Adobe's OpenAPI files of the Delivery API lie, if at all: `TARGET_OPENAPI=<folder> npx tap test/schema/schema.test.ts`. */
const openapi = process.env['TARGET_OPENAPI']
const examples = openapi === undefined ? '' : join(openapi, 'delivery', 'examples')

t.test('Adobe\'s own examples pass', { skip: existsSync(examples) ? false : 'no OpenAPI files: set TARGET_OPENAPI' }, async (t) => {
  const files = readdirSync(examples)
  t.ok(files.length > 0)
  for (const file of files) {
    // One of them has a comma too many.
    const example = JSON.parse(readFileSync(join(examples, file), 'utf8').replace(/,(?=\s*[}\]])/g, ''))
    const schema: TObject = file.startsWith('response') ? schemas.DeliveryResponse : schemas.DeliveryRequest
    t.strictSame([...Value.Errors(schema, example)], [], file)
  }
})
