/** One contender in its own process: `node contender.js <name> <edge host>`. */
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import { answerParent } from './child.js'
import { contenders } from './contenders.js'
import { FALLBACK, render } from './page.js'

const [name, host] = process.argv.slice(2)

/** ms */
let work = 0
let watching = false
let waits = []
let pages = 0
let fallbacks = 0
let before = process.cpuUsage()

const app = Fastify()
const settle = await contenders[name].add(app, {
  host,
  work () { if (work > 0) return sleep(work) },
  send (reply, content, waited) {
    pages += 1
    // Loads end amid requests: whoever left gets no offer, and no page either.
    if (!reply.raw.destroyed) {
      if (content === FALLBACK) fallbacks += 1
      if (watching && waited !== undefined) waits.push(waited)
    }
    reply.type('text/html')
    return render(content)
  }
})
await app.listen({ host: '127.0.0.1', port: 0 })

answerParent({
  /** Begins a run: what the handler does, whether waiting is written down. */
  async begin (settings) {
    ({ work = 0, watching = false } = settings)
    await settle?.()
    waits = []
    pages = fallbacks = 0
    before = process.cpuUsage()
  },
  /** Ends it, with what it still does in the background: pages, those without an offer, CPU µs a page, share of the pages that waited less than 1 ms. */
  async end () {
    await settle?.()
    const { user, system } = process.cpuUsage(before)
    return {
      pages,
      fallbacks,
      cpu: (user + system) / pages,
      ...(waits.length > 0 && { unwaited: waits.filter((wait) => wait < 1).length / waits.length })
    }
  }
}, { url: `http://127.0.0.1:${app.server.address().port}/` })
