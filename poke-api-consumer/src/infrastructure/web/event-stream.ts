/** Server-sent events: one snapshot, serialised once, for every page that is open (WHATWG HTML, "Server-sent events"). */
import type { ServerResponse } from 'node:http'
import { clientOf, countAsLasting, type SlotHolder, SlotPool } from '@poke-api-pipeline/service-kit'

export interface EventStreamOptions {
  /** Rises whenever there is something new to show. */
  readonly version: () => number
  /** The whole picture as one line of JSON. */
  readonly snapshot: () => string
  /** The server's clock, ms since 1970: the events `beat` carry it, so that a page with another clock tells ages right. */
  readonly now: () => number
  /** Streams open at once. Clients share them; more get one picture and are asked to come back. */
  readonly maxClients: number
  /** ms between two pictures, at least. */
  readonly interval?: number
  /** ms without a picture after which a sign of life is sent, so that a page can tell silence from a dead connection. */
  readonly heartbeat?: number
  /** ms for which a page may leave a picture unread before it is dropped. It comes back by itself. */
  readonly patience?: number
}

/** After so many seconds a page that found no stream free asks for the next picture. */
const COME_BACK = 5

/** A page that has a stream. */
interface Page extends SlotHolder {
  readonly response: ServerResponse
  /** Whether it was too slow for the newest picture: it gets that one once it has read what is on its way. So one picture for each page is all that waits. */
  behind: boolean
  /** Ticks since it began to be too slow. */
  slowTicks: number
}

export class EventStream {
  readonly #options: Required<EventStreamOptions>
  readonly #pages: SlotPool<Page>
  #timer: NodeJS.Timeout | null = null
  #version = -1
  #frame = Buffer.alloc(0)
  #idleTicks = 0
  #closed = false

  constructor(options: EventStreamOptions) {
    this.#options = { interval: 250, heartbeat: 3000, patience: 10_000, ...options }
    this.#pages = new SlotPool(options.maxClients)
  }

  /** How many streams are open. */
  get clients(): number {
    return this.#pages.used
  }

  /** Whether it gives no pictures any more. */
  get closed(): boolean {
    return this.#closed
  }

  /**
   * Sends the picture of now and then every new one, until the page goes away. Where every stream is taken, and the page's client has its share
   * of them, it sends one picture and ends, so that the page asks again after some seconds; where the client has less, another one gives up a stream.
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
    // The page went away in the middle of a write; `close` follows.
    response.on('error', () => {})
    // While others watch, the last picture is at most one interval old, and the next one is theirs too.
    if (this.#timer === null) this.#refresh()
    const page: Page = { client: clientOf(response.socket?.remoteAddress ?? ''), response, behind: false, slowTicks: 0 }
    if (!this.#pages.hasShareFor(page.client)) {
      const comeBack = Buffer.from(`retry: ${COME_BACK * 1000}\nevent: full\ndata: ${COME_BACK}\n\n`)
      response.end(Buffer.concat([comeBack, this.#beat(), this.#frame]))
      return
    }
    countAsLasting(response)
    this.#pages.acquire(page)?.response.destroy()
    response.on('close', () => this.#forget(page))
    response.on('drain', () => this.#caughtUp(page))
    this.#timer ??= setInterval(() => this.#tick(), this.#options.interval)
    // A page that lost its server asks for it once a second.
    response.write(Buffer.concat([Buffer.from('retry: 1000\n'), this.#beat(), this.#frame]))
  }

  /** Ends every stream, and refuses new ones. */
  close(): void {
    this.#closed = true
    for (const page of [...this.#pages]) {
      this.#forget(page)
      page.response.end()
    }
  }

  #tick(): void {
    this.#dropSlow()
    if (this.#refresh()) {
      this.#idleTicks = 0
      this.#broadcast()
    } else if (++this.#idleTicks * this.#options.interval >= this.#options.heartbeat) {
      this.#idleTicks = 0
      const beat = this.#beat()
      for (const { response } of this.#pages) if (!response.writableNeedDrain) response.write(beat)
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

  #broadcast(): void {
    for (const page of this.#pages) {
      if (page.response.writableNeedDrain) page.behind = true
      else page.response.write(this.#frame)
    }
  }

  #caughtUp(page: Page): void {
    page.slowTicks = 0
    if (!page.behind) return
    page.behind = false
    page.response.write(this.#frame)
  }

  #dropSlow(): void {
    const { patience, interval } = this.#options
    for (const page of [...this.#pages]) {
      if (!page.response.writableNeedDrain || ++page.slowTicks * interval < patience) continue
      this.#forget(page)
      page.response.destroy()
    }
  }

  #forget(page: Page): void {
    page.behind = false
    this.#pages.release(page)
    if (this.#pages.used > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}
