/** The types of the client: what they accept, refuse and return. `npm run test:types` checks them. */
import { expect, test } from 'tstyche'
import { createTargetClient, schemas, type GetOffersOptions, type TargetClient, type TargetResult } from '../../lib/index.ts'

const target = createTargetClient({ client: 'acmeclient', organizationId: '1234567890@AdobeOrg', telemetryEnabled: true })

// Every field of a request, as the Delivery API has it.
const everything: GetOffersOptions = {
  request: {
    requestId: 'r-1',
    impressionId: 'i-1',
    id: { tntId: 't-1', thirdPartyId: 'p-1', marketingCloudVisitorId: '1', customerIds: [{ id: 'u-1', integrationCode: 'crm', authenticatedState: 'authenticated' }] },
    environmentId: 1,
    property: { token: 'token-1' },
    trace: { authorizationToken: 'token-2', usage: { a: 'b' } },
    context: {
      channel: 'mobile',
      mobilePlatform: { deviceName: 'd', deviceType: 'phone', platformType: 'android', version: '1' },
      application: { id: 'a', name: 'n', version: '1' },
      screen: { width: 1, height: 1, colorDepth: 24, pixelRatio: 2, orientation: 'portrait' },
      window: { width: 1, height: 1 },
      browser: { host: 'h', language: 'en', webGLRenderer: 'w' },
      address: { url: 'u', referringUrl: 'r' },
      geo: { ipAddress: '1.2.3.4', latitude: 1, longitude: 1, countryCode: 'US', stateCode: 'CA', city: 'c', zip: 'z' },
      timeOffsetInMinutes: 60,
      userAgent: 'a',
      clientHints: { mobile: true, model: 'm', platform: 'p', platformVersion: '1', browserUAWithMajorVersion: 'b', browserUAWithFullVersion: 'f', architecture: 'x', bitness: '64' },
      beacon: false
    },
    experienceCloud: { audienceManager: { locationHint: 1, blob: 'b' }, analytics: { supplementalDataId: 's', logging: 'client_side', trackingServer: 't', trackingServerSecure: 't' } },
    execute: {
      pageLoad: { address: { url: 'u' }, parameters: { a: 'b' }, profileParameters: { c: 'd' }, order: { id: 'o', total: 1, purchasedProductIds: ['p'] }, product: { id: 'p', categoryId: 'c' } },
      mboxes: [{ name: 'hero', index: 1, parameters: { a: 'b' } }, { name: 'banner' }]
    },
    prefetch: { pageLoad: {}, views: [{ name: 'home', key: 'k' }], mboxes: [{ name: 'hero' }] },
    telemetry: { entries: [{ requestId: 'r-0', mode: 'edge', features: { executeMboxCount: 1 }, request: { dns: 1 } }] },
    notifications: [{ id: 'n-1', timestamp: 1, type: 'display', impressionId: 'i', tokens: ['t'], mbox: { name: 'hero', state: 's' } }],
    qaMode: { token: 't', listedActivitiesOnly: true, evaluateAsTrueAudienceIds: [1], evaluateAsFalseAudienceIds: [2], previewIndexes: [{ activityIndex: 1, experienceIndex: 1 }] },
    preview: { token: 't' }
  },
  visitorCookie: 'MCMID|1',
  targetCookie: 'session#s#1',
  targetLocationHint: '35',
  consumerId: 'page',
  customerIds: { userid: { id: 'u', authState: 1 }, other: 'o' },
  sessionId: 's-1',
  decisioningMethod: 'server-side',
  timeout: 100,
  signal: new AbortController().signal
}

test('a call returns what it says, as a promise or to a callback', async () => {
  expect(target.getOffers(everything)).type.toBe<Promise<TargetResult>>()
  const { response, meta, targetCookie } = await target.getOffers(everything)
  expect(meta.decisioningMethod).type.toBeAssignableTo<'server-side' | 'on-device' | 'hybrid'>()
  expect(response.execute!.mboxes![0]!.options![0]!.type).type.toBeAssignableTo<schemas.OptionType | undefined>()
  expect(targetCookie.maxAge).type.toBe<number>()
  expect(target.getOffers(everything, (error, result) => [error?.code, result?.response])).type.toBe<void>()
  const attributes = await target.getAttributes(['flags'])
  expect(attributes.getValue).type.toBeCallableWith('flags', 'a', 'b')
})

test('a call with an unknown or mistyped member does not compile', () => {
  const { getOffers, sendNotifications } = target
  expect(getOffers).type.toBeCallableWith({ request: { context: { channel: 'web' } } })
  // A request is required.
  expect(getOffers).type.not.toBeCallableWith({})
  expect(getOffers).type.not.toBeCallableWith({ request: { excute: {} } })
  // An mbox has a name.
  expect(getOffers).type.not.toBeCallableWith({ request: { execute: { mboxes: [{ index: 1 }] } } })
  expect(getOffers).type.not.toBeCallableWith({ request: { context: { channel: 'tv' } } })
  expect(getOffers).type.not.toBeCallableWith({ request: { context: { channel: 'web', screen: { widht: 1 } } } })
  // Parameters are strings.
  expect(getOffers).type.not.toBeCallableWith({ request: { execute: { pageLoad: { parameters: { size: 1 } } } } })
  expect(getOffers).type.not.toBeCallableWith({ request: { preview: {} }, customerIds: { userid: { id: 'u', authState: 3 } } })
  expect(getOffers).type.not.toBeCallableWith({ request: { preview: {} }, targetCokie: '' })
  expect(sendNotifications).type.not.toBeCallableWith({ request: { notifications: [{ id: 'n', timestamp: 1, type: 'hover' }] } })
})

test('an option of Adobe\'s SDK that is replaced does not compile', () => {
  expect(createTargetClient).type.toBeCallableWith({ client: 'a', organizationId: 'o' })
  expect(createTargetClient).type.not.toBeCallableWith({ client: 'a', organizationId: 'o', fetchApi: fetch })
  expect(target).type.toBe<TargetClient>()
})
