/** Knows the topic: waits for it, and looks again whenever something about it is in doubt, and now and then. */

import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import { KafkaError } from '../errors.ts'
import type { Cluster, Leader, Topic } from './cluster.ts'

export interface TopicWatchOptions {
  readonly cluster: Pick<Cluster, 'topic' | 'isCompacted' | 'fetchVersion'>
  readonly topic: string
  readonly failures: FailureTracker
  /** The topic does not exist yet; said once. */
  readonly waitingForTopic: (topic: string) => void
  readonly clock: Clock
}

/** The topic as it was when it was looked at last. */
export interface WatchedTopic extends Topic {
  readonly compacted: boolean
}

/** How often a topic is looked at that nothing is wrong with, in ms. */
const LOOK_INTERVAL = 10_000
/** And one that somebody is about to make. */
const MISSING_INTERVAL = 300
const TOPIC = 'topic'
const LEADERS = 'leaders'

export class TopicWatch {
  readonly #options: TopicWatchOptions
  readonly #retry: BackOff
  #doubted: PromiseWithResolvers<void> = Promise.withResolvers()
  #isDoubted = false
  #saidWaiting = false
  #current: WatchedTopic | null = null

  constructor(options: TopicWatchOptions) {
    this.#options = options
    this.#retry = new BackOff({ first: 50, longest: 5000, clock: options.clock })
  }

  /** @throws TypeError before `found` */
  get current(): WatchedTopic {
    if (this.#current === null) throw new TypeError('the topic was not looked for yet')
    return this.#current
  }

  leaderOf(partition: number): Leader {
    return this.#current?.partitions[partition] ?? { node: -1, leaderEpoch: -1 }
  }

  /**
   * Waits until the topic is there.
   * @returns false where the signal was aborted before
   * @throws KafkaError where it is hopeless
   */
  async found(signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options
    while (!signal.aborted) {
      if (await this.#look()) return true
      await clock.wait(this.#saidWaiting ? MISSING_INTERVAL : this.#retry.next(), signal)
    }
    return false
  }

  /**
   * Goes on looking until the signal is aborted.
   * @param changed called after each look that found the topic
   * @throws KafkaError where it is hopeless
   */
  async run(changed: (topic: WatchedTopic) => void, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      const looking = new AbortController()
      await Promise.race([clock.wait(LOOK_INTERVAL, AbortSignal.any([signal, looking.signal])), this.#doubted.promise])
      looking.abort()
      // Doubts come in flocks while a broker is away: the more often, the more slowly they are followed.
      if (this.#isDoubted) await clock.wait(this.#retry.next(), signal)
      else this.#retry.reset()
      if (signal.aborted) return
      this.#isDoubted = false
      this.#doubted = Promise.withResolvers()
      if (await this.#look()) changed(this.current)
      else this.doubt()
    }
  }

  /** A leader, or the topic itself, is not what it was: it is looked at soon. */
  doubt(): void {
    this.#isDoubted = true
    this.#doubted.resolve()
  }

  /** @returns whether the topic is there. @throws KafkaError where it is hopeless */
  async #look(): Promise<boolean> {
    const { cluster, topic: name, failures, waitingForTopic } = this.#options
    try {
      if (this.#current === null) await cluster.fetchVersion(null)
      const topic = await cluster.topic()
      if (topic === null && this.#current !== null) {
        throw new KafkaError('no-topic', `topic ${name} is gone: it was deleted, and is waited for; the producer makes it`)
      }
      if (topic === null) {
        failures.worked(TOPIC)
        if (!this.#saidWaiting) waitingForTopic(name)
        this.#saidWaiting = true
        return false
      }
      this.#current = { ...topic, compacted: await cluster.isCompacted() }
      failures.worked(TOPIC)
      this.#lookAtLeaders(topic)
      return true
    } catch (error) {
      if (!(error instanceof KafkaError) || !error.retriable) throw error
      failures.failed(TOPIC, error)
      return false
    }
  }

  #lookAtLeaders({ partitions }: Topic): void {
    const { failures, topic } = this.#options
    const without = [...partitions.keys()].filter((partition) => (partitions[partition] as Leader).node < 0)
    if (without.length === 0) failures.worked(LEADERS)
    else {
      const message = `partition ${without.join(', ')} of topic ${topic} has no leader: start the broker that keeps it; the others are read meanwhile`
      failures.failed(LEADERS, new KafkaError('no-leader', message))
      this.doubt()
    }
  }
}
