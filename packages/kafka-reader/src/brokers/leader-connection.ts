/** Asks one broker for records: over a connection that is made when it is needed, and with no longer waiting than brokers are silent. */
import type { BaseOptions } from '@platformatic/kafka'
import { DeadlinePassed, withSilenceLimit } from '@poke-api-pipeline/service-kit/deadline'
import type { Cluster } from './cluster.ts'
import { FetchConnection } from './fetch-connection.ts'
import {
  DEFAULT_MAX_BATCH_BYTES,
  type FetchLimits,
  type FetchQuestion,
  type FetchResponse,
  fetchRequest,
  readFetchResponse,
} from './fetch-response.ts'

export interface LeaderConnectionOptions {
  readonly node: number
  readonly cluster: Pick<Cluster, 'address' | 'fetchVersion'>
  readonly clientId: string
  readonly clientOptions?: Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
  readonly limits: FetchLimits
  /** For how long nothing may come beyond the broker's own waiting, in ms. Default: 5 s. */
  readonly longestSilence?: number
}

const FETCH = 1
/** For how long connecting may take, in ms. */
const CONNECT_DEADLINE = 5000
const LONGEST_SILENCE = 5000
/** What a response may say besides records, in bytes: of each aborted transaction that reaches into it about twenty. */
const MOST_AROUND_RECORDS = 8 * 1024 * 1024
/** Brokers throttle for a few seconds; one that says more is not waited for, in ms. */
const LONGEST_THROTTLE = 60_000

export class LeaderConnection {
  readonly #options: LeaderConnectionOptions
  readonly #closing = new AbortController()
  #open: { readonly connection: FetchConnection; readonly version: number } | null = null
  /** A broker that enforces a quota is silent for so long before it answers again, in ms. */
  #throttle = 0

  constructor(options: LeaderConnectionOptions) {
    this.#options = options
  }

  get node(): number {
    return this.#options.node
  }

  /** One question after the other. @throws where no answer comes in time, or none that can be read: then this is to be closed */
  async fetch(topicId: string, questions: readonly FetchQuestion[]): Promise<FetchResponse> {
    const { limits, longestSilence = LONGEST_SILENCE } = this.#options
    this.#open ??= await this.#connect()
    const { connection, version } = this.#open
    const answer = connection.ask(FETCH, version, fetchRequest(version, topicId, questions, limits))
    const silence = limits.maxWait + longestSilence + this.#throttle
    const bytes = await withSilenceLimit(answer, () => connection.received, silence, 'a Fetch')
    const response = readFetchResponse(bytes, connection.missing)
    this.#throttle = Math.min(response.throttleMs, LONGEST_THROTTLE)
    return response
  }

  /** For good: what is under way fails. */
  close(): void {
    this.#closing.abort()
    this.#open?.connection.close()
  }

  async #connect(): Promise<{ readonly connection: FetchConnection; readonly version: number }> {
    const { node, cluster, clientId, clientOptions, limits } = this.#options
    const version = await cluster.fetchVersion(node)
    const deadline = AbortSignal.timeout(CONNECT_DEADLINE)
    const signal = AbortSignal.any([this.#closing.signal, deadline])
    try {
      const { maxBytes, maxBatchBytes = DEFAULT_MAX_BATCH_BYTES } = limits
      const largestRecords = Math.max(maxBytes, maxBatchBytes)
      const options = {
        clientId,
        commonBytes: maxBytes,
        mostBytes: largestRecords + MOST_AROUND_RECORDS,
        ...(clientOptions && { clientOptions }),
      }
      const connection = await FetchConnection.open(cluster.address(node), options, signal)
      if (!this.#closing.signal.aborted) return { connection, version }
      connection.close()
      throw this.#closing.signal.reason
    } catch (error) {
      throw deadline.aborted ? new DeadlinePassed(`connecting took longer than ${CONNECT_DEADLINE} ms`) : error
    }
  }
}
