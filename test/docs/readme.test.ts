/** README and docs: what they show compiles and runs, what they list is there, where they lead is somewhere. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { Agent, get, type IncomingMessage } from 'node:http'
import { dirname, join } from 'node:path'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { errors } from '../../lib/index.ts'
import { PluginOptionsSchema, resolvePluginOptions } from '../../lib/options.ts'
import { anchorsOf, blocksOf, compile, documents, parseProblems, readDocument, type Block } from './documents.ts'
import { client, organizationId } from '../support/helper.ts'
import { FULL } from '../support/full.ts'
import { environment, root, startProject } from '../support/project.ts'
import '../support/no-unhandled-rejections.ts'

const project = await startProject(t)
const blocks = documents.flatMap(blocksOf)
const isCode = ({ language }: Block) => language === 'ts' || language === 'js'
/** JavaScript that is not a reader's to have: what migration leaves behind, and what edge/testing-kit.test.ts runs in its own way. */
const isParsedOnly = ({ place, language }: Block) => language === 'js' && /^docs\/(migration|testing)\.md/.test(place)

t.test('every block of code compiles', { skip: !FULL && 'only in npm run test:full' }, async (t) => {
  const compiled = compile(project, blocks.filter((block) => isCode(block) && !isParsedOnly(block)))
  t.ok(compiled.size >= 40, `${compiled.size} blocks`)
  for (const [place, problems] of compiled) t.same(problems, [], place)
  for (const block of blocks.filter(isParsedOnly)) t.same(parseProblems(block), [], block.place)
})

t.test('a mistake in a block is found', { skip: !FULL && 'only in npm run test:full' }, async (t) => {
  const mistakes: Array<[code: string, language: string, problem: RegExp]> = [
    ['await app.register(fastifyAdobeTarget, { ...account, tiemout: 1 })', 'js', /tiemout/],
    ["app.get('/', async (request) => request.target.contents('hero'))", 'js', /contents/],
    ['app.target.close(', 'js', /expected/],
    ['const twice = (a) => a', 'ts', /implicitly/]
  ]
  const compiled = compile(project, mistakes.map(([code, language], index) => ({ place: `mistake:${index}`, heading: '', language, code, file: undefined, inPage: false })))
  for (const [index, [, , problem]] of mistakes.entries()) t.match(compiled.get(`mistake:${index}`), [problem])
})

t.test('every other block is of a kind that is checked here', async (t) => {
  for (const { language, place } of blocks) t.match(language, /^(ts|js|sh|html|text|mermaid)$/, place)
})

