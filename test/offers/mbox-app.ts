/** An app as one writes it in TypeScript: mboxes declared once, with types in handlers and routes. mboxes.test.ts runs it, the compiler checks it. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type, type Static } from '@sinclair/typebox'
import Fastify from 'fastify'
import fastifyAdobeTarget, { type MboxDefinitions, type MboxTypes } from '../../lib/index.ts'
import { optionsFor } from '../support/helper.ts'

const Flags = Type.Object({ express: Type.Boolean({ default: false }), freeShippingFrom: Type.Number({ default: 100 }) })
const Product = Type.Object({ title: Type.String(), price: Type.Number() })

const mboxes = {
  'typed-hero': { schema: Type.String(), fallback: '<h1>Welcome</h1>' },
  'typed-flags': { schema: Flags },
  'typed-product': { schema: Product, fallback: { title: 'Lamp', price: 5 } },
  'typed-maybe': { schema: Type.Optional(Product) },
  'typed-text': { schema: Type.String() },
  'typed-any': { fallback: null }
} satisfies MboxDefinitions

declare module '../../lib/index.ts' {
  interface TargetMboxes extends MboxTypes<typeof mboxes> {
    'typed-by-hand': string
  }
}

/** Whether two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const sure = <Sure extends true>(): Sure | undefined => undefined

export async function createTypedApp (edge: string) {
  const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()
  await app.register(fastifyAdobeTarget, optionsFor(edge, { mboxes }))

  app.get('/:page', {
    schema: {
      params: Type.Object({ page: Type.Integer() }),
      querystring: Type.Object({ size: Type.Optional(Type.Number()) }),
      response: { 200: Type.Object({ page: Type.Integer(), hero: Type.String(), flags: Flags, product: Product }) }
    },
    config: { target: ['typed-hero', 'typed-flags', 'typed-product'] }
  }, async (request) => {
    const { target, params, query } = request
    sure<Same<typeof params.page, number>>()
    sure<Same<typeof query.size, number | undefined>>()
    const hero = await target.content('typed-hero')
    sure<Same<typeof hero, string>>()
    const flags = await target.attributes('typed-flags')
    sure<Same<typeof flags, Static<typeof Flags>>>()
    const { content: product } = await target.offer('typed-product')
    sure<Same<typeof product, Static<typeof Product>>>()
    return { page: params.page + (query.size ?? 0), hero, flags, product }
  })

  app.get('/wrong', { schema: { response: { 200: Type.Object({ hero: Type.Number() }) } } },
    // @ts-expect-error -- the hero is a string, and the route answers with a number
    async (request) => ({ hero: await request.target.content('typed-hero') }))

  app.get('/others', async (request) => {
    const { target } = request
    const content = await target.content('typed-flags')
    sure<Same<typeof content, Static<typeof Flags>>>()
    const given = await target.content('typed-hero', 0 as const)
    sure<Same<typeof given, string | 0>>()
    const product = await target.attributes('typed-product')
    sure<Same<typeof product.price, number>>()
    const maybe = await target.content('typed-maybe')
    sure<Same<typeof maybe, Static<typeof Product> | undefined>>()
    const text = await target.content('typed-text')
    sure<Same<typeof text, string | undefined>>()
    const any = await target.content('typed-any')
    sure<Same<typeof any, string | Record<string, unknown> | unknown[] | null>>()
    const byHand = await target.content('typed-by-hand')
    sure<Same<typeof byHand, string | undefined>>()
    const byHandWith = await target.content('typed-by-hand', '')
    sure<Same<typeof byHandWith, string>>()
    const unknown = await target.content('undeclared')
    sure<Same<typeof unknown, string | Record<string, unknown> | unknown[] | undefined>>()
    const laidOver = await target.attributes('typed-flags', { size: 1 as number })
    sure<Same<typeof laidOver, { readonly size: number }>>()
    const plain: { size: number } = await target.attributes('undeclared', { size: 1 as number })
    return { content, given, maybe, text, any, byHand, byHandWith, unknown, laidOver, plain, price: product.price }
  })

  app.get('/mistakes', async (request) => {
    const { target } = request
    const mistakes: unknown[] = []
    const noticed = (ask: () => unknown) => { try { ask() } catch (error) { mistakes.push((error as { code: string }).code) } }
    // @ts-expect-error -- nothing says what its attributes are
    noticed(() => target.attributes('undeclared'))
    // @ts-expect-error -- a text has no attributes
    noticed(() => target.attributes('typed-hero'))
    // @ts-expect-error -- there may be nothing
    noticed(() => target.attributes('typed-maybe'))
    // @ts-expect-error -- declared by hand: the type alone is nothing to check by
    noticed(() => target.attributes('typed-by-hand'))
    // @ts-expect-error -- an object without a schema
    noticed(() => target.attributes('typed-any'))
    return mistakes
  })

  // @ts-expect-error -- no such member
  noApp({ hero: { shema: Type.String() } })
  // @ts-expect-error -- no schema of any kind
  noApp({ hero: { schema: { hero: 'string' } } })
  return app
}

/** Takes definitions and does nothing with them. */
function noApp (_mboxes: MboxDefinitions): void {}
