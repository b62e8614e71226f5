/** Publishes the outbox's events to the topic: rules P3 and P4. */
import { type BaseOptions, type ClusterTopicMetadata, ProduceAcks, Producer } from '@platformatic/kafka'
import {
  ConnectionWatch,
  closeByForce,
  createTopic,
  findTopic,
  type KafkaSecurity,
  missingOn,
  quotaText,
} from '@poke-api-pipeline/kafka-common'
import { encodeHeaders } from '@poke-api-pipeline/pokemon-event'
import { withDeadline } from '@poke-api-pipeline/service-kit'
import type { EventPublisher, OutboxEvent } from '../../application/ports.ts'
import { PublishError } from '../../errors.ts'
import { partitionerFor } from './partitioner.ts'
import { notAllowed, publishError, refusedTimestamp } from './publish-failure.ts'
import { RecordTimestamps } from './record-timestamps.ts'

export interface KafkaEventPublisherOptions {
  /** host:port of brokers to begin with. */
  readonly brokers: readonly string[]
  readonly topic: string
  /** Partitions and replicas of the topic where it has to be made; an existing topic is left as it is. */
  readonly partitions: number
  readonly replication: number
  /** The topic was there already, and this is how it was made: told once. */
  readonly onExisting?: (made: MadeTopic) => void
  /** For how long a send, or preparing the topic, may take, in ms. */
  readonly sendDeadline?: number
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: KafkaSecurity
  /** A quota makes this client wait; told with each answer, with null where it does not, or hardly. */
  readonly throttled?: (error: PublishError | null) => void
}

/** How a topic is made. */
export interface MadeTopic {
  readonly partitions: number
  readonly replication: number
}

type KafkaProducer = Producer<Buffer, Buffer, Buffer, Buffer>

interface Client {
  readonly producer: KafkaProducer
  readonly watch: ConnectionWatch
}

const CLIENT_ID = 'poke-api-producer'
const SEND_DEADLINE = 10_000
/** Of Node's timers, in ms. */
const LONGEST_TIMER = 2 ** 31 - 1
/**
 * Brokers that enforce quotas make clients wait for moments all the time; from so many ms on it is told. A quota on the time of requests never makes
 * anybody wait for longer than `quota.window.size.seconds`, 1 s by default, and a client may get nothing at all by it.
 */
const NOTABLE_THROTTLE = 500

/**
 * One send is exactly one Produce request to each leader, acknowledged by all in-sync replicas. The library's retries and its
 * idempotent mode are off: after a failure it takes a new producer id anyway, in silence, so that idempotence would promise nothing that
 * `ce_sequence` does not keep (rule P4), and its retries have no end.
 */
export class KafkaEventPublisher implements EventPublisher {
  readonly #options: KafkaEventPublisherOptions
  readonly #deadline: number
  readonly #timestamps = new RecordTimestamps()
  #client: Client | null = null
  /** After each failure another broker is asked first, so that a frozen one cannot hold up all attempts. */
  #failures = 0
  #partitions = 0
  #partitionOf: ((key: string) => number) | null = null

  constructor(options: KafkaEventPublisherOptions) {
    this.#options = options
    this.#deadline = options.sendDeadline ?? SEND_DEADLINE
  }

