/** The network layer: deadlines, grace, retry, queue, breaker, pools, shutdown. Faults of the edge are in faults.test.ts. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import { getEventListeners, once } from 'node:events'
import type { Socket } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { Agent, MockAgent } from 'undici'
import { Breaker, readRetryAfter, type BreakerKind, type BreakerState, type Outcome } from '../../lib/delivery/breaker.ts'
import { findFault } from '../../lib/delivery/response-shape.ts'
import type { Delivery, DeliveryAnswer } from '../../lib/delivery/delivery.ts'
import { edgeMessage } from '../../lib/delivery/edge-message.ts'
import { channels } from '../../lib/diagnostics.ts'
import type { TargetError } from '../../lib/errors.ts'
import { BREAKER, callTo, endingOf, hostOf, network, POOL, send } from './calls.ts'
import { bytes, FaultServer, fillBacklog, freezableServer, good, GOOD, http, type Behaviour } from '../support/fault-server.ts'
import { sleep, stopwatch, until } from '../support/wait.ts'

/** Room for this process, which is busy with the servers as well; the promise is 20 ms. */
const TOLERANCE = 20 + 180

const hang: Behaviour = () => {}

/** Answers when a test says so: a timer might come before a deadline that it is to come after. */
function onDemand (): { behave: Behaviour, waiting: () => number, answer: () => void } {
  const sockets: Socket[] = []
  return {
    behave: (socket) => { sockets.push(socket) },
    waiting: () => sockets.length,
    answer: () => { for (const socket of sockets.splice(0)) socket.write(GOOD) }
  }
}

/** A network and a server that are gone after the test. */
async function setUp (t: Tap, behave: Behaviour = good, settings: Parameters<typeof network>[0] = {}) {
  const server = await new FaultServer(behave).listen()
  const delivery = network(settings)
  t.teardown(async () => { await delivery.close(); await server.close() })
  const pool = () => delivery.health().pool[hostOf(server)]!
  return { server, delivery, pool, origin: server.origin, host: hostOf(server) }
}

type Tap = { teardown (callback: () => Promise<void>): void }

const codesOf = (endings: { error?: TargetError }[]): string[] => endings.map(({ error }) => error?.code.slice('FST_TARGET_'.length) ?? 'ok')

t.test('a call is sent as given and returns the response', async (t) => {
  const { server, delivery, host } = await setUp(t)
  const { answer, elapsed } = await endingOf(delivery, callTo(server.origin))
  t.match(answer, { status: 200, attempts: 1, host, body: { execute: { mboxes: [{ name: 'hero' }] } } })
  t.ok(answer!.elapsed > 0 && answer!.elapsed < elapsed)
  const [request] = server.requests
  t.match(request?.head, /^POST \/rest\/v1\/delivery\?imsOrgId=org&sessionId=s HTTP\/1\.1\r\n/)
  t.match(request?.head, /content-type: application\/json/)
  t.match(request?.head, /accept-encoding: identity/)
  t.equal(request?.body, '{"context":{"channel":"web"}}')
})

