/** Reads a whole topic with the library's own consumer: what is there now, partition by partition, from the beginning. */
import { randomUUID } from 'node:crypto'
import { Admin, Consumer, ListOffsetTimestamps } from '@platformatic/kafka'

export interface ReadRecord {
  readonly offset: number
  /** ms since 1970 */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: ReadonlyMap<string, string>
}

/** @param brokers host:port, several with commas between */
export async function readTopic(brokers: string, topic: string): Promise<ReadRecord[][]> {
  const bootstrapBrokers = brokers.split(',')
  const admin = new Admin({ clientId: 'read-topic', bootstrapBrokers })
  const consumer = new Consumer<Buffer, Buffer, Buffer, Buffer>({
    clientId: 'read-topic',
    bootstrapBrokers,
    groupId: `read-${randomUUID()}`,
  })
  try {
    const partitions = (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic)?.partitionsCount ?? 0
    const indexes = Array.from({ length: partitions }, (_, partitionIndex) => ({ partitionIndex, timestamp: ListOffsetTimestamps.LATEST }))
    const [listed] = await admin.listOffsets({ topics: [{ name: topic, partitions: indexes }] })
    const ends = new Map(listed?.partitions.map(({ partitionIndex, offset }) => [partitionIndex, Number(offset)]))
    const read: ReadRecord[][] = Array.from({ length: partitions }, () => [])
    const unread = new Set([...ends].filter(([, end]) => end > 0).map(([partition]) => partition))
    if (unread.size === 0) return read
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest', autocommit: false, maxWaitTime: 100 })
    for await (const message of stream) {
      const offset = Number(message.offset)
      read[message.partition]?.push({
        offset,
        timestamp: Number(message.timestamp),
        key: message.key ?? null,
        value: message.value ?? null,
        headers: new Map([...message.headers].map(([name, value]) => [name.toString(), value.toString()])),
      })
      if (offset + 1 >= (ends.get(message.partition) ?? 0)) unread.delete(message.partition)
      if (unread.size === 0) break
    }
    return read
  } finally {
    await consumer.close(true)
    await admin.close()
  }
}
