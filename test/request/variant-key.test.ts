/** `request.target.variantKey()`: pages cached per variant, of which no visitor sees another's, and impressions of each. */
/* eslint-disable no-template-curly-in-string -- macros of Target */
import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { LRUCache } from 'lru-cache'
import t, { type Test } from 'tap'
import * as z from 'zod'
import { sampleArtifact as sample } from '../../lib/edge/sample-artifact.ts'
import { allocate } from '../../lib/decisioning/allocation.ts'
import { compileArtifact } from '../../lib/decisioning/compile.ts'
import { decide } from '../../lib/decisioning/decide.ts'
import type { FastifyAdobeTargetOptions, OfferMessage, RequestTarget, TargetRouteConfig } from '../../lib/index.ts'
import targetInspector from '../../lib/inspector/index.ts'
import { mboxEntries, offerOf, pageLoadEntries } from '../../lib/offers/offer.ts'
import { keyOf, personalPart, type PlacedOffer } from '../../lib/offers/variant.ts'
import { Dice, type Json } from '../client/cases.ts'
import { createArtifact, createRequest, createTime, namesOf } from '../decisioning/cases.ts'
import { artifactWith } from '../support/artifacts.ts'
import { client, startApp, startEdge } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, until } from '../support/wait.ts'

const edge = await startEdge(t)
t.beforeEach(() => edge.reset())
const artifactLocation = `http://${edge.host}/${client}/production/v1/rules.json`
const KEY = /^[\w-]{32}$/
const WELCOME = '<h1>Welcome</h1>'

/** Ann and Bob have one experience of the hero, Cid has the other. */
const isLayers = (id: string) => allocate(client, '410001', id) <= 50
const ids = Array.from({ length: 40 }, (_, number) => `visitor${number}`)
const [ann, bob] = ids.filter(isLayers) as [string, string]
const cid = ids.find((id) => !isLayers(id))!
const cookieOf = (id: string) => ({ cookie: `mbox=session#session-of-${id}#9999999999|PC#${id}.35_0#9999999999` })

type Ask = (target: RequestTarget, query: Record<string, string>) => unknown

/** An app with one page, which answers what `ask` says of it. */
async function startPage (t: Test, options: Partial<FastifyAdobeTargetOptions>, target: TargetRouteConfig | undefined, ask: Ask) {
  const { app, logged } = await startApp(t, edge.host, options, (app) => {
    app.get('/', { config: { target } }, async (request) => ({ page: await ask(request.target, request.query as Record<string, string>) }))
  })
  await app.target.ready()
  const visit = async (visitor?: string, query: Record<string, string> = {}, headers: Record<string, string> = {}) =>
    (await app.inject({ url: '/', query, headers: { ...visitor !== undefined && cookieOf(visitor), ...headers } })).json().page
  return { app, visit, warnings: () => logged.map(({ msg }) => msg).filter((msg) => msg.includes('variantKey')) }
}

