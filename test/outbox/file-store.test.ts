/** `fileStore()` on a real disk: what it keeps, what it survives, and who takes over from whom. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { fileStore, type FileStoreOptions, type OutboxStore } from '../../lib/index.ts'

async function temporary (t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'outbox-test-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

function open (t: Test, directory: string, options: Partial<FileStoreOptions> = {}): OutboxStore {
  const store = fileStore({ directory, ...options })
  t.teardown(() => store.close())
  return store
}

async function recovered (store: OutboxStore): Promise<{ id: string, payload: string }[]> {
  const records = []
  for await (const record of store.recover()) records.push(record)
  return records
}

const payloadsOf = async (store: OutboxStore) => (await recovered(store)).map(({ payload }) => payload)

/** The files of all journals below a directory. */
async function journals (directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile() && entry.name.endsWith('.journal')).map((entry) => join(entry.parentPath, entry.name)).sort()
}

t.test('keeps what is not settled for the next, and cleans up when nothing is left', async (t) => {
  const directory = join(await temporary(t), 'made', 'when needed')
  const first = open(t, directory)
  t.strictSame(await recovered(first), [])
  const ids = await first.append(['a', 'b with spaces\nand ünïcode 🎯', 'c'])
  t.equal(new Set(ids).size, 3)
  await first.settle([ids[0]!, 'unknown', 'outbox-1-0-abc:7'])
  t.strictSame(await recovered(first), [], 'never its own')
  await first.close()

  const second = open(t, directory)
  const records = await recovered(second)
  t.strictSame(records.map(({ payload }) => payload), ['b with spaces\nand ünïcode 🎯', 'c'])
  t.strictSame(await recovered(second), [], 'once')
  await second.settle([records[0]!.id])
  await second.close()

  const third = open(t, directory)
  const [last, ...others] = await recovered(third)
  t.strictSame([last?.payload, others], ['c', []])
  await third.settle([last!.id])
  await third.close()
  t.strictSame(await readdir(directory), [])
})

t.test('instances that live are left alone, and so is what they recovered', async (t) => {
  const directory = await temporary(t)
  const [one, two] = [open(t, directory), open(t, directory)]
  await one.append(['of one'])
  await two.append(['of two'])
  t.strictSame([await recovered(one), await recovered(two)], [[], []])
  await one.close()
  t.strictSame(await payloadsOf(two), ['of one'])
  const three = open(t, directory)
  t.strictSame(await recovered(three), [])
  await two.close()
  t.strictSame((await payloadsOf(three)).sort(), ['of one', 'of two'])
})

t.test('of several that start at once each orphan is recovered once', async (t) => {
  const directory = await temporary(t)
  const expected: string[] = []
  for (let index = 0; index < 10; index++) {
    const store = fileStore({ directory })
    expected.push(`p${index}`)
    await store.append([`p${index}`])
    await store.close()
  }
  const stores = Array.from({ length: 5 }, () => open(t, directory))
  const all = (await Promise.all(stores.map(payloadsOf))).flat()
  t.strictSame(all.sort(), expected)
})

t.test('a reading that stops early goes on later, and what was not read is not lost', async (t) => {
  const directory = await temporary(t)
  const first = fileStore({ directory, segmentSize: 1024 })
  await first.append(Array.from({ length: 100 }, (_, index) => `p${index} ${'x'.repeat(50)}`))
  await first.close()
  const second = open(t, directory)
  const seen: string[] = []
  for await (const { payload } of second.recover()) if (seen.push(payload) === 30) break
  for await (const { payload } of second.recover()) if (seen.push(payload) === 60) break
  await second.close()
  t.equal(new Set(seen).size, 60)
  const third = open(t, directory)
  t.equal((await recovered(third)).length, 100, 'nothing was settled')
})