t.test('a response cut inside a character is decoded whole', async (t) => {
  const body = Buffer.from('{"status":200,"client":"Grüße 👋"}')
  const { delivery, origin } = await setUp(t, (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`)
    body.forEach((byte, index) => setTimeout(() => socket.write(Buffer.of(byte)), index))
  })
  const { answer } = await endingOf(delivery, callTo(origin, { timeout: 5000 }))
  t.equal(answer?.body?.client, 'Grüße 👋')
})

t.test('a call that cannot be sent fails', async (t) => {
  const { server, delivery, origin } = await setUp(t)
  for (const wrong of ['', 'acmeclient.tt.omtrdc.net', 'ftp://127.0.0.1', 'http://', 'http://a b', `${origin}/path`]) {
    t.equal((await endingOf(delivery, callTo(wrong))).error?.code, 'FST_TARGET_INVALID_REQUEST', wrong)
  }
  for (const path of ['no-slash', '/with space', '/with\r\nheader: x']) {
    t.equal((await endingOf(delivery, callTo(origin, { path }))).error?.code, 'FST_TARGET_INVALID_REQUEST', path)
  }
  t.equal((await endingOf(delivery, callTo(origin, { timeout: 0 }))).error?.code, 'FST_TARGET_TIMEOUT', 'no time left')
  t.equal(server.requests.length, 0)
  t.match(Object.values(delivery.health().pool), [{ running: 0, waiting: 0 }])
})

t.test('deadlines below a second end the call on time', async (t) => {
  const { delivery, origin } = await setUp(t, hang, { breaker: false })
  for (const timeout of [20, 100, 300, 700]) {
    const { error, elapsed, took } = await endingOf(delivery, callTo(origin, { timeout, grace: 0 }))
    t.equal(error?.code, 'FST_TARGET_TIMEOUT')
    t.match(error?.message, `${timeout} ms`)
    t.ok(elapsed >= timeout - 2 && took < timeout + TOLERANCE, `${timeout}: ${elapsed} ms`)
  }
})

t.test('a response received while the event loop was blocked is accepted', async (t) => {
  const server = await freezableServer(16)
  const delivery = network()
  t.teardown(async () => { await delivery.close(); await server.end() })
  const origin = `http://127.0.0.1:${server.port}`
  t.equal((await endingOf(delivery, callTo(origin, { timeout: 5000 }))).answer?.status, 200)
  await sleep(20)
  const before = server.answers()
  const { answer } = send(delivery, callTo(origin, { timeout: 100 }))
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  // The server's thread gets its turn sooner or later.
  for (const start = performance.now(); performance.now() < start + 300 || (server.answers() === before && performance.now() < start + 10_000););
  t.equal((await answer).status, 200)
})

t.test('a failed call that nobody awaits causes no unhandled rejection', async (t) => {
  const unhandled: unknown[] = []
  const collect = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', collect)
  t.teardown(() => { process.off('unhandledRejection', collect) })
  const { delivery, origin } = await setUp(t, (socket) => socket.destroy())
  send(delivery, callTo(origin))
  send(delivery, callTo('nonsense'))
  send(delivery, callTo(origin)).abort()
  await until(() => delivery.health().pool[new URL(origin).host]!.running === 0)
  await sleep(20)
  t.same(unhandled, [])
})

t.test('grace', async (t) => {
  t.test('a late response is passed on and its connection reused', async (t) => {
    const { behave, waiting, answer } = onDemand()
    const { server, delivery, origin, pool } = await setUp(t)
    await endingOf(delivery, callTo(origin))
    server.behave = behave
    const late: DeliveryAnswer[] = []
    const call = callTo(origin, { timeout: 60, grace: 10_000, onLate: (answer) => late.push(answer) })
    t.equal((await endingOf(delivery, call)).error?.code, 'FST_TARGET_TIMEOUT')
    t.match(pool(), { running: 1, stragglers: 1 })
    await until(() => waiting() === 1)
    answer()
    t.ok(await until(() => late.length === 1))
    t.match(late, [{ status: 200, body: { status: 200 }, attempts: 1 }])
    t.match(pool(), { running: 0, stragglers: 0 })
    await sleep(20)
    server.behave = good
    t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
    t.equal(server.accepted, 1)
  })

  t.test('an invalid late response is not passed on', async (t) => {
    const { delivery, origin, pool } = await setUp(t, (socket) => setTimeout(() => socket.write(http('500 Oops', '{}')), 100))
    let late = 0
    await endingOf(delivery, callTo(origin, { timeout: 20, grace: 2000, onLate: () => { late += 1 } }))
    t.ok(await until(() => pool().running === 0))
    t.equal(late, 0)
  })

  t.test('ends when its time is over', async (t) => {
    const { server, delivery, origin, pool } = await setUp(t)
    await endingOf(delivery, callTo(origin))
    const [socket] = server.sockets
    server.behave = hang
    await endingOf(delivery, callTo(origin, { timeout: 20, grace: 100 }))
    t.equal(pool().stragglers, 1)
    await once(socket!, 'close')
    t.match(pool(), { running: 0, stragglers: 0 })
  })

  t.test('without grace a call ends at its deadline', async (t) => {
    const { delivery, origin, pool } = await setUp(t, hang)
    await endingOf(delivery, callTo(origin, { timeout: 20, grace: 0 }))
    t.match(pool(), { running: 0, stragglers: 0 })
  })

  t.test('occupies at most a quarter of the connections', async (t) => {
    const { delivery, origin, pool } = await setUp(t, hang, { pool: { ...POOL, connections: 8 } })
    await Promise.all(Array.from({ length: 8 }, () => endingOf(delivery, callTo(origin, { timeout: 50, grace: 5000 }))))
    t.match(pool(), { running: 2, stragglers: 2 })
  })

  t.test('a call that was not sent by its deadline is not sent after it', async (t) => {
    const { behave, waiting, answer } = onDemand()
    const { server, delivery, origin } = await setUp(t, behave, { pool: { ...POOL, connections: 1 } })
    const running = endingOf(delivery, callTo(origin, { timeout: 10_000 }))
    const { error } = await endingOf(delivery, callTo(origin, { timeout: 50, body: '"waits"' }))
    t.match(error, { code: 'FST_TARGET_TIMEOUT', meta: { phase: 'queue' } })
    await until(() => waiting() === 1)
    answer()
    t.equal((await running).answer?.status, 200)
    await sleep(100)
    t.equal(server.requests.length, 1)
  })

  t.test('a connection that comes late serves the next call, not the one that gave up', async (t) => {
    const frozen = await freezableServer(1)
    await frozen.freeze()
    const fillers = await fillBacklog(frozen.port)
    const delivery = network()
    t.teardown(async () => { await delivery.close(); for (const socket of fillers) socket.destroy(); await frozen.end() })
    const origin = `http://127.0.0.1:${frozen.port}`
    const pool = () => delivery.health().pool[new URL(origin).host]!
    let late = 0
    const { error } = await endingOf(delivery, callTo(origin, { timeout: 50, grace: 10_000, onLate: () => { late += 1 } }))
    t.match(error?.meta, { phase: 'connect', attempts: 0 })
    for (const socket of fillers) socket.destroy()
    frozen.thaw()
    t.ok(await until(() => pool().running === 0, 9000), 'it connected, by the kernel\'s second or third attempt')
    t.match(pool(), { sockets: 1, stragglers: 0 })
    t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
    t.equal(pool().sockets, 1)
    t.equal(late, 0)
  })
})

t.test('retry', async (t) => {
  const diesOnReuse: Behaviour = (socket, { onSocket }) => onSocket === 1 ? socket.write(GOOD) : socket.end()
  const warm = async (delivery: Delivery, origin: string) => {
    await endingOf(delivery, callTo(origin))
    await sleep(20)
  }

  t.test('a call is retried at most once', async (t) => {
    const { server, delivery, origin } = await setUp(t, (socket, { number }) => number === 1 ? socket.write(GOOD) : socket.end())
    await warm(delivery, origin)
    const { error } = await endingOf(delivery, callTo(origin))
    t.match(error, { code: 'FST_TARGET_CONNECTION', meta: { attempts: 2 } })
    t.equal(server.requests.length, 3)
  })

  t.test('does not happen on a fresh connection, when disabled, or after the first byte', async (t) => {
    const fresh = await setUp(t, (socket) => socket.end())
    t.match((await endingOf(fresh.delivery, callTo(fresh.origin))).error, { code: 'FST_TARGET_CONNECTION', meta: { attempts: 1 } })
    t.equal(fresh.server.requests.length, 1)

    const renewed = await setUp(t, (socket, { number }) => socket.end(number === 1 ? http('200 OK', '{}', { connection: 'close' }) : ''))
    await warm(renewed.delivery, renewed.origin)
    t.match((await endingOf(renewed.delivery, callTo(renewed.origin))).error, { meta: { attempts: 1 } }, 'nor on the fresh successor of one that was used')

    const unwanted = await setUp(t, diesOnReuse)
    await warm(unwanted.delivery, unwanted.origin)
    t.match((await endingOf(unwanted.delivery, callTo(unwanted.origin, { retryable: false }))).error, { code: 'FST_TARGET_CONNECTION', meta: { attempts: 1 } })

    const begun = await setUp(t, (socket, { onSocket }) => onSocket === 1 ? socket.write(GOOD) : socket.end('HTTP/1'))
    await warm(begun.delivery, begun.origin)
    t.match((await endingOf(begun.delivery, callTo(begun.origin))).error, { meta: { attempts: 1 } })
    t.equal(begun.server.requests.length, 2)
  })

  t.test('ends with the deadline of the call', async (t) => {
    const { server, delivery, origin } = await setUp(t, (socket, { number }) => {
      if (number === 1) socket.write(GOOD)
      if (number === 2) setTimeout(() => socket.end(), 400)
    })
    await warm(delivery, origin)
    const { error, took } = await endingOf(delivery, callTo(origin, { timeout: 1000 }))
    t.match(error, { code: 'FST_TARGET_TIMEOUT', meta: { attempts: 2 } })
    t.ok(took < 1000 + TOLERANCE)
    t.equal(server.requests.length, 3)
  })

  t.test('works with a custom dispatcher', async (t) => {
    const agent = new Agent()
    t.teardown(() => agent.destroy())
    const { delivery, origin } = await setUp(t, diesOnReuse, { dispatcher: agent })
    await warm(delivery, origin)
    t.match((await endingOf(delivery, callTo(origin))).answer, { attempts: 2 })
  })

  t.test('calls survive when all connections die at the same time', async (t) => {
    for (const calls of [1, 2, 4]) {
      const { server, delivery, origin } = await setUp(t)
      const burst = (length: number) => Promise.all(Array.from({ length }, () => endingOf(delivery, callTo(origin))))
      await burst(4)
      await sleep(20)
      for (const socket of server.sockets) socket.resetAndDestroy()
      t.strictSame(new Set(codesOf(await burst(calls))), new Set(['ok']))
    }
  })

  t.test('a call that meets a second dead connection fails', async (t) => {
    const { server, delivery, origin } = await setUp(t, (socket, { number }) => {
      if (number === 4) setTimeout(() => socket.end(), 80)
      else if (number === 5) socket.end()
      else setTimeout(() => socket.write(GOOD), 30)
    })
    const both = () => Promise.all([endingOf(delivery, callTo(origin)), endingOf(delivery, callTo(origin))])
    t.same(codesOf(await both()), ['ok', 'ok'])
    await sleep(20)
    const [, second] = await both()
    t.match(second.error, { code: 'FST_TARGET_CONNECTION', meta: { attempts: 2 } })
    t.equal(server.requests.length, 5)
  })
})

t.test('queue', async (t) => {
  t.test('a call beyond maxQueue fails immediately', async (t) => {
    const { behave, waiting, answer } = onDemand()
    const { server, delivery, origin, pool } = await setUp(t, behave, { pool: { ...POOL, connections: 2, maxQueue: 3 } })
    const calls = Array.from({ length: 7 }, () => endingOf(delivery, callTo(origin, { timeout: 10_000 })))
    t.match(pool(), { running: 2, waiting: 3 })
    const [, refused] = await Promise.all(calls.slice(5))
    t.ok(refused!.took < 50 + TOLERANCE)
    t.equal(refused!.error?.statusCode, 503)
    await until(() => waiting() === 2)
    server.behave = good
    answer()
    t.same(codesOf(await Promise.all(calls)), ['ok', 'ok', 'ok', 'ok', 'ok', 'OVERLOAD', 'OVERLOAD'])
    t.equal(server.mostSockets, 2)
    t.equal(server.requests.length, 5)
  })

  t.test('a call that times out while queued frees its place', async (t) => {
    const { delivery, origin, pool } = await setUp(t, hang, { pool: { ...POOL, connections: 1, maxQueue: 2 }, breaker: false })
    const holder = send(delivery, callTo(origin, { timeout: 1000, grace: 0 }))
    const first = [endingOf(delivery, callTo(origin, { timeout: 30 })), endingOf(delivery, callTo(origin, { timeout: 30 }))]
    t.same(codesOf(await Promise.all(first)), ['TIMEOUT', 'TIMEOUT'])
    t.equal(pool().waiting, 0)
    const exchange = send(delivery, callTo(origin))
    t.equal(pool().waiting, 1)
    exchange.abort()
    t.equal(pool().waiting, 0)
    holder.abort()
    await t.rejects(exchange.answer, { code: 'FST_TARGET_ABORTED' })
  })

  t.test('serves calls in order', async (t) => {
    const { server, delivery, origin } = await setUp(t, good, { pool: { ...POOL, connections: 1, maxQueue: 100 } })
    await Promise.all(Array.from({ length: 50 }, (_, index) => endingOf(delivery, callTo(origin, { timeout: 5000, body: `${index}` }))))
    t.same(server.requests.map(({ body }) => Number(body)), Array.from({ length: 50 }, (_, index) => index))
  })

  t.test('drains when all queued calls fail at start', async (t) => {
    const { delivery, origin, pool } = await setUp(t, (socket) => setTimeout(() => socket.write(GOOD), 50), { pool: { ...POOL, connections: 1, maxQueue: 5000 }, breaker: false })
    const slow = endingOf(delivery, callTo(origin))
    const endings = await Promise.all([slow, ...Array.from({ length: 5000 }, () => endingOf(delivery, callTo(origin, { path: '/with space', timeout: 5000 })))])
    t.equal(codesOf(endings).filter((code) => code === 'INVALID_REQUEST').length, 5000)
    t.match(pool(), { running: 0, waiting: 0 })
  })

  t.test('connections that fail and reconnect do not accumulate', async (t) => {
    const { server, delivery, origin } = await setUp(t, good, { pool: { ...POOL, connections: 1, maxQueue: 500 }, breaker: false })
    await server.close()
    const calls = Array.from({ length: 500 }, () => endingOf(delivery, callTo(origin, { timeout: 5000 })))
    await calls[0]
    await server.listen()
    const codes = codesOf(await Promise.all(calls))
    t.equal(codes[0], 'CONNECTION')
    t.equal(codes.at(-1), 'ok')
    t.equal(server.mostSockets, 1)
  })

  t.test('bounds calls in flight with a custom dispatcher', async (t) => {
    const agent = new Agent()
    t.teardown(() => agent.destroy())
    const { delivery, origin } = await setUp(t, (socket) => setTimeout(() => socket.write(GOOD), 50), { dispatcher: agent, pool: { ...POOL, connections: 2, maxQueue: 3 } })
    const endings = await Promise.all(Array.from({ length: 7 }, () => endingOf(delivery, callTo(origin, { timeout: 5000 }))))
    t.same(codesOf(endings), ['ok', 'ok', 'ok', 'ok', 'ok', 'OVERLOAD', 'OVERLOAD'])
  })
})

t.test('aborting', async (t) => {
  t.test('abort() ends the call and frees its connection', async (t) => {
    const { server, delivery, origin, pool } = await setUp(t, hang)
    const exchange = send(delivery, callTo(origin, { grace: 5000 }))
    await until(() => server.requests.length === 1)
    const [socket] = server.sockets
    exchange.abort()
    await t.rejects(exchange.answer, { code: 'FST_TARGET_ABORTED', meta: { phase: 'headers', attempts: 1 } })
    t.equal(pool().running, 0)
    await once(socket!, 'close')
    exchange.abort()
  })

  t.test('abort after the deadline ends the grace', async (t) => {
    const { delivery, origin, pool } = await setUp(t, hang)
    const exchange = send(delivery, callTo(origin, { timeout: 20, grace: 5000 }))
    await t.rejects(exchange.answer, { code: 'FST_TARGET_TIMEOUT' })
    t.equal(pool().stragglers, 1)
    exchange.abort()
    t.match(pool(), { running: 0, stragglers: 0 })
  })

  t.test('abort after the response has no effect', async (t) => {
    const { server, delivery, origin } = await setUp(t)
    const exchange = send(delivery, callTo(origin))
    await exchange.answer
    exchange.abort()
    await sleep(20)
    t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
    t.equal(server.accepted, 1, 'the connection lived on')
  })

  t.test('abort() of one call does not affect others', async (t) => {
    const { delivery, origin, pool } = await setUp(t, (socket, { number }) => setTimeout(() => socket.write(GOOD), number % 4), {
      breaker: false,
      pool: { ...POOL, connections: 16, maxAge: 50 }
    })
    const codes: Record<string, number> = {}
    let number = 0
    await Promise.all(Array.from({ length: 20 }, async () => {
      for (let i = 0; i < 150; i++) {
        number += 1
        const hurried = number % 7 === 0
        const exchange = send(delivery, callTo(origin, hurried ? { timeout: 1, grace: 3 } : { timeout: 5000 }))
        const aborted = number % 5 === 0
        if (aborted) setTimeout(() => exchange.abort(), number % 3)
        const [code] = codesOf([await exchange.answer.then(() => ({}), (error: TargetError) => ({ error }))])
        if (!hurried && !aborted) codes[code!] = (codes[code!] ?? 0) + 1
      }
    }))
    t.strictSame(Object.keys(codes), ['ok'])
    t.ok(await until(() => pool().running === 0))
    t.match(pool(), { waiting: 0, stragglers: 0 })
    t.ok(pool().sockets <= 16)
  })

  t.test('the caller\'s signal aborts the call', async (t) => {
    const { delivery, origin, pool } = await setUp(t, hang)
    const controller = new AbortController()
    const { answer } = send(delivery, callTo(origin, { signal: controller.signal }))
    t.equal(getEventListeners(controller.signal, 'abort').length, 1)
    controller.abort(new Error('changed my mind'))
    await t.rejects(answer, { code: 'FST_TARGET_ABORTED', cause: { message: 'changed my mind' } })
    t.ok(await until(() => pool().running === 0))
    t.match((await endingOf(delivery, callTo(origin, { signal: controller.signal }))).error, { code: 'FST_TARGET_ABORTED', meta: { attempts: 0 } })
  })

  t.test('one signal aborts many calls without a listener warning', async (t) => {
    const warnings: Error[] = []
    const collect = (warning: Error) => warnings.push(warning)
    process.on('warning', collect)
    t.teardown(() => { process.off('warning', collect) })
    const { delivery, origin, pool } = await setUp(t, hang)
    const controller = new AbortController()
    await endingOf(delivery, callTo(origin, { signal: controller.signal, timeout: 20 }))
    const calls = Array.from({ length: 15 }, () => endingOf(delivery, callTo(origin, { signal: controller.signal, timeout: 5000 })))
    await sleep(20)
    controller.abort()
    t.strictSame(new Set(codesOf(await Promise.all(calls))), new Set(['ABORTED']))
    t.ok(await until(() => pool().running === 0))
    t.same(warnings, [])
  })

  t.test('no listener stays on a signal', async (t) => {
    const { server, delivery, origin } = await setUp(t, good, { breaker: false })
    const { signal } = new AbortController()
    await Promise.all(Array.from({ length: 10 }, () => endingOf(delivery, callTo(origin, { signal }))))
    server.behave = (socket) => socket.destroy()
    await endingOf(delivery, callTo(origin, { signal }))
    server.behave = hang
    await endingOf(delivery, callTo(origin, { signal, timeout: 20 }))
    send(delivery, callTo(origin, { signal })).abort()
    await endingOf(delivery, callTo(origin, { signal, path: '/with space' }))
    t.equal(getEventListeners(signal, 'abort').length, 0)
  })
})

t.test('breaker', async (t) => {
  const settings = { failures: 4, window: 1000, cooldown: 5000 }
  /** The first pause, in ms. */
  const PAUSE = 250
  const make = (more = {}) => {
    const states: BreakerState[] = []
    const notificationStates: BreakerState[] = []
    const breaker = new Breaker({ ...settings, ...more }, (state, kind) => (kind === 'page' ? states : notificationStates).push(state))
    const call = (outcome: Outcome, now: number, kind: BreakerKind = 'page') => {
      const admission = breaker.admit(kind, now)
      if (admission !== undefined) breaker.settle(kind, admission, outcome, now)
      return admission
    }
    const fail = (now: number, times = settings.failures) => { for (let i = 0; i < times; i++) call('failed', now) }
    return { breaker, states, notificationStates, call, fail }
  }

  t.test('opens after failures in a row, whatever came before', async (t) => {
    const { call, fail, states, breaker } = make()
    for (let i = 0; i < 1000; i++) call('answered', 1000)
    fail(1000, 3)
    t.same(states, [])
    t.equal(breaker.admit('page', 1000), 'ordinary')
    fail(1000, 1)
    t.same(states, ['open'])
    t.equal(call('answered', 1000 + PAUSE - 1), undefined)
    const slow = make()
    for (let i = 0; i < 4; i++) slow.fail(10_000 * (i + 1), 1)
    t.same(slow.states, ['open'], 'however long that took')
  })

  t.test('opens for a limping host when at least half of the calls in the window fail', async (t) => {
    const { call, states } = make()
    const limp = (from: number, pattern: string) => [...pattern].forEach((one, index) => call(one === '.' ? 'answered' : 'failed', from + index))
    limp(1000, '....xx.xx')
    t.same(states, [], '4 of 9')
    limp(1010, 'x')
    t.same(states, ['open'], '5 of 10')
    const older = make()
    older.fail(1000, 3)
    older.call('answered', 1000)
    older.fail(2100, 3)
    t.same(older.states, [])
    t.match(older.breaker.report(2100), { state: 'closed', calls: 3, failures: 3 }, 'calls older than the window are forgotten')
    older.call('answered', 2100)
    older.fail(2150, 1)
    t.same(older.states, ['open'], 'and none that are younger')
  })

  t.test('does not count calls that say nothing about the host', async (t) => {
    const { call, breaker } = make()
    for (let i = 0; i < 20; i++) call(i % 2 === 0 ? 'unknown' : 'late', 1000)
    t.match(breaker.report(1000), { state: 'closed', calls: 0, failures: 0 })
  })

  t.test('lets one page call probe; its success closes', async (t) => {
    const { breaker, call, fail, states } = make()
    fail(1000)
    t.equal(breaker.report(1100).retryIn, 150)
    t.equal(breaker.report(1250).state, 'half-open')
    t.equal(breaker.admit('page', 1250), 'probe')
    t.equal(breaker.admit('page', 60_000), undefined, 'never a second one')
    breaker.settle('page', 'probe', 'answered', 1600)
    t.same(states, ['open', 'half-open', 'closed'])
    t.equal(call('answered', 1600), 'ordinary')
    fail(1600, 3)
    t.equal(breaker.report(1600).state, 'closed', 'it counts from zero again')
  })

  t.test('probes soon and then less often, at most after cooldown', async (t) => {
    for (const cooldown of [5000, 400, 100]) {
      const { breaker, call, fail } = make({ cooldown })
      const start = 1000
      fail(start)
      const pauses: number[] = []
      let now = start
      while (now < start + 600_000) {
        const { retryIn } = breaker.report(now)
        pauses.push(retryIn)
        now += retryIn
        if (call('failed', now - 1) !== undefined || call('failed', now) !== 'probe') t.fail(`not as reported at ${now}`)
      }
      t.same(pauses.slice(0, 4), [250, 500, 750, 750].map((pause) => Math.min(pause, cooldown)))
      t.equal(pauses.at(-1), cooldown)
      t.same(pauses, [...pauses].sort((a, b) => a - b), 'never sooner than before')
      let at = start
      t.ok(pauses.every((pause) => (at += pause) > start + 30_000 || pause <= 750), 'below a second in the first half minute')
    }
  })

  t.test('opens again after a failed probe; an aborted one leaves its place to the next', async (t) => {
    const { breaker, call, fail } = make()
    fail(1000)
    t.equal(call('unknown', 1250), 'probe')
    t.equal(call('late', 1250), 'probe', 'a deadline too short to judge by, but no answer')
    t.equal(call('answered', 1749), undefined)
    t.equal(call('answered', 1750), 'probe')
    t.equal(breaker.report(1750).state, 'closed')
  })

  t.test('lets calls from before it opened decide nothing', async (t) => {
    const { breaker, fail, states } = make()
    const early = breaker.admit('page', 1000)!
    const another = breaker.admit('page', 1000)!
    fail(1000)
    breaker.settle('page', early, 'answered', 1100)
    t.same(states, ['open'])
    t.equal(breaker.admit('page', 1250), 'probe')
    breaker.settle('page', another, 'failed', 1250)
    t.equal(breaker.report(1250).state, 'half-open')
  })

  t.test('judges pages and notifications apart', async (t) => {
    for (const [failing, other] of [['page', 'notification'], ['notification', 'page']] as const) {
      const { breaker, states, notificationStates, call } = make()
      for (let i = 0; i < 20; i++) call('failed', 1000, failing)
      t.equal(breaker.admit(failing, 1100), undefined)
      t.equal(call('answered', 1100, other), 'ordinary')
      t.same(failing === 'page' ? states : notificationStates, ['open'])
      t.same(failing === 'page' ? notificationStates : states, [])
      t.equal(call('failed', 1250, failing), 'probe')
      t.equal(breaker.admit(failing, 1251), undefined, 'an answer to the other kind changes nothing')
    }
    const { breaker, call } = make()
    for (let i = 0; i < 20; i++) call('failed', 1000, 'notification')
    t.match(breaker.report(1000), { state: 'closed', notifications: { state: 'open', retryIn: 250 } })
  })

  t.test('a host that is not reached at all is that for both; and so is one that is reached again', async (t) => {
    for (const [kind, other] of [['page', 'notification'], ['notification', 'page']] as const) {
      const { breaker, call } = make()
      for (let i = 0; i < 4; i++) call('unreached', 1000, kind)
      t.equal(breaker.admit(kind, 1100), undefined)
      t.equal(breaker.admit(other, 1100), undefined)
      for (let now = 1250; now < 3000; now += 10) call('failed', now, other)
      t.equal(breaker.admit(other, 3001), undefined)
      t.equal(call('answered', 3001, kind), 'probe')
      t.equal(breaker.admit(other, 3001), 'probe', 'at once')
    }
  })

  t.test('Retry-After opens it for that long, a minute at most', async (t) => {
    const { breaker, states } = make()
    breaker.settle('page', breaker.admit('page', 1000)!, 'answered', 1000, 2000)
    t.same(states, ['open'])
    t.equal(breaker.admit('page', 2999), undefined)
    t.equal(breaker.admit('notification', 2999), 'ordinary', 'it was said to a page')
    t.equal(breaker.admit('page', 3000), 'probe')
    breaker.settle('page', 'probe', 'failed', 3000, 3_600_000)
    t.equal(breaker.admit('page', 62_999), undefined)
    t.equal(breaker.admit('page', 63_000), 'probe')
  })

  t.test('reading Retry-After', async (t) => {
    const now = Date.parse('2026-11-23T12:00:00Z')
    t.equal(readRetryAfter('7', now), 7000)
    t.equal(readRetryAfter('Mon, 23 Nov 2026 12:00:09 GMT', now), 9000)
    for (const none of [undefined, '', '0', '-1', 'soon', 'Mon, 23 Nov 2020 12:00:00 GMT', ['1', '2']]) t.equal(readRetryAfter(none, now), 0, String(none))
  })

  t.test('sends nothing while open and recovers, over real sockets', async (t) => {
    const states: unknown[] = []
    const collect = (message: unknown) => states.push(message)
    channels.breaker.subscribe(collect)
    t.teardown(() => { channels.breaker.unsubscribe(collect) })
    const { server, delivery, origin, host } = await setUp(t, bytes(http('500 Oops', '{}')))
    for (let i = 0; i < BREAKER.failures; i++) await endingOf(delivery, callTo(origin))
    t.match(delivery.health().breaker[host], { state: 'open', failures: 10, calls: 10 })
    const { error, took } = await endingOf(delivery, callTo(origin))
    t.match(error, { code: 'FST_TARGET_BREAKER_OPEN', statusCode: 503, meta: { attempts: 0, host } })
    t.ok(took < TOLERANCE)
    t.equal(server.requests.length, BREAKER.failures, 'the host is left alone')
    server.behave = (socket) => setTimeout(() => socket.write(GOOD), 50)
    await sleep(BREAKER.cooldown + 20)
    const endings = await Promise.all(Array.from({ length: 3 }, () => endingOf(delivery, callTo(origin))))
    t.same(codesOf(endings), ['ok', 'BREAKER_OPEN', 'BREAKER_OPEN'])
    t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
    t.same(states, ['open', 'half-open', 'closed'].map((state) => ({ host, state, kind: 'page' })))
  })

  t.test('lets the next call probe after an aborted probe', async (t) => {
    const { server, delivery, origin } = await setUp(t, (socket) => socket.destroy())
    for (let i = 0; i < BREAKER.failures; i++) await endingOf(delivery, callTo(origin))
    await sleep(BREAKER.cooldown + 20)
    server.behave = hang
    const probe = send(delivery, callTo(origin))
    probe.abort()
    server.behave = good
    t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
  })

  t.test('counts network errors and 5xx as failures, nothing else', async (t) => {
    const rows: [string, Behaviour, number, Parameters<typeof callTo>[1]?][] = [
      ['500', bytes(http('500 Oops', '{}')), 1],
      ['500 in the body', bytes(http('200 OK', '{"status":503}')), 1],
      ['connection lost', (socket) => socket.destroy(), 1],
      ['own timeout', hang, 1, { timeout: 30, breakerTimeout: 30 }],
      ['a route\'s shorter deadline', hang, 0, { timeout: 30, breakerTimeout: 31 }],
      ['400', bytes(http('400 Bad', '{}')), 0],
      ['429 without Retry-After', bytes(http('429 Slow down', '{}')), 0],
      ['redirect', bytes(http('301 Moved', '')), 0],
      ['nonsense', bytes(http('200 OK', 'x')), 0],
      ['an unsendable request', good, 0, { path: 'x' }]
    ]
    for (const [name, behave, failures, more] of rows) {
      const { delivery, origin, host } = await setUp(t, behave)
      await endingOf(delivery, callTo(origin, { grace: 0, ...more }))
      t.equal(delivery.health().breaker[host]?.failures, failures, name)
    }
  })

  t.test('never opens when disabled', async (t) => {
    const { server, delivery, origin } = await setUp(t, bytes(http('503 Busy', '{}', { 'retry-after': '30' })), { breaker: false })
    for (let i = 0; i < 30; i++) t.equal((await endingOf(delivery, callTo(origin))).error?.code, 'FST_TARGET_HTTP')
    t.equal(server.requests.length, 30)
    t.same(delivery.health().breaker, {})
  })

  t.test('opens for each host separately', async (t) => {
    const { delivery, origin } = await setUp(t, (socket) => socket.destroy())
    const other = await new FaultServer().listen()
    t.teardown(() => other.close())
    for (let i = 0; i < BREAKER.failures; i++) await endingOf(delivery, callTo(origin))
    t.same(codesOf(await Promise.all([endingOf(delivery, callTo(origin)), endingOf(delivery, callTo(other.origin))])), ['BREAKER_OPEN', 'ok'])
  })
})

t.test('pool', async (t) => {
  t.test('a pool past maxAge is replaced, also at the limit of connections (nodejs/undici#5144)', async (t) => {
    const { server, delivery, origin } = await setUp(t, good, { pool: { ...POOL, connections: 1, maxAge: 1 } })
    for (let i = 0; i < 5; i++) {
      t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
      await sleep(20)
    }
    t.equal(server.accepted, 5)
    t.ok(await until(() => server.sockets.size <= 1), 'the old ones are closed')
  })

  t.test('is replaced under constant load while running calls finish', async (t) => {
    const { server, delivery, origin, pool } = await setUp(t, (socket) => setTimeout(() => socket.write(GOOD), 5), { pool: { ...POOL, connections: 4, maxAge: 50 } })
    const start = performance.now()
    // For long enough, and until there has been a second pool of four.
    const isToGoOn = () => performance.now() < start + 400 || (server.accepted < 8 && performance.now() < start + 10_000)
    const codes = new Set<string>()
    await Promise.all(Array.from({ length: 8 }, async () => {
      while (isToGoOn()) for (const code of codesOf([await endingOf(delivery, callTo(origin, { timeout: 2000 }))])) codes.add(code)
    }))
    t.same([...codes], ['ok'])
    t.ok(server.accepted >= 8, `${server.accepted} connections`)
    t.ok(server.mostSockets <= 3 * 4, `${server.mostSockets} at once`)
    t.ok(await until(() => server.sockets.size <= 4 + 1))
    t.ok(pool().sockets <= 5)
  })

  t.test('a call that hangs does not keep its old pool from closing', async (t) => {
    const { server, delivery, origin } = await setUp(t, hang, { pool: { ...POOL, maxAge: 20 }, breaker: false })
    const stuck = endingOf(delivery, callTo(origin, { timeout: 1000, grace: 0 }))
    await until(() => server.requests.length === 1)
    const [old] = server.sockets
    await sleep(30)
    server.behave = good
    t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
    t.equal((await stuck).error?.code, 'FST_TARGET_TIMEOUT')
    if (!old!.destroyed) await once(old!, 'close')
    t.pass('closed')
  })

  t.test('a server\'s Keep-Alive cannot prolong an idle connection\'s life', async (t) => {
    const { server, delivery, origin } = await setUp(t, bytes(http('200 OK', '{}', { 'keep-alive': 'timeout=600' })), { pool: { ...POOL, keepAliveTimeout: 100 } })
    await endingOf(delivery, callTo(origin))
    t.ok(await until(() => server.sockets.size === 0, 3000))
  })

  t.test('keeps sixteen hosts and evicts the least recently used', async (t) => {
    const delivery = network()
    const servers = await Promise.all(Array.from({ length: 18 }, () => new FaultServer().listen()))
    t.teardown(async () => { await delivery.close(); await Promise.all(servers.map((server) => server.close())) })
    const [first, second, third] = servers as [FaultServer, FaultServer, FaultServer]
    const { behave, waiting, answer } = onDemand()
    second.behave = behave
    const call = (server: FaultServer) => endingOf(delivery, callTo(server.origin, { timeout: 10_000 }))
    await call(first)
    const busy = call(second)
    for (const server of servers.slice(2, 16)) await call(server)
    await call(first)
    for (const server of servers.slice(16)) await call(server)
    const kept = Object.keys(delivery.health().pool)
    t.equal(kept.length, 16)
    t.ok(kept.includes(hostOf(first)), 'used lately')
    t.ok(kept.includes(hostOf(second)), 'busy')
    t.notOk(kept.includes(hostOf(third)))
    t.ok(await until(() => third.sockets.size === 0), 'its connections are closed')
    await until(() => waiting() === 1)
    answer()
    t.equal((await busy).answer?.status, 200)
    t.equal((await call(third)).answer?.status, 200, 'it can come back')
  })

  t.test('a call on an evicted host completes when all hosts are busy', async (t) => {
    const delivery = network()
    const servers = await Promise.all(Array.from({ length: 17 }, () => new FaultServer((socket) => setTimeout(() => socket.write(GOOD), 150)).listen()))
    t.teardown(async () => { await delivery.close(); await Promise.all(servers.map((server) => server.close())) })
    const endings = await Promise.all(servers.map((server) => endingOf(delivery, callTo(server.origin, { timeout: 2000 }))))
    t.same(new Set(codesOf(endings)), new Set(['ok']))
    t.equal(Object.keys(delivery.health().pool).length, 16)
    t.ok(await until(() => servers[0]!.sockets.size === 0, 2000), 'and its connection is closed then')
  })

  t.test('work that outlives a request runs outside its async context', async (t) => {
    const store = new AsyncLocalStorage<string>()
    const { behave, waiting, answer } = onDemand()
    const { server, delivery, origin } = await setUp(t, behave)
    let late: () => void = () => {}
    const seen = new Promise((resolve) => { late = () => resolve(store.getStore()) })
    const first = store.run('a request', () => endingOf(delivery, callTo(origin, { timeout: 500, grace: 10_000, onLate: late })))
    t.equal((await first).error?.code, 'FST_TARGET_TIMEOUT')
    await until(() => waiting() === 1)
    server.behave = good
    answer()
    t.equal(await seen, undefined)
    const inside = await store.run('another', async () => {
      await endingOf(delivery, callTo(origin))
      return store.getStore()
    })
    t.equal(inside, 'another', 'and an answer is in its asker\'s')

    const hanging = await setUp(t, hang)
    const errors = channel('undici:request:error')
    const grace = new Promise((resolve) => {
      const listener = () => {
        errors.unsubscribe(listener)
        resolve(store.getStore())
      }
      errors.subscribe(listener)
    })
    store.run('a third', () => send(hanging.delivery, callTo(hanging.origin, { timeout: 30, grace: 30 })))
    t.equal(await grace, undefined, 'nor is the end of the grace')
  })
})

t.test('a custom dispatcher', async (t) => {
  t.test('is used and never closed', async (t) => {
    const agent = new Agent()
    t.teardown(() => agent.destroy())
    const { delivery, origin, pool } = await setUp(t, good, { dispatcher: agent })
    t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
    t.equal(pool().sockets, 0)
    await delivery.close()
    t.notOk(agent.closed)
    t.equal((await agent.request({ origin, path: '/', method: 'POST', body: '{}' })).statusCode, 200)
  })

  t.test('deadline, grace and abort', async (t) => {
    const agent = new Agent()
    t.teardown(() => agent.destroy())
    const { server, delivery, origin, pool } = await setUp(t, hang, { dispatcher: agent })
    t.equal((await endingOf(delivery, callTo(origin, { timeout: 30, grace: 50 }))).error?.code, 'FST_TARGET_TIMEOUT')
    t.equal(pool().stragglers, 1)
    t.ok(await until(() => pool().running === 0))
    server.behave = good
    t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
    server.behave = hang
    const exchange = send(delivery, callTo(origin))
    exchange.abort()
    await t.rejects(exchange.answer, { code: 'FST_TARGET_ABORTED' })
    t.ok(await until(() => pool().running === 0))
  })

  t.test('may be a MockAgent', async (t) => {
    const mock = new MockAgent()
    mock.disableNetConnect()
    t.teardown(() => mock.close())
    const delivery = network({ dispatcher: mock })
    t.teardown(() => delivery.close())
    const pool = mock.get('https://acmeclient.tt.omtrdc.net')
    const path = callTo('').path
    pool.intercept({ path, method: 'POST' }).reply(200, { status: 200, client: 'acmeclient' })
    t.match((await endingOf(delivery, callTo('https://acmeclient.tt.omtrdc.net'))).answer, { body: { client: 'acmeclient' } })
    pool.intercept({ path, method: 'POST' }).replyWithError(new Error('as ordered'))
    t.match((await endingOf(delivery, callTo('https://acmeclient.tt.omtrdc.net'))).error, { code: 'FST_TARGET_CONNECTION', message: /as ordered/ })
    t.equal((await endingOf(delivery, callTo('https://acmeclient.tt.omtrdc.net'))).error?.code, 'FST_TARGET_CONNECTION', 'not expected by the mock')
    pool.intercept({ path, method: 'POST' }).reply(200, { status: 200 }).delay(1000)
    t.equal((await endingOf(delivery, callTo('https://acmeclient.tt.omtrdc.net', { timeout: 20 }))).error?.code, 'FST_TARGET_TIMEOUT')
  })

  t.test('that throws fails the call', async (t) => {
    class Broken extends Agent {
      override dispatch (): boolean { throw new Error('broken') }
    }
    const delivery = network({ dispatcher: new Broken() })
    t.match((await endingOf(delivery, callTo('http://127.0.0.1:9'))).error, { code: 'FST_TARGET_CONNECTION', message: /broken/ })
    t.match(delivery.health().pool['127.0.0.1:9'], { running: 0 })
    await delivery.close()
  })
})

t.test('close', async (t) => {
  t.test('running calls end, new ones are refused, no handle stays open', async (t) => {
    const { server, delivery, origin, pool } = await setUp(t, (socket) => setTimeout(() => socket.write(GOOD), 80), { pool: { ...POOL, connections: 1 } })
    const running = endingOf(delivery, callTo(origin, { timeout: 2000 }))
    const waiting = endingOf(delivery, callTo(origin, { timeout: 2000 }))
    const closed = delivery.close()
    t.equal(delivery.close(), closed)
    const refused = await endingOf(delivery, callTo(origin))
    t.match(refused.error, { code: 'FST_TARGET_CLOSED', statusCode: 503 })
    await closed
    t.same(codesOf([await running, await waiting]), ['ok', 'ok'])
    t.match(pool(), { running: 0, waiting: 0, stragglers: 0, sockets: 0 })
    t.ok(await until(() => server.sockets.size === 0))
    t.equal((await endingOf(delivery, callTo(origin))).error?.code, 'FST_TARGET_CLOSED')
  })

  t.test('is bounded by the deadlines of the calls, and ends the grace', async (t) => {
    const { server, delivery, origin, pool } = await setUp(t, hang)
    await endingOf(delivery, callTo(origin, { timeout: 20, grace: 60_000 }))
    t.equal(pool().stragglers, 1)
    const running = endingOf(delivery, callTo(origin, { timeout: 100, grace: 60_000 }))
    const took = stopwatch()
    const closed = delivery.close()
    t.equal(pool().stragglers, 0)
    await closed
    t.ok(took() < 100 + TOLERANCE)
    t.equal((await running).error?.code, 'FST_TARGET_TIMEOUT')
    t.ok(await until(() => server.sockets.size === 0))
  })

  t.test('ends the grace with a custom dispatcher, too', async (t) => {
    const agent = new Agent()
    t.teardown(() => agent.destroy())
    const { server, delivery, origin, pool } = await setUp(t, hang, { dispatcher: agent })
    const running = endingOf(delivery, callTo(origin, { timeout: 100, grace: 60_000 }))
    await until(() => server.requests.length === 1)
    await delivery.close()
    t.equal((await running).error?.code, 'FST_TARGET_TIMEOUT')
    t.match(pool(), { running: 0, stragglers: 0 })
  })

  t.test('of an unused client resolves', async () => {
    await network().close()
  })

  t.test('resolves with a custom dispatcher that never ends a call', async (t) => {
    class Silent extends Agent {
      override dispatch (): boolean { return true }
    }
    const delivery = network({ dispatcher: new Silent() })
    const running = endingOf(delivery, callTo('http://127.0.0.1:9', { timeout: 50 }))
    await delivery.close()
    t.equal((await running).error?.code, 'FST_TARGET_TIMEOUT')
  })
})

t.test('get', async (t) => {
  const order = { kind: 'artifact' as const, maxSize: 1000, timeout: 1000 }

  t.test('resolves with any complete response', async (t) => {
    const { server, delivery, origin } = await setUp(t, bytes(http('304 Not Modified', '', { etag: '"1"' })))
    const answer = await delivery.get(`${origin}/a/b?c=d#e`, { ...order, headers: { 'if-none-match': '"1"' } })
    t.match(answer, { status: 304, headers: { etag: '"1"' } })
    t.match(server.requests[0]?.head, /^GET \/a\/b\?c=d HTTP/)
    t.match(server.requests[0]?.head, /if-none-match: "1"/)
    server.behave = bytes(http('200 OK', 'hello'))
    const { body } = await delivery.get(new URL(origin), order)
    t.equal(Buffer.concat(body).toString(), 'hello')
  })

  t.test('rejects when the response is incomplete or too large', async (t) => {
    const { server, delivery, origin, pool } = await setUp(t, bytes(http('200 OK', 'x'.repeat(1001))))
    await t.rejects(delivery.get(origin, order), { code: 'FST_TARGET_INVALID_RESPONSE' })
    server.behave = hang
    await t.rejects(delivery.get(origin, { ...order, timeout: 30 }), { code: 'FST_TARGET_TIMEOUT' })
    t.match(pool(), { running: 0, stragglers: 0 })
    server.behave = (socket) => socket.destroy()
    await t.rejects(delivery.get(origin, order), { code: 'FST_TARGET_CONNECTION' })
    await t.rejects(delivery.get('nonsense', order), { code: 'FST_TARGET_INVALID_REQUEST' })
    await t.rejects(delivery.get('file:///etc/hosts', order), { code: 'FST_TARGET_INVALID_REQUEST' })
    await t.rejects(delivery.get(origin, { ...order, signal: AbortSignal.abort() }), { code: 'FST_TARGET_ABORTED' })
    await t.rejects(delivery.get(origin, { ...order, headers: { 'x-a': 'b\r\nc: d' } }), { code: 'FST_TARGET_INVALID_REQUEST' })
  })

  t.test('ends with close', async (t) => {
    const { delivery, origin } = await setUp(t, hang)
    const running = delivery.get(origin, { ...order, timeout: 60_000 })
    const rejected = t.rejects(running, { code: 'FST_TARGET_CLOSED' })
    await delivery.close()
    await rejected
    await t.rejects(delivery.get(origin, order), { code: 'FST_TARGET_CLOSED' })
  })
})

t.test('observability', async (t) => {
  t.test('publishes the start and end of each exchange', async (t) => {
    const messages: [string, unknown][] = []
    for (const name of ['callStart', 'callEnd', 'callError'] as const) {
      const collect = (message: unknown) => messages.push([name, message])
      channels[name].subscribe(collect)
      t.teardown(() => { channels[name].unsubscribe(collect) })
    }
    const { server, delivery, origin, host } = await setUp(t)
    await endingOf(delivery, callTo(origin))
    server.behave = bytes(http('500 Oops', '{}'))
    const { error } = await endingOf(delivery, callTo(origin, { kind: 'notification', requestId: 'r-2' }))
    t.match(messages, [
      ['callStart', { requestId: 'r-1', host, kind: 'page' }],
      ['callEnd', { requestId: 'r-1', host, kind: 'page', status: 200, attempts: 1, elapsed: Number }],
      ['callStart', { requestId: 'r-2', host, kind: 'notification' }],
      ['callError', { requestId: 'r-2', host, kind: 'notification', error, attempts: 1, elapsed: Number }]
    ])
  })

  t.test('logs one line for each kind of failure', async (t) => {
    const lines: unknown[][] = []
    const { server, delivery, origin } = await setUp(t, bytes(http('500 Oops', '{"message":"broken"}')), {
      breaker: false,
      logger: { debug () {}, error: (...line) => lines.push(line) }
    })
    for (let i = 0; i < 20; i++) await endingOf(delivery, callTo(origin))
    server.behave = bytes(http('502 Oops', ''))
    for (let i = 0; i < 20; i++) await endingOf(delivery, callTo(origin))
    send(delivery, callTo(origin)).abort()
    t.match(lines, [
      [{ err: { code: 'FST_TARGET_HTTP' } }, 'Target returned an error: 500: broken'],
      [{ err: { code: 'FST_TARGET_HTTP' } }, 'Target returned an error: 502']
    ])
    t.equal(lines.length, 2)
  })

  t.test('a logger that throws breaks nothing', async (t) => {
    const { delivery, origin } = await setUp(t, (socket) => socket.destroy(), { logger: { debug () {}, error () { throw new Error('full disk') } } })
    t.equal((await endingOf(delivery, callTo(origin))).error?.code, 'FST_TARGET_CONNECTION')
  })
})

t.test('messages of the edge are quoted without visitor data', async (t) => {
  const request = {
    path: '/rest/v1/delivery?imsOrgId=org&sessionId=session-of-this-visitor',
    body: JSON.stringify({ id: { tntId: 'd359234570e04f14' }, execute: { mboxes: [{ name: 'hero', parameters: { card: '4111 1111' } }] } })
  }
  const say = (message: unknown) => edgeMessage(message, request)
  t.equal(say('bad mbox hero'), ': bad mbox hero')
  t.equal(say('a\r\nb\u001b[31m\u2028c\u202ed'), ': a b [31m c d', 'no line breaks, no escapes')
  t.equal(say('tntId d359234570e04f14 of session-of-this-visitor paid with 4111 1111'), ': tntId … of … paid with …')
  t.equal(say('x'.repeat(1000)), `: ${'x'.repeat(200)}…`)
  t.equal(say('x'.repeat(1e6)), '')
  for (const none of [undefined, 7, '', {}]) t.equal(say(none), '')
  for (const none of [undefined, null, [], {}, 7, '']) t.equal(edgeMessage(none, request), '')
})

t.test('the response is checked and normalised', async (t) => {
  const sound = [
    {}, { status: 200 }, { execute: {} }, { execute: { mboxes: [] } }, { notifications: [{ id: 'a' }] },
    { execute: { mboxes: [{ index: 0, name: 'a', options: [{ content: 'x' }, { content: { y: 1 } }, { content: [1] }, { content: null }] }] } },
    { prefetch: { views: [{ name: 'v', options: [{ type: 'new-type', responseTokens: { 'geo.city': 'x' } }], metrics: [{ type: 'click', eventToken: 'e' }] }] } },
    { unheardOf: [1, 2] }
  ]
  for (const answer of sound) t.equal(findFault(answer), undefined, JSON.stringify(answer))
  const faulty: [unknown, string][] = [
    [[], ' is not an object'], ['x', ' is not an object'],
    [{ execute: [] }, '.execute is not an object'],
    [{ execute: { mboxes: {} } }, '.execute.mboxes is not a list'],
    [{ execute: { mboxes: [null] } }, '.execute.mboxes[0] is not an object'],
    [{ execute: { mboxes: [{ name: 7 }] } }, '.execute.mboxes[0].name is not a string'],
    [{ prefetch: { views: [{ options: [{}, 'x'] }] } }, '.prefetch.views[0].options[1] is not an object'],
    [{ prefetch: { mboxes: [{ metrics: [{ eventToken: {} }] }] } }, '.prefetch.mboxes[0].metrics[0].eventToken is not a string'],
    [{ execute: { pageLoad: { options: {} } } }, '.execute.pageLoad.options is not a list'],
    [{ id: 'x' }, '.id is not an object'], [{ id: { tntId: 5 } }, '.id.tntId is not a string'],
    [{ notifications: [[]] }, '.notifications[0] is not an object'], [{ edgeHost: 1 }, '.edgeHost is not a string'],
    [{ status: '200' }, '.status is not a number']
  ]
  for (const [answer, fault] of faulty) t.equal(findFault(answer), `the response${fault}`)

  const withNulls = { execute: null, prefetch: { mboxes: [{ name: 'a', options: null }] } }
  t.equal(findFault(withNulls), undefined)
  t.same(withNulls, { prefetch: { mboxes: [{ name: 'a' }] } }, 'null is absent')

  fc.assert(fc.property(fc.jsonValue(), (value) => { findFault(value) }), { numRuns: 500 })
})

t.test('whatever bytes are received, a call ends with a response or a coded error', async (t) => {
  const { server, delivery, origin } = await setUp(t, good, { breaker: false })
  const codes = /^FST_TARGET_(TIMEOUT|CONNECTION|HTTP|INVALID_RESPONSE)$/
  const body = fc.oneof(fc.json(), fc.string(), fc.constant('{"status":200}'))
  const answer = fc.oneof(
    body.map((text) => http('200 OK', text)),
    fc.tuple(fc.integer({ min: 100, max: 999 }), body, fc.nat(20)).map(([status, text, length]) => http(`${status} x`, text, { 'content-length': length })),
    fc.string({ unit: 'binary' })
  )
  await fc.assert(fc.asyncProperty(answer, fc.boolean(), async (text, close) => {
    server.behave = (socket) => close ? socket.end(text) : socket.write(text)
    const ending = await endingOf(delivery, callTo(origin, { timeout: 40, grace: 0 }))
    if (ending.error !== undefined && !codes.test(ending.error.code)) throw ending.error
    if (ending.answer?.body !== undefined && findFault(ending.answer.body) !== undefined) throw new Error('let through')
  }), { numRuns: 150 })
  server.behave = good
  t.equal((await endingOf(delivery, callTo(origin))).answer?.status, 200)
})
