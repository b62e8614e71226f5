/** Fetches from one broker over a connection that is opened at the first request. A broker that stays silent for too long is given up. */
import { DeadlinePassed, withSilenceLimit } from '@poke-api-pipeline/service-kit/deadline'
import type { Cluster } from './cluster.ts'
import { FetchConnection, type FetchConnectionOptions } from './fetch-connection.ts'
import {
  DEFAULT_MAX_BATCH_BYTES,
  type FetchLimits,
  type FetchResponse,
  fetchRequest,
  type RequestedPartition,
  readFetchResponse,
} from './fetch-response.ts'

export interface LeaderConnectionOptions extends Pick<FetchConnectionOptions, 'clientId' | 'clientOptions'> {
  readonly node: number
  readonly cluster: Pick<Cluster, 'address' | 'fetchVersion'>
  readonly limits: FetchLimits
  /** How long the connection may be silent beyond the broker's own waiting, in ms. Default: 5 s. */
  readonly longestSilence?: number
}

const FETCH = 1
/** For how long connecting may take, in ms. */
const CONNECT_DEADLINE = 5000
const LONGEST_SILENCE = 5000
/** Bytes of a response besides records: about twenty for each aborted transaction that reaches into it. */
const MOST_AROUND_RECORDS = 8 * 1024 * 1024
/** Brokers throttle for a few seconds; a longer wait is cut to this, in ms. */
const LONGEST_THROTTLE = 60_000

export class LeaderConnection {
  readonly #options: LeaderConnectionOptions
  readonly #closing = new AbortController()
  #open: { readonly connection: FetchConnection; readonly version: number } | null = null
  /** How long a quota keeps the broker silent before its next response, in ms. */
  #throttle = 0

  constructor(options: LeaderConnectionOptions) {
    this.#options = options
  }

  get node(): number {
    return this.#options.node
  }

  /** Sends one request; call it again only when it has settled. @throws where no response comes in time, or none that can be read: close this then */
  async fetch(topicId: string, partitions: readonly RequestedPartition[]): Promise<FetchResponse> {
    const { limits, longestSilence = LONGEST_SILENCE } = this.#options
    this.#open ??= await this.#connect()
    const { connection, version } = this.#open
    const answer = connection.ask(FETCH, version, fetchRequest(version, topicId, partitions, limits))
    const silence = limits.maxWait + longestSilence + this.#throttle
    const bytes = await withSilenceLimit(answer, () => connection.received, silence, 'a Fetch')
    const response = readFetchResponse(bytes, connection.missing)
    this.#throttle = Math.min(response.throttleMs, LONGEST_THROTTLE)
    return response
  }

  /** Closes for good; a request under way is rejected. */
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
