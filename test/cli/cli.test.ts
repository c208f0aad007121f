/** The command line, as processes: against the local edge and against servers that misbehave. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCommandLine } from '../../lib/cli/run.ts'
import { Terminal } from '../../lib/cli/terminal.ts'
import { createEdge } from '../../lib/edge/index.ts'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import { client, json, organizationId, startEdge, startServer } from '../support/helper.ts'
import { FULL } from '../support/full.ts'
import { bin, environment, startProject } from '../support/project.ts'

const project = await startProject({ teardown: (fn) => t.teardown(fn) })
const main = join(project.folder, 'node_modules/fastify-adobe-target/dist/cli/main.js')
/** A process of its own: what a person at a terminal has. */
const execute = (...args: string[]) => project.run([main, ...args])
/** The same without a process, which takes half a second of CPU. */
async function command (...args: string[]): Promise<{ code: number, stdout: string, output: string }> {
  let stdout = ''
  let output = ''
  const code = await runCommandLine(args, new Terminal({ write (text) { stdout += text; output += text } }, { write (text) { output += text } }, {}))
  return { code, stdout, output }
}
const artifactFile = join(project.folder, 'rules.json')
writeFileSync(artifactFile, JSON.stringify(sampleArtifact))

/** A command that goes on, such as `edge`. */
function start (t: { teardown (fn: () => unknown): void }, ...args: string[]): { child: ChildProcess, output: () => string, until: (text: RegExp) => Promise<RegExpExecArray> } {
  const child = spawn(process.execPath, [main, ...args], { cwd: project.folder, env: environment() })
  let output = ''
  child.stdout.on('data', (data) => { output += data })
  child.stderr.on('data', (data) => { output += data })
  t.teardown(() => child.kill('SIGKILL'))
  return {
    child,
    output: () => output,
    until: async (text) => {
      for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
        const found = text.exec(output)
        if (found !== null) return found
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      throw new Error(`${text} did not come:\n${output}`)
    }
  }
}

t.test('help and mistakes: what can be called is listed, what is wrong is named, with an exit code of its own', async (t) => {
  const help = await execute('--help')
  t.equal(help.code, 0)
  for (const name of ['edge', 'decide', 'doctor', 'types']) t.match(help.stdout, new RegExp(`^ {2}${name} `, 'm'))
  t.match((await command('decide', '--help')).stdout, /--mbox NAME/)
  t.match((await execute('--version')).stdout, /^\d+\.\d+\.\d+/)
  t.equal((await command()).code, 2)
  const cases: Array<[string[], RegExp]> = [
    [['frobnicate'], /unknown command `frobnicate`; commands are edge, decide, doctor, types/],
    [['decide', '--artefact', 'x'], /unknown option `--artefact` \(did you mean `--artifact`\?\)/],
    [['decide', '--artifact'], /`--artifact` needs a value/],
    [['decide', 'rules.json'], /unexpected argument `rules.json`/],
    [['decide'], /pass --artifact with a file or a URL, or --client/],
    [['decide', '--artifact', artifactFile, '--parameter', 'gold'], /`--parameter` must be NAME=VALUE, got "gold"/],
    [['decide', '--artifact', artifactFile, '--visitors', '1.5'], /`--visitors` must be an integer from 1 to 1000000, got "1.5"/],
    [['decide', '--artifact', artifactFile, '--time', 'noon'], /`--time` must be a date/],
    [['doctor', '--client', client], /`--organization-id` is required/],
    [['types', '--artifact', artifactFile, '--check'], /`--check` needs --out/],
    [['edge', '--latency', '-5'], /`--latency`/],
    [['edge', '--port', '0', '--fault', 'explode'], /explode/]
  ]
  for (const [args, text] of cases) {
    const { code, output } = await command(...args)
    t.match(output, text, args.join(' '))
    t.equal(code, 2, args.join(' '))
    t.notMatch(output, /\n {4}at /, 'no stack')
  }
  const { code, output } = await execute('decide', '--artifact', 'nowhere.json')
  t.equal(code, 1)
  t.notMatch(output, /\n {4}at /, 'no stack')
  t.equal((await execute('frobnicate')).code, 2)
  t.match(output, /cannot read the rule artifact nowhere\.json/)
})

