/** What is asked of the brokers besides records and membership: the topic and its leaders, the ends of its logs, versions; and offsets to be mirrored. */

import {
  type API,
  consumerGroupDescribeV0,
  createTopicsV7,
  describeConfigsV4,
  describeGroupsV5,
  findCoordinatorV4,
  listGroupsV5,
  listOffsetsV7,
  metadataV12,
  offsetCommitV8,
  offsetFetchV8,
  parseBroker,
} from '@platformatic/kafka'
import { errorsIn, unreachableListener } from '@poke-api-pipeline/kafka-common/kafka-connecting'
import type { KafkaSecurity } from '@poke-api-pipeline/kafka-common/kafka-security'
import { NOTHING_ALLOWED } from '@poke-api-pipeline/kafka-common/rights'
import { KafkaError } from '../errors.ts'
import type { GroupOffset } from '../group/store-claim.ts'
import { type BrokerAddress, BrokerConnection } from './broker-connection.ts'
import { NEWEST_FETCH, OLDEST_FETCH } from './fetch-response.ts'
import { CODE, refusedBy } from './kafka-failure.ts'

export interface ClusterOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly clientId: string
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: KafkaSecurity
  /** For how long connecting, and each answer, may take, in ms. */
  readonly requestTimeout?: number
}

/** One incarnation of the topic. */
export interface Topic {
  readonly topicId: string
  readonly partitions: readonly Leader[]
}

/** What a client may do with a topic. */
export interface TopicRights {
  /** Whether there is one that this client may see. */
  readonly exists: boolean
  /** A bit for each operation, as brokers say it (KIP-430). */
  readonly allowed: number
}

/** Who leads a partition. */
export interface Leader {
  /** −1: nobody. */
  readonly node: number
  readonly leaderEpoch: number
}

/** Where a partition's log begins and ends. */
export interface LogEnds {
  /** First offset. */
  readonly start: number
  /** The high watermark: the one after the last that all in-sync replicas have. */
  readonly end: number
}

export interface LogBounds extends LogEnds {
  /** The last stable offset: from here on, open transactions hold records back. */
  readonly stableEnd: number
}

/** A place in a generation of the group. */
export interface Member {
  readonly groupId: string
  readonly memberId: string
  readonly generationId: number
}

export interface GroupMember {
  readonly memberId: string
  readonly clientId: string
  readonly host: string
  /** What a member of a classic group says of itself, in the group's protocol; null in others. */
  readonly metadata: Buffer | null
  /** What the leader of a classic group handed it; null in others. */
  readonly assignment: Buffer | null
  /** What the coordinator handed it of the topic; empty in classic groups. */
  readonly partitions: readonly number[]
}

/** A group as its coordinator knows it. */
export interface DescribedGroup {
  /** `classic`: the leader hands out partitions; `consumer`: the coordinator does (KIP-848); `other`: it has no consumers, but for instance shares. */
  readonly kind: 'classic' | 'consumer' | 'other'
  /** What members of a classic group are: `consumer`, `connect`; empty where nobody is there. */
  readonly protocolType: string
  /** By what a classic group hands out partitions; of others the coordinator's word for it. */
  readonly protocol: string
  /** Nobody is being handed anything just now. */
  readonly isStable: boolean
  readonly members: readonly GroupMember[]
}

/** Who commits for a group that has no members. */
export function nobodyOf(groupId: string): Member {
  return { groupId, memberId: '', generationId: -1 }
}

/** By partition: the next offset to count, and the leader epoch of the last batch before it. */
export type Positions = ReadonlyMap<number, { readonly offset: number; readonly leaderEpoch: number }>

const REQUEST_TIMEOUT = 5000
const FETCH = 1
const TOPIC_RESOURCE = 2 as const
const GROUP_COORDINATOR = 0
const EARLIEST = -2n
const LATEST = -1n
/** Isolation levels: with the second one, LATEST is the last stable offset. */
const READ_UNCOMMITTED = 0
const READ_COMMITTED = 1
/** Whichever broker answers. */
const ANY = -1

