/** Impressions: how many distinct visitors a second are served with nothing dropped, and what a store costs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spread } from './statistics.js'
import { table } from './report.js'

/** `again` shows how far two runs of one app are apart. */
const STORES = { none: 'no store (defaults)', again: 'no store, once more', file: 'fileStore', redis: 'redisStore' }

export const outbox = {
  title: 'Impressions of distinct visitors, decided on-device, an edge that takes 60 ms, all defaults',
  seconds: ({ outbox: { repeats, seconds, records } }) => Object.keys(STORES).length * (repeats * (seconds + 2) + 3) + records * 1.5e-4 + 8,
  async run ({ plan, processes, edge, load, step }) {
    const { repeats, seconds, rate, records } = plan.outbox
    const directory = mkdtempSync(join(tmpdir(), 'outbox-bench-'))
    const redis = await processes.start('redis.js')
    const { socket } = redis.hello
    const names = Object.keys(STORES).filter((name) => name !== 'redis' || socket !== undefined)
    const place = (name, purpose) => name === 'redis' ? socket : join(directory, `${name}-${purpose}`)
    try {
      const runs = Object.fromEntries(names.map((name) => [name, []]))
      await processes.with(names.map((name) => ['outbox-app.js', [edge.hello.host, name, place(name, 'load')]]), async (apps) => {
        await edge.ask('delay', 60)
        for (const { hello: { url } } of apps) await load.ask('visit', { url, connections: 10, seconds: 1 })
        for (let repeat = 0; repeat < repeats; repeat++) {
          for (let place = 0; place < names.length; place++) {
            const index = (place + repeat) % names.length
            step(`repeat ${repeat + 1} of ${repeats}: ${names[index]}`)
            await apps[index].ask('begin')
            const pages = await load.ask('pace', { url: apps[index].hello.url, connections: 50, seconds, rate })
            runs[names[index]].push({ ...pages, ...await apps[index].ask('end') })
          }
        }
      })
      const recoveries = {}
      for (const name of names.filter((name) => name === 'file' || name === 'redis')) {
        step(`${records} records: ${name}`)
        recoveries[name] = await processes.with([['outbox-app.js', [edge.hello.host, name, place(name, 'records')]]], ([app]) => app.ask('recover', records))
      }
      step('a full queue')
      const full = await processes.with([['outbox-app.js', ['127.0.0.1:9', 'none', directory], ['--expose-gc']]], ([app]) => app.ask('fill'))
      return names.map((store) => ({
        store,
        visitors: spread(runs[store].map(({ sent, elapsed }) => sent / elapsed * 1000)),
        dropped: runs[store].reduce((sum, { dropped }) => sum + dropped, 0),
        concurrency: Math.max(...runs[store].map(({ concurrency }) => concurrency)),
        p50: spread(runs[store].map(({ p50 }) => p50)),
        p99: spread(runs[store].map(({ p99 }) => p99)),
        p99OfNone: spread(runs[store].map(({ p99 }, index) => p99 / runs.none[index].p99)),
        ...recoveries[store],
        ...store === 'none' && { full }
      }))
    } finally {
      await redis.stop()
      rmSync(directory, { recursive: true, force: true })
    }
  },
  print: (rows) => table(rows, {
    store: ({ store }) => STORES[store],
    'visitors a second': ({ visitors }) => visitors.median.toFixed(0),
    dropped: ({ dropped }) => dropped,
    'calls at a time': ({ concurrency }) => concurrency,
    'page p50 ms': ({ p50 }) => p50.median.toFixed(2),
    'page p99 ms': ({ p99 }) => `${p99.median.toFixed(2)} (${p99.least.toFixed(2)} to ${p99.greatest.toFixed(2)})`,
    'p99 beside none': ({ p99OfNone }) => `${(p99OfNone.median * 100).toFixed(0)} %`,
    'recovery ms (CPU)': ({ records, recovery, recoveryCpu }) => recovery === undefined ? '' : `${recovery.toFixed(0)} (${recoveryCpu.toFixed(0)}) for ${records}`,
    'bytes a record': ({ bytes }) => bytes === undefined ? '' : bytes.toFixed(0),
    'full queue': ({ full }) => full === undefined ? '' : `${full.pending} in ${(full.memory / 2 ** 20).toFixed(1)} MiB, ${full.each.toFixed(0)} bytes each`
  })
}
