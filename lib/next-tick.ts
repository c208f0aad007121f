/**
 * Keeps `process.nextTick()` fast, in the whole process, from the import of this package on.
 *
 * Node.js 20 to 24 make an object with computed keys for each tick (`lib/internal/process/task_queues.js` there). V8 compiles that well
 * while all of these objects have one hidden class. A garbage collection frees that class if no tick is pending, as the one that V8
 * makes in a server that has been idle for eight seconds. The next tick gets a new class, and from then on V8 calls its runtime
 * (`DefineKeyedOwnPropertyInLiteral`): each tick takes four to seven times as long until the process ends, which is 5 to 15 % of the CPU
 * of a page. A tick that is never freed keeps its class. Node.js 26 has no need of it.
 */
import { executionAsyncResource } from 'node:async_hooks'

/**
 * Exported, since a module's variables are freed if no one can reach them.
 *
 * @internal
 */
export let keptTick: object | undefined

process.nextTick(() => { keptTick = executionAsyncResource() })
