/** Finds out what the Kafka library's clients do not tell about their connections: why one broke, and whether brokers enforce a quota. */

type Parser = (...answer: never[]) => unknown
type Send = (apiKey: number, apiVersion: number, createPayload: unknown, parse: Parser, ...more: never[]) => unknown

/** The part of a client of `@platformatic/kafka` that is used here. */
export interface WatchedClient {
  readonly connections: { on(event: 'connecting', listener: (what: { readonly connection: object }) => void): unknown }
}

export class ConnectionWatch {
  readonly #throttled: (ms: number) => void
  #broken: Error | null = null
  #throttle = 0

  /**
   * @param client one that has no connection yet
   * @param throttled called with each answer: for how many ms its broker delays the next one because of a quota, mostly 0
   */
  constructor(client: WatchedClient, throttled: (ms: number) => void = () => {}) {
    this.#throttled = throttled
    client.connections.on('connecting', ({ connection }) => this.#watch(connection as { send: Send } & NodeJS.EventEmitter))
  }

  /** The error of the first connection that broke; null if none did. The library rejects requests only with "closed". */
  get broken(): Error | null {
    return this.#broken
  }

  /** The delay that the last answer announced because of a quota, in ms. */
  get throttle(): number {
    return this.#throttle
  }

  #watch(connection: { send: Send } & NodeJS.EventEmitter): void {
    connection.on('error', (error: Error) => {
      this.#broken ??= error
    })
    const send = connection.send.bind(connection)
    connection.send = (apiKey, apiVersion, createPayload, parse, ...more) =>
      send(apiKey, apiVersion, createPayload, this.#notingThrottle(parse), ...more)
  }

  /** @returns a parser that returns or throws what `parse` does, and notes the delay of a quota in the answer */
  #notingThrottle(parse: Parser): Parser {
    return (...answer) => {
      try {
        const parsed = parse(...answer)
        this.#noteThrottle(parsed)
        return parsed
      } catch (error) {
        this.#noteThrottle((error as { readonly response?: unknown }).response)
        throw error
      }
    }
  }

  #noteThrottle(answer: unknown): void {
    const { throttleTimeMs } = (answer ?? {}) as { readonly throttleTimeMs?: unknown }
    if (typeof throttleTimeMs !== 'number') return
    this.#throttle = Math.max(0, throttleTimeMs)
    this.#throttled(this.#throttle)
  }
}
