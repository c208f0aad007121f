/**
 * On-device decisions beside Adobe's engine: for thousands of generated requests, all shipped artifacts and generated ones,
 * every field of the answers and notifications. What is not the same must be in `differences.json`, judged by the code below.
 */
/* eslint-disable no-template-curly-in-string -- macros of Target */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { mock } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { ArtifactKeeper } from '../../lib/decisioning/artifact-keeper.ts'
import { decide } from '../../lib/decisioning/decide.ts'
import { Dice, type Json } from '../client/cases.ts'
import { createArtifact, createRequest, createTime, namesOf, shipped, shippedArtifacts } from './cases.ts'
import { sleep } from '../support/wait.ts'
import { FULL } from '../support/full.ts'

const require = createRequire(import.meta.url)
const createEngine = require('@adobe/target-decisioning-engine')
const { parseDomainPsl } = require('@adobe/target-tools')
const sdk = require('@adobe/target-nodejs-sdk')

const CASES = Number(process.env.DIFFERENTIAL_CASES ?? (FULL ? 20_000 : 4000))
const SEED = Number(process.env.DIFFERENTIAL_SEED ?? 20261123)
const CLIENT = 'acmeclient'
const LOCATION_HINT = '28'

const domains = new Map<string, object>()

/** What the SDK passes to the engine, with a memory: it walks the whole Public Suffix List each time. */
function parseDomainImpl (host: string): object {
  let names = domains.get(host)
  if (names === undefined) domains.set(host, names = parseDomainPsl(host) as object)
  return names
}

/** One request, and what both sides made of it. */
interface Case {
  artifact: Json
  request: Json
  reference: Outcome
  ours: Outcome
}

interface Outcome {
  /** The answer, or why there is none. */
  response?: Json
  error?: Error
  notifications: Json[]
}

/** One place where the two sides differ. */
interface Difference {
  path: string
  reference: unknown
  ours: unknown
}

/** Details of all that a request asks for. */
const detailsOf = ({ execute = {}, prefetch = {} }: Json): Json[] =>
  [execute.pageLoad, prefetch.pageLoad, ...execute.mboxes ?? [], ...prefetch.mboxes ?? [], ...prefetch.views ?? []].filter(Boolean)

/** A parameter that has a value and is the first part of another's name. */
const isBothValueAndBranch = (parameters: Json = {}) => Object.entries(parameters).some(([name, value]) =>
  value !== '' && Object.keys(parameters).some((other) => other.startsWith(`${name}.`) && !other.includes('..') && !other.endsWith('.')))

const text = JSON.stringify

