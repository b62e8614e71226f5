/** Publishes the outbox's events to the topic: rules P3 and P4. */
import { type ClusterTopicMetadata, compatibilityPartitioner, ProduceAcks, type Producer } from '@platformatic/kafka'
import {
  createTopic,
  findTopic,
  type KafkaSecurity,
  missingOn,
  NOTABLE_THROTTLE,
  quotaText,
  ReplaceableProducer,
} from '@poke-api-pipeline/kafka-common'
import { encodeHeaders } from '@poke-api-pipeline/pokemon-event'
import type { EventPublisher, OutboxEvent } from '../../application/ports.ts'
import { PublishError } from '../../errors.ts'
import { notAllowed, publishError, refusedTimestamp } from './publish-failure.ts'
import { RecordTimestamps } from './record-timestamps.ts'

export interface KafkaEventPublisherOptions {
  /** host:port of the brokers to connect to first. */
  readonly brokers: readonly string[]
  readonly topic: string
  /** Partitions and replicas of the topic if it has to be created; an existing topic is not changed. */
  readonly partitions: number
  readonly replication: number
  /** Called once if the topic exists already. */
  readonly onExisting?: (layout: TopicLayout) => void
  /** How long a send, or preparing the topic, may take, in ms. */
  readonly sendDeadline?: number
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: KafkaSecurity
  /** Called with each answer: with an error while a quota delays this client notably, else with null. */
  readonly throttled?: (error: PublishError | null) => void
}

export interface TopicLayout {
  readonly partitions: number
  readonly replication: number
}

type KafkaProducer = Producer<Buffer, Buffer, Buffer, Buffer>

const CLIENT_ID = 'poke-api-producer'
const SEND_DEADLINE = 10_000

/** One send is exactly one Produce request to each leader, acknowledged by all in-sync replicas (rule P4). */
export class KafkaEventPublisher implements EventPublisher {
  readonly #options: KafkaEventPublisherOptions
  readonly #client: ReplaceableProducer<Buffer, Buffer, Buffer, Buffer>
  readonly #timestamps = new RecordTimestamps()
  #partitions = 0
  #partitionOf: ((key: string) => number) | null = null

  constructor(options: KafkaEventPublisherOptions) {
    this.#options = options
    this.#client = new ReplaceableProducer({
      ...options,
      clientId: CLIENT_ID,
      deadline: options.sendDeadline ?? SEND_DEADLINE,
      throttled: (ms) => options.throttled?.(ms < NOTABLE_THROTTLE ? null : new PublishError('quota', quotaText(options.brokers, ms))),
    })
  }

  get partitionOf(): ((key: string) => number) | null {
    return this.#partitionOf
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const { producer, watch, discarded } = this.#client.connect()
    try {
      await this.#client.within(this.#prepare(producer, discarded), `looking for topic ${this.#options.topic}`, signal)
    } catch (error) {
      await this.#client.discard()
      signal.throwIfAborted()
      throw publishError(error, { ...this.#options, events: 0, broken: watch.broken })
    }
  }

  async publish(events: readonly OutboxEvent[]): Promise<void> {
    const messages = events.map((event) => messageOf(event, this.#options.topic, this.#timestamps.of(event.time)))
    const { producer, watch } = this.#client.connect()
    try {
      await this.#client.within(this.#send(producer, messages), `sending ${events.length} events`)
    } catch (error) {
      // The outcome is unknown, and so is this client's state: the same events are sent again through a new client (rule P4).
      await this.#client.discard()
      const details = refusedTimestamp(error)
      if (details !== null) this.#timestamps.refused(details)
      throw publishError(error, { ...this.#options, events: events.length, broken: watch.broken, throttle: watch.throttle })
    }
  }

  async close(): Promise<void> {
    await this.#client.discard()
  }

  async #prepare(producer: KafkaProducer, discarded: AbortSignal): Promise<void> {
    const { topic } = this.#options
    const missing = await missingOn(producer, topic)
    if (missing.length > 0) throw notAllowed(missing, this.#options)
    let metadata = await findTopic(producer, topic)
    if (metadata === null) {
      metadata = await createTopic(this.#client.clientOptions(), this.#options, discarded)
    } else if (this.#partitions === 0) {
      const replication = Math.max(...metadata.partitions.map(({ replicas }) => replicas.length))
      this.#options.onExisting?.({ partitions: metadata.partitionsCount, replication })
    }
    this.#setPartitions(metadata)
  }

  async #send(producer: KafkaProducer, messages: readonly Message[]): Promise<void> {
    const { topic } = this.#options
    // The client caches this for some seconds. So added partitions are noticed, and chosen for keys from then on.
    const metadata = await findTopic(producer, topic)
    if (metadata === null) throw new PublishError('no-topic', `topic ${topic} was deleted; it is created again`)
    this.#setPartitions(metadata)
    const highest = Math.max(...messages.map(({ partition }) => partition))
    // The library would choose another partition instead (rule P3).
    if (highest >= this.#partitions) throw new PublishError('fewer-partitions', fewerPartitions(topic, this.#partitions, highest))
    await producer.send({ messages: [...messages], acks: ProduceAcks.ALL })
  }

  #setPartitions(metadata: ClusterTopicMetadata): void {
    if (metadata.partitionsCount === this.#partitions) return
    this.#partitions = metadata.partitionsCount
    this.#partitionOf = partitionerFor(this.#partitions)
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
  return `topic ${topic} has ${partitions} partitions, but stored events belong to partition ${partition}, so it was created again with fewer; add partitions (kafka-topics.sh --alter), then publishing goes on by itself`
}

/** The library's partitioners take a message and use only its key. */
const NO_MESSAGE = { topic: '', value: Buffer.alloc(0) }

/**
 * Chooses a key's partition as the Java client does, so that all producers put a key into the same partition.
 * @param partitions how many the topic has
 * @returns the murmur2 hash of the key's UTF-8 bytes without its sign, modulo `partitions`: `BuiltInPartitioner.partitionForKey`,
 * https://github.com/apache/kafka/blob/4.3.1/clients/src/main/java/org/apache/kafka/clients/producer/internals/BuiltInPartitioner.java.
 * (The library's own default keeps the sign bit as a part of the number and chooses other partitions.)
 */
export function partitionerFor(partitions: number): (key: string) => number {
  return (key) => compatibilityPartitioner(NO_MESSAGE, Buffer.from(key)) % partitions
}
