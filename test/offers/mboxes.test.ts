/** What an app declares of its mboxes: the option `mboxes`. */
import { createRequire } from 'node:module'
import { json as readJson } from 'node:stream/consumers'
import { FormatRegistry, Kind, Type } from '@sinclair/typebox'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import fastifyAdobeTarget, { type FastifyAdobeTargetOptions, type MboxDefinitions, type RequestTarget } from '../../lib/index.ts'
import { client, json, organizationId, startApp, startEdge, startServer } from '../support/helper.ts'
import { createTypedApp } from './mbox-app.ts'
import '../support/no-unhandled-rejections.ts'
import { artifactOffering } from '../support/artifacts.ts'

/** Asks whatever TypeScript would not let it ask. */
const untyped = (request: FastifyRequest) => request.target as unknown as { attributes (mbox: string): Promise<unknown> } & RequestTarget

const Flags = Type.Object({ express: Type.Boolean({ default: false }), limit: Type.Number({ default: 10 }) })
const html = (content: string) => ({ type: 'html', content })
const data = (content: unknown) => ({ type: 'json', content })

t.test('mboxes: content is completed with defaults, checked, and replaced by the fallback if invalid', async (t) => {
  const offers = {
    hero: [html('<h1>Hero</h1>')],
    'bad-hero': [data({ secret: 'value-of-an-offer' })],
    flags: [data({ express: true, own: { nested: 1 } })],
    'bad-flags': [data({ express: 'value-of-an-offer' })],
    'html-flags': [html('no attributes')],
    'many-flags': [data({ express: true }), data({ limit: 3 })],
    'bad-many': [data({ express: true }), data({ limit: 'value-of-an-offer' })],
    list: [data([{ title: 'one' }])],
    free: [data({ any: 1 })]
  }
  const mboxes: MboxDefinitions = {
    hero: { schema: Type.String(), fallback: '<h1>Welcome</h1>' },
    'bad-hero': { schema: Type.String(), fallback: '<h1>Welcome</h1>' },
    'no-hero': { schema: Type.String(), fallback: '<h1>Welcome</h1>' },
    flags: { schema: Flags },
    'bad-flags': { schema: Flags },
    'html-flags': { schema: Flags, fallback: { limit: 7 } },
    'many-flags': { schema: Flags },
    'bad-many': { schema: Flags, fallback: { express: true, limit: 1 } },
    'no-flags': { schema: Flags },
    list: { schema: Type.Array(Type.Object({ title: Type.String(), price: Type.Number({ default: 5 }) })) },
    free: { fallback: { any: 0 } },
    'no-free': { fallback: { any: 0 } },
    maybe: { schema: Type.Optional(Type.Object({ title: Type.String() })) }
  }
  const edge = await startEdge(t, { artifact: artifactOffering(offers) })
  for (const decisioningMethod of ['server-side', 'on-device'] as const) {
    const { app, url, logged } = await startApp(t, edge.host, { mboxes, decisioningMethod, artifactPayload: artifactOffering(offers), pollingInterval: 0 }, (app) => {
      app.get('/', { config: { target: Object.keys(mboxes) } }, async (request) => {
        const target = untyped(request)
        const content: Record<string, unknown> = {}
        const reasons: Record<string, unknown> = {}
        for (const name of Object.keys(mboxes)) {
          const offer = await target.offer(name)
          content[name] = offer.content
          reasons[name] = offer.reason
          t.equal(offer.source === 'default', offer.reason !== 'matched')
          t.same(await target.content(name), offer.content)
          if (offer.reason === 'invalid-content') t.match(offer, { type: undefined, responseTokens: {}, options: [{ type: String }], metrics: [{ type: 'click' }], error: undefined })
        }
        const attributes = Object.fromEntries(await Promise.all(Object.keys(mboxes).filter((name) => name.endsWith('flags') || name === 'bad-many').map(async (name) => [name, await target.attributes(name)])))
        const raw = (await target.result()).response.execute?.mboxes?.find(({ name }) => name === 'flags')?.options?.[0]?.content
        const given = {
          content: await target.content('bad-hero', 'mine'),
          none: await target.content('no-hero', null),
          over: await target.attributes('flags', { express: false, more: 1 }),
          instead: await target.attributes('bad-flags', { express: true }),
          schema: await target.attributes('flags', Type.Object({ limit: Type.Number({ default: 99 }) }))
        }
        return { content, reasons, attributes, raw, given }
      })
    })
    await app.target.ready()
    const page = await json(await fetch(url))
    t.same(page.content, {
      hero: '<h1>Hero</h1>',
      'bad-hero': '<h1>Welcome</h1>',
      'no-hero': '<h1>Welcome</h1>',
      flags: { express: true, limit: 10, own: { nested: 1 } },
      'bad-flags': { express: false, limit: 10 },
      'html-flags': { express: false, limit: 7 },
      'many-flags': { express: true, limit: 10 },
      'bad-many': { express: true, limit: 10 },
      'no-flags': { express: false, limit: 10 },
      list: [{ title: 'one', price: 5 }],
      free: { any: 1 },
      'no-free': { any: 0 }
    }, decisioningMethod)
    t.same(page.reasons, {
      hero: 'matched',
      'bad-hero': 'invalid-content',
      'no-hero': 'no-offer',
      flags: 'matched',
      'bad-flags': 'invalid-content',
      'html-flags': 'invalid-content',
      'many-flags': 'matched',
      'bad-many': 'matched',
      'no-flags': 'no-offer',
      list: 'matched',
      free: 'matched',
      'no-free': 'no-offer',
      maybe: 'no-offer'
    })
    t.same(page.attributes, {
      flags: { express: true, limit: 10, own: { nested: 1 } },
      'bad-flags': { express: false, limit: 10 },
      'html-flags': { express: false, limit: 7 },
      'many-flags': { express: true, limit: 3 },
      'bad-many': { express: true, limit: 1 },
      'no-flags': { express: false, limit: 10 }
    })
    t.same(page.raw, { express: true, own: { nested: 1 } }, 'the response stays as it came')
    t.same(page.given, {
      content: 'mine', none: null, over: { express: true, limit: 10, more: 1, own: { nested: 1 } }, instead: { express: true }, schema: { express: true, own: { nested: 1 }, limit: 99 }
    }, 'what a call brings goes before what was declared, but not around the check')
    for (let visit = 0; visit < 3; visit++) await fetch(url)
    t.same(logged.map(({ msg }) => /the content of mbox (\S+) does not match its schema \(invalid-content\): (.*); its fallback is used$/.exec(msg)?.slice(1)), [
      ['bad-hero', '`content` must be a string'], ['bad-flags', '`content.express` must be true or false'], ['html-flags', '`content` must be an object'], ['bad-many', '`content.limit` must be a number']
    ], 'one line for an mbox and kind, not for a request')
    t.notMatch(JSON.stringify(logged), /value-of-an-offer/)
  }
})

