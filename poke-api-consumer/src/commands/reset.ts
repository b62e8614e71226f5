/** `reset --from-beginning`: deletes the counts, so that instances count the topic again from its beginning. */

import type { TopicDescription } from '@poke-api-pipeline/kafka-reader'
import { type CommandInput, EXIT, ServiceError, usageError } from '@poke-api-pipeline/service-kit'
import type { PartitionSnapshot } from '../application/ports.ts'
import type { Config } from '../config.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'
import { DECLINED, isConfirmed } from './consent.ts'
import { commandConfig, storeName, withExistingStore } from './existing-store.ts'
import { withTopicReader } from './topic-reader.ts'

/** Asks first, and warns of records that the topic no longer contains, because they cannot be counted again. */
export async function resetCounts({ options, env }: CommandInput, terminal: Terminal): Promise<number> {
  if (options['from-beginning'] !== true)
    throw usageError('reset needs --from-beginning: it deletes the counts, and the topic is counted again from its beginning')
  const config = commandConfig(env, terminal)
  const group = config.KAFKA_GROUP_ID
  const done = await withExistingStore(config, terminal, async (store) => {
    const snapshot = await store.snapshot()
    for (const warning of await missingRecords(config, snapshot)) terminal.error(`${warning}\n`)
    const counted = snapshot.reduce((sum, partition) => sum + partition.counted, 0)
    const question = `This deletes the counts of ${counted.toLocaleString('en')} records of group ${group} in ${storeName(config)}. The records that the topic still contains are counted again. Go on?`
    if (!(await isConfirmed(question, options, terminal))) return false
    await store.reset()
    return true
  })
  if (!done) return DECLINED
  const said = `The counts of group ${group} are deleted. Running instances count again within a second or two, others when they start.`
  terminal.out(`${options.json ? JSON.stringify({ group, reset: true }) : said}\n`)
  return EXIT.ok
}

/** @returns a sentence for each range of records that cannot be counted again, or the reason why that is not known */
async function missingRecords(config: Config, snapshot: readonly PartitionSnapshot[]): Promise<string[]> {
  const topic = config.KAFKA_TOPIC
  const read = snapshot.filter((partition) => partition.firstOffset !== null)
  const others = new Set(read.filter((partition) => partition.topic !== topic).map((partition) => partition.topic))
  const warnings = [...others].map((other) => `The records of topic ${other} are not counted again, because KAFKA_TOPIC is ${topic}.`)
  const own = read.filter((partition) => partition.topic === topic)
  if (own.length === 0) return warnings
  try {
    const description = await withTopicReader(config, (reader) => reader.describe())
    return [...warnings, ...own.flatMap((partition) => missingOf(partition, description))]
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    return [...warnings, `It is not known whether ${topic} still contains every counted record: ${error.message}.`]
  }
}

function missingOf(partition: PartitionSnapshot, { topicId, partitions }: TopicDescription): string[] {
  const name = `${partition.topic}-${partition.partition}`
  const now = partitions[partition.partition]
  if (partition.topicId !== topicId || now === undefined)
    return [`The records of ${name} (topic id ${partition.topicId}) cannot be counted again: the topic was deleted.`]
  const first = partition.firstOffset as number
  return now.logStartOffset > first
    ? [`Offsets ${first} to ${now.logStartOffset - 1} of ${name} cannot be counted again: retention removed them.`]
    : []
}
