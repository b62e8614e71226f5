import { closeByForce } from '@poke-api-pipeline/kafka-common/close-by-force'
import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import { withDeadline } from '@poke-api-pipeline/service-kit/deadline'
import { StateMachine } from '@poke-api-pipeline/service-kit/state-machine'
import type { ClusterOptions, Member, Topic } from '../brokers/cluster.ts'
import { kafkaError } from '../brokers/kafka-failure.ts'
import type { TopicWatch } from '../brokers/topic-watch.ts'
import { KafkaError } from '../errors.ts'
import { GroupConsumer, type KnownCluster } from './group-consumer.ts'
import { assignWithinOneStore, PROTOCOL } from './one-store.ts'

export interface MembershipOptions extends Omit<ClusterOptions, 'requestTimeout'> {
  readonly groupId: string
  /** Without a heartbeat for this long a member's partitions go to others, in ms. */
  readonly sessionTimeout: number
  /** Of the store that this instance writes to (rule S5). */
  readonly storeId: string
  /** Whether the group is known to use this store; false where the group names no store yet. Rejects where it names another one. */
  readonly confirmStore: (signal: AbortSignal) => Promise<boolean>
  readonly cluster: KnownCluster
  /** Which programs keep this instance out of the group by another protocol, in words; null where that is not known. */
  readonly describeUsers: () => Promise<string | null>
  /** Is asked for new metadata when a broker may have moved, or does not answer. */
  readonly topics: { readonly current: Topic } & Pick<TopicWatch, 'requestRefresh'>
  readonly observer: MembershipObserver
  readonly clock: Clock
}

export interface MembershipObserver {
  /** The group assigned its partitions again; these go to this member. */
  rebalanced(partitions: readonly number[]): void
  /** The membership was lost, or joining failed; a new client joins. */
  membershipLost(error: Error): void
}

const HEARTBEAT_INTERVAL = 3000
/** A join waits for the others for as long as a rebalance may take, and then for the answer. */
const BEYOND_REBALANCE = 2000
const CONNECT_TIMEOUT = 5000
const LEAVE_DEADLINE = 2000
/** Between two checks that the coordinator was heard of, in ms. */
const POLL_INTERVAL = 250

export type MembershipState = 'outside' | 'joining' | 'member' | 'rebalancing' | 'leaving'

/** As drawn in the comment of `Membership`. */
export const MEMBERSHIP_TRANSITIONS: Readonly<Record<MembershipState, readonly MembershipState[]>> = {
  outside: ['joining'],
  joining: ['member', 'rebalancing', 'leaving'],
  // A client may be admitted again without having been told of a rebalance.
  member: ['member', 'rebalancing', 'leaving'],
  rebalancing: ['member', 'leaving'],
  leaving: ['outside'],
}

/** One client in the group. It is never used again after a failure. */
interface Session {
  readonly consumer: GroupConsumer
  /** When the group's coordinator was heard of last. */
  lastHeard: number
  isLeader: boolean
  /** The smallest number of partitions that the leader may have known of when it assigned them. */
  knownPartitions: number
  /** The partitions of this member by the last assignment. */
  assigned: readonly number[]
  /** The group uses the store of this instance, or none before it: an instance with another store came later. */
  storeConfirmed: boolean
  readonly failed: PromiseWithResolvers<never>
}

/**
 * Membership of the Kafka group. It tells which partitions to read, as a hint that may be late or wrong without harm: the store decides who may
 * write (rule S1).
 *
 *   outside ──▶ joining ──admitted──▶ member ──rebalance──▶ rebalancing
 *      ▲         │  │                  │  ▲                  ▲  │  │
 *      │         │  └──────rebalance───┼──┼──────────────────┘  │  │
 *      │         │                     │  └──────admitted───────┘  │
 *      │         ▼                     ▼                           │
 *      └────── leaving ◀───────────────┴───────────────────────────┘
 *
 * - outside: there is no client; after a failure the next one joins after a growing pause.
 * - joining: a client checks that the group uses the store of this instance, and asks to be admitted.
 * - member: the client is admitted and has an assignment.
 * - rebalancing: the coordinator wants every member to join again; the assignment before it still holds.
 * - leaving: the signal was aborted or the client failed; it leaves the group and is closed by force.
 *
 * The client library does not survive every failure of a broker, so a client that failed is replaced by a new one (rule M1).
 */
