/** A few kills; `npm run test:crash` has 200 with each store. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'

t.test('processes that are killed under load lose nothing that their store had confirmed', { skip: process.platform === 'win32' && 'no SIGKILL' }, async (t) => {
  const script = fileURLToPath(new URL('crash.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, '4'])
  t.teardown(() => child.kill())
  const [said, complained, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  for (const line of `${said}${complained}`.split('\n')) t.comment(line)
  t.equal(code, 0)
  t.match(said, /Nothing was lost/)
})
