/** Why a visitor got an experience, in words. */
import t from 'tap'
import { compileArtifact } from '../../lib/decisioning/compile.ts'
import { decide } from '../../lib/decisioning/decide.ts'
import { explain } from '../../lib/decisioning/explain.ts'
import { conditionText, describeCondition } from '../../lib/decisioning/words.ts'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'
import type { DeliveryRequest } from '../../lib/schema/index.ts'

const client = 'acmeclient'
const request = (id: string, more: Partial<DeliveryRequest> = {}): DeliveryRequest => ({
  context: { channel: 'web', userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0', address: { url: 'https://shop.example/?member=gold' } },
  id: { tntId: id },
  ...more
})

t.test('an explanation names the same experience as the decision, for many visitors', async (t) => {
  const artifact = await compileArtifact(sampleArtifact)
  for (let i = 0; i < 200; i++) {
    const { prefetch } = decide(artifact, { ...request(`visitor-${i}`), prefetch: { mboxes: [{ name: 'hero', index: 0 }] } }, { client }).response
    const content = String(prefetch!.mboxes![0]!.options![0]!.content)
    const { rules } = explain(artifact, request(`visitor-${i}`), { name: 'hero' }, { client })
    const matched = rules.filter(({ outcome }) => outcome === 'matched')
    t.equal(matched.length, 1)
    t.equal(matched[0]!.experience.name, content.includes('hero--a') ? 'Layers' : 'Night', `visitor-${i}`)
    t.equal(matched[0]!.reason, `Bucket ${matched[0]!.bucket} is in ${matched[0]!.share!.from} to ${matched[0]!.share!.to}: ${matched[0]!.experience.name}.`)
  }
})

t.test('a rule that did not match names the condition that failed and the visitor\'s value', async (t) => {
  const artifact = await compileArtifact(sampleArtifact)
  const firefox = { ...request('v'), context: { ...request('v').context, address: { url: 'https://shop.example/' } } }
  const { decidedBy, rules } = explain(artifact, firefox, { name: 'banner', parameters: { member: 'silver' } }, { client })
  t.equal(decidedBy, 'artifact')
  t.same(rules.map(({ outcome }) => outcome), ['not-matched', 'matched', 'not-reached', 'not-reached', 'not-reached'])
  t.equal(rules[0]!.condition.parts![0]!.text, 'mbox parameter `member` is "gold"')
  t.equal(rules[0]!.condition.parts![0]!.actual, '"silver"')
  t.equal(rules[1]!.reason, 'Holds: the browser is "firefox": Firefox.')
  t.equal(rules[2]!.reason, 'A rule before it matched.')
  t.equal(explain(artifact, firefox, { name: 'nowhere' }, { client }).decidedBy, 'unknown')
  t.same(explain(artifact, firefox, { kind: 'view', name: 'product' }, { client }).rules.map(({ reason }) => reason), ['The rule is for everyone: Size advice.'])
})

t.test('a rule of another property says so', async (t) => {
  const rule = { ...sampleArtifact.rules.mboxes.hero[0], propertyTokens: ['other'] }
  const artifact = await compileArtifact({ ...sampleArtifact, rules: { mboxes: { hero: [rule] }, views: {} } })
  t.equal(explain(artifact, request('v'), { name: 'hero' }, { client }).rules[0]!.outcome, 'other-property')
  t.not(explain(artifact, request('v', { property: { token: 'other' } }), { name: 'hero' }, { client }).rules[0]!.outcome, 'other-property')
})

t.test('conditions are described in words', async (t) => {
  const cases: Array<[unknown, string]> = [
    [true, 'everyone'],
    [{ '<': [34, { var: 'allocation' }, 67] }, 'the bucket is in 34 to 67'],
    [{ and: [{ '<=': [0, { var: 'allocation' }] }, { '>=': [50, { var: 'allocation' }] }] }, 'the bucket is in 0 to 50'],
    [{ '==': ['UNITED STATES', { var: 'geo.country' }] }, 'the country is "UNITED STATES"'],
    [{ '!=': [{ var: 'user.platform' }, 'linux'] }, 'the operating system is not "linux"'],
    [{ '>': [18, { var: 'mbox.age' }] }, 'mbox parameter `age` is less than 18'],
    [{ in: ['/sale', { var: 'page.path_lc' }] }, 'the page path (in lower case) contains "/sale"'],
    [{ in: [{ var: 'current_day' }, [6, 7]] }, 'the day of the week (1 is Monday) is one of Saturday, Sunday'],
    [{ '<': [{ var: 'current_timestamp' }, 1596252484644] }, 'the time is before 2020-08-01T03:28:04.644Z'],
    [{ '!': { '==': [{ var: 'user.browserType' }, 'safari'] } }, 'not (the browser is "safari")'],
    [{ and: [{ '==': [{ var: 'mbox.a' }, 1] }, { or: [{ '==': [{ var: 'mbox.b' }, 2] }, { '==': [{ var: 'mbox.c' }, 3] }] }] }, 'mbox parameter `a` is 1 and (mbox parameter `b` is 2 or mbox parameter `c` is 3)'],
    [{ and: [{ '<': [0, { var: 'allocation' }, 50] }, { '==': ['US', { var: 'geo.country' }] }] }, 'the bucket is in 0 to 50 and the country is "US"'],
    [{ some: [{ var: 'mbox.list' }, { '==': [{ var: '' }, 1] }] }, 'at least one of mbox parameter `list` fits {"==":[{"var":""},1]}'],
    [{ '+': [1, 2] }, 'JSON-Logic {"+":[1,2]}'],
    [null, 'null']
  ]
  for (const [logic, text] of cases) t.equal(conditionText(describeCondition(logic)), text)
  let deep: unknown = true
  for (let i = 0; i < 5000; i++) deep = { and: [deep, true] }
  t.ok(conditionText(describeCondition(deep)).length > 0, 'however deep it is')
})
