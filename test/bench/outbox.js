/** Impressions: how many distinct visitors a second are served with nothing dropped, and what a store costs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spread } from './statistics.js'
import { table } from './report.js'

const STORES = { none: 'no store (defaults)', file: 'fileStore' }

export const outbox = {
  title: 'Impressions of distinct visitors, decided on-device, an edge that takes 60 ms, all defaults',
  seconds: ({ outbox: { repeats, seconds, records } }) => Object.keys(STORES).length * (repeats * (seconds + 2) + 3) + records * 6e-5 + 2,
  async run ({ plan, processes, edge, load, step }) {
    const { repeats, seconds, rate, records } = plan.outbox
    const names = Object.keys(STORES)
    const directory = mkdtempSync(join(tmpdir(), 'outbox-bench-'))
    try {
      const runs = Object.fromEntries(names.map((name) => [name, []]))
      await processes.with(names.map((name) => ['outbox-app.js', [edge.hello.host, name, join(directory, name)]]), async (apps) => {
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
      step(`${records} records`)
      const recovery = await processes.with([['outbox-app.js', [edge.hello.host, 'none', join(directory, 'records')]]], ([app]) => app.ask('recover', records))
      return names.map((store) => ({
        store,
        visitors: spread(runs[store].map(({ sent, elapsed }) => sent / elapsed * 1000)),
        dropped: runs[store].reduce((sum, { dropped }) => sum + dropped, 0),
        concurrency: Math.max(...runs[store].map(({ concurrency }) => concurrency)),
        p50: spread(runs[store].map(({ p50 }) => p50)),
        p99: spread(runs[store].map(({ p99 }) => p99)),
        p99OfNone: spread(runs[store].map(({ p99 }, index) => p99 / runs.none[index].p99)),
        ...store === 'file' && recovery
      }))
    } finally {
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
    'recovery ms': ({ records, recovery }) => recovery === undefined ? '' : `${recovery.toFixed(0)} for ${records}`,
    'bytes a record': ({ bytes }) => bytes === undefined ? '' : bytes.toFixed(0)
  })
}
