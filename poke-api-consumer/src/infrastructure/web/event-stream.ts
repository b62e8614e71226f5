/** Server-sent events: one snapshot, serialised once, for every page that is open (WHATWG HTML, "Server-sent events"). */
import type { ServerResponse } from 'node:http'

export interface EventStreamOptions {
  /** Rises whenever there is something new to show. */
  readonly version: () => number
  /** The whole picture as one line of JSON. */
  readonly snapshot: () => string
  /** The server's clock, ms since 1970: the events `beat` carry it, so that a page with another clock tells ages right. */
  readonly now: () => number
  /** Streams open at once; more are refused. */
  readonly maxClients: number
  /** ms between two pictures, at least. */
  readonly interval?: number
  /** ms without a picture after which a sign of life is sent, so that a page can tell silence from a dead connection. */
  readonly heartbeat?: number
  /** Bytes that a page may leave unread before it is dropped: what slow readers hold in memory is bounded. It comes back by itself. */
  readonly maxUnread?: number
}

export class EventStream {
  readonly #options: Required<EventStreamOptions>
  readonly #clients = new Set<ServerResponse>()
  #timer: NodeJS.Timeout | null = null
  #version = -1
  #frame = Buffer.alloc(0)
  #idleTicks = 0
  #closed = false

  constructor(options: EventStreamOptions) {
    this.#options = { interval: 250, heartbeat: 3000, maxUnread: 64 * 1024, ...options }
  }

  /** How many pages are open. */
  get clients(): number {
    return this.#clients.size
  }

  /** Whether one more would be refused. */
  get full(): boolean {
    return this.#closed || this.#clients.size >= this.#options.maxClients
  }

  /**
   * Sends the picture of now and then every new one, until the page goes away.
   * @param response nothing of it was sent yet; this stream owns it from here on
   * @param headers sent with those of the stream
   */
  open(response: ServerResponse, headers: NodeJS.Dict<number | string | string[]>): void {
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // Proxies of the nginx kind would collect the stream before they pass it on.
      'x-accel-buffering': 'no',
    })
    this.#clients.add(response)
    response.on('close', () => this.#forget(response))
    // The page went away in the middle of a write; `close` follows.
    response.on('error', () => {})
    // While others watch, the last picture is at most one interval old, and the next one is theirs too.
    if (this.#timer === null) this.#refresh()
    this.#timer ??= setInterval(() => this.#tick(), this.#options.interval)
    // A page that lost its server asks for it once a second.
    this.#send(response, Buffer.concat([Buffer.from('retry: 1000\n'), this.#beat(), this.#frame]))
  }

  /** Ends every stream, and refuses new ones. */
  close(): void {
    this.#closed = true
    for (const response of [...this.#clients]) {
      this.#forget(response)
      response.end()
    }
  }

  #tick(): void {
    if (this.#refresh()) {
      this.#idleTicks = 0
      this.#broadcast(this.#frame)
    } else if (++this.#idleTicks * this.#options.interval >= this.#options.heartbeat) {
      this.#idleTicks = 0
      this.#broadcast(this.#beat())
    }
  }

  /** Makes the frame anew where there is something new; says whether there was. */
  #refresh(): boolean {
    const version = this.#options.version()
    if (version === this.#version) return false
    this.#version = version
    this.#frame = Buffer.from(`data: ${this.#options.snapshot()}\n\n`)
    return true
  }

  #beat(): Buffer {
    return Buffer.from(`event: beat\ndata: ${this.#options.now()}\n\n`)
  }

  #broadcast(frame: Buffer): void {
    for (const response of this.#clients) this.#send(response, frame)
  }

  #send(response: ServerResponse, frame: Buffer): void {
    response.write(frame)
    if (response.writableLength <= this.#options.maxUnread) return
    this.#forget(response)
    response.destroy()
  }

  #forget(response: ServerResponse): void {
    this.#clients.delete(response)
    if (this.#clients.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}
