/**
 * Where the slowest pages lose their time: `npm run build && node test/bench/slow-pages.js [<visitors at a time>]`.
 *
 * Every page is written down in the process that serves it: how late the timer of the handler's own work fired, which is the delay of
 * the event loop, how long the handler waited for Target, and how long the response took to be written; beside it, each garbage
 * collection. The slowest percent is compared with the median page.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { PerformanceObserver } from 'node:perf_hooks'
import Fastify from 'fastify'
import { answerParent } from './child.js'
import { contenders } from './contenders.js'
import { render } from './page.js'
import { Processes } from './processes.js'
import { table } from './report.js'
import { median, percentile } from './statistics.js'
import { warmUp } from './under-load.js'

const NAMES = ['no-target', 'bare-undici', 'hand-written', 'plugin']
/** ms */
const WORK = 40
const DELAY = 30
const SECONDS = 8
const ROUNDS = 6

if (process.send === undefined) await compare(Number(process.argv[2] ?? 100))
else await serve(...process.argv.slice(2))

async function compare (connections) {
  const processes = new Processes()
  const edge = await processes.start('edge.js')
  const load = await processes.start('load.js')
  const apps = await Promise.all(NAMES.map((name) => processes.start('slow-pages.js', [name, edge.hello.host])))
  const rows = NAMES.map((name) => ({ name, rounds: [] }))
  await warmUp(load, apps, 4)
  await edge.ask('delay', DELAY)
  for (let round = 0; round < ROUNDS; round++) {
    for (let place = 0; place < NAMES.length; place++) {
      const index = (place + round) % NAMES.length
      await apps[index].ask('begin')
      const { p50, p99 } = await load.ask('visit', { url: apps[index].hello.url, connections, seconds: SECONDS })
      rows[index].rounds.push({ p50, p99, ...await apps[index].ask('end') })
    }
  }
  const of = (row, key) => median(row.rounds.map((round) => round[key]))
  const ms = (key) => (row) => of(row, key).toFixed(1)
  console.log(table(rows, {
    contender: ({ name }) => contenders[name].title,
    'p99 ms': ms('p99'),
    'in the server': ms('served'),
    'slowest 1 %: over the median': ms('over'),
    'timer late': ms('late'),
    'waited for Target': ms('waited'),
    'until written': ms('written'),
    'with a GC, %': (row) => (of(row, 'collected') * 100).toFixed(0),
    'ms of GC': ms('collecting'),
    'GC of a page, µs': (row) => (of(row, 'gc') * 1000).toFixed(0),
    'CPU of a page, µs': (row) => of(row, 'cpu').toFixed(0)
  }))
  await Promise.all([edge, load, ...apps].map((child) => child.stop()))
}

async function serve (name, host) {
  let pages = []
  let collections = []
  let before
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) collections.push({ start: startTime, end: startTime + duration })
  }).observe({ entryTypes: ['gc'] })
  const app = Fastify()
  app.decorateRequest('page', null)
  app.addHook('onRequest', (request, reply, done) => {
    request.page = { arrived: performance.now(), late: 0, waited: 0, sent: 0, responded: 0 }
    done()
  })
  app.addHook('onResponse', ({ page }, reply, done) => {
    page.responded = performance.now()
    pages.push(page)
    done()
  })
  // Every contender calls `work` before it awaits anything.
  let current
  app.addHook('preHandler', (request, reply, done) => {
    current = request.page
    done()
  })
  await contenders[name].add(app, {
    host,
    async work () {
      const page = current
      const started = performance.now()
      await sleep(WORK)
      page.late = performance.now() - started - WORK
    },
    send (reply, content, waited = 0) {
      Object.assign(reply.request.page, { waited, sent: performance.now() })
      reply.type('text/html')
      return render(content)
    }
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  answerParent({
    begin () {
      pages = []
      collections = []
      before = process.cpuUsage()
    },
    async end () {
      const { user, system } = process.cpuUsage(before)
      // The last entries of the observer come in a later turn.
      await sleep(50)
      const time = ({ arrived, responded }) => responded - arrived
      const ascending = pages.toSorted((a, b) => time(a) - time(b))
      const slow = ascending.slice(Math.floor(ascending.length * 0.99))
      const mean = (value) => slow.reduce((sum, page) => sum + value(page), 0) / slow.length
      const gc = ({ arrived, responded }) => collections.reduce((sum, { start, end }) => sum + Math.max(0, Math.min(end, responded) - Math.max(start, arrived)), 0)
      return {
        served: time(percentile(ascending, 99)),
        over: mean(time) - time(percentile(ascending, 50)),
        late: mean(({ late }) => late),
        waited: mean(({ waited }) => waited),
        written: mean(({ sent, responded }) => responded - sent),
        collected: mean((page) => gc(page) > 0 ? 1 : 0),
        collecting: mean(gc),
        gc: collections.reduce((sum, { start, end }) => sum + end - start, 0) / pages.length,
        cpu: (user + system) / pages.length
      }
    }
  }, { url: `http://127.0.0.1:${app.server.address().port}/` })
}
