/**
 * What undici does once per process, done before the first visitor: it compiles its HTTP parser (WebAssembly) with the first
 * connection, which takes about as long as a call. One request over a connection in memory brings that about.
 */
import { Duplex } from 'node:stream'
import { Client, type buildConnector } from 'undici'

let warm = false

/** Warms up, once per process, in a later turn of the event loop. Never throws; nothing of it stays. */
export function warmUp (): void {
  if (warm) return
  warm = true
  setImmediate(async () => {
    const client = new Client('http://127.0.0.1', { connect })
    try {
      const { body } = await client.request({ path: '/', method: 'POST', body: '{}' })
      await body.dump()
    } catch {
      // Then the first visitor waits for it, as without this.
    } finally {
      client.destroy()
    }
  }).unref()
}

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}'

/** Connects to nobody: whatever is sent is answered from here. */
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
