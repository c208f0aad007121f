/** Six kills with each store, in `npm run test:full`; `npm run test:crash` has 200. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { FULL } from '../support/full.ts'
import { bin, environment, root } from '../support/project.ts'

t.test('processes that are killed under load lose nothing that their store had confirmed', { skip: FULL ? process.platform === 'win32' && 'no SIGKILL' : 'only in npm run test:full' }, async (t) => {
  // Compiled once: each of the processes would spend four seconds of CPU on that.
  execFileSync(process.execPath, [bin('typescript', 'bin/tsc'), '-p', 'test/crash/tsconfig.json', '--noCheck'], { cwd: root, env: environment() })
  const child = spawn(process.execPath, [join(root, '.build/crash/test/crash/crash.js'), '6'], { env: environment() })
  t.teardown(() => child.kill())
  const [said, complained, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  for (const line of `${said}${complained}`.split('\n')) t.comment(line)
  t.equal(code, 0)
  t.match(said, /Nothing was lost/)
})
