/** A Kafka producer that is replaced after a failure, because then neither the result of its last send nor its own state is known. */
import { type BaseOptions, Producer } from '@platformatic/kafka'
import { withDeadline } from '@poke-api-pipeline/service-kit/deadline'
import { closeByForce } from './close-by-force.ts'
import { ConnectionWatch } from './connection-watch.ts'
import type { KafkaSecurity } from './kafka-security.ts'

export interface ReplaceableProducerOptions {
  /** host:port of the brokers to connect to first. */
  readonly brokers: readonly string[]
  readonly clientId: string
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: KafkaSecurity
  /** The longest wait in `within`, in ms; the delay of a quota is added. */
  readonly deadline: number
  /** Called with each answer: for how many ms its broker delays the next one because of a quota, mostly 0. */
  readonly throttled?: (ms: number) => void
}

export interface ConnectedProducer<Key, Value, HeaderKey, HeaderValue> {
  readonly producer: Producer<Key, Value, HeaderKey, HeaderValue>
  /** The watch over its connections. */
  readonly watch: ConnectionWatch
  /** Aborted when the producer is discarded: nobody waits any more for work that was begun with it. */
  readonly discarded: AbortSignal
}

/** The longest delay of Node's timers, in ms. */
const LONGEST_TIMER = 2 ** 31 - 1

/**
 * The library's retries are off, because they never end. Its idempotent mode is off, because it takes a new producer id after a failure without
 * telling, and then no longer prevents duplicates.
 */
export class ReplaceableProducer<Key, Value, HeaderKey, HeaderValue> {
  readonly #options: ReplaceableProducerOptions
  #client: ConnectedProducer<Key, Value, HeaderKey, HeaderValue> | null = null
  /** Aborted when the present producer is discarded. */
  #discarded = new AbortController()
  /** Every new producer asks another broker first, so that a frozen one cannot fail all attempts. */
  #replaced = 0

  constructor(options: ReplaceableProducerOptions) {
    this.#options = options
  }

  /** @returns the present producer or a new one */
  connect(): ConnectedProducer<Key, Value, HeaderKey, HeaderValue> {
    if (this.#client !== null) return this.#client
    const producer = new Producer<Key, Value, HeaderKey, HeaderValue>({
      ...this.clientOptions(),
      idempotent: false,
      repeatOnStaleMetadata: false,
    })
    this.#discarded = new AbortController()
    this.#client = { producer, watch: new ConnectionWatch(producer, this.#options.throttled), discarded: this.#discarded.signal }
    return this.#client
  }

  /**
   * Settles as `promise` does, or rejects after the deadline. The delay of a quota is added to the deadline.
   * @throws DeadlinePassed naming `what`; the signal's reason once it is aborted
   */
  within<T>(promise: Promise<T>, what: string, signal?: AbortSignal): Promise<T> {
    const deadline = Math.min(this.#options.deadline + (this.#client?.watch.throttle ?? 0), LONGEST_TIMER)
    return withDeadline(promise, deadline, what, signal)
  }

  /** Closes the producer by force, after a failure or for good. `connect` makes a new one. */
  async discard(): Promise<void> {
    const client = this.#client
    this.#client = null
    this.#replaced++
    this.#discarded.abort()
    if (client !== null) await closeByForce(client.producer)
  }

  /** Options for another client, which connects to the same broker first as the producer does. */
  clientOptions(): BaseOptions {
    const { brokers, clientId, clientOptions, deadline } = this.#options
    const first = this.#replaced % brokers.length
    return {
      ...clientOptions,
      clientId,
      bootstrapBrokers: [...brokers.slice(first), ...brokers.slice(0, first)],
      retries: 0,
      timeout: deadline,
      // `within` has a deadline, which grows with the delay of a quota.
      requestTimeout: LONGEST_TIMER,
    }
  }
}