for (const decisioningMethod of ['server-side', 'on-device', 'hybrid'] as const) {
  for (const way of ['execute', 'prefetch'] as const) {
    t.test(`${decisioningMethod}, ${way}: visitors of a variant share one body, and nothing else`, async (t) => {
      const pages = new LRUCache<string, string>({ max: 10 })
      let rendered = 0
      const { app } = await startApp(t, edge.host, { decisioningMethod, artifactLocation }, (app) => {
        app.get('/', { config: { target: way === 'execute' ? ['hero', 'banner'] : { prefetch: { mboxes: ['hero', 'banner'] } } } }, async ({ target }, reply) => {
          const key = await target.variantKey(['hero', 'banner'])
          let body = pages.get(key!)
          if (body === undefined) {
            body = `<!doctype html>${await target.html('hero', WELCOME)}${await target.html('banner')}<!-- rendered ${++rendered} times -->`
            pages.set(key!, body)
          }
          target.displayed('hero')
          target.displayed('banner')
          return reply.type('text/html').header('cache-control', 'private, no-cache').send(body)
        })
      })
      await app.target.ready()
      const visit = async (visitor: string | undefined, url = '/') => {
        const { body, cookies } = await app.inject({ url, headers: visitor === undefined ? {} : cookieOf(visitor) })
        return { body, cookie: cookies.find(({ name }) => name === 'mbox')?.value ?? '' }
      }
      const visits = { ann: await visit(ann), bob: await visit(bob), cid: await visit(cid), gold: await visit(bob, '/?member=gold'), 'ann again': await visit(ann), nobody: await visit(undefined) }

      t.equal(visits.bob.body, visits.ann.body)
      t.equal(visits['ann again'].body, visits.ann.body)
      t.match(visits.ann.body, /hero--a/)
      t.match(visits.cid.body, /hero--b/)
      t.match(visits.gold.body, /hero--a[^]*banner--gold/)
      t.ok([visits.ann.body, visits.cid.body].some((body) => body === visits.nobody.body), 'also of a new visitor')
      t.equal(rendered, 3)
      t.equal(pages.size, 3)
      for (const [name, id] of Object.entries({ ann, bob, cid })) t.match(visits[name as 'ann'].cookie, new RegExp(`session-of-${id}#.*PC#${id}\\.35_0#`), 'a visitor has its own cookies')
      t.notMatch(visits.nobody.cookie, /visitor\d/)
      t.notMatch([...pages.values()].join(), /visitor\d|session-of/, 'no body has an id')

      await app.target.flush()
      const shown = (id: string) => edge.requests.flatMap(({ body }) => body.id?.tntId !== `${id}.35_0` ? [] : [...body.notifications ?? [], ...way === 'execute' ? body.execute?.mboxes ?? [] : []])
        .map(({ mbox, name }: any) => mbox?.name ?? name).sort()
      const twice = ['banner', 'banner', 'hero', 'hero']
      t.same({ ann: shown(ann), bob: shown(bob), cid: shown(cid) }, { ann: twice, bob: twice, cid: ['banner', 'hero'] }, 'of a body from the cache, too')
      t.equal(edge.displays('hero'), 6)
      t.equal(edge.displays('banner'), 6)
    })
  }
}

t.test('by the Edge Network, too: new visitors of a variant share one body', async (t) => {
  const pages = new Map<string, string>()
  const { app } = await startApp(t, edge.host, { serverDomain: undefined, edgeNetwork: { datastreamId: '7a5d4a2e-0000-4000-8000-000000000001', edgeDomain: edge.host } } as never, (app) => {
    app.get('/', { config: { target: { prefetch: { mboxes: ['hero'] } } } }, async ({ target }, reply) => {
      const key = await target.variantKey('hero')
      const isCached = pages.has(key!)
      if (!isCached) pages.set(key!, await target.html('hero', WELCOME))
      target.displayed('hero')
      return reply.header('cache-control', 'private').header('from-cache', isCached).send(pages.get(key!))
    })
  })
  const visits = await Promise.all(Array.from({ length: 16 }, () => app.inject('/')))
  t.same([...pages.values()].map((body) => /hero--[ab]/.exec(body)?.[0]).sort(), ['hero--a', 'hero--b'])
  const identities = visits.map(({ cookies }) => cookies.find(({ name }) => name.endsWith('_identity'))?.value)
  t.equal(new Set(identities).size, 16, 'each has its own identity')
  await app.target.flush()
  t.equal(edge.displays('hero'), 16)
})

t.test('a key is the same in whichever order, and in every process and version', async (t) => {
  edge.offer('hero', '<h1>Hero</h1>')
  edge.offer('flags', { express: true })
  const ask: Ask = async (target) => [
    await target.variantKey(['hero', 'flags']), await target.variantKey(['flags', 'hero', 'flags']),
    await target.variantKey('hero'), await target.variantKey(['flags']), await target.variantKey([]), await target.variantKey(['flags', 'hero'], { contentOnly: true })
  ]
  const { visit, warnings } = await startPage(t, {}, ['hero', 'flags'], ask)
  const keys = await visit(ann)
  for (const key of keys) t.match(key, KEY)
  t.equal(keys[0], keys[1])
  t.equal(new Set(keys).size, 5)
  t.same(await visit(cid), keys)
  t.equal(keys[5], 'mMqsQC5nWOeL4jEGFRNxjJXKW-6JQJbI', 'a new form would empty every cache')
  t.same(warnings(), [])

  edge.offer('flags', { express: false })
  const edited = await visit(ann)
  t.not(edited[0], keys[0])
  t.equal(edited[2], keys[2])
})

