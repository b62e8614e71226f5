/** A network that fails on purpose: passes bytes to a server, or swallows them, or cuts, as a test says. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

type Mode = 'pass' | 'swallow' | 'swallow-answers'

export class TcpProxy {
  readonly #server: Server
  readonly #target: { readonly host: string; readonly port: number }
  readonly #sockets = new Set<Socket>()
  #mode: Mode = 'pass'
  #onSwallowed = () => {}

  private constructor(server: Server, target: { host: string; port: number }) {
    this.#server = server
    this.#target = target
    server.on('connection', (client) => this.#join(client))
  }

  static async start(target: { host: string; port: number }): Promise<TcpProxy> {
    const proxy = new TcpProxy(createServer(), target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  /** The same URL, by way of this proxy. */
  urlOf(url: string): string {
    const proxied = new URL(url)
    proxied.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
    return proxied.href
  }

  /** Bytes pass, on the connections that are made from now on; what was swallowed stays lost, so older ones are cut. */
  pass(): void {
    this.#mode = 'pass'
    this.cut()
  }

  /** A black hole: connections stay, bytes vanish, in both directions. */
  swallow(): void {
    this.#mode = 'swallow'
  }

  /** Requests arrive, their answers vanish. */
  swallowAnswers(): void {
    this.#mode = 'swallow-answers'
  }

  /** Resolves when the next bytes of an answer have vanished. */
  untilAnswerSwallowed(): Promise<void> {
    return new Promise((resolve) => {
      this.#onSwallowed = resolve
    })
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  async stop(): Promise<void> {
    this.cut()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(client: Socket): void {
    const server = connect(this.#target)
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('data', (bytes) => {
        const swallowed = this.#mode === 'swallow' || (this.#mode === 'swallow-answers' && socket === server)
        if (!swallowed) other.write(bytes)
        else if (socket === server) this.#onSwallowed()
      })
      socket.on('end', () => other.end())
      // A cut on one side is a cut on the other.
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }
}