t.test('a journal cut at every byte of its last records yields every whole record', async (t) => {
  const directory = await temporary(t)
  const store = fileStore({ directory })
  const ids = await store.append(['first', 'second'])
  await store.settle([ids[0]!])
  const [journal] = await journals(directory)
  const whole = [(await readFile(journal!)).length]
  for (const payload of ['third', 'fourth 🎯', 'fifth']) {
    await store.append([payload])
    whole.push((await readFile(journal!)).length)
  }
  await store.close()
  const expected = ['second', 'third', 'fourth 🎯', 'fifth']
  let wrong = 0
  for (let length = whole[0]!; length <= whole[3]!; length++) {
    for (const rubbish of [0, 1, 100]) {
      const copy = await temporary(t)
      await cp(directory, copy, { recursive: true })
      const [file] = await journals(copy)
      await truncate(file!, length)
      await appendFile(file!, Buffer.alloc(rubbish, 0xA5))
      const heir = fileStore({ directory: copy })
      const seen = await payloadsOf(heir)
      await heir.close()
      if (seen.join() !== expected.slice(0, whole.filter((end) => end <= length).length).join()) wrong += 1
    }
  }
  t.equal(wrong, 0)
})

t.test('a changed byte ends the reading of that file, not of the others', async (t) => {
  const directory = await temporary(t)
  const store = fileStore({ directory, segmentSize: 1024 })
  for (let index = 0; index < 4; index++) await store.append([`${index}${'x'.repeat(1100)}`])
  await store.close()
  const files = await journals(directory)
  t.equal(files.length, 4)
  const data = await readFile(files[1]!)
  data[500]! ^= 1
  await writeFile(files[1]!, data)
  t.strictSame((await payloadsOf(open(t, directory))).map((payload) => payload[0]), ['0', '2', '3'])
})

t.test('a directory that cannot be used rejects, and works as soon as it can be', async (t) => {
  const parent = await temporary(t)
  const directory = join(parent, 'file')
  await writeFile(directory, '')
  const store = open(t, directory)
  await t.rejects(store.append(['a']))
  await t.rejects(recovered(store))
  await rm(directory)
  await store.append(['a'])
  await rm(directory, { recursive: true })
  await sleep(1100)
  await t.rejects(store.append(['b']), 'its folder is gone')
  await store.append(['b'])
  await store.close()
  t.strictSame(await payloadsOf(open(t, directory)), ['b'])
})

t.test('a full disk rejects; nothing that was written before or is written after is lost', { skip: process.platform !== 'linux' && 'needs /dev/full' }, async (t) => {
  const directory = await temporary(t)
  const script = `process.on('SIGXFSZ', () => {})
    const { fileStore } = await import(${JSON.stringify(new URL('../../lib/index.ts', import.meta.url).href)})
    const store = fileStore({ directory: ${JSON.stringify(directory)} })
    const ids = await store.append(['before'])
    process.send('ready'); await new Promise((resolve) => process.once('message', resolve))
    const results = await Promise.allSettled([store.append(['x'.repeat(200000)]), store.append(['y'.repeat(200000)])])
    process.send(results.map(({ status }) => status)); await new Promise((resolve) => process.once('message', resolve))
    await store.append(['after']); process.send('done')
    process.disconnect()`
  const child = spawnScript(script)
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'message')
  // A bound on the size of files is the disk that anybody can fill.
  execFileSync('prlimit', ['--fsize=4096:unlimited', '--pid', String(child.pid)])
  child.send('go')
  t.strictSame((await once(child, 'message'))[0], ['rejected', 'rejected'])
  execFileSync('prlimit', ['--fsize=unlimited:unlimited', '--pid', String(child.pid)])
  child.send('go')
  await once(child, 'exit')
  t.strictSame((await payloadsOf(open(t, directory))).sort(), ['after', 'before'])
})

