/** Pages cached per variant, beside the same pages rendered for each visitor. */
import { contenders } from './contenders.js'
import { spread } from './statistics.js'
import { table } from './report.js'
import { race } from './under-load.js'

const [RENDERED, CACHED] = ['variants-rendered', 'variants-cached']
const names = [RENDERED, CACHED]

export const variants = {
  title: 'A page that takes 20 ms of CPU to render, rendered for each visitor and cached per variant; every visitor is new',
  seconds: ({ variants: { repeats, processesEach = 1, seconds, warmup } }) => processesEach * (names.length * (Math.ceil(seconds) * repeats * 1.5 + Math.ceil(warmup)) + 4),
  async run (bench) {
    const { connections, ...plan } = bench.plan.variants
    const runs = await race(bench, {
      names,
      ...plan,
      delay: 0,
      work: 0,
      watching: false,
      question: 'saturate',
      asked: { connections, seconds: plan.seconds, areNew: true },
      around: async (turn) => {
        await bench.edge.ask('notified')
        return { ...await turn(), notified: await bench.edge.ask('notified') }
      }
    })
    return names.map((contender, index) => ({
      connections,
      contender,
      rate: spread(runs[index].map(({ rate }) => rate)),
      cpu: spread(runs[index].map(({ cpu }) => cpu)),
      cpuOfRendered: spread(runs[index].map(({ cpu }, repeat) => cpu / runs[0][repeat].cpu)),
      timesRendered: spread(runs[index].map(({ rate }, repeat) => rate / runs[0][repeat].rate)),
      pages: runs[index].reduce((sum, { pages }) => sum + pages, 0),
      notified: runs[index].reduce((sum, { notified }) => sum + notified, 0)
    }))
  },
  print: (rows) => table(rows, {
    connections: ({ connections }) => connections,
    page: ({ contender }) => contenders[contender].title,
    'pages/s': ({ rate }) => rate.median.toFixed(0),
    'least to greatest': ({ rate }) => `${rate.least.toFixed(0)} to ${rate.greatest.toFixed(0)}`,
    '× rendered': ({ timesRendered }) => timesRendered.median.toFixed(0),
    'CPU µs a page': ({ cpu }) => cpu.median.toFixed(0),
    'of its CPU': ({ cpuOfRendered }) => `${(cpuOfRendered.median * 100).toFixed(1)} %`,
    'impressions per page': ({ notified, pages }) => (notified / pages).toFixed(3)
  })
}
