/** The outbox with a store behind it: one in memory that works, fails and hangs on demand. The real ones have tests of their own. */
import { once } from 'node:events'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { failure, type TargetError } from '../../lib/errors.ts'
import type { OutboxStore, StoredRecord } from '../../lib/index.ts'
import { Outbox, type OutboxOptions, type OutboxSettings } from '../../lib/outbox/outbox.ts'
import type { Notification } from '../../lib/schema/index.ts'

interface Visitor { key: string, sessionId?: string }

/** Keeps records in a map that outlives it, as a disk does. */
class MemoryStore implements OutboxStore {
  readonly records: Map<string, string>
  readonly calls = { append: 0, settle: 0, recover: 0, close: 0 }
  trouble: 'none' | 'reject' | 'hang' = 'none'
  /** Where they are kept although the store said that it failed. */
  secretly = false
  #last = 0

  constructor (records = new Map<string, string>()) {
    this.records = records
  }

  async append (payloads: readonly string[]): Promise<string[]> {
    this.calls.append += 1
    if (!this.secretly) await this.#behave()
    const ids = payloads.map((payload) => {
      const id = `${process.hrtime.bigint()}-${++this.#last}`
      this.records.set(id, payload)
      return id
    })
    await this.#behave()
    return ids
  }

  async settle (ids: readonly string[]): Promise<void> {
    this.calls.settle += 1
    await this.#behave()
    for (const id of ids) this.records.delete(id)
  }

  async * recover (): AsyncIterable<StoredRecord> {
    this.calls.recover += 1
    await this.#behave()
    if (this.calls.recover > 1) return
    for (const [id, payload] of [...this.records]) yield { id, payload }
  }

  async close (): Promise<void> {
    this.calls.close += 1
    await this.#behave()
  }

  async #behave (): Promise<void> {
    if (this.trouble === 'reject') throw Object.assign(new Error('ERR unknown command \'XADD\', with args beginning with: \'stream\' \'*\' \'payload\' \'{"secret":"visitor-4711"}\''))
    if (this.trouble === 'hang') await new Promise(() => {})
  }
}

function setUp (t: Test, store: OutboxStore, settings: Partial<OutboxSettings> = {}, options: Partial<OutboxOptions> = {}) {
  const edge = { answers: true, seen: [] as { key: string, ids: string[] }[] }
  const logged: { level: string, text: string, code?: string }[] = []
  const failed: { id: string, error: TargetError }[] = []
  const log = (level: string) => ({ err }: { err?: TargetError }, text: string) => { logged.push({ level, text, ...(err !== undefined && { code: err.code }) }) }
  const outbox = new Outbox<Visitor>(
    { concurrency: 8, maxQueue: 10_000, maxBytes: 1e8, retries: 10, maxAge: 3_600_000, closeTimeout: 100, store, ...settings },
    async (visitor, notifications) => {
      if (!edge.answers) throw failure('FST_TARGET_BREAKER_OPEN', 'pause')
      await nextTurn()
      edge.seen.push({ key: visitor.key, ids: notifications.map(({ id }) => id) })
      return new Set(notifications.map(({ id }) => id))
    },
    { client: 'acme', logger: { debug: log('debug'), error: log('error') }, onFailed: ({ id }, error) => { failed.push({ id, error }) }, random: () => 0, ...options }
  )
  t.teardown(() => outbox.close())
  return { edge, outbox, logged, failed }
}

const notification = (id: string): Notification => ({ id, impressionId: id, type: 'display', timestamp: 1, mbox: { name: 'hero' } })
const until = async (holds: () => boolean) => { for (let wait = 0; wait < 1000 && !holds(); wait++) await sleep(5) }
const sum = (outbox: Outbox<Visitor>) => {
  const { accepted, recovered, pending, sent, failed, dropped } = outbox.report()
  if (accepted !== pending + sent + failed + dropped) throw new Error('the account does not balance')
  return { accepted, recovered, pending, sent, failed, dropped }
}

