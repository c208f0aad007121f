/** This version of the package beside another commit's: `npm run bench -- ab <commit>`. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { contenders } from './contenders.js'
import { spread } from './statistics.js'
import { table } from './report.js'
import { race } from './under-load.js'

const NAMES = ['plugin', 'on-device-prefetch', 'on-device-execute']

const root = new URL('../../', import.meta.url).pathname

/** A directory with a commit's code, built, and this benchmark: scripts there import the package as it was. */
export class OtherVersion {
  /** The commit, abbreviated. */
  commit
  #folder
  #git = (...words) => execFileSync('git', words, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()

  /** @throws when there is no such commit, or it does not compile */
  constructor (commit) {
    this.commit = this.#git('rev-parse', '--short', '--verify', `${commit}^{commit}`)
    this.#folder = mkdtempSync(join(tmpdir(), 'bench-ab-'))
    try {
      this.#git('worktree', 'add', '--detach', '--force', this.#folder, this.commit)
      symlinkSync(join(root, 'node_modules'), join(this.#folder, 'node_modules'), 'junction')
      execFileSync('npm', ['run', 'build', '--silent'], { cwd: this.#folder, stdio: 'inherit' })
      rmSync(join(this.#folder, 'test/bench'), { recursive: true, force: true })
      cpSync(join(root, 'test/bench'), join(this.#folder, 'test/bench'), { recursive: true })
    } catch (error) {
      this.remove()
      throw error
    }
  }

  get script () {
    return pathToFileURL(join(this.#folder, 'test/bench/contender.js'))
  }

  remove () {
    rmSync(this.#folder, { recursive: true, force: true })
    this.#git('worktree', 'prune')
  }
}

/** @param {OtherVersion} other */
export const createAb = (other) => ({
  title: `This version beside ${other.commit}, saturated after idling, slices in turn; ratios within a round`,
  seconds: ({ ab: { repeats, processesEach, idle, seconds, warmup } }) => NAMES.length * processesEach * (2 * (repeats * (seconds + 0.3) + warmup + 0.5) + idle + 2),
  async run ({ plan: { ab: { connections, seconds, ...asked } }, ...bench }) {
    const rows = []
    for (const name of NAMES) {
      const [before, after] = await race(bench, {
        ...asked,
        names: [name, name],
        fileOf: (index) => index === 0 ? other.script : 'contender.js',
        delay: 0,
        work: 0,
        watching: false,
        question: 'saturate',
        asked: { connections, seconds }
      })
      rows.push({
        contender: name,
        before: spread(before.map(({ cpu }) => cpu)),
        after: spread(after.map(({ cpu }) => cpu)),
        cpu: spread(after.map(({ cpu }, round) => cpu / before[round].cpu)),
        rate: spread(after.map(({ rate }, round) => rate / before[round].rate))
      })
    }
    return rows
  },
  print: (rows) => table(rows, {
    page: ({ contender }) => contender === 'plugin' ? 'server-side' : contenders[contender].title.replace('fastify-adobe-target, ', '').replace(/ \(.*/, ''),
    [`CPU µs a page, ${other.commit}`]: ({ before }) => before.median.toFixed(0),
    now: ({ after }) => after.median.toFixed(0),
    'CPU ratio': ({ cpu }) => ratio(cpu),
    'pages/s ratio': ({ rate }) => ratio(rate)
  })
})

const ratio = ({ median, least, greatest }) => `${median.toFixed(3)} (${least.toFixed(3)} to ${greatest.toFixed(3)})`
