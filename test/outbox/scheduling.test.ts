/** How many calls at a time, in which order, and when the outbox says that it is too few. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { failure } from '../../lib/errors.ts'
import { Backlog } from '../../lib/outbox/backlog.ts'
import { CallWindow } from '../../lib/outbox/call-window.ts'
import { Outbox, type OutboxSettings } from '../../lib/outbox/outbox.ts'
import { estimateBytes } from '../../lib/outbox/size.ts'
import type { Notification } from '../../lib/schema/index.ts'

const notification = (id: string, name = 'hero'): Notification => ({ id, impressionId: id, type: 'display', timestamp: 1, mbox: { name } })
const settings: OutboxSettings = { concurrency: 256, maxQueue: 10_000, maxBytes: 1e8, retries: 10, maxAge: 3_600_000, closeTimeout: 100 }
const options = { client: 'acme', logger: { debug () {}, error () {} }, random: () => 0 }
const until = async (holds: () => boolean) => { for (let wait = 0; wait < 1000 && !holds(); wait++) await sleep(5) }

/** Plays rounds of a full window against an edge. */
function play (window: CallWindow, rounds: number, latency: (atOnce: number) => number, outcome: (call: number) => 'answered' | 'bad' = () => 'answered') {
  for (let round = 0; round < rounds; round++) {
    const calls = window.size
    for (let call = 0; call < calls; call++) window.begin()
    window.markFull()
    for (let call = 0; call < calls; call++) window.end(outcome(call), latency(calls))
  }
}

t.test('the window grows to its bound while calls take the same time', async (t) => {
  const window = new CallWindow(256)
  t.equal(window.size, 8)
  play(window, 10, () => 60)
  t.equal(window.size, 256)
  t.ok(window.atMax)
  play(window, 5, () => 60)
  t.equal(window.size, 256)
  t.equal(new CallWindow(3).size, 3)
})

t.test('it does not grow unless more calls wait', async (t) => {
  const window = new CallWindow(256)
  for (let call = 0; call < 1000; call++) {
    window.begin()
    window.end('answered', 60)
  }
  t.equal(window.size, 8)
})

t.test('it stays where an edge that gets slower under load is busy, and no further', async (t) => {
  const window = new CallWindow(256)
  const latency = (atOnce: number) => 60 * Math.max(1, atOnce / 40)
  play(window, 300, latency)
  const sizes: number[] = []
  for (let round = 0; round < 30; round++) {
    play(window, 1, latency)
    sizes.push(window.size)
  }
  t.ok(Math.min(...sizes) >= 40, 'uses what there is', { sizes })
  t.ok(Math.max(...sizes) <= 120, 'and leaves it at that', { sizes })
})

t.test('it finds out that the edge has become slower for good', async (t) => {
  const window = new CallWindow(256)
  play(window, 10, () => 20)
  play(window, 100, () => 200)
  t.equal(window.size, 256)
})

t.test('an edge that refuses more than fifty at a time gets about that many, one that fails every third call gets as many calls as it can take', async (t) => {
  const window = new CallWindow(256)
  play(window, 30, () => 60, (call) => call % 3 === 0 ? 'bad' : 'answered')
  t.ok(window.size >= 100, `every third call failed: ${window.size}`)

  const limited = new CallWindow(256)
  const sizes: number[] = []
  for (let round = 0; round < 200; round++) {
    play(limited, 1, () => 60, (call) => call >= 50 ? 'bad' : 'answered')
    if (round > 100) sizes.push(limited.size)
  }
  t.ok(Math.min(...sizes) > 20 && Math.max(...sizes) < 110, 'refused past fifty', { sizes })

  play(window, 150, () => 60, () => 'bad')
  t.equal(window.size, 1, 'all failed')
  play(window, 200, () => 60)
  t.equal(window.size, 256, 'all is well')
})

t.test('one session: one call at a time, in order, joined where it waits; a busy one has a few', async (t) => {
  const calls: string[][] = []
  const begun: string[] = []
  let atOnce = 0
  let most = 0
  let failing = 2
  const outbox = new Outbox<{ key: string, sessionId: string, page: string }>(settings, async ({ sessionId }, notifications) => {
    if (sessionId === 'busy') begun.push(...notifications.map(({ id }) => id))
    most = Math.max(most, ++atOnce)
    await sleep(10)
    atOnce -= 1
    if (failing-- > 0) throw failure('FST_TARGET_CONNECTION', 'lost')
    calls.push(notifications.map(({ id }) => id))
    return new Set(notifications.map(({ id }) => id))
  }, options)
  t.teardown(() => outbox.close())
  const expected: string[] = []
  for (let index = 0; index < 45; index++) {
    expected.push(`n${index}`)
    outbox.add({ key: 'ann', sessionId: 's', page: index < 40 ? '/' : '/other' }, [notification(`n${index}`)])
    await new Promise(setImmediate)
  }
  await until(() => outbox.report().pending === 0)
  t.strictSame(calls.flat(), expected)
  t.equal(most, 1)
  t.ok(calls.length < 15, 'joined', { calls: calls.length })
  t.ok(calls.every((ids) => ids.length <= 50))
  t.notOk(calls.some((ids) => ids.includes('n39') && ids.includes('n40')), 'another page is another call')

  for (let index = 0; index < 2000; index++) outbox.add({ key: 'bot', sessionId: 'busy', page: `/${index >> 6}` }, [notification(`b${index}`)])
  for (let index = 0; index < 500; index++) {
    outbox.add({ key: 'bot', sessionId: 'busy', page: `/of-its-own/${index}` }, [notification(`c${index}`)])
    if (index % 10 === 0) await new Promise(setImmediate)
  }
  await until(() => outbox.report().pending === 0)
  t.ok(most > 1 && most <= 4, 'a few at a time', { most })
  t.strictSame(begun, [...Array.from({ length: 2000 }, (_, index) => `b${index}`), ...Array.from({ length: 500 }, (_, index) => `c${index}`)], 'which begin in order')
})

