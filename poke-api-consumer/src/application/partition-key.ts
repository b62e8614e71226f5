/** Identifies a partition in maps. A recreated topic has the name of the previous one, so the key has the topic's id. */
import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'

export function partitionKey({ topicId, partition }: Pick<TopicPartition, 'topicId' | 'partition'>): string {
  return `${topicId}/${partition}`
}
