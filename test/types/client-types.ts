/** What the compiler must take and must refuse. Never run: docs/migration.test.ts compiles it. */
import { createTargetClient, schemas, type GetOffersOptions } from '../../lib/index.ts'

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

export async function taken (): Promise<string | undefined> {
  const { response, meta, targetCookie } = await target.getOffers(everything)
  const method: 'server-side' | 'on-device' | 'hybrid' = meta.decisioningMethod
  const type: schemas.OptionType | undefined = response.execute?.mboxes?.[0]?.options?.[0]?.type
  const nothing: void = target.getOffers(everything, (error, result) => [error?.code, result?.response])
  const attributes = await target.getAttributes(['flags'])
  return [method, type, nothing, attributes.getValue('flags', 'a', 'b'), targetCookie.maxAge].join()
}

export async function refused (): Promise<void> {
  // @ts-expect-error -- a request is required
  await target.getOffers({})
  // @ts-expect-error -- no such member
  await target.getOffers({ request: { excute: {} } })
  // @ts-expect-error -- an mbox has a name
  await target.getOffers({ request: { execute: { mboxes: [{ index: 1 }] } } })
  // @ts-expect-error -- no such channel
  await target.getOffers({ request: { context: { channel: 'tv' } } })
  // @ts-expect-error -- no such member, deep inside
  await target.getOffers({ request: { context: { channel: 'web', screen: { widht: 1 } } } })
  // @ts-expect-error -- parameters are texts
  await target.getOffers({ request: { execute: { pageLoad: { parameters: { size: 1 } } } } })
  // @ts-expect-error -- no such type of notification
  await target.sendNotifications({ request: { notifications: [{ id: 'n', timestamp: 1, type: 'hover' }] } })
  // @ts-expect-error -- no such state
  await target.getOffers({ request: { preview: {} }, customerIds: { userid: { id: 'u', authState: 3 } } })
  // @ts-expect-error -- no such option
  await target.getOffers({ request: { preview: {} }, targetCokie: '' })
  // @ts-expect-error -- an option of the SDK that is replaced
  createTargetClient({ client: 'a', organizationId: 'o', fetchApi: fetch })
}
