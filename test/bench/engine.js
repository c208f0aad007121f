/** One engine in its own process: `node engine.js <name> <edge host>`. */
import { setTimeout as sleep } from 'node:timers/promises'
import { answerParent } from './child.js'
import { engines } from './engines.js'
import { questions, requestsFor, visitorId } from './questions.js'
import { median } from './statistics.js'

const [name, host] = process.argv.slice(2)
const BATCH = 500

let engine
let requests
let next = 0
let batch = 1

/** µs a decision over a batch; every decision is awaited, so none overlaps another. */
async function runBatch () {
  const started = performance.now()
  for (let i = 0; i < batch; i++) {
    await engine.decide(requests[next])
    next = (next + 1) % requests.length
  }
  const elapsed = (performance.now() - started) * 1000 / batch
  await engine.rest()
  return elapsed
}

/** Bytes in use after everything that can go has gone. */
async function heapUsed () {
  await engine.rest()
  for (let i = 0; i < 4; i++) {
    global.gc()
    await sleep(20)
  }
  return process.memoryUsage().heapUsed
}

answerParent({
  /** Makes the engine for a question and warms it; resolves with the content that the first visitors are shown. */
  async prepare (question) {
    const { artifact } = questions[question]
    engine = await engines[name](artifact(), host)
    requests = requestsFor(questions[question])
    batch = 1
    const shown = []
    for (const request of requests.slice(0, 20)) shown.push(contentOf(await engine.decide(request)))
    // As many as take about 10 ms, so that a slow engine does not take all day.
    for (let warm = 0; warm < 6; warm++) batch = Math.max(1, Math.min(BATCH, Math.round(10_000 / await runBatch())))
    return shown
  },
  /** Decides for about `milliseconds`; the median batch in µs a decision. */
  async measure (milliseconds) {
    const batches = []
    let spent = 0
    while (batches.length < 3 || spent < milliseconds) {
      const elapsed = await runBatch()
      batches.push(elapsed)
      spent += elapsed * batch / 1000
    }
    return median(batches)
  },
  /** Bytes that the heap has grown by after so many visitors that were never seen before. */
  async visitors (count) {
    const template = requests[0]
    const meet = async (from, to) => {
      for (let visitor = from; visitor < to; visitor++) await engine.decide({ ...template, id: { tntId: visitorId(visitor) } })
    }
    await meet(10_000, 15_000)
    const before = await heapUsed()
    await meet(15_000, 15_000 + count)
    return await heapUsed() - before
  }
}, {})

/** Content of all options, to see that engines decide alike. */
function contentOf (result) {
  const { execute, prefetch } = result.response ?? {}
  const entries = [execute?.pageLoad, ...execute?.mboxes ?? [], ...prefetch?.mboxes ?? [], ...prefetch?.views ?? []]
  return entries.filter((entry) => entry !== undefined).map(({ options = [] }) => options.map(({ content }) => content ?? null))
}