t.test('mboxes: every failure returns the fallback, a copy for each request', async (t) => {
  const edge = await startEdge(t)
  const mboxes: MboxDefinitions = { hero: { fallback: 'Welcome' }, 'checkout-flags': { schema: Flags, fallback: { express: false, limit: 1 } } }
  const { url } = await startApp(t, edge.host, { mboxes, timeout: 1000, breaker: false }, (app) => {
    app.get('/', { config: { target: ['hero', 'checkout-flags'] } }, async (request) => {
      const { content, reason } = await request.target.offer('hero')
      const flags = await untyped(request).attributes('checkout-flags') as Record<string, unknown>
      const offered = await request.target.content('checkout-flags') as Record<string, unknown>
      const before = { ...flags, ...offered }
      // As a handler may that does not know whose they are.
      flags['express'] = offered['express'] = 'changed'
      return { content, reason, flags: before }
    })
    app.get('/off', { config: { target: false } }, async (request) => ({ ...await request.target.offer('hero'), flags: await untyped(request).attributes('checkout-flags') }))
  })
  for (const [fault, reason] of [['hang', 'timeout'], ['status:500', 'error'], ['bad-json', 'error']] as const) {
    edge.fault(fault)
    t.same(await json(await fetch(url)), { content: 'Welcome', reason, flags: { express: false, limit: 1 } }, fault)
  }
  t.match(await json(await fetch(`${url}/off`)), { content: 'Welcome', reason: 'not-requested', flags: { express: false, limit: 1 } })
  t.same(mboxes['checkout-flags']!.fallback, { express: false, limit: 1 })
})

