/** docs/architecture.md: its listing is that of lib/, and its paths exist. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { root } from '../support/project.ts'
import { readDocument } from './documents.ts'

const page = readDocument('docs/architecture.md')
const section = (heading: string) => page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`))!

t.test('docs/architecture.md lists every file and folder of lib/, each once', async (t) => {
  const listed = [...section('lib/').matchAll(/^\| `([^`]+)` \| .+ \|$/gm)].map(([, name]) => name!)
  const there = readdirSync(join(root, 'lib'), { withFileTypes: true }).map((entry) => entry.isDirectory() ? `${entry.name}/` : entry.name)
  t.same(listed.sort(), there.sort(), 'else add a line, or take one away')
})

t.test('docs/architecture.md names only files that exist', async (t) => {
  const places = [...section('Where to add what').matchAll(/`([\w-]+\/[\w/-]*(?:\.ts)?|[\w-]+\.ts)`/g)].map(([, place]) => place!)
  t.ok(places.length >= 15)
  for (const place of places) t.ok(existsSync(join(root, 'lib', place)) || existsSync(join(root, place)), place)
})
