/** What clients of the Kafka library learn from their connections and do not tell: what broke one, and that brokers enforce a quota. */

type Parser = (...answer: never[]) => unknown
type Send = (apiKey: number, apiVersion: number, createPayload: unknown, parse: Parser, ...more: never[]) => unknown

/** What of a client of `@platformatic/kafka` is used. */
export interface WatchedClient {
  readonly connections: { on(event: 'connecting', listener: (what: { readonly connection: object }) => void): unknown }
}

export class ConnectionWatch {
  readonly #throttled: (ms: number) => void
  #broken: Error | null = null
  #throttle = 0

  /**
   * @param client that has no connection yet
   * @param throttled told with each answer for how long its broker answers nothing more: ms, mostly 0
   */
  constructor(client: WatchedClient, throttled: (ms: number) => void = () => {}) {
    this.#throttled = throttled
    client.connections.on('connecting', ({ connection }) => this.#watch(connection as { send: Send } & NodeJS.EventEmitter))
  }

  /** Why the first connection that broke did so; null where none did. Whoever waited for an answer was told only that it is closed. */
  get broken(): Error | null {
    return this.#broken
  }

  /** For how long a broker may be silent before it begins with the next answer, by its last one, in ms. */
  get throttle(): number {
    return this.#throttle
  }

  #watch(connection: { send: Send } & NodeJS.EventEmitter): void {
    connection.on('error', (error: Error) => {
      this.#broken ??= error
    })
    const send = connection.send.bind(connection)
    connection.send = (apiKey, apiVersion, createPayload, parse, ...more) =>
      send(apiKey, apiVersion, createPayload, this.#listening(parse), ...more)
  }

  /** @returns reads an answer as `parse` does, and looks whether it speaks of a quota; one that has errors is thrown */
  #listening(parse: Parser): Parser {
    return (...answer) => {
      try {
        const parsed = parse(...answer)
        this.#heard(parsed)
        return parsed
      } catch (error) {
        this.#heard((error as { readonly response?: unknown }).response)
        throw error
      }
    }
  }

  #heard(answer: unknown): void {
    const { throttleTimeMs } = (answer ?? {}) as { readonly throttleTimeMs?: unknown }
    if (typeof throttleTimeMs !== 'number') return
    this.#throttle = Math.max(0, throttleTimeMs)
    this.#throttled(this.#throttle)
  }
}