t.test('the window opens for many visitors', async (t) => {
  let atOnce = 0
  let most = 0
  const outbox = new Outbox<{ key: string }>(settings, async (_, notifications) => {
    most = Math.max(most, ++atOnce)
    await sleep(60)
    atOnce -= 1
    return new Set(notifications.map(({ id }) => id))
  }, options)
  t.teardown(() => outbox.close())
  for (let index = 0; index < 3000; index++) outbox.add({ key: `v${index}` }, [notification(`n${index}`)])
  await until(() => outbox.report().pending === 0)
  t.ok(most > 64, 'far beyond the first window', { most })
})

t.test('bounded in bytes, the oldest is dropped', async (t) => {
  const kept: string[] = []
  let open = false
  const outbox = new Outbox<{ key: string }>({ ...settings, maxBytes: 200_000 }, async (_, notifications) => {
    if (!open) throw failure('FST_TARGET_BREAKER_OPEN', 'pause')
    kept.push(...notifications.map(({ id }) => id))
    return new Set(notifications.map(({ id }) => id))
  }, options)
  t.teardown(() => outbox.close())
  for (let index = 0; index < 500; index++) {
    outbox.add({ key: `v${index}` }, [notification(`n${index}`, 'x'.repeat(1000))])
    await new Promise(setImmediate)
  }
  const { bytes, pending, dropped } = outbox.report()
  t.ok(bytes <= 200_000 && bytes > 150_000, 'full, and no more', { bytes })
  t.equal(pending + dropped, 500)
  t.ok(outbox.degraded)
  open = true
  await until(() => outbox.report().pending === 0)
  t.equal(outbox.report().bytes, 0)
  t.equal(kept.at(-1), 'n499')
})

t.test('too old is failed, also while it is held', async (t) => {
  const failed: string[] = []
  const outbox = new Outbox<{ key: string }>({ ...settings, maxAge: 300 }, async () => { throw failure('FST_TARGET_BREAKER_OPEN', 'pause') }, {
    ...options, onFailed: ({ id }, { code }) => { failed.push(`${id} ${code}`) }
  })
  t.teardown(() => outbox.close())
  outbox.add({ key: 'ann' }, [notification('a')])
  await until(() => failed.length > 0)
  t.strictSame(failed, ['a FST_TARGET_TIMEOUT'])
  t.match(outbox.report(), { failed: 1, pending: 0 })
})

t.test('a backlog that grows is reported with the number to change', async (t) => {
  const window = new CallWindow(8)
  play(window, 3, () => 60)
  const backlog = new Backlog(10_000)
  for (let second = 0; second < 5; second++) {
    t.notOk(backlog.growing)
    backlog.look({ now: second * 1000, pending: 1000 + second * 470, accepted: second * 600, batches: second * 600 })
  }
  t.ok(backlog.growing)
  t.match(backlog.describe(window, 8), {
    code: 'FST_TARGET_OVERLOAD',
    message: /600 notifications per second are accepted and 130 are sent; `notifications\.maxQueue` \(10000\) is full in 16 s: set `notifications\.concurrency` to 45 or more \(currently 8\)/
  })
  backlog.look({ now: 5000, pending: 2000, accepted: 3000, batches: 3000 })
  t.notOk(backlog.growing)
})

t.test('the estimate of memory is near to what V8 takes', async (t) => {
  const make = (index: number) => JSON.parse(JSON.stringify({ ...notification(`4d1f3c70-0000-4000-8000-${index}`), tokens: [`token-of-${index}-that-is-fairly-long`], context: { channel: 'web', userAgent: `Mozilla/5.0 (X11; Linux x86_64) ${index}`, address: { url: `https://example.com/products/${index}` } } }))
  const before = process.memoryUsage().heapUsed
  const kept = Array.from({ length: 20_000 }, (_, index) => make(index))
  const measured = (process.memoryUsage().heapUsed - before) / kept.length
  const estimated = estimateBytes(kept[0])
  t.ok(estimated > measured / 2 && estimated < measured * 2, 'within a factor of two', { estimated, measured })
})
