// Writes test/differences.json into docs/differences.md, between its two marks. A test says when that is to be done.
import { readFileSync, writeFileSync } from 'node:fs'

const AREAS = { client: 'The client', decisioning: 'Decisions on-device' }
const MARKS = ['<!-- differences -->', '<!-- /differences -->']
const cell = (text) => text.replaceAll('|', '\\|')

/** The differences as Markdown. */
export function differences () {
  const entries = JSON.parse(readFileSync(new URL('differences.json', import.meta.url), 'utf8'))
  return Object.entries(AREAS).map(([area, title]) => [
    `**${title}**`, '', '| where | when | what and why |', '|---|---|---|',
    ...entries.filter((entry) => entry.area === area).map(({ field, condition, reason }) => `| ${cell(field)} | ${cell(condition)} | ${cell(reason)} |`)
  ].join('\n')).join('\n\n')
}

/** docs/differences.md with the differences in it. */
export function withDifferences (page) {
  const [start, end] = MARKS.map((mark) => page.indexOf(mark))
  return `${page.slice(0, start)}${MARKS[0]}\n\n${differences()}\n\n${page.slice(end)}`
}

if (process.argv[1] === import.meta.filename) {
  const page = new URL('../docs/differences.md', import.meta.url)
  writeFileSync(page, withDifferences(readFileSync(page, 'utf8')))
}
