/** The migration guide: every "after" runs against the local edge. */
import { pathToFileURL } from 'node:url'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { TargetEdge } from '../../lib/edge/index.ts'
import { DeliveryRequest } from '../../lib/schema/index.ts'
import { blocksOf, complete, readDocument, serviceFor, type Block } from './documents.ts'
import { organizationId, startEdge } from '../support/helper.ts'
import { startProject } from '../support/project.ts'
import { sleep } from '../support/wait.ts'
import { FULL } from '../support/full.ts'

const project = await startProject(t)
const guide = readDocument('docs/migration.md')
// What to move to; readme.test.ts compiles it.
const blocks = blocksOf('docs/migration.md').filter(({ language }) => language === 'ts')

t.test('the examples that Adobe documents are there, before and after', async (t) => {
  t.ok(blocks.length >= 15, `${blocks.length} blocks`)
  for (const heading of ['Get offers', 'Prefetch and notify', 'Attributes', 'Experience Cloud id (ECID)', 'Customer ids', 'Analytics (A4T)', 'Audience Manager (AAM)', 'Property', 'On-device decisioning', 'Proxy', 'Events', 'Logger']) {
    const section = guide.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? ''
    t.match(section, /^```js\n/m, `${heading}: before`)
    t.match(section, /^```ts\n/m, `${heading}: after`)
  }
})

t.test('an editor completes the fields of a request', { skip: !FULL && 'only in npm run test:full' }, async (t) => {
  const code = 'import { createTargetClient } from \'fastify-adobe-target\'\nawait createTargetClient({ client: \'a\', organizationId: \'b\' }).getOffers({ request: {  } })\n'
  const file = project.write('completion', 'completion.ts', code)
  const position = code.indexOf('request: {') + 'request: {'.length + 1
  const names = serviceFor(project, [file]).getCompletionsAtPosition(file, position, {})?.entries.filter(({ kind }) => kind === 'property').map(({ name }) => name)
  t.same(names?.sort(), Object.keys(DeliveryRequest.properties).sort())
})

/** Runs a block against an edge. */
async function run (t: Test, block: Block, edge: TargetEdge & { host: string }): Promise<FastifyInstance | undefined> {
  const code = complete(block)
    .replaceAll("organizationId: '1234567890@AdobeOrg'", `organizationId: '1234567890@AdobeOrg', serverDomain: '${edge.host}', secure: false`)
    .replaceAll('https://assets.adobetarget.com', `http://${edge.host}`)
    .replaceAll('{ logger: true }', '')
  const file = project.write(`blocks/${blocks.indexOf(block)}`, 'block.ts', code)
  const { app } = await import(pathToFileURL(file).href)
  t.teardown(() => app.close())
  return app
}

/** What each section promises, seen from what the page gets and what the edge received. */
const PROMISES: Record<string, (t: Test, seen: { page: any, edge: TargetEdge }) => unknown> = {
  'Get offers': (t, { page, edge }) => {
    t.match(page, /hero__title/)
    t.equal(edge.requests[0]?.body.execute.mboxes[0].name, 'hero')
  },
  'Prefetch and notify': async (t, { page, edge }) => {
    t.match(page, /hero__title/)
    for (let tries = 0; tries < 200 && edge.notifications.length === 0; tries++) await sleep(10)
    t.match(edge.notifications, [{ type: 'display', mbox: { name: 'hero' }, tokens: [String] }])
  },
  Attributes: (t, { page }) => t.match(page, /"express":(true|false)/),
  'Experience Cloud id (ECID)': (t, { page, edge }) => {
    t.equal(edge.requests[0]?.body.id.marketingCloudVisitorId, '12345')
    t.match(page, edge.requests[0]?.body.experienceCloud.analytics.supplementalDataId)
  },
  'Customer ids': (t, { edge }) => t.match(edge.requests[0]?.body.id, {
    customerIds: [{ id: '67312378756723456', integrationCode: 'userid', authenticatedState: 'authenticated' }]
  }),
  'Analytics (A4T)': (t, { edge }) => t.equal(edge.requests[0]?.body.experienceCloud.analytics.logging, 'client_side'),
  'Audience Manager (AAM)': (t, { edge }) => t.same(edge.requests[0]?.body.experienceCloud.audienceManager, { locationHint: 9, blob: '32fdghkjh34kj5h43' }),
  Property: (t, { edge }) => t.equal(edge.requests[0]?.body.property.token, 'a4d8ff78-7c50-4d3a-8d5b-1d1f5e0c9f1b'),
  'On-device decisioning': (t, { page, edge }) => {
    t.match(page, /"source":"on-device"/)
    t.equal(edge.requests.some(({ body }) => body.execute !== undefined), false, 'no delivery was asked for')
  },
  Callbacks: (t, { page }) => t.match(page, /"name":"hero"/)
}

t.test('the blocks run', async (t) => {
  for (const block of blocks) {
    // Not the proxy: there is none by that name.
    if (block.heading === 'Proxy') continue
    await t.test(block.heading, async (t) => {
      const edge = await startEdge(t)
      const app = await run(t, block, edge)
      const promise = PROMISES[block.heading]
      if (promise !== undefined) {
        const cookie = `AMCV_${encodeURIComponent(organizationId)}=MCMID%7C12345%7CMCAAMLH%7C6`
        const { statusCode, payload } = await app!.inject({ url: '/', headers: { cookie } })
        t.equal(statusCode, 200)
        await promise(t, { page: payload, edge })
        for (const fault of ['status:503', 'reset', 'bad-json'] as const) {
          edge.fault(fault)
          t.equal((await app!.inject('/')).statusCode, 200, `${fault}: the page is served`)
        }
      } else if (block.heading.startsWith('A route')) {
        const answer = await app!.inject({ method: 'POST', url: '/target', payload: { context: { channel: 'web' }, execute: { mboxes: [{ name: 'hero' }] } } })
        t.match(answer.json(), { execute: { mboxes: [{ name: 'hero' }] } })
        t.equal((await app!.inject({ method: 'POST', url: '/target', payload: {} })).statusCode, 400)
        edge.fault('status:503')
        t.equal((await app!.inject({ method: 'POST', url: '/target', payload: { context: { channel: 'web' }, execute: { mboxes: [{ name: 'hero' }] } } })).statusCode, 200)
      } else {
        await app!.ready()
      }
    })
  }
})