t.test('decide: names the experience, the bucket and the reason of every rule; --json and --visitors', async (t) => {
  const plain = await execute('decide', '--artifact', artifactFile, '--mbox', 'hero', '--mbox', 'banner', '--visitor', 'visitor-1', '--user-agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0', '--parameter', 'member=silver')
  t.equal(plain.code, 0, plain.output)
  t.match(plain.stdout, /mbox hero: (Layers|Night) in activity Winter hero \(410001\), bucket [\d.]+/)
  t.match(plain.stdout, /mbox banner: Firefox in activity Banner/)
  t.match(plain.stdout, /✗ +1\. Gold members +Does not hold/)
  t.match(plain.stdout, /- +3\. Chrome +A rule before it matched/)
  t.notOk(plain.stdout.includes('\u001B'), 'no colours where the output is not a terminal')

  const parsed = JSON.parse((await command('decide', '--artifact', artifactFile, '--mbox', 'checkout-flags', '--json')).stdout)
  t.equal(parsed.locations[0].rules.length, 2)
  t.match(parsed.locations[0].content[0], { freeShippingFrom: Number })

  const split = JSON.parse((await command('decide', '--artifact', artifactFile, '--mbox', 'hero', '--visitors', '4000', '--json')).stdout)
  t.match(Object.keys(split[0].experiences), ['Layers', 'Night'])
  t.ok(Math.abs(split[0].experiences.Layers - 2000) < 200, `${split[0].experiences.Layers} of 4000`)
  t.match((await command('decide', '--artifact', artifactFile, '--mbox', 'hero', '--visitors', '100')).stdout, /Night +[█·]{30} +\d+\.\d %/)

  const unknown = await command('decide', '--artifact', artifactFile, '--mbox', 'nowhere')
  t.equal(unknown.code, 1)
  t.match(unknown.stdout, /in no activity of this artifact/)
})

t.test('decide: names in an artifact cannot write escape sequences to the terminal', async (t) => {
  const rule = structuredClone(sampleArtifact.rules.mboxes.hero[0]!)
  rule.meta['experience.name'] = 'A\u001B[31mred\u0007'
  const file = join(project.folder, 'hostile.json')
  writeFileSync(file, JSON.stringify({ ...sampleArtifact, rules: { mboxes: { 'he\u001B]0;x\u0007ro': [{ ...rule, condition: true }] }, views: {} } }))
  const { stdout } = await command('decide', '--artifact', file)
  t.match(stdout, /red/)
  // eslint-disable-next-line no-control-regex -- that is what must not be there
  t.notMatch(stdout, /[\u0000-\u0009\u000B-\u001F]/)
})

t.test('edge: serves deliveries, fixed offers, faults and a watched artifact, prints a line for each, and stops at SIGTERM', async (t) => {
  const file = join(project.folder, 'watched.json')
  writeFileSync(file, JSON.stringify(sampleArtifact))
  const { child, output, until } = start(t, 'edge', '--artifact', file, '--client', client, '--port', '0', '--offer', 'greeting=<h1>Hello</h1>', '--offer', 'flags={"express":true}')
  const [, host] = await until(/Local Target edge on http:\/\/(\S+)/)
  const deliver = (...mboxes: string[]) => fetch(`http://${host}/rest/v1/delivery?client=${client}&sessionId=s`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ context: { channel: 'web' }, execute: { mboxes: mboxes.map((name, index) => ({ name, index })) } })
  })
  const answer = await json(await deliver('hero', 'greeting', 'flags'))
  t.match(answer.execute.mboxes[1].options[0], { type: 'html', content: '<h1>Hello</h1>' })
  t.same(answer.execute.mboxes[2].options[0].content, { express: true })
  await until(/200 delivery execute hero → (Layers|Night), greeting → Experience A, flags → Experience A \([\d.]+ ms\)/)
  t.equal((await fetch(`http://${host}/${client}/production/v1/rules.json`)).status, 200)

  const changed = structuredClone(sampleArtifact)
  for (const rule of changed.rules.mboxes.hero) rule.meta['experience.name'] = 'Changed'
  writeFileSync(file, JSON.stringify(changed))
  await until(/Read .*watched\.json again/)
  await deliver('hero')
  await until(/hero → Changed/)
  writeFileSync(file, '{ half')
  await until(/The artifact stays as it was/)
  t.equal((await deliver('hero')).status, 200)

  const second = await command('edge', '--port', host!.split(':')[1]!)
  t.equal(second.code, 1)
  t.match(second.output, /port \d+ is in use; choose another with --port/)

  child.kill('SIGTERM')
  const [code] = await once(child, 'close')
  t.equal(code, 0, output())

  const faulty = start(t, 'edge', '--port', '0', '--quiet', '--fault', 'status:503', '--fault', 'artifact=status:500')
  const [, faultyHost] = await faulty.until(/http:\/\/(\S+)/)
  t.equal((await fetch(`http://${faultyHost}/rest/v1/delivery?client=acmeclient&sessionId=s`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"context":{"channel":"web"}}' })).status, 503)
  t.equal((await fetch(`http://${faultyHost}/acmeclient/production/v1/rules.json`)).status, 500)
})

t.test('doctor: a healthy edge is well, prefetched only, and called as often as announced', async (t) => {
  const edge = await startEdge(t)
  const args = ['doctor', '--client', client, '--organization-id', organizationId, '--host', edge.host, '--http', '--calls', '5', '--artifact', `http://${edge.host}/${client}/production/v1/rules.json`]
  const { code, stdout, output } = await execute(...args)
  t.equal(code, 0, output)
  t.match(stdout, /5 prefetches of the page load for a visitor made up here/)
  for (const text of [/✓ delivery +answered for client acmeclient/, /✓ offers +1 offer/, /[✓!] latency +p50 \d+ ms, p99 \d+ ms over 5 calls/, /✓ clock/, /✓ artifact .*version 1\.0\.0, .* 4 mboxes/]) t.match(stdout, text)
  t.equal(edge.requests.length, 5)
  t.equal(edge.impressions(), 0)
  t.ok(edge.requests.every(({ body }) => body.execute === undefined && body.prefetch !== undefined))
  t.equal(new Set(edge.requests.slice(1).map(({ body }) => body.id.tntId)).size, 1, 'one visitor')
  const parsed = JSON.parse((await command(...args, '--json')).stdout)
  t.ok(parsed.findings.every(({ check, state }: { check: string, state: string }) => check === 'latency' || state === 'ok'), JSON.stringify(parsed))
})

