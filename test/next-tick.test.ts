/** What the import of the package does to `process.nextTick()`. How much CPU that saves, `npm run bench -- after-idle` shows. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from './support/project.ts'

/** Prints how many of Node's objects for ticks a garbage collection leaves, of those made before and by an import. */
const ticksLeft = async (imported: string): Promise<number> => {
  const script = `
    import { executionAsyncResource } from 'node:async_hooks'
    import { setTimeout } from 'node:timers/promises'

    const ticks = []
    const { nextTick } = process
    process.nextTick = (callback, ...args) => nextTick(() => {
      ticks.push(new WeakRef(executionAsyncResource()))
      callback(...args)
    })
    for (let tick = 0; tick < 20; tick++) process.nextTick(() => {})
    await import(${JSON.stringify(imported)})
    await setTimeout(10)
    gc()
    await setTimeout(10)
    gc()
    if (ticks.length < 20) throw new Error('no ticks')
    console.log(ticks.filter((tick) => tick.deref() !== undefined).length)
  `
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, '--expose-gc', '--input-type=module', '--eval', script], { cwd: root })
  return Number(stdout)
}

t.test('an import keeps one tick, and so the hidden class of all', async (t) => {
  t.equal(await ticksLeft('fastify'), 0, 'others keep none')
  t.equal(await ticksLeft('./lib/index.ts'), 1)
})
