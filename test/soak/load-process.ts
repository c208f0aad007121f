/**
 * A process: browsers that visit the app, some of which leave before their page comes. Takes `{ url, paths, ms }`, answers
 * with the counts of a round when all its connections are closed.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { answerParent } from './child.ts'

/** Browsers at a time. */
const BROWSERS = 24

const counts = { pages: 0, left: 0, wrong: 0 }

async function visit (url: string, dispatcher: Agent, cookie: string | undefined): Promise<string | undefined> {
  const leaving = Math.random() < 0.1 ? AbortSignal.timeout(Math.ceil(Math.random() * 30)) : undefined
  try {
    const { statusCode, headers, body } = await request(url, { dispatcher, signal: leaving, headers: cookie === undefined ? {} : { cookie } })
    await body.text()
    counts.pages += 1
    if (statusCode !== 200) counts.wrong += 1
    const cookies = [headers['set-cookie'] ?? []].flat().map((line) => line.split(';', 1)[0]).join('; ')
    return cookies === '' ? cookie : cookies
  } catch (error) {
    if (leaving?.aborted !== true) throw error
    counts.left += 1
    return cookie
  }
}

async function browse (origin: string, paths: string[], dispatcher: Agent, end: number): Promise<void> {
  let cookie: string | undefined
  while (performance.now() < end) {
    cookie = await visit(origin + paths[Math.floor(Math.random() * paths.length)], dispatcher, Math.random() < 0.3 ? undefined : cookie)
    // A pace that the outbox can keep up with, with every tenth call failing and some of them hanging.
    await sleep(Math.random() * 200)
  }
}

answerParent(async ({ url, paths, ms }: { url: string, paths: string[], ms: number }) => {
  const dispatcher = new Agent()
  const end = performance.now() + ms
  await Promise.all(Array.from({ length: BROWSERS }, () => browse(url, paths, dispatcher, end)))
  await dispatcher.close()
  return counts
})
process.send!({})