t.test('each reason is a variant of its own, and none stands for Target\'s offer', async (t) => {
  edge.offer('hero', '<h1>Hero</h1>')
  edge.offer('bad', { not: 'text' })
  const mboxes = { bad: { schema: z.string(), fallback: WELCOME } }
  const ask: Ask = async (target, { mbox = 'hero' }) => [await target.variantKey([mbox]), (await target.offer(mbox, WELCOME)).reason]
  const { app, visit } = await startPage(t, { mboxes, timeout: 1000, breaker: { failures: 3 }, enabled: (request) => request.headers.consent !== 'no' }, ['hero', 'nothing', 'bad'], ask)
  const keys = new Map<string, string>()
  const expect = async (reason: string, query = {}, headers = {}) => {
    const [one, other] = [await visit(ann, query, headers), await visit(bob, query, headers)]
    t.same(one, other)
    t.equal(one[1], reason)
    t.match(one[0], KEY, reason)
    t.notOk([...keys.values()].includes(one[0]), reason)
    keys.set(reason, one[0])
  }
  await expect('matched')
  await expect('no-offer', { mbox: 'nothing' })
  await expect('invalid-content', { mbox: 'bad' })
  await expect('opted-out', {}, { consent: 'no' })
  edge.fault('hang', { times: 2 })
  await expect('timeout')
  edge.fault('status:500')
  await visit(ann)
  const breaker = () => Object.values(app.target.health().breaker)[0]!
  t.match(breaker(), { state: /open/, failures: 3 }, 'open, or to be probed')
  // The first pauses are short; this one lasts longer than two visits.
  await until(async () => { await visit(ann); return breaker().retryIn > 600 })
  await expect('breaker-open')
  t.equal(app.target.health().status, 'down')
  const { visit: off } = await startPage(t, {}, false, async (target) => [await target.variantKey('hero'), (await target.offer('hero')).reason])
  t.match(await off(ann), [KEY, 'not-requested'])
})

t.test('undefined after maxWait: what arrives during the rendering is in no key', async (t) => {
  const { visit } = await startPage(t, { maxWait: 20 }, ['hero'], async (target) => {
    const key = await target.variantKey('hero')
    await target.result()
    return [key, (await target.offer('hero')).reason, await target.variantKey('hero')]
  })
  edge.fault('slow:500', { times: 1 })
  t.match(await visit(ann), [null, 'matched', KEY])
})

t.test('undefined while a schema takes too long, also for the json offers as one object', async (t) => {
  let delay = 20
  const slow = z.object({ a: z.number().default(0), b: z.number().default(0) }).refine(async () => { await sleep(delay); return true })
  const artifactPayload = artifactWith({ flags: [{ activity: 1, options: [{ type: 'json', content: { a: 1 } }, { type: 'json', content: { b: 2 } }] }] })
  const mboxes = { flags: { schema: slow, fallback: { a: 0, b: 0 } } }
  const ask: Ask = async (target) => {
    const key = await target.variantKey('flags')
    delay = 3000
    return [key, await (target as unknown as { attributes (mbox: string): unknown }).attributes('flags')]
  }
  const { visit } = await startPage(t, { mboxes, timeout: 1000, decisioningMethod: 'on-device', artifactPayload, pollingInterval: 0 }, ['flags'], ask)
  const [key, attributes] = await visit(ann)
  t.match(key, KEY)
  t.same(attributes, { a: 1, b: 2 }, 'all checks had ended')
  t.same((await visit(bob))[0], undefined)
})