  get partitionOf(): ((key: string) => number) | null {
    return this.#partitionOf
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const { producer, watch } = this.#connect()
    try {
      await withDeadline(this.#prepare(producer, signal), this.#deadline, `looking for topic ${this.#options.topic}`, signal)
    } catch (error) {
      await this.#giveUp()
      signal.throwIfAborted()
      throw publishError(error, { ...this.#options, events: 0, broken: watch.broken })
    }
  }

  async publish(events: readonly OutboxEvent[]): Promise<void> {
    const messages = events.map((event) => messageOf(event, this.#options.topic, this.#timestamps.of(event.time)))
    const { producer, watch } = this.#connect()
    // What the broker has made this client wait for is not its silence.
    const deadline = Math.min(this.#deadline + watch.throttle, LONGEST_TIMER)
    try {
      await withDeadline(this.#send(producer, messages), deadline, `sending ${events.length} events`)
    } catch (error) {
      // The outcome is unknown, and so is this client's state: the same events go out through a new one (rule P4).
      await this.#giveUp()
      const words = refusedTimestamp(error)
      if (words !== null) this.#timestamps.refused(words)
      throw publishError(error, { ...this.#options, events: events.length, broken: watch.broken, throttle: watch.throttle })
    }
  }

  async close(): Promise<void> {
    await this.#disconnect()
  }

  async #prepare(producer: KafkaProducer, signal: AbortSignal): Promise<void> {
    const { topic } = this.#options
    const missing = await missingOn(producer, topic)
    if (missing.length > 0) throw notAllowed(missing, this.#options)
    let metadata = await findTopic(producer, topic)
    if (metadata === null) {
      await createTopic(this.#clientOptions(), this.#options, signal)
      metadata = await this.#topicOf(producer)
    } else if (this.#partitions === 0) {
      const replication = Math.max(...metadata.partitions.map(({ replicas }) => replicas.length))
      this.#options.onExisting?.({ partitions: metadata.partitionsCount, replication })
    }
    this.#learn(metadata)
  }

  async #send(producer: KafkaProducer, messages: readonly Message[]): Promise<void> {
    const { topic } = this.#options
    // Answered from the client's memory while it is fresh; so partitions that are added are seen, and chosen for keys from then on.
    this.#learn(await this.#topicOf(producer))
    const highest = Math.max(...messages.map(({ partition }) => partition))
    // The library would send to the remainder instead (rule P3).
    if (highest >= this.#partitions) throw new PublishError('fewer-partitions', fewerPartitions(topic, this.#partitions, highest))
    await producer.send({ messages: [...messages], acks: ProduceAcks.ALL })
  }

  async #topicOf(producer: KafkaProducer): Promise<ClusterTopicMetadata> {
    const { topic } = this.#options
    const metadata = await findTopic(producer, topic)
    if (metadata === null) throw new PublishError('no-topic', `topic ${topic} is gone; it is made again`)
    return metadata
  }

  #learn(metadata: ClusterTopicMetadata): void {
    if (metadata.partitionsCount === this.#partitions) return
    this.#partitions = metadata.partitionsCount
    this.#partitionOf = partitionerFor(metadata.partitionsCount)
  }

  #connect(): Client {
    if (this.#client !== null) return this.#client
    const producer: KafkaProducer = new Producer({ ...this.#clientOptions(), idempotent: false, repeatOnStaleMetadata: false })
    this.#client = { producer, watch: new ConnectionWatch(producer, (ms) => this.#throttled(ms)) }
    return this.#client
  }

  #throttled(ms: number): void {
    const { throttled, brokers } = this.#options
    throttled?.(ms < NOTABLE_THROTTLE ? null : new PublishError('quota', quotaText(brokers, ms)))
  }

  async #giveUp(): Promise<void> {
    this.#failures++
    await this.#disconnect()
  }

  async #disconnect(): Promise<void> {
    const client = this.#client
    this.#client = null
    if (client !== null) await closeByForce(client.producer)
  }

  #clientOptions(): BaseOptions {
    const { brokers, clientOptions } = this.#options
    const first = this.#failures % brokers.length
    return {
      ...clientOptions,
      clientId: CLIENT_ID,
      bootstrapBrokers: [...brokers.slice(first), ...brokers.slice(0, first)],
      retries: 0,
      timeout: this.#deadline,
      // Each send has a deadline of its own, which grows by what a quota makes it wait.
      requestTimeout: LONGEST_TIMER,
    }
  }
}

type Message = ReturnType<typeof messageOf>

function messageOf(event: OutboxEvent, topic: string, timestamp: number) {
  const { partition, key, value } = event
  if (partition === null) throw new TypeError(`event ${event.sequence} of ${event.source} has no partition yet`)
  const headers = new Map(encodeHeaders(event).map(([name, text]) => [Buffer.from(name), Buffer.from(text)]))
  return { topic, partition, key: Buffer.from(key), value, headers, timestamp: BigInt(timestamp) }
}

function fewerPartitions(topic: string, partitions: number, partition: number): string {
  return `topic ${topic} has ${partitions} partitions, and stored events belong to partition ${partition}: it was made again with fewer; add partitions (kafka-topics.sh --alter), it goes on by itself`
}
