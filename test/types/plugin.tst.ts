/** The types of `request.target`: what a handler gets, by mbox. */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { expect, test } from 'tstyche'
import { type } from 'arktype'
import { Type as Type1 } from 'typebox'
import * as v from 'valibot'
import { z } from 'zod'
import fastifyAdobeTarget, { type MboxDefinitions, type Offer, type RequestTarget, type TargetClient, type TargetResult, type TargetRouteConfig } from '../../lib/index.ts'

declare module '../../lib/index.ts' {
  interface TargetMboxes { greeting: string, flags: { express: boolean } }
}

const account = { client: 'acmeclient', organizationId: '1234567890@AdobeOrg' }
const app = Fastify()

test('registering with an unknown or mistyped option does not compile', () => {
  const register = (options: Parameters<typeof fastifyAdobeTarget>[1]) => app.register(fastifyAdobeTarget, options)
  expect(register).type.toBeCallableWith({ ...account, timeout: 500, enabled: () => true })
  expect(register).type.not.toBeCallableWith({ ...account, tiemout: 500 })
  expect(register).type.not.toBeCallableWith({ ...account, timeout: '500' })
})

test('a route\'s config.target is checked', () => {
  app.get('/', { config: { target: { execute: { mboxes: ['greeting', { name: 'cart', parameters: { size: '3' } }] }, maxWait: 50 } } }, async () => '')
  // @ts-expect-error Type '{ execute: { mboxes: string[]; }; maxWait: string; }' is not assignable to type
  app.get('/wrong', { config: { target: { execute: { mboxes: ['greeting'] }, maxWait: '50' } } }, async () => '')
})

test('a config.target that asks for nothing does not compile', () => {
  const handler = async () => ''
  // @ts-expect-error! a name is not a list of names
  app.get('/', { config: { target: 'greeting' } }, handler)
  // @ts-expect-error! `mboxes` belongs into `execute` or `prefetch`
  app.get('/', { config: { target: { mboxes: ['greeting'] } } }, handler)
  // @ts-expect-error! an mbox has a name
  app.get('/', { config: { target: [{ nam: 'greeting' }] } }, handler)
  // @ts-expect-error! `execute` is not a list
  app.get('/', { config: { target: { execute: ['greeting'] } } }, handler)
  // @ts-expect-error! the page load is an object
  app.get('/', { config: { target: { execute: { pageLoad: true } } } }, handler)
  // @ts-expect-error! likewise
  app.get('/', { config: { target: { prefetch: { pageLoad: 'yes' } } } }, handler)
  // @ts-expect-error! nothing in it
  app.get('/', { config: { target: { execute: {} } } }, handler)
  // @ts-expect-error! misspelled
  app.get('/', { config: { target: { taget: ['greeting'] } } }, handler)
  // @ts-expect-error! misspelled
  app.get('/', { config: { taget: ['greeting'] } }, handler)
  // @ts-expect-error! it returns nothing
  app.get('/', { config: { target: () => undefined } }, handler)
  // @ts-expect-error! a promise comes too late
  app.get('/', { config: { target: async () => ['greeting'] } }, handler)
  // @ts-expect-error! likewise for the default request
  app.register(fastifyAdobeTarget, { ...account, request: { mboxes: ['greeting'] } })

  app.get('/a', { config: { target: true } }, handler)
  app.get('/b', { config: { target: { execute: { pageLoad: {} } } } }, handler)
  app.get('/c', { config: { target: { prefetch: { views: [{}, 'home'], mboxes: ['greeting'] }, execute: { mboxes: [{ name: 'cart', parameters: { size: '3' } }] }, maxWait: 50 } } }, handler)
  app.get('/d', { config: { target: (request) => [request.url] } }, handler)
  app.get('/e', { config: { target: (request) => ({ execute: { pageLoad: {}, mboxes: [{ name: request.id }] } }) } }, handler)
  app.get('/f', { config: { target: ['greeting'], rateLimit: { max: 1 } } }, handler)
})

test('another decorator is typed by getDecorator()', () => {
  app.get('/', async (request) => {
    expect(request.getDecorator<RequestTarget>('blog').content('greeting')).type.toBe<Promise<string | undefined>>()
    expect(app.getDecorator<TargetClient>('blog').ready()).type.toBe<Promise<void>>()
  })
  app.get('/checked', { config: { blog: ['banner'] satisfies TargetRouteConfig } }, async () => '')
})

test('attributes and declared mboxes are typed by schemas of any library', () => {
  app.get('/', async ({ target }) => {
    expect(await target.attributes('x', z.object({ express: z.boolean().default(false) }))).type.toBe<{ express: boolean }>()
    expect(await target.attributes('x', v.object({ express: v.optional(v.boolean(), false) }))).type.toBe<{ express: boolean }>()
    expect(await target.attributes('x', type({ express: 'boolean = false' }))).type.toBe<{ express: boolean }>()
    expect(await target.attributes('x', Type1.Object({ express: Type1.Boolean(), size: Type1.Optional(Type1.Union([Type1.Literal('s'), Type1.Literal('m')])), list: Type1.Array(Type1.Number()) })))
      .type.toBe<{ express: boolean, size?: 's' | 'm', list: number[] }>()
    expect(await target.attributes('x', { type: 'object', properties: { express: { type: 'boolean', default: false }, size: { enum: ['s', 'm'] } } })).type.toBe<{ express: boolean, size?: 's' | 'm' }>()
    expect(await target.attributes('x', { express: false as boolean })).type.toBeAssignableTo<{ express: boolean }>()
  })
  expect<MboxDefinitions>().type.toBeAssignableFrom({ a: { schema: z.string() }, b: { schema: type('string') }, c: { schema: Type1.String() }, d: { schema: { type: 'string' as const } } })
  expect<MboxDefinitions>().type.not.toBeAssignableFrom({ a: { schema: { express: 'boolean' } } })
})

test('offers have the type that their mbox was declared with', () => {
  app.get('/', async ({ target }) => {
    expect(target.content('greeting', 'hello')).type.toBe<Promise<string>>()
    expect(await target.content('flags')).type.toBeAssignableTo<{ express: boolean } | undefined>()
    expect(await target.attributes('flags', Type.Object({ limit: Type.Number() }))).type.toBeAssignableTo<{ limit: number }>()
    expect(await target.attributes('flags', { size: 1 as number })).type.toBeAssignableTo<{ size: number }>()
    expect(await target.offer('undeclared')).type.toBeAssignableTo<Offer>()
    expect(target.result()).type.toBe<Promise<TargetResult>>()
    expect(target.timing.waited).type.toBe<number>()
    expect(target.variantKey(['greeting', { view: 'home' }, { pageLoad: true }] as const, { contentOnly: true })).type.toBe<Promise<string | undefined>>()
    expect(target.variantKey).type.toBeCallableWith('greeting')
    expect(target.variantKey).type.not.toBeCallableWith(['greeting'], { contentonly: true })
    expect(target.variantKey).type.not.toBeCallableWith()
  })
})
