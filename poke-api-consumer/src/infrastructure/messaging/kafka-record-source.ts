/** The Kafka side of the consumer: waits for the topic, is a member of the group, and fetches what the group hands out. */
import type { BaseOptions } from '@platformatic/kafka'
import type { FetchHandler, RecordSource } from '../../application/ports.ts'
import { KafkaError } from '../../errors.ts'
import { Cluster, type Topic } from './cluster.ts'
import { Decompressor } from './decompress.ts'
import { type FetchLimits, FetchLoop, type FetchLoopObserver } from './fetch-loop.ts'
import { Membership, type MembershipObserver } from './membership.ts'
import { BatchCursor } from './record-batch.ts'
import { SourceTable } from './source-table.ts'

export interface SourceObserver extends FetchLoopObserver, MembershipObserver {
  /** The topic does not exist yet; said once. */
  waitingForTopic(topic: string): void
}

export interface KafkaRecordSourceOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly groupId: string
  readonly clientId: string
  readonly clientOptions?: Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
  readonly sessionTimeout?: number
  readonly limits: FetchLimits
  readonly observer: SourceObserver
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  readonly now: () => number
  readonly random: () => number
}

/** What the records of a batch may decompress to at most. */
const LARGEST_BATCH = 128 * 1024 * 1024
const TOPIC_LOOK_INTERVAL = 500
/** How often partitions are counted, in ms. */
const PARTITIONS_LOOK_INTERVAL = 10_000
/** How often positions are written to the group, in ms. */
const MIRROR_INTERVAL = 1000

export class KafkaRecordSource implements RecordSource {
  readonly #options: KafkaRecordSourceOptions

  constructor(options: KafkaRecordSourceOptions) {
    this.#options = options
  }

  async run(handler: FetchHandler, signal: AbortSignal): Promise<void> {
    const cluster = new Cluster(this.#options)
    const stop = new AbortController()
    const running = AbortSignal.any([signal, stop.signal])
    try {
      const topic = await this.#topic(cluster, running)
      if (topic === null) return
      const cursor = new BatchCursor(new Decompressor(LARGEST_BATCH), new SourceTable())
      const loop = new FetchLoop(topic, { ...this.#options, cluster, cursor })
      const membership = new Membership(this.#options)
      const leaving = new AbortController()
      const member = membership.run((partitions) => loop.assign(partitions), leaving.signal)
      const fetching = loop.run(handler, running)
      const mirroring = this.#mirror(loop, membership, running)
      try {
        await Promise.race([fetching, member])
      } finally {
        stop.abort()
        // The partitions are closed before they are given away: the last commit is in.
        await Promise.allSettled([fetching, mirroring])
        leaving.abort()
        await Promise.allSettled([member])
      }
    } finally {
      await cluster.disconnect()
    }
  }

  /** Waits for the topic; null once the signal is aborted. @throws KafkaError where it is hopeless */
  async #topic(cluster: Cluster, signal: AbortSignal): Promise<Topic | null> {
    const { observer, wait, topic } = this.#options
    let waiting = false
    while (!signal.aborted) {
      try {
        await cluster.fetch()
        const found = await cluster.topic()
        if (found !== null) {
          observer.brokerBack()
          return found
        }
        observer.brokerBack()
        if (!waiting) observer.waitingForTopic(topic)
        waiting = true
      } catch (error) {
        if (error instanceof KafkaError && !error.retriable) throw error
        observer.brokerAway(error as Error)
      }
      await wait(TOPIC_LOOK_INTERVAL, signal)
    }
    return null
  }

  /** Writes positions that moved to the group, and looks whether partitions were added. */
  async #mirror(loop: FetchLoop, membership: Membership, signal: AbortSignal): Promise<void> {
    const { wait, now } = this.#options
    const mirrored = new Map<number, number>()
    let looked = now()
    while (!signal.aborted) {
      await wait(MIRROR_INTERVAL, signal)
      const moved = new Map([...loop.positions].filter(([partition, offset]) => mirrored.get(partition) !== offset))
      if (membership.mirror(moved)) for (const [partition, offset] of moved) mirrored.set(partition, offset)
      if (now() - looked > PARTITIONS_LOOK_INTERVAL) {
        looked = now()
        if (await loop.partitionsAdded()) membership.rejoin()
      }
    }
  }
}
