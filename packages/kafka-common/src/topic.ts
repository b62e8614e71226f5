/** Finds the topic with a leader for every partition, and makes it where it is missing. */
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
import { KEPT_FOR_EVER } from './kept-for-ever.ts'
import { missingOperations, NOTHING_ALLOWED, type Operation } from './rights.ts'
import { UNSETTLED_TOPIC } from './unsettled-topic.ts'

export interface TopicSettings {
  readonly topic: string
  /** Partitions and replicas of the topic where it has to be made. */
  readonly partitions: number
  readonly replication: number
}

/** Between two looks at a topic that was just made, in ms. */
const LOOK_AGAIN = 100
/** https://kafka.apache.org/protocol#protocol_error_codes */
const UNKNOWN_TOPIC = 3
const TOPIC_AUTHORIZATION_FAILED = 29

/**
 * The topic as the client knows it, at most its `metadataMaxAge` (5 s) old.
 * @returns null where there is no such topic
 * @throws what the Kafka client throws, also where a partition has no leader
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
 * Which rights on the topic are missing, found out without using them; none where brokers do not say.
 * @throws what the Kafka client throws
 */
export async function missingOn(client: Base, topic: string): Promise<Operation[]> {
  const api = await new Promise<API<unknown[], unknown>>((resolve, reject) =>
    client[kGetApi]('Metadata', (error, found) => (error ? reject(error) : resolve(found as API<unknown[], unknown>))),
  )
  // Older versions of the request are laid out in other ways, and these brokers are not worth them.
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
 * Makes the topic and waits until it can be written: before that a send is refused, and has hung or thrown inside the library.
 * @param signal ends the waiting
 * @throws what the Kafka client throws
 */
export async function createTopic(options: BaseOptions, settings: TopicSettings, signal: AbortSignal): Promise<void> {
  const { topic, partitions, replication } = settings
  const admin = new Admin(options)
  try {
    await requestTopic(admin, topic, partitions, replication)
    while (!(await leadersAnswer(admin, topic))) await wait(LOOK_AGAIN, undefined, { signal })
  } finally {
    await closeByForce(admin)
  }
}

async function requestTopic(admin: Admin, topic: string, partitions: number, replicas: number): Promise<void> {
  try {
    // The topic is the record of what happened.
    await admin.createTopics({ topics: [topic], partitions, replicas, configs: KEPT_FOR_EVER })
  } catch (error) {
    // Another producer was faster.
    if (!says(error, 'TOPIC_ALREADY_EXISTS')) throw error
  }
}

/** Asked for the ends of their logs, because the brokers' metadata names leaders that do not know it yet. */
async function leadersAnswer(admin: Admin, topic: string): Promise<boolean> {
  try {
    const found = await findTopic(admin, topic)
    if (found === null) return false
    const partitions = found.partitions.map((_, partitionIndex) => ({ partitionIndex, timestamp: ListOffsetTimestamps.LATEST }))
    await admin.listOffsets({ topics: [{ name: topic, partitions }] })
    return true
  } catch (error) {
    if (UNSETTLED_TOPIC.some((code) => says(error, code))) return false
    throw error
  }
}

function says(error: unknown, code: string): boolean {
  return findErrorBy(error as Error, 'apiId', code) !== null
}

/** The library words the broker's UNKNOWN_TOPIC_OR_PARTITION anew and keeps no code of it. */
function isUnknownTopic(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('Unknown topic ')
}