t.test('every link has a target', async (t) => {
  for (const document of [...documents, 'CHANGELOG.md']) {
    const text = readDocument(document).replaceAll(/^```[\s\S]*?^```$|`[^`\n]*`/gm, '')
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue
      const [path, anchor] = target!.split('#') as [string, string?]
      const file = path === '' ? document : join(dirname(document), path)
      t.ok(existsSync(join(root, file)), `${document}: ${target}`)
      if (anchor !== undefined) t.ok(anchorsOf(file).has(anchor), `${document}: ${target}`)
    }
  }
})

t.test('every command exists', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const benchmarks = ['plans', 'index'].map((name) => readFileSync(join(root, 'test/bench', `${name}.js`), 'utf8')).join('\n')
  for (const document of documents) {
    const text = readDocument(document)
    for (const [command, script] of text.matchAll(/\bnpm (?:run )?(start|test|(?<=run )[\w:]+)\b/g)) t.ok(script! in scripts, `${document}: ${command}`)
    for (const [command, files] of text.matchAll(/\b(?:npx tap|node)((?: test\/[\w./-]+)+)/g)) {
      for (const file of files!.trim().split(' ')) t.ok(existsSync(join(root, file)), `${document}: ${command}`)
    }
    for (const [command, words] of text.matchAll(/\bnpm run bench -- ([\w -]+)/g)) {
      for (const word of words!.trim().split(' ')) t.match(benchmarks, new RegExp(`^ +'?${word}'?: |[{,] '?${word}'?[,:]|words\\.(?:includes|indexOf)\\('${word}'\\)`, 'm'), `${document}: ${command}`)
    }
  }
  const guarantees = [...readDocument('docs/guarantees.md').matchAll(/^\| (?!guarantee|-)(.+) \| (.+) \|$/gm)]
  t.ok(guarantees.length >= 10)
  for (const [, guarantee, command] of guarantees) t.match(command, /^`(npm run [\w:]+|npx tap test\/)/, guarantee!)
  t.same(readDocument('README.md').match(/^npm ci && npm (start|test)$/gm), ['npm ci && npm start', 'npm ci && npm test'], 'the two commands')
})

/** The cells of a table below a heading of the reference. */
function rowsBelow (heading: RegExp): string[][] {
  const section = readDocument('docs/reference.md').split(/^## /m).find((text) => heading.test(text.split('\n', 1)[0]!))!
  const lines = section.split('\n').filter((line) => line.startsWith('|'))
  return lines.map((line) => line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => cell.trim()))
}
const namesIn = (cell: string) => [...cell.matchAll(/`(\w+)[^`]*`/g)].map(([, name]) => name!)

t.test('the reference has every option, and its default', async (t) => {
  const rows = rowsBelow(/^Options/).slice(2)
  const options = rows.filter(([name]) => name!.startsWith('`'))
  t.same(options.flatMap(([names]) => namesIn(names!)).sort(), Object.keys(PluginOptionsSchema.properties).sort())
  const { client: clientSettings, ...settings } = resolvePluginOptions({ client, organizationId }, { debug () {}, error () {} })
  const defaults: Record<string, unknown> = { ...clientSettings, ...settings }
  let checked = 0
  for (const [cell, given] of options) {
    const [name, ...others] = namesIn(cell!)
    const literal = /^`([^`<]+)`$/.exec(given!)?.[1]
    if (others.length > 0 || literal === undefined || defaults[name!] === undefined) continue
    t.same(defaults[name!], runInNewContext(`(${literal})`), name!)
    checked++
  }
  t.ok(checked >= 12, `${checked} defaults`)
})

t.test('the reference has every reason and every error', async (t) => {
  const union = /export type OfferReason =([^]*?)\n\n/.exec(readFileSync(join(root, 'lib/offers/offer.ts'), 'utf8'))![1]!
  const reasons = rowsBelow(/^In a handler/).filter(([name]) => /^`[a-z]+(-[a-z]+)*`$/.test(name!) && !/^`(timing|qaMode|enabled)`$/.test(name!)).map(([name]) => name!.slice(1, -1))
  t.same(reasons.sort(), [...union.matchAll(/'([\w-]+)'/g)].map(([, reason]) => reason).sort())
  const listed = rowsBelow(/^Errors/).slice(2).flatMap(([codes, , statuses]) => {
    const each = statuses!.split(', ')
    return namesIn(codes!).map((code, index) => [code, Number(each[index] ?? each[0])])
  })
  t.same(Object.fromEntries(listed), Object.fromEntries(Object.entries(errors).map(([code, Class]) => [code.replace('FST_TARGET_', ''), new Class('').statusCode])))
})

t.test('the reference has every member', async (t) => {
  const membersOf = (file: string, name: string) => {
    const text = readFileSync(join(project.folder, 'node_modules/fastify-adobe-target/dist', file), 'utf8')
    const body = new RegExp(`export declare class ${name} [^]*?\\n}`).exec(text)![0]
    return [...new Set([...body.matchAll(/^ {4}(?:get )?(\w+)(?=[(<:])/gm)].map(([, member]) => member!))].filter((member) => member !== 'constructor').sort()
  }
  const rows = rowsBelow(/^In a handler/)
  const table = rows.slice(2, rows.findIndex(([name]) => name === 'reason'))
  t.same(table.flatMap(([names]) => namesIn(names!)).sort(), membersOf('request/target.d.ts', 'RequestTarget'))
  const section = /^## The client\n([\s\S]*?)^## /m.exec(readDocument('docs/reference.md'))![1]!
  for (const member of membersOf('client/client.d.ts', 'TargetClient')) t.match(section, new RegExp(`\`${member}\\(`), `TargetClient: ${member}`)
})

