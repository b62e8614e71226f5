/** The mocks of Kafka and of the file pass the contract suites of their ports. */

import { typeCountsDocument } from '../src/infrastructure/file-handling/type-counts-file.ts'
import { testDeadLetterTopic } from './contract/dead-letter-topic.ts'
import { testRecordReader } from './contract/record-reader.ts'
import { testTopicReader } from './contract/topic-reader.ts'
import { testTypeCountsSink } from './contract/type-counts-sink.ts'
import { MockDeadLetterTopic } from './mock-dead-letter-topic.ts'
import { MockFileHandler } from './mock-file-handler.ts'
import { type MockEntry, MockKafkaConsumer } from './mock-kafka-consumer.ts'
import { MockTopicReader } from './mock-topic-reader.ts'

testTypeCountsSink('the file in memory', async () => {
  const sink = new MockFileHandler()
  return {
    sink,
    published: () => (sink.content === null ? null : typeCountsDocument(sink.content)),
    publishElsewhere: async (counts) => sink.overwrite(counts),
    breakIt: async () => void sink.failures.push(new Error('read-only file system')),
    mendIt: async () => {},
  }
})

testDeadLetterTopic('the topic in memory', async () => {
  const topic = new MockDeadLetterTopic()
  return {
    topic,
    published: async (partition) => topic.published.filter((each) => each.partition.partition === partition).map(({ offset }) => offset),
  }
})

testRecordReader('the consumer in memory', async () => {
  const reader = new MockKafkaConsumer([[], []], { fetchSize: 10 })
  return {
    reader,
    append: async (partition, records) => reader.append(partition, ...Array.from({ length: records }, () => ({ value: 'a value' }))),
  }
})

testTopicReader('the topic reader in memory', async () => {
  const logs: MockEntry[][] = [[], []]
  const reader = new MockTopicReader('00000000-0000-4000-8000-000000000001', logs)
  return { reader, append: async (...values) => void logs[0]?.push(...values.map((value) => ({ value }))) }
})
