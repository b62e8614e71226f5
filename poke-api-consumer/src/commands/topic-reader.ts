/** Reads the topic of the settings without joining the group. */
import { kafkaSecurity } from '@poke-api-pipeline/kafka-common'
import { KafkaError, TopicReader } from '@poke-api-pipeline/kafka-reader'
import { EVENT_IDENTITY } from '@poke-api-pipeline/pokemon-event'
import { systemClock } from '@poke-api-pipeline/service-kit'
import type { Config } from '../config.ts'
import { withRemedies } from '../infrastructure/kafka-remedies.ts'

/** Calls `work` with a reader, and closes it. @throws KafkaError */
export async function withTopicReader<T>(config: Config, work: (reader: TopicReader) => Promise<T>): Promise<T> {
  const reader = new TopicReader({
    brokers: config.KAFKA_BROKERS,
    topic: config.KAFKA_TOPIC,
    clientId: 'poke-api-consumer-verify',
    clientOptions: kafkaSecurity(config),
    limits: { maxBytes: config.FETCH_MAX_BYTES, maxWait: config.FETCH_MAX_WAIT, maxBatchBytes: config.BATCH_MAX_BYTES },
    identity: EVENT_IDENTITY,
    clock: systemClock(),
  })
  try {
    return await work(reader)
  } catch (error) {
    if (!(error instanceof KafkaError)) throw error
    // The command has stopped retrying.
    throw withRemedies(new KafkaError(error.kind, error.reason, { brokerCode: error.brokerCode, cause: error.cause }))
  } finally {
    reader.close()
  }
}
