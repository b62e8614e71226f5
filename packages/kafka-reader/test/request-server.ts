/** The server inside each fake broker: listens on a free port and splits the received bytes into Kafka's requests by their length. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

/** @param request without its length */
export type OnRequest = (request: Buffer, socket: Socket) => void

export class RequestServer {
  /** How many connections were made. */
  connections = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, onRequest: OnRequest) {
    this.#server = server
    server.on('connection', (socket) => this.#serve(socket, onRequest))
  }

  static async start(onRequest: OnRequest): Promise<RequestServer> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new RequestServer(server, onRequest)
  }

  get address(): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port }
  }

  /** How many connections are open. */
  get open(): number {
    return this.#sockets.size
  }

  /** Closes every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  stop(): void {
    this.#server.close()
    this.cut()
  }

  #serve(socket: Socket, onRequest: OnRequest): void {
    this.connections++
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    let bytes: Buffer = Buffer.alloc(0)
    socket.on('data', (more: Buffer) => {
      bytes = Buffer.concat([bytes, more])
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
        const end = 4 + bytes.readInt32BE(0)
        onRequest(bytes.subarray(4, end), socket)
        bytes = bytes.subarray(end)
      }
    })
  }
}