t.test('doctor: each thing that is not well is said, with what to do', async (t) => {
  const doctor = async (host: string, ...more: string[]) => await command('doctor', '--client', client, '--organization-id', organizationId, '--host', host, '--http', '--calls', '2', '--artifact', `http://${host}/rules.json`, ...more)
  const unreachable = await doctor('127.0.0.1:9')
  t.equal(unreachable.code, 1)
  t.match(unreachable.stdout, /✗ delivery +call 1 failed: .*\n +→ Check the route/)

  const html = await doctor(await startServer(t, (_request, response) => { response.end('<h1>Welcome</h1>') }))
  t.equal(html.code, 1)
  t.match(html.stdout, /✗ delivery +the response is not from the Delivery API/)
  t.match(html.stdout, /! artifact .*\n +→ Needed for on-device decisions only/)

  const skewed = await doctor(await startServer(t, (request, response) => {
    response.setHeader('date', new Date(Date.now() - 120_000).toUTCString())
    response.end(JSON.stringify({ status: 200, client: 'otherclient', prefetch: { pageLoad: { options: [] } } }))
    request.resume()
  }))
  t.match(skewed.stdout, /✗ delivery +answered for client otherclient, not acmeclient/)
  t.match(skewed.stdout, /! offers +no offer/)
  t.match(skewed.stdout, /✗ clock +1[12]\d s ahead of the edge's/)

  const refusing = createEdge({ client: 'otherclient', organizationId: '0@AdobeOrg' })
  t.teardown(() => refusing.close())
  await refusing.listen({ port: 0, host: '127.0.0.1' })
  const refused = await doctor(refusing.host)
  t.match(refused.stdout, /✗ delivery +the edge returned 400/)

  const edge = await startEdge(t)
  const site = await startServer(t, (_request, response) => {
    response.setHeader('set-cookie', 'mbox=session#a#1; Path=/; SameSite=Lax')
    response.end('a page')
  })
  t.match((await doctor(edge.host, '--site', `http://${site}/`)).stdout, /✓ site .* sets the mbox cookie/)

  const silent = await command('doctor', '--client', client, '--organization-id', organizationId, '--host', 'no-such-host.invalid')
  t.equal(silent.code, 1)
  t.match(silent.stdout, /✗ DNS +no-such-host\.invalid does not resolve/)
})

t.test('types: the same file for the same offers, which compiles; --check tells when it is not up to date', async (t) => {
  const out = join(project.folder, 'target-mboxes.ts')
  const artifact = structuredClone(sampleArtifact) as any
  artifact.rules.mboxes['checkout-flags'][1].consequence.options[0].content = { express: true, freeShippingFrom: null, steps: [{ id: 1 }, { id: '2', label: 'x' }] }
  const file = join(project.folder, 'typed.json')
  writeFileSync(file, JSON.stringify(artifact))
  t.match((await execute('types', '--artifact', file, '--out', out)).stdout, /Wrote 4 mboxes/)
  const text = readFileSync(out, 'utf8')
  t.match(text, /freeShippingFrom: Type\.Union\(\[Type\.Null\(\), Type\.Number\(\)\]\)/)
  t.match(text, /label: Type\.Optional\(Type\.String\(\)\)/)
  t.match(text, /'checkout-flags': Static<typeof CheckoutFlags>/)
  t.match(text, /hero: string/)
  t.equal((await command('types', '--artifact', file, '--out', out, '--check')).code, 0)
  artifact.rules.mboxes['checkout-flags'].reverse()
  writeFileSync(file, JSON.stringify(artifact))
  t.equal((await command('types', '--artifact', file, '--out', out, '--check')).code, 0, 'the order of experiences does not matter')
  writeFileSync(out, text.replace('hero: string', 'hero: number'))
  const stale = await command('types', '--artifact', file, '--out', out, '--check')
  t.equal(stale.code, 1)
  t.match(stale.output, /is not up to date/)
  writeFileSync(out, text)
  project.write('typed', 'app.ts', `
import '../target-mboxes.ts'
import type { TargetMboxes } from 'fastify-adobe-target'
const flags: TargetMboxes['checkout-flags'] = { express: true, freeShippingFrom: null, steps: [{ id: 1 }] }
// @ts-expect-error html
const hero: TargetMboxes['hero'] = 1
console.log(flags, hero)
`)
  if (!FULL) return t.comment('compiled only in npm run test:full')
  const typed = await project.run([bin('typescript', 'bin/tsc'), '--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2022', '--types', 'node', '--allowImportingTsExtensions', 'typed/app.ts'])
  t.equal(typed.stdout, '')
})
