/** Time and memory of decisions on-device, beside Adobe's engine. */
import { isDeepStrictEqual } from 'node:util'
import { questions } from './questions.js'
import { spread } from './statistics.js'
import { table } from './report.js'

export const onDevice = {
  title: 'On-device: µs for a whole getOffers (result, tokens, queued impression)',
  seconds: ({ onDevice: { names, repeats, milliseconds } }) => names.length * (repeats * 2.5 * milliseconds / 1000 + 1.2),
  async run ({ plan, processes, edge, step }) {
    const { names, repeats, milliseconds } = plan.onDevice
    const rows = []
    for (const name of names) {
      step(questions[name].title)
      // GrowthBook knows features, not Target's mboxes: one flag is all that compares.
      const contenders = ['plugin', 'sdk', ...(name === 'one-mbox' ? ['growthbook'] : [])]
      const starting = contenders.map((contender) => ['engine.js', [contender, edge.hello.host]])
      rows.push(await processes.with(starting, async (engines) => {
        const shown = []
        for (const engine of engines) shown.push(await engine.ask('prepare', name))
        if (!isDeepStrictEqual(shown[0], shown[1])) throw new Error(`${name}: the two engines do not decide alike`)
        const times = contenders.map(() => [])
        for (let repeat = 0; repeat < repeats; repeat++) {
          for (let place = 0; place < engines.length; place++) {
            const index = (place + repeat) % engines.length
            times[index].push(await engines[index].ask('measure', milliseconds))
          }
        }
        const { title, rules, grows } = questions[name]
        return {
          question: name,
          title,
          rules,
          grows,
          ...Object.fromEntries(contenders.map((contender, index) => [contender, spread(times[index])])),
          ratio: spread(times[0].map((time, repeat) => times[1][repeat] / time))
        }
      }))
    }
    return rows
  },
  print: (rows) => table(rows, {
    request: ({ title }) => title,
    'fastify-adobe-target': ({ plugin }) => micro(plugin),
    'Adobe Node SDK': ({ sdk }) => micro(sdk),
    '× the SDK': ({ ratio }) => ratio.median.toFixed(0),
    'GrowthBook client, one flag': ({ growthbook }) => growthbook === undefined ? '' : micro(growthbook)
  })
}

const micro = ({ median, least, greatest }) => `${short(median)} (${short(least)} to ${short(greatest)})`
const short = (value) => value < 100 ? value.toFixed(1) : value.toFixed(0)

export const memory = {
  title: 'Heap growth after visitors never seen before',
  seconds: ({ memory: { visitors, sdkVisitors } }) => visitors * 12e-6 + sdkVisitors * 1e-3 + 3,
  async run ({ plan, processes, edge, step }) {
    const rows = []
    for (const [name, visitors] of [['plugin', plan.memory.visitors], ['sdk', plan.memory.sdkVisitors]]) {
      step(`${visitors} visitors: ${name}`)
      rows.push(await processes.with([['engine.js', [name, edge.hello.host], ['--expose-gc']]], async ([engine]) => {
        await engine.ask('prepare', 'one-mbox-prefetch')
        return { engine: name, visitors, bytes: await engine.ask('visitors', visitors) }
      }))
    }
    return rows
  },
  print: (rows) => table(rows, {
    engine: ({ engine }) => engine === 'plugin' ? 'fastify-adobe-target' : 'Adobe Node SDK',
    visitors: ({ visitors }) => visitors,
    'heap growth, kB': ({ bytes }) => (bytes / 1024).toFixed(0),
    'bytes a visitor': ({ bytes, visitors }) => (bytes / visitors).toFixed(1)
  })
}
