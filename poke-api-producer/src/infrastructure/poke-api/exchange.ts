/** What one request carries through the layers of the client, in undici's `opaque`. */
import type { Dispatcher } from 'undici'

export interface Exchange {
  /** For messages. */
  readonly url: string
  /** The proxy by which the API is asked, for messages; null: none. */
  readonly proxy: string | null
  readonly wanted: 'pokemon' | 'list'
  /**
   * Takes from a whole body what is kept of it, as a copy: the body's place is used again.
   * @throws FailedAttempt where the body is not what was asked for
   */
  readonly reduce: (body: Buffer) => Buffer
  /** Attempts on the wire that were begun. */
  attempts: number
  /** When the attempt under way was let onto the wire, in ms of performance.now(); 0: it waits. */
  began: number
  /** Status of the last answer on the wire; 0: none. */
  status: number
  /** A body was not what was asked for: caches on the way are not to answer with it once more. */
  distrusted: boolean
}

/** The options of a request on its way through the layers. */
export interface ExchangeOptions extends Dispatcher.DispatchOptions {
  readonly opaque: Exchange
  readonly headers: Record<string, string>
  readonly signal: AbortSignal
}

export type Handler = Dispatcher.DispatchHandler
export type Controller = Dispatcher.DispatchController

/**
 * Makes a layer of one that knows what all requests of the client carry.
 * @param layer gets the layer below it and gives what is to be done with a request
 */
export function layer(
  layer: (below: (options: ExchangeOptions, handler: Handler) => boolean) => (options: ExchangeOptions, handler: Handler) => boolean,
): Dispatcher.DispatcherComposeInterceptor {
  // undici's types cannot say what `opaque` is on the way down. It refuses functions that do not take exactly two arguments.
  return (dispatch) => {
    const handle = layer(dispatch)
    return (options, handler) => handle(options as ExchangeOptions, handler)
  }
}
