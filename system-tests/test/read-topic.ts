/** Reads a whole topic with the client library's own decoder and without a group: partition by partition, from its beginning to its present end. */
import { type ClusterTopicMetadata, Consumer } from '@platformatic/kafka'

export interface ReadRecord {
  readonly offset: number
  /** ms since 1970 */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: ReadonlyMap<string, string>
}

const CLIENT_ID = 'read-topic'
/** in ms */
const LEADERS_DEADLINE = 30_000
const MAX_BYTES = 16 * 1024 * 1024

/** @param brokers host:port, several separated by commas */
export async function readTopic(brokers: string, topic: string): Promise<ReadRecord[][]> {
  const consumer = new Consumer({ clientId: CLIENT_ID, bootstrapBrokers: brokers.split(','), groupId: CLIENT_ID })
  try {
    const { id: topicId, partitions } = await topicWithLeaders(consumer, topic)
    const ends = (await consumer.listOffsets({ topics: [topic] })).get(topic) ?? []
    return await Promise.all(
      partitions.map(({ leader }, partition) => readPartition(consumer, { topicId, leader, partition, end: Number(ends[partition]) })),
    )
  } finally {
    await consumer.close(true)
  }
}

/** Waits for the leaders: a broker that was killed or frozen accepts events a moment before it leads its partitions again. */
async function topicWithLeaders(consumer: Consumer, name: string): Promise<ClusterTopicMetadata> {
  for (const end = performance.now() + LEADERS_DEADLINE; ; ) {
    const { topics, brokers } = await consumer.metadata({ topics: [name], forceUpdate: true })
    const topic = topics.get(name)
    if (topic?.partitions.every(({ leader }) => brokers.has(leader))) return topic
    if (performance.now() > end) throw new Error(`topic ${name} has partitions without a leader: ${JSON.stringify(topic?.partitions)}`)
  }
}

interface Part {
  readonly topicId: string
  /** id of the broker that leads the partition */
  readonly leader: number
  readonly partition: number
  /** the offset after the last record to read */
  readonly end: number
}

async function readPartition(consumer: Consumer, { topicId, leader, partition, end }: Part): Promise<ReadRecord[]> {
  const read: ReadRecord[] = []
  for (let next = 0; next < end; ) {
    const from = { partition, currentLeaderEpoch: -1, fetchOffset: BigInt(next), lastFetchedEpoch: -1, partitionMaxBytes: MAX_BYTES }
    const response = await consumer.fetch({
      node: leader,
      topics: [{ topicId, partitions: [from] }],
      maxBytes: MAX_BYTES,
      maxWaitTime: 100,
    })
    for (const batch of response.responses[0]?.partitions[0]?.records ?? []) {
      next = Number(batch.firstOffset) + batch.lastOffsetDelta + 1
      for (const { offsetDelta, timestampDelta, key, value, headers } of batch.records) {
        read.push({
          offset: Number(batch.firstOffset) + offsetDelta,
          timestamp: Number(batch.firstTimestamp + timestampDelta),
          key,
          value,
          headers: new Map(headers.map(([name, text]) => [String(name), String(text)])),
        })
      }
    }
  }
  return read
}
