/** The charts of the last full bench: as drawn from its report, and readable in light and dark mode. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { root } from '../support/project.ts'
// @ts-expect-error it is JavaScript, for a command's sake
import { writeCharts } from './charts.js'

const folder = join(root, 'docs/bench')
const names = ['added-latency.svg', 'decision-time.svg']

t.test('docs/bench has the charts of docs/bench/results.json', async (t) => {
  const drawn = mkdtempSync(join(tmpdir(), 'charts-'))
  t.teardown(() => rmSync(drawn, { recursive: true }))
  writeCharts(JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')), pathToFileURL(`${drawn}/`))
  for (const name of names) t.equal(readFileSync(join(folder, name), 'utf8'), readFileSync(join(drawn, name), 'utf8'), `${name}, else run: node test/bench/performance.js`)
})

t.test('in light and dark mode, lines stay lines and stand out from the background', { skip: withoutBrowser }, async (t) => {
  const page = await (await startBrowser(t)).newPage()
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    for (const name of names) {
      await page.goto(pathToFileURL(join(folder, name)).href)
      const styles: { card: string, lines: { fill: string, stroke: string }[], others: string[] } = await page.evaluate(`(() => {
        const style = (selector) => [...document.querySelectorAll(selector)].map((element) => getComputedStyle(element))
        return {
          card: style('.card')[0].fill,
          lines: style('.line').map(({ fill, stroke }) => ({ fill, stroke })),
          others: style('.point, .value, text').map(({ fill }) => fill)
        }
      })()`)
      t.ok(styles.lines.length >= 4)
      for (const { fill } of styles.lines) t.equal(fill, 'none', `${name}, ${colorScheme}`)
      const contrasts = [...styles.lines.map(({ stroke }) => stroke), ...styles.others].map((colour) => contrast(colour, styles.card))
      t.ok(Math.min(...contrasts) >= 3, `${name}, ${colorScheme}: contrast ${Math.min(...contrasts).toFixed(1)}`)
    }
  }
})

/** Contrast of two colours `rgb(…)`, by WCAG 2. */
function contrast (one: string, other: string): number {
  const [darker, lighter] = [one, other].map((colour) => {
    const [red, green, blue] = colour.match(/\d+/g)!.map((part) => {
      const share = Number(part) / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    }) as [number, number, number]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }).sort((a, b) => a - b) as [number, number]
  return (lighter + 0.05) / (darker + 0.05)
}