/** Judges of the accepted differences, by their `field` in `differences.json`. */
const judges: Record<string, (difference: Difference, testCase: Case) => boolean> = {
  'parameters, a value and a branch': (_, { request, reference }) =>
    reference.error instanceof TypeError && detailsOf(request).some(({ parameters }) => isBothValueAndBranch(parameters)),
  'a condition that cannot be evaluated': (_, { reference }) =>
    reference.error instanceof TypeError && /\n +at jsonLogic\.apply/.test(reference.error.stack!),
  'trace …context.referring': ({ path }, { request }) =>
    path.includes('/context/referring/') && detailsOf(request).some(({ address }) => address !== undefined),
  'trace of a page load, or of an mbox without a match': ({ path, ours }, { reference }) => {
    const [, mode, at] = /^\/response\/(\w+)\/(?:mboxes\/(\d+)|pageLoad)\/trace\/(?:evaluatedCampaignTargets|campaigns)\/\d+\/(?:unm|m|n)\w+\/\d+$/.exec(path) ?? []
    return ours === undefined && mode !== undefined && (at === undefined || reference.response![mode].mboxes[Number(at)].options === undefined)
  },
  'referring, with an own address': (_, { artifact, request }) => text(artifact).includes('"referring.') && text(request).includes('"referringUrl"'),
  'context.geo in lower case': (_, { request }) => ['countryCode', 'stateCode', 'city'].some((name) => /\p{Ll}/u.test(String(request.context?.geo?.[name] ?? ''))),
  'parameters, __proto__': (_, { request }) => text(request).includes('__proto__'),
  'names of JavaScript\'s own members': (_, { request, reference }) => reference.error instanceof TypeError && text(request).includes('"name":"constructor"'),
  'paths to JavaScript\'s own members': (_, { artifact }) => text(artifact).includes('mbox.constructor'),
  'macros of JavaScript\'s own members': ({ path }, { artifact }) => path.endsWith('/content') && text(artifact).includes('${constructor}'),
  'context.clientHints.platform': (_, { request }) => request.context?.clientHints?.platform === 'constructor',
  'status, remoteMboxes with a custom globalMbox': ({ path }, { artifact }) =>
    artifact.globalMbox === 'own-global-mbox' && (path === '/response/status' || path.startsWith('/remoteMboxes')),
  'an unknown operator': (_, { reference }) => /Unrecognized operation/.test(String(reference.error)),
  'reduce, where the start is computed': (_, { artifact }) => text(artifact).includes('"reduce"') && text(artifact).includes('"startsAt"'),
  'page.domain of newer public suffixes': (_, { request }) => /\.aem\.live/.test(request.context?.address?.url),
  'an order that is decided on-device': ({ path, reference }, { request }) =>
    reference === undefined && /(?:^\/notifications\/\d+$|\/notifications?\/(?:\d+\/)?(?:order|product|parameters|profileParameters)$)/.test(path) && detailsOf(request).some(({ order }) => order !== undefined),
  'a rule without metrics': (_, { reference }) => /reading 'length'/.test(String(reference.error)),
  'a rule whose meta lacks audience.ids': (_, { reference }) => /reading 'forEach'/.test(String(reference.error)),
  'content with a member __proto__': (_, { artifact }) => text(artifact).includes('"__proto__"')
}

const accepted: Json[] = JSON.parse(readFileSync(new URL('../differences.json', import.meta.url), 'utf8'))
  .filter(({ area }: Json) => area === 'decisioning')
const used = new Map<string, number>()

/** Both sides read the artifact at the same moment, though not in the same millisecond: ours counts from the request for it. */
const isSameMoment = (reference: unknown, ours: unknown) => Math.abs(Date.parse(String(reference)) - Date.parse(String(ours))) < 10_000

function compare (reference: unknown, ours: unknown, path = ''): Difference[] {
  if (Object.is(reference, ours)) return []
  if (path.endsWith('/artifactLastRetrieved') && isSameMoment(reference, ours)) return []
  if (typeof reference !== 'object' || typeof ours !== 'object' || reference === null || ours === null || Array.isArray(reference) !== Array.isArray(ours)) {
    return [{ path, reference, ours }]
  }
  const names = new Set([...Object.keys(reference), ...Object.keys(ours)])
  return [...names].flatMap((name) => compare((reference as Json)[name], (ours as Json)[name], `${path}/${name}`))
}

/** Both sides as JSON, without the ids that are random on both. */
function comparable ({ response, error, notifications }: Outcome): Json {
  if (error !== undefined) return { error: 'failed' }
  const { remoteMboxes, remoteViews, ...rest } = response!
  const text = JSON.stringify({ response: rest, remoteMboxes, remoteViews, notifications })
  return JSON.parse(text, function (name, value) {
    return this.type === 'display' && (name === 'impressionId' || name === 'id') && typeof value === 'string' ? 'random' : value
  })
}

function judge (testCase: Case): Difference[] {
  return compare(comparable(testCase.reference), comparable(testCase.ours)).filter((difference) => {
    const field = accepted.find(({ field }) => judges[field]?.(difference, testCase))?.field
    if (field !== undefined) used.set(field, (used.get(field) ?? 0) + 1)
    return field === undefined
  })
}

