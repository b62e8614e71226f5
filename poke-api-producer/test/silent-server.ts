/** A frozen broker: it accepts connections, reads, and never answers. It can also be closed. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

export interface SilentServer {
  /** host:port */
  readonly address: string
  /** Every connection there was. */
  readonly sockets: readonly Socket[]
  /** Resolves when there were that many connections. */
  connected(count: number): Promise<void>
  /** Breaks every connection, and those to come. */
  hangUp(): void
}

export async function silentServer(t: TestContext): Promise<SilentServer> {
  const sockets: Socket[] = []
  let isUp = true
  const server = createServer((socket) => {
    sockets.push(socket)
    if (!isUp) socket.destroy()
    socket.on('error', () => {})
    socket.resume()
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    async connected(count) {
      while (sockets.length < count) await once(server, 'connection')
    },
    hangUp() {
      isUp = false
      for (const socket of sockets) socket.destroy()
    },
  }
}
