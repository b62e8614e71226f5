/** Finds the topic with a leader for every partition, and makes it where it is missing. */
import { setTimeout as wait } from 'node:timers/promises'
import { Admin, type Base, type BaseOptions, type ClusterTopicMetadata, findErrorBy } from '@platformatic/kafka'
import { closeByForce } from './close-by-force.ts'

export interface TopicSettings {
  readonly topic: string
  /** Partitions and replicas of the topic where it has to be made. */
  readonly partitions: number
  readonly replication: number
}

/** Between two looks at a topic that was just made, in ms. */
const LOOK_AGAIN = 100

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
 * Makes the topic and waits until it can be written: a send before that hangs or throws inside the library.
 * @param signal ends the waiting
 * @throws what the Kafka client throws
 */
export async function createTopic(
  client: Base,
  options: BaseOptions,
  settings: TopicSettings,
  signal: AbortSignal,
): Promise<ClusterTopicMetadata> {
  await requestTopic(options, settings)
  for (;;) {
    try {
      const topic = await findTopic(client, settings.topic)
      if (topic !== null) return topic
    } catch (error) {
      if (!hasNoLeader(error)) throw error
    }
    await wait(LOOK_AGAIN, undefined, { signal })
  }
}

/** Whether the brokers know the topic, and no leader for one of its partitions. */
export function hasNoLeader(error: unknown): boolean {
  return findErrorBy(error as Error, 'apiId', 'LEADER_NOT_AVAILABLE') !== null
}

async function requestTopic(options: BaseOptions, { topic, partitions, replication }: TopicSettings): Promise<void> {
  const admin = new Admin(options)
  try {
    // Kept for ever: the topic is the record of what happened.
    await admin.createTopics({ topics: [topic], partitions, replicas: replication, configs: [{ name: 'retention.ms', value: '-1' }] })
  } catch (error) {
    // Another producer was faster.
    if (findErrorBy(error as Error, 'apiId', 'TOPIC_ALREADY_EXISTS') === null) throw error
  } finally {
    await closeByForce(admin)
  }
}

/** The library words the broker's UNKNOWN_TOPIC_OR_PARTITION anew and keeps no code of it. */
function isUnknownTopic(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('Unknown topic ')
}
