/** The state of one request, which it carries through the layers of the client in undici's `opaque`. */
import type { Dispatcher } from 'undici'

export interface Exchange {
  /** For messages. */
  readonly url: string
  /** The proxy, for messages; null: none. */
  readonly proxy: string | null
  readonly wanted: 'pokemon' | 'list'
  /**
   * Reduces a whole body to the facts that are kept. It copies them, because the body's buffer is used again.
   * @throws FailedAttempt where the body is not the requested Pokémon or list
   */
  readonly reduce: (body: Buffer) => Buffer
  /** How many attempts on the wire have begun. */
  attempts: number
  /** When the current attempt was sent, in ms of performance.now(); 0: it is waiting. */
  began: number
  /** Status of the last answer on the wire; 0: none. */
  status: number
  /** An earlier body was not the requested one: caches on the way must not send it again. */
  distrusted: boolean
}

/** The options of a request in the layers. */
export interface ExchangeOptions extends Dispatcher.DispatchOptions {
  readonly opaque: Exchange
  readonly headers: Record<string, string>
  readonly signal: AbortSignal
}

/** Whether the request asks to confirm a cached answer. Only the cache makes requests conditional. */
export function isConditional({ headers }: ExchangeOptions): boolean {
  return headers['if-none-match'] !== undefined || headers['if-modified-since'] !== undefined
}

export type Handler = Dispatcher.DispatchHandler
export type Controller = Dispatcher.DispatchController

/**
 * Gives a layer the types of the client's requests.
 * @param layer gets the layer below it, and returns its own dispatch function
 */
export function layer(
  layer: (below: (options: ExchangeOptions, handler: Handler) => boolean) => (options: ExchangeOptions, handler: Handler) => boolean,
): Dispatcher.DispatcherComposeInterceptor {
  // undici's types do not know the type of `opaque`, and undici refuses functions without exactly two parameters.
  return (dispatch) => {
    const handle = layer(dispatch)
    return (options, handler) => handle(options as ExchangeOptions, handler)
  }
}