t.test('written while it waits, removed when it is sent', async (t) => {
  const store = new MemoryStore()
  const { edge, outbox } = setUp(t, store)
  edge.answers = false
  outbox.add({ key: 'ann', sessionId: 's' }, [notification('a'), notification('b')])
  outbox.add({ key: 'bob' }, [notification('c')])
  await until(() => store.records.size === 2)
  t.equal(store.calls.append, 1, 'one group')
  t.match(JSON.parse([...store.records.values()][0]!), { v: 1, client: 'acme', visitor: { key: 'ann', sessionId: 's' }, notifications: [{ id: 'a' }, { id: 'b' }] })
  t.equal(outbox.report().durable, true)
  edge.answers = true
  await until(() => store.records.size === 0)
  t.strictSame(sum(outbox), { accepted: 3, recovered: 0, pending: 0, sent: 3, failed: 0, dropped: 0 })
})

t.test('what a process leaves is sent by the next, and by nobody if it is too old or belongs to another client', async (t) => {
  const first = new MemoryStore()
  const before = setUp(t, first, { closeTimeout: 1000 })
  before.edge.answers = false
  before.outbox.add({ key: 'ann' }, Array.from({ length: 120 }, (_, index) => notification(`n${index}`)))
  await before.outbox.close()
  t.strictSame(sum(before.outbox), { accepted: 120, recovered: 0, pending: 120, sent: 0, failed: 0, dropped: 0 }, 'stays in the store')
  t.match(before.logged.at(-1)?.text, /120 notifications left in the store/)
  t.equal(first.records.size, 3, 'at most 50 in a call')
  t.equal(first.calls.close, 1)

  const old = JSON.parse([...first.records.values()][0]!)
  first.records.set('old', JSON.stringify({ ...old, acceptedAt: Date.now() - 5000, notifications: [notification('old')] }))
  first.records.set('future', JSON.stringify({ ...old, acceptedAt: Date.now() + 1e9, notifications: [notification('future')] }))
  first.records.set('foreign', JSON.stringify({ ...old, client: 'other', notifications: [notification('foreign')] }))
  first.records.set('rubbish', '{')
  const after = setUp(t, new MemoryStore(first.records), { maxAge: 3000 })
  await until(() => sum(after.outbox).sent === 121 && first.records.size === 1)
  t.strictSame(sum(after.outbox), { accepted: 123, recovered: 123, pending: 0, sent: 121, failed: 2, dropped: 0 })
  t.strictSame(after.edge.seen.flatMap(({ ids }) => ids), [...Array.from({ length: 120 }, (_, index) => `n${index}`), 'future'])
  t.match(after.failed, [{ id: 'old', error: { code: 'FST_TARGET_TIMEOUT' } }])
  t.strictSame([...first.records.keys()], ['foreign'], 'is left alone')
  t.equal(after.logged.filter(({ code }) => code === 'FST_TARGET_STORE').length, 2)
})

for (const trouble of ['reject', 'hang'] as const) {
  t.test(`a store whose promises ${trouble}: as without one, with one line; what still waits is written when it works again`, async (t) => {
    const store = new MemoryStore()
    const { edge, outbox, logged } = setUp(t, store)
    await until(() => store.calls.recover === 1)
    store.trouble = trouble
    for (let index = 0; index < 20; index++) {
      outbox.add({ key: `v${index}` }, [notification(`n${index}`)])
      await nextTurn()
    }
    await until(() => sum(outbox).sent === 20)
    t.equal(sum(outbox).sent, 20)
    await until(() => !outbox.report().durable)
    t.equal(outbox.report().durable, false)
    t.ok(outbox.degraded)
    edge.answers = false
    outbox.add({ key: 'waits' }, [notification('waits')])
    await sleep(50)
    t.strictSame(logged.filter(({ level }) => level === 'error').map(({ code }) => code), ['FST_TARGET_STORE'], 'one line')
    t.notMatch(JSON.stringify(logged), /4711/)
    store.trouble = 'none'
    await until(() => outbox.report().durable)
    await until(() => [...store.records.values()].some((text) => text.includes('waits')))
    t.equal(outbox.report().durable, true)
    t.ok([...store.records.values()].some((text) => text.includes('waits')))
  })
}

t.test('a write that failed and yet was done is repeated, and both are removed', async (t) => {
  const store = new MemoryStore()
  const { edge, outbox } = setUp(t, store)
  await until(() => store.calls.recover === 1)
  edge.answers = false
  store.trouble = 'hang'
  store.secretly = true
  outbox.add({ key: 'ann' }, [notification('a')])
  await until(() => store.records.size === 1)
  await sleep(2100)
  store.trouble = 'none'
  await until(() => store.records.size === 2)
  edge.answers = true
  await until(() => store.records.size === 1)
  t.equal(store.records.size, 1, 'the id of the first write never came')
  t.equal(sum(outbox).sent, 1)
})

