/**
 * On-device decisions: Adobe's own cases, each part beside what Adobe's engine is made of, hostile artifacts and visitors, and
 * the life of an artifact whose server misbehaves.
 */
/* eslint-disable no-template-curly-in-string -- macros of Target */
import { AsyncLocalStorage } from 'node:async_hooks'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isDeepStrictEqual } from 'node:util'
import t, { type Test } from 'tap'
import { hashUtf16, allocate, allocationId } from '../../lib/decisioning/allocation.ts'
import { Log } from '../../lib/diagnostics.ts'
import { ArtifactKeeper, type ArtifactSettings } from '../../lib/decisioning/artifact-keeper.ts'
import { userFacts } from '../../lib/decisioning/browser.ts'
import { compileArtifact } from '../../lib/decisioning/compile.ts'
import { compileCondition } from '../../lib/decisioning/conditions.ts'
import { decide, type Decision } from '../../lib/decisioning/decide.ts'
import { Facts, RequestFacts } from '../../lib/decisioning/facts.ts'
import { GeoLookup, needsGeo } from '../../lib/decisioning/geo.ts'
import { deobfuscate } from '../../lib/decisioning/obfuscation.ts'
import { parameterFacts } from '../../lib/decisioning/parameters.ts'
import { remoteDependencies } from '../../lib/decisioning/remote.ts'
import { loadSuffixes, Url } from '../../lib/decisioning/url.ts'
import { Delivery } from '../../lib/delivery/delivery.ts'
import { Dice, type Json } from '../client/cases.ts'
import { createAgent, createArtifact, createBrands, createLogic, createParameters, createRequest, createUrl, namesOf, shipped } from './cases.ts'
import { FULL } from '../support/full.ts'
import { bytes, FaultServer, http, type Behaviour } from '../support/fault-server.ts'
import { until } from '../support/wait.ts'

const require = createRequire(import.meta.url)
/** Of the generated cases, those that `npm test` makes. */
const SHARE = FULL ? 1 : 0.3
const tools = require('@adobe/target-tools')
const jsonLogic = require('json-logic-js')

const silent = { debug () {}, error () {} }

/** An artifact with rules for mboxes, and more. */
const artifactOf = (mboxes: Record<string, Json[]>, more: Json = {}): Json => ({
  version: '1.0.0',
  globalMbox: 'target-global-mbox',
  responseTokens: [],
  localMboxes: Object.keys(mboxes),
  localViews: [],
  remoteMboxes: [],
  remoteViews: [],
  meta: {},
  rules: { mboxes, views: {} },
  ...more
})

const rule = (condition: unknown, content: unknown = '<b>', more: Json = {}): Json => ({
  ruleKey: 'r1',
  meta: { 'activity.id': 1, 'activity.name': 'Summer', 'audience.ids': [] },
  condition,
  consequence: {
    name: 'hero',
    options: [{ type: typeof content === 'string' ? 'html' : 'json', content, eventToken: 'e' }],
    metrics: [{ type: 'click', eventToken: 'c', selector: '#buy' }],
    ...more
  }
})

const visitor = { id: { tntId: 'visitor.28_0' }, context: { channel: 'web' as const } }
const asking = (details: Json = {}, context: Json = {}): any =>
  ({ ...visitor, context: { ...visitor.context, ...context }, requestId: 'r', execute: { mboxes: [{ name: 'hero', index: 0, ...details }] } })

async function decideBy (artifact: Json, request: any, report?: (problem: string) => void): Promise<Decision> {
  return decide(await compileArtifact(artifact, report && { report }), request, { client: 'acmeclient' })
}

const contentOf = ({ response }: Decision) => response.execute?.mboxes?.[0]?.options?.[0]?.content

const network = new Delivery({
  pool: { connections: 10, keepAliveTimeout: 4000, maxAge: 300_000, allowH2: false, maxResponseSize: 1e6, maxQueue: 10 },
  breaker: false,
  logger: silent
})
t.teardown(() => network.close())

const SPECIALS: Record<string, (value: unknown) => boolean> = {
  'expect.any(Object)': (value) => typeof value === 'object' && value !== null,
  'expect.any(String)': (value) => typeof value === 'string',
  'expect.any(Number)': (value) => typeof value === 'number'
}

/** Where `actual` has not all that Adobe's case expects; lists must be of the same length. */
function lacking (expected: unknown, actual: unknown, path = ''): string[] {
  const special = SPECIALS[String(expected)]
  if (special !== undefined) return special(actual) ? [] : [path]
  if (typeof expected !== 'object' || expected === null) return Object.is(expected, actual) ? [] : [`${path}: ${JSON.stringify(actual)} is not ${JSON.stringify(expected)}`]
  if (typeof actual !== 'object' || actual === null) return [`${path} is missing`]
  if (Array.isArray(expected) && expected.length !== (actual as unknown[]).length) return [`${path} has another length`]
  return Object.keys(expected).flatMap((name) => lacking((expected as Json)[name], (actual as Json)[name], `${path}/${name}`))
}

t.before(loadSuffixes)

t.test('the official cases of Adobe\'s engine', async (t) => {
  const models = readdirSync(new URL('../../node_modules/@adobe/target-decisioning-engine/test/schema/models/', import.meta.url))
  let count = 0
  for (const model of models) {
    const suite = shipped(`models/${model}`)
    for (const [name, testCase] of Object.entries(suite.test as Record<string, Json>)) {
      count += 1
      const server = await new FaultServer((socket) => socket.write(http('200 OK', JSON.stringify(testCase.mockGeo ?? {})))).listen()
      const keeper = new ArtifactKeeper({
        ...suite.conf,
        ...testCase.conf,
        artifactPayload: shipped(`artifacts/${testCase.artifact ?? suite.artifact}.json`),
        fetch: (url, options) => network.get(url, options),
        logger: silent
      } as ArtifactSettings)
      keeper.start()
      await keeper.ready()

      const { request, sessionId, locationHint } = testCase.input
      const { year, month, date, hours = 0, minutes = 0, seconds = 0 } = testCase.mockDate ?? {}
      const geo = new GeoLookup({ artifactLocation: `${server.origin}/rules.json`, fetch: (url, options) => network.get(url, options) })
      const context = needsGeo(keeper.current!, request.context) ? { ...request.context, geo: await geo.locate(request.context.geo, { timeout: 5000 }) } : request.context
      const { response, notifications } = decide(keeper.current!, { ...request, context }, {
        client: (testCase.conf ?? suite.conf).client,
        locationHint,
        trace: { sessionId, artifact: keeper.trace },
        ...(year !== undefined && { now: Date.UTC(year, month, date, hours, minutes, seconds) })
      })
      if (testCase.output !== undefined) t.same(lacking(testCase.output, JSON.parse(JSON.stringify(response))), [], `${model} ${name}`)
      if (testCase.notificationOutput !== undefined) {
        // Telemetry makes no call of its own here, and is none of the engine's business.
        t.same(lacking(testCase.notificationOutput?.request.notifications ?? [], notifications), [], `${model} ${name}`)
      }
      keeper.stop()
      await server.close()
    }
  }
  t.equal(count, 66)
})

