/** The one validator: its grammar, and what it makes of schemas. */
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import t from 'tap'
import {
  checkOptions, flag, integer, Milliseconds, MillisecondsOrZero, oneOf, passing, problemIn, strict, withMethods, type Subject
} from '../lib/validation.ts'

const Options = Type.Object({
  client: Type.String({ pattern: '^\\w+$', expected: 'a client code' }),
  timeout: Type.Optional(Milliseconds),
  grace: Type.Optional(MillisecondsOrZero),
  pool: Type.Optional(Type.Object({ connections: Type.Optional(integer(1)), allowH2: Type.Optional(flag) }, strict)),
  breaker: Type.Optional(Type.Union([Type.Literal(false), Type.Object({ failures: Type.Optional(integer(1)) }, strict)], { expected: 'an object { failures }, or false' })),
  method: Type.Optional(oneOf('server-side', 'on-device')),
  logger: Type.Optional(withMethods(['debug', 'error'], 'a logger')),
  events: Type.Optional(Type.Object({ ready: Type.Optional(Type.Function([], Type.Any())) }, strict)),
  signal: Type.Optional(passing((signal) => signal instanceof AbortSignal, 'an AbortSignal'))
}, { ...strict, replaced: { fetchApi: '`dispatcher`' } })

t.test('an invalid option is named with what it must be and what it is', async (t) => {
  const cases: [object, string][] = [
    [{ tiemout: 300 }, 'unknown option `tiemout` (did you mean `timeout`?)'],
    [{ Timeout: 300 }, 'unknown option `Timeout` (did you mean `timeout`?)'],
    [{ retries: 300 }, 'unknown option `retries`; expected client, timeout, grace, pool, breaker, method, logger, events or signal'],
    [{ __proto__: null, constructor: 1 }, 'unknown option `constructor`; expected client, timeout, grace, pool, breaker, method, logger, events or signal'],
    [{ fetchApi: 1 }, 'unknown option `fetchApi`: use `dispatcher`'],
    [{ 'a b': 1 }, 'unknown option `["a b"]`; expected client, timeout, grace, pool, breaker, method, logger, events or signal'],
    [{ pool: { conections: 3 } }, 'unknown option `pool.conections` (did you mean `connections`?)'],
    [{ breaker: { failurs: 3 } }, 'unknown option `breaker.failurs` (did you mean `failures`?)'],
    [{ client: undefined }, '`client` is required: a client code'],
    [{ client: 'a/b' }, '`client` must be a client code, got \'a/b\''],
    [{ client: 'a/'.repeat(100) }, `\`client\` must be a client code, got '${'a/'.repeat(40)}'... 120 more characters`],
    [{ timeout: 1e10 }, '`timeout` must be a number of ms > 0 and ≤ 2147483647, got 10000000000'],
    [{ timeout: 0 }, '`timeout` must be a number of ms > 0 and ≤ 2147483647, got 0'],
    [{ timeout: NaN }, '`timeout` must be a number of ms > 0 and ≤ 2147483647, got NaN'],
    [{ grace: -1 }, '`grace` must be a number of ms ≥ 0 and ≤ 2147483647, got -1'],
    [{ pool: { connections: 1.5 } }, '`pool.connections` must be an integer ≥ 1, got 1.5'],
    [{ pool: { allowH2: 'yes' } }, '`pool.allowH2` must be true or false, got \'yes\''],
    [{ pool: 3 }, '`pool` must be an object, got 3'],
    [{ breaker: true }, '`breaker` must be an object { failures }, or false, got true'],
    [{ breaker: { failures: 0 } }, '`breaker.failures` must be an integer ≥ 1, got 0'],
    [{ method: 'edge' }, '`method` must be \'server-side\' or \'on-device\', got \'edge\''],
    [{ logger: { debug () {} } }, '`logger` must be a logger, got { debug: [Function: debug] }'],
    [{ events: { ready: 1 } }, '`events.ready` must be a function, got 1'],
    [{ signal: {} }, '`signal` must be an AbortSignal, got {}']
  ]
  for (const [options, message] of cases) {
    t.throws(() => checkOptions(Options, { client: 'acme', ...options }), { code: 'FST_TARGET_INVALID_OPTIONS', message: `Invalid Target options: ${message}` }, message)
  }
  for (const options of [undefined, null, 3, 'acme', []]) t.throws(() => checkOptions(Options, options), { message: /: options must be an object, got / })
})

