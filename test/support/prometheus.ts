/** Prometheus itself, and its tool for rules; the tests that need one skip with a message where it is missing. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const missing = (command: string): string | false => spawnSync(command, ['--version']).error === undefined ? false : `there is no ${command} here (apt-get install prometheus)`

/** `skip` of a test that needs it: why it cannot run, or false. */
export const withoutPrometheus = missing('prometheus')
export const withoutPromtool = missing('promtool')

/** Runs promtool; its output, and whether it was content. */
export function promtool (...args: string[]): { ok: boolean, output: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' })
  return { ok: status === 0, output: stdout + stderr }
}

export interface Series { metric: Record<string, string>, values: [number, string][] }

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Prometheus, scraping one address each 500 ms as the job `shop`; ended with the test. */
export async function startPrometheus (t: { teardown (fn: () => unknown): void }, target: string) {
  const folder = mkdtempSync(join(tmpdir(), 'prometheus-'))
  const port = await freePort()
  writeFileSync(join(folder, 'prometheus.yml'), `
global: { scrape_interval: 500ms, scrape_timeout: 500ms }
scrape_configs:
  - { job_name: shop, static_configs: [{ targets: ['${target}'] }] }
`)
  const server = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=error'], { stdio: 'ignore' })
  const exit = once(server, 'exit')
  t.teardown(async () => {
    server.kill('SIGKILL')
    await exit
    rmSync(folder, { recursive: true })
  })
  const ask = async (path: string, parameters: Record<string, string>): Promise<Series[]> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`, { method: 'POST', body: new URLSearchParams(parameters) })
    const { status, error, data } = await response.json() as { status: string, error?: string, data: { result: (Series & { value: [number, string] })[] } }
    if (status !== 'success') throw new Error(`${parameters.query}: ${error}`)
    return data.result.map(({ metric, value, values }) => ({ metric, values: values ?? [value] }))
  }
  return {
    isReady: async () => await fetch(`http://127.0.0.1:${port}/-/ready`).then(({ ok }) => ok, () => false),
    query: async (query: string) => await ask('query', { query }),
    queryRange: async (query: string, start: number, end: number, step: number) => await ask('query_range', { query, start: String(start), end: String(end), step: String(step) })
  }
}
