/** The rule artifact beyond one process: in a file, and in any other store, however it behaves. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createTargetClient, fileArtifactStore, type ArtifactStore, type StoredArtifact, type TargetClient, type TargetClientOptions } from '../../lib/index.ts'
import { startOrigin } from '../support/artifact-origin.ts'
import { client, organizationId } from '../support/helper.ts'
import '../support/no-unhandled-rejections.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

const temporaryFolder = (t: Test) => {
  const folder = mkdtempSync(join(tmpdir(), 'target-artifact-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** An instance, with the lines that it logged. */
function startInstance (t: Test, artifactLocation: string, options: Partial<TargetClientOptions>): TargetClient & { lines: string[] } {
  const lines: string[] = []
  const logger = { debug () {}, error (...args: unknown[]) { lines.push(String(args.at(-1))) } }
  const instance = createTargetClient({ client, organizationId, decisioningMethod: 'on-device', artifactLocation, pollingInterval: 1000, logger, ...options })
  t.teardown(() => instance.close())
  return Object.assign(instance, { lines })
}

const heroOf = async (instance: TargetClient) => {
  const { response } = await instance.getOffers({ request: { execute: { mboxes: [{ name: 'hero' }] } } })
  return response.execute!.mboxes![0]!.options![0]!.content
}
const stateOf = (instance: TargetClient) => instance.health().artifact?.state

t.test('a restart while the origin is down begins with the last artifact', async (t) => {
  const origin = await startOrigin(t)
  const directory = join(temporaryFolder(t), 'deep', 'artifact')
  const first = startInstance(t, origin.location, { artifactStore: fileArtifactStore({ directory }) })
  await first.ready({ timeout: 5000 })
  await until(() => existsSync(join(directory, 'artifact')))
  await first.close()
  origin.down = true
  await sleep(20)

  const events: string[] = []
  const restart = async () => {
    events.length = origin.answers.length = 0
    const began = performance.now()
    const instance = startInstance(t, origin.location, { artifactStore: fileArtifactStore({ directory }), events: { clientReady: () => events.push('ready') } })
    await instance.ready({ timeout: 5000 })
    return { instance, elapsed: performance.now() - began }
  }
  let { instance: second, elapsed } = await restart()
  // A busy machine may hold up a start; not every one.
  for (let tries = 0; tries < 20 && elapsed >= 50; tries++) {
    await second.close();
    ({ instance: second, elapsed } = await restart())
  }
  t.ok(elapsed < 50, `${elapsed} ms`)
  t.match(second.health(), { status: 'degraded', artifact: { state: 'stale', version: '1.0.1' } })
  t.ok(second.health().artifact!.age! >= 20, 'the age goes on')
  t.type(await heroOf(second), 'string')
  await until(() => origin.answers.includes(503) && stateOf(second) === 'stale')
  origin.down = false
  await until(() => stateOf(second) === 'ready')
  t.equal(origin.answers.at(-1), 304, 'the ETag is kept as well')
  t.same(events, ['ready'])
  t.equal(second.lines.length, 1)
})

t.test('the file', async (t) => {
  const directory = temporaryFolder(t)
  const artifact: StoredArtifact = { json: '{"a":"ü\\n"}', digest: 'd1', location: 'http://a/', etag: '"1"', fetchedAt: 1_700_000_000_123 }
  const [a, b] = [fileArtifactStore({ directory }), fileArtifactStore({ directory })]
  t.equal(await a.read(), undefined)
  await a.write(artifact)
  t.same(await b.read(), artifact)
  await a.write({ ...artifact, json: 'not written again', fetchedAt: 1_700_000_001_000 })
  t.same(await b.read(), { ...artifact, fetchedAt: 1_700_000_001_000 })
  t.equal((await b.read({ ...artifact, json: 'known' }))!.json, 'known', 'the file is not read again')
  const { etag, ...without } = { ...artifact, digest: 'd2' }
  await b.write(without)
  t.same(await a.read(artifact), { ...without, etag: undefined })
  truncateSync(join(directory, 'artifact'), 10)
  t.equal(await a.read(), undefined)
  await a.write(artifact)
  t.same(await a.read(), artifact, 'written again')
  t.same(readdirSync(directory), ['artifact'], 'nothing is left beside it')

  // Terms that do not end before they are looked at, and one that does.
  t.equal(await a.lead(60_000), true)
  t.equal(await b.lead(60_000), false)
  t.equal(await a.lead(100), true)
  await sleep(120)
  t.equal(await b.lead(60_000), true, 'it has expired')
  t.equal(await a.lead(60_000), false)
  writeFileSync(join(directory, 'leader'), JSON.stringify({ id: 'gone', term: 200, until: Date.now() + 3_600_000 }))
  t.equal(await a.lead(200), true, 'the clock was set back')
  writeFileSync(join(directory, 'leader'), 'torn')
  t.equal(await a.lead(200), true)
  t.throws(() => fileArtifactStore({} as never), { code: 'FST_TARGET_INVALID_OPTIONS', message: /directory/ })
})

