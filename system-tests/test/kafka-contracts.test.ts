/** The parts that connect to Kafka keep the contracts of their ports on a real broker, as their doubles in memory do. */
import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { GroupReader, TopicReader } from '@poke-api-pipeline/kafka-reader'
import { deadLetterTopicOf, KafkaDeadLetterTopic } from '@poke-api-pipeline/poke-api-consumer/dead-letter-topic'
import { testDeadLetterTopic } from '@poke-api-pipeline/poke-api-consumer/testing/dead-letter-topic'
import { testRecordReader } from '@poke-api-pipeline/poke-api-consumer/testing/record-reader'
import { testTopicReader } from '@poke-api-pipeline/poke-api-consumer/testing/topic-reader'
import { fanOut, systemClock } from '@poke-api-pipeline/service-kit'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const servers = serversOfFile('kafka-contracts')
const limits = { maxBytes: 1 << 20, maxWait: 100 }
const clock = systemClock()

function topicsOf(t: TestContext): Topics {
  const topics = new Topics(servers.kafka.brokers)
  t.after(() => topics.close())
  return topics
}

/** Each test has a topic of its own, with two partitions. */
async function connection(topics: Topics) {
  const topic = `topic-${randomUUID()}`
  await topics.make(topic, 2)
  return { topic, brokers: [servers.kafka.brokers], clientId: 'contract' }
}

function readerOf(t: TestContext, options: Awaited<ReturnType<typeof connection>>): TopicReader {
  const reader = new TopicReader({ ...options, limits, clock })
  t.after(() => reader.close())
  return reader
}

testRecordReader('the group reader', async (t) => {
  const topics = topicsOf(t)
  const options = await connection(topics)
  const reader = new GroupReader({
    ...options,
    groupId: options.topic,
    store: { id: randomUUID(), name: 'sqlite:store.db', instance: 'contract/1' },
    limits,
    observer: fanOut([]),
    clock,
  })
  return {
    reader,
    append: (partition, records) => topics.write(options.topic, partition, ...Array.from({ length: records }, () => 'a value')),
  }
})

testTopicReader('the topic reader', async (t) => {
  const topics = topicsOf(t)
  const options = await connection(topics)
  return { reader: readerOf(t, options), append: (...values) => topics.write(options.topic, 0, ...values) }
})

testDeadLetterTopic('the dead-letter topic', async (t) => {
  const options = await connection(topicsOf(t))
  const topic = new KafkaDeadLetterTopic(options)
  t.after(() => topic.close())
  return {
    topic,
    published: async (partition) => {
      const reader = readerOf(t, { ...options, topic: deadLetterTopicOf(options.topic) })
      const { endOffset = 0 } = (await reader.describe()).partitions[partition] ?? {}
      const offsets: number[] = []
      // A dead letter keeps the value of its record: "value" and the offset.
      const each: Parameters<TopicReader['read']>[3] = ({ bytes, valueStart, valueEnd }) =>
        offsets.push(Number(bytes.toString('utf8', valueStart, valueEnd).slice('value '.length)))
      await reader.read(partition, 0, endOffset, each, () => {})
      return offsets
    },
  }
})
