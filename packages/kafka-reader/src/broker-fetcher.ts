/**
 * Fetches from one broker, for as long as it leads partitions of ours. The next fetch is under way while the last response is counted, so
 * at most two responses of a leader are in memory; while neither is counted, nothing is asked for.
 */

import { quotaText } from '@poke-api-pipeline/kafka-common/kafka-connecting'
import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import type { FetchResponse } from './brokers/fetch-response.ts'
import { kafkaError, refusedBy } from './brokers/kafka-failure.ts'
import { LeaderConnection, type LeaderConnectionOptions } from './brokers/leader-connection.ts'
import { KafkaError } from './errors.ts'
import type { PartitionFetcher, Question } from './partition-fetcher.ts'

export interface BrokerFetcherOptions extends LeaderConnectionOptions {
  readonly topic: string
  /** Those that this broker leads. */
  readonly feeds: () => readonly PartitionFetcher[]
  readonly topicId: () => string
  readonly failures: FailureTracker
  /** Quotas that make this client wait, by broker. */
  readonly quotas: FailureTracker
  /** The broker does not answer: perhaps it does not lead any more. */
  readonly doubt: () => void
  readonly clock: Clock
}

/**
 * Brokers that enforce quotas make clients wait for moments all the time; from so many ms on it is told. A quota on the time of requests never makes
 * anybody wait for longer than `quota.window.size.seconds`, 1 s by default, and a client may get nothing at all by it.
 */
const NOTABLE_THROTTLE = 500

export class BrokerFetcher {
  readonly #options: BrokerFetcherOptions
  readonly #closing = new AbortController()
  readonly #retry: BackOff
  /** Another one after each failure. */
  #connection: LeaderConnection
  #woken: PromiseWithResolvers<void> = Promise.withResolvers()
  /** Rotates the partitions in the requests: a backlog in the first ones would starve the others (rule F3). */
  #turn = 0

  constructor(options: BrokerFetcherOptions) {
    this.#options = options
    this.#connection = new LeaderConnection(options)
    this.#retry = new BackOff({ first: 50, longest: 5000, clock: options.clock })
  }

  /** There may be something to ask for. */
  wake(): void {
    this.#woken.resolve()
  }

  /** Ends `run`; what is being counted goes on. */
  close(): void {
    this.#closing.abort()
    this.#connection.close()
    this.#options.failures.worked(this.#name)
    this.#options.quotas.worked(this.#name)
    this.wake()
  }

  /** @throws KafkaError where it is hopeless */
  async run(): Promise<void> {
    // Of the last two responses: resolves when their bytes are not needed any more.
    let before: Promise<unknown> = Promise.resolve()
    let last: Promise<unknown> = Promise.resolve()
    let counting: (() => Promise<unknown>) | null = null
    while (!this.#closing.signal.aborted) {
      // The next response is received where the one before the last was.
      await before
      this.#woken = Promise.withResolvers()
      const questions = this.#questions()
      // It is asked for before the last one is counted.
      const topicId = this.#options.topicId()
      const arriving = questions.length === 0 ? null : this.#connection.fetch(topicId, questions)
      arriving?.catch(() => {})
      if (counting !== null) last = counting()
      counting = null
      if (arriving === null) {
        await this.#woken.promise
        continue
      }
      try {
        const response = await arriving
        this.#retry.reset()
        this.#options.failures.worked(this.#name)
        this.#lookAtQuota(response)
        before = last
        counting = this.#answered(topicId, questions, response)
      } catch (error) {
        for (const question of questions) question.feed.forget(question)
        await this.#failed(error)
      }
    }
    counting?.()
  }

  get #name(): string {
    return `broker ${this.#options.node}`
  }

  #lookAtQuota({ throttleMs }: FetchResponse): void {
    const { quotas } = this.#options
    if (throttleMs < NOTABLE_THROTTLE) quotas.worked(this.#name)
    else quotas.failed(this.#name, new KafkaError('quota', quotaText([this.#name], throttleMs)))
  }

  #questions(): Question[] {
    const feeds = this.#options.feeds()
    const turn = feeds.length === 0 ? 0 : this.#turn++ % feeds.length
    return [...feeds.slice(turn), ...feeds.slice(0, turn)].map((feed) => feed.ask()).filter((question) => question !== null)
  }

  /** @returns counts it all; resolves when that is done */
  #answered(topicId: string, questions: readonly Question[], response: FetchResponse): () => Promise<unknown> {
    const { topic } = this.#options
    if (response.errorCode !== 0) throw refusedBy(response.errorCode, { brokers: [this.#name], topic })
    const parts = response.topics.get(topicId) ?? []
    const counts = questions.map((question) => {
      const part = parts.find(({ partition }) => partition === question.partition)
      if (part !== undefined) return question.feed.answered(question, part, response)
      question.feed.forget(question)
      return async () => {}
    })
    return () => Promise.all(counts.map((count) => count()))
  }

  /** @throws KafkaError where it is hopeless */
  async #failed(error: unknown): Promise<void> {
    const { topic, failures, doubt, clock } = this.#options
    this.#connection.close()
    const { signal } = this.#closing
    if (signal.aborted) return
    this.#connection = new LeaderConnection(this.#options)
    const failure = kafkaError(error, { brokers: [this.#name], topic })
    if (!failure.retriable) throw failure
    failures.failed(this.#name, failure)
    doubt()
    await clock.wait(this.#retry.next(), signal)
  }
}
