/**
 * Who reads which partition, as a hint: membership of the Kafka group through the client library, thrown away and begun anew at the first
 * sign of trouble, because it does not survive every failure of a broker (rule M1). What it says may be late or wrong without harm: the store
 * decides who may write.
 */

import type { BaseOptions } from '@platformatic/kafka'
import { closeByForce } from '@poke-api-pipeline/kafka-common/close-by-force'
import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import { withDeadline } from '@poke-api-pipeline/service-kit/deadline'
import type { Member } from '../brokers/cluster.ts'
import { kafkaError } from '../brokers/kafka-failure.ts'
import { KafkaError } from '../errors.ts'
import { GroupConsumer, type KnownCluster } from './group-consumer.ts'
import { assignWithinOneStore, PROTOCOL } from './one-store.ts'

export interface MembershipOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly groupId: string
  readonly clientId: string
  readonly clientOptions?: Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
  /** Without a heartbeat for this long a member's partitions go to others, in ms. */
  readonly sessionTimeout?: number
  /** Of the store that this member counts into (rule S5). */
  readonly storeId: string
  /** Whether the group is known to count into this store; false where that is not known. Rejects where it counts into another one. */
  readonly isGroups: (signal: AbortSignal) => Promise<boolean>
  readonly cluster: KnownCluster
  /** Who keeps this member out of the group, by another protocol, in words; null where that is not known. */
  readonly usedBy: () => Promise<string | null>
  /** Asks for new metadata: a broker may have moved, or does not answer. */
  readonly requestRefresh: () => void
  readonly observer: MembershipObserver
  readonly clock: Clock
}

export interface MembershipObserver {
  /** The group handed out its partitions anew; these are ours. */
  rebalanced(partitions: readonly number[]): void
  /** The place in the group was lost, or could not be had; it is joined anew. */
  membershipLost(error: Error): void
}

const SESSION_TIMEOUT = 10_000
const HEARTBEAT_INTERVAL = 3000
/** A join waits for the others for as long as a rebalance may take, and then for the answer. */
const BEYOND_REBALANCE = 2000
const CONNECT_TIMEOUT = 5000
const LEAVE_DEADLINE = 2000
const LOOK_INTERVAL = 250

/** What one client's membership is known by. */
interface Life {
  readonly consumer: GroupConsumer
  /** When the group's coordinator was heard of last. */
  heardAt: number
  /** It has said that everybody must join again, and this member has not yet been let in. */
  rebalancing: boolean
  isLeader: boolean
  /** How few partitions the leader may have known of when it handed them out. */
  partitions: number
  /** Ours, as the group handed them out last. */
  mine: readonly number[]
  /** The group counts into the store of this member, as far as anybody has said: whoever comes with another one came later. */
  wasFirst: boolean
  readonly lost: PromiseWithResolvers<never>
}

