/**
 * The client library's consumer, for membership alone, with metadata that is given to it.
 *
 * Left to itself it asks for metadata before each request to the group, and takes it for failed as a whole while any partition has no
 * leader: heartbeats end, and the place in the group is lost for the partitions that do have one. And it asks the first broker of its
 * list that lets it connect, which a frozen one does. It also takes what other members have sent for sound: what cannot be read throws where
 * nobody can catch it, and ends the process.
 */
import {
  type API,
  type Callback,
  type CallbackWithPromise,
  type ClusterMetadata,
  type Connection,
  Consumer,
  type ConsumerOptions,
  kGetApi,
  kGetBootstrapConnection,
  kGetConnection,
  kMetadata,
  type MetadataOptions,
} from '@platformatic/kafka'
import type { Cluster, Topic } from '../brokers/cluster.ts'
import { readableAssignment, readableSubscription } from './consumer-protocol.ts'

export type KnownCluster = Pick<Cluster, 'addresses' | 'answering' | 'partitionsOf'>

type Options = ConsumerOptions<Buffer, Buffer, Buffer, Buffer> & { readonly topic: string }

export class GroupConsumer extends Consumer {
  readonly #topic: string
  readonly #cluster: KnownCluster
  readonly #lookedAt: () => Topic

  /** @param lookedAt the topic as it was looked at last */
  constructor(options: Options, cluster: KnownCluster, lookedAt: () => Topic) {
    super(options)
    this.#topic = options.topic
    this.#cluster = cluster
    this.#lookedAt = lookedAt
  }

  override [kMetadata]({ topics = [] }: MetadataOptions, callback: CallbackWithPromise<ClusterMetadata>): void {
    // The leader of the group also assigns the topics to which other programs of the group subscribe.
    const others = topics.filter((topic) => topic !== this.#topic)
    if (others.length === 0) {
      callback(null, this.#metadata(new Map()))
      return
    }
    this.#cluster.partitionsOf(others).then(
      (counts) => callback(null, this.#metadata(new Map(others.map((topic) => [topic, counts.get(topic) ?? 0])))),
      (error) => callback(error),
    )
  }

  #metadata(others: ReadonlyMap<string, number>): ClusterMetadata {
    const { topicId, partitions } = this.#lookedAt()
    const leaders = partitions.map(({ node, leaderEpoch }) => ({ leader: node, leaderEpoch, replicas: [], isr: [], offlineReplicas: [] }))
    const topics: ClusterMetadata['topics'] = new Map()
    topics.set(this.#topic, { id: topicId, partitions: leaders, partitionsCount: leaders.length, lastUpdate: 0 })
    for (const [topic, partitionsCount] of others) topics.set(topic, { id: '', partitions: [], partitionsCount, lastUpdate: 0 })
    return {
      id: '',
      controllerId: -1,
      lastUpdate: 0,
      brokers: new Map([...this.#cluster.addresses].map(([node, address]) => [node, { ...address, rack: null }])),
      topics,
    }
  }

  /** What members have sent one another, through the coordinator, is made readable before the library reads it. */
  override [kGetApi]<Request extends unknown[], Response>(name: string, callback: Callback<API<Request, Response>>): void {
    const readable = READABLE[name]
    super[kGetApi]<Request, Response>(name, (error, api) => {
      if (error || api === undefined || readable === undefined) return callback(error, api as API<Request, Response>)
      const call = (...request: unknown[]) => {
        const answered = request.pop() as Callback<unknown>
        const answer: Callback<unknown> = (failure, response) => answered(failure, failure ? response : readable(response))
        return (api as unknown as (...request: unknown[]) => unknown)(...request, answer)
      }
      callback(null, Object.assign(call, api) as API<Request, Response>)
    })
  }

  override [kGetBootstrapConnection](callback: Callback<Connection>): void {
    this[kGetConnection](this.#cluster.answering, callback)
  }
}

const READABLE: Readonly<Record<string, (response: unknown) => unknown>> = {
  JoinGroup: (response) => {
    const joined = response as { readonly members: readonly { readonly metadata?: Buffer | null }[] }
    const members = joined.members.map((member) => ({ ...member, metadata: readableSubscription(member.metadata ?? NONE) }))
    return { ...joined, members }
  },
  SyncGroup: (response) => {
    const synced = response as { readonly assignment: Buffer }
    return { ...synced, assignment: readableAssignment(synced.assignment) }
  },
}
const NONE = Buffer.alloc(0)
