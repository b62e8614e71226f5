/** The mocked Kafka keeps the publisher's contract, so that what is tried on it holds on a real one. */
import { arrivals, testEventPublisher } from './contract/event-publisher.ts'
import { MockKafkaProducer } from './mock-kafka-producer.ts'

testEventPublisher('MockKafkaProducer', async () => {
  const publisher = new MockKafkaProducer()
  return { publisher, topic: async () => publisher.logs.map(arrivals) }
})
