/** The processes of the fleet: `node:cluster` gives them one address, and one that ends is replaced. */
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export class Fleet {
  killed = 0
  readonly #size: number
  readonly #env: Record<string, string>
  /** Those that take visitors, the oldest first. */
  readonly #serving: Worker[] = []
  #address: string | undefined
  #closing = false

  /** @param env given to each process */
  constructor (size: number, env: Record<string, string>) {
    this.#size = size
    this.#env = env
    // Each accepts its own connections. By default this process does and hands them on, and one that was on its way to a process
    // that dies would hang.
    cluster.schedulingPolicy = cluster.SCHED_NONE
    cluster.setupPrimary({ exec: fileURLToPath(new URL('fleet-server.js', import.meta.url)) })
  }

  /** Resolves with the address when all of them serve. */
  async start (): Promise<string> {
    for (let count = 0; count < this.#size; count++) this.#fork()
    while (this.#serving.length < this.#size) await once(cluster, 'listening')
    return this.#address!
  }

  /** Kills the oldest, unless it is the only one that serves. */
  kill (): void {
    if (this.#serving.length < 2) return
    this.#serving[0]!.process.kill('SIGKILL')
    this.killed += 1
  }

  /** Ends the oldest as a deployment does, and resolves when its successor serves. */
  async replaceOne (): Promise<void> {
    this.#serving[0]?.process.kill('SIGTERM')
    await once(cluster, 'exit')
    while (this.#serving.length < this.#size) await once(cluster, 'listening')
  }

  /** Ends all of them. */
  async close (): Promise<void> {
    this.#closing = true
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
    await Promise.all(workers.map(async (worker) => {
      const exit = once(worker, 'exit')
      worker.process.kill('SIGTERM')
      await exit
    }))
  }

  #fork (): void {
    const worker = cluster.fork(this.#env)
    worker.on('listening', ({ address, port }) => {
      this.#address = `http://${address}:${port}`
      this.#serving.push(worker)
    })
    worker.on('exit', () => {
      const index = this.#serving.indexOf(worker)
      if (index >= 0) this.#serving.splice(index, 1)
      if (!this.#closing) this.#fork()
    })
  }
}