t.test('JSON-Logic is that of json-logic-js', async (t) => {
  const dice = new Dice(4)
  let values = 0
  let failures = 0
  for (let i = 0; i < 30_000 * SHARE; i++) {
    const logic = createLogic(dice, 1 + dice.int(4))
    const request = new RequestFacts(
      { channel: 'web', address: { url: createUrl(dice) }, userAgent: createAgent(dice), geo: dice.chance(0.5) ? { countryCode: 'US', city: 'bar' } : {} },
      { tntId: `v${i}` }, 'acmeclient', Date.UTC(2026, 1, 1 + dice.int(28), dice.int(24), dice.int(60))
    )
    const facts = new Facts(request, { parameters: createParameters(dice) })
    facts.activity = { id: '7', place: 0 }
    const outcome = (evaluate: () => unknown) => {
      try {
        return { value: evaluate() }
      } catch {
        return { value: 'failed' }
      }
    }
    const theirs = outcome(() => jsonLogic.apply(logic, facts.toObject()))
    const ours = outcome(() => compileCondition(logic)(facts))
    if (!isDeepStrictEqual(ours, theirs)) t.same(ours, theirs, JSON.stringify(logic))
    if (theirs.value === 'failed') failures += 1
    else values += 1
  }
  t.ok(values > 20_000 * SHARE && failures > 30 * SHARE, `${values} values, ${failures} failures`)
})

t.test('JSON-Logic evaluates empty, missing and mixed operands to fixed values', async (t) => {
  const facts = new Facts(new RequestFacts({ channel: 'web', address: { url: 'http://Shop.example.com/A?b#c' } }, { tntId: 'v' }, 'acme', 0), { parameters: { foo: 'Bar', 'a.b': '1', empty: '' } })
  const cases: Array<[logic: unknown, value: unknown]> = [
    [{ and: [] }, undefined], [{ or: [] }, undefined], [{ if: [] }, null], [{ if: [0, 1, 0, 2] }, null], [{ '?:': [[], 1, 2] }, 2],
    [{ '<': [1, 2, 3] }, true], [{ '<=': [1, 1, 0] }, false], [{ '!': [[]] }, true], [{ '!!': ['0'] }, true], [{ '!': 0 }, true],
    [{ '==': [1, '1'] }, true], [{ '===': [1, '1'] }, false], [{ '!=': [null, undefined] }, false], [{ '!==': [1, 2] }, true],
    [{ in: ['a', 'bar'] }, true], [{ in: ['a', null] }, false], [{ in: [1, [1, 2]] }, true], [{ in: ['a', ''] }, false], [{ in: ['', 'a'] }, true], [{ in: ['a', 5] }, false],
    [{ cat: ['a', 1, null, [2, 3]] }, 'a12,3'], [{ cat: 'x' }, 'x'], [{ substr: ['jsonlogic', -5] }, 'logic'], [{ substr: ['jsonlogic', 4, -2] }, 'log'], [{ substr: ['json', 0, -9] }, ''],
    [{ '+': '3.5x' }, 3.5], [{ '+': [] }, 0], [{ '-': '3' }, -3], [{ '-': [5, 2] }, 3], [{ '*': ['7'] }, '7'], [{ '/': [6, 4] }, 1.5], [{ '%': [7, 4] }, 3],
    [{ min: [3, 1] }, 1], [{ max: [] }, -Infinity], [{ merge: [1, [2, [3]]] }, [1, 2, [3]]], [{ log: 'quiet' }, 'quiet'],
    [{ var: 'mbox.foo_lc' }, 'bar'], [{ var: 'mbox.a.b' }, '1'], [{ var: ['mbox.none', 'otherwise'] }, 'otherwise'], [{ var: 'mbox.none.deeper' }, null], [{ var: 'mbox.foo.length' }, 3],
    [{ var: ['mbox.empty', 'otherwise'] }, ''], [{ var: 'page.domain_lc' }, 'example.com'], [{ var: 'page.subdomain' }, 'shop'], [{ var: 'referring.url' }, ''],
    [{ map: [[1, 2], { '*': [{ var: '' }, 2] }] }, [2, 4]], [{ filter: [[1, 2, 3], { '>': [{ var: '' }, 1] }] }, [2, 3]],
    [{ reduce: [[1, 2, 3], { '+': [{ var: 'current' }, { var: 'accumulator' }] }, { '+': [4, 0] }] }, 10], [{ reduce: ['x', 1] }, null],
    [{ all: [[], true] }, false], [{ none: [[], true] }, true], [{ some: [[0, 1], { var: '' }] }, true], [{ map: [{ var: 'nothing' }, 1] }, []],
    [{ map: [[{ a: 1, b: 2 }], { var: 'a' }] }, [1]],
    [{ missing: ['mbox.foo', 'mbox.none', 'mbox.empty'] }, ['mbox.none', 'mbox.empty']], [{ missing_some: [1, ['mbox.foo', 'mbox.none']] }, []], [{ missing: [] }, []],
    [{ a: 1, b: 2 }, { a: 1, b: 2 }], [{}, {}], [[{ '+': [1, 1] }, 'x'], [2, 'x']], ['text', 'text'], [undefined, undefined]
  ]
  for (const [logic, value] of cases) {
    t.strictSame(compileCondition(logic)(facts), value, JSON.stringify(logic))
    t.strictSame(jsonLogic.apply(logic, facts.toObject()), value, `json-logic-js: ${JSON.stringify(logic)}`)
  }
  const operators = readFileSync(require.resolve('json-logic-js'), 'utf8').matchAll(/^ {4}"([^"]+)": function|\bop ===? "([^"]+)"/gm)
  for (const [, listed, special] of operators) {
    t.doesNotThrow(() => compileCondition({ [listed ?? special!]: [{ var: 'mbox.foo' }, 1] }), `operator ${listed ?? special}`)
  }
})

