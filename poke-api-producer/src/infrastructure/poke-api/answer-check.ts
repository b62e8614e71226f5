/**
 * The layer that checks answers. It reads a whole body, under a deadline, and passes it on only if it is the requested Pokémon or list, reduced to
 * the facts that are kept of it. Every other outcome becomes a failed attempt. So the layers above get only valid, small and complete answers: nothing
 * else is ever cached, and a retry begins with a new request.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { BodyAssembly } from './body-assembly.ts'
import { type Controller, type Exchange, type ExchangeOptions, type Handler, isConditional, layer } from './exchange.ts'
import { type AttemptFailureKind, FailedAttempt, failedAttempt, refusedByProxy } from './failed-attempt.ts'
import { parseRetryAfter } from './retry-after.ts'

export interface AnswerCheckOptions {
  /** How long an answer may take, from sending the request to the last byte, in ms. */
  readonly timeout: number
  /** ms since 1970. */
  readonly date: () => number
  /** Called at the end of each attempt: see `PokeApiObserver.attempted`. */
  readonly attempted: (seconds: number, failure: AttemptFailureKind | null) => void
}

/** The headers that caching needs, and the one that names the source of a body. The others describe the original body, which is not kept. */
const KEPT_HEADERS = ['age', 'cache-control', 'date', 'etag', 'expires', 'last-modified', 'vary', 'x-poke-api-origin']

export function answerCheck(options: AnswerCheckOptions): Dispatcher.DispatcherComposeInterceptor {
  const assembly = new BodyAssembly()
  return layer((below) => (request, handler) => {
    const exchange = request.opaque
    exchange.attempts++
    exchange.began = 0
    exchange.status = 0
    const headers = exchange.distrusted ? { ...request.headers, 'cache-control': 'no-cache' } : request.headers
    return below({ ...request, headers }, new AnswerCheck(options, assembly, request, handler))
  })
}

class AnswerCheck implements Handler {
  readonly #options: AnswerCheckOptions
  readonly #assembly: BodyAssembly
  readonly #request: ExchangeOptions
  readonly #exchange: Exchange
  readonly #handler: Handler
  readonly #controller = new AnswerController()
  #timer: NodeJS.Timeout | undefined
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #chunks: Buffer[] = []

  constructor(options: AnswerCheckOptions, assembly: BodyAssembly, request: ExchangeOptions, handler: Handler) {
    this.#options = options
    this.#assembly = assembly
    this.#request = request
    this.#exchange = request.opaque
    this.#handler = handler
  }

  /** Called again for each redirect: the deadline is for all of them together. */
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
    else if (status === 304 && isConditional(this.#request)) this.#pass(304, keptHeaders(this.#headers), null)
    // Without the headers that allow caching, so that a Pokémon that is added later is not missing for a day.
    else if (status === 404) this.#pass(404, {}, null)
    else this.#fail(statusFailure(status, this.#headers, this.#options.date(), this.#exchange.proxy))
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    clearTimeout(this.#timer)
    // Aborted by the caller: not a failure of the API. The deadline and the decompressor abort the wire as well.
    const aborted = this.#controller.aborted || this.#request.signal.aborted
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
 * The controller of the layers above. It is aborted only by them, not by the deadline, which aborts the wire: by this the retry layer knows whether
 * the caller still wants the answer. It cannot be paused, because the body was read already.
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

/** Without a byte order mark, which some file servers send: RFC 8259, 8.1, allows parsers of JSON to ignore it. */
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
  // Request Timeout and Too Early may succeed later; other client errors stay errors.
  const retry = status >= 500 || status === 408 || status === 425
  return new FailedAttempt('status', `answered with status ${status}`, { retry, retryAfter })
}
