/** The warm-up, in fresh processes. What it saves the first page, `npm run bench -- start` shows. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { UNDICI_CHANNELS } from '../../lib/client/warm-up.ts'
import { root } from '../support/project.ts'

const PRELUDE = `
  import { createHook } from 'node:async_hooks'
  import { subscribe } from 'node:diagnostics_channel'
  import { setTimeout } from 'node:timers/promises'
  import Fastify from 'fastify'
  import { Agent } from 'undici'
  import { fastifyAdobeTarget as plugin, createTargetClient } from './lib/index.ts'
  import { channels, calls as callChannels } from './lib/diagnostics.ts'
  import { warmUpPage } from './lib/request/warm-up.ts'

  const settings = { client: 'acmeclient', organizationId: '1@AdobeOrg', serverDomain: '127.0.0.1:9', secure: false, preconnect: 0 }
  let calls = 0
  createHook({ init (_id, type) { if (type === 'FASTIFY_ADOBE_TARGET_CALL') calls++ } }).enable()
`

/** The JSON that a program prints; the program must end by itself. */
async function run (program: string): Promise<unknown> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...process.execArgv, '--input-type=module', '--eval', PRELUDE + program], { cwd: root, timeout: 60_000 })
  t.equal(stderr, '')
  return JSON.parse(stdout)
}

t.test('a made-up page gets its offer, once per process, and no channel has it', async (t) => {
  t.same(await run(`
    const heard = []
    for (const channel of [...Object.values(channels), callChannels.start, callChannels.end, callChannels.asyncStart, callChannels.asyncEnd, callChannels.error]) {
      channel.subscribe((message, name) => heard.push(name))
    }
    const contents = [await warmUpPage(), await warmUpPage()]
    console.log(JSON.stringify({ contents, calls, heard }))
  `), { contents: ['warm-up', null], calls: 1, heard: [] })
})

t.test('the plugin warms up at the start, and logs nothing', async (t) => {
  t.same(await run(`
    const lines = []
    const app = Fastify({ logger: { level: 'trace', stream: { write: (line) => lines.push(line) } } })
    await app.register(plugin, settings)
    await app.ready()
    await setTimeout(100)
    const health = app.target.health()
    console.log(JSON.stringify({ calls, lines, status: health.status, pool: health.pool, again: await warmUpPage() }))
    await app.close()
  `), { calls: 1, lines: [], status: 'ok', pool: {} })
})

t.test('a client without the plugin warms up, too', async (t) => {
  t.same(await run(`
    const client = createTargetClient(settings)
    await setTimeout(100)
    console.log(JSON.stringify({ calls, again: await warmUpPage() }))
    await client.close()
  `), { calls: 1 })
})

t.test('no warm-up without undici, or among requests that are traced', async (t) => {
  t.same(await run(`
    const dispatcher = new Agent()
    const app = Fastify()
    await app.register(plugin, { ...settings, dispatcher })
    await app.ready()
    const client = createTargetClient({ ...settings, dispatcher })
    subscribe('undici:request:headers', () => {})
    const traced = Fastify()
    await traced.register(plugin, settings)
    await traced.ready()
    await setTimeout(100)
    console.log(JSON.stringify({ calls }))
    await Promise.all([app.close(), client.close(), traced.close()])
  `), { calls: 0 })
})

t.test('no warm-up beside a call that is made at once', async (t) => {
  t.same(await run(`
    const client = createTargetClient(settings)
    const { code } = await client.getOffers({ request: { execute: { mboxes: [{ index: 0, name: 'hero' }] } } }).catch((error) => error)
    await setTimeout(100)
    console.log(JSON.stringify({ code, calls }))
    await client.close()
  `), { code: 'FST_TARGET_CONNECTION', calls: 1 })
})

t.test('where undici cannot be loaded, a client fails its calls and nothing else', async (t) => {
  t.same(await run(`
    import { register } from 'node:module'
    const hooks = "export const resolve = (name, context, next) => name === 'undici' && !context.parentURL.includes('node_modules') ? Promise.reject(new Error('not installed')) : next(name, context)"
    register('data:text/javascript,' + encodeURIComponent(hooks))
    const client = createTargetClient({ ...settings, preconnect: 4 })
    await setTimeout(100)
    await client.ready()
    const { code, message } = await client.getOffers({ request: { execute: { mboxes: [{ index: 0, name: 'hero' }] } } }).catch((error) => error)
    console.log(JSON.stringify({ code, message }))
    await client.close()
  `), { code: 'FST_TARGET_CONNECTION', message: 'Connection to Target failed: undici cannot be loaded' })
})

t.test('every channel of undici for HTTP requests counts as a trace', (t) => {
  const source = readFileSync(join(root, 'node_modules/undici/lib/core/diagnostics.js'), 'utf8')
  t.same([...new Set(source.match(/undici:(client|request):\w+/g))].sort(), [...UNDICI_CHANNELS].sort())
  t.end()
})
