/** Reads the partitions that the group assigned to this member: a `PartitionFetcher` for each, and a `BrokerFetcher` for each broker that leads any. */
import { BrokerFetcher, type BrokerFetcherOptions } from './broker-fetcher.ts'
import type { Cluster, Positions } from './brokers/cluster.ts'
import type { TopicWatch } from './brokers/topic-watch.ts'
import { type FetchContext, PartitionFetcher } from './partition-fetcher.ts'
import type { PartitionHandler } from './ports.ts'
import type { BatchCursor } from './records/record-batch.ts'

export interface FetchCoordinatorOptions extends Omit<BrokerFetcherOptions, 'node' | 'partitions' | 'topicId' | 'requestRefresh'> {
  readonly cluster: Pick<Cluster, 'ends' | 'address' | 'fetchVersion'>
  readonly topics: Pick<TopicWatch, 'current' | 'leaderOf' | 'requestRefresh'>
  readonly brokers: readonly string[]
  readonly newCursor: () => BatchCursor
  /** Resolves when the group has lately confirmed that this instance is a member. */
  readonly confirmed: () => Promise<void>
}

export class FetchCoordinator {
  readonly #options: FetchCoordinatorOptions
  readonly #partitions = new Map<number, PartitionFetcher>()
  /** By node. */
  readonly #brokers = new Map<number, BrokerFetcher>()
  /** A partition is opened again only when it was closed. */
  readonly #closing = new Map<number, Promise<void>>()
  #assigned: ReadonlySet<number> = new Set()
  #context: FetchContext | null = null
  readonly #fatal = Promise.withResolvers<never>()

  constructor(options: FetchCoordinatorOptions) {
    this.#options = options
    // It may be rejected before `run` listens, or after.
    this.#fatal.promise.catch(() => {})
  }

  /** The store's position of each partition that is being read. */
  get positions(): Positions {
    const positions = new Map<number, { readonly offset: number; readonly leaderEpoch: number }>()
    for (const [partition, { position }] of this.#partitions) if (position !== null) positions.set(partition, position)
    return positions
  }

  /** The store's position when a partition was opened; null where it is not being read here. */
  openedOffset(partition: number): number | null {
    return this.#partitions.get(partition)?.openedOffset ?? null
  }

  /** Reads these partitions from now on, and no others. */
  assign(partitions: ReadonlySet<number>): void {
    this.#assigned = partitions
    this.#reconcile()
  }

  /** New metadata has arrived: leaders, the topic's id, or whether it is compacted may have changed. */
  topicRefreshed(): void {
    this.#reconcile()
    if (this.#options.topics.current.compacted) for (const fetcher of this.#partitions.values()) fetcher.refuseCompacted()
  }

  /**
   * Fetches until the signal is aborted; then closes every partition.
   * @returns the last positions
   * @throws ServiceError where trying again cannot help
   */
  async run(handler: PartitionHandler, signal: AbortSignal): Promise<Positions> {
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
      requestRefresh: () => topics.requestRefresh(),
      onRequestable: () => this.#wake(),
      onFatal: (error) => this.#fatal.reject(error),
    }
    const aborted = Promise.withResolvers<void>()
    const abort = () => aborted.resolve()
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
    this.#reconcile()
    try {
      await Promise.race([aborted.promise, this.#fatal.promise])
    } finally {
      signal.removeEventListener('abort', abort)
      this.#context = null
      await this.#close()
    }
    return this.positions
  }

  /** The closed fetchers stay in the map, so that their last positions can be asked for. */
  async #close(): Promise<void> {
    for (const broker of this.#brokers.values()) broker.close()
    await Promise.all([...this.#partitions.values()].map((fetcher) => fetcher.close()))
    await Promise.all(this.#closing.values())
  }

  /** Opens partitions that were assigned, and closes those that were taken away or belong to an earlier topic of the same name. */
  #reconcile(): void {
    const context = this.#context
    if (context === null) return
    const { topic, topics } = this.#options
    const { topicId, partitions } = topics.current
    for (const fetcher of [...this.#partitions.values()]) {
      const { topicPartition } = fetcher
      if (topicPartition.topicId !== topicId || !this.#assigned.has(topicPartition.partition)) this.#closePartition(fetcher)
    }
    for (const partition of this.#assigned) {
      // The group may assign partitions that were added after the last metadata arrived here.
      if (this.#partitions.has(partition) || partition >= partitions.length) continue
      const fetcher = new PartitionFetcher({ topic, topicId, partition }, context)
      this.#partitions.set(partition, fetcher)
      fetcher.start(this.#closing.get(partition) ?? Promise.resolve())
    }
    this.#moveToLeaders()
  }

  #closePartition(fetcher: PartitionFetcher): void {
    const { partition } = fetcher.topicPartition
    this.#partitions.delete(partition)
    const closed = Promise.all([this.#closing.get(partition), fetcher.close()]).then(() => {
      if (this.#closing.get(partition) === closed) this.#closing.delete(partition)
    })
    this.#closing.set(partition, closed)
  }

  #moveToLeaders(): void {
    const { topics } = this.#options
    const led = Map.groupBy(this.#partitions.values(), ({ topicPartition }) => topics.leaderOf(topicPartition.partition).node)
    // Partitions without a leader.
    led.delete(-1)
    for (const [node, broker] of [...this.#brokers]) {
      if (led.has(node)) continue
      this.#brokers.delete(node)
      broker.close()
    }
    for (const [node, fetchers] of led) {
      for (const fetcher of fetchers) fetcher.setLeader(node)
      if (!this.#brokers.has(node)) this.#brokers.set(node, this.#startBroker(node))
    }
    this.#wake()
  }

  #startBroker(node: number): BrokerFetcher {
    const { topics } = this.#options
    const broker = new BrokerFetcher({
      ...this.#options,
      node,
      partitions: () =>
        [...this.#partitions.values()].filter(({ topicPartition }) => topics.leaderOf(topicPartition.partition).node === node),
      topicId: () => topics.current.topicId,
      requestRefresh: () => topics.requestRefresh(),
    })
    broker.run().catch((error) => this.#fatal.reject(error))
    return broker
  }

  #wake(): void {
    for (const broker of this.#brokers.values()) broker.wake()
  }
}
