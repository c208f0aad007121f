/** JSON parsed in pieces: what `JSON.parse` returns, wherever it is cut. */
import t, { type Test } from 'tap'
import { parseJson } from '../../lib/decisioning/parse-json.ts'
import '../support/no-unhandled-rejections.ts'

/** Parses a text cut in every possible size. */
async function inAllPieces (text: string, look: (parse: () => Promise<unknown>, piece: number) => unknown): Promise<void> {
  const bytes = Buffer.from(text)
  for (let piece = 1; piece <= bytes.length + 1; piece++) await look(() => parseJson(bytes, { piece }), piece)
}

const same = async (t: Test, text: string) => {
  const expected = JSON.parse(text)
  await inAllPieces(text, async (parse, piece) => {
    const actual = await parse()
    // Its keys in order, and `__proto__` if it is one of them.
    if (JSON.stringify(actual) !== JSON.stringify(expected)) t.same(actual, expected, `${text} in pieces of ${piece}`)
    t.strictSame(Object.getPrototypeOf(Object(actual)), Object.getPrototypeOf(Object(expected)))
  })
}

t.test('what `JSON.parse` returns', async (t) => {
  for (const text of [
    '{"b":{"x":1},"2":{"y":2,"z":3},"1":[4,5,[6,7,{"8":9}]]}',
    '{"a":[1,2],"b":3,"a":{"c":[4,5],"c":6},"__proto__":{"d":[7,8]},"e":9}',
    ' \t\r\n[ [ ] , { } , [ [ [ [ [ [ 1 , 2 ] , 3 ] , 4 ] , 5 ] , 6 ] , 7 ] , "" ] \n',
    '["a,b","[{","]}\\"","\\\\",",\\\\\\",","ü€😀",-1.5e-3,true,false,null]',
    '{"rules":{"mboxes":{"hero":[{"ruleKey":"1","condition":{"and":[{"<":[0,{"var":"allocation"}]},true]}},{"ruleKey":"2"}],"":[]},"views":{}},"version":"1.0.0"}',
    '"[1,2"', '12', 'null', '[]', '{}', '[[]]', '{"":{}}'
  ]) await same(t, text)
  t.same(await parseJson(Buffer.from('\ufeff[1,2]'), { piece: 1 }), [1, 2], 'after a byte order mark')
  t.same(await parseJson(Buffer.concat([Buffer.from('["'), Buffer.of(0xff, 0xe2), Buffer.from('",2]')]), { piece: 1 }), ['\ufffd\ufffd', 2], 'what is not UTF-8')
  t.same(await parseJson(new Uint8Array(new TextEncoder().encode('..[1,2]..')).subarray(2, 7), { piece: 1 }), [1, 2], 'a view of a larger buffer')
})

t.test('what is not JSON', async (t) => {
  for (const text of [
    '', ' ', '[', '{"a":[1,2', '[1,2]]', '[1,2]}', '[1,2] 3', '[1,2][3,4]', '5 [1,2]', '[1,2},', '{"a":1,"b":2]', '[[1,2},3]', '[1,,2]', '[1,2,]',
    '[,1,2]', '[[1,2],]', '[,[1,2]]', '[[1,2][3,4]]', '[[1,2]3]', '[3[1,2]]', '{"a":[1,2],}', '{"a":1,,"b":2}', '{"a"[1,2]}', '{[1,2]}',
    '{"a":3[1,2]}', '{"a":[1,2]"b":3}', '{"a":[1,2]:3}', '{a:[1,2]}', '["a,b]', '["a\\"]', '[1 2,3]', '["\n",1]', '[\u00a01,2]', '[1,2]\ufeff',
    '\ufeff\ufeff[1,2]', '[01,2]', ']', '],[1,2]', ',', '"a', '{"a":1 "b":2}'
  ]) {
    await t.rejects(async () => JSON.parse(text.replace(/^\ufeff/, '')), SyntaxError, JSON.stringify(text))
    await inAllPieces(text, async (parse, piece) => { await t.rejects(parse(), SyntaxError, `${JSON.stringify(text)} in pieces of ${piece}`) })
  }
})

t.test('a large file leaves the event loop its turns', async (t) => {
  const rule = { meta: { 'activity.id': 1 }, consequence: { options: [{ content: 'x'.repeat(4000) }] } }
  const artifact = { rules: { mboxes: Object.fromEntries(Array.from({ length: 2500 }, (_, mbox) => [`mbox-${mbox}`, [rule, rule]])) } }
  const bytes = Buffer.from(JSON.stringify(artifact))
  let turns = 0
  let parsing = true
  const turn = () => {
    turns += 1
    if (parsing) setImmediate(turn)
  }
  setImmediate(turn)
  const parsed = await parseJson(bytes)
  parsing = false
  t.equal(JSON.stringify(parsed) === bytes.toString(), true)
  t.ok(turns >= 5, `${turns} turns for ${bytes.length} bytes`)
})
