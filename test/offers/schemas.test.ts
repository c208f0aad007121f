/** Content against schemas of every library, in `mboxes` and in `attributes()`. */
import { Type } from '@sinclair/typebox'
import { type } from 'arktype'
import Fastify from 'fastify'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import t from 'tap'
import { Type as Type1 } from 'typebox'
import * as v from 'valibot'
import { z } from 'zod'
import fastifyAdobeTarget, { type FastifyAdobeTargetOptions, type RequestTarget } from '../../lib/index.ts'
import { client, json, organizationId, startApp, startServer } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep } from '../support/wait.ts'

/** Content by mbox name: whatever the edge would answer with. */
const host = await startServer(t, async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const { execute, prefetch, notifications } = JSON.parse(body)
  if (notifications !== undefined) reported.push(...notifications)
  const answer = (mboxes: { name: string }[] = []) => mboxes.map(({ name }, index) => ({ index, name, options: options(name) }))
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ status: 200, execute: { mboxes: answer(execute?.mboxes) }, prefetch: { mboxes: answer(prefetch?.mboxes) }, notifications: notifications?.map(({ id }: { id: string }) => ({ id })) }))
})
const reported: { mbox?: { name: string } }[] = []
const options = (name: string) => {
  const content = name.endsWith('good') ? { express: true } : name.endsWith('bad') ? { express: 'secret' } : name.endsWith('text') ? '<b>' : undefined
  return content === undefined ? [] : [{ type: typeof content === 'string' ? 'html' : 'json', content, eventToken: `token-${name}` }]
}

/** A Standard Schema that gives what query builders and old libraries call a promise. */
const lazily = (schema: z.ZodType) => ({
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (content: unknown) => ({ then (resolve: (result: unknown) => void) { setTimeout(() => resolve(schema['~standard'].validate(content)), 1) } })
  }
}) as unknown as StandardSchemaV1<{ express?: boolean, limit?: number }, { express: boolean, limit: number }>

const schemas = {
  'TypeBox 0.34': Type.Object({ express: Type.Boolean({ default: false }), limit: Type.Number({ default: 10 }) }),
  'TypeBox 1': Type1.Object({ express: Type1.Boolean({ default: false }), limit: Type1.Number({ default: 10 }) }),
  Zod: z.object({ express: z.boolean().default(false), limit: z.number().default(10) }),
  Valibot: v.object({ express: v.optional(v.boolean(), false), limit: v.optional(v.number(), 10) }),
  ArkType: type({ express: 'boolean = false', limit: 'number = 10' }),
  'JSON Schema': { type: 'object', properties: { express: { type: 'boolean', default: false }, limit: { type: 'number', default: 10 } } },
  'asynchronous Zod': z.object({ express: z.boolean().default(false), limit: z.number().default(10) }).refine(async () => { await sleep(5); return true }),
  'a promise with no more than `then`': lazily(z.object({ express: z.boolean().default(false), limit: z.number().default(10) }))
} as const
const untyped = (target: RequestTarget) => target as unknown as { attributes: (mbox: string, schema?: unknown) => Promise<unknown> }
const complete = { express: true, limit: 10 }
const defaults = { express: false, limit: 10 }

