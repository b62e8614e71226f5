/** A connection to one broker for everything but records: which versions of each request it understands, and a deadline for each answer. */

import { type API, apiVersionsV3, Connection, NetworkError, ResponseError } from '@platformatic/kafka'
import type { KafkaSecurity } from '@poke-api-pipeline/kafka-common/kafka-security'
import { withDeadline } from '@poke-api-pipeline/service-kit/deadline'
import { KafkaError } from '../errors.ts'
import { CODE, kafkaError } from './kafka-failure.ts'

export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

export interface BrokerConnectionOptions {
  readonly topic: string
  readonly clientId: string
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: KafkaSecurity
  /** For how long connecting, and each answer, may take, in ms. */
  readonly timeout: number
}

/** The library has a limit of its own, which would come first. */
const NEVER = 2 ** 31 - 1

export class BrokerConnection {
  readonly #address: BrokerAddress
  readonly #options: BrokerConnectionOptions
  readonly #connection: Connection
  /** What broke it. */
  #broken: Error | null = null
  #versions: ReadonlyMap<number, readonly [min: number, max: number]> = new Map()

  /**
   * Connects, logs in and asks for versions; gives up at once when the signal is aborted.
   * @throws KafkaError
   */
  static async open(address: BrokerAddress, options: BrokerConnectionOptions, signal: AbortSignal): Promise<BrokerConnection> {
    const broker = new BrokerConnection(address, options)
    const giveUp = () => broker.destroy()
    signal.addEventListener('abort', giveUp)
    try {
      const { host, port } = address
      await withDeadline(Promise.resolve(broker.#connection.connect(host, port)), options.timeout, `connecting to ${host}:${port}`)
      await broker.#negotiate()
      return broker
    } catch (error) {
      broker.destroy()
      throw broker.#failure(error)
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  private constructor(address: BrokerAddress, options: BrokerConnectionOptions) {
    this.#address = address
    this.#options = options
    this.#connection = new Connection(options.clientId, {
      ...options.clientOptions,
      connectTimeout: options.timeout,
      requestTimeout: NEVER,
    })
    // The library rejects requests under way with "closed", and without the reason.
    this.#connection.on('error', (error) => {
      this.#broken ??= error
    })
  }

  get isOpen(): boolean {
    return this.#connection.isConnected()
  }

  /** The versions of a request that the broker understands; null where it does not know the request at all. */
  versions(apiKey: number): readonly [min: number, max: number] | null {
    return this.#versions.get(apiKey) ?? null
  }

  /**
   * Sends a request and waits for the answer. It does not look at error codes within the answer.
   * @throws KafkaError; the connection is closed where the answer was too late
   */
  async ask<Request extends unknown[], Answer>(api: API<Request, Answer>, what: string, ...request: Request): Promise<Answer> {
    const range = this.versions(api.key)
    if (range === null || api.version < range[0] || api.version > range[1]) throw this.#unsupported()
    try {
      return await withDeadline(api.async(this.#connection, ...request), this.#options.timeout, what)
    } catch (error) {
      if (error instanceof ResponseError && error.response) return error.response as Answer
      this.destroy()
      throw this.#failure(error)
    }
  }

  /** Closes at once. Requests under way reject. */
  destroy(): void {
    // A connection that is still being made ends only at its deadline, unless it is told to close first.
    this.#connection.close(() => {})
    this.#connection.socket?.destroy()
  }

  async #negotiate(): Promise<void> {
    const { api } = apiVersionsV3
    this.#versions = new Map([[api.key, [api.version, api.version]]])
    const answer = await this.ask(api, 'asking for versions', 'kafka-reader', '1')
    // A broker that does not even know this version of the question is older than Kafka 2.4.
    if (answer.errorCode === CODE.unsupportedVersion) throw this.#unsupported()
    this.#versions = new Map(answer.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, [minVersion, maxVersion]]))
  }

  #unsupported(): KafkaError {
    return new KafkaError('unsupported-broker', `Kafka at ${this.#name} does not know topics by their ids: use Kafka 3.1 or newer`)
  }

  #failure(error: unknown): KafkaError {
    const lost = error instanceof NetworkError && error.cause === undefined && this.#broken !== null
    return kafkaError(lost ? this.#broken : error, { brokers: [this.#name], topic: this.#options.topic })
  }

  get #name(): string {
    return `${this.#address.host}:${this.#address.port}`
  }
}
