/** Calls to two servers whose origins are the arguments, in a process that was started to trust their certificate. */
import t from 'tap'
import { Delivery } from '../../../lib/delivery/delivery.ts'
import { send } from '../../delivery/calls.ts'
import { sleep, until } from '../../support/wait.ts'

const [, , reviving, modern] = process.argv as [string, string, string, string]
const pool = { connections: 1, keepAliveTimeout: 4000, maxAge: 300_000, allowH2: true, maxResponseSize: 1024 * 1024, maxQueue: 100 }
const delivery = new Delivery({ pool, breaker: false, logger: console })
const call = (origin: string) => send(delivery, {
  origin, path: '/rest/v1/delivery', body: '{}', requestId: 'r', kind: 'page', timeout: 5000, breakerTimeout: 5000, grace: 0, retryable: true
}).answer
const sockets = (origin: string) => delivery.health().pool[new URL(origin).host]?.sockets

// Opened before the first call: nothing is sent until there is one, whatever the server says first.
await delivery.preconnect(reviving, 1)
await delivery.preconnect(modern, 1)
await until(() => sockets(reviving) === 1 && sockets(modern) === 1)
await sleep(50)
t.same([sockets(reviving), sockets(modern)], [1, 1])

t.match(await call(reviving), { status: 200, attempts: 1 })
await sleep(50)
t.match(await call(reviving), { status: 200, attempts: 2 })
const answers = await Promise.all(Array.from({ length: 20 }, () => call(modern)))
t.match(answers, answers.map(() => ({ status: 200, attempts: 1 })))
await delivery.close()
