/** Reads any range of a partition outside of any group, with the same cursor as a group reader, so that stored results can be verified. */

import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import { Cluster, type ClusterOptions, type Leader, type Topic } from './brokers/cluster.ts'
import { DEFAULT_MAX_BATCH_BYTES, type FetchedPartition, type FetchLimits, type FetchResponse } from './brokers/fetch-response.ts'
import { CODE, kafkaError, refusedBy } from './brokers/kafka-failure.ts'
import { LeaderConnection } from './brokers/leader-connection.ts'
import { KafkaError } from './errors.ts'
import type { EventIdentity, RecordView, TopicDescription } from './ports.ts'
import { Decompressor } from './records/decompress.ts'
import { IdentityHeaders } from './records/identity-headers.ts'
import { BatchCursor } from './records/record-batch.ts'

export interface TopicReaderOptions extends ClusterOptions {
  readonly limits: FetchLimits
  /** How records identify events; without it no record has an identity. */
  readonly identity?: EventIdentity
  /** Failures are retried for so many ms. Default: 30 s. */
  readonly patience?: number
  readonly clock: Clock
}

const PATIENCE = 30_000
/** Requests carry no leader epoch (rule F1): the caller compares the epochs of the records. */
const NO_EPOCH = -1

interface PartitionResponse {
  readonly response: FetchResponse
  readonly part: FetchedPartition
}

export class TopicReader {
  readonly #options: TopicReaderOptions
  readonly #cluster: Cluster
  readonly #cursor: BatchCursor
  /** Called with each range of offsets without records. */
  #missing: (from: number, to: number) => void = () => {}
  readonly #closing = new AbortController()
  #topic: Topic | null = null
  /** To the leader that got the last request. */
  #connection: LeaderConnection | null = null

  constructor(options: TopicReaderOptions) {
    this.#options = options
    const { limits, identity = null } = options
    const decompressor = new Decompressor(limits.maxBatchBytes ?? DEFAULT_MAX_BATCH_BYTES)
    const onHole = (from: number, to: number) => this.#missing(from, to)
    this.#cursor = new BatchCursor(decompressor, new IdentityHeaders(identity), undefined, onHole)
    this.#cluster = new Cluster(options)
  }

