/** The measure of all others: Kafka's own consumer performance tool, which reads a topic with the reference client and throws the records away. */
import type { Kafka } from '@poke-api-pipeline/dev'
import { java } from './java.ts'
import type { LoadedTopic } from './load-topic.ts'

export interface ReferenceRun {
  /** From the end of the group's rebalance to the last record. Nothing is decoded, counted or durable then. */
  readonly seconds: number
  /** User and system time of the whole process, its start included. */
  readonly cpuSeconds: number
}

/** As generous as readers are tuned: larger fetches than the default of 1 MiB, more records for each call than 500. */
const FETCH_SIZE = 8 * 1024 * 1024
const RECORDS_IN_A_POLL = 5000

/** @throws where the tool fails, or did not see every record */
export async function runReference(kafka: Kafka, { topic, records }: LoadedTopic): Promise<ReferenceRun> {
  const { output, cpuSeconds } = await java(kafka, [
    'org.apache.kafka.tools.ConsumerPerformance',
    ...['--bootstrap-server', kafka.brokers, '--topic', topic, '--num-records', String(records)],
    ...['--fetch-size', String(FETCH_SIZE), '--command-property', `max.poll.records=${RECORDS_IN_A_POLL}`],
  ])
  // A line of names, then a line of values.
  const [names = [], values = []] = output
    .trim()
    .split('\n')
    .slice(-2)
    .map((line) => line.split(', '))
  const value = (name: string) => Number(values[names.indexOf(name)])
  if (value('data.consumed.in.nMsg') < records) throw new Error(`the reference client did not read all of ${topic}:\n${output}`)
  return { seconds: value('fetch.time.ms') / 1000, cpuSeconds }
}