export class Membership {
  readonly #options: MembershipOptions
  readonly #heartbeatInterval: number
  readonly #retry: BackOff
  readonly #states = new StateMachine<MembershipState>('membership of the group', MEMBERSHIP_TRANSITIONS, 'outside')
  #session: Session | null = null
  #heard: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: MembershipOptions) {
    this.#options = options
    this.#heartbeatInterval = Math.min(HEARTBEAT_INTERVAL, options.sessionTimeout / 3)
    this.#retry = new BackOff({ first: 200, longest: 5000, clock: options.clock })
  }

  get state(): MembershipState {
    return this.#states.state
  }

  /** Names this member in requests to the coordinator; null while it is none. */
  get member(): Member | null {
    const consumer = this.#session?.consumer
    if (!consumer?.memberId || !this.#states.is('member')) return null
    return { groupId: this.#options.groupId, memberId: consumer.memberId, generationId: consumer.generationId }
  }

  /**
   * Is a member until the signal is aborted; then leaves.
   * @param assign called with each new assignment; with an empty one when the membership is lost
   * @throws KafkaError where trying again cannot help
   */
  async run(assign: (partitions: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    const { observer, topics, clock } = this.#options
    while (!signal.aborted) {
      this.#states.enter('joining')
      try {
        await this.#joinAndWatch(assign, signal)
      } catch (error) {
        const failure = await this.#explained(kafkaError(error, { ...this.#options, findsBrokers: true }))
        if (!failure.retriable) throw failure
        if (signal.aborted) return
        assign(new Set())
        observer.membershipLost(failure)
        topics.requestRefresh()
        await clock.wait(this.#retry.next(), signal)
      }
    }
  }

  /**
   * Resolves once the coordinator was heard of within the last two heartbeat intervals: at once, unless this process was frozen or the
   * coordinator does not answer (rule M2).
   */
  async confirmed(): Promise<void> {
    const longest = 2 * this.#heartbeatInterval
    while (this.#session === null || this.#options.clock.now() - this.#session.lastHeard > longest) await this.#heard.promise
  }

  /** Makes the group assign its partitions again where this member leads it and did not know of all of them. */
  async onPartitionCount(partitions: number): Promise<void> {
    const session = this.#session
    if (session === null || !session.isLeader || !this.#states.is('member') || partitions <= session.knownPartitions) return
    this.#startRebalance(session)
    try {
      await session.consumer.joinGroup({})
    } catch (error) {
      session.failed.reject(error)
    }
  }

  async #explained(failure: KafkaError): Promise<KafkaError> {
    if (failure.kind !== 'group-protocol') return failure
    const { groupId, describeUsers } = this.#options
    // The same brokers are asked. Where they do not answer now, they are asked again after the next attempt.
    const users = await describeUsers().catch(() => null)
    const message = `another program uses group ${groupId} with another protocol${users === null ? '' : `: ${users}`}. End it, or give this service a group of its own; it joins by itself once the other one is gone`
    return new KafkaError('group-protocol', message, { cause: failure.cause })
  }

  async #joinAndWatch(assign: (partitions: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    const { groupId, topic, clock, confirmStore, sessionTimeout } = this.#options
    const session = this.#newSession(assign, signal)
    const { consumer, failed } = session
    this.#session = session
    try {
      consumer.topics.track(topic)
      // Before joining, so that an instance with another store does not make the group rebalance.
      session.storeConfirmed = await confirmStore(signal)
      session.lastHeard = clock.now()
      const longest = CONNECT_TIMEOUT + sessionTimeout + BEYOND_REBALANCE
      await Promise.race([withDeadline(consumer.joinGroup({}), longest, `joining group ${groupId}`, signal), failed.promise])
      await Promise.race([this.#watch(session, signal), failed.promise])
    } finally {
      this.#session = null
      this.#states.enter('leaving')
      // A member that does not leave delays every rebalance until its session times out.
      await withDeadline(leave(consumer), LEAVE_DEADLINE, `leaving group ${groupId}`).catch(() => {})
      await closeByForce(consumer)
      this.#states.enter('outside')
    }
  }

  /** Polls the time of the last heartbeat: after some failures of a broker the library stops its heartbeats without an event. */
  async #watch(session: Session, signal: AbortSignal): Promise<void> {
    const { clock, groupId, sessionTimeout } = this.#options
    while (!signal.aborted) {
      await clock.wait(POLL_INTERVAL, signal)
      const limit = sessionTimeout + (this.#states.is('rebalancing') ? BEYOND_REBALANCE : 0)
      if (clock.now() - session.lastHeard <= limit) continue
      throw new KafkaError('membership', `the coordinator of group ${groupId} was not heard of for ${limit} ms; the group is joined anew`)
    }
  }

  #startRebalance(session: Session): void {
    this.#states.enter('rebalancing')
    session.knownPartitions = Number.POSITIVE_INFINITY
    session.lastHeard = this.#options.clock.now()
  }

  #newSession(assign: (partitions: ReadonlySet<number>) => void, signal: AbortSignal): Session {
    const { topic, observer, clock, topics, confirmStore } = this.#options
    const failed = Promise.withResolvers<never>()
    failed.promise.catch(() => {})
    const lookedAt = () => {
      const { current } = topics
      session.knownPartitions = Math.min(session.knownPartitions, current.partitions.length)
      return current
    }
    const consumer = this.#newConsumer(lookedAt, () => session.storeConfirmed, failed.reject)
    const session: Session = {
      consumer,
      lastHeard: clock.now(),
      isLeader: false,
      knownPartitions: Number.POSITIVE_INFINITY,
      assigned: [],
      storeConfirmed: false,
      failed,
    }
    const announce = () => {
      observer.rebalanced(session.assigned)
      assign(new Set(session.assigned))
    }
    const heard = () => {
      session.lastHeard = clock.now()
      this.#heard.resolve()
      this.#heard = Promise.withResolvers()
    }
    consumer.on('error', (error: Error) => failed.reject(error))
    consumer.on('consumer:heartbeat:end', heard)
    consumer.on('consumer:group:rebalance', () => {
      if (this.#session !== session || this.#states.is('rebalancing')) return
      heard()
      this.#startRebalance(session)
    })
    consumer.on('consumer:group:join', ({ isLeader }: { readonly isLeader?: boolean }) => {
      // The session has ended meanwhile: nobody would use this membership.
      if (this.#session !== session || signal.aborted) return void closeByForce(consumer)
      this.#states.enter('member')
      session.isLeader = isLeader === true
      heard()
      this.#retry.reset()
      session.assigned = (consumer.assignments?.find((assignment) => assignment.topic === topic)?.partitions ?? []).toSorted(
        (a, b) => a - b,
      )
      if (session.storeConfirmed || session.assigned.length === 0) return announce()
      // The group named no store before this member joined. Another instance may have written one since.
      confirmStore(signal).then(
        () => {
          if (this.#session !== session) return
          session.storeConfirmed = true
          announce()
        },
        (error) => failed.reject(error),
      )
    })
    return session
  }

  #newConsumer(lookedAt: () => Topic, storeConfirmed: () => boolean, onRefused: (error: KafkaError) => void): GroupConsumer {
    const { brokers, topic, clientOptions, clientId, groupId, storeId, cluster, sessionTimeout } = this.#options
    const requestTimeout = sessionTimeout + BEYOND_REBALANCE
    const options = {
      ...clientOptions,
      topic,
      clientId,
      groupId,
      bootstrapBrokers: [...brokers],
      sessionTimeout,
      rebalanceTimeout: sessionTimeout,
      heartbeatInterval: this.#heartbeatInterval,
      autocommit: false,
      protocols: [{ ...PROTOCOL, metadata: storeId }],
      partitionAssigner: assignWithinOneStore({ groupId, storeId, storeConfirmed, onRefused }),
      // Members that join and leave at the same moment make each other's joins fail, so the same member tries again.
      retries: 3,
      retryDelay: 100,
      timeout: requestTimeout,
      connectTimeout: CONNECT_TIMEOUT,
      requestTimeout,
    }
    const consumer = new GroupConsumer(options, cluster, lookedAt)
    // Each request reports the errors of its connection. But an `error` event without a listener would end the process.
    consumer.connections.on('connecting', ({ connection }) => void connection.on('error', () => {}))
    return consumer
  }
}

function leave(consumer: GroupConsumer): Promise<void> {
  return new Promise((resolve, reject) => consumer.leaveGroup(true, (error) => (error ? reject(error) : resolve())))
}