t.test('allocation is that of the edge', async (t) => {
  const dice = new Dice(8)
  for (let i = 0; i < 5000; i++) {
    const parts = Array.from({ length: 1 + dice.int(4) }, () => Array.from({ length: dice.int(20) }, () => String.fromCharCode(dice.int(dice.pick([128, 65536])))).join(''))
    if (hashUtf16(...parts) !== tools.hashUnencodedChars(parts.join(''))) t.equal(hashUtf16(...parts), tools.hashUnencodedChars(parts.join('')), JSON.stringify(parts))
  }
  for (const { client, activity, visitor, allocation } of JSON.parse(readFileSync(new URL('../vectors/decisioning/allocation.json', import.meta.url), 'utf8'))) {
    t.equal(allocate(client, activity, visitor), allocation, `${client} ${activity} ${visitor}`)
  }
  for (let bucket = 0; bucket < 10_000; bucket++) {
    if (bucket / 100 !== Math.round((bucket / 10_000) * 100 * 100) / 100) t.fail(`bucket ${bucket}`)
  }
  t.equal(allocationId({ tntId: 'a.28_0', marketingCloudVisitorId: 'b', thirdPartyId: 'c' }), 'b')
  t.equal(allocationId({ tntId: 'a.28_0', thirdPartyId: 'c' }), 'a')
  t.equal(allocationId({ tntId: '.28_0', thirdPartyId: 'c' }), 'c')
  t.match(allocationId({}), /^[0-9a-f-]{36}$/)
  t.match(allocationId({ tntId: 5, thirdPartyId: {} } as any), /^[0-9a-f-]{36}$/, 'what is no text is no id')
})

t.test('URLs and browsers are those of Adobe\'s tools', async (t) => {
  const dice = new Dice(15)
  for (let i = 0; i < 3000 * SHARE; i++) {
    const address = createUrl(dice)
    const url = new Url(address)
    const { host = '', path = '', query = '', anchor = '' } = tools.parseURI(address) ?? {}
    const theirs = { path, query, fragment: anchor, ...tools.parseDomainPsl(host) }
    const ours = { path: url.path, query: url.query, fragment: url.fragment, subdomain: url.subdomain, domain: url.domain, topLevelDomain: url.topLevelDomain }
    if (!isDeepStrictEqual(ours, theirs)) t.same(ours, theirs, address)

    const agent = createAgent(dice)
    const hints = dice.chance(0.5) ? undefined : { browserUAWithMajorVersion: createBrands(dice), ...(dice.chance(0.5) && { browserUAWithFullVersion: createBrands(dice) }) }
    const { name, version } = tools.browserFromUserAgentOrClientHintUA(agent, hints)
    const seen = userFacts(agent, hints)
    if (seen.browserType !== name.toLowerCase() || seen.browserVersion !== version) t.same(seen, { name, version }, agent)
  }
  const random = (length: number) => Array.from({ length }, () => dice.pick([...'ab.:/?#@[]%&= \t\\-_é', '//', 'http:', 'www.', '.com'])).join('')
  for (let i = 0; i < 20_000 * SHARE; i++) {
    const address = random(dice.int(14))
    const { host = '', path = '', query = '', anchor = '' } = tools.parseURI(address) ?? {}
    const url = new Url(address)
    const ours = [url.path, url.query, url.fragment]
    if (!isDeepStrictEqual(ours, [path, query, anchor])) t.same(ours, [path, query, anchor], address)
    if (!host.includes('.') && url.domain !== host) t.equal(url.domain, host, address)
  }
  t.same(userFacts(undefined, null), { browserType: 'unknown', platform: 'unknown', locale: 'en', browserVersion: -1 })
})

t.test('no visitor input blocks the event loop', async () => {
  // Where time grows with the square, these take minutes and more.
  const many = (text: string) => text.repeat(200_000)
  for (const agent of ['version/1', 'version/', 'mobile/', 'trident', 'rv:1', 'Android 1', 'chrome/', 'firefox/a', 'edg', 'ms ie ', 'version/1 mobile/a ', 'a', '.']) {
    userFacts(many(agent), { browserUAWithFullVersion: many('Chrome";v="'), platform: many('x') })
  }
  for (const part of ['a', '.', '/', ':', '@', 'a@', 'a:b', '//', '?', '#', '.a', 'http:', '/a.b', '_']) {
    new Url(many(part)).toObject()
    new Url(`http://${many(part)}`).toObject()
  }
  parameterFacts({ [many('a.')]: '1', [many('a.') + 'b']: '2', [many('.')]: '3' })
})

t.test('parameter names reach no prototype', async (t) => {
  const names = ['__proto__', 'constructor', 'prototype', 'hasOwnProperty', 'toString', 'valueOf', '__defineGetter__']
  for (const first of names) {
    for (const name of [first, `${first}.polluted`, `a.${first}.polluted`, `${first}.${first}.polluted`, `constructor.prototype.${first}`, `a.b.${first}`]) {
      const facts = parameterFacts(JSON.parse(`{${JSON.stringify(name)}: "Yes"}`))
      t.equal(Object.getPrototypeOf(facts), Object.prototype)
      t.equal(({} as Json).polluted, undefined)
      let place: any = facts
      for (const part of name.split('.')) place = Object.getOwnPropertyDescriptor(place, part)?.value
      t.equal(place, 'Yes', `${name} is a name like any other`)
      const decision = await decideBy(artifactOf({ hero: [rule({ '==': [{ var: `mbox.${name}_lc` }, 'yes'] })] }), asking({ parameters: JSON.parse(`{${JSON.stringify(name)}: "Yes"}`) }))
      t.equal(contentOf(decision), '<b>')
    }
    const nobody = await decideBy(artifactOf({ hero: [rule({ '!!': { var: `mbox.${first}` } })] }), asking())
    t.equal(contentOf(nobody), undefined, `mbox.${first} is not there unless it was sent`)
  }
  t.same(parameterFacts({ a: 'X', a_lc: 'other' }), { a: 'X', a_lc: 'x', a_lc_lc: 'x' }, 'a twin goes over a parameter of its name')
  t.same(parameterFacts({ a: '1', 'a.b': '2' }), { a: '1', a_lc: '1' }, 'a value before its branch')
  t.same(parameterFacts({ 'a.b': '2', a: '1' }), { a: '1', a_lc: '1' }, 'and after it')
  t.same(parameterFacts({ 'a..b': 'x', '.a': 'x', 'a.': 'x', '': 'x' }), {
    'a..b': 'x', 'a..b_lc': 'x', '.a': 'x', '.a_lc': 'x', 'a.': 'x', 'a._lc': 'x', '': 'x', _lc: 'x'
  }, 'names with a dot too many are not taken apart')
  for (const none of [undefined, null, 'text', 5, []]) t.same(parameterFacts(none), {})
  const given = { a: { b: 'X' } }
  t.same(parameterFacts(given), { a: { b: 'X', b_lc: 'x' } })
  t.same(given, { a: { b: 'X' } }, 'the caller\'s objects are not changed')
})

