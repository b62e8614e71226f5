/** One member of a consumer group: waits for the topic, joins the group, and reads the partitions that the group assigns to it. */

import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import { withDeadline } from '@poke-api-pipeline/service-kit/deadline'
import { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import { fanOut } from '@poke-api-pipeline/service-kit/fan-out'
import { Cluster, type ClusterOptions } from './brokers/cluster.ts'
import { DEFAULT_MAX_BATCH_BYTES, type FetchLimits } from './brokers/fetch-response.ts'
import { LogWatch, type LogWatchObserver } from './brokers/log-watch.ts'
import { checkRights } from './brokers/rights.ts'
import { TopicWatch } from './brokers/topic-watch.ts'
import { FetchCoordinator } from './fetch-coordinator.ts'
import { GroupMembers, type GroupMembersObserver, usersOf } from './group/group-members.ts'
import { Membership, type MembershipObserver } from './group/membership.ts'
import { OffsetMirror, type OffsetMirrorObserver } from './group/offset-mirror.ts'
import type { StoreIdentity } from './group/store-claim.ts'
import { StoreOfGroup } from './group/store-of-group.ts'
import type { EventIdentity, PartitionHandler, RecordReader } from './ports.ts'
import { Decompressor } from './records/decompress.ts'
import { IdentityHeaders } from './records/identity-headers.ts'
import { BatchCursor } from './records/record-batch.ts'

/** What a reader reports. A listener implements the methods that it needs. */
export interface ReaderObserver extends MembershipObserver, OffsetMirrorObserver, LogWatchObserver, GroupMembersObserver {
  /** The topic does not exist yet; reported once. */
  waitingForTopic(topic: string): void
  /** A request to Kafka failed and is retried; called at each attempt. */
  brokerAway(error: Error): void
  /** Everything answers again. */
  brokerBack(): void
  /** A quota makes this client wait; reported with each response. */
  throttled(error: Error): void
  /** No quota makes it wait any longer. */
  notThrottled(): void
}

export interface GroupReaderOptions extends Omit<ClusterOptions, 'requestTimeout'> {
  readonly groupId: string
  /** Topics that the user of the reader writes to. Where reading is not allowed, the rights that are missing on these are named as well. */
  readonly writableTopics?: readonly string[]
  /** The store that keeps the positions: all instances of a group must use the same one (rule S5). */
  readonly store: StoreIdentity
  /** Without a heartbeat for this long a member's partitions go to others, in ms. Default: 10 s. */
  readonly sessionTimeout?: number
  readonly limits: FetchLimits
  /** How records identify events; without it no record has an identity. */
  readonly identity?: EventIdentity
  readonly observer?: Partial<ReaderObserver>
  readonly clock: Clock
  /** Called at named steps; for tests that kill the process there. */
  readonly crashPoint?: (point: 'mirrored') => void
}

/** How long committing the last positions to the group may take, in ms. */
const LAST_MIRROR = 1000
const SESSION_TIMEOUT = 10_000

export class GroupReader implements RecordReader {
  readonly #options: GroupReaderOptions & { readonly observer: ReaderObserver; readonly sessionTimeout: number }

  constructor(options: GroupReaderOptions) {
    this.#options = { sessionTimeout: SESSION_TIMEOUT, ...options, observer: fanOut<ReaderObserver>([options.observer ?? {}]) }
  }

  async run(handler: PartitionHandler, signal: AbortSignal): Promise<void> {
    const { observer } = this.#options
    const cluster = new Cluster(this.#options)
    const failures = new FailureTracker({ failed: (error) => observer.brokerAway(error), over: () => observer.brokerBack() })
    const topics = new TopicWatch({ ...this.#options, cluster, failures, waitingForTopic: (topic) => observer.waitingForTopic(topic) })
    // Otherwise stopping would wait for the deadlines of requests under way.
    const disconnect = () => cluster.disconnect()
    signal.addEventListener('abort', disconnect)
    try {
      if (!(await checkRights({ ...this.#options, cluster, failures }, signal))) return
      if (await topics.found(signal)) await this.#read(handler, cluster, topics, failures, signal)
    } finally {
      signal.removeEventListener('abort', disconnect)
      cluster.disconnect()
    }
  }

  async #read(
    handler: PartitionHandler,
    cluster: Cluster,
    topics: TopicWatch,
    failures: FailureTracker,
    signal: AbortSignal,
  ): Promise<void> {
    const { observer } = this.#options
    const storeOfGroup = new StoreOfGroup({
      ...this.#options,
      cluster,
      failures,
      partitions: () => topics.current.partitions.length,
      onConfirmed: () => handler.storeConfirmed?.(),
    })
    const membership = new Membership({
      ...this.#options,
      storeId: this.#options.store.id,
      cluster,
      topics,
      confirmStore: (signal) => storeOfGroup.check(signal),
      describeUsers: async () => usersOf(await cluster.describeGroup(this.#options.groupId)),
    })
    const identity = new IdentityHeaders(this.#options.identity ?? null)
    const decompressor = new Decompressor(this.#options.limits.maxBatchBytes ?? DEFAULT_MAX_BATCH_BYTES)
    const coordinator = new FetchCoordinator({
      ...this.#options,
      cluster,
      topics,
      failures,
      quotas: new FailureTracker({ failed: (error) => observer.throttled(error), over: () => observer.notThrottled() }),
      newCursor: () => new BatchCursor(decompressor, identity),
      confirmed: () => membership.confirmed(),
    })
    const mirror = new OffsetMirror({
      ...this.#options,
      cluster,
      member: () => membership.member,
      positions: () => coordinator.positions,
      openedOffset: (partition) => coordinator.openedOffset(partition),
    })
    const stop = new AbortController()
    const running = AbortSignal.any([signal, stop.signal])
    const leaving = new AbortController()
    const polling = topics.run(({ partitions }) => {
      coordinator.topicRefreshed()
      void membership.onPartitionCount(partitions.length)
    }, running)
    const member = membership.run((partitions) => coordinator.assign(partitions), leaving.signal)
    const fetching = coordinator.run(handler, running)
    const mirroring = mirror.run(running)
    const measuring = new LogWatch({ ...this.#options, cluster, topics }).run(running)
    const checking = storeOfGroup.run(running)
    const members = new GroupMembers({
      ...this.#options,
      cluster,
      failures,
      partitions: () => topics.current.partitions.length,
      member: () => membership.member,
    })
    const watching = members.run(running)
    try {
      await Promise.race([fetching, member, polling, checking, watching])
    } finally {
      stop.abort()
      // Before leaving the group: the partitions are closed, and their last positions are committed to it.
      const [closed] = await Promise.allSettled([fetching])
      if (closed.status === 'fulfilled')
        await withDeadline(mirror.write(closed.value), LAST_MIRROR, 'mirroring the last offsets').catch(() => {})
      leaving.abort()
      await Promise.allSettled([member, polling, mirroring, measuring, checking, watching])
    }
  }
}
