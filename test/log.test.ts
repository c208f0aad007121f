/** The one log, the one guard, and the one backoff. */
import t from 'tap'
import { counted, Log, once } from '../lib/diagnostics.ts'
import { backoff } from '../lib/retries.ts'
import { failure } from '../lib/errors.ts'
import { createTargetClient } from '../lib/index.ts'
import { until } from './support/wait.ts'
import './support/no-unhandled-rejections.ts'

/** A logger that keeps its lines. */
function listen (levels = ['debug', 'error', 'warn']) {
  const lines: [level: string, message: string, fields?: Record<string, unknown>][] = []
  const logger = Object.fromEntries(levels.map((level) => [level, (...args: any[]) => {
    lines.push(args.length === 1 ? [level, args[0]] : [level, args[1], args[0]])
  }]))
  return { lines, logger: logger as unknown as ConstructorParameters<typeof Log>[0] }
}

t.test('every line has the prefix, and advice is a warning where the logger has warnings', async (t) => {
  const full = listen()
  const log = new Log(full.logger)
  log.debug('one')
  log.warn('two', { route: 'GET /' })
  log.error('three')
  t.strictSame(full.lines, [
    ['debug', 'fastify-adobe-target: one'], ['warn', 'fastify-adobe-target: two', { route: 'GET /' }], ['error', 'fastify-adobe-target: three']
  ])
  const plain = listen(['debug', 'error'])
  new Log(plain.logger).warn('two')
  t.strictSame(plain.lines, [['error', 'fastify-adobe-target: two']])
  t.equal(Log.of(log), log, 'a log is not wrapped again')
})

t.test('advice is logged once, whatever names it is about', async (t) => {
  const { lines, logger } = listen()
  const { warnOnce } = new Log(logger)
  for (let round = 0; round < 2; round++) for (let i = 0; i < 1500; i++) warnOnce(`advice ${i}`)
  t.equal(lines.length, 1000, 'up to a limit')
  const isNew = once()
  t.strictSame([isNew('a'), isNew('a'), isNew('b')], [true, false, true])
})

t.test('a failure is logged once in an interval, by kind', async (t) => {
  const { lines, logger } = listen()
  const log = new Log(logger)
  const error = failure('FST_TARGET_CONNECTION', 'reset')
  for (let i = 0; i < 5; i++) log.failure(error)
  log.failure(error, { message: 'another', kind: 'another', level: 'warn' })
  t.strictSame(lines, [
    ['error', 'fastify-adobe-target: Connection to Target failed: reset', { err: error }],
    ['warn', 'fastify-adobe-target: another', { err: error }]
  ])
})

t.test('a callback that throws or rejects is named, once', async (t) => {
  const { lines, logger } = listen()
  const log = new Log(logger)
  const seen: number[] = []
  const guarded = log.guard((n: number) => { seen.push(n); throw new Error('no') }, 'events.clientReady')
  guarded(1)
  guarded(2)
  log.guard(async () => { throw new Error('later') }, 'events.artifactDownloadFailed')()
  log.guard(undefined, 'events.none')()
  await until(() => lines.length === 2)
  t.strictSame(seen, [1, 2])
  t.match(lines, [
    ['error', 'fastify-adobe-target: `events.clientReady` threw; further errors from it will not be logged', { err: { message: 'no' } }],
    ['error', 'fastify-adobe-target: `events.artifactDownloadFailed` threw; further errors from it will not be logged', { err: { message: 'later' } }]
  ])
  t.equal(lines.length, 2)
})

t.test('a client names the event whose callback threw', async (t) => {
  const { lines, logger } = listen(['debug', 'error'])
  const target = createTargetClient({ client: 'acmeclient', organizationId: 'org@AdobeOrg', logger, events: { clientReady () { throw new Error('no') } } })
  t.teardown(() => target.close())
  await until(() => lines.length > 0)
  t.match(lines, [['error', /`events\.clientReady` threw/, { err: { message: 'no' } }]])
})

t.test('a logger that throws changes nothing', async (t) => {
  const log = new Log({ debug () { throw new Error('no') }, error () { throw new Error('no') } })
  log.debug('a')
  log.warn('a')
  log.failure(failure('FST_TARGET_CONNECTION', 'reset'))
  log.guard(() => { throw new Error('no') }, 'x')()
  t.pass('it is treated as absent')
})

t.test('waits double up to their maximum, with their jitter', async (t) => {
  const waits = (random: number) => [1, 2, 3, 4, 50].map((failures) => backoff(failures, { first: 100, max: 500, jitter: [0.5, 1], random: () => random }))
  t.strictSame(waits(0), [50, 100, 200, 250, 250])
  t.strictSame(waits(1), [100, 200, 400, 500, 500])
  const drawn = backoff(1, { first: 100, max: 500, jitter: [0.9, 1.1] })
  t.ok(drawn >= 90 && drawn <= 110)
})

t.test('a number goes with its noun', async (t) => {
  t.strictSame([counted(1, 'mbox', 'mboxes'), counted(2, 'mbox', 'mboxes'), counted(0, 'call')], ['1 mbox', '2 mboxes', '0 calls'])
})