  /** Returns which parts of the topic can be read now. @throws KafkaError if it does not exist, or brokers are unreachable for `patience` */
  async describe(): Promise<TopicDescription> {
    return await this.#retrying(async () => {
      const { topicId, partitions } = await this.#findTopic()
      const compacted = await this.#cluster.isCompacted()
      const ends = partitions.map(async (leader, partition) => {
        // In this order: otherwise records committed in between could put the readable end after the end.
        const readableEndOffset = await this.#cluster.readableEnd(partition, leader)
        const { start, end } = await this.#cluster.ends(partition, leader)
        return { logStartOffset: start, endOffset: end, readableEndOffset }
      })
      return { topicId, compacted, partitions: await Promise.all(ends) }
    })
  }

  /**
   * Reads the records in [from, to) of a partition, in order. Control batches and aborted transactions are left out.
   * @param progress called with the offset that was reached, after each response
   * @param missing called with each range [from, to) whose records were removed, in order among the records; reading continues behind it
   * @returns null; or, in a sentence, why the records cannot be read to the end: removed, or damaged
   * @throws KafkaError if brokers are unreachable for `patience`
   */
  async read(
    partition: number,
    from: number,
    to: number,
    each: (record: RecordView) => void,
    progress: (offset: number) => void,
    missing: (from: number, to: number) => void = () => {},
  ): Promise<string | null> {
    this.#missing = (from, end) => {
      if (from < to) missing(from, Math.min(end, to))
    }
    const topicId = (this.#topic ?? (await this.#retrying(() => this.#findTopic()))).topicId
    let offset = from
    let unreadable = -1
    while (offset < to) {
      const fetched = await this.#retrying(() => this.#fetch(topicId, partition, offset, to))
      if (typeof fetched === 'string') return fetched
      const { response, part } = fetched
      const cursor = this.#cursor.reset(response.bytes, part.recordsStart, part.recordsEnd, offset, part.aborted, part.recordsMissing)
      do {
        while (cursor.next()) if (cursor.offset < to) each(cursor)
      } while (cursor.paused)
      const moved = cursor.nextOffset > offset
      offset = cursor.nextOffset
      if (moved) progress(Math.min(offset, to))
      if (cursor.corrupt === null || offset >= to) continue
      // The network may have damaged them: they are fetched once more (rule F5).
      if (unreadable === offset) return `the bytes at offset ${offset} cannot be read: ${cursor.corrupt}`
      unreadable = offset
    }
    return null
  }

  close(): void {
    this.#closing.abort()
    this.#disconnect()
    this.#cluster.disconnect()
  }

  async #findTopic(): Promise<Topic> {
    const { topic } = this.#options
    this.#topic = await this.#cluster.topic()
    if (this.#topic !== null) return this.#topic
    throw new KafkaError(
      'no-topic',
      `Kafka at ${this.#options.brokers.join(', ')} has no topic ${topic}: correct the name, or create the topic`,
    )
  }

  /** Fetches from `offset`. @returns the response; or, in a sentence, why there are no records */
  async #fetch(topicId: string, partition: number, offset: number, to: number): Promise<PartitionResponse | string> {
    const { topic } = this.#options
    const leader = await this.#leader(topicId, partition)
    if (typeof leader === 'string') return leader
    const request = { partition, currentLeaderEpoch: leader.leaderEpoch, offset, lastEpoch: NO_EPOCH }
    const response = await this.#connectionTo(leader.node).fetch(topicId, [request])
    const part = response.topics.get(topicId)?.find((found) => found.partition === partition)
    const code = part === undefined || response.errorCode !== CODE.none ? response.errorCode : part.errorCode
    if (code === CODE.offsetOutOfRange) return await this.#whyMissing(partition, leader, offset, to)
    if (code !== CODE.none) throw refusedBy(code, { brokers: [`broker ${leader.node}`], topic })
    if (part === undefined)
      throw new KafkaError('bad-response', `the response of broker ${leader.node} lacks partition ${partition}`, { retried: true })
    if (part.highWatermark < to) return await this.#whyMissing(partition, leader, offset, to)
    if (part.recordsStart === part.recordsEnd)
      throw new KafkaError('bad-response', `broker ${leader.node} returned no records of partition ${partition} at offset ${offset}`, {
        retried: true,
      })
    return { response, part }
  }

  async #leader(topicId: string, partition: number): Promise<Leader | string> {
    const topic = this.#topic ?? (await this.#cluster.topic())
    this.#topic = topic
    if (topic === null) return 'the topic was deleted while it was being read'
    if (topic.topicId !== topicId) return `the topic was deleted and created again while it was being read; its id is now ${topic.topicId}`
    const leader = topic.partitions[partition]
    if (leader === undefined) return 'the topic no longer has this partition'
    if (leader.node < 0)
      throw new KafkaError(
        'no-leader',
        `partition ${partition} of topic ${this.#options.topic} has no leader: start the broker that has its replica`,
      )
    return leader
  }

  /**
   * Finds out why records are missing. The ends of the log are requested for it: the high watermark of a new leader is too low at first, but the
   * leader reports the ends only when it knows them (KIP-207).
   * @throws KafkaError if no records are missing
   */
  async #whyMissing(partition: number, leader: Leader, offset: number, to: number): Promise<string> {
    const { start, end } = await this.#cluster.ends(partition, leader)
    if (offset < start) return `retention removed offsets ${offset} to ${start - 1} before they could be read again`
    if (end < to) return `the log was truncated: it ends at offset ${end}, but was read up to ${to} before`
    throw new KafkaError('refused', `broker ${leader.node} does not have all records of partition ${partition} yet`, { retried: true })
  }

  #connectionTo(node: number): LeaderConnection {
    if (this.#connection?.node !== node) {
      this.#disconnect()
      this.#connection = new LeaderConnection({ ...this.#options, node, cluster: this.#cluster })
    }
    return this.#connection as LeaderConnection
  }

  #disconnect(): void {
    this.#connection?.close()
    this.#connection = null
  }

  /** Retries for `patience`, with new metadata each time. */
  async #retrying<T>(work: () => Promise<T>): Promise<T> {
    const { brokers, topic, clock, patience = PATIENCE } = this.#options
    const retry = new BackOff({ first: 50, longest: 2000, clock })
    const until = clock.now() + patience
    for (;;) {
      try {
        return await work()
      } catch (error) {
        this.#disconnect()
        this.#topic = null
        const failure = kafkaError(error, { brokers, topic })
        if (!failure.retriable || failure.kind === 'no-topic' || clock.now() > until || this.#closing.signal.aborted) throw failure
      }
      await clock.wait(retry.next(), this.#closing.signal)
    }
  }
}
