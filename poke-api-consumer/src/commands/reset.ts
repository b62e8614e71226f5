/** `reset --from-beginning`: forgets what was counted, so that running instances count everything anew. */

import type { TopicDescription } from '@poke-api-pipeline/kafka-reader'
import { type CommandInput, EXIT, ServiceError, usageError } from '@poke-api-pipeline/service-kit'
import type { PartitionSnapshot } from '../application/ports.ts'
import type { Config } from '../config.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'
import { commandConfig } from './command-config.ts'
import { DECLINED, isWanted } from './consent.ts'
import { storeName, withExistingStore } from './existing-store.ts'
import { withTopicReader } from './topic-reader.ts'

/** Asks first. What the topic does not have any more, and so would be lost from the counts, is said before. */
export async function resetCounts({ options, env }: CommandInput, terminal: Terminal): Promise<number> {
  if (options['from-beginning'] !== true)
    throw usageError('reset needs --from-beginning: it forgets what was counted, so that the topic is counted anew from its beginning')
  const config = commandConfig(env, terminal)
  const group = config.KAFKA_GROUP_ID
  const done = await withExistingStore(config, terminal, async (store) => {
    const snapshot = await store.snapshot()
    for (const warning of await whatIsGone(config, snapshot)) terminal.error(`${warning}\n`)
    const counted = snapshot.reduce((sum, partition) => sum + partition.counted, 0)
    const question = `The counts of ${counted.toLocaleString('en')} records by group ${group} in ${storeName(config)} are forgotten, and what the topic has is counted anew. Go on?`
    if (!(await isWanted(question, options, terminal))) return false
    await store.reset()
    return true
  })
  if (!done) return DECLINED
  const said = `Everything that group ${group} counted is forgotten; instances that run begin anew within a second or two, others when they start.`
  terminal.out(`${options.json ? JSON.stringify({ group, reset: true }) : said}\n`)
  return EXIT.ok
}

/** @returns what could not be counted again, or why that is not known: a sentence each */
async function whatIsGone(config: Config, snapshot: readonly PartitionSnapshot[]): Promise<string[]> {
  const topic = config.KAFKA_TOPIC
  const read = snapshot.filter((partition) => partition.firstOffset !== null)
  const others = new Set(read.filter((partition) => partition.topic !== topic).map((partition) => partition.topic))
  const warnings = [...others].map((other) => `What was counted of topic ${other} is not counted again under KAFKA_TOPIC=${topic}.`)
  const own = read.filter((partition) => partition.topic === topic)
  if (own.length === 0) return warnings
  try {
    const description = await withTopicReader(config, (reader) => reader.describe())
    return [...warnings, ...own.flatMap((partition) => whatIsGoneOf(partition, description))]
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    return [...warnings, `It is not known whether ${topic} still has everything that was counted: ${error.message}.`]
  }
}

function whatIsGoneOf(partition: PartitionSnapshot, { topicId, partitions }: TopicDescription): string[] {
  const name = `${partition.topic}-${partition.partition}`
  const now = partitions[partition.partition]
  if (partition.topicId !== topicId || now === undefined)
    return [`What was counted of ${name} (topic id ${partition.topicId}) is not counted again: the topic was deleted.`]
  const first = partition.firstOffset as number
  return now.logStartOffset > first
    ? [`Offsets ${first} to ${now.logStartOffset - 1} of ${name} are not counted again: retention removed them.`]
    : []
}
