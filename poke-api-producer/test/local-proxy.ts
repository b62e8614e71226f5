/** A proxy on this machine: passes HTTP requests on and opens tunnels, asks for a login where it is told to, refuses, or is silent. */
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TestContext } from 'node:test'

export class LocalProxy {
  /** What was asked of it: `GET http://…` or `CONNECT host:port`, in order. */
  readonly asked: string[] = []
  /** `user:password` that it asks for; null: none. */
  login: string | null = null
  /** It answers everything with this status; null: it does its work. */
  refusal: number | null = null
  /** It takes requests and never answers. */
  silent = false
  readonly #sockets = new Set<Duplex>()
  readonly #server = createServer((request, response) => this.#forward(request, response))

  /** Runs until the test is over. */
  static async start(t: TestContext): Promise<LocalProxy> {
    const proxy = new LocalProxy()
    proxy.#server.on('connect', (request: IncomingMessage, socket: Socket) => proxy.#tunnel(request, socket))
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    t.after(() => proxy.#stop())
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** @param login `user:password@`, percent-encoded */
  url(login = ''): URL {
    return new URL(`http://${login}127.0.0.1:${this.port}`)
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    this.asked.push(`${request.method} ${request.url}`)
    if (this.silent) return
    const status = this.#whyNot(request)
    if (status !== null) {
      response.writeHead(status).end('the proxy says no')
      return
    }
    const { 'proxy-authorization': _, ...headers } = request.headers
    const passedOn = httpRequest(request.url ?? '', { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.rawHeaders)
      answer.pipe(response)
    })
    passedOn.on('error', () => response.writeHead(502).end())
    passedOn.end()
  }

  #tunnel(request: IncomingMessage, socket: Duplex): void {
    this.asked.push(`${request.method} ${request.url}`)
    this.#keep(socket)
    if (this.silent) return
    const status = this.#whyNot(request)
    if (status !== null) {
      socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    const [host, port] = (request.url ?? '').split(':')
    const target = connect(Number(port), host)
    this.#keep(target)
    target.on('connect', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      target.pipe(socket).pipe(target)
    })
    target.on('error', () => socket.end('HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n'))
  }

  #whyNot({ headers }: IncomingMessage): number | null {
    if (this.refusal !== null) return this.refusal
    const login = this.login && `Basic ${Buffer.from(this.login).toString('base64')}`
    return login === null || headers['proxy-authorization'] === login ? null : 407
  }

  #keep(socket: Duplex): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }

  #stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
    for (const socket of this.#sockets) socket.destroy()
  }
}