t.test('a request of any shape does not throw', async (t) => {
  const dice = new Dice(5)
  const junk = [null, undefined, 0, 1.5, 'x', '', true, [], {}, [null], ['x'], { a: null }, { toString: 1 }, { length: 5 }, JSON.parse('{"__proto__":{"x":1}}')]
  let answered = 0
  for (let a = 0; a < 10; a++) {
    const artifact = createArtifact(dice)
    const compiled = await compileArtifact(artifact)
    const names = namesOf(artifact)
    for (let i = 0; i < 1000 * SHARE; i++) {
      const request = createRequest(dice, names)
      const places: Array<[holder: Json, name: string]> = [[request, 'context']]
      const walk = (value: Json) => {
        for (const name of Object.keys(value)) {
          places.push([value, name])
          if (typeof value[name] === 'object' && value[name] !== null) walk(value[name])
        }
      }
      walk(request)
      const [holder, name] = dice.pick(places)
      holder[name] = dice.pick(junk)
      if (typeof decide(compiled, request as any, { client: 'acme' }).response.status === 'number') answered += 1
    }
  }
  t.equal(answered, 10_000 * SHARE)

  let deep: Json = {}
  for (let i = 0; i < 100_000; i++) deep = { deep }
  const request = { ...asking({ parameters: { deep }, product: deep }), trace: {} }
  t.equal(contentOf(await decideBy(artifactOf({ hero: [rule({ '!': { var: 'mbox.deep.deep.deep' } }, 'no'), rule(true, 'yes')] }), request)), 'yes')
})

t.test('answers may be changed, the artifact stays', async (t) => {
  const content = { a: { b: [1, { c: 2 }] } }
  const actions = [{ type: 'setHtml', selector: '#a', content: 'Hi ${mbox.name}', data: { x: [1] } }, { type: 'setStyle', content: { color: 'red' } }]
  const artifact = artifactOf({
    hero: [rule(true, content, { analytics: { payload: { pe: 'tnt' } } })],
    'target-global-mbox': [rule(true, '<i>${hero}</i>'), { ...rule(true, actions), ruleKey: 'r2' }]
  }, { responseTokens: ['activity.id', 'geo.city'], remoteMboxes: ['far'], remoteViews: ['away'] })
  artifact.rules.mboxes['target-global-mbox'][1].consequence.options[0].type = 'actions'
  artifact.rules.views = { home: [rule(true, content, { name: 'home' })] }
  artifact.localViews = ['home']
  const before = structuredClone(artifact)
  const compiled = await compileArtifact(artifact)
  const request: any = {
    ...asking({ parameters: { hero: 'x' } }, { geo: { city: 'BERN' } }),
    trace: {},
    prefetch: { mboxes: [{ name: 'hero' }, { name: 'target-global-mbox' }, { name: 'far' }], views: [{}], pageLoad: {} }
  }
  const once = () => decide(compiled, structuredClone(request), { client: 'acme', now: 0 })
  const ids = (decision: Decision) => JSON.parse(JSON.stringify(decision), (name, value) => name === 'impressionId' || (name === 'id' && typeof value === 'string') ? '' : value)
  const first = once()
  const expected = ids(first)
  const spoil = (value: any): void => {
    for (const name of Object.keys(value)) {
      if (typeof value[name] === 'object' && value[name] !== null) spoil(value[name])
      else value[name] = 'spoilt'
    }
    if (Array.isArray(value)) value.push('spoilt')
    else value.spoilt = true
  }
  spoil(first)
  t.same(ids(once()), expected)
  t.same(artifact, before)
  t.equal(expected.response.execute.mboxes[0].options[0].content.a.b[1].c, 2)
  t.equal(expected.response.prefetch.pageLoad.options[1].content[0].content, 'Hi target-global-mbox')
  t.equal(expected.response.execute.mboxes[0].options[0].responseTokens['geo.city'], 'BERN')
})

t.test('macros name what the rule and the request have of their own', async (t) => {
  const render = async (text: string, details: Json = {}) => contentOf(await decideBy(artifactOf({ hero: [rule(true, text)] }), asking(details)))
  t.equal(await render('${campaign.name} ${activity.id} ${mbox.name} ${index} ${mbox.user} ${user}', { parameters: { user: '$& Ann' } }), 'Summer 1 hero 0 $& Ann $& Ann')
  t.equal(await render('${a.b.user.first} ${Campaign.name} ${none} ${ user } ${}', { parameters: { 'user.first': 'Ann' } }), 'Ann ${Campaign.name} ${none} ${ user } ${}')
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty', 'mbox.constructor']) t.equal(await render(`\${${name}}`), `\${${name}}`)
  t.equal(await render('${parameters} ${toString}', { parameters: { toString: 'x' } }), '[object Object] x', 'nothing of the request is called')
})

t.test('hostile artifacts are refused or harmless', async (t) => {
  const nested = (depth: number, wrap: (inner: unknown) => unknown, inner: unknown = true) => {
    for (let i = 0; i < depth; i++) inner = wrap(inner)
    return inner
  }
  const good = rule(true, 'good')
  const problems: string[] = []
  const first = async (hostile: Json) => {
    problems.length = 0
    return contentOf(await decideBy(artifactOf({ hero: [{ ...hostile, ruleKey: 'hostile' }, good] }), asking({ parameters: { n: '1' } }), (problem) => problems.push(problem)))
  }
  t.equal(await first(rule(nested(100_000, (inner) => ({ and: [inner] })))), 'good', 'a condition without a bottom')
  t.match(problems, [/hostile.*never match.*deep/])
  t.equal(await first(rule(nested(100_000, (inner) => [inner]))), 'good', 'a list without a bottom')
  t.equal(await first(rule(true, nested(100_000, (inner) => ({ a: inner })))), 'good', 'content without a bottom')
  t.equal(await first(rule(true, JSON.parse('{"a":{"__proto__":{"polluted":1}}}'))), 'good', 'content that would change a prototype')
  t.equal(await first(rule(JSON.parse('{"__proto__":[1]}'))), 'good', 'an operator __proto__')
  t.equal(await first(rule({ constructor: [1] })), 'good', 'an operator constructor')
  t.equal(await first(rule({ 'cat.constructor': ['return process'] })), 'good', 'a path as an operator')
  t.equal(await first(rule({ or: [false, { regex: ['(a+)+$', { var: 'mbox.n' }] }] })), 'good', 'an operator that JSON-Logic does not have')
  t.match(problems, [/hostile.*never match.*unknown operator "regex"/])
  t.equal(await first(rule({ missing_some: [1, { var: 'nothing' }] })), 'good', 'a condition that throws for this visitor')
  t.match(problems, [/hostile.*cannot be evaluated for every visitor: TypeError/])
  t.equal(await first(rule({ '*': [] })), 'good', 'a constant part that cannot be computed')
  t.equal(await first(rule({ in: ['x', { cat: Array.from({ length: 200_000 }, () => 'y') }] })), 'good', 'a very wide operation')
  t.equal(await first(rule({ '==': [{ var: 'mbox.n' }, 'x'.repeat(5_000_000)] })), 'good', 'a huge text')
  t.equal(await first(rule({ '==': [{ var: 'a.'.repeat(100_000) }, 1] })), 'good', 'a path without an end')
  const wide = await first(rule({ or: [...Array.from({ length: 20_000 }, (_, i) => ({ '==': [i, { var: 'mbox.n2' }] })), { '==': ['1', { var: 'mbox.n' }] }] }, 'wide'))
  t.equal(wide, 'wide', 'an audience of twenty thousand values is no attack')

  const seen: string[] = []
  const twice = await compileArtifact(artifactOf({ hero: [rule({ regex: 1 }), rule({ regex: 2 }), rule({ missing_some: [1, { var: 'n' }] }), good] }), { report: (problem) => seen.push(problem) })
  for (let i = 0; i < 3; i++) t.equal(contentOf(decide(twice, asking(), { client: 'acme' })), 'good')
  t.equal(seen.length, 2, 'each problem is told once')
})