t.test('several instances: one asks the origin, the others follow', async (t) => {
  const origin = await startOrigin(t)
  const directory = temporaryFolder(t)
  const instances = Array.from({ length: 4 }, () => startInstance(t, origin.location, { artifactStore: fileArtifactStore({ directory }) }))
  await Promise.all(instances.map((instance) => instance.ready({ timeout: 5000 })))
  t.same(origin.answers.filter((status) => status === 200).length, 1, 'one download')
  await sleep(2500)
  t.ok(origin.answers.length <= 5, `${origin.answers.length} looks`)
  t.ok(await until(() => origin.answers.length >= 2))
  t.same(instances.map(stateOf), ['ready', 'ready', 'ready', 'ready'])
  origin.version = '1.0.2'
  await until(() => instances.every((instance) => instance.health().artifact!.version === '1.0.2'))
  t.equal(origin.answers.filter((status) => status === 200).length, 2)
  t.same(await instances[0]!.refresh(), { changed: false })
  t.same(instances.flatMap(({ lines }) => lines), [])
})

t.test('a leader that is gone, or that cannot reach the origin, is replaced', async (t) => {
  const origin = await startOrigin(t)
  const directory = temporaryFolder(t)
  const start = () => startInstance(t, origin.location, { artifactStore: fileArtifactStore({ directory }) })
  const leader = start()
  await leader.ready({ timeout: 5000 })
  const follower = start()
  await follower.ready({ timeout: 5000 })
  await leader.close()
  origin.version = '1.0.2'
  await until(() => follower.health().artifact!.version === '1.0.2')

  const cutOff = { dispatch () { throw new Error('no route') } } as never
  const other = temporaryFolder(t)
  const cut = startInstance(t, origin.location, { artifactStore: fileArtifactStore({ directory: other }), dispatcher: cutOff })
  await sleep(100)
  const well = startInstance(t, origin.location, { artifactStore: fileArtifactStore({ directory: other }) })
  await until(() => stateOf(well) === 'ready' && stateOf(cut) === 'ready', 20_000)
  origin.version = '1.0.3'
  await until(() => cut.health().artifact!.version === '1.0.3', 20_000)
  t.equal(cut.health().artifact!.version, '1.0.3', 'it follows the one that can')
})

t.test('a store that misbehaves is as if absent', async (t) => {
  const origin = await startOrigin(t)
  const never = () => new Promise<never>(() => {})
  const fail = () => { throw new Error('broken') }
  const stores: Record<string, [ArtifactStore, RegExp]> = {
    'never settles': [{ read: never, write: never, lead: never }, /`(lead|read|write)\(\)` failed: no answer within 1000 ms/],
    throws: [{ read: fail, write: fail, lead: fail }, /`read\(\)` failed: broken/],
    'holds garbage': [{ read: async () => ({ json: 1 }) as never, write: async () => {} }, /not an artifact/],
    'holds another artifact': [{ read: async () => ({ json: '{}', digest: 'd', location: 'http://other/', fetchedAt: 1 }), write: async () => {} }, /contains the artifact of http:\/\/other\//],
    'holds a broken artifact': [{ read: async () => ({ json: '{"ver', digest: 'd', location: origin.location, fetchedAt: 1 }), write: async () => {} }, /not JSON.*the stored artifact was not used/]
  }
  await Promise.all(Object.entries(stores).map(async ([name, [artifactStore, line]]) => {
    const instance = startInstance(t, origin.location, { artifactStore })
    const took = stopwatch()
    await instance.ready({ timeout: 5000 })
    t.ok(took() < 1000, `${name}: ready after ${took()} ms`)
    t.equal(stateOf(instance), 'ready', name)
    await until(() => instance.lines.length > 0)
    t.match(instance.lines, [line], name)
    await sleep(1500)
    t.equal(instance.lines.length, 1, `${name}: one line`)
    await instance.close()
  }))
})

t.test('a folder that cannot be written', { skip: process.getuid?.() === 0 && 'root can write anywhere' }, async (t) => {
  const origin = await startOrigin(t)
  const directory = temporaryFolder(t)
  chmodSync(directory, 0o500)
  const instance = startInstance(t, origin.location, { artifactStore: fileArtifactStore({ directory }) })
  await instance.ready({ timeout: 5000 })
  await until(() => instance.lines.length > 0)
  t.match(instance.lines[0], /EACCES/)
})

t.test('a store without `lead`: every instance polls, and stores the response', async (t) => {
  const origin = await startOrigin(t)
  let held: StoredArtifact | undefined
  const artifactStore: ArtifactStore = { read: async () => held, write: async (artifact) => { held = artifact } }
  const instances = [startInstance(t, origin.location, { artifactStore }), startInstance(t, origin.location, { artifactStore })]
  await Promise.all(instances.map((instance) => instance.ready({ timeout: 5000 })))
  await until(() => held !== undefined)
  t.match(held, { digest: /^[\w-]{43}$/, location: origin.location, etag: /^"/, fetchedAt: Number })
  const before = held!.fetchedAt
  await until(() => held!.fetchedAt > before)
  t.ok(origin.answers.length >= 3)
  t.throws(() => createTargetClient({ client, organizationId, artifactStore: { read () {} } as never }), { message: /artifactStore/ })
})
