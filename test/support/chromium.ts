/** A real browser for the tests that need one; they skip with a message where there is none. */
import { accessSync, constants } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'

/** Where Debian, other Linux systems and macOS keep it; `CHROMIUM_PATH` names any other place. */
const PLACES = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'
]

/** Where it is; undefined where there is none. */
export const executablePath = PLACES.find((place) => {
  try {
    if (place !== undefined) accessSync(place, constants.X_OK)
    return place !== undefined
  } catch {
    return false
  }
})

/** `skip` of a test that needs the browser: why it cannot run, or false. */
export const withoutBrowser: string | false = executablePath === undefined && 'there is no Chromium here (apt-get install chromium, or set CHROMIUM_PATH)'

/** Starts the browser, without a window; closed when the test ends. */
export async function startBrowser (t: { teardown (fn: () => unknown): void }): Promise<Browser> {
  // Containers run as root and have a small /dev/shm; only pages of the tests' own are opened.
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
  t.teardown(() => browser.close())
  return browser
}
