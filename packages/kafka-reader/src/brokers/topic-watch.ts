/** Keeps the topic's metadata: waits for the topic, polls its metadata regularly, and refreshes it on request. */

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

/** The topic as the last poll found it. */
export interface WatchedTopic extends Topic {
  readonly compacted: boolean
}

/** Between two polls where no refresh is requested, in ms. */
const POLL_INTERVAL = 10_000
/** Between two polls while the topic does not exist, in ms. */
const MISSING_INTERVAL = 300
const TOPIC = 'topic'
const LEADERS = 'leaders'

export class TopicWatch {
  readonly #options: TopicWatchOptions
  readonly #retry: BackOff
  #refreshRequested: PromiseWithResolvers<void> = Promise.withResolvers()
  #isRefreshRequested = false
  #saidWaiting = false
  #current: WatchedTopic | null = null

  constructor(options: TopicWatchOptions) {
    this.#options = options
    this.#retry = new BackOff({ first: 50, longest: 5000, clock: options.clock })
  }

  /** @throws TypeError before `found` */
  get current(): WatchedTopic {
    if (this.#current === null) throw new TypeError('the topic has not been found yet')
    return this.#current
  }

  leaderOf(partition: number): Leader {
    return this.#current?.partitions[partition] ?? { node: -1, leaderEpoch: -1 }
  }

  /**
   * Waits until the topic is there.
   * @returns false where the signal was aborted before
   * @throws KafkaError where trying again cannot help
   */
  async found(signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options
    while (!signal.aborted) {
      if (await this.#poll()) return true
      await clock.wait(this.#saidWaiting ? MISSING_INTERVAL : this.#retry.next(), signal)
    }
    return false
  }

  /**
   * Polls until the signal is aborted.
   * @param refreshed called after each poll that found the topic
   * @throws KafkaError where trying again cannot help
   */
  async run(refreshed: (topic: WatchedTopic) => void, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      const polling = new AbortController()
      await Promise.race([clock.wait(POLL_INTERVAL, AbortSignal.any([signal, polling.signal])), this.#refreshRequested.promise])
      polling.abort()
      // While a broker is away refresh requests arrive in bursts: back off.
      if (this.#isRefreshRequested) await clock.wait(this.#retry.next(), signal)
      else this.#retry.reset()
      if (signal.aborted) return
      this.#isRefreshRequested = false
      this.#refreshRequested = Promise.withResolvers()
      if (await this.#poll()) refreshed(this.current)
      else this.requestRefresh()
    }
  }

  /** A leader or the topic may have changed: polls it soon. */
  requestRefresh(): void {
    this.#isRefreshRequested = true
    this.#refreshRequested.resolve()
  }

  /** @returns whether the topic is there. @throws KafkaError where trying again cannot help */
  async #poll(): Promise<boolean> {
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
      this.#reportLeaders(topic)
      return true
    } catch (error) {
      if (!(error instanceof KafkaError) || !error.retriable) throw error
      failures.failed(TOPIC, error)
      return false
    }
  }

  #reportLeaders({ partitions }: Topic): void {
    const { failures, topic } = this.#options
    const without = [...partitions.keys()].filter((partition) => (partitions[partition] as Leader).node < 0)
    if (without.length === 0) failures.worked(LEADERS)
    else {
      const message = `partition ${without.join(', ')} of topic ${topic} has no leader: start the broker that keeps it; the others are read meanwhile`
      failures.failed(LEADERS, new KafkaError('no-leader', message))
      this.requestRefresh()
    }
  }
}
