/** What is asked of the brokers besides records and membership: the topic, its leaders, the ends of its logs, and connections to fetch by. */
import { Admin, type BaseOptions, type Connection, ConnectionPool, Consumer, findErrorBy, ListOffsetTimestamps } from '@platformatic/kafka'
import { KafkaError } from '../../errors.ts'
import { closeByForce } from './close-by-force.ts'
import { withDeadline } from './deadline.ts'
import { fetchApi, NEWEST_FETCH, OLDEST_FETCH } from './fetch-response.ts'
import { kafkaError } from './kafka-failure.ts'

export interface ClusterOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly clientId: string
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
  /** For how long a request may take, in ms. */
  readonly requestTimeout?: number
}

export interface Topic {
  readonly topicId: string
  readonly partitions: readonly Leader[]
}

/** Who leads a partition. */
export interface Leader {
  /** −1: nobody. */
  readonly node: number
  readonly leaderEpoch: number
}

const REQUEST_TIMEOUT = 5000
/** The fetch loop has a deadline of its own, below this; in ms. */
const LONGEST_FETCH = 120_000

/** One client, thrown away after any failure: the next one begins with another broker. */
export class Cluster {
  readonly #options: ClusterOptions
  readonly #timeout: number
  #client: Consumer | null = null
  #pool: ConnectionPool
  #clients = 0
  #addresses: ReadonlyMap<number, { readonly host: string; readonly port: number }> = new Map()
  #fetch: ReturnType<typeof fetchApi> | null = null

  constructor(options: ClusterOptions) {
    this.#options = options
    this.#timeout = options.requestTimeout ?? REQUEST_TIMEOUT
    this.#pool = this.#newPool()
  }

  /**
   * The topic as the brokers know it now.
   * @returns null where it does not exist
   * @throws KafkaError
   */
  async topic(): Promise<Topic | null> {
    return await this.#ask('looking for the topic', async (client) => {
      const { topic } = this.#options
      try {
        const metadata = await client.metadata({ topics: [topic], forceUpdate: true, retries: 0 })
        this.#addresses = metadata.brokers
        const found = metadata.topics.get(topic)
        if (found === undefined) return null
        return { topicId: found.id, partitions: found.partitions.map(({ leader, leaderEpoch }) => ({ node: leader, leaderEpoch })) }
      } catch (error) {
        if (isUnknownTopic(error)) return null
        throw error
      }
    })
  }

  /**
   * The version of Fetch to use.
   * @throws KafkaError `unsupported-broker` where the broker does not know topic ids
   */
  async fetch(): Promise<ReturnType<typeof fetchApi>> {
    this.#fetch ??= await this.#ask('asking for versions', async (client) => {
      const fetch = (await client.listApis()).find(({ name, apiKey }) => name === 'Fetch' || apiKey === 1)
      if (fetch === undefined || fetch.maxVersion < OLDEST_FETCH) {
        throw new KafkaError(
          'unsupported-broker',
          `Kafka at ${this.#options.brokers.join(', ')} is too old: it speaks Fetch up to version ${fetch?.maxVersion ?? 0}, and ${OLDEST_FETCH} is needed; use Kafka 3.1 or newer`,
        )
      }
      return fetchApi(Math.min(NEWEST_FETCH, fetch.maxVersion))
    })
    return this.#fetch
  }

  /** First offset of a partition, and the one after its last. @throws KafkaError */
  async offsets(partition: number): Promise<{ readonly start: number; readonly end: number }> {
    const { topic } = this.#options
    return await this.#ask('asking for offsets', async (client) => {
      const at = async (timestamp: bigint) => {
        const offsets = await client.listOffsets({ topics: [topic], partitions: { [topic]: [partition] }, timestamp, isolationLevel: 0 })
        return Number(offsets.get(topic)?.[partition] ?? -1n)
      }
      const start = await at(ListOffsetTimestamps.EARLIEST)
      return { start, end: await at(ListOffsetTimestamps.LATEST) }
    })
  }

  /** Whether old records of the topic are replaced by newer ones of the same key (rule S6). @throws KafkaError */
  async isCompacted(): Promise<boolean> {
    const admin = new Admin(this.#clientOptions())
    try {
      const resources = [{ resourceType: 2 as const, resourceName: this.#options.topic, configurationKeys: ['cleanup.policy'] }]
      const [described] = await withDeadline(admin.describeConfigs({ resources }), this.#timeout, 'asking for the topic’s settings')
      return described?.configs.some(({ name, value }) => name === 'cleanup.policy' && value?.includes('compact') === true) ?? false
    } catch (error) {
      throw kafkaError(error, this.#options)
    } finally {
      await closeByForce(admin)
    }
  }

  /** A connection to a broker, for fetching alone. @throws KafkaError */
  async connection(node: number): Promise<Connection> {
    const address = this.#addresses.get(node)
    if (address === undefined) throw new KafkaError('no-leader', `broker ${node} is not among those that Kafka names`)
    try {
      return await withDeadline(this.#pool.get(address), this.#timeout, `connecting to ${address.host}:${address.port}`)
    } catch (error) {
      throw kafkaError(error, this.#options)
    }
  }

  /** Closes every connection at once; the cluster can go on being asked. */
  async disconnect(): Promise<void> {
    const [client, pool] = [this.#client, this.#pool]
    this.#client = null
    this.#pool = this.#newPool()
    for (const [, connection] of pool) connection.socket?.destroy()
    await Promise.all([client === null ? undefined : closeByForce(client), pool.close().catch(() => {})])
  }

  async #ask<T>(what: string, ask: (client: Consumer) => Promise<T>): Promise<T> {
    this.#client ??= new Consumer({ ...this.#clientOptions(), groupId: this.#options.clientId })
    const client = this.#client
    try {
      return await withDeadline(ask(client), this.#timeout, what)
    } catch (error) {
      if (this.#client === client) this.#client = null
      await closeByForce(client)
      throw kafkaError(error, this.#options)
    }
  }

  #newPool(): ConnectionPool {
    const { clientOptions, clientId } = this.#options
    return new ConnectionPool(clientId, { ...clientOptions, connectTimeout: this.#timeout, requestTimeout: LONGEST_FETCH })
  }

  #clientOptions(): BaseOptions {
    const { brokers, clientOptions, clientId } = this.#options
    const first = this.#clients++ % brokers.length
    return {
      ...clientOptions,
      clientId,
      bootstrapBrokers: [...brokers.slice(first), ...brokers.slice(0, first)],
      retries: 0,
      timeout: this.#timeout,
      connectTimeout: this.#timeout,
      requestTimeout: this.#timeout,
    }
  }
}

function isUnknownTopic(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.message.startsWith('Unknown topic ') || findErrorBy(error, 'apiId', 'UNKNOWN_TOPIC_OR_PARTITION') !== null)
  )
}