t.test('an invalid artifact is refused', async (t) => {
  const good = artifactOf({ hero: [rule(true)] })
  const changed = (change: (artifact: any) => void) => {
    const artifact = structuredClone(good)
    change(artifact)
    return artifact
  }
  const cases: Array<[name: string, artifact: unknown, message: RegExp]> = [
    ['null', null, /object/], ['a list', [], /version|object/i], ['text', '{}', /object/], ['an empty object', {}, /version/],
    ['another major version', changed((a) => { a.version = '2.0.0' }), /`artifact\.version` must be a format version 1\.x/], ['a version like it', changed((a) => { a.version = '10.0.0' }), /`artifact\.version` must be a format version 1\.x/],
    ['no rules', changed((a) => { delete a.rules }), /`artifact\.rules/], ['mboxes that are a list', changed((a) => { a.rules.mboxes = [] }), /`artifact\.rules/],
    ['rules that are no list', changed((a) => { a.rules.mboxes.hero = {} }), /`artifact\.rules\.mboxes\.hero` must be a list/],
    ['a rule that is null', changed((a) => { a.rules.mboxes.hero.push(null) }), /`artifact\.rules\.mboxes\.hero\[1\]` must be an object/],
    ['options that are no list', changed((a) => { a.rules.mboxes.hero[0].consequence.options = {} }), /hero\[0\]\.consequence\.options/],
    ['a rule without meta', changed((a) => { delete a.rules.mboxes.hero[0].meta }), /hero\[0\]\.meta` is required/],
    ['an activity id that is an object', changed((a) => { a.rules.mboxes.hero[0].meta['activity.id'] = {} }), /activity\.id/],
    ['property tokens that are text', changed((a) => { a.rules.mboxes.hero[0].propertyTokens = 'x' }), /propertyTokens/],
    ['names that are no text', changed((a) => { a.localMboxes = [1] }), /localMboxes/]
  ]
  for (const [name, artifact, message] of cases) await t.rejects(compileArtifact(artifact), { code: 'FST_TARGET_ARTIFACT', message }, name)
  t.equal((await compileArtifact(changed((a) => { a.rules = {} }))).mboxes.size, 0, 'no rules for anything is an artifact')
})

t.test('large artifacts are compiled in slices', async (t) => {
  const rules = shipped('artifact.json').rules.mboxes['target-global-mbox'].filter((rule: Json) => JSON.stringify(rule).length < 5000)
  const mboxes = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`mbox${i}`, Array.from({ length: 50 }, (_, k) => rules[(i + k) % rules.length])]))
  let turns = 0
  let going = true
  const turn = () => {
    turns += 1
    if (going) setImmediate(turn)
  }
  setImmediate(turn)
  const compiled = await compileArtifact(artifactOf(mboxes))
  going = false
  t.equal([...compiled.mboxes.values()].flat().length, 10_000)
  // A slice is 5 ms of work, and all of it takes some hundred.
  t.ok(turns >= 10, `${turns} turns of the event loop`)
})

t.test('properties, priorities, views and the visitor', async (t) => {
  const artifact = artifactOf({
    hero: [{ ...rule(true, 'a'), propertyTokens: ['p1'] }, { ...rule(true, 'b'), propertyTokens: [] }]
  })
  t.equal(contentOf(await decideBy(artifact, asking())), 'b')
  t.equal(contentOf(await decideBy(artifact, { ...asking(), property: { token: 'p1' } })), 'a')
  t.equal(contentOf(await decideBy(artifact, { ...asking(), property: { token: 'p2' } })), 'b')

  const nothing = await decideBy(artifact, asking({ name: 'nothing' }))
  t.same(nothing.response.execute?.mboxes, [{ name: 'nothing', index: 0 }])
  t.same(nothing.notifications, [])

  const stranger = await decideBy(artifact, { context: { channel: 'web' }, execute: { mboxes: [{ name: 'hero' }] } })
  t.match(stranger.response.id?.tntId, /^[0-9a-f-]{36}$/)
  t.match(stranger.response.requestId, /^[0-9a-f-]{36}$/)
  t.notOk('index' in stranger.response.execute!.mboxes![0]!)
  const hinted = decide(await compileArtifact(artifact), { context: { channel: 'web' } } as any, { client: 'acme', locationHint: '35' })
  t.match(hinted.response.id?.tntId, /^[0-9a-f-]{36}\.35_0$/)
  const customer = { customerIds: [{ id: 'c', integrationCode: 'crm', authenticatedState: 'authenticated' as const }] }
  t.same((await decideBy(artifact, { ...asking(), id: customer })).response.id, customer, 'a logged-in customer needs no tntId')
  t.equal((await decideBy(artifact, {})).response.status, 200, 'an empty request is no reason to throw')
})

t.test('artifacts of 2020 name the activity beside the meta', async (t) => {
  const half = (from: number, to: number, content: string) => ({
    ...rule({ '<': [from, { var: 'allocation' }, to] }, content), activityId: '334694', meta: { activityId: 334694, audienceIds: [] }
  })
  const compiled = await compileArtifact(artifactOf({ hero: [half(0, 50, 'A'), half(50, 100, 'B')] }))
  for (let i = 0; i < 100; i++) {
    const shown = contentOf(decide(compiled, { ...asking(), id: { thirdPartyId: `v${i}` } }, { client: 'acme' }))
    t.equal(shown, allocate('acme', '334694', `v${i}`) < 50 ? 'A' : 'B')
  }
})

t.test('impressions: once for each token of a location', async (t) => {
  const blank = rule(true, '', { name: 'plain', options: [{ eventToken: 'control' }], metrics: [] })
  const artifact = artifactOf({
    hero: [rule(true)],
    plain: [blank],
    'target-global-mbox': [{ ...rule(true), ruleKey: 'k1', consequence: { ...rule(true).consequence, name: 'target-global-mbox' } }]
  })
  const { response, notifications } = await decideBy(artifact, {
    ...visitor, execute: { pageLoad: {}, mboxes: [{ name: 'hero', index: 0 }, { name: 'hero', index: 1 }, { name: 'plain', index: 2 }] }, prefetch: { mboxes: [{ name: 'hero', index: 3 }] }
  })
  t.match(notifications, [
    { type: 'display', mbox: { name: 'hero' }, tokens: ['e'] }, { type: 'display', mbox: { name: 'plain' }, tokens: ['control'] }, { type: 'display', mbox: { name: 'target-global-mbox' }, tokens: ['e'] }
  ])
  t.equal(new Set(notifications.map(({ id }) => id)).size, 3)
  t.same(response.execute?.mboxes?.[2], { name: 'plain', index: 2, options: [] }, 'nothing to show, and that is counted')
  t.same(response.execute?.pageLoad?.metrics, [{ type: 'click', eventToken: 'c', selector: '#buy' }])
  t.same(response.prefetch?.mboxes?.[0]?.options?.[0]?.eventToken, 'e')
  t.notOk('eventToken' in response.execute!.mboxes![0]!.options![0]!)
})

t.test('remote dependencies are reported', async (t) => {
  const artifact = await compileArtifact(artifactOf({ hero: [], 'own-global': [] }, {
    globalMbox: 'own-global', localViews: ['home', 'both'], remoteMboxes: ['z', 'a', 'hero2'], remoteViews: ['y', 'both', 'x']
  }))
  const of = (execute?: Json, prefetch?: Json) => remoteDependencies(artifact, { context: { channel: 'web' }, execute, prefetch } as any)
  t.same(of({ mboxes: [{ name: 'hero' }], pageLoad: {} }), { remoteNeeded: false, remoteMboxes: [], remoteViews: [] }, 'the page load is the artifact\'s own global mbox')
  t.same(of({ mboxes: [{ name: 'new' }, { name: 'a' }, { name: 'z' }] }, { mboxes: [{ name: 'hero' }, { name: 'a' }] }).remoteMboxes, ['z', 'a', 'new'])
  t.same(of(undefined, { views: [{}] }).remoteViews, ['y', 'both', 'x'], 'all views: all remote ones')
  t.same(of(undefined, { views: [{}, { name: 'home' }] }).remoteViews, [])
  t.same(of(undefined, { views: [{ name: 'new' }, { name: 'x' }, { name: 'both' }] }), { remoteNeeded: true, remoteMboxes: [], remoteViews: ['both', 'x', 'new'] })
  t.same(of(), { remoteNeeded: false, remoteMboxes: [], remoteViews: [] })
  t.equal(decide(artifact, { ...visitor, execute: { mboxes: [{ name: 'new' }] } }, { client: 'c' }).response.status, 206)
})

/** A keeper whose artifact comes from a server, with what it told and logged. */
function keepFrom (t: Test, location: string, more: Partial<ArtifactSettings> = {}) {
  const events: Array<[name: string, detail: any]> = []
  const lines: string[] = []
  const keeper = new ArtifactKeeper({
    client: 'acmeclient',
    organizationId: 'org@AdobeOrg',
    artifactLocation: location,
    pollingInterval: 0,
    fetch: (url, options) => network.get(url, options),
    logger: { debug () {}, error (...args) { lines.push(String(args.at(-1))) } },
    onEvent: (name, detail) => events.push([name, detail]),
    ...more
  })
  t.teardown(() => keeper.stop())
  return { keeper, events, lines, names: () => events.map(([name]) => name) }
}

async function listen (t: Test, behave: Behaviour): Promise<FaultServer> {
  const server = await new FaultServer(behave).listen()
  t.teardown(() => server.close())
  return server
}

const file = (artifact: unknown, etag?: string) => http('200 OK', JSON.stringify(artifact), { 'x-geo-city': 'BERN', 'x-geo-latitude': '46.9', ...(etag !== undefined && { etag }) })
const A = artifactOf({ hero: [rule(true, 'A')] })
const B = artifactOf({ hero: [rule(true, 'B')] })
const shown = (keeper: ArtifactKeeper) => keeper.current && contentOf(decide(keeper.current, asking(), { client: 'acmeclient' }))

t.test('the artifact is fetched, polled, kept on failure and closed', async (t) => {
  const server = await listen(t, bytes(file(A, '"1"')))
  const { keeper, events, names, lines } = keepFrom(t, `${server.origin}/rules.json?key=1`)
  t.equal(keeper.state, 'loading')
  t.equal(keeper.current, undefined)
  t.same(keeper.health, { state: 'loading' })
  await t.rejects(keeper.ready({ timeout: 20 }), { code: 'FST_TARGET_NOT_READY' })
  keeper.start()
  keeper.start()
  await Promise.all([keeper.ready(), keeper.ready({ timeout: 5000 })])
  t.equal(keeper.state, 'ready')
  t.equal(shown(keeper), 'A')
  t.same(names(), ['artifactDownloadSucceeded', 'geoLocationUpdated', 'clientReady'])
  t.same(events[0]![1], { artifactLocation: keeper.location, artifactPayload: A })
  t.match(events[1]![1].geoContext, { city: 'BERN', latitude: 46.9 })
  t.equal(server.requests.length, 1, 'two starts are one')
  t.match(server.requests[0]!.head, /^GET \/rules\.json\?key=1 /)

  server.behave = (socket, { head }) => socket.write(/if-none-match: "1"/i.test(head) ? http('304 Not Modified', '') : file(B, '"2"'))
  t.same(await keeper.refresh(), { changed: false })
  server.behave = bytes(file(B, '"2"'))
  t.same(await Promise.all([keeper.refresh(), keeper.refresh()]), [{ changed: true }, { changed: true }])
  t.equal(server.requests.length, 3, 'two at once are one download')
  t.equal(shown(keeper), 'B')
  t.same(await keeper.refresh(), { changed: false }, 'the same bytes are nothing new, ETag or not')
  t.match(server.requests[3]!.head, /if-none-match: "2"/i)
  t.match(keeper.health, { state: 'ready', version: '1.0.0', age: Number })
  t.match(keeper.trace, { artifactLocation: keeper.location, pollingHalted: false, artifactVersion: '1.0.0', artifactRetrievalCount: 2 })
  t.same(names().filter((name) => name === 'clientReady'), ['clientReady'])
  t.same(lines, [])

  keeper.stop()
  t.equal(shown(keeper), 'B', 'decisions go on')
  await keeper.ready()
  await t.rejects(keeper.refresh(), { code: 'FST_TARGET_CLOSED' })
})

const misbehaviours: Record<string, Behaviour> = {
  'status 500': bytes(http('500 Oops', JSON.stringify(B))),
  'status 404': bytes(http('404 Not Found', '<html>')),
  'status 204': bytes('HTTP/1.1 204 No Content\r\n\r\n'),
  'a 304 that nobody asked for': bytes('HTTP/1.1 304 Not Modified\r\n\r\n'),
  'a redirect': bytes(http('302 Found', '', { location: 'http://127.0.0.1:1/' })),
  'an empty body': bytes(http('200 OK', '')),
  HTML: bytes(http('200 OK', '<html><body>Maintenance</body></html>')),
  'truncated JSON': bytes(http('200 OK', JSON.stringify(B).slice(0, -20))),
  'a body that breaks off': (socket) => socket.end(file(B).slice(0, -20)),
  'a reset': (socket) => socket.resetAndDestroy(),
  'no HTTP': bytes('hello\r\n\r\n'),
  'a list': bytes(http('200 OK', '[]')),
  null: bytes(http('200 OK', 'null')),
  'another major version': bytes(file({ ...B, version: '2.0.0' })),
  'no version': bytes(file({ ...B, version: undefined })),
  'a rule that is none': bytes(file({ ...B, rules: { mboxes: { hero: [{ condition: true }] } } })),
  'more than 64 MiB': (socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n')
    const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(0x100000, ' '), Buffer.from('\r\n')])
    let sent = 0
    const more = () => { while (!socket.destroyed && sent++ < 80 && socket.write(chunk)); if (sent < 80) socket.once('drain', more) }
    more()
  }
}

for (const [name, behave] of Object.entries(misbehaviours)) {
  t.test(`an artifact server that answers with ${name}`, async (t) => {
    const server = await listen(t, behave)
    const { keeper, lines, names } = keepFrom(t, `${server.origin}/rules.json`)
    await t.rejects(keeper.refresh(), { code: 'FST_TARGET_ARTIFACT' })
    t.equal(keeper.state, 'failed')
    t.match(keeper.health, { state: 'failed', error: String })
    await t.rejects(keeper.ready({ timeout: 10 }), { code: 'FST_TARGET_NOT_READY', cause: { code: 'FST_TARGET_ARTIFACT' } })
    await t.rejects(keeper.refresh(), { code: 'FST_TARGET_ARTIFACT' })
    t.equal(lines.length, 1, 'the same failure is logged once')

    server.behave = bytes(file(A))
    await keeper.refresh()
    t.equal(keeper.state, 'ready')
    t.equal(shown(keeper), 'A')

    server.behave = behave
    await t.rejects(keeper.refresh(), { code: 'FST_TARGET_ARTIFACT' })
    t.equal(keeper.state, 'stale')
    t.equal(shown(keeper), 'A', 'the good one is kept')
    t.same(names(), ['artifactDownloadFailed', 'artifactDownloadFailed', 'artifactDownloadSucceeded', 'geoLocationUpdated', 'clientReady', 'artifactDownloadFailed'])

    server.behave = bytes(file(B, '"2"'))
    t.same(await keeper.refresh(), { changed: true })
    t.equal(keeper.state, 'ready')
    t.equal(shown(keeper), 'B')
    t.equal(keeper.health.error, undefined)
  })
}

t.test('a server that is not there, and comes', async (t) => {
  const server = await new FaultServer(bytes(file(A))).listen()
  const { origin } = server
  await server.close()
  const { keeper, names } = keepFrom(t, `${origin}/rules.json`, { pollingInterval: 50 })
  keeper.start()
  await until(() => keeper.state === 'failed')
  const ready = keeper.ready()
  await server.listen()
  t.teardown(() => server.close())
  await ready
  t.equal(shown(keeper), 'A')
  server.behave = bytes(file(B, '"2"'))
  await until(() => shown(keeper) === 'B')
  server.behave = bytes(http('500 Oops', ''))
  await until(() => keeper.state === 'stale')
  t.equal(shown(keeper), 'B')
  server.behave = bytes('HTTP/1.1 304 Not Modified\r\n\r\n')
  await until(() => keeper.state === 'ready')
  t.equal(names().filter((name) => name === 'clientReady').length, 1)
  keeper.stop()
  const asked = server.requests.length
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.equal(server.requests.length, asked, 'no polling after stop()')
})

t.test('a server that accepts and hangs', async (t) => {
  const server = await listen(t, () => {})
  const { keeper, names } = keepFrom(t, `${server.origin}/rules.json`)
  keeper.start()
  const waiting = t.rejects(keeper.ready(), { code: 'FST_TARGET_NOT_READY' })
  await until(() => server.requests.length === 1)
  keeper.stop()
  await waiting
  await until(() => server.sockets.size === 0)
  t.same(names(), [], 'the download was given up, and that is no failure')
  await t.rejects(keeper.ready(), { code: 'FST_TARGET_NOT_READY' })
})

t.test('a payload of one\'s own, then the origin', async (t) => {
  const server = await listen(t, bytes(file(B)))
  const { keeper, names } = keepFrom(t, `${server.origin}/rules.json`, { artifactPayload: A, pollingInterval: 500 })
  keeper.start()
  await keeper.ready()
  t.equal(shown(keeper), 'A')
  t.same(names(), ['clientReady'])
  t.equal(server.requests.length, 0)
  await until(() => shown(keeper) === 'B')
  keeper.stop()

  const bad = keepFrom(t, `${server.origin}/rules.json`, { artifactPayload: { version: '9.0.0' } })
  const before = server.requests.length
  bad.keeper.start()
  await until(() => bad.keeper.state === 'failed')
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(bad.keeper.current, undefined)
  t.equal(server.requests.length - before, 0, 'with polling off, nothing is fetched that was not asked for')
  t.same(await bad.keeper.refresh(), { changed: true })
})

t.test('where Target publishes artifacts', async (t) => {
  const location = (more: Partial<ArtifactSettings>) => keepFrom(t, '', { artifactLocation: undefined, ...more }).keeper.location
  t.equal(location({}), 'https://assets.adobetarget.com/acmeclient/production/v1/rules.json')
  t.equal(location({ environment: 'Staging', propertyToken: 'p-1', artifactFormat: 'bin' }), 'https://assets.adobetarget.com/acmeclient/staging/v1/p-1/rules.bin')
  t.equal(location({ client: 'a/../b?' }), 'https://assets.adobetarget.com/a%2F..%2Fb%3F/production/v1/rules.json')
})

t.test('loading runs outside requests, and callbacks that throw do not stop it', async (t) => {
  const server = await listen(t, bytes(file(A)))
  const request = new AsyncLocalStorage<string>()
  const stores: unknown[] = []
  const { keeper } = keepFrom(t, `${server.origin}/rules.json`, {
    pollingInterval: 20,
    fetch: async (url, options) => {
      stores.push(request.getStore())
      return await network.get(url, options)
    },
    logger: { debug () {}, error () { throw new Error('logger') } },
    onEvent: Log.of(silent).guard(() => { throw new Error('listener') }, 'events.clientReady')
  })
  await request.run('a visitor', async () => {
    keeper.start()
    await keeper.ready()
    await keeper.refresh()
  })
  server.behave = bytes(http('500 Oops', ''))
  await until(() => keeper.state === 'stale')
  server.behave = bytes(file(B, '"2"'))
  await until(() => shown(keeper) === 'B')
  t.ok(stores.length > 3)
  t.same(new Set(stores), new Set([undefined]))
})

/** Obfuscates as Adobe's publisher does. */
function obfuscate (text: string, organizationId: string, header = 'AT:1    '): Buffer {
  const key = Buffer.from('0123456789abcdef0123456789abcdef')
  const pad = Buffer.concat([Buffer.from(organizationId), key])
  return Buffer.concat([Buffer.from(header), key, Buffer.from(text).map((byte, i) => byte ^ pad[i % pad.length]!)])
}

t.test('the obfuscated artifact', async (t) => {
  const text = JSON.stringify(artifactOf({ hero: [rule(true, 'Grüße, 世界 🎯')] }))
  const large = `{"a":"${'x'.repeat(5_000_000)}"}`
  for (const json of [text, large]) t.ok(Buffer.from(await deobfuscate(obfuscate(json, 'org@AdobeOrg'), 'org@AdobeOrg')).equals(Buffer.from(json)))
  const answer = (body: Buffer): Behaviour => (socket) => socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`), body]))
  const server = await listen(t, answer(obfuscate(text, 'org@AdobeOrg')))
  const byName = keepFrom(t, `${server.origin}/v1/rules.BIN?x=1`)
  t.same(await byName.keeper.refresh(), { changed: true })
  t.equal(shown(byName.keeper), 'Grüße, 世界 🎯')
  const byFormat = keepFrom(t, `${server.origin}/artifact`, { artifactFormat: 'bin' })
  t.same(await byFormat.keeper.refresh(), { changed: true })

  await t.rejects(keepFrom(t, `${server.origin}/rules.bin`, { organizationId: 'other@AdobeOrg' }).keeper.refresh(), { code: 'FST_TARGET_ARTIFACT', message: /organization/ })
  for (const [name, body] of Object.entries({
    'another version': obfuscate(text, 'org@AdobeOrg', 'AT:2    '), 'plain JSON': Buffer.from(text), truncated: obfuscate(text, 'org@AdobeOrg').subarray(0, 40), empty: Buffer.alloc(0)
  })) {
    server.behave = answer(body)
    await t.rejects(byName.keeper.refresh(), { code: 'FST_TARGET_ARTIFACT' }, name)
    t.equal(shown(byName.keeper), 'Grüße, 世界 🎯')
  }

  const sample = new URL('../../../shared/artifact-sample/', import.meta.url)
  const read = (name: string) => { try { return readFileSync(new URL(name, sample)) } catch { return undefined } }
  const [bin, json] = [read('rules.bin'), read('rules.json')]
  t.test('Adobe\'s sample', { skip: bin === undefined && 'no sample' }, async (t) => {
    t.same(JSON.parse(Buffer.from(await deobfuscate(bin!, '74F652E95F1B16FE0A495C92@AdobeOrg')).toString()), JSON.parse(String(json)))
  })
})

