/**
 * The layer next to the wire: lets at most so many requests a second through, and at most so many at once, in the order in which they came.
 * Redirects and attempts count too. When an answer has arrived, the next request goes out before anybody looks into it, unless it refuses.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { type Controller, type ExchangeOptions, type Handler, layer } from './exchange.ts'

export interface RequestLimitOptions {
  /** Requests a second; 0: unlimited. */
  readonly maxRate: number
  /** Requests whose answers have not arrived. */
  readonly maxAtOnce: number
  readonly now: () => number
  /** Resolves after so many ms, or when the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
}

/** Timers are coarse: of a high rate, what is due within this time goes at once. In seconds. */
const GRAIN = 0.01

export class RequestLimit {
  readonly #options: RequestLimitOptions
  readonly #capacity: number
  readonly #closing = new AbortController()
  /** Requests that may start now. */
  #tokens: number
  #counted: number
  /** The API asked to be left alone until then. */
  #notBefore = Number.NEGATIVE_INFINITY
  #atOnce = 0
  #waiting: (() => void)[] = []
  #serving = false

  constructor(options: RequestLimitOptions) {
    this.#options = options
    // One token: two requests are never closer than the rate allows, so no second sees more than it.
    this.#capacity = Math.max(1, options.maxRate * GRAIN)
    this.#tokens = this.#capacity
    this.#counted = options.now()
  }

  readonly interceptor: Dispatcher.DispatcherComposeInterceptor = layer((below) => (request, handler) => {
    const start = () => {
      // Of a redirect the first request counts.
      request.opaque.began ||= performance.now()
      this.#atOnce++
      return below(request, new Counted(handler, this.#arrived))
    }
    if (this.#waiting.length === 0 && !this.#full && this.#take() === 0) return start()
    this.#enqueue(request, handler, start)
    return true
  })

  /** Nothing starts for so many ms. */
  leaveAlone(ms: number): void {
    this.#notBefore = Math.max(this.#notBefore, this.#options.now() + ms)
  }

  /** Ends the waiting: what still waits is let through, to fail at the closed pool. */
  close(): void {
    this.#closing.abort()
    void this.#serve()
  }

  get #full(): boolean {
    return this.#atOnce >= this.#options.maxAtOnce && !this.#closing.signal.aborted
  }

  readonly #arrived = () => {
    this.#atOnce--
    void this.#serve()
  }

  #enqueue({ signal }: ExchangeOptions, handler: Handler, start: () => boolean): void {
    const aborted = () => {
      this.#waiting = this.#waiting.filter((other) => other !== startWaiting)
      handler.onResponseError?.(abortedController(signal.reason), signal.reason)
    }
    const startWaiting = () => {
      signal.removeEventListener('abort', aborted)
      start()
    }
    signal.addEventListener('abort', aborted, { once: true })
    this.#waiting.push(startWaiting)
    void this.#serve()
  }

  async #serve(): Promise<void> {
    if (this.#serving) return
    this.#serving = true
    while (this.#waiting.length > 0 && !this.#full) {
      const ms = this.#closing.signal.aborted ? 0 : this.#take()
      if (ms === 0) this.#waiting.shift()?.()
      else await this.#options.wait(ms, this.#closing.signal)
    }
    this.#serving = false
  }

  /** Takes leave for one request. @returns 0 where it is given, otherwise the ms until it may be asked for again */
  #take(): number {
    const { maxRate, now } = this.#options
    const time = now()
    if (time < this.#notBefore) return this.#notBefore - time
    if (maxRate === 0) return 0
    // A clock that was set back gives no tokens, and takes none.
    this.#tokens = Math.min(this.#capacity, this.#tokens + (Math.max(0, time - this.#counted) / 1000) * maxRate)
    this.#counted = time
    if (this.#tokens < 1) return Math.ceil(((1 - this.#tokens) / maxRate) * 1000)
    this.#tokens--
    return 0
  }
}

/** A request on the wire: tells when its answer has arrived, and hands the end on a turn of the event loop later: the next request goes first. */
class Counted implements Handler {
  readonly #handler: Handler
  readonly #arrived: () => void
  #status = 0

  constructor(handler: Handler, arrived: () => void) {
    this.#handler = handler
    this.#arrived = arrived
  }

  onRequestStart(controller: Controller, context: unknown): void {
    this.#handler.onRequestStart?.(controller, context)
  }

  onResponseStart(...start: Parameters<NonNullable<Handler['onResponseStart']>>): void {
    this.#status = start[1]
    this.#handler.onResponseStart?.(...start)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#handler.onResponseData?.(controller, chunk)
  }

  onResponseEnd(controller: Controller, trailers: IncomingHttpHeaders): void {
    // What refuses may ask to be left alone: it is read before anything else goes out.
    const isRefusal = this.#status >= 400 && this.#status !== 404
    if (!isRefusal) this.#arrived()
    setImmediate(() => {
      this.#read(controller, trailers)
      if (isRefusal) this.#arrived()
    })
  }

  onResponseError(controller: Controller, error: Error): void {
    this.#arrived()
    this.#handler.onResponseError?.(controller, error)
  }

  #read(controller: Controller, trailers: IncomingHttpHeaders): void {
    try {
      // Of an abort in this turn undici tells nothing: for it the answer is over.
      if (controller.aborted) throw controller.reason
      this.#handler.onResponseEnd?.(controller, trailers)
    } catch (error) {
      // As undici does it with what is thrown while it hands the end on.
      this.#handler.onResponseError?.(controller, error as Error)
    }
  }
}

/** For a request that never reached a connection: the layers above look at `aborted`. */
function abortedController(reason: Error): Controller {
  return { aborted: true, reason, paused: false, abort() {}, pause() {}, resume() {} }
}