export class Cluster {
  readonly #options: ClusterOptions
  readonly #bootstrap: readonly BrokerAddress[]
  readonly #timeout: number
  /** By node; a connection is thrown away after any failure. */
  readonly #connections = new Map<number, Promise<BrokerConnection>>()
  #addresses: ReadonlyMap<number, BrokerAddress> = new Map()
  /** Looking for any broker begins with another one each time. */
  #turn = 0
  #answering: BrokerAddress
  #coordinator: number | null = null
  /** Aborted and replaced when all connections are closed, those that are being made too. */
  #connected = new AbortController()

  constructor(options: ClusterOptions) {
    this.#options = options
    this.#bootstrap = options.brokers.map((broker) => parseBroker(broker))
    this.#answering = this.#bootstrap[0] as BrokerAddress
    this.#timeout = options.requestTimeout ?? REQUEST_TIMEOUT
  }

  /**
   * The topic as some broker knows it now.
   * @returns null where it does not exist
   * @throws KafkaError
   */
  async topic(): Promise<Topic | null> {
    const { topic: name } = this.#options
    const answer = await this.#ask(ANY, metadataV12.api, 'looking for the topic', [name], false, false)
    this.#addresses = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    const topic = answer.topics.find((found) => found.name === name)
    if (topic === undefined || topic.errorCode === CODE.unknownTopicOrPartition) return null
    if (topic.errorCode !== CODE.none) throw refusedBy(topic.errorCode, this.#options)
    // A partition may have an error of its own: it has no leader then, which keeps nobody from reading the others.
    const partitions: Leader[] = []
    for (const { partitionIndex, leaderId, leaderEpoch } of topic.partitions) partitions[partitionIndex] = { node: leaderId, leaderEpoch }
    return { topicId: topic.topicId, partitions: Array.from(partitions, (leader) => leader ?? { node: -1, leaderEpoch: -1 }) }
  }

  /** How many partitions topics have, by name; those that do not exist, or may not be looked at, are missing. @throws KafkaError */
  async partitionsOf(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { topics } = await this.#ask(ANY, metadataV12.api, 'looking for what others subscribe to', [...names], false, false)
    const found = topics.filter(({ errorCode }) => errorCode === CODE.none)
    return new Map(found.map(({ name, partitions }) => [name ?? '', partitions.length]))
  }

  /** What this client may do with some topics, by name. @throws KafkaError */
  async topicRights(names: readonly string[]): Promise<ReadonlyMap<string, TopicRights>> {
    const answer = await this.#ask(ANY, metadataV12.api, 'asking what is allowed of topics', [...names], false, true)
    return new Map(
      answer.topics.map(({ name, errorCode, topicAuthorizedOperations }) => [
        name ?? '',
        {
          exists: errorCode !== CODE.unknownTopicOrPartition && errorCode !== CODE.topicAuthorizationFailed,
          allowed: errorCode === CODE.topicAuthorizationFailed ? NOTHING_ALLOWED : topicAuthorizedOperations,
        },
      ]),
    )
  }

  /** What this client may do with the group, a bit for each operation; 0 where brokers do not say. @throws KafkaError */
  async groupRights(groupId: string): Promise<number> {
    if ((await this.#lookForCoordinator(groupId)).errorCode === CODE.groupAuthorizationFailed) return NOTHING_ALLOWED
    return await this.#askCoordinator(groupId, async (coordinator) => {
      const { api } = describeGroupsV5
      const [min, max] = (await this.#connection(coordinator)).versions(api.key) ?? [0, 0]
      if (api.version < min || api.version > max) return 0
      const { groups } = await this.#ask(coordinator, api, 'asking what is allowed of the group', [groupId], true)
      const code = groups[0]?.errorCode ?? CODE.none
      if (code === CODE.groupAuthorizationFailed) return NOTHING_ALLOWED
      // A group that this request is not made for (KIP-848): nothing is known of it.
      if (code === CODE.groupIdNotFound) return 0
      if (code !== CODE.none) throw refusedBy(code, this.#options)
      return groups[0]?.authorizedOperations ?? 0
    })
  }

  /** Whether this client may make a topic: asks for it, without its being made. @throws KafkaError */
  async mayCreate(name: string): Promise<boolean> {
    const { api } = createTopicsV7
    const topic = { name, numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] }
    const { topics } = await this.#ask(ANY, api, 'asking whether a topic may be made', [topic], this.#timeout, true)
    return topics[0]?.errorCode !== CODE.topicAuthorizationFailed
  }

  /** The brokers that the cluster named last. */
  get addresses(): ReadonlyMap<number, BrokerAddress> {
    return this.#addresses
  }

  /** The broker that answered last when any of them was looked for. */
  get answering(): BrokerAddress {
    return this.#answering
  }

  /** Where a broker is. @throws KafkaError where the cluster does not name it */
  address(node: number): BrokerAddress {
    const address = this.#addresses.get(node)
    if (address === undefined) throw new KafkaError('no-leader', `broker ${node} is not in the metadata of the cluster`, { retried: true })
    return address
  }

  /**
   * The newest version of Fetch that both a broker and this service know.
   * @param node null: any broker
   * @throws KafkaError `unsupported-broker` where it does not know topic ids
   */
  async fetchVersion(node: number | null): Promise<number> {
    const [min, max] = (await this.#connection(node ?? ANY)).versions(FETCH) ?? [0, 0]
    if (max >= OLDEST_FETCH && min <= NEWEST_FETCH) return Math.min(NEWEST_FETCH, max)
    throw new KafkaError(
      'unsupported-broker',
      `Kafka at ${this.#options.brokers.join(', ')} is ${max < OLDEST_FETCH ? 'too old' : 'too new'}: it speaks Fetch from version ${min} to ${max}, and one from ${OLDEST_FETCH} to ${NEWEST_FETCH} is needed; use Kafka 3.1 or newer`,
    )
  }

  /** Both ends of a partition's log, as its leader has them. @throws KafkaError */
  async ends(partition: number, leader: Leader): Promise<LogEnds> {
    const [start, end] = await Promise.all([this.#offset(partition, leader, EARLIEST), this.#offset(partition, leader, LATEST)])
    return { start, end }
  }

  /**
   * The ends of the logs of partitions that a broker leads; those that it refuses to tell are missing.
   * @throws KafkaError where it does not answer
   */
  async endsOf(node: number, leaders: ReadonlyMap<number, Leader>): Promise<ReadonlyMap<number, LogBounds>> {
    const [starts, ends, stableEnds] = await Promise.all([
      this.#offsets(node, leaders, EARLIEST, READ_UNCOMMITTED),
      this.#offsets(node, leaders, LATEST, READ_UNCOMMITTED),
      this.#offsets(node, leaders, LATEST, READ_COMMITTED),
    ])
    const known = new Map<number, LogBounds>()
    for (const partition of leaders.keys()) {
      const found = [starts.get(partition), ends.get(partition), stableEnds.get(partition)]
      if (!found.every((one) => one?.errorCode === CODE.none)) continue
      const [start, end, stableEnd] = found.map((one) => Number(one?.offset)) as [number, number, number]
      known.set(partition, { start, end, stableEnd })
    }
    return known
  }

  /** The end of a partition's log for whoever reads what is committed: the first offset of an open transaction, where there is one. @throws KafkaError */
  async readableEnd(partition: number, leader: Leader): Promise<number> {
    return await this.#offset(partition, leader, LATEST, READ_COMMITTED)
  }

  /** Whether old records of the topic are replaced by newer ones of the same key (rule S6). @throws KafkaError */
  async isCompacted(): Promise<boolean> {
    const { topic } = this.#options
    const resource = { resourceType: TOPIC_RESOURCE, resourceName: topic, configurationKeys: ['cleanup.policy'] }
    const { results } = await this.#ask(ANY, describeConfigsV4.api, 'asking for the topic’s settings', [resource], false, false)
    const result = results[0]
    if (result?.errorCode === CODE.topicAuthorizationFailed) {
      throw new KafkaError(
        'not-authorised',
        `Kafka does not tell this user whether topic ${topic} is compacted: grant DescribeConfigs on it`,
      )
    }
    if (result === undefined || result.errorCode !== CODE.none)
      throw refusedBy(result?.errorCode ?? CODE.unknownTopicOrPartition, this.#options)
    return result.configs.some(({ name, value }) => name === 'cleanup.policy' && value?.includes('compact') === true)
  }

  /**
   * Writes positions to the group, for tools that show lag by them.
   * @param metadata goes with each of them: the first of these texts that the broker does not find too long
   * @returns false where the group is at another generation by now, or has members and this is none
   * @throws KafkaError
   */
  async commitOffsets(member: Member, positions: Positions, metadata: readonly string[]): Promise<boolean> {
    for (const text of metadata) {
      const code = await this.#commitOffsets(member, positions, text)
      if (code === CODE.none) return true
      if (code === CODE.illegalGeneration || code === CODE.unknownMemberId || code === CODE.rebalanceInProgress) return false
      if (code !== CODE.offsetMetadataTooLarge) throw refusedBy(code, this.#options)
    }
    throw refusedBy(CODE.offsetMetadataTooLarge, this.#options)
  }

  async #commitOffsets({ groupId, memberId, generationId }: Member, positions: Positions, metadata: string): Promise<number> {
    const partitions = [...positions].map(([partition, { offset, leaderEpoch }]) => ({
      partitionIndex: partition,
      committedOffset: BigInt(offset),
      committedLeaderEpoch: leaderEpoch,
      committedMetadata: metadata,
    }))
    const topics = [{ name: this.#options.topic, partitions }]
    return await this.#askCoordinator(groupId, async (coordinator) => {
      const answer = await this.#ask(coordinator, offsetCommitV8.api, 'committing offsets', groupId, generationId, memberId, null, topics)
      const refused = answer.topics.flatMap((topic) => topic.partitions).find(({ errorCode }) => errorCode !== CODE.none)
      return refused?.errorCode ?? CODE.none
    })
  }

  /**
   * What the group has committed of these partitions, by partition; those that it has nothing of are missing.
   * @throws KafkaError
   */
  async committedOffsets(groupId: string, partitions: readonly number[]): Promise<ReadonlyMap<number, GroupOffset>> {
    const topics = [{ name: this.#options.topic, partitionIndexes: [...partitions] }]
    const request = [{ groupId, memberId: null, memberEpoch: -1, topics }]
    return await this.#askCoordinator(groupId, async (coordinator) => {
      const answer = await this.#ask(coordinator, offsetFetchV8.api, 'asking for committed offsets', request, false)
      const found = answer.groups.flatMap((group) => group.topics).flatMap((topic) => topic.partitions)
      // A group of another kind has no such offsets.
      if (answer.groups.some(({ errorCode }) => errorCode === CODE.groupIdNotFound)) return new Map()
      const refused = [...answer.groups, ...found].find(({ errorCode }) => errorCode !== CODE.none)
      if (refused !== undefined) throw refusedBy(refused.errorCode, this.#options)
      const offsets = found.map(({ partitionIndex, committedOffset, committedLeaderEpoch, metadata }) => {
        return [partitionIndex, { offset: Number(committedOffset), leaderEpoch: committedLeaderEpoch, metadata: metadata ?? null }] as const
      })
      return new Map(offsets.filter(([, { offset }]) => offset >= 0))
    })
  }

  /** Who is in the group, and how it hands out partitions. @throws KafkaError */
  async describeGroup(groupId: string): Promise<DescribedGroup> {
    return await this.#askCoordinator(groupId, async (coordinator) => {
      const answer = await this.#ask(coordinator, describeGroupsV5.api, 'looking at the group', [groupId], false)
      const group = answer.groups[0]
      if (group === undefined)
        throw new KafkaError('bad-response', `the response of Kafka does not describe group ${groupId}`, { retried: true })
      if (group.errorCode !== CODE.none) throw refusedBy(group.errorCode, this.#options)
      // Of a group of another kind this request says that it is dead, as of one that does not exist.
      if (group.groupState === 'Dead') return await this.#describeNewer(coordinator, groupId)
      return {
        kind: 'classic',
        protocolType: group.protocolType,
        protocol: group.protocolData,
        isStable: group.groupState === 'Stable' || group.groupState === 'Empty',
        members: group.members.map(({ memberId, clientId, clientHost, memberMetadata, memberAssignment }) => {
          return { memberId, clientId, host: clientHost, metadata: memberMetadata, assignment: memberAssignment, partitions: [] }
        }),
      }
    })
  }

  async #describeNewer(coordinator: number, groupId: string): Promise<DescribedGroup> {
    const nobody: DescribedGroup = { kind: 'classic', protocolType: '', protocol: '', isStable: true, members: [] }
    const connection = await this.#connection(coordinator)
    if (connection.versions(consumerGroupDescribeV0.api.key) !== null) {
      const answer = await this.#ask(coordinator, consumerGroupDescribeV0.api, 'looking at the group', [groupId], false)
      const group = answer.groups[0]
      if (group?.errorCode === CODE.none) {
        const members = group.members.map(({ memberId, clientId, clientHost, assignment }) => {
          const mine = assignment.topicPartitions.filter(({ topicName }) => topicName === this.#options.topic)
          return {
            memberId,
            clientId,
            host: clientHost,
            metadata: null,
            assignment: null,
            partitions: mine.flatMap((each) => each.partitions),
          }
        })
        return { kind: 'consumer', protocolType: 'consumer', protocol: group.assignorName, isStable: true, members }
      }
      if (group !== undefined && group.errorCode !== CODE.groupIdNotFound) throw refusedBy(group.errorCode, this.#options)
    }
    const newest = connection.versions(listGroupsV5.api.key)?.[1] ?? 0
    if (newest < listGroupsV5.api.version) return nobody
    const { groups } = await this.#ask(coordinator, listGroupsV5.api, 'looking at the kind of the group', [], [])
    const listed = groups.find((each) => each.groupId === groupId)
    if (listed === undefined || /^(?:classic|consumer)$/i.test(listed.groupType)) return nobody
    return { ...nobody, kind: 'other', protocol: listed.groupType }
  }

  /** Closes every connection at once: whoever waits for an answer gets an error. */
  disconnect(): void {
    this.#connected.abort()
    this.#connected = new AbortController()
    for (const node of [...this.#connections.keys()]) this.#forget(node)
  }

  /** @throws KafkaError where the leader does not tell it */
  async #offset(partition: number, leader: Leader, timestamp: bigint, isolation = READ_UNCOMMITTED): Promise<number> {
    const found = (await this.#offsets(leader.node, new Map([[partition, leader]]), timestamp, isolation)).get(partition)
    if (found === undefined || found.errorCode !== CODE.none)
      throw refusedBy(found?.errorCode ?? CODE.unknownTopicOrPartition, this.#options)
    return Number(found.offset)
  }

  async #offsets(node: number, leaders: ReadonlyMap<number, Leader>, timestamp: bigint, isolation: number) {
    const partitions = [...leaders].map(([partition, { leaderEpoch }]) => ({
      partitionIndex: partition,
      currentLeaderEpoch: leaderEpoch,
      timestamp,
    }))
    const topics = [{ name: this.#options.topic, partitions }]
    const answer = await this.#ask(node, listOffsetsV7.api, 'asking for the ends of a log', -1, isolation, topics)
    return new Map(answer.topics.flatMap((topic) => topic.partitions).map((found) => [found.partitionIndex, found]))
  }

  /** Looks for the coordinator where it is not known; after any failure it is looked for again. */
  async #askCoordinator<Answer>(groupId: string, ask: (coordinator: number) => Promise<Answer>): Promise<Answer> {
    try {
      this.#coordinator ??= await this.#findCoordinator(groupId)
      return await ask(this.#coordinator)
    } catch (error) {
      this.#coordinator = null
      throw error
    }
  }

  async #lookForCoordinator(groupId: string) {
    const { coordinators } = await this.#ask(ANY, findCoordinatorV4.api, 'looking for the group’s coordinator', GROUP_COORDINATOR, [
      groupId,
    ])
    const found = coordinators[0]
    if (found === undefined)
      throw new KafkaError('bad-response', `the response of Kafka names no coordinator of group ${groupId}`, { retried: true })
    return found
  }

  async #findCoordinator(groupId: string): Promise<number> {
    const found = await this.#lookForCoordinator(groupId)
    if (found.errorCode !== CODE.none) throw refusedBy(found.errorCode, this.#options)
    this.#addresses = new Map(this.#addresses).set(found.nodeId, { host: found.host, port: found.port })
    return found.nodeId
  }

  async #ask<Request extends unknown[], Answer>(
    node: number,
    api: API<Request, Answer>,
    what: string,
    ...request: Request
  ): Promise<Answer> {
    const connection = await this.#connection(node)
    return await connection.ask(api, what, ...request)
  }

  async #connection(node: number): Promise<BrokerConnection> {
    for (;;) {
      let opening = this.#connections.get(node)
      if (opening === undefined) {
        opening = node === ANY ? this.#openAny() : this.#openNamed(this.address(node))
        this.#connections.set(node, opening)
      }
      try {
        const connection = await opening
        if (connection.isOpen) return connection
      } catch (error) {
        if (this.#connections.get(node) === opening) this.#connections.delete(node)
        throw error
      }
      // It broke since it was used last, or an answer was too late.
      if (this.#connections.get(node) === opening) this.#forget(node)
    }
  }

  /** Tries one broker after the other, the given ones first. */
  async #openAny(): Promise<BrokerConnection> {
    const first = this.#turn++ % this.#bootstrap.length
    const addresses = [...this.#bootstrap.slice(first), ...this.#bootstrap.slice(0, first), ...this.#addresses.values()]
    let failure: unknown
    const { signal } = this.#connected
    for (const address of addresses) {
      if (signal.aborted) break
      try {
        const connection = await this.#open(address)
        this.#answering = address
        return connection
      } catch (error) {
        if (error instanceof KafkaError && !error.retriable) throw error
        failure ??= error
      }
    }
    throw failure ?? new KafkaError('unreachable', 'all connections to Kafka were closed')
  }

  /** At an address that brokers have named, and perhaps nobody else. */
  async #openNamed(address: BrokerAddress): Promise<BrokerConnection> {
    try {
      return await this.#open(address)
    } catch (error) {
      const isKnown = this.#bootstrap.some(({ host, port }) => host === address.host && port === address.port)
      if (isKnown || !(error instanceof KafkaError) || (error.kind !== 'unreachable' && error.kind !== 'deadline')) throw error
      const [answered, named] = [this.#answering, address].map(({ host, port }) => `${host}:${port}`) as [string, string]
      throw new KafkaError('unreachable', unreachableListener(answered, named, rootCause(error)), { cause: error, retried: true })
    }
  }

  #open(address: BrokerAddress): Promise<BrokerConnection> {
    const { topic, clientId, clientOptions } = this.#options
    const options = { topic, clientId, timeout: this.#timeout, ...(clientOptions && { clientOptions }) }
    return BrokerConnection.open(address, options, this.#connected.signal)
  }

  #forget(node: number): void {
    const opening = this.#connections.get(node)
    this.#connections.delete(node)
    opening?.then(
      (connection) => connection.destroy(),
      // Whoever waited for it was told.
      () => {},
    )
  }
}

/** In the words of whoever said it first. */
function rootCause(error: Error): string {
  return [...errorsIn(error)].findLast(({ message }) => message !== '')?.message ?? error.message
}
