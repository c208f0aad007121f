/**
 * Warms up undici before the first visitor: once per process, with the first connection, it compiles its HTTP parser
 * (WebAssembly), which takes about as long as a call. One request over an in-memory connection triggers that.
 */
import { Duplex } from 'node:stream'
import type { buildConnector } from 'undici'
import { loadedUndici, loadUndici } from './undici.ts'

let warm = false

/** Warms up, once per process, in a later turn of the event loop. Never throws, and leaves nothing behind. */
export function warmUp (): void {
  if (warm) return
  warm = true
  setImmediate(async () => {
    await loadUndici()
    const client = new (loadedUndici()!.Client)('http://127.0.0.1', { connect })
    try {
      const { body } = await client.request({ path: '/', method: 'POST', body: '{}' })
      await body.dump()
    } catch {
      // Then the first visitor waits for it, as without the warm-up.
    } finally {
      client.destroy()
    }
  }).unref()
}

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}'

/** Connects to an in-memory stream that answers every request. */
const connect: buildConnector.connector = (_options, callback) => {
  const socket = new Duplex({
    read () {},
    write (chunk, _encoding, done) {
      if (String(chunk).endsWith('{}')) setImmediate(() => socket.push(ANSWER))
      done()
    }
  })
  setImmediate(callback as (error: null, socket: unknown) => void, null, socket)
}
