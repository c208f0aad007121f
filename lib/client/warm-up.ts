/**
 * Warms up before the first visitor: the first call of a process compiles undici's HTTP parser (WebAssembly) and this package's own
 * functions, which takes longer than the call itself. One call over a connection in memory triggers that. Nothing of it is logged,
 * counted or published.
 */
import { channel } from 'node:diagnostics_channel'
import { Duplex } from 'node:stream'
import type { buildConnector } from 'undici'
import { TargetClient } from './client.ts'
import { clientSettings, type ClientSettings } from './options.ts'

/** Client, organization, mbox and content of the call. */
export const WARM_UP = 'warm-up'

let warm = false

/**
 * Warms up, once per process. Never rejects, and leaves nothing behind.
 *
 * @param call makes one call with a client whose edge is in memory
 * @returns its result; undefined if there was none
 */
export async function warmUp<Result> (call: (client: TargetClient, settings: ClientSettings) => Promise<Result>): Promise<Result | undefined> {
  if (warm || isUndiciTraced()) return undefined
  warm = true
  const settings = clientSettings({ client: WARM_UP, organizationId: WARM_UP, secure: false, timeout: 500, grace: 0, breaker: false })
  const client = new TargetClient({ ...settings, connector })
  try {
    return await call(client, settings)
  } catch {
    // Then the first visitor waits for it, as without the warm-up.
    return undefined
  } finally {
    await client.close()
  }
}

/** Whether undici's requests are traced, as by OpenTelemetry's instrumentation: this one is no visitor's, and must not be among them. */
const isUndiciTraced = (): boolean => ['undici:request:create', 'undici:client:connected'].some((name) => channel(name).hasSubscribers)

const ANSWER = JSON.stringify({
  status: 200,
  id: { tntId: `${WARM_UP}.35_0` },
  edgeHost: 'mboxedge35.tt.omtrdc.net',
  execute: { mboxes: [{ index: 0, name: WARM_UP, options: [{ type: 'html', content: WARM_UP }] }] }
})

/** Connects to a stream that answers every request. */
const connector: buildConnector.connector = (_options, callback) => {
  const socket = new Duplex({
    read () {},
    write (chunk, _encoding, done) {
      if (String(chunk).endsWith('}')) setImmediate(() => socket.push(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${ANSWER.length}\r\n\r\n${ANSWER}`))
      done()
    }
  })
  setImmediate(callback as (error: null, socket: unknown) => void, null, socket)
}