t.test('a store that hangs does not hold up close()', async (t) => {
  const store = new MemoryStore()
  store.trouble = 'hang'
  const { edge, outbox } = setUp(t, store)
  edge.answers = false
  outbox.add({ key: 'ann' }, [notification('a')])
  const started = performance.now()
  await outbox.close()
  t.ok(performance.now() - started < 4500)
  t.strictSame(sum(outbox), { accepted: 1, recovered: 0, pending: 0, sent: 0, failed: 0, dropped: 1 }, 'not in the store, so it is lost and counted')
})

t.test('transform: nothing readable in the store; a wrong key is counted', async (t) => {
  const store = new MemoryStore()
  const transform = (key: number) => ({
    encode: (text: string) => Buffer.from(Buffer.from(text).map((byte) => byte ^ key)).toString('base64'),
    decode: async (stored: string) => Buffer.from(Buffer.from(stored, 'base64').map((byte) => byte ^ key)).toString()
  })
  const before = setUp(t, store, { transform: transform(7), closeTimeout: 1000 })
  before.edge.answers = false
  before.outbox.add({ key: 'ann' }, [notification('a')])
  await before.outbox.close()
  t.notMatch([...store.records.values()].join(), /ann/)

  const copy = new Map(store.records)
  const right = setUp(t, new MemoryStore(store.records), { transform: transform(7) })
  await until(() => sum(right.outbox).sent === 1)
  t.match(sum(right.outbox), { recovered: 1, sent: 1 })

  const wrong = setUp(t, new MemoryStore(copy), { transform: transform(8) })
  await until(() => copy.size === 0)
  t.match(sum(wrong.outbox), { accepted: 1, recovered: 1, failed: 1 })
})

t.test('under load few calls carry many records, and the first is made at once', async (t) => {
  const store = new MemoryStore()
  const { edge, outbox } = setUp(t, store)
  const started = performance.now()
  outbox.add({ key: 'first' }, [notification('first')])
  await nextTurn()
  t.equal(store.calls.append, 1)
  for (let visitor = 0; visitor < 500; visitor++) {
    outbox.add({ key: `v${visitor}` }, [notification(`n${visitor}`)])
    await nextTurn()
  }
  await until(() => edge.seen.length === 501 && store.records.size === 0)
  const elapsed = performance.now() - started
  t.ok(store.calls.append <= elapsed / 5 + 2, `${store.calls.append} calls of append() in ${elapsed.toFixed(0)} ms`)
  t.ok(store.calls.settle <= elapsed / 50 + 2, `${store.calls.settle} of settle()`)
})

t.test('recovers at the pace of the queue, and leaves room for pages', async (t) => {
  const records = new Map(Array.from({ length: 5000 }, (_, index) => [`id${index}`, JSON.stringify({ v: 1, client: 'acme', acceptedAt: Date.now(), visitor: { key: `v${index}` }, notifications: [notification(`n${index}`)] })]))
  const { edge, outbox } = setUp(t, new MemoryStore(records), { maxQueue: 100 })
  edge.answers = false
  await until(() => sum(outbox).pending >= 80)
  await sleep(50)
  t.equal(sum(outbox).pending, 80)
  edge.answers = true
  await until(() => records.size === 0)
  t.strictSame(sum(outbox), { accepted: 5000, recovered: 5000, pending: 0, sent: 5000, failed: 0, dropped: 0 })
})

t.test('a script that never closes its client ends all the same', async (t) => {
  const { spawn } = await import('node:child_process')
  const outbox = new URL('../../lib/outbox/outbox.ts', import.meta.url).href
  const script = `const { Outbox } = await import(${JSON.stringify(outbox)})
    const hang = () => new Promise(() => {})
    const store = { append: hang, settle: hang, close: hang, recover: () => ({ [Symbol.asyncIterator]: () => ({ next: hang }) }) }
    new Outbox({ concurrency: 1, maxQueue: 9, maxBytes: 1e6, retries: 1, maxAge: 1e6, closeTimeout: 9, store }, hang, { client: 'c', logger: { debug () {}, error () {} } }).add({ key: 'k' }, [{ id: 'n' }])`
  const child = spawn(process.execPath, [...process.execArgv, '--input-type=module', '-e', script], { stdio: 'inherit' })
  const [code] = await once(child, 'exit')
  t.equal(code, 0)
})
