/** Requests to brokers, except for fetching and membership: topic and leaders, ends of logs, rights, versions, committed offsets, members. */

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
import { errorsIn, rootMessage, unreachableListener } from '@poke-api-pipeline/kafka-common/kafka-connecting'
import { NOTHING_ALLOWED } from '@poke-api-pipeline/kafka-common/rights'
import { KafkaError } from '../errors.ts'
import type { GroupOffset } from '../group/store-claim.ts'
import { type BrokerAddress, BrokerConnection, type BrokerConnectionOptions } from './broker-connection.ts'
import { NEWEST_FETCH, OLDEST_FETCH } from './fetch-response.ts'
import { CODE, refusedBy } from './kafka-failure.ts'

export interface ClusterOptions extends Omit<BrokerConnectionOptions, 'timeout'> {
  readonly brokers: readonly string[]
  /** The longest time for connecting and for each answer, in ms. */
  readonly requestTimeout?: number
}

/** The topic as it exists now. A topic that was deleted and created again has another id. */
export interface Topic {
  readonly topicId: string
  readonly partitions: readonly Leader[]
}

/** What a client may do with a topic. */
export interface TopicRights {
  /** Whether the topic exists and this client may describe it. */
  readonly exists: boolean
  /** The allowed operations, a bit for each (KIP-430). */
  readonly allowed: number
}

/** The leader of a partition. */
export interface Leader {
  /** The id of the broker; −1: the partition has no leader. */
  readonly node: number
  readonly leaderEpoch: number
}

/** Where a partition's log begins and ends. */
export interface LogEnds {
  /** The first offset. */
  readonly start: number
  /** The high watermark: the offset after the last record that all in-sync replicas have. */
  readonly end: number
}

export interface LogBounds extends LogEnds {
  /** The last stable offset: the first offset of an open transaction, or the high watermark. */
  readonly stableEnd: number
}

/** A member of the group in one generation. */
export interface Member {
  readonly groupId: string
  readonly memberId: string
  readonly generationId: number
}

export interface GroupMember {
  readonly memberId: string
  readonly clientId: string
  readonly host: string
  /** The metadata that a member of a classic group sends, in the group's protocol; null in other groups. */
  readonly metadata: Buffer | null
  /** The assignment by the leader of a classic group; null in other groups. */
  readonly assignment: Buffer | null
  /** The partitions of the topic that the coordinator assigned; empty in classic groups. */
  readonly partitions: readonly number[]
}

/** A group as its coordinator describes it. */
export interface DescribedGroup {
  /** `classic`: the leader assigns the partitions; `consumer`: the coordinator does (KIP-848); `other`: for example a share group. */
  readonly kind: 'classic' | 'consumer' | 'other'
  /** The protocol type of a classic group: `consumer`, `connect`; empty if the group has no members. */
  readonly protocolType: string
  /** The assignor of the group, as the coordinator names it. */
  readonly protocol: string
  /** The group is not rebalancing. */
  readonly isStable: boolean
  readonly members: readonly GroupMember[]
}

/** The member as which offsets of a group without members are committed. */
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
// Isolation levels. With READ_COMMITTED, LATEST is the last stable offset.
const READ_UNCOMMITTED = 0
const READ_COMMITTED = 1
/** In place of a node: any broker. */
const ANY = -1

export class Cluster {
  readonly #options: ClusterOptions
  readonly #bootstrap: readonly BrokerAddress[]
  readonly #timeout: number
  /** Connections by node. A connection is discarded after any failure. */
  readonly #connections = new Map<number, Promise<BrokerConnection>>()
  #addresses: ReadonlyMap<number, BrokerAddress> = new Map()
  /** Rises with each search for a broker, so that each search begins with another one. */
  #turn = 0
  #answering: BrokerAddress
  #coordinator: number | null = null
  /** Aborted, to end connection attempts too, and replaced whenever all connections are closed. */
  #connected = new AbortController()

  constructor(options: ClusterOptions) {
    this.#options = options
    this.#bootstrap = options.brokers.map((broker) => parseBroker(broker))
    this.#answering = this.#bootstrap[0] as BrokerAddress
    this.#timeout = options.requestTimeout ?? REQUEST_TIMEOUT
  }