export class Membership {
  readonly #options: MembershipOptions
  readonly #sessionTimeout: number
  readonly #heartbeatInterval: number
  readonly #retry: BackOff
  #life: Life | null = null
  #heard: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: MembershipOptions) {
    this.#options = options
    this.#sessionTimeout = options.sessionTimeout ?? SESSION_TIMEOUT
    this.#heartbeatInterval = Math.min(HEARTBEAT_INTERVAL, this.#sessionTimeout / 3)
    this.#retry = new BackOff({ first: 200, longest: 5000, clock: options.clock })
  }

  /** The place in the group, for whatever must name it; null where there is none now. */
  get member(): Member | null {
    const consumer = this.#life?.consumer
    if (!consumer?.memberId || this.#life?.rebalancing) return null
    return { groupId: this.#options.groupId, memberId: consumer.memberId, generationId: consumer.generationId }
  }

  /**
   * Is a member until the signal is aborted; then leaves.
   * @param assigned told of each new assignment; an empty one where the place was lost
   * @throws KafkaError where it is hopeless
   */
  async run(assigned: (partitions: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    const { observer, requestRefresh, clock } = this.#options
    while (!signal.aborted) {
      try {
        await this.#beMember(assigned, signal)
      } catch (error) {
        const failure = await this.#explained(kafkaError(error, { ...this.#options, findsBrokers: true }))
        if (!failure.retriable) throw failure
        if (signal.aborted) return
        assigned(new Set())
        observer.membershipLost(failure)
        requestRefresh()
        await clock.wait(this.#retry.next(), signal)
      }
    }
  }

  /**
   * Resolves when the coordinator was heard of not longer ago than heartbeats are apart: at once, but for a process that was frozen, or
   * whose coordinator does not answer (rule M2).
   */
  async confirmed(): Promise<void> {
    while (this.#life === null || this.#options.clock.now() - this.#life.heardAt > 2 * this.#heartbeatInterval) await this.#heard.promise
  }

  /** The topic has so many partitions: where the group may not know of some, its leader makes it hand them out. */
  async topicHas(partitions: number): Promise<void> {
    const life = this.#life
    if (life === null || !life.isLeader || life.rebalancing || partitions <= life.partitions) return
    life.rebalancing = true
    life.partitions = Number.POSITIVE_INFINITY
    life.heardAt = this.#options.clock.now()
    try {
      await life.consumer.joinGroup({})
    } catch (error) {
      life.lost.reject(error)
    }
  }

  async #explained(failure: KafkaError): Promise<KafkaError> {
    if (failure.kind !== 'group-protocol') return failure
    const { groupId, usedBy } = this.#options
    // Who it is, is asked of the same brokers: where these do not answer now, they are asked after the next attempt.
    const who = await usedBy().catch(() => null)
    const message = `another program uses group ${groupId} with another protocol${who === null ? '' : `: ${who}`}. End it, or give this service a KAFKA_GROUP_ID of its own; it joins by itself once the other one is gone`
    return new KafkaError('group-protocol', message, { cause: failure.cause })
  }

  async #beMember(assigned: (partitions: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    const { groupId, topic } = this.#options
    const life = this.#newLife(assigned, signal)
    const { consumer } = life
    this.#life = life
    try {
      consumer.topics.track(topic)
      // Whose store is not the group's is not even joined by: nobody has to rebalance for it.
      life.wasFirst = await this.#options.isGroups(signal)
      life.heardAt = this.#options.clock.now()
      const longest = CONNECT_TIMEOUT + this.#sessionTimeout + BEYOND_REBALANCE
      await Promise.race([withDeadline(consumer.joinGroup({}), longest, `joining group ${groupId}`, signal), life.lost.promise])
      await Promise.race([this.#watch(life, signal), life.lost.promise])
    } finally {
      this.#life = null
      // A place that is not given back is kept for one session time-out, and every rebalance waits for it.
      await withDeadline(leave(consumer), LEAVE_DEADLINE, `leaving group ${groupId}`).catch(() => {})
      await closeByForce(consumer)
    }
  }

  /** Watches instead of being told: some failures of a broker end the library's heartbeats without a word. */
  async #watch(life: Life, signal: AbortSignal): Promise<void> {
    const { clock, groupId } = this.#options
    while (!signal.aborted) {
      await clock.wait(LOOK_INTERVAL, signal)
      const limit = this.#sessionTimeout + (life.rebalancing ? BEYOND_REBALANCE : 0)
      if (clock.now() - life.heardAt <= limit) continue
      throw new KafkaError('membership', `the coordinator of group ${groupId} was not heard of for ${limit} ms; the group is joined anew`)
    }
  }

  #newLife(assigned: (partitions: ReadonlySet<number>) => void, signal: AbortSignal): Life {
    const { topic, observer, clock, cluster } = this.#options
    const lost = Promise.withResolvers<never>()
    lost.promise.catch(() => {})
    const known: KnownCluster = {
      partitionsOf: (topics) => cluster.partitionsOf(topics),
      get addresses() {
        return cluster.addresses
      },
      get answering() {
        return cluster.answering
      },
      topic: () => {
        const topic = cluster.topic()
        life.partitions = Math.min(life.partitions, topic.partitions.length)
        return topic
      },
    }
    const consumer = this.#newConsumer(known, () => life.wasFirst, lost.reject)
    const life: Life = {
      consumer,
      heardAt: clock.now(),
      rebalancing: false,
      isLeader: false,
      partitions: Number.POSITIVE_INFINITY,
      mine: [],
      wasFirst: false,
      lost,
    }
    const handOut = () => {
      observer.rebalanced(life.mine)
      assigned(new Set(life.mine))
    }
    const heard = () => {
      life.heardAt = clock.now()
      this.#heard.resolve()
      this.#heard = Promise.withResolvers()
    }
    consumer.on('error', (error: Error) => lost.reject(error))
    consumer.on('consumer:heartbeat:end', heard)
    consumer.on('consumer:group:rebalance', () => {
      if (life.rebalancing) return
      heard()
      life.rebalancing = true
      life.partitions = Number.POSITIVE_INFINITY
    })
    consumer.on('consumer:group:join', ({ isLeader }: { readonly isLeader?: boolean }) => {
      // Thrown away meanwhile: its place must not be kept from others.
      if (this.#life !== life || signal.aborted) return void closeByForce(consumer)
      life.rebalancing = false
      life.isLeader = isLeader === true
      heard()
      this.#retry.reset()
      life.mine = (consumer.assignments?.find((assignment) => assignment.topic === topic)?.partitions ?? []).toSorted((a, b) => a - b)
      if (life.wasFirst || life.mine.length === 0) return handOut()
      // Nobody had said whose store the group counts into: somebody may have by now, and has counted already.
      this.#options.isGroups(signal).then(
        () => {
          if (this.#life !== life) return
          life.wasFirst = true
          handOut()
        },
        (error) => lost.reject(error),
      )
    })
    return life
  }

  #newConsumer(known: KnownCluster, isGroups: () => boolean, refused: (error: KafkaError) => void): GroupConsumer {
    const { brokers, topic, clientOptions, clientId, groupId, storeId } = this.#options
    const requestTimeout = this.#sessionTimeout + BEYOND_REBALANCE
    const options = {
      ...clientOptions,
      topic,
      clientId,
      groupId,
      bootstrapBrokers: [...brokers],
      sessionTimeout: this.#sessionTimeout,
      rebalanceTimeout: this.#sessionTimeout,
      heartbeatInterval: this.#heartbeatInterval,
      autocommit: false,
      protocols: [{ ...PROTOCOL, metadata: storeId }],
      partitionAssigner: assignWithinOneStore({ groupId, storeId, isGroups, refused }),
      // Members that come and go at the same time make each other's joins fail: then the same member tries again.
      retries: 3,
      retryDelay: 100,
      timeout: requestTimeout,
      connectTimeout: CONNECT_TIMEOUT,
      requestTimeout,
    }
    const consumer = new GroupConsumer(options, known)
    // Whoever uses a connection is told of its errors; but an `error` event that nobody listens to would end the process.
    consumer.connections.on('connecting', ({ connection }) => void connection.on('error', () => {}))
    return consumer
  }
}

function leave(consumer: GroupConsumer): Promise<void> {
  return new Promise((resolve, reject) => consumer.leaveGroup(true, (error) => (error ? reject(error) : resolve())))
}