t.test('mboxes: content is checked at most once for an answer', async (t) => {
  let checks = 0
  FormatRegistry.Set('counted', () => { checks++; return true })
  t.teardown(() => FormatRegistry.Delete('counted'))
  const Counted = Type.Object({ text: Type.String({ format: 'counted', default: '' }) })
  const edge = await startEdge(t, { artifact: artifactOffering({ counted: [data({ text: 'a' })] }) })
  const { url } = await startApp(t, edge.host, { mboxes: { counted: { schema: Counted } } }, (app) => {
    app.get('/', { config: { target: ['counted'] } }, async (request) => {
      const target = untyped(request)
      return await Promise.all([target.content('counted'), target.offer('counted'), target.attributes('counted'), target.content('counted'), target.attributes('counted')])
    })
  })
  checks = 0
  for (let visit = 1; visit <= 3; visit++) {
    t.match(await json(await fetch(url)), [{ text: 'a' }, { reason: 'matched' }, { text: 'a' }])
    t.equal(checks, visit)
  }
})

t.test('mboxes: invalid content counts no display', async (t) => {
  const artifact = artifactOffering({ flags: [{ ...data({ express: true }), eventToken: 'good' }], 'bad-flags': [{ ...data({ express: 'no' }), eventToken: 'bad' }] })
  const edge = await startEdge(t, { artifact })
  const mboxes: MboxDefinitions = { flags: { schema: Flags }, 'bad-flags': { schema: Flags } }
  for (const decisioningMethod of ['server-side', 'on-device'] as const) {
    const { app, url } = await startApp(t, edge.host, { mboxes, decisioningMethod, artifactPayload: artifact, pollingInterval: 0 }, (app) => {
      app.get('/', { config: { target: { prefetch: { mboxes: Object.keys(mboxes) } } } }, async (request) => {
        const { target } = request
        target.displayed('bad-flags')
        const reasons = await Promise.all(Object.keys(mboxes).map(async (mbox) => (await untyped(request).offer(mbox)).reason))
        for (const mbox of ['bad-flags', 'flags']) target.displayed(mbox)
        return reasons
      })
    })
    await app.target.ready()
    const before = edge.notifications.length
    t.same(await json(await fetch(url)), ['matched', 'invalid-content'])
    // Sends what is queued.
    await app.close()
    t.same(edge.notifications.slice(before).map(({ type, mbox }) => [type, mbox?.name]), [['display', 'flags']], decisioningMethod)
  }
})

t.test('mboxes: hostile content', async (t) => {
  const nested = `${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)}`
  const host = await startServer(t, (request, response) => {
    const option = (content: string) => `{"type":"json","content":${content}}`
    const mbox = (name: string, content: string) => `{"index":0,"name":"${name}","options":[${option(content)}]}`
    request.resume().on('end', () => response.end(`{"status":200,"execute":{"mboxes":[${[
      mbox('proto', '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"express":true}'),
      mbox('deep', `{"express":true,"a":${nested}}`),
      mbox('recursive', nested),
      mbox('keys', '{"a\\r\\nforged line":1}'),
      mbox('null', 'null')
    ].join(',')}]}}`))
  })
  const Recursive = Type.Recursive((This) => Type.Object({ a: Type.Optional(Type.Union([This, Type.Number()])) }))
  const { url, logged } = await startApp(t, host, {
    mboxes: {
      proto: { schema: Flags },
      deep: { schema: Flags },
      recursive: { schema: Recursive },
      keys: { schema: Type.Object({}, { additionalProperties: false }) },
      null: { schema: Flags },
      constructor: { schema: Flags },
      toString: { fallback: 'text' }
    }
  }, (app) => {
    app.get('/', { config: { target: ['proto', 'deep', 'recursive', 'keys', 'null', 'constructor', 'toString', '__proto__'] } }, async (request) => {
      const target = untyped(request)
      const reasons = Object.fromEntries(await Promise.all(['deep', 'recursive', 'keys', 'null', 'constructor', 'toString', '__proto__', 'valueOf'].map(async (name) => [`the ${name}`, (await target.offer(name)).reason])))
      const proto = await target.content('proto') as object
      const attributes = await target.attributes('proto') as object
      return { reasons, own: [Object.getPrototypeOf(proto) === Object.prototype, Object.getPrototypeOf(attributes) === Object.prototype, Object.hasOwn(attributes, '__proto__')], polluted: ({} as { polluted?: true }).polluted ?? false }
    })
  })
  t.same(await json(await fetch(url)), {
    reasons: { 'the deep': 'invalid-content', 'the recursive': 'invalid-content', 'the keys': 'invalid-content', 'the null': 'no-offer', 'the constructor': 'no-offer', 'the toString': 'no-offer', 'the __proto__': 'no-offer', 'the valueOf': 'no-offer' },
    own: [true, true, false],
    polluted: false
  })
  t.equal(logged.length, 4, 'the last one names `valueOf`, which the route does not declare')
  for (const { msg, err } of logged) t.notMatch(`${msg}${(err as Error | undefined)?.message}`, /[\r\n]/, 'a member forges no log line')
})

