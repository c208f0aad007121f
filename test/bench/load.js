/** The load generator, a process of its own: autocannon, or wrk where it is installed and only the rate counts. */
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import autocannon from 'autocannon'
import { answerParent } from './child.js'
import { newVisitorHeaders, visitorHeaders } from './page.js'
import { percentile } from './statistics.js'

const run = promisify(execFile)
const wrk = await run('wrk', ['--version']).then(() => true, (error) => error.code !== 'ENOENT')

/** A wrk that runs ends with this process. */
const stopping = new AbortController()
process.on('exit', () => stopping.abort())
process.on('SIGTERM', () => process.exit(1))

answerParent({
  /** Closed loop; requests per second. wrk leaves the second core to the edge stand-in, autocannon does not. */
  async saturate ({ url, connections, seconds, areNew = false }) {
    const given = areNew ? newVisitorHeaders : visitorHeaders()
    return wrk ? await withWrk(url, connections, seconds, given) : { rate: (await withAutocannon({ url, connections, duration: seconds, headers: given })).rate }
  },
  /** Closed loop; latencies in ms. */
  async visit ({ url, connections, seconds }) {
    const { rate, latencies } = await withAutocannon({ url, connections, duration: seconds })
    return { rate, ...percentiles(latencies) }
  },
  /** At a given rate, every page by a visitor who was never here; latencies in ms. */
  async pace ({ url, connections, seconds, rate }) {
    const { rate: reached, latencies } = await withAutocannon({ url, connections, duration: seconds, overallRate: rate, headers: newVisitorHeaders })
    return { rate: reached, ...percentiles(latencies) }
  },
  /** All at once on fresh connections, again and again; latencies in ms. */
  async burst ({ url, size, times, pause }) {
    const all = []
    for (let i = 0; i < times; i++) {
      all.push(...(await withAutocannon({ url, connections: size, amount: size })).latencies)
      await sleep(pause)
    }
    return percentiles(all)
  }
}, { tool: wrk ? 'wrk' : 'autocannon' })

async function withWrk (url, connections, seconds, headers) {
  const given = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const { stdout } = await run('wrk', ['-t1', '--timeout', '30s', `-c${connections}`, `-d${Math.ceil(seconds)}s`, ...given, url], { signal: stopping.signal })
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`not every page was served:\n${stdout}`)
  return { rate: Number(/Requests\/sec:\s*([\d.]+)/.exec(stdout)[1]) }
}

/** autocannon's own histogram has whole milliseconds, so every response is written down here. */
async function withAutocannon (options) {
  const latencies = []
  const instance = autocannon({ headers: visitorHeaders(), ...options, timeout: 30, sampleInt: 100 })
  const started = performance.now()
  let last = started
  instance.on('response', (client, status, bytes, milliseconds) => {
    latencies.push(milliseconds)
    last = performance.now()
  })
  const { errors, timeouts, non2xx } = await instance
  if (errors + timeouts + non2xx > 0) throw new Error(`not every page was served: ${errors} errors, ${timeouts} timeouts, ${non2xx} not 2xx`)
  return { latencies, rate: latencies.length / (last - started) * 1000 }
}

function percentiles (latencies) {
  latencies.sort((a, b) => a - b)
  return { count: latencies.length, p50: percentile(latencies, 50), p90: percentile(latencies, 90), p99: percentile(latencies, 99) }
}