/** Adobe's engine, or its whole SDK, with one artifact. */
interface Reference {
  decide (request: Json): Promise<Outcome>
}

async function createReference (artifact: Json): Promise<Reference> {
  const sent = new Map<string, Json[]>()
  const engine = await createEngine({
    client: CLIENT,
    organizationId: 'org',
    pollingInterval: 0,
    artifactPayload: artifact,
    telemetryEnabled: false,
    parseDomainImpl,
    sendNotificationFunc: async ({ request }: Json) => { sent.set(request.experienceCloud.marker, request.notifications) }
  }, { addArtifactRequestEntry () {} })
  let count = 0
  return {
    async decide (request) {
      const marker = `m${count++}`
      try {
        const response = await engine.getOffers({ request: { ...structuredClone(request), experienceCloud: { marker } }, targetLocationHint: LOCATION_HINT, sessionId: 's' })
        return { response, get notifications () { return sent.get(marker) ?? [] } }
      } catch (error) {
        return { error: error as Error, notifications: [] }
      }
    }
  }
}

/** Whether the place in an activity is random: no id to go by, but one that keeps a new `tntId` from being made. */
const isPlacedAtRandom = ({ marketingCloudVisitorId, tntId, thirdPartyId }: Json = {}) =>
  !marketingCloudVisitorId && !tntId?.split('.')[0] && !thirdPartyId

function decideHere (keeper: ArtifactKeeper, request: Json, now: number): Outcome {
  const { response, remoteMboxes, remoteViews, notifications, orders } = decide(keeper.current!, request as any, {
    client: CLIENT, now, locationHint: LOCATION_HINT, trace: { sessionId: 's', artifact: keeper.trace }
  })
  return { response: { ...response, remoteMboxes, remoteViews }, notifications: [...notifications, ...orders] }
}

async function keep (artifact: Json): Promise<ArtifactKeeper> {
  const keeper = new ArtifactKeeper({
    client: CLIENT,
    organizationId: 'org',
    artifactPayload: artifact,
    pollingInterval: 0,
    fetch: async () => { throw new Error('nothing is to be fetched') },
    logger: { debug () {}, error () {} }
  })
  keeper.start()
  await keeper.ready()
  return keeper
}

t.test('on-device decisions are those of Adobe\'s engine', async (t) => {
  const dice = new Dice(SEED)
  const shippedOnes = shippedArtifacts().map((name) => [name, shipped(name)] as const)
  const generatedOnes = Array.from({ length: 40 }, (_, i) => [`generated ${i}`, createArtifact(dice)] as const)
  const artifacts = [...shippedOnes, ...generatedOnes]
  const share = Math.ceil(CASES / artifacts.length)
  mock.timers.enable({ apis: ['Date'], now: 0 })
  t.teardown(() => mock.timers.reset())

  for (const [name, artifact] of artifacts) {
    const reference = await createReference(structuredClone(artifact))
    const keeper = await keep(artifact)
    const names = namesOf(artifact)
    const placesMatter = JSON.stringify(artifact).includes('"allocation"')
    const cases: Case[] = []
    while (cases.length < share) {
      const request = createRequest(dice, names)
      const now = createTime(dice)
      mock.timers.setTime(now)
      const theirs = await reference.decide(request)
      // Ids that both make at random must be the same, for the same place in each activity.
      const { id = request.id, requestId = request.requestId } = theirs.response ?? {}
      if (isPlacedAtRandom(id) && (placesMatter || request.trace)) continue
      const before = structuredClone(request)
      cases.push({ artifact, request, reference: theirs, ours: decideHere(keeper, { ...request, id, requestId }, now) })
      if (!isDeepStrictEqual(request, before)) t.fail('the request was changed')
    }
    await sleep(20)
    const left = cases.map((testCase) => ({ testCase, differences: judge(testCase) })).filter(({ differences }) => differences.length > 0)
    for (const { testCase, differences } of left.slice(0, 3)) {
      t.comment(name, JSON.stringify(testCase.request), testCase.reference.error, differences.slice(0, 5))
    }
    t.equal(left.length, 0, `${name}: ${cases.length} requests`)
  }
})

