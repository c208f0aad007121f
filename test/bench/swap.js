/** A client that swaps its artifact, watching its own event loop: `node swap.js <edge host>`. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createTargetClient } from 'fastify-adobe-target'
import { generateArtifact } from './artifact.js'
import { answerParent } from './child.js'
import { client, organizationId } from './page.js'

const [host] = process.argv.slice(2)
const location = `http://${host}/rules.json`
const settings = { client, organizationId, serverDomain: host, secure: false, decisioningMethod: 'on-device', pollingInterval: 0, preconnect: 0 }

let loaded

/** ms that `work` takes, and the longest time without a turn of the event loop. */
async function watch (work) {
  let longest = 0
  let last = performance.now()
  let running = true
  const turn = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (running) setImmediate(turn)
  }
  setImmediate(turn)
  const started = performance.now()
  await work()
  const elapsed = performance.now() - started
  await new Promise((resolve) => setImmediate(resolve))
  running = false
  return { elapsed, longest }
}

answerParent({
  async compile () {
    const text = await (await fetch(location)).text()
    const started = performance.now()
    const parsed = JSON.parse(text)
    const parse = performance.now() - started
    const use = async (artifactPayload) => {
      const target = createTargetClient({ ...settings, artifactPayload })
      await target.ready()
      await target.close()
    }
    // The first client of a process loads undici, and compiles its parser a little later.
    await use(generateArtifact({ mboxes: 1, rulesEach: 1 }))
    await sleep(500)
    const compile = await watch(() => use(parsed))
    return { bytes: Buffer.byteLength(text), parse, compile }
  },
  async load () {
    loaded = createTargetClient({ ...settings, artifactLocation: location, timeout: 60_000 })
    await loaded.ready({ timeout: 60_000 })
  },
  /** To be asked once the edge has another artifact. */
  async refresh () {
    return await watch(async () => {
      const { changed } = await loaded.refresh()
      if (!changed) throw new Error('the artifact is the same')
    })
  }
}, {})
