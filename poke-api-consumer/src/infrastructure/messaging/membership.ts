/**
 * Who reads which partition, as a hint: membership of the Kafka group through the client library, thrown away and begun anew at the first
 * sign of trouble, because it does not survive every failure of a broker ("Membership is a disposable hint"). What it says may be late or
 * wrong without harm: the store decides who may write.
 */
import { type BaseOptions, Consumer } from '@platformatic/kafka'
import { KafkaError } from '../../errors.ts'
import { closeByForce } from './close-by-force.ts'
import { withDeadline } from './deadline.ts'
import { kafkaError } from './kafka-failure.ts'

export interface MembershipOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly groupId: string
  readonly clientId: string
  readonly clientOptions?: Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
  /** Without a heartbeat for this long a member's partitions go to others, in ms. */
  readonly sessionTimeout?: number
  readonly observer: MembershipObserver
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  readonly now: () => number
  readonly random: () => number
}

export interface MembershipObserver {
  /** The group handed out its partitions anew; these are ours. */
  rebalanced(partitions: readonly number[]): void
  /** The place in the group was lost, or could not be had; it is joined anew. */
  membershipLost(error: Error): void
}

const SESSION_TIMEOUT = 10_000
/** A join waits for the others for as long as a rebalance may take. */
const REQUEST_TIMEOUT_BEYOND = 2000
const LEAVE_DEADLINE = 2000
const LOOK_INTERVAL = 250
const FIRST_RETRY = 200
const LONGEST_RETRY = 5000

export class Membership {
  readonly #options: MembershipOptions
  readonly #sessionTimeout: number
  #consumer: Consumer | null = null
  #rejoin: ((why: Error) => void) | null = null
  #clients = 0

  constructor(options: MembershipOptions) {
    this.#options = options
    this.#sessionTimeout = options.sessionTimeout ?? SESSION_TIMEOUT
  }

  /**
   * Is a member until the signal is aborted; then leaves.
   * @param assigned told of each new assignment; an empty one where the place was lost
   * @throws KafkaError where it is hopeless
   */
  async run(assigned: (partitions: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    const { observer, wait, random } = this.#options
    for (let failures = 0; !signal.aborted; ) {
      const began = this.#options.now()
      try {
        await this.#beMember(assigned, signal)
      } catch (error) {
        if (error instanceof KafkaError && !error.retriable) throw error
        if (signal.aborted) return
        assigned(new Set())
        observer.membershipLost(error as Error)
        if (this.#options.now() - began > 3 * this.#sessionTimeout) failures = 0
        await wait(Math.min(LONGEST_RETRY, FIRST_RETRY * 2 ** Math.min(failures++, 10)) * (0.5 + random() / 2), signal)
      }
    }
  }

  /** Writes positions to the group, for lag tools: fire and forget, as it is only a mirror. @returns false where this is no member now */
  mirror(positions: ReadonlyMap<number, number>): boolean {
    const consumer = this.#consumer
    if (consumer === null || !consumer.isActive() || positions.size === 0) return false
    const offsets = [...positions].map(([partition, offset]) => ({
      topic: this.#options.topic,
      partition,
      offset: BigInt(offset),
      leaderEpoch: -1,
    }))
    // A rebalance under way refuses it, and the next one carries the same news.
    consumer.commit({ offsets }).catch(() => {})
    return true
  }

  /** Joins anew, because there is something to hand out that the group does not know: partitions that were added. */
  rejoin(): void {
    this.#rejoin?.(new KafkaError('membership', `the partitions of topic ${this.#options.topic} have changed; the group is joined anew`))
  }

  async #beMember(assigned: (partitions: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    const { topic, observer, now, wait } = this.#options
    const consumer = this.#newConsumer()
    const trouble = Promise.withResolvers<never>()
    trouble.promise.catch(() => {})
    let heardAt = now()
    let over = false
    const heard = () => {
      heardAt = now()
    }
    consumer.on('error', (error: Error) => trouble.reject(error))
    consumer.on('consumer:heartbeat:end', heard)
    consumer.on('consumer:group:join', () => {
      if (over) return
      heard()
      const mine = consumer.assignments?.find((assignment) => assignment.topic === topic)?.partitions ?? []
      observer.rebalanced(mine)
      assigned(new Set(mine))
    })
    this.#rejoin = trouble.reject
    try {
      consumer.topics.track(topic)
      const join = withDeadline(consumer.joinGroup({}), 3 * this.#sessionTimeout, `joining group ${this.#options.groupId}`, signal)
      await Promise.race([join, trouble.promise])
      this.#consumer = consumer
      // Watches instead of being told: some failures of a broker end the library's heartbeats without a word.
      while (!signal.aborted) {
        await Promise.race([wait(LOOK_INTERVAL, signal), trouble.promise])
        if (now() - heardAt > this.#sessionTimeout) {
          throw new KafkaError(
            'membership',
            `no heartbeat of group ${this.#options.groupId} was answered for ${this.#sessionTimeout} ms; it is joined anew`,
          )
        }
      }
      this.#consumer = null
      await withDeadline(leave(consumer), LEAVE_DEADLINE, `leaving group ${this.#options.groupId}`).catch(() => {})
    } catch (error) {
      if (signal.aborted) return
      throw kafkaError(error, this.#options)
    } finally {
      this.#rejoin = null
      this.#consumer = null
      over = true
      await closeByForce(consumer)
    }
  }

  #newConsumer(): Consumer {
    const { brokers, clientOptions, clientId, groupId } = this.#options
    const first = this.#clients++ % brokers.length
    const requestTimeout = this.#sessionTimeout + REQUEST_TIMEOUT_BEYOND
    return new Consumer({
      ...clientOptions,
      clientId,
      groupId,
      bootstrapBrokers: [...brokers.slice(first), ...brokers.slice(0, first)],
      sessionTimeout: this.#sessionTimeout,
      rebalanceTimeout: this.#sessionTimeout,
      heartbeatInterval: Math.min(3000, this.#sessionTimeout / 3),
      autocommit: false,
      retries: 0,
      timeout: requestTimeout,
      connectTimeout: 5000,
      requestTimeout,
    })
  }
}

function leave(consumer: Consumer): Promise<void> {
  return new Promise((resolve, reject) => consumer.leaveGroup(true, (error) => (error ? reject(error) : resolve())))
}
