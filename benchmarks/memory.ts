/** Whether the time for a record and the memory stay the same, however long the topic is. */
import { type CountingRun, runCounting } from './counting-run.ts'
import { loadTopic } from './load-topic.ts'
import { type Bench, type Section, thousands } from './report.ts'
import { formatSpread, spreadOf } from './statistics.ts'

/** As multiples of half the usual number of records: 1, 4 and 16 million. */
const SIZES = [1, 4, 16]

export async function measureMemory(bench: Bench): Promise<Section> {
  const topics = []
  for (const size of SIZES) {
    const records = (size * bench.records) / 2
    bench.say(`memory: loading ${thousands(records)} records`)
    topics.push(await loadTopic(bench.kafka, `memory-${size}`, { records, partitions: 1, codec: 'none', values: 'real' }))
  }
  const measured = topics.map((): CountingRun[] => [])
  for (let round = 1; round <= bench.runs; round++) {
    for (const [index, topic] of topics.entries()) {
      bench.say(`memory: ${thousands(topic.records)} records, run ${round} of ${bench.runs}`)
      measured[index]?.push(await runCounting(topic, { brokers: bench.kafka.brokers }))
    }
  }
  return {
    title: 'Time and memory by length of the topic',
    notes: ['One partition, uncompressed, SQLite. Peak memory is the resident set of the whole process.'],
    columns: ['records', 'ns a record', 'peak MB'],
    rows: topics.map(({ records }, index) => {
      const runs = measured[index] as CountingRun[]
      return [
        thousands(records),
        formatSpread(spreadOf(runs.map(({ seconds }) => (seconds * 1e9) / records)), thousands),
        formatSpread(spreadOf(runs.map(({ peakMegabytes }) => peakMegabytes)), thousands),
      ]
    }),
  }
}
