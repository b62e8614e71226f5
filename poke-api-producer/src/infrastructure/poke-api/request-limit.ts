/**
 * The layer next to the wire: sends requests in the order in which they came, at most so many a second and at most so many at once. Redirects and
 * further attempts count too. When an answer has arrived, the next request is sent before the answer is read, unless the answer is a refusal.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Clock } from '@poke-api-pipeline/service-kit'
import type { Dispatcher } from 'undici'
import { type Controller, type ExchangeOptions, type Handler, layer } from './exchange.ts'

export interface RequestLimitOptions {
  /** Requests a second; 0: unlimited. */
  readonly maxRate: number
  /** Most requests without an answer. */
  readonly maxAtOnce: number
  readonly clock: Pick<Clock, 'now' | 'wait'>
}

/** Timers are coarse: at a high rate, the requests that are due within so many seconds are sent at once. */
const GRAIN = 0.01

export class RequestLimit {
  readonly #options: RequestLimitOptions
  readonly #capacity: number
  readonly #closing = new AbortController()
  /** How many requests may start now, and when that was computed. */
  #tokens: number
  #computedAt: number
  /** The API asked for no requests before this time. */
  #notBefore = Number.NEGATIVE_INFINITY
  #atOnce = 0
  #waiting: (() => void)[] = []
  #serving = false

  constructor(options: RequestLimitOptions) {
    this.#options = options
    // One token, unless the rate is high: requests are never closer than the rate allows, so no second has more of them.
    this.#capacity = Math.max(1, options.maxRate * GRAIN)
    this.#tokens = this.#capacity
    this.#computedAt = options.clock.now()
  }

  readonly interceptor: Dispatcher.DispatcherComposeInterceptor = layer((below) => (request, handler) => {
    const start = () => {
      // A redirect keeps the time of its first request.
      request.opaque.began ||= performance.now()
      this.#atOnce++
      return below(request, new Counted(handler, this.#arrived))
    }
    if (this.#waiting.length === 0 && !this.#full && this.#takeToken() === 0) return start()
    this.#enqueue(request, handler, start)
    return true
  })

  /** Starts no request for so many ms. */
  pauseFor(ms: number): void {
    this.#notBefore = Math.max(this.#notBefore, this.#options.clock.now() + ms)
  }

  /** Sends all waiting requests at once: they fail at the closed pool. */
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
      const ms = this.#closing.signal.aborted ? 0 : this.#takeToken()
      if (ms === 0) this.#waiting.shift()?.()
      else await this.#options.clock.wait(ms, this.#closing.signal)
    }
    this.#serving = false
  }

  /** @returns 0 where a request may start now, otherwise after how many ms to ask again */
  #takeToken(): number {
    const { maxRate, clock } = this.#options
    const time = clock.now()
    if (time < this.#notBefore) return this.#notBefore - time
    if (maxRate === 0) return 0
    // A clock that was set back adds no tokens and removes none.
    this.#tokens = Math.min(this.#capacity, this.#tokens + (Math.max(0, time - this.#computedAt) / 1000) * maxRate)
    this.#computedAt = time
    if (this.#tokens < 1) return Math.ceil(((1 - this.#tokens) / maxRate) * 1000)
    this.#tokens--
    return 0
  }
}

/** A request on the wire: reports that its answer has arrived, and passes the end on one turn of the event loop later, so that the next request is sent first. */
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
    // A refusal may ask for a pause, so it is read before the next request is sent.
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
      // undici does not report an abort in this turn: to undici the answer is over.
      if (controller.aborted) throw controller.reason
      this.#handler.onResponseEnd?.(controller, trailers)
    } catch (error) {
      // As undici does with an error that is thrown while it passes the end on.
      this.#handler.onResponseError?.(controller, error as Error)
    }
  }
}

/** For a request that never reached a connection: the layers above read `aborted`. */
function abortedController(reason: Error): Controller {
  return { aborted: true, reason, paused: false, abort() {}, pause() {}, resume() {} }
}
