/** The package as others get it: its files, its imports, and apps that use it in ESM, CommonJS and TypeScript. */
import { execSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { build as buildBundle } from 'esbuild'
import t from 'tap'
import ts from 'typescript'
// @ts-expect-error it is JavaScript, for a command's sake
import { withBench, withSummary } from './bench/performance.js'
// @ts-expect-error likewise
import { withDifferences } from './differences.js'
import { problemsOf, serviceFor } from './docs/documents.ts'
import { root, startProject } from './support/project.ts'
import { FULL } from './support/full.ts'

const lib = join(root, 'lib')
const read = (...path: string[]) => readFileSync(join(root, ...path), 'utf8')
const modules = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts')).map((file) => file.replaceAll('\\', '/')).sort()

const importsOf = (file: string) => [...read('lib', file).matchAll(/^(?:import|export)\s[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'/gm)].map((match) => match[1] ?? match[2]!)

t.test('imports point down the list that is the way of a request', async (t) => {
  const order = ['index', 'plugin', 'options', 'request', 'client', 'transport', 'offers', 'visitor', 'delivery', 'decisioning', 'outbox', 'schema', 'validation', 'retries', 'diagnostics', 'errors', 'next-tick']
  // Entries beside the main one: nothing in it loads them, and they know no more of it than its types.
  const entries = ['edge', 'redis', 'otel', 'prometheus', 'openfeature', 'inspector', 'cli']
  const rank = (file: string) => order.indexOf(file.replace(/\.ts$/, '').split('/', 1)[0]!)
  for (const file of modules) {
    for (const specifier of importsOf(file)) {
      if (!specifier.startsWith('.')) {
        if (file.startsWith('decisioning/')) t.notMatch(specifier, /^(fastify|undici)/, `${file} knows neither fastify nor undici`)
        if (file.startsWith('delivery/')) t.notMatch(specifier, /^fastify/, `${file} does not know fastify`)
        continue
      }
      const imported = relative(lib, resolve(lib, dirname(file), specifier)).replaceAll('\\', '/')
      t.not(imported, 'index.ts', `${file} does not import the index`)
      t.ok(modules.includes(imported), `${file} imports ${imported}, which is there`)
      if (file.startsWith('edge/')) t.notMatch(imported, /^schema\/(limits|acceptable)\.ts$/, `${file} has numbers of its own: a wrong limit must not be right at both ends`)
      if (file.startsWith('edge/')) t.match(imported, /^(edge\/|schema\/|decisioning\/|validation|errors|diagnostics)/, `${file} shares no mistake with the client: ${imported}`)
      else if (entries.includes(file.split('/', 1)[0]!)) continue
      else if (file.split('/', 1)[0] !== imported.split('/', 1)[0]) t.ok(rank(file) !== -1 && rank(imported) > rank(file), `${file} imports ${imported} below it`)
    }
  }
})

t.test('every module loads by itself', async () => {
  // Loading the command runs it.
  for (const file of modules.filter((file) => file !== 'cli/main.ts')) await import(join(lib, file))
})

t.test('docs/differences.md lists the differences from Adobe\'s SDK as the tests judge them', async (t) => {
  const page = read('docs/differences.md')
  t.equal(page, withDifferences(page), 'else run: node test/differences.js')
})

t.test('docs/performance.md and README show what the last full bench measured', async (t) => {
  const report = JSON.parse(read('docs/bench/results.json'))
  for (const [name, write] of [['docs/performance.md', withBench], ['README.md', withSummary]]) {
    const page = read(name)
    t.equal(page, write(page, report), 'else run: node test/bench/performance.js')
  }
})

t.test('npm test, or test:full, runs every test file once', async (t) => {
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).map((file) => `test/${file.replaceAll('\\', '/')}`)
  const alone = [...read('.taprc').matchAll(/^ {2}- (test\/\S+\.test\.ts)$/gm)].map(([, file]) => file!)
  const suites = files.filter((file) => file.endsWith('/suite.ts'))
  for (const suite of suites) t.match(read(suite), /^import \{ loaded \} from '\.\.?\/support\/loading\.ts'\n(?:import '.+'\n)+\nloaded\(\)\n$/, suite)
  const together = suites.flatMap((suite) =>
    [...read(suite).matchAll(/^import '\.\/(.+)'$/gm)].map(([, file]) => `${dirname(suite)}/${file}`))
  const full = ['cli/cli', 'crash/crash', 'delivery/outage', 'docs/example', 'edge/testing-kit', 'plugin/shutdown', 'prometheus/dashboard', 'soak/soak'].map((file) => `test/${file}.test.ts`)
  for (const file of full) t.match(JSON.parse(read('package.json')).scripts['test:full'], file)
  t.same([...alone, ...together, ...full].sort(), files.filter((file) => file.endsWith('.test.ts')).sort(), 'in .taprc or the suite.ts of its folder')
})

t.test('CONTRIBUTING shows a test that runs', async (t) => {
  t.ok(read('CONTRIBUTING.md').includes(`\`\`\`ts\n${read('test/plugin/returning-visitor.test.ts')}\`\`\``), 'it is test/plugin/returning-visitor.test.ts')
})

t.test('the packed package has the documents and no raw measurements', async (t) => {
  const [{ files }] = JSON.parse(execSync('npm pack --dry-run --json --ignore-scripts', { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
  const packed: string[] = files.map(({ path }: { path: string }) => path)
  t.ok(packed.includes('docs/reference.md'))
  t.ok(packed.includes('docs/timeline.svg'))
  for (const file of ['dashboard.json', 'dashboard.svg', 'alerts.yml']) t.ok(packed.includes(`docs/observability/${file}`), file)
  t.same(packed.filter((file) => file.endsWith('.json')).sort(), ['docs/observability/dashboard.json', 'package.json'])
})

t.test('only declared packages are imported', async (t) => {
  const { dependencies, peerDependencies } = JSON.parse(read('package.json'))
  const declared = [...Object.keys(dependencies), ...Object.keys(peerDependencies)]
  for (const file of modules) {
    for (const specifier of importsOf(file)) {
      if (specifier.startsWith('.') || specifier.startsWith('node:')) continue
      const name = specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
      t.ok(declared.includes(name), `${file} imports ${name}`)
    }
  }
  t.notMatch(JSON.stringify(dependencies), /adobe/, 'no package of Adobe\'s at run time')
})

const page = `
const edge = createEdge({ client: 'acmeclient', latency: 30 })
await edge.listen({ port: 0, host: '127.0.0.1' })
const app = Fastify()
await app.register(fastifyAdobeTarget, { client: 'acmeclient', organizationId: '1234567890@AdobeOrg', serverDomain: '127.0.0.1:' + edge.addresses()[0].port, secure: false })
app.get('/', { config: { target: ['hero'] } }, async (request) => {
  while (request.target.timing.duration === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
  return { hero: await request.target.content('hero', 'fallback'), waited: request.target.timing.waited }
})
const response = await app.inject('/')
const again = await app.inject({ url: '/', cookies: Object.fromEntries(response.cookies.map(({ name, value }) => [name, value])) })
console.log(JSON.stringify({ page: response.json(), again: again.json(), cookies: response.cookies.map(({ name }) => name) }))
await app.close()
await edge.close()
`

t.test('apps outside the repository', { skip: !FULL && 'only in npm run test:full' }, async (t) => {
  const { folder, run } = await startProject(t)
  t.notMatch(readFileSync(join(folder, 'node_modules/fastify-adobe-target/dist/index.js'), 'latin1'), /[\x80-\xff]/, 'ASCII: otherwise V8 keeps two bytes for each of its characters')
  const check = ({ code, output, stdout }: Awaited<ReturnType<typeof run>>, name: string) => {
    t.equal(code, 0, `${name}: ${output}`)
    const { page, again, cookies } = JSON.parse(stdout || '{}')
    t.match(page, { hero: /class="hero/ }, name)
    t.ok(page.waited < 1, `${name}: waited ${page.waited} ms`)
    t.equal(again.hero, page.hero, `${name}: the variant stays`)
    t.same(cookies, ['mbox', 'mboxEdgeCluster'], name)
  }

  writeFileSync(join(folder, 'app.mjs'), `import Fastify from 'fastify'\nimport fastifyAdobeTarget from 'fastify-adobe-target'\nimport { createEdge } from 'fastify-adobe-target/edge'\n${page}`)
  check(await run(['--unhandled-rejections=strict', 'app.mjs']), 'ESM')

  writeFileSync(join(folder, 'app.cjs'), `const Fastify = require('fastify')\nconst fastifyAdobeTarget = require('fastify-adobe-target')\nconst { createEdge } = require('fastify-adobe-target/edge')\n;(async () => {${page}})()`)
  check(await run(['--unhandled-rejections=strict', '--no-warnings', 'app.cjs']), 'CommonJS')

  writeFileSync(join(folder, 'require.cjs'), `
const required = require('fastify-adobe-target')
import('fastify-adobe-target').then((imported) => {
  const names = Object.keys(imported).filter((name) => name !== 'module.exports')
  console.log(JSON.stringify({ isPlugin: required === imported.default, missing: names.filter((name) => required[name] !== imported[name]), count: names.length }))
})`)
  const { stdout: required } = await run(['--no-warnings', 'require.cjs'])
  t.match(JSON.parse(required), { isPlugin: true, missing: [], count: /1[2-9]/ }, 'require() returns the plugin, with all names on it')

  const registering = `
FormatRegistry.Set('sku', (value) => /^[A-Z]\\d+$/.test(value))
const Product = Type.Object({ sku: Type.String({ format: 'sku', default: 'A1' }), size: Type.Integer({ default: 1 }) })
const account = { client: 'acmeclient', organizationId: '1234567890@AdobeOrg', enabled: () => false }
TypeSystemPolicy.AllowArrayObject = true
Fastify().register(fastifyAdobeTarget, { ...account, mboxes: { any: { schema: Type.Object({}), fallback: [] } } }).then(() => console.log('anything is an object'), ({ message }) => console.log(message))
const app = Fastify()
app.register(fastifyAdobeTarget, { ...account, mboxes: { product: { schema: Product } } })
app.get('/', async ({ target }) => [await target.attributes('product'), await target.attributes('other', Product)])
app.inject('/').then(({ body }) => console.log(body))
Fastify().register(fastifyAdobeTarget, { ...account, mboxes: { product: { schema: Product, fallback: { sku: '1', size: 1 } } } }).then(undefined, ({ message }) => console.log(message))`
  writeFileSync(join(folder, 'formats.mjs'), `import Fastify from 'fastify'\nimport { FormatRegistry, Type } from '@sinclair/typebox'\nimport { TypeSystemPolicy } from '@sinclair/typebox/system'\nimport fastifyAdobeTarget from 'fastify-adobe-target'\n${registering}`)
  writeFileSync(join(folder, 'formats.cjs'), `const Fastify = require('fastify')\nconst { FormatRegistry, Type } = require('@sinclair/typebox')\nconst { TypeSystemPolicy } = require('@sinclair/typebox/system')\nconst fastifyAdobeTarget = require('fastify-adobe-target')\n${registering}`)
  await buildBundle({ absWorkingDir: folder, entryPoints: ['formats.mjs'], outfile: 'bundle.cjs', bundle: true, platform: 'node', format: 'cjs', external: ['@opentelemetry/*', '@openfeature/*'], logLevel: 'error' })
  for (const file of ['formats.mjs', 'formats.cjs', 'bundle.cjs']) {
    const { output } = await run(['--unhandled-rejections=strict', '--no-warnings', file])
    t.match(output, '[{"sku":"A1","size":1},{"sku":"A1","size":1}]\n', `${file}: formats of the app's own TypeBox, which is not the one inside the package`)
    t.match(output, '`content.sku` must be a string of the format sku', file)
    if (file !== 'formats.cjs') t.match(output, 'anything is an object', `${file}: and its policies`)
  }

  writeFileSync(join(folder, 'app.ts'), `
import Fastify from 'fastify'
import { Type } from '@sinclair/typebox'
import fastifyAdobeTarget, { createTargetClient, errors, schemas, type MboxDefinitions, type MboxTypes, type Offer, type TargetResult } from 'fastify-adobe-target'
import { createEdge, type TargetEdge } from 'fastify-adobe-target/edge'
const mboxes = { title: { schema: Type.String(), fallback: '' }, limits: { schema: Type.Object({ size: Type.Number({ default: 1 }) }) } } satisfies MboxDefinitions
declare module 'fastify-adobe-target' {
  interface TargetMboxes extends MboxTypes<typeof mboxes> { greeting: string, flags: { express: boolean } }
}
const Flags = Type.Object({ express: Type.Boolean({ default: false }), limit: Type.Number({ default: 1 }) })
const app = Fastify()
await app.register(fastifyAdobeTarget, { client: 'acmeclient', organizationId: '1234567890@AdobeOrg', timeout: 500, mboxes, enabled: (request) => request.headers['sec-gpc'] !== '1' })
// @ts-expect-error no such option
app.register(fastifyAdobeTarget, { client: 'acmeclient', organizationId: '1234567890@AdobeOrg', tiemout: 500 })
app.get('/', { config: { target: { execute: { mboxes: ['greeting', { name: 'cart', parameters: { size: '3' } }] }, maxWait: 50 } } }, async (request) => {
  const greeting: string = await request.target.content('greeting', 'hello')
  const flags: { express: boolean } | undefined = await request.target.content('flags')
  const { express, limit }: { express: boolean, limit: number } = await request.target.attributes('flags', Flags)
  const plain: { size: number } = await request.target.attributes('flags', { size: 1 as number })
  const offer: Offer = await request.target.offer('other')
  const result: TargetResult = await request.target.result()
  const title: string = await request.target.content('title')
  const limits: { size: number } = await request.target.attributes('limits')
  // @ts-expect-error nothing says what its attributes are
  request.target.attributes('greeting')
  // @ts-expect-error a string is no number
  const wrong: number = await request.target.content('greeting', 'hello')
  return { title, limits, greeting, flags, express, limit, plain, offer, result, wrong, waited: request.target.timing.waited satisfies number }
})
// @ts-expect-error a number of ms
app.get('/wrong', { config: { target: { execute: { mboxes: ['greeting'] }, maxWait: '50' } } }, async () => '')
const client = createTargetClient({ client: 'acmeclient', organizationId: '1234567890@AdobeOrg' })
client.getOffers({ request: { execute: { mboxes: [{ name: 'a' }] } } }, (error, result) => { console.log(error?.code, result?.response.execute?.mboxes?.[0]?.options) })
// @ts-expect-error index is a number
client.getOffers({ request: { execute: { mboxes: [{ name: 'a', index: '1' }] } } })
const edge: TargetEdge = createEdge()
console.log(errors.FST_TARGET_TIMEOUT, schemas.DeliveryRequest, edge.requests.length)
const request: schemas.DeliveryRequest = { context: { channel: 'web' } }
await app.target.getOffers({ request })
`)
  // The app and the package's declarations; those of other packages are not looked at.
  const service = serviceFor({ folder }, [join(folder, 'app.ts')], { lib: undefined, target: ts.ScriptTarget.ES2022, allowJs: false, checkJs: false, skipLibCheck: false })
  const files = service.getProgram()!.getSourceFiles().map(({ fileName }) => fileName).filter((file) => file.endsWith('/app.ts') || file.includes('/fastify-adobe-target/dist/'))
  t.ok(files.length > 20, `${files.length} files`)
  for (const file of files) t.same(problemsOf(service, file), [], `${relative(folder, file)} under nodenext`)
})
