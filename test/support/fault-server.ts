/** A raw TCP or TLS server that answers HTTP requests with any bytes at all, or with none. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net, { type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'
import { Worker } from 'node:worker_threads'
import { sleep } from './wait.ts'

/** A request as it came over the wire. */
export interface RawRequest {
  /** 1 for the first one the server saw. */
  number: number
  /** 1 for the first one on its socket. */
  onSocket: number
  head: string
  body: string
}

export type Behaviour = (socket: Socket, request: RawRequest) => void

const ANSWER = JSON.stringify({ status: 200, execute: { mboxes: [{ index: 0, name: 'hero', options: [{ type: 'html', content: '<h1>Hi</h1>' }] }] } })

/** Bytes of an HTTP answer. */
export function http (status: string, body: string, headers: Record<string, string | number> = {}): string {
  const lines = Object.entries({ 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers })
  return `HTTP/1.1 ${status}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`
}

/** An answer with one offer. */
export const GOOD = http('200 OK', ANSWER)

/** Answers as it should. */
export const good: Behaviour = (socket) => socket.write(GOOD)

/** Always answers with these bytes. */
export const bytes = (text: string): Behaviour => (socket) => socket.write(text)

const certificate = new URL('../vectors/tls/certificate.pem', import.meta.url)
export const TLS = { key: readFileSync(new URL('../vectors/tls/key.pem', import.meta.url)), cert: readFileSync(certificate), file: certificate }

export class FaultServer {
  /** What it does with the next requests. */
  behave: Behaviour
  /** Requests that arrived whole. */
  readonly requests: RawRequest[] = []
  /** Sockets that are open now. */
  readonly sockets = new Set<Socket>()
  /** Sockets there have been, and the most at one time. */
  accepted = 0
  mostSockets = 0
  readonly #server: net.Server
  readonly #scheme: string
  #port = 0

  constructor (behave: Behaviour = good, { secure = false } = {}) {
    this.behave = behave
    this.#scheme = secure ? 'https' : 'http'
    const onSocket = (socket: Socket) => this.#serve(socket)
    this.#server = secure ? tls.createServer({ key: TLS.key, cert: TLS.cert }, onSocket) : net.createServer(onSocket)
    this.#server.on('tlsClientError', () => {})
  }

  get origin (): string {
    return `${this.#scheme}://127.0.0.1:${this.#port}`
  }

  get port (): number {
    return this.#port
  }

  /** Listens, on the port it had before if it was closed. */
  async listen (): Promise<this> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  async close (): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  #serve (socket: Socket): void {
    this.sockets.add(socket)
    this.accepted += 1
    this.mostSockets = Math.max(this.mostSockets, this.sockets.size)
    socket.on('close', () => this.sockets.delete(socket)).on('error', () => {})
    let text = ''
    let onSocket = 0
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      for (;;) {
        const end = text.indexOf('\r\n\r\n')
        if (end < 0) return
        const head = text.slice(0, end)
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
        if (text.length < end + 4 + length) return
        const request = { number: this.requests.length + 1, onSocket: ++onSocket, head, body: text.slice(end + 4, end + 4 + length) }
        text = text.slice(end + 4 + length)
        this.requests.push(request)
        this.behave(socket, request)
      }
    })
  }
}

/** A server in a thread that can be stopped in its tracks, as `kill -STOP` does to a process. */
export async function freezableServer (backlog: number): Promise<{ port: number, freeze (): Promise<void>, thaw (): void, answers (): number, end (): Promise<unknown> }> {
  // Whether it may go on, and how often it has answered.
  const gate = new Int32Array(new SharedArrayBuffer(8))
  const worker = new Worker(`
    const { parentPort, workerData: { gate, backlog, answer } } = require('node:worker_threads')
    const server = require('node:net').createServer((socket) => {
      socket.on('data', () => {
        socket.write(answer)
        Atomics.add(gate, 1, 1)
      }).on('error', () => {})
    })
    server.listen({ port: 0, host: '127.0.0.1', backlog }, () => parentPort.postMessage(server.address().port))
    parentPort.on('message', () => {
      parentPort.postMessage('frozen')
      Atomics.wait(gate, 0, 0)
      Atomics.store(gate, 0, 0)
    })
  `, { eval: true, workerData: { gate, backlog, answer: GOOD } })
  const [port] = await once(worker, 'message') as [number]
  return {
    port,
    async freeze () {
      worker.postMessage('freeze')
      await once(worker, 'message')
    },
    thaw () {
      Atomics.store(gate, 0, 1)
      Atomics.notify(gate, 0)
    },
    answers: () => Atomics.load(gate, 1),
    end: () => worker.terminate()
  }
}

/**
 * Connects to a frozen server until nothing more gets through: the kernel answers for it until its backlog is full, and from
 * then on nobody does.
 */
export async function fillBacklog (port: number): Promise<Socket[]> {
  const fillers: Socket[] = []
  for (;;) {
    const filler = net.connect(port, '127.0.0.1').on('error', () => {})
    fillers.push(filler)
    // Not by the clock: after a pause of this process it would be over before the socket could say that it is connected.
    for (let looks = 0; looks < 20 && filler.connecting; looks++) await sleep(5)
    if (filler.connecting) return fillers
  }
}