t.test('undefined for what belongs to one visitor on-device: macros with parameters, and dynamic content', async (t) => {
  const html = (content: string) => [{ activity: 1, option: { type: 'html', content } }]
  const artifactPayload = artifactWith({
    plain: html('<p>Price: $5 {not} $ {a} macro</p>'),
    'of-the-rule': html('<p>${campaign.id}, ${recipe.id}, ${offer.name}, ${mbox.name}</p>'),
    greeting: html('<p>Hello ${mbox.user}</p>'),
    unfilled: html('<p>Hello ${nobody}</p>'),
    action: [{ activity: 1, option: { type: 'actions', content: [{ type: 'setStyle', content: { color: 'red' } }, { type: 'setHtml', content: 'Hello ${user}' }] } }],
    json: [{ activity: 1, option: { type: 'json', content: { text: '${user}' } } }],
    dynamic: [{ activity: 1, option: { type: 'dynamic', content: 'https://offers.example/of-the-visitor' } }]
  })
  const ask: Ask = async (target, { mbox = '' }) => [await target.variantKey(mbox), await target.variantKey(mbox, { contentOnly: true }), await target.variantKey([mbox, 'plain']), await target.content(mbox)]
  const options = { decisioningMethod: 'on-device', artifactPayload, pollingInterval: 0, parameters: (request) => ({ user: request.headers.user as string }) } satisfies Partial<FastifyAdobeTargetOptions>
  const { visit } = await startPage(t, options, Object.keys(artifactPayload.rules.mboxes), ask)
  for (const mbox of ['plain', 'of-the-rule', 'json']) {
    const [one, other] = [await visit(ann, { mbox }, { user: 'Ann' }), await visit(bob, { mbox }, { user: 'Bob' })]
    t.match(one.slice(0, 3), [KEY, KEY, KEY], mbox)
    t.same(one, other, mbox)
  }
  t.match((await visit(ann, { mbox: 'of-the-rule' }))[3], '<p>1, 0, An offer, of-the-rule</p>')
  for (const mbox of ['greeting', 'unfilled', 'action', 'dynamic']) t.same((await visit(ann, { mbox }, { user: 'Ann' })).slice(0, 3), [null, null, null], mbox)
  t.match((await visit(ann, { mbox: 'greeting' }, { user: 'Ann' }))[3], 'Hello Ann')

  // The same at the edge: it cannot be told from other content, so whoever has other content has another key.
  await edge.publish(artifactPayload)
  t.teardown(() => edge.publish(sample))
  const { visit: atEdge } = await startPage(t, { parameters: options.parameters }, ['greeting', 'dynamic'], ask)
  const [[one], [other], [same]] = [await atEdge(ann, { mbox: 'greeting' }, { user: 'Ann' }), await atEdge(bob, { mbox: 'greeting' }, { user: 'Bob' }), await atEdge(cid, { mbox: 'greeting' }, { user: 'Ann' })]
  t.match([one, other], [KEY, KEY])
  t.not(one, other)
  t.equal(one, same)
  t.same((await atEdge(ann, { mbox: 'dynamic' })).slice(0, 2), [null, null])
})

t.test('response tokens that describe the visitor: undefined with advice, or left out with `contentOnly`', async (t) => {
  const artifactPayload = artifactWith({ hero: [{ activity: 1 }] }, { responseTokens: ['activity.id', 'experience.id', 'offer.name', 'geo.city'] })
  const options = { decisioningMethod: 'on-device', artifactPayload, pollingInterval: 0, context: (request) => ({ geo: { city: request.headers.city as string } }) } satisfies Partial<FastifyAdobeTargetOptions>
  const { visit, warnings } = await startPage(t, options, ['hero'], async (target) => [await target.variantKey('hero'), await target.variantKey('hero', { contentOnly: true })])
  const without = await visit(ann)
  t.match(without, [KEY, KEY])
  t.same(warnings(), [])
  t.match(await visit(ann, {}, { city: 'BERN' }), [null, without[1]])
  t.match(await visit(bob, {}, { city: 'ROME' }), [null, without[1]])
  t.same(warnings(), ["fastify-adobe-target: GET /: request.target.variantKey() is undefined: the offer of mbox 'hero' has the response token geo.city, which describes the visitor; " +
    'turn it off in Target, or pass { contentOnly: true } if the page shows nothing of its offers but their content'])
})

t.test('undefined for testers: in QA mode, and with overrides of the inspector', async (t) => {
  const { app } = await startApp(t, edge.host, { artifactLocation }, async (app) => {
    await app.register(targetInspector, { artifact: true })
    app.get('/', { config: { target: ['hero', 'banner'] } }, async ({ target }) => [await target.variantKey(['hero', 'banner']), await target.variantKey('banner')])
    app.get('/fixed', { config: { target: { execute: { mboxes: ['hero'] }, qaMode: { token: 'a' } } } }, async ({ target }) => [await target.variantKey('hero')])
  })
  t.match((await app.inject('/')).json(), [KEY, KEY])
  const { pathname, search } = new URL(edge.qaLink('http://127.0.0.1/', { activities: [410001], previewIndexes: [{ activityIndex: 1, experienceIndex: 1 }] }))
  t.same((await app.inject(pathname + search)).json(), [null, null])
  t.same((await app.inject('/fixed')).json(), [null])
  const link = await app.inject('/?target_override=hero:none')
  const cookie = link.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  t.same((await app.inject({ url: '/', headers: { cookie } })).json(), [null, null], 'of a place that is not overridden, too: the page counts nothing')
})

