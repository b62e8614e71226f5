/** Finds a topic, tells which rights on it are missing, and creates it. */
import { setTimeout as wait } from 'node:timers/promises'
import {
  Admin,
  type API,
  type Base,
  type BaseOptions,
  type ClusterTopicMetadata,
  type Connection,
  findErrorBy,
  kGetApi,
  kGetBootstrapConnection,
  ListOffsetTimestamps,
  metadataV12,
  ResponseError,
} from '@platformatic/kafka'
import { closeByForce } from './close-by-force.ts'
import { missingOperations, NOTHING_ALLOWED, type Operation } from './rights.ts'

export interface TopicSettings {
  readonly topic: string
  /** The numbers of partitions and replicas of a new topic. */
  readonly partitions: number
  readonly replication: number
  /** Settings beside those that keep every record. */
  readonly configs?: readonly { readonly name: string; readonly value: string }[]
}

/** The delay between two checks of a new topic, in ms. */
const CHECK_INTERVAL = 100
/**
 * Settings of a new topic: the brokers keep every record for ever. Without them, a broker's default of `log.cleanup.policy=compact` or
 * `log.retention.bytes` would remove records.
 */
const KEPT_FOR_EVER = [
  { name: 'cleanup.policy', value: 'delete' },
  { name: 'retention.ms', value: '-1' },
  { name: 'retention.bytes', value: '-1' },
]
/** Codes that brokers return for a moment after a topic was created, or while its leaders are elected (https://kafka.apache.org/protocol#protocol_error_codes). */
const UNSETTLED = [
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'UNKNOWN_LEADER_EPOCH',
  'FENCED_LEADER_EPOCH',
]
/** https://kafka.apache.org/protocol#protocol_error_codes */
const UNKNOWN_TOPIC = 3
const TOPIC_AUTHORIZATION_FAILED = 29

/**
 * Finds a topic in the client's metadata, which is at most `metadataMaxAge` (5 s) old.
 * @returns null if there is no such topic
 * @throws the Kafka client's errors, one of which is that a partition has no leader
 */
export async function findTopic(client: Base, topic: string): Promise<ClusterTopicMetadata | null> {
  try {
    return (await client.metadata({ topics: [topic], retries: 0 })).topics.get(topic) ?? null
  } catch (error) {
    if (isUnknownTopic(error)) return null
    throw error
  }
}

/**
 * The rights on the topic that are missing to write to it, or to create it first. None if brokers do not tell.
 * @throws the Kafka client's errors
 */
export async function missingOn(client: Base, topic: string): Promise<Operation[]> {
  const api = await new Promise<API<unknown[], unknown>>((resolve, reject) =>
    client[kGetApi]('Metadata', (error, found) => (error ? reject(error) : resolve(found as API<unknown[], unknown>))),
  )
  // Older brokers know only older versions of the request, which have other layouts: their rights are not looked at.
  if (api.version !== metadataV12.api.version) return []
  const connection = await new Promise<Connection>((resolve, reject) =>
    client[kGetBootstrapConnection]((error, found) => (error ? reject(error) : resolve(found as Connection))),
  )
  const answer = await metadataV12.api.async(connection, [topic], false, true).catch((error) => {
    if (error instanceof ResponseError && error.response) return error.response as metadataV12.MetadataResponse
    throw error
  })
  const found = answer.topics.find(({ name }) => name === topic)
  if (found === undefined) return []
  const isHidden = found.errorCode === TOPIC_AUTHORIZATION_FAILED
  const allowed = isHidden ? NOTHING_ALLOWED : found.topicAuthorizedOperations
  const missing = missingOperations(allowed, ['Write'])
  const isThere = found.errorCode !== UNKNOWN_TOPIC && !isHidden
  return missing.length === 0 || isThere ? missing : [...missingOperations(allowed, ['Create']), ...missing]
}

/**
 * Creates the topic and waits until it can be written to. A send before that is refused, and has hung or thrown inside the library.
 * @param signal aborted when nobody waits for the topic any more
 * @returns its metadata; its partitions and replicas can differ from the settings if it existed already
 * @throws the Kafka client's errors; an AbortError once the signal is aborted
 */
export async function createTopic(options: BaseOptions, settings: TopicSettings, signal: AbortSignal): Promise<ClusterTopicMetadata> {
  const admin = new Admin(options)
  const close = () => closeByForce(admin)
  signal.addEventListener('abort', close)
  try {
    await requestTopic(admin, settings)
    for (;;) {
      const found = await findWritable(admin, settings.topic)
      if (found !== null) return found
      await wait(CHECK_INTERVAL, undefined, { signal })
    }
  } finally {
    signal.removeEventListener('abort', close)
    await close()
  }
}

async function requestTopic(admin: Admin, { topic, partitions, replication, configs = [] }: TopicSettings): Promise<void> {
  try {
    await admin.createTopics({ topics: [topic], partitions, replicas: replication, configs: [...KEPT_FOR_EVER, ...configs] })
  } catch (error) {
    // Another instance has created it meanwhile.
    if (!says(error, 'TOPIC_ALREADY_EXISTS')) throw error
  }
}

/**
 * Finds a topic of which every leader returns the end of its log, or null. The metadata alone is not enough: it names leaders that do not know the
 * topic yet.
 */
async function findWritable(admin: Admin, topic: string): Promise<ClusterTopicMetadata | null> {
  try {
    const found = await findTopic(admin, topic)
    if (found === null) return null
    const partitions = found.partitions.map((_, partitionIndex) => ({ partitionIndex, timestamp: ListOffsetTimestamps.LATEST }))
    await admin.listOffsets({ topics: [{ name: topic, partitions }] })
    return found
  } catch (error) {
    if (UNSETTLED.some((code) => says(error, code))) return null
    throw error
  }
}

function says(error: unknown, code: string): boolean {
  return findErrorBy(error as Error, 'apiId', code) !== null
}

/** The library replaces the broker's UNKNOWN_TOPIC_OR_PARTITION by a message of its own, without the code. */
function isUnknownTopic(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('Unknown topic ')
}