t.test('mboxes: arbitrary names fill neither log nor memory', async (t) => {
  const names = Array.from({ length: 1200 }, (_, index) => `mbox-${index}`)
  const host = await startServer(t, async (request, response) => {
    const { execute } = await readJson(request) as { execute: { mboxes: { index: number, name: string }[] } }
    response.end(JSON.stringify({ status: 200, execute: { mboxes: execute.mboxes.map((mbox) => ({ ...mbox, options: [data({ express: 'no' })] })) } }))
  })
  const { url, logged } = await startApp(t, host, {}, (app) => {
    app.get('/', { config: { target: names } }, async (request) => {
      for (const name of names) await request.target.attributes(name, Flags)
      return 'page'
    })
  })
  t.equal(await (await fetch(url)).text(), 'page')
  t.equal(logged.length, 1001)
})

t.test('mboxes and attributes(): formats and kinds of the TypeBox that CommonJS requires', async (t) => {
  const other = createRequire(import.meta.url)('@sinclair/typebox') as typeof import('@sinclair/typebox')
  t.not(other.FormatRegistry, FormatRegistry)
  other.FormatRegistry.Set('sku', (value) => /^[A-Z]\d+$/.test(value))
  other.TypeRegistry.Set<{ least: number }>('AtLeast', ({ least }, value) => typeof value === 'number' && value >= least)
  const AtLeast = other.Type.Unsafe<number>({ [Kind]: 'AtLeast', least: 5, default: 9 })
  const Product = other.Type.Object({ sku: other.Type.String({ format: 'sku', default: 'Z0' }), price: AtLeast, size: other.Type.Integer({ default: 1 }) })
  const artifact = artifactOffering({
    good: [data({ sku: 'A1', price: 7 })],
    'bad-format': [data({ sku: 'a1', price: 7 })],
    'bad-kind': [data({ sku: 'A1', price: 4 })]
  })
  const edge = await startEdge(t, { artifact })
  const product = { schema: Product, fallback: { sku: 'Z0', price: 9, size: 0 } }
  const mboxes = { good: product, 'bad-format': product, 'bad-kind': product } as unknown as MboxDefinitions
  const { url } = await startApp(t, edge.host, { mboxes }, (app) => {
    app.get('/', { config: { target: Object.keys(mboxes) } }, async (request) => await Promise.all(
      Object.keys(mboxes).flatMap((name) => [untyped(request).content(name), untyped(request).attributes(name, Product)])))
  })
  const good = { sku: 'A1', price: 7, size: 1 }
  const defaults = { sku: 'Z0', price: 9, size: 1 }
  t.same(await json(await fetch(url)), [good, good, product.fallback, defaults, product.fallback, defaults])
})