t.test('they are those of the whole Node SDK', async (t) => {
  const dice = new Dice(SEED + 1)
  for (const name of ['artifact.json', 'artifacts/TEST_ARTIFACT_PROPERTIES.json', 'artifacts/TEST_ARTIFACT_VIEWS.json', 'artifacts/TEST_ARTIFACT_PARAMS.json']) {
    const artifact = shipped(name)
    const keeper = await keep(artifact)
    const sent: Json[] = []
    let client: any
    await new Promise((resolve) => {
      client = sdk.create({
        client: CLIENT,
        organizationId: 'org@AdobeOrg',
        decisioningMethod: 'on-device',
        artifactPayload: structuredClone(artifact),
        pollingInterval: 0,
        targetLocationHint: LOCATION_HINT,
        telemetryEnabled: false,
        events: { clientReady: resolve },
        fetchApi: async (_url: string, { body }: { body: string }) => {
          sent.push(JSON.parse(body))
          return new Response('{"status":200}')
        }
      })
    })
    const names = namesOf(artifact)
    const answered: Array<{ asked: Json, request: Json, response: Json, meta: Json }> = []
    while (answered.length < 100) {
      const asked: Json = { ...createRequest(dice, names), trace: undefined }
      // The SDK refuses these.
      if ([asked.execute, asked.prefetch].some((mode) => mode && !mode.pageLoad && !mode.mboxes && !mode.views?.length)) continue
      if (!asked.execute && !asked.prefetch) continue
      if (isPlacedAtRandom(asked.id) || detailsOf(asked).some(({ parameters, address }) => isBothValueAndBranch(parameters) || address?.referringUrl)) continue
      // By which its notifications are found.
      asked.id.customerIds = [{ id: `case-${answered.length}`, integrationCode: 'case', authenticatedState: 'unknown' }]
      answered.push({ asked, ...await client.getOffers({ request: asked }) })
    }
    await sleep(100)
    for (const { asked, request, response, meta } of answered) {
      const [{ id }] = asked.id.customerIds
      const notifications = sent.find((call) => call.id.customerIds[0].id === id)?.notifications ?? []
      // The clocks differ by milliseconds. No shipped artifact looks that closely.
      const ours = decideHere(keeper, { ...request, id: response.id }, notifications[0]?.timestamp ?? Date.now())
      const theirs = { response: { ...response, remoteMboxes: meta.remoteMboxes, remoteViews: meta.remoteViews }, notifications }
      t.same(judge({ artifact, request: asked, reference: theirs, ours }), [], `${name}: ${text(asked).slice(0, 160)}`)
    }
  }
})

const rule = (condition: unknown, content: unknown = '<b>', more: Json = {}): Json => ({
  ruleKey: 'r1',
  meta: { 'activity.id': 1, 'audience.ids': [] },
  condition,
  consequence: { name: 'hero', options: [{ type: typeof content === 'string' ? 'html' : 'json', content, eventToken: 'e' }], metrics: [], ...more }
})

const artifactOf = (rules: Json[], more: Json = {}): Json => ({
  version: '1.0.0',
  globalMbox: 'target-global-mbox',
  responseTokens: [],
  localMboxes: ['hero', 'constructor'],
  localViews: ['constructor'],
  remoteMboxes: [],
  remoteViews: [],
  meta: {},
  rules: { mboxes: { hero: rules }, views: {} },
  ...more
})

const requestOf = (details: Json = {}, context: Json = {}): Json => ({
  id: { tntId: 'visitor' }, requestId: 'r', context: { channel: 'web', ...context }, prefetch: { mboxes: [{ name: 'hero', index: 0, ...details }] }
})

