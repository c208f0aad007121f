/** The migration guide: every "after" compiles, and what can run runs against the local edge. And the types of calls. */
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import ts from 'typescript'
import type { TargetEdge } from '../lib/edge/index.ts'
import { DeliveryRequest } from '../lib/delivery/schema/index.ts'
import { organizationId, sleep, startEdge } from './helper.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const guide = readFileSync(join(root, 'docs/migration.md'), 'utf8')

/** A block of code to move to, and the heading above it. */
interface Block { heading: string, code: string, file: string }

function blocksOf (text: string): Block[] {
  const blocks: Block[] = []
  let heading = ''
  for (const [, title, code] of text.matchAll(/^## (.+)$|^```ts\n([\s\S]*?)^```$/gm)) {
    if (title !== undefined) heading = title
    else blocks.push({ heading, code: code!, file: join(root, 'test', `migration-${blocks.length}.ts`) })
  }
  return blocks
}

/** The app that the guide makes once and then takes for granted. */
const PRELUDE = `import Fastify from 'fastify'
import fastifyAdobeTarget from 'fastify-adobe-target'
const app = Fastify()
await app.register(fastifyAdobeTarget, { client: 'acmeclient', organizationId: '1234567890@AdobeOrg' })
`
const withPrelude = (code: string) => /^const (app|targetClient) =/m.test(code) ? code : PRELUDE + code

const blocks = blocksOf(guide)

const options: ts.CompilerOptions = {
  ...ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config, ts.sys, root).options,
  noUnusedLocals: false,
  noUnusedParameters: false,
  paths: { 'fastify-adobe-target': [join(root, 'lib/index.ts')], 'fastify-adobe-target/edge': [join(root, 'lib/edge/index.ts')] }
}

/** Files that exist only here. */
const virtual = new Map(blocks.map(({ file, code }) => [file, `${withPrelude(code)}export {}\n`]))
const COMPLETION = join(root, 'test/migration-completion.ts')
virtual.set(COMPLETION, 'import { createTargetClient } from \'fastify-adobe-target\'\nawait createTargetClient({ client: \'a\', organizationId: \'b\' }).getOffers({ request: {  } })\n')

const service = ts.createLanguageService({
  getCompilationSettings: () => options,
  getScriptFileNames: () => [...virtual.keys(), join(root, 'test/client-types.ts')],
  getScriptVersion: () => '1',
  getScriptSnapshot: (file) => {
    const text = virtual.get(file) ?? ts.sys.readFile(file)
    return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
  },
  getCurrentDirectory: () => root,
  getDefaultLibFileName: ts.getDefaultLibFilePath,
  fileExists: (file) => virtual.has(file) || ts.sys.fileExists(file),
  readFile: (file) => virtual.get(file) ?? ts.sys.readFile(file),
  readDirectory: ts.sys.readDirectory,
  directoryExists: ts.sys.directoryExists,
  getDirectories: ts.sys.getDirectories
})

const problemsOf = (file: string) => [...service.getSyntacticDiagnostics(file), ...service.getSemanticDiagnostics(file)]
  .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))

t.test('every block to move to compiles', async (t) => {
  t.ok(blocks.length >= 15, `${blocks.length} blocks`)
  for (const { heading, file } of blocks) t.same(problemsOf(file), [], heading)
})

t.test('the examples that Adobe documents are there, before and after', async (t) => {
  for (const heading of ['Get offers', 'Prefetch and notify', 'Attributes', 'Experience Cloud id (ECID)', 'Customer ids', 'Analytics (A4T)', 'Audience Manager (AAM)', 'Property', 'On-device decisioning', 'Proxy', 'Events', 'Logger']) {
    const section = guide.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? ''
    t.match(section, /^```js\n/m, `${heading}: before`)
    t.match(section, /^```ts\n/m, `${heading}: after`)
  }
})

t.test('the types of getOffers check every field', async (t) => {
  t.same(problemsOf(join(root, 'test/client-types.ts')), [])
})

t.test('an editor completes the fields of a request', async (t) => {
  const position = virtual.get(COMPLETION)!.indexOf('request: {') + 'request: {'.length + 1
  const names = service.getCompletionsAtPosition(COMPLETION, position, {})?.entries.filter(({ kind }) => kind === 'property').map(({ name }) => name)
  t.same(names?.sort(), Object.keys(DeliveryRequest.properties).sort())
})

/** Runs a block against an edge. */
async function run (t: Test, { code, file: name }: Block, edge: TargetEdge & { host: string }): Promise<FastifyInstance | undefined> {
  const pointed = withPrelude(code)
    .replaceAll("organizationId: '1234567890@AdobeOrg'", `organizationId: '1234567890@AdobeOrg', serverDomain: '${edge.host}', secure: false`)
    .replaceAll('https://assets.adobetarget.com', `http://${edge.host}`)
    .replaceAll('{ logger: true }', '')
    .replaceAll("'fastify-adobe-target'", `'${pathToFileURL(join(root, 'lib/index.ts')).href}'`)
  const hasApp = /^const app =/m.test(pointed)
  const { outputText } = ts.transpileModule(hasApp ? `${pointed}export { app }\n` : pointed, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } })
  const file = join(t.testdir(), `${basename(name, '.ts')}.mjs`)
  writeFileSync(file, outputText)
  const { app } = await import(pathToFileURL(file).href)
  if (app !== undefined) t.teardown(() => app.close())
  return app
}

/** What each section promises, told from what the page gets and what the edge saw. */
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
      } else if (block.heading.startsWith('A route')) {
        const answer = await app!.inject({ method: 'POST', url: '/target', payload: { context: { channel: 'web' }, execute: { mboxes: [{ name: 'hero' }] } } })
        t.match(answer.json(), { execute: { mboxes: [{ name: 'hero' }] } })
        t.equal((await app!.inject({ method: 'POST', url: '/target', payload: {} })).statusCode, 400)
      } else {
        t.ok(app === undefined || await app.ready())
      }
    })
  }
})