  /**
   * Asks a broker for the topic.
   * @returns null if the topic does not exist
   * @throws KafkaError
   */
  async topic(): Promise<Topic | null> {
    const { topic: name } = this.#options
    const answer = await this.#ask(ANY, metadataV12.api, 'looking for the topic', [name], false, false)
    this.#addresses = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    const topic = answer.topics.find((found) => found.name === name)
    if (topic === undefined || topic.errorCode === CODE.unknownTopicOrPartition) return null
    if (topic.errorCode !== CODE.none) throw refusedBy(topic.errorCode, this.#options)
    // A partition with an error of its own has no leader. The other partitions can be read.
    const partitions: Leader[] = []
    for (const { partitionIndex, leaderId, leaderEpoch } of topic.partitions) partitions[partitionIndex] = { node: leaderId, leaderEpoch }
    return { topicId: topic.topicId, partitions: Array.from(partitions, (leader) => leader ?? { node: -1, leaderEpoch: -1 }) }
  }

  /** The numbers of partitions of topics, by name. Topics that do not exist, or that this client may not describe, are left out. @throws KafkaError */
  async partitionsOf(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { topics } = await this.#ask(ANY, metadataV12.api, 'looking for what others subscribe to', [...names], false, false)
    const found = topics.filter(({ errorCode }) => errorCode === CODE.none)
    return new Map(found.map(({ name, partitions }) => [name ?? '', partitions.length]))
  }

  /** The rights of this client on some topics, by name. @throws KafkaError */
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

  /** The rights of this client on the group, a bit for each operation; 0 if brokers do not tell. @throws KafkaError */
  async groupRights(groupId: string): Promise<number> {
    if ((await this.#lookForCoordinator(groupId)).errorCode === CODE.groupAuthorizationFailed) return NOTHING_ALLOWED
    return await this.#askCoordinator(groupId, async (coordinator) => {
      const { api } = describeGroupsV5
      const [min, max] = (await this.#connection(coordinator)).versions(api.key) ?? [0, 0]
      if (api.version < min || api.version > max) return 0
      const { groups } = await this.#ask(coordinator, api, 'asking what is allowed of the group', [groupId], true)
      const code = groups[0]?.errorCode ?? CODE.none
      if (code === CODE.groupAuthorizationFailed) return NOTHING_ALLOWED
      // This request does not know groups of the newer protocol (KIP-848), so the rights are unknown.
      if (code === CODE.groupIdNotFound) return 0
      if (code !== CODE.none) throw refusedBy(code, this.#options)
      return groups[0]?.authorizedOperations ?? 0
    })
  }

  /** Whether this client may create a topic: sends the request with `validateOnly`, so that no topic is created. @throws KafkaError */
  async mayCreate(name: string): Promise<boolean> {
    const { api } = createTopicsV7
    const topic = { name, numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] }
    const { topics } = await this.#ask(ANY, api, 'asking whether a topic may be made', [topic], this.#timeout, true)
    return topics[0]?.errorCode !== CODE.topicAuthorizationFailed
  }

  /** The brokers in the newest metadata, by node. */
  get addresses(): ReadonlyMap<number, BrokerAddress> {
    return this.#addresses
  }

  /** The broker that the last search for any broker connected to. */
  get answering(): BrokerAddress {
    return this.#answering
  }

  /** The address of a broker. @throws KafkaError if the metadata does not have it */
  address(node: number): BrokerAddress {
    const address = this.#addresses.get(node)
    if (address === undefined) throw new KafkaError('no-leader', `broker ${node} is not in the metadata of the cluster`, { retried: true })
    return address
  }

  /**
   * The newest version of Fetch that both a broker and this package support.
   * @param node null: any broker
   * @throws KafkaError `unsupported-broker` if there is none; versions without topic ids are not supported
   */
  async fetchVersion(node: number | null): Promise<number> {
    const [min, max] = (await this.#connection(node ?? ANY)).versions(FETCH) ?? [0, 0]
    if (max >= OLDEST_FETCH && min <= NEWEST_FETCH) return Math.min(NEWEST_FETCH, max)
    throw new KafkaError(
      'unsupported-broker',
      `Kafka at ${this.#options.brokers.join(', ')} is ${max < OLDEST_FETCH ? 'too old' : 'too new'}: it speaks Fetch from version ${min} to ${max}, and one from ${OLDEST_FETCH} to ${NEWEST_FETCH} is needed; use Kafka 3.1 or newer`,
    )
  }

  /** Asks the leader of a partition for both ends of its log. @throws KafkaError */
  async ends(partition: number, leader: Leader): Promise<LogEnds> {
    const [start, end] = await Promise.all([this.#offset(partition, leader, EARLIEST), this.#offset(partition, leader, LATEST)])
    return { start, end }
  }

  /**
   * Asks a broker for the ends of the logs that it leads. Partitions for which it returns an error are left out.
   * @throws KafkaError if it does not answer
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

  /** The last stable offset of a partition, at which reading of committed records ends. @throws KafkaError */
  async readableEnd(partition: number, leader: Leader): Promise<number> {
    return await this.#offset(partition, leader, LATEST, READ_COMMITTED)
  }

  /** Whether the topic is compacted (rule S6). @throws KafkaError */
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
   * Commits positions to the group, for tools that show lag.
   * @param metadata texts to commit with each position, in order of preference; the first one that is not too long for the broker is used
   * @returns false if the group is in another generation by now, or has members and this is not one of them
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
   * The committed offsets of the group, by partition. Partitions without a committed offset are left out.
   * @throws KafkaError
   */
  async committedOffsets(groupId: string, partitions: readonly number[]): Promise<ReadonlyMap<number, GroupOffset>> {
    const topics = [{ name: this.#options.topic, partitionIndexes: [...partitions] }]
    const request = [{ groupId, memberId: null, memberEpoch: -1, topics }]
    return await this.#askCoordinator(groupId, async (coordinator) => {
      const answer = await this.#ask(coordinator, offsetFetchV8.api, 'asking for committed offsets', request, false)
      const found = answer.groups.flatMap((group) => group.topics).flatMap((topic) => topic.partitions)
      // A group of another kind has no committed offsets.
      if (answer.groups.some(({ errorCode }) => errorCode === CODE.groupIdNotFound)) return new Map()
      const refused = [...answer.groups, ...found].find(({ errorCode }) => errorCode !== CODE.none)
      if (refused !== undefined) throw refusedBy(refused.errorCode, this.#options)
      const offsets = found.map(({ partitionIndex, committedOffset, committedLeaderEpoch, metadata }) => {
        return [partitionIndex, { offset: Number(committedOffset), leaderEpoch: committedLeaderEpoch, metadata: metadata ?? null }] as const
      })
      return new Map(offsets.filter(([, { offset }]) => offset >= 0))
    })
  }

  /** The members of the group, and how it assigns partitions. @throws KafkaError */
  async describeGroup(groupId: string): Promise<DescribedGroup> {
    return await this.#askCoordinator(groupId, async (coordinator) => {
      const answer = await this.#ask(coordinator, describeGroupsV5.api, 'looking at the group', [groupId], false)
      const group = answer.groups[0]
      if (group === undefined)
        throw new KafkaError('bad-response', `the response of Kafka does not describe group ${groupId}`, { retried: true })
      if (group.errorCode !== CODE.none) throw refusedBy(group.errorCode, this.#options)
      // This request calls a group of another kind dead, like a group that does not exist.
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

  /** Closes every connection at once. Requests under way reject. */
  disconnect(): void {
    this.#connected.abort()
    this.#connected = new AbortController()
    for (const node of [...this.#connections.keys()]) this.#forget(node)
  }

  /** @throws KafkaError if the leader returns an error for the partition */
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

  /** Asks the coordinator of the group, and finds it first if it is unknown. After any failure it is unknown again. */
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
      // The connection broke since its last use, or an answer came too late.
      if (this.#connections.get(node) === opening) this.#forget(node)
    }
  }

  /** Tries one broker after the other, the configured ones first. */
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

  /** Connects to an address that a broker has advertised. If it cannot be reached, the error says so: such an address is often configured wrongly. */
  async #openNamed(address: BrokerAddress): Promise<BrokerConnection> {
    try {
      return await this.#open(address)
    } catch (error) {
      const isKnown = this.#bootstrap.some(({ host, port }) => host === address.host && port === address.port)
      if (isKnown || !(error instanceof KafkaError) || (error.kind !== 'unreachable' && error.kind !== 'deadline')) throw error
      const [answered, named] = [this.#answering, address].map(({ host, port }) => `${host}:${port}`) as [string, string]
      throw new KafkaError('unreachable', unreachableListener(answered, named, rootMessage(errorsIn(error))), {
        cause: error,
        retried: true,
      })
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
      // The caller that opened it has got the error.
      () => {},
    )
  }
}
