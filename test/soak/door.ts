/** A door before a server: open, it passes everything on; shut, connections are refused and those there were are cut. */
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/** A TCP relay on a port of its own, which stays the same. */
export class Door {
  readonly #target: number
  readonly #sockets = new Set<Socket>()
  #server: net.Server | undefined
  #port = 0

  /** @param target port of the server on 127.0.0.1 */
  constructor (target: number) {
    this.#target = target
  }

  /** Host name and port. */
  get host (): string {
    return `127.0.0.1:${this.#port}`
  }

  async open (): Promise<this> {
    this.#server = net.createServer((incoming) => {
      const outgoing = net.connect(this.#target, '127.0.0.1')
      for (const [socket, other] of [[incoming, outgoing], [outgoing, incoming]] as const) {
        this.#sockets.add(socket)
        socket.on('error', () => other.destroy()).on('close', () => { this.#sockets.delete(socket); other.destroy() })
        socket.pipe(other)
      }
    })
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  async shut (): Promise<void> {
    if (this.#server === undefined) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server = undefined
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
