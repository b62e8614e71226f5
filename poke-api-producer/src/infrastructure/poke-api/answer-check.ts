/**
 * The layer that decides whether what came over the wire is an answer. It takes a body in whole, under a deadline, and lets it pass only when
 * it is what was asked for, reduced to what is kept of it. Every other outcome becomes a failed attempt. So the layers above it see
 * answers that are good, small and complete: nothing else is ever cached, and what is tried again is tried from its beginning.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { BodyAssembly } from './body-assembly.ts'
import { type Controller, type Exchange, type Handler, layer } from './exchange.ts'
import { type AttemptFailureKind, FailedAttempt, failedAttempt, refusedByProxy } from './failed-attempt.ts'
import { parseRetryAfter } from './retry-after.ts'

export interface AnswerCheckOptions {
  /** Longest that an answer may take, from the request being sent to the last byte, in ms. */
  readonly timeout: number
  /** ms since 1970. */
  readonly date: () => number
  /** An attempt is over: see `PokeApiObserver.attempted`. */
  readonly attempted: (seconds: number, failure: AttemptFailureKind | null) => void
}

/** The headers that caching needs, and that say where a body came from. The rest would describe a body that is not kept. */
const KEPT_HEADERS = ['age', 'cache-control', 'date', 'etag', 'expires', 'last-modified', 'vary', 'x-poke-api-origin']

export function answerCheck(options: AnswerCheckOptions): Dispatcher.DispatcherComposeInterceptor {
  const assembly = new BodyAssembly()
  return layer((below) => (request, handler) => {
    const exchange = request.opaque
    exchange.attempts++
    exchange.began = 0
    exchange.status = 0
    const conditional = request.headers['if-none-match'] !== undefined || request.headers['if-modified-since'] !== undefined
    const headers = exchange.distrusted ? { ...request.headers, 'cache-control': 'no-cache' } : request.headers
    return below({ ...request, headers }, new AnswerCheck(options, assembly, exchange, request.signal, conditional, handler))
  })
}

class AnswerCheck implements Handler {
  readonly #options: AnswerCheckOptions
  readonly #assembly: BodyAssembly
  readonly #exchange: Exchange
  readonly #signal: AbortSignal
  readonly #conditional: boolean
  readonly #handler: Handler
  readonly #controller = new AnswerController()
  #timer: NodeJS.Timeout | undefined
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #chunks: Buffer[] = []

  constructor(
    options: AnswerCheckOptions,
    assembly: BodyAssembly,
    exchange: Exchange,
    signal: AbortSignal,
    conditional: boolean,
    handler: Handler,
  ) {
    this.#options = options
    this.#assembly = assembly
    this.#exchange = exchange
    this.#signal = signal
    this.#conditional = conditional
    this.#handler = handler
  }

  /** Once for each redirect too: the deadline is for all of them together. */
  onRequestStart(controller: Controller, context: unknown): void {
    this.#controller.wire = controller
    const { timeout } = this.#options
    this.#timer ??= setTimeout(
      () => this.#controller.wire?.abort(new FailedAttempt('deadline', `did not finish its answer within ${timeout / 1000} s`)),
      timeout,
    )
    this.#handler.onRequestStart?.(this.#controller, context)
  }

  onResponseStart(_controller: Controller, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    this.#headers = headers
  }

  onResponseData(_controller: Controller, chunk: Buffer): void {
    if (this.#status === 200) this.#chunks.push(chunk)
  }

  onResponseEnd(): void {
    clearTimeout(this.#timer)
    const status = this.#status
    this.#exchange.status = status
    if (status === 200) this.#passReduced()
    else if (status === 304 && this.#conditional) this.#pass(304, keptHeaders(this.#headers), null)
    // Without the headers that let it be cached: a Pokémon that is added later is not to be missing for a day.
    else if (status === 404) this.#pass(404, {}, null)
    else this.#fail(statusFailure(status, this.#headers, this.#options.date(), this.#exchange.proxy))
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    clearTimeout(this.#timer)
    // By the caller, while it waited or was under way: not a failure of the API. The wire is aborted by the deadline and by the decompressor as well.
    const aborted = this.#controller.aborted || this.#signal.aborted
    if (aborted) {
      this.#controller.aborted = true
      this.#handler.onResponseError?.(this.#controller, error)
    } else this.#fail(failedAttempt(error, this.#exchange))
  }

  #passReduced(): void {
    let kept: Buffer
    try {
      kept = this.#exchange.reduce(withoutMark(this.#assembly.join(this.#chunks)))
    } catch (error) {
      this.#exchange.distrusted = true
      this.#fail(error as Error)
      return
    }
    this.#pass(200, keptHeaders(this.#headers), kept)
  }

  #pass(status: number, headers: IncomingHttpHeaders, body: Buffer | null): void {
    this.#options.attempted(this.#seconds(), null)
    this.#handler.onResponseStart?.(this.#controller, status, headers, '')
    if (body !== null) this.#handler.onResponseData?.(this.#controller, body)
    this.#handler.onResponseEnd?.(this.#controller, {})
  }

  #fail(error: Error): void {
    if (error instanceof FailedAttempt) this.#options.attempted(this.#seconds(), error.kind)
    this.#handler.onResponseError?.(this.#controller, error)
  }

  #seconds(): number {
    const { began } = this.#exchange
    return began === 0 ? 0 : (performance.now() - began) / 1000
  }
}

/**
 * The controller that the layers above hold. It is aborted when they abort it, and not when the deadline aborts the wire: the layer that
 * tries again tells by this whether anybody still wants the answer. There is no pausing: bodies were taken in already.
 */
class AnswerController implements Controller {
  /** The attempt under way. */
  wire: Controller | null = null
  aborted = false
  readonly paused = false
  reason: Error | null = null

  abort(reason: Error): void {
    this.aborted = true
    this.reason = reason
    this.wire?.abort(reason)
  }

  pause(): void {}

  resume(): void {}
}

/** Without the mark of UTF-8 at its beginning, which some servers of files send: RFC 8259, 8.1, lets who reads JSON ignore it. */
function withoutMark(body: Buffer): Buffer {
  return body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? body.subarray(3) : body
}

function keptHeaders(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const kept: IncomingHttpHeaders = {}
  for (const name of KEPT_HEADERS) if (headers[name] !== undefined) kept[name] = headers[name]
  return kept
}

function statusFailure(status: number, headers: IncomingHttpHeaders, now: number, proxy: string | null): FailedAttempt {
  if (status === 407 && proxy !== null) return refusedByProxy(proxy, status)
  const retryAfter = parseRetryAfter(headers['retry-after'], now)
  if (status === 429) return new FailedAttempt('rate-limited', 'asks for fewer requests (status 429)', { retryAfter })
  // Request Timeout and Too Early are worth another try; other mistakes of the asker's stay mistakes.
  const retry = status >= 500 || status === 408 || status === 425
  return new FailedAttempt('status', `answered with status ${status}`, { retry, retryAfter })
}
