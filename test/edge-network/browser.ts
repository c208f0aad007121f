/**
 * Adobe's Web SDK, the real one of npm `@adobe/alloy`, in a real browser. It calls `https://edge.adobedc.net` and nothing else,
 * so those calls are carried to a local edge; what it sends and what it gets is not changed.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { organizationId } from '../support/helper.ts'

const entry = createRequire(import.meta.url).resolve('@adobe/alloy')
/** The library as pages load it. */
export const alloyJs = readFileSync(join(dirname(entry), '..', 'dist', 'alloy.min.js'), 'utf8')

/** Queues commands until the library is there, which finds the queue by the name that is listed. */
export const commandQueue = `<script>
window.__alloyNS = ['alloy']
window.alloy = (...command) => new Promise((resolve, reject) => window.alloy.q.push([resolve, reject, command]))
window.alloy.q = []
</script>`

/** Configures the library; as a page does it that has asked for nothing yet. */
export const configure = (options: object = {}) =>
  `<script>alloy('configure', ${JSON.stringify({ datastreamId: 'browser-datastream', orgId: organizationId, clickCollectionEnabled: true, ...options })})</script>`

/** A browser session whose calls to Adobe go to a local edge. `calls` has their paths, in order. */
export async function visitor (browser: Browser, host: string): Promise<{ context: BrowserContext, calls: string[] }> {
  const context = await browser.newContext()
  const calls: string[] = []
  await context.route('https://edge.adobedc.net/**', async (route) => {
    const request = route.request()
    const url = new URL(request.url())
    calls.push(url.pathname)
    const headers = Object.fromEntries(Object.entries(await request.allHeaders()).filter(([name]) => !name.startsWith(':') && name !== 'host'))
    const response = await fetch(`http://${host}${url.pathname}${url.search}`, { method: request.method(), headers, body: request.postDataBuffer() as Buffer<ArrayBuffer> })
    await route.fulfill({ status: response.status, headers: Object.fromEntries(response.headers), body: Buffer.from(await response.arrayBuffer()) })
  })
  return { context, calls }
}

/** Runs a command of the library in a page, and gives its result. */
export async function alloy (page: Page, command: string, options: object = {}): Promise<any> {
  return await page.evaluate(([command, options]) => (globalThis as any).alloy(command, options), [command, options] as const)
}
