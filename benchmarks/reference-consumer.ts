/** The reference of all comparisons: Kafka's own consumer performance tool, which reads a topic with Kafka's Java client and discards the records. */
import type { Kafka } from '@poke-api-pipeline/dev'
import { java } from './java.ts'
import type { LoadedTopic } from './load-topic.ts'

export interface ReferenceRun {
  /** The time from the end of the group's rebalance to the last record. Nothing is decoded, counted or stored. */
  readonly seconds: number
  /** User and system time of the whole process, including its start. */
  readonly cpuSeconds: number
}

/** Tuned settings: larger fetches than the default of 1 MiB, and more records for each call than 500. */
const FETCH_SIZE = 8 * 1024 * 1024
const RECORDS_IN_A_POLL = 5000

/** @throws if the tool fails, or did not read every record */
export async function runReference(kafka: Kafka, { topic, records }: LoadedTopic): Promise<ReferenceRun> {
  const { output, cpuSeconds } = await java(kafka, [
    'org.apache.kafka.tools.ConsumerPerformance',
    ...['--bootstrap-server', kafka.brokers, '--topic', topic, '--num-records', String(records)],
    ...['--fetch-size', String(FETCH_SIZE), '--command-property', `max.poll.records=${RECORDS_IN_A_POLL}`],
  ])
  // The tool prints a line of names, then a line of values.
  const [names = [], values = []] = output
    .trim()
    .split('\n')
    .slice(-2)
    .map((line) => line.split(', '))
  const value = (name: string) => Number(values[names.indexOf(name)])
  if (value('data.consumed.in.nMsg') < records) throw new Error(`the reference client did not read all of ${topic}:\n${output}`)
  return { seconds: value('fetch.time.ms') / 1000, cpuSeconds }
}
