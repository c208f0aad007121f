/** A short soak; `npm run test:soak` is the long one. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { FULL } from '../support/full.ts'

t.test('some seconds of load: nothing grows, the outbox balances, no rejection is unhandled', { skip: !FULL && 'only in npm run test:full' }, async (t) => {
  const script = fileURLToPath(new URL('soak.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, '--expose-gc', '--unhandled-rejections=strict', script, '0.1'])
  t.teardown(() => child.kill())
  const [said, complained, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  for (const line of `${said}${complained}`.split('\n')) t.comment(line)
  t.equal(code, 0)
  t.match(said, /nothing grew, everything balances/)
})
