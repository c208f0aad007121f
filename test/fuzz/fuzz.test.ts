/** The short run of the fuzzing, always the same inputs; `npm run test:fuzz` is the long one. Findings are tested in plugin/security.test.ts. */
import t from 'tap'
import { compileArtifact } from '../../lib/decisioning/compile.ts'
import { edgeMessage } from '../../lib/delivery/edge-message.ts'
import { errors, failure } from '../../lib/errors.ts'
import { compileRequest } from '../../lib/request/route-config.ts'
import { checkAll, properties } from './properties.ts'
import { withWire } from './wire.ts'
import '../support/no-unhandled-rejections.ts'
import { FULL } from '../support/full.ts'

const INPUTS = FULL ? 2500 : 800

t.test('whatever comes from browsers, edges and artifacts, the properties hold', { timeout: 240_000 }, async (t) => {
  const total = await withWire((wire) => checkAll([...properties, ...wire], INPUTS, 20261123, (line) => t.comment(line)))
  t.ok(total >= INPUTS, `${total} inputs`)
})

t.test('findings in single functions', async (t) => {
  const codes = { code: 'FST_TARGET_INVALID_OPTIONS' }
  t.throws(() => compileRequest({ prefetch: { views: ['v'.repeat(129)] } }, { root: 'x' }), codes, 'a view name that the edge refuses')
  t.throws(() => compileRequest({ execute: { pageLoad: { parameters: { ['\r\n\u2028\u0000' + 'x'.repeat(5000)]: 'v' } } } }, { root: 'x' }), { ...codes, message: /^[^\r\n\u2028\0]{1,1100}$/ }, 'a name in a message')
  t.match(failure('FST_TARGET_HTTP', '500: a\r\nb\u2029c'), { message: 'Target returned an error: 500: a b c' })
  t.ok(failure('FST_TARGET_HTTP', 'x') instanceof errors.FST_TARGET_HTTP)

  const quoted = (message: string, parameters: object, id = {}) => edgeMessage(message, { body: JSON.stringify({ id, execute: { mboxes: [{ name: 'hero', parameters }] } }), path: '/?sessionId=a%7Cb%7Cc' })
  t.equal(quoted('Alice Example is no hero', { name: 'Alice Example' }), ': … is no hero', 'a parameter called as a member of the API is')
  t.equal(quoted('"a \\"b\\" c" and a%7Cb%7Cc', { x: 'a "b" c' }), ': "…" and …', 'quoted as JSON, and as in the URL')
  t.equal(quoted('no profile 1234567', {}, { tntId: '1234567.35_0' }), ': no profile …', 'without the location hint')
  const event = { event: { xdm: { implementationDetails: { environment: 'server' } }, data: { __adobe: { target: { name: 'Alice Example', environment: 'secret' } } } } }
  t.equal(edgeMessage('server: Alice Example has a secret', { body: JSON.stringify(event), path: '/' }), ': server: … has a …', 'likewise in an event of the Edge Network')
  t.notMatch(quoted('0123456789abcdef'.repeat(2000), { x: '0123456789abcdef'.repeat(20) }), /0123/, 'nor a part of one')

  await t.rejects(compileArtifact({ version: '1.0.0', rules: { mboxes: { 'a\r\nb': null } } }), { code: 'FST_TARGET_ARTIFACT' }, 'a location with a line break in its name')
})