/** Differences that generated requests do not meet, each with a request that does. */
const fixedCases: Array<[field: string, artifact: Json, request: Json]> = [
  ['referring, with an own address', artifactOf([rule({ '==': [{ var: 'referring.domain' }, 'example.org'] })]),
    requestOf({ address: { url: 'http://example.com/', referringUrl: 'http://example.org/' } })],
  ['context.geo in lower case', artifactOf([rule({ '==': [{ var: 'geo.city' }, 'SAN FRANCISCO'] })]), requestOf({}, { geo: { city: 'San Francisco' } })],
  ['parameters, __proto__', artifactOf([rule({ '==': [{ var: 'mbox.polluted' }, 'yes'] })]), requestOf({ parameters: { '__proto__.polluted': 'yes' } })],
  ['names of JavaScript\'s own members', artifactOf([]), requestOf({ name: 'constructor' })],
  ['names of JavaScript\'s own members', artifactOf([]), { ...requestOf(), prefetch: { views: [{ name: 'constructor' }] } }],
  ['paths to JavaScript\'s own members', artifactOf([rule({ '!!': { var: 'mbox.constructor' } })]), requestOf()],
  ['macros of JavaScript\'s own members', artifactOf([rule(true, '${constructor}')]), requestOf()],
  ['context.clientHints.platform', artifactOf([rule({ '==': [{ var: 'user.platform' }, 'constructor'] })]), requestOf({}, { clientHints: { platform: 'constructor' } })],
  ['status, remoteMboxes with a custom globalMbox',
    artifactOf([], { globalMbox: 'own-global-mbox', localMboxes: ['own-global-mbox'] }), { ...requestOf(), prefetch: { pageLoad: {} } }],
  ['a condition that cannot be evaluated', artifactOf([rule({ '>': [{ var: 'mbox' }, 1] })]), requestOf({ parameters: { toString: 'x', valueOf: 'y' } })],
  ['an unknown operator', artifactOf([rule({ regex: ['a', 'b'] })]), requestOf()],
  ['reduce, where the start is computed',
    artifactOf([rule({ '==': [{ reduce: [{ var: 'nothing' }, { var: 'current' }, { cat: ['startsAt', 1] }] }, 'startsAt1'] })]), requestOf()],
  ['page.domain of newer public suffixes', artifactOf([rule({ '==': [{ var: 'page.domain' }, 'shop.aem.live'] })]),
    requestOf({}, { address: { url: 'https://shop.aem.live/' } })],
  ['a rule without metrics', artifactOf([rule(true, '<b>', { options: [{ type: 'html', content: '<b>' }], metrics: undefined })]), requestOf()],
  ['a rule whose meta lacks audience.ids', artifactOf([{ ...rule(true), activityId: '1', meta: { activityId: 1 } }]), requestOf()],
  ['content with a member __proto__', artifactOf([rule(true, JSON.parse('{"__proto__":{"a":1}}'))]), requestOf()]
]

t.test('the other accepted differences, each by a case of its own', async (t) => {
  t.teardown(() => { delete (Object.prototype as Json).polluted })
  for (const [field, artifact, request] of fixedCases) {
    const ours = decideHere(await keep(artifact), request, 0)
    const reference = await (await createReference(structuredClone(artifact))).decide(request)
    // What the engine did to Object.prototype.
    delete (Object.prototype as Json).polluted
    const testCase = { artifact, request, reference, ours }
    const differences = compare(comparable(reference), comparable(ours))
    t.not(differences.length, 0, `${field}: there is a difference`)
    t.ok(differences.every((difference) => judges[field]!(difference, testCase)), `${field}: it is the accepted one`)
    used.set(field, (used.get(field) ?? 0) + 1)
  }
})

t.test('the list of differences is complete and has nothing more', async (t) => {
  t.same(accepted.map(({ field }) => field).sort(), Object.keys(judges).sort())
  for (const { field } of accepted) t.ok(used.get(field), `${field}: ${used.get(field) ?? 0} times`)
})
