/** Reading alone, in both interfaces of `packages/kafka-reader`, beside clients in other languages that read the same topic. */
import { fileURLToPath } from 'node:url'
import { loadTopic } from './load-topic.ts'
import { runMeasured } from './measured-process.ts'
import { runReference } from './reference-consumer.ts'
import { type Bench, type Section, thousands, twoDigits } from './report.ts'
import { formatSpread, spreadOf } from './statistics.ts'

/** Clients in other languages that are worth a comparison. Their programs are not part of this repository: `--reader` names them. */
const OTHERS = ['franz-go', 'librdkafka']

interface Run {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly megabytes: number | null
}

const REFERENCE = 'Java, Kafka’s own client'
const SAID = /rec\/s in ([\d.]+) s, cpu ([\d.]+) s(?:, max rss (\d+) MB)?/
const READ_TOPIC = fileURLToPath(new URL('read-topic.ts', import.meta.url))

/**
 * @param others programs of other clients: `NAME=PROGRAM ARGUMENTS`, with spaces between. Each is called with BROKER TOPIC N after its arguments, and
 *   says "… rec/s in S s, cpu C s, max rss M MB" when it has read N records, timed from the first ones
 */
export async function measureReading(bench: Bench, others: readonly string[]): Promise<Section> {
  const { kafka, records, runs, say } = bench
  say(`reading: loading ${thousands(records)} records`)
  const topic = await loadTopic(kafka, 'reading', { records, partitions: 1, codec: 'none', values: 'real' })
  const target = [kafka.brokers, topic.topic, String(records)]
  const ours = (how: string) => () => run([process.execPath, READ_TOPIC, ...target, how])
  const readers = new Map<string, () => Promise<Run>>([
    ['kafka-reader, cursor', ours('cursor')],
    ['kafka-reader, records as objects', ours('objects')],
    ['@platformatic/kafka, its stream', ours('stream')],
    [REFERENCE, async () => ({ ...(await runReference(kafka, topic)), megabytes: null })],
  ])
  for (const other of others) {
    const [name, command = ''] = other.split('=', 2) as [string, string?]
    readers.set(name, () => run([...command.split(' '), ...target]))
  }
  const measured = new Map<string, Run[]>([...readers.keys()].map((name) => [name, []]))
  // One round more than is counted: the broker's code and the system's caches are warm then.
  for (let round = 0; round <= runs; round++) {
    say(`reading: ${round === 0 ? 'warming up' : `run ${round} of ${runs}`}`)
    for (const [name, read] of readers) {
      const result = await read()
      if (round > 0) measured.get(name)?.push(result)
    }
  }
  const reference = measured.get(REFERENCE) as Run[]
  const rows = [...measured].map(([name, results]) => [
    name,
    formatSpread(spreadOf(results.map(({ seconds }) => records / seconds)), thousands),
    formatSpread(spreadOf(results.map(({ seconds }, i) => (reference[i] as Run).seconds / seconds)), twoDigits),
    twoDigits(spreadOf(results.map(({ cpuSeconds }) => (cpuSeconds * 1e6) / records)).median),
    results.some(({ megabytes }) => megabytes === null) ? '' : thousands(Math.max(...results.map(({ megabytes }) => megabytes as number))),
  ])
  for (const name of OTHERS) if (!readers.has(name)) rows.push([name, 'not run: --reader names no program', '', '', ''])
  return {
    title: 'Reading alone',
    notes: [
      `${thousands(records)} records in one partition, uncompressed, seven headers each; ${runs} runs of each in turns; medians, smallest and largest in brackets.`,
      'From the first records handed over to the last; nothing is done with them, except that of objects key and value are made. CPU is that of whole processes, their starts included.',
    ],
    columns: ['reader', 'records/s', 'against Java', 'CPU µs', 'peak MB'],
    rows,
  }
}

/** @throws where it fails, or does not say how fast it was */
async function run([program, ...args]: readonly string[]): Promise<Run> {
  const { output } = await runMeasured(program as string, args)
  const [, seconds, cpuSeconds, megabytes] = SAID.exec(output) ?? []
  if (seconds === undefined) throw new Error(`${program} did not say how fast it was:\n${output}`)
  return { seconds: Number(seconds), cpuSeconds: Number(cpuSeconds), megabytes: megabytes === undefined ? null : Number(megabytes) }
}
