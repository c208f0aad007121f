/** The child processes of a run: each is asked over IPC, and all end with the run, however it ends. */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { cpus } from 'node:os'

/** ms that a child has for its exit (a profile is written then) before it is killed. */
const PATIENCE = 5000

const CPUS = cpus().length

/** What runs on the last CPU, on all others, and on any. */
const places = { last: `${CPUS - 1}`, others: `0-${CPUS - 2}`, any: `0-${CPUS - 1}` }

/** One child process. */
class Child {
  /** What the child announced. */
  hello
  #process
  #name
  #questions = new Map()
  #lastId = 0
  #failure
  #stopping = false

  constructor (name, process, onFailure) {
    this.#name = name
    this.#process = process
    process.on('message', ({ id, result, error }) => {
      const question = this.#questions.get(id)
      this.#questions.delete(id)
      if (error === undefined) question?.resolve(result)
      else question?.reject(new Error(`${this.#name}: ${error}`))
    })
    const fail = (error) => {
      this.#fail(error)
      if (!this.#stopping) onFailure(error)
    }
    process.on('error', fail)
    process.on('exit', (code, signal) => fail(new Error(`${this.#name} ended early (${signal ?? `code ${code}`})`)))
  }

  /** Resolves when the child is ready. */
  async started () {
    const [{ hello }] = await Promise.race([once(this.#process, 'message'), this.#ended()])
    this.hello = hello
    return this
  }

  async #ended () {
    await once(this.#process, 'exit')
    throw this.#failure
  }

  #fail (error) {
    this.#failure ??= error
    for (const { reject } of this.#questions.values()) reject(this.#failure)
    this.#questions.clear()
  }

  /**
   * Keeps the child on some CPUs, where there is `taskset` (Linux): a program that moves to another one loses its caches, and by
   * that CPU times differ more than by code.
   *
   * @param {keyof typeof places} place
   */
  place (place) {
    if (CPUS < 2) return
    try {
      execFileSync('taskset', ['-a', '-p', '-c', places[place], String(this.#process.pid)], { stdio: 'ignore' })
    } catch {
      // Then it runs where the system lets it.
    }
  }

  /** Asks the child; rejects with the child's error, or when the child ends. */
  ask (question, argument) {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#questions.set(id, { resolve, reject })
      this.#process.send({ id, question, argument })
    })
  }

  /** Hangs up and waits for the exit. */
  async stop () {
    this.#stopping = true
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exit = once(this.#process, 'exit')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), PATIENCE)
    if (this.#process.connected) this.#process.disconnect()
    await exit
    clearTimeout(timer)
  }

  /** At once, for a run that is broken off. */
  kill () {
    this.#stopping = true
    this.#process.kill('SIGTERM')
  }
}

/** All child processes of a run. */
export class Processes {
  /** Rejects when a child ends that was not told to. */
  failure
  #children = new Set()
  #profileDirectory
  #fail

  /** @param {string | undefined} profileDirectory when given, every child leaves a CPU profile there */
  constructor (profileDirectory) {
    this.#profileDirectory = profileDirectory
    this.failure = new Promise((resolve, reject) => { this.#fail = reject })
    this.failure.catch(() => {})
  }

  /** Starts `file` of this directory; resolves when it is ready. */
  async start (file, args = [], execArgv = []) {
    const profile = this.#profileDirectory === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${this.#profileDirectory}`, `--cpu-prof-name=${[file, ...args].join('-').replace(/[^\w-]+/g, '-').slice(0, 100)}-${this.#children.size}.cpuprofile`]
    const process = fork(new URL(file, import.meta.url), args, {
      execArgv: [...execArgv, ...profile],
      // What Adobe's SDK prints is not part of the report.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc']
    })
    const child = new Child([file, ...args].join(' '), process, this.#fail)
    this.#children.add(child)
    return await child.started()
  }

  /** Starts some children, hands them to `use` and stops them after it. */
  async with (starting, use) {
    const children = []
    try {
      for (const arguments_ of starting) children.push(await this.start(...arguments_))
      return await use(children)
    } finally {
      await Promise.all(children.map((child) => child.stop()))
      for (const child of children) this.#children.delete(child)
    }
  }

  killAll () {
    for (const child of this.#children) child.kill()
  }
}