t.test('valid options are copied, and what is not an option is passed on as it is', async (t) => {
  class Logger {
    debug () {}
    error () {}
  }
  const given = { client: 'acme', timeout: 2 ** 31 - 1, grace: 0, pool: { connections: undefined, allowH2: true }, breaker: false, logger: new Logger(), signal: new AbortController().signal, method: undefined }
  const options = checkOptions<typeof given>(Options, given)
  t.strictSame(options, { client: 'acme', timeout: 2 ** 31 - 1, grace: 0, pool: { allowH2: true }, breaker: false, logger: given.logger, signal: given.signal })
  t.not(options.pool, given.pool)
  t.equal(options.logger, given.logger)
})

t.test('a subject names where the value is', async (t) => {
  const Request = Type.Object({ maxWait: Type.Optional(Milliseconds), mboxes: Type.Array(Type.Union([Type.String({ minLength: 1 }), Type.Object({ name: Type.String() }, strict)], { expected: 'an mbox' })) }, strict)
  const value = { maxWait: '50', mboxes: ['a', { name: 3 }] }
  const cases: [Subject, unknown, string][] = [
    [{ root: 'config.target', of: 'GET /' }, value, 'config.target.maxWait of GET /: must be a number of ms > 0 and ≤ 2147483647, got \'50\''],
    [{ root: 'config.target', of: 'GET /' }, { mboxes: value.mboxes }, 'config.target.mboxes[1].name of GET /: must be a string, got 3'],
    [{ root: 'config.target', of: 'GET /' }, { mboxes: [''] }, 'config.target.mboxes[0] of GET /: must be an mbox, got \'\''],
    [{ root: 'config.target', of: 'GET /' }, { mboxes: [], maxWiat: 1 }, 'unknown option `config.target.maxWiat` of GET / (did you mean `maxWait`?)'],
    [{ root: 'request' }, {}, '`request.mboxes` is required'],
    [{ call: 'start()', root: 'request' }, { mboxes: 'a' }, 'start(): `request.mboxes` must be a list, got \'a\''],
    [{ call: 'start()' }, null, 'start(): options must be an object, got null'],
    [{ root: 'body', isPrivate: true }, value, '`body.maxWait` must be a number of ms > 0 and ≤ 2147483647'],
    [{ root: 'body', isPrivate: true }, { mboxes: [{ name: 'a', secret: 1 }] }, '`body.mboxes[0]` has an unknown member; expected name']
  ]
  for (const [subject, given, problem] of cases) t.equal(problemIn(Request, given, subject), problem)
  t.equal(problemIn(Request, { maxWait: 50, mboxes: ['a', { name: 'b' }] }), undefined)
})

t.test('what a schema expects is said in words', async (t) => {
  const cases: [TSchema, unknown, string][] = [
    [Type.String(), 1, 'a string'],
    [Type.String({ minLength: 1 }), '', 'a string that is not empty'],
    [Type.String({ maxLength: 1 }), 'ab', 'a string of at most 1 character'],
    [Type.String({ minLength: 2, maxLength: 3 }), 'a', 'a string of 2 to 3 characters'],
    [Type.String({ pattern: '^a' }), 'b', 'a string that matches ^a'],
    [Type.String({ enum: ['a', 'b'], pattern: '^(a|b)$' }), 'c', '\'a\' or \'b\''],
    [Type.Number({ minimum: 1, maximum: 2 }), 3, 'a number ≥ 1 and ≤ 2'],
    [Type.Integer({ exclusiveMinimum: 0, exclusiveMaximum: 2 }), 3, 'an integer > 0 and < 2'],
    [Type.Array(Type.String(), { minItems: 1 }), [], 'a list of at least 1 entry'],
    [Type.Array(Type.String(), { minItems: 1, maxItems: 2 }), ['', '', ''], 'a list of 1 to 2 entries'],
    [Type.Union([Type.String(), Type.Null(), Type.Boolean()]), 1, 'a string, null or true or false'],
    [Type.Record(Type.String(), Type.String()), 1, 'an object'],
    [Type.Date(), 1, 'Date']
  ]
  for (const [schema, value, expected] of cases) t.equal(problemIn(schema, value, { root: 'x', isPrivate: true }), `\`x\` must be ${expected}`)
})

t.test('names from anywhere neither break the check nor take long', async (t) => {
  const started = performance.now()
  t.throws(() => checkOptions(Options as TObject, { client: 'acme', ['x'.repeat(1e6)]: 1 }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /^.{1,1100}$/ })
  t.ok(performance.now() - started < 1000)
})