t.test('long use does not fill the disk, also with something in it that is never settled', async (t) => {
  const directory = await temporary(t)
  const store = fileStore({ directory, segmentSize: 10_000 })
  await store.append(['stuck'])
  let largest = 0
  for (let round = 0; round < 300; round++) {
    const ids = await store.append(Array.from({ length: 10 }, () => 'x'.repeat(100)))
    await store.settle(ids)
    largest = Math.max(largest, (await journals(directory)).length)
  }
  t.ok(largest <= 6, 'few files', { largest })
  await store.close()
  t.strictSame(await payloadsOf(open(t, directory)), ['stuck'])
})

t.test('a process that is killed is succeeded, one that is stopped is not', { skip: process.platform === 'win32' && 'no signals' }, async (t) => {
  const directory = await temporary(t)
  const child = spawnScript(`const { fileStore } = await import(${JSON.stringify(new URL('../../lib/index.ts', import.meta.url).href)})
    await fileStore({ directory: ${JSON.stringify(directory)} }).append(['of a child'])
    process.send('written'); setInterval(() => {}, 1000)`)
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'message')
  const store = open(t, directory)
  t.strictSame(await payloadsOf(store), [], 'lives')
  child.kill('SIGSTOP')
  await sleep(50)
  t.strictSame(await payloadsOf(store), [], 'is stopped')
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.strictSame(await payloadsOf(store), ['of a child'])
})

t.test('a worker thread that ended in a process that lives is succeeded', { skip: process.platform !== 'linux' && 'needs /proc to be seen at once' }, async (t) => {
  const directory = await temporary(t)
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(`
    import { parentPort } from 'node:worker_threads'
    const { fileStore } = await import(${JSON.stringify(new URL('../../lib/index.ts', import.meta.url).href)})
    await fileStore({ directory: ${JSON.stringify(directory)} }).append(['of a thread'])
    parentPort.postMessage('written'); setInterval(() => {}, 1000)`)}`), { execArgv: process.execArgv })
  await once(worker, 'message')
  const store = open(t, directory)
  t.strictSame(await payloadsOf(store), [], 'lives')
  await worker.terminate()
  t.strictSame(await payloadsOf(store), ['of a thread'])
})

t.test('without /proc the heartbeat decides, whatever the clocks say', async (t) => {
  const directory = await temporary(t)
  const elsewhere = join(directory, 'outbox-1-0-elsewhere')
  await mkdir(elsewhere)
  await writeFile(join(elsewhere, 'lock'), JSON.stringify({ pid: 1, place: 'another machine' }))
  const store = open(t, directory)
  await recovered(store)
  t.ok((await readdir(directory)).includes('outbox-1-0-elsewhere'), 'it may live')
})

t.test('100,000 records are recovered in less than two seconds', async (t) => {
  const directory = await temporary(t)
  const store = fileStore({ directory })
  for (let group = 0; group < 100; group++) await store.append(Array.from({ length: 1000 }, (_, index) => `${group * 1000 + index} ${'x'.repeat(1200)}`))
  await store.close()
  const heir = open(t, directory)
  const started = performance.now()
  let count = 0
  // Settled as it goes, as the outbox does.
  for await (const record of heir.recover()) if (record.payload.length > 0) count += 1
  const elapsed = performance.now() - started
  t.equal(count, 100_000)
  t.comment(`${elapsed.toFixed(0)} ms`)
  // The machine may have other things to do; the benchmark has the bound of the goal.
  t.ok(elapsed < 20_000)
})

t.test('wrong options are named', async (t) => {
  t.throws(() => fileStore({ directory: '' }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /directory/ })
  t.throws(() => fileStore({ directory: 'x', sync: 'sometimes' as 'never' }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /sync/ })
  t.throws(() => fileStore({ directory: 'x', segmentsize: 1 } as FileStoreOptions), { code: 'FST_TARGET_INVALID_OPTIONS', message: /segmentsize/ })
})

function spawnScript (script: string): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, '--input-type=module', '-e', script], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}
