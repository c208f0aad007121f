/** The types of `request.target`: what a handler gets, by mbox. */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { expect, test } from 'tstyche'
import fastifyAdobeTarget, { type Offer, type TargetResult } from '../../lib/index.ts'

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

test('offers have the type that their mbox was declared with', () => {
  app.get('/', async ({ target }) => {
    expect(target.content('greeting', 'hello')).type.toBe<Promise<string>>()
    expect(await target.content('flags')).type.toBeAssignableTo<{ express: boolean } | undefined>()
    expect(await target.attributes('flags', Type.Object({ limit: Type.Number() }))).type.toBeAssignableTo<{ limit: number }>()
    expect(await target.attributes('flags', { size: 1 as number })).type.toBeAssignableTo<{ size: number }>()
    expect(await target.offer('undeclared')).type.toBeAssignableTo<Offer>()
    expect(target.result()).type.toBe<Promise<TargetResult>>()
    expect(target.timing.waited).type.toBe<number>()
  })
})
