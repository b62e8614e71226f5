/** A network that fails on purpose: it passes bytes on to a server, or holds, slows, drops or cuts them, as a test decides. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** What happens to the bytes of one direction. `hold`: they are kept until `deliver`. */
type Fate = 'pass' | 'hold' | 'swallow'
interface Mode {
  readonly requests: Fate
  readonly answers: Fate
}

const PASS: Mode = { requests: 'pass', answers: 'pass' }
/** A slow direction passes on a piece every so many ms. */
const TICK = 100
/** A slow direction buffers so many bytes here; the rest stays with the sender, as in a real network. */
const MOST_WAITING = 64 * 1024

export class TcpProxy {
  readonly #server: Server
  readonly #target: { readonly host: string; readonly port: number }
  readonly #connections = new Set<Connection>()
  /** For connections from now on. */
  #mode = PASS
  /** Bytes a second in each direction of each connection. */
  #rate = Number.POSITIVE_INFINITY
  #onSwallowed = () => {}
  #watch: ((bytes: Buffer, connection: Connection) => void) | null = null

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

  /** The same URL, through this proxy. */
  urlOf(url: string): string {
    const proxied = new URL(url)
    proxied.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
    return proxied.href
  }

  /** Passes bytes on new connections. Dropped bytes stay lost, so older connections are cut. */
  pass(): void {
    this.#mode = PASS
    this.cut()
  }

  /** A black hole: connections stay open, and bytes of both directions are dropped. */
  swallow(): void {
    this.#set({ requests: 'swallow', answers: 'swallow' })
  }

  /** Requests arrive, and their answers are dropped. */
  swallowAnswers(): void {
    this.#set({ requests: 'pass', answers: 'swallow' })
  }

  /** Resolves when the next bytes of an answer were dropped. */
  untilAnswerSwallowed(): Promise<void> {
    return new Promise((resolve) => {
      this.#onSwallowed = resolve
    })
  }

  /** A black hole that `deliver` ends as a real network does: its bytes arrive late, even if their sender has closed the connection meanwhile. */
  hold(): void {
    this.#set({ requests: 'hold', answers: 'hold' })
  }

  /** Delivers the bytes that were held, and passes bytes on. */
  deliver(): void {
    this.#set(PASS)
  }

  /** @param rate bytes a second, in each direction of each connection; buffered bytes are not lost */
  slow(rate: number): void {
    this.#rate = rate
    for (const connection of this.#connections) connection.rate = rate
  }

  /** Passes bytes on at full speed again. */
  fast(): void {
    this.slow(Number.POSITIVE_INFINITY)
  }

  /**
   * Waits for a request, and breaks its connection.
   * @param wanted whether bytes that arrive are the request that is waited for
   * @param fate `answer-lost`: it arrives, and its answer is dropped; `request-lost`: it does not arrive; `request-held`: not before `deliver`;
   * `none`: nothing is broken
   * @returns the request's bytes; with `answer-lost`, after the answer was dropped
   */
  async nextRequest(
    wanted: (bytes: Buffer) => boolean,
    fate: 'answer-lost' | 'request-lost' | 'request-held' | 'none' = 'none',
  ): Promise<Buffer> {
    const found = Promise.withResolvers<Buffer>()
    this.#watch = (bytes, connection) => {
      if (!wanted(bytes)) return
      this.#watch = null
      if (fate === 'request-lost') connection.mode = { requests: 'swallow', answers: 'swallow' }
      if (fate === 'request-held') connection.mode = { requests: 'hold', answers: 'pass' }
      if (fate === 'answer-lost') {
        connection.mode = { requests: 'pass', answers: 'swallow' }
        this.#onSwallowed = () => found.resolve(bytes)
      } else found.resolve(bytes)
    }
    return await found.promise
  }

