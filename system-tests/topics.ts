/** Creates, writes, truncates and changes the topics of a test, with the client library's own clients. */
import { Admin, type CreateTopicsOptions, findErrorBy, ListOffsetTimestamps, ProduceAcks, Producer } from '@platformatic/kafka'

/**
 * Creates topics, and waits until their leaders accept requests. A broker that was frozen or killed answers a moment before the controller gives it
 * topics again, so creating is retried.
 */
export async function createTopic(admin: Admin, options: CreateTopicsOptions & { topics: string[]; partitions: number }): Promise<void> {
  for (;;) {
    try {
      await admin.createTopics(options)
      break
    } catch (error) {
      if (findErrorBy(error as Error, 'apiId', 'INVALID_REPLICATION_FACTOR') === null) throw error
    }
  }
  for (const topic of options.topics) await untilThereIs(admin, topic, options.partitions)
}

const UNSETTLED = [
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
]

/** Resolves when a topic has so many partitions and every leader answers: for a moment the metadata names leaders that do not know it yet. */
async function untilThereIs(admin: Admin, topic: string, partitions: number): Promise<void> {
  for (;;) {
    try {
      const found = (await admin.metadata({ topics: [topic], forceUpdate: true, retries: 0 })).topics.get(topic)
      if (found?.partitionsCount === partitions && found?.partitions.every(({ leader }) => leader >= 0)) {
        const latest = Array.from({ length: partitions }, (_, partitionIndex) => ({
          partitionIndex,
          timestamp: ListOffsetTimestamps.LATEST,
        }))
        await admin.listOffsets({ topics: [{ name: topic, partitions: latest }] })
        return
      }
    } catch (error) {
      const isUnsettled = UNSETTLED.some((code) => findErrorBy(error as Error, 'apiId', code) !== null)
      if (!isUnsettled && !/Unknown topic|Received response with error/.test(String(error))) throw error
    }
    await new Promise(setImmediate)
  }
}

/** Deletes a topic and waits until its broker knows it, a moment after the controller. */
export async function deleteTopic(admin: Admin, topic: string): Promise<void> {
  await admin.deleteTopics({ topics: [topic] })
  for (;;) {
    try {
      await admin.metadata({ topics: [topic], forceUpdate: true, retries: 0 })
    } catch (error) {
      if (!/Unknown topic|UNKNOWN_TOPIC_OR_PARTITION/.test(String(error))) throw error
      return
    }
  }
}

export class Topics {
  readonly #admin: Admin
  readonly #producer: Producer<Buffer, Buffer, Buffer, Buffer>

  /** @param brokers host:port, several separated by commas */
  constructor(brokers: string) {
    const options = { clientId: 'topics', bootstrapBrokers: brokers.split(','), requestTimeout: 5000 }
    this.#admin = new Admin(options)
    this.#producer = new Producer(options)
  }

  async make(topic: string, partitions = 1, settings: Readonly<Record<string, string>> = {}, replicas = 1): Promise<void> {
    const configs = Object.entries(settings).map(([name, value]) => ({ name, value }))
    await createTopic(this.#admin, { topics: [topic], partitions, replicas, configs })
  }

  async remove(topic: string): Promise<void> {
    await deleteTopic(this.#admin, topic)
  }

  async addPartitions(topic: string, count: number, added: number): Promise<void> {
    const assignments = Array.from({ length: added }, () => ({ brokerIds: [1] }))
    await this.#admin.createPartitions({ topics: [{ name: topic, count, assignments }] })
    await this.untilThereIs(topic, count)
  }

  /** Removes the records before an offset, as retention does. */
  async removeBefore(topic: string, partition: number, offset: number): Promise<void> {
    await this.#admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition, offset: BigInt(offset) }] }] })
  }

  async set(topic: string, name: string, value: string): Promise<void> {
    await this.#admin.incrementalAlterConfigs({
      resources: [{ resourceType: 2, resourceName: topic, configs: [{ name, configOperation: 0, value }] }],
    })
  }

  /** Sends values to a partition, in order. */
  async write(topic: string, partition: number, ...values: (string | Buffer)[]): Promise<void> {
    await this.#producer.send({
      messages: values.map((value) => ({ topic, partition, key: Buffer.from('key'), value: Buffer.from(value) })),
      // A thawed broker believes for a moment that it is still the leader, and loses records that it alone has acknowledged.
      acks: ProduceAcks.ALL,
    })
  }

  /** The group's committed offsets of a topic, by partition. */
  async mirrored(groupId: string, topic: string): Promise<Map<number, number>> {
    const groups = await this.#admin.listConsumerGroupOffsets({ groups: [groupId] })
    const partitions = groups.flatMap((group) => group.topics.filter(({ name }) => name === topic)).flatMap((found) => found.partitions)
    return new Map(partitions.map(({ partitionIndex, committedOffset }) => [partitionIndex, Number(committedOffset)]))
  }

  /** The ids of all groups, of every kind. */
  async groups(): Promise<string[]> {
    return [...(await this.#admin.listGroups({ types: ['share', 'classic', 'consumer'] })).keys()]
  }

  /** The id of the broker that leads a partition. */
  async leaderOf(topic: string, partition: number): Promise<number> {
    const found = (await this.#admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic)?.partitions[partition]
    return found?.leader ?? -1
  }

  async close(): Promise<void> {
    for (const client of [this.#producer, this.#admin]) {
      const connections = [...client.connections]
      const closed = client.close()
      // A frozen broker does not answer the closing of a client.
      for (const [, connection] of connections) connection.socket?.destroy()
      await closed
    }
  }

  async untilThereIs(topic: string, partitions: number): Promise<void> {
    await untilThereIs(this.#admin, topic, partitions)
  }
}
