/**
 * Fetches from one broker, for as long as it leads partitions of this member. The next response arrives while the last one is processed, so
 * at most two responses of a broker are in memory: while both are still being processed, no request is sent.
 */
import { NOTABLE_THROTTLE, quotaText } from '@poke-api-pipeline/kafka-common/kafka-connecting'
import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import type { FetchResponse } from './brokers/fetch-response.ts'
import { kafkaError, refusedBy } from './brokers/kafka-failure.ts'
import { LeaderConnection, type LeaderConnectionOptions } from './brokers/leader-connection.ts'
import { KafkaError } from './errors.ts'
import type { FetchRequest, PartitionFetcher } from './partition-fetcher.ts'

export interface BrokerFetcherOptions extends LeaderConnectionOptions {
  readonly topic: string
  /** Those that this broker leads. */
  readonly partitions: () => readonly PartitionFetcher[]
  readonly topicId: () => string
  readonly failures: FailureTracker
  /** Quotas that make this client wait, by broker. */
  readonly quotas: FailureTracker
  /** Asks for new metadata: a broker that does not answer may not lead any more. */
  readonly requestRefresh: () => void
  readonly clock: Clock
}

export class BrokerFetcher {
  readonly #options: BrokerFetcherOptions
  readonly #closing = new AbortController()
  readonly #retry: BackOff
  /** Replaced after each failure. */
  #connection: LeaderConnection
  #woken: PromiseWithResolvers<void> = Promise.withResolvers()
  /** Rotates the partitions in the requests: a backlog in the first ones would starve the others (rule F3). */
  #turn = 0

  constructor(options: BrokerFetcherOptions) {
    this.#options = options
    this.#connection = new LeaderConnection(options)
    this.#retry = new BackOff({ first: 50, longest: 5000, clock: options.clock })
  }

  /** A partition may be requestable that was not before. */
  wake(): void {
    this.#woken.resolve()
  }

  /** Ends `run`; responses that arrived are still processed. */
  close(): void {
    this.#closing.abort()
    this.#connection.close()
    this.#options.failures.worked(this.#name)
    this.#options.quotas.worked(this.#name)
    this.wake()
  }

  /** @throws KafkaError where trying again cannot help */
  async run(): Promise<void> {
    // Of the last two responses: resolves when their bytes are not needed any more.
    let before: Promise<unknown> = Promise.resolve()
    let last: Promise<unknown> = Promise.resolve()
    let process: (() => Promise<unknown>) | null = null
    while (!this.#closing.signal.aborted) {
      // The next response is received into the buffer of the one before the last.
      await before
      this.#woken = Promise.withResolvers()
      const requests = this.#nextRequests()
      // The request goes out before the last response is processed.
      const topicId = this.#options.topicId()
      const arriving = requests.length === 0 ? null : this.#connection.fetch(topicId, requests)
      arriving?.catch(() => {})
      if (process !== null) last = process()
      process = null
      if (arriving === null) {
        await this.#woken.promise
        continue
      }
      try {
        const response = await arriving
        this.#retry.reset()
        this.#options.failures.worked(this.#name)
        this.#reportQuota(response)
        before = last
        process = this.#onResponse(topicId, requests, response)
      } catch (error) {
        for (const request of requests) request.fetcher.onNoResponse(request)
        await this.#onFailure(error)
      }
    }
    process?.()
  }

  get #name(): string {
    return `broker ${this.#options.node}`
  }

  #reportQuota({ throttleMs }: FetchResponse): void {
    const { quotas } = this.#options
    if (throttleMs < NOTABLE_THROTTLE) quotas.worked(this.#name)
    else quotas.failed(this.#name, new KafkaError('quota', quotaText([this.#name], throttleMs)))
  }

  #nextRequests(): FetchRequest[] {
    const fetchers = this.#options.partitions()
    const turn = fetchers.length === 0 ? 0 : this.#turn++ % fetchers.length
    const inTurn = [...fetchers.slice(turn), ...fetchers.slice(0, turn)]
    return inTurn.map((fetcher) => fetcher.nextRequest()).filter((request) => request !== null)
  }

  /** @returns processes every partition of the response; resolves when that is done */
  #onResponse(topicId: string, requests: readonly FetchRequest[], response: FetchResponse): () => Promise<unknown> {
    const { topic } = this.#options
    if (response.errorCode !== 0) throw refusedBy(response.errorCode, { brokers: [this.#name], topic })
    const parts = response.topics.get(topicId) ?? []
    const work = requests.map((request) => {
      const part = parts.find(({ partition }) => partition === request.partition)
      if (part !== undefined) return request.fetcher.onResponse(request, part, response)
      request.fetcher.onNoResponse(request)
      return async () => {}
    })
    return () => Promise.all(work.map((process) => process()))
  }

  /** @throws KafkaError where trying again cannot help */
  async #onFailure(error: unknown): Promise<void> {
    const { topic, failures, requestRefresh, clock } = this.#options
    this.#connection.close()
    const { signal } = this.#closing
    if (signal.aborted) return
    this.#connection = new LeaderConnection(this.#options)
    const failure = kafkaError(error, { brokers: [this.#name], topic })
    if (!failure.retriable) throw failure
    failures.failed(this.#name, failure)
    requestRefresh()
    await clock.wait(this.#retry.next(), signal)
  }
}