  /** Resets every connection. */
  cut(): void {
    for (const connection of this.#connections) connection.cut()
  }

  async stop(): Promise<void> {
    this.cut()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  #set(mode: Mode): void {
    this.#mode = mode
    for (const connection of this.#connections) connection.mode = mode
  }

  #join(client: Socket): void {
    const connection = new Connection(client, connect(this.#target), {
      requested: (bytes) => this.#watch?.(bytes, connection),
      answerSwallowed: () => this.#onSwallowed(),
      closed: () => this.#connections.delete(connection),
    })
    connection.mode = this.#mode
    connection.rate = this.#rate
    this.#connections.add(connection)
  }
}

interface ConnectionEvents {
  requested(bytes: Buffer): void
  answerSwallowed(): void
  closed(): void
}

class Connection {
  readonly #sockets: readonly [client: Socket, server: Socket]
  readonly #requests: Direction
  readonly #answers: Direction

  constructor(client: Socket, server: Socket, { requested, answerSwallowed, closed }: ConnectionEvents) {
    this.#sockets = [client, server]
    this.#requests = new Direction(client, server, { arrived: requested, swallowed: () => {} })
    this.#answers = new Direction(server, client, { arrived: () => {}, swallowed: answerSwallowed })
    let open = 2
    for (const socket of this.#sockets) {
      // An error closes the socket, and the other side is told of its end.
      socket.on('error', () => {})
      socket.on('close', () => {
        if (--open === 0) closed()
      })
    }
  }

  set mode({ requests, answers }: Mode) {
    this.#requests.fate = requests
    this.#answers.fate = answers
  }

  set rate(rate: number) {
    this.#requests.rate = rate
    this.#answers.rate = rate
  }

  cut(): void {
    // A socket that is ending already cannot be reset: it would never close, and the process never end.
    for (const socket of this.#sockets) {
      if (socket.writableEnded) socket.destroy()
      else socket.resetAndDestroy()
    }
  }
}

/** Passes bytes from one socket to the other, and then its end. */
class Direction {
  readonly #from: Socket
  readonly #to: Socket
  readonly #events: { arrived(bytes: Buffer): void; swallowed(): void }
  #waiting: Buffer = Buffer.alloc(0)
  #ended = false
  #fate: Fate = 'pass'
  #rate = Number.POSITIVE_INFINITY
  #ticking: NodeJS.Timeout | null = null

  constructor(from: Socket, to: Socket, events: { arrived(bytes: Buffer): void; swallowed(): void }) {
    this.#from = from
    this.#to = to
    this.#events = events
    from.on('data', (bytes: Buffer) => {
      this.#events.arrived(bytes)
      if (this.#fate === 'swallow') return events.swallowed()
      this.#waiting = this.#waiting.length === 0 ? bytes : Buffer.concat([this.#waiting, bytes])
      this.#move()
    })
    from.on('close', () => {
      this.#ended = true
      this.#move()
    })
    to.on('close', () => {
      this.#waiting = Buffer.alloc(0)
      from.resume()
    })
  }

  set fate(fate: Fate) {
    this.#fate = fate
    this.#move()
  }

  set rate(rate: number) {
    this.#rate = rate
    this.#move()
  }

  #move(): void {
    if (this.#to.destroyed) return
    if (this.#fate === 'pass' && this.#rate === Number.POSITIVE_INFINITY) this.#pass(this.#waiting.length)
    else if (this.#fate === 'pass' && this.#waiting.length > 0) {
      this.#ticking ??= setTimeout(() => {
        this.#ticking = null
        if (this.#fate === 'pass') this.#pass(Math.ceil((Math.min(this.#rate, Number.MAX_SAFE_INTEGER) * TICK) / 1000))
        this.#move()
      }, TICK)
      if (this.#waiting.length >= MOST_WAITING) this.#from.pause()
    }
    // While bytes are held, the end of the connection is held, too.
    if (this.#ended && this.#waiting.length === 0 && this.#fate !== 'hold') this.#to.destroySoon()
  }

  #pass(bytes: number): void {
    if (this.#to.destroyed) return
    if (this.#waiting.length > 0) this.#to.write(this.#waiting.subarray(0, bytes))
    this.#waiting = this.#waiting.subarray(bytes)
    if (this.#waiting.length < MOST_WAITING) this.#from.resume()
  }
}