t.test('mboxes: a mistake fails registration and names the mbox', async (t) => {
  const cases: [unknown, RegExp][] = [
    [3, /`mboxes` must be an object of \{ schema, fallback \} by mbox name, got 3/],
    [[], /`mboxes` must be .*, got \[\]/],
    [{ hero: 'text' }, /`mboxes\.hero` must be an object \{ schema, fallback \}, got 'text'/],
    [{ hero: { shema: Type.String() } }, /unknown option `mboxes\.hero\.shema` \(did you mean `schema`\?\)/],
    [{ ' ': {} }, /`mboxes\. ` must have a name/],
    [{ hero: { schema: { hero: 'string' } } }, /`mboxes\.hero\.schema` is not a TypeBox schema/],
    [{ hero: { schema: null } }, /`mboxes\.hero\.schema` is not a TypeBox schema/],
    [{ hero: { schema: Type.Object({ a: Type.Array(Type.String({ format: 'nowhere' })) }) } }, /`mboxes\.hero\.schema` has the format nowhere, which is not in TypeBox's FormatRegistry \(register it/],
    [{ hero: { schema: Type.Object({ a: { [Kind]: 'Nowhere' } as never }) } }, /`mboxes\.hero\.schema` has the kind Nowhere/],
    [{ hero: { schema: Type.String(), fallback: 3 } }, /`mboxes\.hero` has a fallback that does not match its schema: `content` must be a string/],
    [{ flags: { schema: Flags, fallback: { express: 'no' } } }, /`mboxes\.flags` has a fallback that does not match its schema: `content\.express` must be true or false/],
    [{ flags: { schema: Flags, fallback: null } }, /`mboxes\.flags` has a fallback that does not match/],
    [{ flags: { schema: Type.Object({ express: Type.Boolean() }) } }, /`mboxes\.flags` has no fallback, and the defaults of its schema do not satisfy it: `content\.express` is required; .*Type\.Optional\(\)/],
    [{ flags: { schema: Type.Object({ a: Type.Boolean({ default: () => { throw new Error('no luck') } }) }) } }, /`mboxes\.flags` has a schema that cannot be used/],
    [{ free: { fallback: new (class Html {})() } }, /`mboxes\.free` has a fallback that is not plain data/],
    [{ free: { fallback: { render () {} } } }, /`mboxes\.free` has a fallback that is not plain data/]
  ]
  for (const [mboxes, message] of cases) {
    const app = Fastify()
    const options = { client, organizationId, mboxes } as FastifyAdobeTargetOptions
    await t.rejects(async () => await app.register(fastifyAdobeTarget, options), { code: 'FST_TARGET_INVALID_OPTIONS', message }, String(message))
    await app.close()
  }
})

t.test('attributes() without schema or defaults throws', async (t) => {
  const edge = await startEdge(t)
  const mboxes: MboxDefinitions = { hero: { schema: Type.String(), fallback: '' }, free: { fallback: { a: 1 } }, maybe: { schema: Type.Optional(Type.Object({ title: Type.String() })) } }
  const { url } = await startApp(t, edge.host, { mboxes }, (app) => {
    app.get('/', async (request) => {
      for (const name of ['nowhere', 'hero', 'free', 'maybe']) t.throws(() => untyped(request).attributes(name), { code: 'FST_TARGET_INVALID_OPTIONS', message: new RegExp(`mbox ${name} requires a schema or defaults`) })
      t.throws(() => request.target.attributes('hero', Type.String({ default: 'x' }) as never), { code: 'FST_TARGET_INVALID_OPTIONS' })
      return await request.target.attributes('nowhere', Type.Intersect([Flags, Type.Object({ more: Type.Integer({ default: 2 }) })]))
    })
  })
  t.same(await json(await fetch(url)), { express: false, limit: 10, more: 2 })
})

t.test('mboxes: a typed app, with the routes\' types from TypeBox', async (t) => {
  const edge = await startEdge(t, { artifact: artifactOffering({ 'typed-hero': [html('<h1>Typed</h1>')], 'typed-flags': [data({ express: true })], 'typed-product': [data({ title: 7 })] }) })
  const app = await createTypedApp(edge.host)
  t.teardown(() => app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  t.same(await json(await fetch(`${url}/5?size=2`)), { page: 7, hero: '<h1>Typed</h1>', flags: { express: true, freeShippingFrom: 100 }, product: { title: 'Lamp', price: 5 } })
  t.equal((await fetch(`${url}/x`)).status, 400, 'the route checks by its schema')
  t.same(await json(await fetch(`${url}/others`)), {
    content: { express: true, freeShippingFrom: 100 }, given: '<h1>Typed</h1>', any: null, byHandWith: '', laidOver: { express: true, freeShippingFrom: 100, size: 1 }, plain: { size: 1 }, price: 5
  })
  t.same(await json(await fetch(`${url}/mistakes`)), new Array(5).fill('FST_TARGET_INVALID_OPTIONS'), 'what the compiler refuses is refused at run time too')
})