/** Writes the files that a document shows, and returns their folder. */
function writeFiles (document: string): string {
  const files = blocks.filter(({ place, file }) => place.startsWith(`${document}:`) && file !== undefined)
  return dirname(files.map(({ file, code }) => project.write(`files-of-${document.replaceAll('/', '-')}`, file!, code))[0]!)
}

const answerTo = async (url: string, agent?: Agent) => {
  const [response] = await once(get(url, { agent }), 'response') as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += chunk
  return { headers: response.headers, body }
}

/** Starts a server in a process of its own; resolves with its address once its log matches. */
async function startServer (t: Test, folder: string, file: string, listening: RegExp) {
  const server = spawn(process.execPath, [file], { cwd: folder, env: { ...environment(), PORT: '0' } })
  t.teardown(() => server.kill('SIGKILL'))
  let log = ''
  for await (const chunk of server.stdout) {
    log += chunk
    const url = listening.exec(log)?.[1]
    if (url !== undefined) return { server, url }
  }
  throw new Error(`${file} ended: ${log}`)
}

t.test('README is at most 160 lines, and its app shows what it says', async (t) => {
  t.ok(readDocument('README.md').split('\n').length <= 161)
  const folder = writeFiles('README.md')
  const code = readFileSync(join(folder, 'app.mjs'), 'utf8')
  project.write('files-of-README.md', 'app.mjs', code.replace('await app.listen({ port: 3000 })', 'console.log(await app.listen({ port: 0 }))'))
  const { url } = await startServer(t, folder, 'app.mjs', /(http:\/\/\S+)\n/)
  let { headers, body } = await answerTo(url)
  // A busy machine may delay a timer, and with it the page; not every time.
  for (let tries = 0; tries < 50 && !headers['server-timing']?.includes('target-wait;dur=0.0'); tries++) ({ headers, body } = await answerTo(url))
  t.match(body, /^<section class="hero hero--[ab]">/)
  t.match(headers['server-timing'], /^target;dur=\d+\.\d;desc="edge", target-wait;dur=0\.0$/)
  t.match(headers['set-cookie']?.[0], /^mbox=session#.*; Max-Age=63244800; Path=\/; SameSite=Lax$/)
})

t.test('the start: a page, and an end', async (t) => {
  const { server, url } = await startServer(t, writeFiles('docs/start.md'), 'server.js', /Server listening at (http:\/\/[^"]+)/)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const pages = []
  for (let visit = 0; visit < 3; visit++) pages.push(await answerTo(url, agent))
  const { headers, body } = pages.at(-1)!
  t.match(body, /^<!doctype html>\n<section class="hero hero--[ab]">/)
  t.match(body, /<li>Parka<\/li>/)
  t.match(headers['server-timing'], /^target;dur=[\d.]+;desc="edge", target-wait;dur=[\d.]+$/)
  t.match(headers['set-cookie']?.[0], /^mbox=session#.*; Path=\/; SameSite=Lax$/)
  t.equal(headers['cache-control'], 'private')
  t.equal(Object.values(agent.freeSockets).flat().length, 1, 'a connection is kept alive')
  const exit = once(server, 'exit')
  server.kill('SIGTERM')
  t.same(await exit, [0, null], 'it ends by itself')
})

t.test('the start: the reader\'s own test', async (t) => {
  const folder = writeFiles('docs/start.md')
  const passing = await project.run(['--test', '--test-reporter=tap'], folder)
  t.equal(passing.code, 0, passing.output)
  t.match(passing.stdout, /# pass 2/)
  project.write('files-of-docs-start.md', 'app.js', readFileSync(join(folder, 'app.js'), 'utf8').replace('target: [\'hero\']', 'target: false'))
  t.not((await project.run(['--test'], folder)).code, 0, 'and it can fail')
})
