/** Reads the partitions that were handed to this member: a feed for each of them, and a loop for each broker that leads any. */

import type { BaseOptions } from '@platformatic/kafka'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import { BrokerFetcher } from './broker-fetcher.ts'
import type { Cluster, Positions } from './brokers/cluster.ts'
import type { FetchLimits } from './brokers/fetch-response.ts'
import type { TopicWatch } from './brokers/topic-watch.ts'
import { type FeedContext, PartitionFetcher } from './partition-fetcher.ts'
import type { FetchHandler } from './ports.ts'
import type { BatchCursor } from './records/record-batch.ts'

export interface FetchCoordinatorOptions {
  readonly cluster: Pick<Cluster, 'ends' | 'address' | 'fetchVersion'>
  readonly topics: Pick<TopicWatch, 'current' | 'leaderOf' | 'doubt'>
  readonly brokers: readonly string[]
  readonly topic: string
  readonly clientId: string
  readonly clientOptions?: Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
  readonly limits: FetchLimits
  readonly newCursor: () => BatchCursor
  readonly failures: FailureTracker
  /** Quotas that make this client wait, by broker. */
  readonly quotas: FailureTracker
  /** Resolves when the group has lately confirmed that this member is one. */
  readonly confirmed: () => Promise<void>
  readonly clock: Clock
  /** For how long nothing may come beyond a broker's own waiting, in ms. */
  readonly longestSilence?: number
}

export class FetchCoordinator {
  readonly #options: FetchCoordinatorOptions
  readonly #feeds = new Map<number, PartitionFetcher>()
  readonly #loops = new Map<number, BrokerFetcher>()
  /** A partition is opened again only when it was closed. */
  readonly #closing = new Map<number, Promise<void>>()
  #assigned: ReadonlySet<number> = new Set()
  #context: FeedContext | null = null
  readonly #failed = Promise.withResolvers<never>()

  constructor(options: FetchCoordinatorOptions) {
    this.#options = options
    // Rejected before `run` or after it: nobody has to know.
    this.#failed.promise.catch(() => {})
  }

  /** What the store has of each partition that is read. */
  get positions(): Positions {
    return positionsOf(this.#feeds.values())
  }

  /** Where the store stood when a partition was opened; null where it is not read here. */
  openedAt(partition: number): number | null {
    return this.#feeds.get(partition)?.openedAt ?? null
  }

  /** From now on these partitions are read, and no others. */
  assign(partitions: ReadonlySet<number>): void {
    this.#assigned = partitions
    this.#reconcile()
  }

  /** The topic was looked at: its leaders, its id, or whether it is compacted may have changed. */
  topicLookedAt(): void {
    this.#reconcile()
    if (this.#options.topics.current.compacted) for (const feed of this.#feeds.values()) feed.refuseCompacted()
  }

  /**
   * Fetches until the signal is aborted; then closes every partition.
   * @returns the last positions
   * @throws ServiceError where it is hopeless
   */
  async run(handler: FetchHandler, signal: AbortSignal): Promise<Positions> {
    const { cluster, topics, brokers, failures, newCursor, confirmed, clock } = this.#options
    this.#context = {
      cluster,
      brokers,
      handler,
      failures,
      newCursor,
      confirmed,
      clock,
      signal,
      leaderOf: (partition) => topics.leaderOf(partition),
      isCompacted: () => topics.current.compacted,
      doubt: () => topics.doubt(),
      ready: () => this.#wake(),
      failed: (error) => this.#failed.reject(error),
    }
    const aborted = Promise.withResolvers<void>()
    const abort = () => aborted.resolve()
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
    this.#reconcile()
    try {
      await Promise.race([aborted.promise, this.#failed.promise])
    } finally {
      signal.removeEventListener('abort', abort)
      this.#context = null
      await this.#end()
    }
    return this.positions
  }

  /** The feeds stay where they are, so that their last positions can be asked for. */
  async #end(): Promise<void> {
    for (const loop of this.#loops.values()) loop.close()
    await Promise.all([...this.#feeds.values()].map((feed) => feed.close()))
    await Promise.all(this.#closing.values())
  }

  /** Opens what was handed to us and closes what was taken away, or is of another topic by now; each leader gets a loop. */
  #reconcile(): void {
    const context = this.#context
    if (context === null) return
    const { topic, topics } = this.#options
    const { topicId, partitions } = topics.current
    for (const feed of [...this.#feeds.values()]) {
      if (feed.at.topicId !== topicId || !this.#assigned.has(feed.at.partition)) this.#close(feed)
    }
    for (const partition of this.#assigned) {
      // The group may know of partitions that were added before they are known here.
      if (this.#feeds.has(partition) || partition >= partitions.length) continue
      const feed = new PartitionFetcher({ topic, topicId, partition }, context)
      this.#feeds.set(partition, feed)
      feed.start(this.#closing.get(partition) ?? Promise.resolve())
    }
    this.#moveToLeaders()
  }

  #close(feed: PartitionFetcher): void {
    const { partition } = feed.at
    this.#feeds.delete(partition)
    const closed = Promise.all([this.#closing.get(partition), feed.close()]).then(() => {
      if (this.#closing.get(partition) === closed) this.#closing.delete(partition)
    })
    this.#closing.set(partition, closed)
  }

  #moveToLeaders(): void {
    const led = new Map<number, PartitionFetcher[]>()
    for (const feed of this.#feeds.values()) {
      const { node } = this.#options.topics.leaderOf(feed.at.partition)
      if (node >= 0) led.set(node, [...(led.get(node) ?? []), feed])
    }
    for (const [node, loop] of [...this.#loops]) {
      if (led.has(node)) continue
      this.#loops.delete(node)
      loop.close()
    }
    for (const [node, feeds] of led) {
      for (const feed of feeds) feed.ledBy(node)
      if (!this.#loops.has(node)) this.#loops.set(node, this.#startLoop(node))
    }
    this.#wake()
  }

  #startLoop(node: number): BrokerFetcher {
    const { topics } = this.#options
    const loop = new BrokerFetcher({
      ...this.#options,
      node,
      feeds: () => [...this.#feeds.values()].filter((feed) => topics.leaderOf(feed.at.partition).node === node),
      topicId: () => topics.current.topicId,
      doubt: () => topics.doubt(),
    })
    loop.run().catch((error) => this.#failed.reject(error))
    return loop
  }

  #wake(): void {
    for (const loop of this.#loops.values()) loop.wake()
  }
}

function positionsOf(feeds: Iterable<PartitionFetcher>): Positions {
  const positions = new Map<number, { readonly offset: number; readonly leaderEpoch: number }>()
  for (const feed of feeds) if (feed.position !== null) positions.set(feed.at.partition, feed.position)
  return positions
}
