/** A network that fails on purpose: passes bytes to a server, or holds, slows, swallows or cuts them, as a test says. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** What becomes of the bytes of one direction. `hold`: kept until `deliver`. */
type Fate = 'pass' | 'hold' | 'swallow'
interface Mode {
  readonly requests: Fate
  readonly answers: Fate
}

const PASS: Mode = { requests: 'pass', answers: 'pass' }
/** A slow direction takes this many ms for each piece that it passes on. */
const TICK = 100
/** So much of a slow direction waits here; the rest waits with the sender, as it would in a real network. */
const MOST_WAITING = 64 * 1024

export class TcpProxy {
  readonly #server: Server
  readonly #target: { readonly host: string; readonly port: number }
  readonly #connections = new Set<Connection>()
  /** Of connections to come. */
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

  /** The same URL, by way of this proxy. */
  urlOf(url: string): string {
    const proxied = new URL(url)
    proxied.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
    return proxied.href
  }

  /** Bytes pass, on the connections that are made from now on; what was swallowed stays lost, so older ones are cut. */
  pass(): void {
    this.#mode = PASS
    this.cut()
  }

  /** A black hole: connections stay, bytes vanish, in both directions. */
  swallow(): void {
    this.#set({ requests: 'swallow', answers: 'swallow' })
  }

  /** Requests arrive, their answers vanish. */
  swallowAnswers(): void {
    this.#set({ requests: 'pass', answers: 'swallow' })
  }

  /** Resolves when the next bytes of an answer have vanished. */
  untilAnswerSwallowed(): Promise<void> {
    return new Promise((resolve) => {
      this.#onSwallowed = resolve
    })
  }

  /** A black hole that `deliver` ends as a real network does: what was sent into it arrives late, even if its sender has hung up meanwhile. */
  hold(): void {
    this.#set({ requests: 'hold', answers: 'hold' })
  }

  /** What was held arrives, and bytes pass. */
  deliver(): void {
    this.#set(PASS)
  }

  /** @param rate bytes a second, in each direction of each connection; what waits is not lost */
  slow(rate: number): void {
    this.#rate = rate
    for (const connection of this.#connections) connection.rate = rate
  }

  /** As fast as it goes, again. */
  fast(): void {
    this.slow(Number.POSITIVE_INFINITY)
  }

  /**
   * Waits for a request, and breaks the connection it came on.
   * @param wanted looks at the bytes of a request as they come
   * @param fate `answer-lost`: it arrives, and its answer vanishes; `request-lost`: it does not arrive; `request-held`: not before `deliver`;
   * `none`: nothing is broken
   * @returns the request's bytes; where its answer is to vanish, after it did
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
      // What goes wrong with a socket closes it, and its end is what the other side hears of.
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
    // One that is ending already cannot be reset: it would never close, and the process never end.
    for (const socket of this.#sockets) {
      if (socket.writableEnded) socket.destroy()
      else socket.resetAndDestroy()
    }
  }
}

/** Bytes from one socket to the other, and the end of the one after the last of them. */
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
    // Who is held does not learn that the other one has hung up, either.
    if (this.#ended && this.#waiting.length === 0 && this.#fate !== 'hold') this.#to.destroySoon()
  }

  #pass(bytes: number): void {
    if (this.#to.destroyed) return
    if (this.#waiting.length > 0) this.#to.write(this.#waiting.subarray(0, bytes))
    this.#waiting = this.#waiting.subarray(bytes)
    if (this.#waiting.length < MOST_WAITING) this.#from.resume()
  }
}
