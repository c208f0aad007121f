/** A real outage: an edge in a process of its own, stopped and continued under load. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { calls, channels, type CallMessage } from '../../lib/diagnostics.ts'
import { client, organizationId, startApp } from '../support/helper.ts'
import { sleep } from '../support/wait.ts'

const TIMEOUT = 400

/** Pages a second. */
const RATE = 60

async function startEdgeProcess (t: { teardown (fn: () => unknown): void }): Promise<{ edge: ChildProcess, host: string }> {
  const edge = fork(fileURLToPath(new URL('outage-edge.ts', import.meta.url)), [client, organizationId])
  t.teardown(() => edge.kill('SIGKILL'))
  const [host] = await once(edge, 'message') as [string]
  return { edge, host }
}

t.test('an edge that hangs costs few pages their time, and is back within a second of its return', { skip: process.platform === 'win32' && 'no SIGSTOP' }, async (t) => {
  const { edge, host } = await startEdgeProcess(t)
  const states: string[] = []
  const listener = (message: unknown) => {
    const { state, kind } = message as { state: string, kind: string }
    if (kind === 'page') states.push(state)
  }
  channels.breaker.subscribe(listener)
  t.teardown(() => { channels.breaker.unsubscribe(listener) })
  /** Calls that were sent while the breaker was not closed, and how many of them at a time. */
  const probes = new Set<object>()
  const started = new Set<object>()
  let mostProbes = 0
  let probeCount = 0
  const watch = {
    start (message: object) { if ((states.at(-1) ?? 'closed') !== 'closed') started.add(message) },
    end (message: object) {
      // One that the breaker refused has ended by now.
      if (!started.delete(message) || (message as CallMessage).elapsed !== undefined) return
      probes.add(message)
      probeCount += 1
      mostProbes = Math.max(mostProbes, probes.size)
    },
    asyncStart () {},
    asyncEnd (message: object) { probes.delete(message) },
    error () {}
  }
  calls.subscribe(watch)
  t.teardown(() => { calls.unsubscribe(watch) })
  const { app } = await startApp(t, host, { timeout: TIMEOUT, grace: 0 }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async ({ target }) => (await target.offer('hero')).reason)
  })
  const pages: { at: number, took: number, reason: string }[] = []
  const running = new Set<Promise<void>>()
  const visit = () => {
    const at = performance.now()
    const page = app.inject('/').then(({ body: reason }) => {
      pages.push({ at, took: performance.now() - at, reason })
      running.delete(page)
    })
    running.add(page)
  }
  const timer = setInterval(visit, 1000 / RATE)
  t.teardown(() => clearInterval(timer))

  // Many more successes than failures are in the breaker's window when the edge hangs.
  await sleep(3000)
  const stopped = performance.now()
  edge.kill('SIGSTOP')
  await sleep(4000)
  const continued = performance.now()
  edge.kill('SIGCONT')
  await sleep(2000)
  clearInterval(timer)
  await Promise.all(running)

  const healthy = pages.filter(({ at, took }) => at + took < stopped)
  t.ok(healthy.length > RATE && healthy.every(({ reason }) => reason === 'matched'), `${healthy.length} pages before`)
  const during = pages.filter(({ at }) => at > stopped && at < continued - TIMEOUT)
  const slow = during.filter(({ took }) => took > TIMEOUT / 2)
  // Those that were under way when the breaker opened, after ten failures, and one probe in about 0.65 to 1.15 s.
  t.ok(slow.length < RATE * (TIMEOUT / 1000) + 10 + 10 + 6, `${slow.length} of ${during.length} pages waited`)
  t.ok(slow.length < during.length / 3)
  t.ok(during.filter(({ reason }) => reason === 'breaker-open').length > during.length / 2)
  t.ok(probeCount >= 3, `probed ${probeCount} times`)
  t.equal(mostProbes, 1, 'never more than one probe at a time')
  const [first] = pages.filter(({ at, took, reason }) => at + took > continued && reason === 'matched').sort((a, b) => a.at + a.took - b.at - b.took)
  const back = first === undefined ? Infinity : first.at + first.took - continued
  t.ok(back < 1000, `offers are back after ${back.toFixed(0)} ms`)
  t.equal(states.at(-1), 'closed')
  t.ok(pages.filter(({ at }) => at > continued + 1000).every(({ reason }) => reason === 'matched'), 'and stay')
})
