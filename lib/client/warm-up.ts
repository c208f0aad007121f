/**
 * Warms up the process before its first visitor: its first call compiles undici's HTTP parser (WebAssembly) and this package's own
 * functions, which takes longer than the call itself. One call over a connection in memory does that in advance. It is not logged,
 * counted or published.
 */
import { channel } from 'node:diagnostics_channel'
import { Duplex } from 'node:stream'
import type { buildConnector } from 'undici'
import { hasSentCalls } from '../delivery/delivery.ts'
import { loadUndici } from '../delivery/undici.ts'
import { TargetClient } from './client.ts'
import { clientSettings, type ClientSettings } from './options.ts'

/** Client, organization, mbox and content of the call. */
export const WARM_UP = 'warm-up'

let begun = false

/**
 * Warms up, once per process, unless it has sent a call already. Never rejects; a failed warm-up is not repeated.
 *
 * @param call makes one call with a client whose edge is in memory
 * @returns its result; undefined if there was none
 */
export async function warmUp<Result> (call: (client: TargetClient, settings: ClientSettings) => Promise<Result>): Promise<Result | undefined> {
  if (begun) return undefined
  begun = true
  let client: TargetClient | undefined
  try {
    // Before it has loaded, nobody knows whether it is traced: with NODE_DEBUG it traces itself.
    await loadUndici()
    if (hasSentCalls() || isUndiciTraced()) return undefined
    const settings = clientSettings({ client: WARM_UP, organizationId: WARM_UP, secure: false })
    client = new TargetClient({ ...settings, warmUpConnector })
    return await call(client, settings)
  } catch {
    // The first visitor waits for the compilation, as if there were no warm-up.
    return undefined
  } finally {
    await client?.close()
  }
}

/** The channels of undici 7 for HTTP requests. */
export const UNDICI_CHANNELS = [
  ...['beforeConnect', 'connected', 'connectError', 'sendHeaders'].map((event) => `undici:client:${event}`),
  ...['create', 'bodyChunkSent', 'bodySent', 'headers', 'bodyChunkReceived', 'trailers', 'error'].map((event) => `undici:request:${event}`)
]

/** Whether undici's requests are traced, as by OpenTelemetry's instrumentation: one that no visitor caused must not show up there. */
const isUndiciTraced = (): boolean => UNDICI_CHANNELS.some((name) => channel(name).hasSubscribers)

const ANSWER = JSON.stringify({
  status: 200,
  id: { tntId: `${WARM_UP}.35_0` },
  edgeHost: 'mboxedge35.tt.omtrdc.net',
  execute: { mboxes: [{ index: 0, name: WARM_UP, options: [{ type: 'html', content: WARM_UP }] }] }
})

/** Connects to a stream that answers every request. */
const warmUpConnector: buildConnector.connector = (_options, callback) => {
  const socket = new Duplex({
    read () {},
    write (chunk, _encoding, done) {
      if (String(chunk).endsWith('}')) setImmediate(() => socket.push(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${ANSWER.length}\r\n\r\n${ANSWER}`))
      done()
    }
  })
  setImmediate(callback as (error: null, socket: unknown) => void, null, socket)
}
