/** A real redis-server of a test's own, on a unix socket; it can be killed, paused and started again. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { createClient } from 'redis'

/** For `t.test(name, { skip })`: why tests with a redis-server cannot run, or false. */
export const withoutRedis = spawnSync('redis-server', ['--version']).status === 0 ? false : 'redis-server is not installed'

export class RedisServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'target-redis-'))
  readonly socket = join(this.#folder, 'redis.sock')
  readonly #clients: Array<() => unknown> = []
  readonly #options: string[]
  #process: ChildProcess | undefined

  /** @param options of redis-server; its default is to keep nothing */
  constructor (...options: string[]) {
    this.#options = options
  }

  /** Starts it and waits until it answers. */
  async start (): Promise<this> {
    this.#process = spawn('redis-server', ['--port', '0', '--unixsocket', this.socket, '--dir', this.#folder, '--save', '', '--appendonly', 'no', ...this.#options], { stdio: ['ignore', 'pipe', 'inherit'] })
    let log = ''
    for await (const chunk of this.#process.stdout!) {
      log += chunk
      if (/ready to accept connections at/i.test(log)) break
    }
    if (this.#process.exitCode !== null) throw new Error(log)
    this.#process.stdout!.resume()
    return this
  }

  /** Ends it at once. */
  async kill (): Promise<void> {
    const process = this.#process
    if (process === undefined || process.exitCode !== null || process.signalCode !== null) return
    const exit = once(process, 'exit')
    process.kill('SIGKILL')
    await exit
  }

  /** It takes connections, and answers nothing until it goes on. */
  pause (): void { this.#process!.kill('SIGSTOP') }
  resume (): void { this.#process!.kill('SIGCONT') }

  /** A client of ioredis that connects again soon. */
  ioredis (): Redis {
    const client = new Redis({ path: this.socket, retryStrategy: () => 50 })
    client.on('error', () => {})
    this.#clients.push(() => client.disconnect())
    return client
  }

  /** A client of redis, likewise. */
  async redis () {
    const client = createClient({ socket: { path: this.socket, tls: false, reconnectStrategy: () => 50 } })
    client.on('error', () => {})
    this.#clients.push(() => client.destroy())
    await client.connect()
    return client
  }

  async close (): Promise<void> {
    for (const end of this.#clients) end()
    this.resume()
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A server that ends with the test. */
export async function startRedis (t: { teardown (fn: () => unknown): void }, ...options: string[]): Promise<RedisServer> {
  const server = new RedisServer(...options)
  t.teardown(() => server.close())
  return await server.start()
}
