/** Server-sent events: each snapshot is serialised once and sent to every open page (WHATWG HTML, "Server-sent events"). */
import type { ServerResponse } from 'node:http'
import { clientOf, countAsLasting, type SlotHolder, SlotPool } from '@poke-api-pipeline/service-kit'

export interface EventStreamOptions {
  /** Rises when the snapshot changes. */
  readonly version: () => number
  /** @returns the whole snapshot as one line of JSON */
  readonly snapshot: () => string
  /** The server's clock, ms since 1970. The events `beat` have it, so that a page with a wrong clock shows the right ages. */
  readonly now: () => number
  /** The greatest number of open streams, shared between clients. A page beyond it gets one snapshot and is asked to come back. */
  readonly maxClients: number
  /** The shortest time between two snapshots, in ms. */
  readonly interval?: number
  /** The time without a snapshot, in ms, after which a `beat` is sent, so that a page notices a dead connection. */
  readonly heartbeat?: number
  /** The time, in ms, after which a page that reads nothing is disconnected. It reconnects by itself. */
  readonly patience?: number
}

/** The time, in seconds, after which a page without a stream asks for the next snapshot. */
const COME_BACK = 5

/** A page that has a stream. */
interface Page extends SlotHolder {
  readonly response: ServerResponse
  /** Whether the page was too slow for the newest snapshot. It gets that one when it has read the previous one, so at most one waits for each page. */
  behind: boolean
  /** The number of ticks for which it has been too slow. */
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

  /** The number of open streams. */
  get clients(): number {
    return this.#pages.used
  }

  /** Whether `close` was called. */
  get closed(): boolean {
    return this.#closed
  }

  /**
   * Sends the present snapshot and then every new one, until the page disconnects. Where every stream is taken and the page's client has its
   * share of them, it sends one snapshot and ends, so that the page asks again after some seconds. Where the client has fewer, another client
   * loses a stream.
   * @param response nothing of it was sent yet; the stream owns it from now on
   * @param headers further headers of the response
   */
  open(response: ServerResponse, headers: NodeJS.Dict<number | string | string[]>): void {
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // Without it, proxies like nginx buffer the stream.
      'x-accel-buffering': 'no',
    })
    // The page disconnected during a write; the event `close` follows.
    response.on('error', () => {})
    // While other streams are open, the last snapshot is at most one interval old.
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
    // A page that loses its server reconnects after a second.
    response.write(Buffer.concat([Buffer.from('retry: 1000\n'), this.#beat(), this.#frame]))
  }

  /** Ends every stream. The API refuses new ones from now on. */
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

  /** Serialises the snapshot again where it has changed. @returns whether it has */
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