t.test('geo is looked up only if the artifact needs it and the caller does not provide it', async (t) => {
  const wants = await compileArtifact(artifactOf({ hero: [rule({ '==': [{ var: 'geo.country' }, 'CH'] })] }, { geoTargetingEnabled: true }))
  const indifferent = await compileArtifact(artifactOf({}))
  t.equal(needsGeo(wants, { geo: { ipAddress: '203.0.113.7' } }), true)
  t.equal(needsGeo(wants, { geo: { ipAddress: ' 2001:db8::1 ' } }), true)
  t.equal(needsGeo(wants, { geo: { ipAddress: 'unknownIpAddress' } }), true)
  for (const geo of [undefined, null, {}, { ipAddress: '999.1.1.1' }, { ipAddress: 'x\r\ny: z' }, { ipAddress: '203.0.113.7', countryCode: 'CH' }, { ipAddress: '203.0.113.7', latitude: 0 }]) {
    t.equal(needsGeo(wants, { geo } as any), false, JSON.stringify(geo))
  }
  t.equal(needsGeo(indifferent, { geo: { ipAddress: '203.0.113.7' } }), false)
  t.equal(needsGeo(wants, undefined), false)

  const found: Json[] = []
  const place = { 'x-forwarded-for': '203.0.113.7', 'x-geo-country-code': 'CH', 'x-geo-region-code': 'BE', 'x-geo-city': 'BERN', 'x-geo-latitude': '46.9', 'x-geo-longitude': 7.4 }
  const server = await listen(t, bytes(http('200 OK', JSON.stringify(place))))
  const lookup = () => new GeoLookup({ artifactLocation: `${server.origin}/some/where/rules.json`, fetch: (url, options) => network.get(url, options), onEvent: (_, detail) => found.push(detail) })
  const geo = lookup()
  const expected = { ipAddress: '203.0.113.7', countryCode: 'CH', stateCode: 'BE', city: 'BERN', latitude: 46.9, longitude: 7.4 }
  t.same(await geo.locate({ ipAddress: '203.0.113.7' }, { timeout: 5000 }), expected)
  t.same(await geo.locate({ ipAddress: '203.0.113.7' }, { timeout: 5000 }), expected)
  t.equal(server.requests.length, 1, 'the same address is asked for once')
  t.match(server.requests[0]!.head, /^GET \/v1\/geo /)
  t.match(server.requests[0]!.head, /x-forwarded-for: 203\.0\.113\.7/i)
  t.same(found, [{ geoContext: expected }])
  await geo.locate({ ipAddress: 'unknownIpAddress' }, { timeout: 5000 })
  t.notMatch(server.requests[1]!.head, /x-forwarded-for/i)

  for (const [name, behave] of Object.entries<Behaviour>({ 'status 500': bytes(http('500 Oops', '{}')), HTML: bytes(http('200 OK', '<html>')), 'a reset': (socket) => socket.destroy(), nothing: () => {} })) {
    server.behave = behave
    const failing = lookup()
    const before = server.requests.length
    t.same(await failing.locate({ ipAddress: '203.0.113.9' }, { timeout: 100 }), { ipAddress: '203.0.113.9' }, name)
    t.same(await failing.locate({ ipAddress: '203.0.113.10' }, { timeout: 100 }), { ipAddress: '203.0.113.10' })
    t.equal(server.requests.length - before <= 2, true)
    const asked = server.requests.length
    await failing.locate({ ipAddress: '203.0.113.11' }, { timeout: 100 })
    t.equal(server.requests.length, asked, 'a dead service is left alone for a while')
  }
  for (const [name, body] of Object.entries({ null: 'null', text: '"x"', 'wrong types': '{"x-geo-city":5,"x-geo-latitude":"north"}' })) {
    server.behave = bytes(http('200 OK', body))
    t.same(await lookup().locate({ ipAddress: '203.0.113.9' }, { timeout: 5000 }), { ipAddress: '203.0.113.9' }, name)
  }
})
