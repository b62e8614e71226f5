/**
 * Fetches from one broker, for as long as it leads partitions of ours. The next fetch is under way while the last response is counted, so
 * at most two responses of a leader are in memory; while neither is counted, nothing is asked for.
 */
import type { BaseOptions } from '@platformatic/kafka'
import { DeadlinePassed, withSilenceLimit } from 'service-kit'
import type { Troubles } from '../../application/troubles.ts'
import { BackOff } from './back-off.ts'
import type { BrokerAddress } from './broker-connection.ts'
import { FetchConnection } from './fetch-connection.ts'
import { type FetchLimits, type FetchResponse, fetchRequest, readFetchResponse } from './fetch-response.ts'
import { kafkaError, refusedBy } from './kafka-failure.ts'
import type { PartitionFeed, Question } from './partition-feed.ts'

export interface LeaderLoopOptions {
  readonly node: number
  readonly topic: string
  readonly clientId: string
  readonly clientOptions?: Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
  readonly limits: FetchLimits
  readonly address: (node: number) => BrokerAddress
  readonly fetchVersion: (node: number) => Promise<number>
  /** Those that this broker leads. */
  readonly feeds: () => readonly PartitionFeed[]
  readonly topicId: () => string
  readonly troubles: Troubles
  /** The broker does not answer: perhaps it does not lead any more. */
  readonly doubt: () => void
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  readonly random: () => number
  /** For how long nothing may come beyond the broker's own waiting, in ms. */
  readonly longestSilence?: number
}

const FETCH = 1
/** For how long connecting may take, in ms. */
const CONNECT_DEADLINE = 5000
const LONGEST_SILENCE = 5000
/** Brokers throttle for a few seconds; one that says more is not waited for, in ms. */
const LONGEST_THROTTLE = 60_000

interface OpenConnection {
  readonly connection: FetchConnection
  readonly version: number
}

export class LeaderLoop {
  readonly #options: LeaderLoopOptions
  readonly #closing = new AbortController()
  readonly #retry: BackOff
  /** A broker that enforces a quota is silent for so long before it answers again, in ms. */
  #throttle = 0
  #open: OpenConnection | null = null
  #woken: PromiseWithResolvers<void> = Promise.withResolvers()
  /** Rotates the partitions in the requests: a backlog in the first ones would starve the others (rule F3). */
  #turn = 0

  constructor(options: LeaderLoopOptions) {
    this.#options = options
    this.#retry = new BackOff({ first: 50, longest: 5000, random: options.random })
  }

  /** There may be something to ask for. */
  wake(): void {
    this.#woken.resolve()
  }

  /** Ends `run`; what is being counted goes on. */
  close(): void {
    this.#closing.abort()
    this.#open?.connection.close()
    this.#options.troubles.worked(this.#name)
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
      const arriving = questions.length === 0 ? null : this.#ask(topicId, questions)
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
        this.#options.troubles.worked(this.#name)
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

  #questions(): Question[] {
    const feeds = this.#options.feeds()
    const turn = feeds.length === 0 ? 0 : this.#turn++ % feeds.length
    return [...feeds.slice(turn), ...feeds.slice(0, turn)].map((feed) => feed.ask()).filter((question) => question !== null)
  }

  async #ask(topicId: string, questions: readonly Question[]): Promise<FetchResponse> {
    const { limits, longestSilence = LONGEST_SILENCE } = this.#options
    if (this.#open === null) this.#open = await this.#connect()
    const { connection, version } = this.#open
    const answer = connection.ask(FETCH, version, fetchRequest(version, topicId, questions, limits))
    const silence = limits.maxWait + longestSilence + this.#throttle
    const response = readFetchResponse(await withSilenceLimit(answer, () => connection.received, silence, 'a Fetch'))
    this.#throttle = Math.min(response.throttleMs, LONGEST_THROTTLE)
    return response
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

  async #connect(): Promise<OpenConnection> {
    const { node, address, fetchVersion, clientId, clientOptions, limits } = this.#options
    const version = await fetchVersion(node)
    const deadline = AbortSignal.timeout(CONNECT_DEADLINE)
    const signal = AbortSignal.any([this.#closing.signal, deadline])
    try {
      const options = { clientId, commonBytes: limits.maxBytes, ...(clientOptions && { clientOptions }) }
      return { connection: await FetchConnection.open(address(node), options, signal), version }
    } catch (error) {
      throw deadline.aborted ? new DeadlinePassed(`connecting took longer than ${CONNECT_DEADLINE} ms`) : error
    }
  }

  /** @throws KafkaError where it is hopeless */
  async #failed(error: unknown): Promise<void> {
    const { topic, troubles, doubt, wait } = this.#options
    this.#open?.connection.close()
    this.#open = null
    this.#throttle = 0
    const { signal } = this.#closing
    if (signal.aborted) return
    const failure = kafkaError(error, { brokers: [this.#name], topic })
    if (!failure.retriable) throw failure
    troubles.failed(this.#name, failure)
    doubt()
    await wait(this.#retry.next(), signal)
  }
}
