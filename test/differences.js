// Writes test/differences.json into README, between its two marks. A test says when that is to be done.
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

/** README with the differences in it. */
export function withDifferences (readme) {
  const [start, end] = MARKS.map((mark) => readme.indexOf(mark))
  return `${readme.slice(0, start)}${MARKS[0]}\n\n${differences()}\n\n${readme.slice(end)}`
}

if (process.argv[1] === import.meta.filename) {
  const readme = new URL('../README.md', import.meta.url)
  writeFileSync(readme, withDifferences(readFileSync(readme, 'utf8')))
}