t.test('views and the page load, and what is not a place', async (t) => {
  const places = [{ pageLoad: true } as const, { view: 'product' }, { view: 'nothing' }]
  const { visit, warnings } = await startPage(t, {}, { execute: { pageLoad: {} }, prefetch: { views: [{}] } }, async (target) => {
    const keys = await Promise.all(places.map((place) => target.variantKey(place)))
    const wrong = await Promise.all([null, undefined, 1, ['hero', null], { mbox: 'hero' }].map((what) => target.variantKey(what as never)))
    return { keys, together: await target.variantKey(places, null), wrong, odd: await target.variantKey(['', 'x'.repeat(300)]) }
  })
  const page = await visit(ann)
  t.match(page, { keys: [KEY, KEY, KEY], together: KEY, odd: KEY })
  t.equal(new Set(page.keys).size, 3)
  t.same(page.wrong, [null, null, null, null, null])
  t.same(await visit(cid), page)
  t.same(warnings(), ['fastify-adobe-target: GET /: request.target.variantKey() takes an mbox name, { view } or { pageLoad: true }, or a list of them'])
})

t.test('an offer is published once, by the page that asked for its key; one that is not in the key is warned of', async (t) => {
  const page = new AsyncLocalStorage<string[]>()
  const listen = (message: unknown) => { page.getStore()?.push((message as OfferMessage).mbox ?? '') }
  subscribe('fastify-adobe-target:offer', listen)
  t.teardown(() => unsubscribe('fastify-adobe-target:offer', listen))
  const published: string[] = []
  const { visit, warnings } = await startPage(t, {}, ['hero', 'banner', 'checkout-flags'], (target) => page.run(published, async () => {
    await target.content('checkout-flags')
    await target.variantKey('hero')
    await target.variantKey(['hero', 'late'])
    await target.content('hero')
    await target.content('late')
    t.same(warnings(), [])
    await target.content('banner')
    await target.html('banner')
    return published
  }))
  t.same(await visit(ann), ['checkout-flags', 'hero', 'late', 'banner', 'banner'])
  t.same(warnings(), ["fastify-adobe-target: GET /: request.target.variantKey() was called without mbox 'banner', which was read after it: in a page cached by that key, visitors would see the offers of others; " +
    'add it to variantKey(), or read it before if it is not in the cached markup'])
})

t.test('of generated artifacts and visitors, keys are the same exactly where offers are', async (t) => {
  const dice = new Dice(20261126)
  let same = 0
  let other = 0
  let personal = 0
  for (let number = 0; number < 150; number++) {
    const artifact = createArtifact(dice)
    const compiled = await compileArtifact(artifact)
    const names = namesOf(artifact)
    const seen = Array.from({ length: 12 }, () => {
      const { response } = decide(compiled, { context: {}, ...createRequest(dice, names) } as never, { client, now: createTime(dice) })
      const place = dice.chance(0.8) ? dice.pick(names.mboxes) : { pageLoad: true } as const
      const offer = offerOf(typeof place === 'string' ? mboxEntries(response, place) : pageLoadEntries(response), 'on-device', undefined)
      return { place, offer } satisfies PlacedOffer
    })
    for (const contentOnly of [false, true]) {
      const found = seen.map((one) => ({ one, key: keyOf([one], contentOnly), text: JSON.stringify(shown(one, contentOnly)) }))
      personal += seen.filter(({ offer }) => personalPart(offer, contentOnly) !== undefined).length
      for (const [index, { one, key, text }] of found.entries()) {
        for (const another of found.slice(0, index)) {
          text === another.text ? same++ : other++
          if ((key === another.key) !== (text === another.text)) t.fail(JSON.stringify([one, another.one]))
        }
      }
    }
  }
  t.ok(same > 500 && other > 5000 && personal > 100, `${same} the same, ${other} others, ${personal} of one visitor`)
})

/** What a page may show of an offer. */
function shown ({ place, offer: { reason, content, type, options, responseTokens, metrics, analytics } }: PlacedOffer, contentOnly: boolean): Json {
  if (contentOnly) return { place, reason, content, type, options: options.map(({ type, content }) => ({ type, content })) }
  return { place, reason, content, type, options, responseTokens, metrics, analytics }
}