t.test('every kind of schema completes, checks and falls back, in attributes() and in mboxes', async (t) => {
  for (const [kind, schema] of Object.entries(schemas)) {
    const mboxes = { 'declared-good': { schema }, 'declared-bad': { schema }, 'declared-none': { schema }, 'declared-text': { schema, fallback: { limit: 3 } } } as FastifyAdobeTargetOptions['mboxes']
    const { url, logged } = await startApp(t, host, { mboxes }, (app) => {
      app.get('/', { config: { target: ['good', 'bad', 'none', ...Object.keys(mboxes!)] } }, async ({ target }) => ({
        given: await Promise.all(['good', 'bad', 'none'].map((name) => untyped(target).attributes(name, schema))),
        declared: await Promise.all(Object.keys(mboxes!).map((name) => untyped(target).attributes(name))),
        content: await Promise.all(Object.keys(mboxes!).map((name) => target.content(name))),
        reasons: await Promise.all(Object.keys(mboxes!).map(async (name) => (await target.offer(name)).reason)),
        over: await untyped(target).attributes('declared-good', { size: 1 })
      }))
    })
    const page = await json(await fetch(url))
    t.same(page.given, [complete, defaults, defaults], `${kind}: attributes()`)
    t.same(page.declared, [complete, defaults, defaults, { express: false, limit: 3 }], `${kind}: attributes() of what is declared`)
    t.same(page.content, [complete, defaults, defaults, { express: false, limit: 3 }], `${kind}: content()`)
    t.same(page.reasons, ['matched', 'invalid-content', 'no-offer', 'invalid-content'], kind)
    t.same(page.over, { express: true, limit: 10, size: 1 }, `${kind}: laid over defaults`)
    t.match(logged.map(({ msg }) => msg).sort(), [/mbox bad .*`content\.express`/, /mbox declared-bad .*`content\.express`/, /mbox declared-text .*`content/], kind)
    t.notMatch(JSON.stringify(logged), /secret/, `${kind}: never a value`)
  }
})

t.test('the app\'s own compiler, options and shared schemas hold for JSON Schema', async (t) => {
  const app = Fastify({ ajv: { customOptions: { coerceTypes: false, removeAdditional: 'all' } } })
  t.teardown(() => app.close())
  app.addSchema({ $id: 'flag', type: 'boolean', default: false })
  const schema = { type: 'object', additionalProperties: false, properties: { express: { $ref: 'flag#' }, more: { type: 'string', default: 'x' } } }
  await app.register(fastifyAdobeTarget, { client, organizationId, serverDomain: host, secure: false, mboxes: { 'declared-good': { schema } as never } })
  app.get('/', { config: { target: ['good', 'bad', 'declared-good'] } }, async ({ target }) => [
    await untyped(target).attributes('good', schema), await untyped(target).attributes('bad', schema), await untyped(target).attributes('declared-good')
  ])
  t.same((await app.inject('/')).json(), [{ express: true, more: 'x' }, { more: 'x' }, { express: true, more: 'x' }])

  const other = Fastify()
  t.teardown(() => other.close())
  other.setValidatorCompiler(() => (async (content: unknown) => await sleep(5, { value: { ...content as object, own: true } })) as never)
  await other.register(fastifyAdobeTarget, { client, organizationId, serverDomain: host, secure: false })
  other.get('/', { config: { target: ['good'] } }, async ({ target }) => await untyped(target).attributes('good', { type: 'object', properties: {} }))
  t.same((await other.inject('/')).json(), { express: true, own: true }, 'one that was set, and is asynchronous')
})

t.test('an asynchronous schema has the time that the call has left', async (t) => {
  // Only content of Target's takes its time.
  const slow = z.object({ express: z.boolean().default(false) }).refine(async ({ express }) => { if (express) await sleep(2000, undefined, { ref: false }); return true })
  const { url } = await startApp(t, host, { timeout: 150, mboxes: { 'slow-good': { schema: slow } } }, (app) => {
    app.get('/', { config: { target: { execute: { mboxes: ['slow-good', 'good'] } } } }, async ({ target }) => {
      const start = performance.now()
      const offer = await target.offer('slow-good')
      const attributes = await target.attributes('good', slow)
      return { offer, attributes, waited: target.timing.waited, elapsed: performance.now() - start }
    })
    app.get('/soon', { config: { target: { execute: { mboxes: ['slow-good'] }, maxWait: 20 } } }, async ({ target }) => await target.offer('slow-good'))
  })
  const page = await json(await fetch(url))
  t.match(page, { offer: { reason: 'timeout', content: { express: false }, error: { code: 'FST_TARGET_TIMEOUT' } }, attributes: { express: false } })
  t.ok(page.elapsed < 1500, `${page.elapsed} ms`)
  t.ok(page.waited > 100 && page.waited <= page.elapsed, 'it counts as Target\'s time')
  t.match(await json(await fetch(`${url}/soon`)), { reason: 'max-wait', content: { express: false } })
})

t.test('content that fails an asynchronous check counts no display', async (t) => {
  const schema = schemas['asynchronous Zod']
  const { app, url } = await startApp(t, host, { mboxes: { 'shown-good': { schema }, 'shown-bad': { schema } } }, (app) => {
    app.get('/', { config: { target: { prefetch: { mboxes: ['shown-good', 'shown-bad'] } } } }, async ({ target }) => {
      for (const name of ['shown-good', 'shown-bad']) target.displayed(name)
      return ''
    })
  })
  await fetch(url)
  while (app.target.health().outbox.sent === 0) await sleep(5)
  t.same(reported.map(({ mbox }) => mbox?.name), ['shown-good'])
})

t.test('what is neither a schema nor defaults is refused, and no schema is taken for defaults', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, { client, organizationId, serverDomain: host, secure: false })
  const cases: [unknown, RegExp][] = [
    ['text', /must be a schema of an object, or an object of defaults/],
    [[{ a: 1 }], /must be a schema/],
    [class Flags {}, /must be a schema/],
    [new (class Schema { parse () {} })(), /must be a schema/],
    [{ '~standard': { version: 2, validate () {} } }, /unknown version/],
    [{ express: z.boolean() }, /has a schema in its member express: wrap/],
    [{ express: Type.Boolean() }, /has a schema in its member express/],
    [{ express: Type1.Boolean() }, /has a schema in its member express/],
    [{ express: { type: 'boolean', default: false } }, /has a schema in its member express/],
    [{ express: () => false }, /has a schema in its member express/],
    [{ type: 'strange', properties: { a: { type: 'string' } }, $schema: 'x' }, /the schema cannot be compiled by the app's validator/],
    [{ type: 'object', properties: { a: { type: 'strnig' } } }, /the schema cannot be compiled/],
    [{ type: 'object', required: ['a'], properties: { a: { type: 'string' } } }, /the defaults of the schema do not satisfy it: `content` does not match the schema \(must have required property 'a'\)/],
    [{ type: 'string' }, /the defaults of the schema do not satisfy it/],
    [{ anyOf: [{ type: 'string' }] }, /the defaults of the schema do not satisfy it/],
    [z.object({ a: z.string() }), /`content\.a` does not match the schema \(.*expected string.*\); give every required property a default/],
    [v.object({ a: v.string() }), /`content\.a`/],
    [type({ a: 'string' }), /`content\.a`/],
    [Type1.Object({ a: Type1.String() }), /required property 'a'/]
  ]
  const plain = [{}, { type: 'banner', size: 3 }, { type: 'number', size: 3, of: 'shoe' }, { properties: 3 }, { properties: { a: 1 } }, { anyOf: ['a', 'b'] }, { title: 'x', description: 'y' }, { nested: { type: 'hero', items: [] } }]
  app.get('/', async ({ target }) => {
    for (const [schema, message] of cases) t.throws(() => untyped(target).attributes('good', schema), { code: 'FST_TARGET_INVALID_OPTIONS', message }, String(message))
    for (const given of plain) t.same(await untyped(target).attributes('nothing', given), given, JSON.stringify(given))
    const late = z.object({ a: z.string().default('x') }).refine(async () => false)
    await t.rejects(untyped(target).attributes('nothing', late), { code: 'FST_TARGET_INVALID_OPTIONS' })
    return ''
  })
  t.equal((await app.inject('/')).statusCode, 200)
})

t.test('mboxes: a mistake in any kind of schema fails registration', async (t) => {
  const cases: [unknown, RegExp][] = [
    [{ schema: z.object({ a: z.string() }) }, /`mboxes\.flags` has no fallback, and the defaults of its schema do not satisfy it: `content\.a`/],
    [{ schema: z.object({ a: z.string() }).refine(async () => true), fallback: { a: 1 } }, /`mboxes\.flags` has a fallback that does not match its schema/],
    [{ schema: { type: 'object', properties: { a: { type: 'nothing' } } } }, /`mboxes\.flags\.schema` cannot be compiled by the app's validator/],
    [{ schema: { type: 'object', required: ['a'] } }, /`mboxes\.flags` has no fallback/],
    [{ schema: { express: z.boolean() } }, /`mboxes\.flags\.schema` has a schema in its member express/],
    [{ schema: { express: 'boolean' } }, /`mboxes\.flags\.schema` is not a TypeBox schema, a Standard Schema .* or a JSON Schema/],
    [{ schema: () => true }, /`mboxes\.flags\.schema` is not/],
    [{ schema: z.object({}).transform(() => ({ now: () => 1 })) }, /cannot be copied/]
  ]
  for (const [flags, message] of cases) {
    const app = Fastify()
    await t.rejects(async () => await app.register(fastifyAdobeTarget, { client, organizationId, mboxes: { flags } as never }), { code: 'FST_TARGET_INVALID_OPTIONS', message }, String(message))
    await app.close()
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyAdobeTarget, {
    client,
    organizationId,
    serverDomain: host,
    secure: false,
    mboxes: { a: { schema: z.string() }, b: { schema: z.string().default('b') }, c: { schema: z.object({ a: z.string() }).optional() }, d: { schema: Type1.Optional(Type1.Object({ a: Type1.String() })) }, e: { schema: { type: 'string', default: 'e' } } }
  })
  app.get('/', async ({ target }) => await Promise.all(['a', 'b', 'c', 'd', 'e'].map(async (name) => await target.content(name) ?? null)))
  t.same((await app.inject('/')).json(), [null, 'b', null, null, 'e'])
})
