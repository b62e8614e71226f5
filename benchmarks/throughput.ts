/** Exact counting of whole topics, compared with the reference client that reads the same topics in the same run. */
import { startPostgres } from '@poke-api-pipeline/system-tests/postgres-server'
import { type CountingRun, runCounting } from './counting-run.ts'
import { type Load, type LoadedTopic, loadTopic } from './load-topic.ts'
import { type ReferenceRun, runReference } from './reference-consumer.ts'
import { type Bench, type Section, thousands, twoDigits } from './report.ts'
import { formatSpread, spreadOf } from './statistics.ts'

interface Case {
  readonly name: string
  readonly load: Omit<Load, 'records'>
  readonly maxBytes?: number
}

const CASES: readonly Case[] = [
  { name: '1 partition', load: { partitions: 1, codec: 'none', values: 'real' } },
  { name: '1 partition, 16 MiB a fetch', load: { partitions: 1, codec: 'none', values: 'real' }, maxBytes: 16 * 1024 * 1024 },
  { name: 'no two values equal', load: { partitions: 1, codec: 'none', values: 'distinct' } },
  { name: 'lz4', load: { partitions: 1, codec: 'lz4', values: 'real' } },
  { name: 'zstd', load: { partitions: 1, codec: 'zstd', values: 'real' } },
  { name: '3 partitions', load: { partitions: 3, codec: 'none', values: 'real' } },
  { name: '12 partitions', load: { partitions: 12, codec: 'none', values: 'real' } },
]

export interface Throughput {
  readonly sections: readonly Section[]
  /** Our speed as a multiple of the reference client's, by case: medians. */
  readonly ratios: ReadonlyMap<string, number>
}

export async function measureThroughput(bench: Bench): Promise<Throughput> {
  const topics = await loadCases(bench)
  const pairs = new Map<Case, { readonly ours: CountingRun; readonly theirs: ReferenceRun }[]>(CASES.map((each) => [each, []]))
  // One more round than is measured, so that the broker's code and the system's caches are warm for both.
  for (let round = 0; round <= bench.runs; round++) {
    for (const [each, measured] of pairs) {
      const topic = topics.get(keyOf(each.load)) as LoadedTopic
      bench.say(`throughput: ${each.name}, ${round === 0 ? 'warming up' : `run ${round} of ${bench.runs}`}`)
      const ours = await runCounting(topic, {
        brokers: bench.kafka.brokers,
        ...(each.maxBytes === undefined ? {} : { maxBytes: each.maxBytes }),
      })
      const theirs = await runReference(bench.kafka, topic)
      if (round > 0) measured.push({ ours, theirs })
    }
  }
  const ratios = new Map<string, number>()
  const rows = [...pairs].map(([each, measured]) => {
    const speed = spreadOf(measured.map(({ ours, theirs }) => theirs.seconds / ours.seconds))
    ratios.set(each.name, speed.median)
    return [
      each.name,
      formatSpread(spreadOf(measured.map(({ ours }) => bench.records / ours.seconds)), thousands),
      formatSpread(spreadOf(measured.map(({ theirs }) => bench.records / theirs.seconds)), thousands),
      formatSpread(speed, twoDigits),
      twoDigits(spreadOf(measured.map(({ ours }) => microseconds(ours.cpuSeconds, bench.records))).median),
      twoDigits(spreadOf(measured.map(({ theirs }) => microseconds(theirs.cpuSeconds, bench.records))).median),
      formatSpread(spreadOf(measured.map(({ ours, theirs }) => ours.cpuSeconds / theirs.cpuSeconds)), twoDigits),
      thousands(Math.max(...measured.map(({ ours }) => ours.peakMegabytes))),
    ]
  })
  const against: Section = {
    title: 'Counting, beside the reference client’s reading',
    notes: [
      `${thousands(bench.records)} records a topic, seven headers each, ${bench.runs} runs of both in turns; medians, smallest and largest in brackets.`,
      'Ours: one consumer, SQLite, from the first fetch asked for to the commit of the last record; counts, positions and last sequences are durable then, and checked to be exact.',
      'Reference: Kafka’s `ConsumerPerformance`, from the end of its rebalance to the last record; nothing is decoded, counted or durable. CPU is that of whole processes, their starts included.',
    ],
    columns: [
      'topic',
      'ours, records/s',
      'reference, records/s',
      'ratio',
      'ours, CPU µs',
      'reference, CPU µs',
      'CPU ratio',
      'ours, peak MB',
    ],
    rows,
  }
  return { sections: [against, await measureStores(bench)], ratios }
}

/** How many times the records of the other topics: a run of a second would mostly measure four processes that connect, prepare and compile. */
const LONGER = 4

/** Stores and numbers of consumers, each compared with our own simplest case. */
async function measureStores(bench: Bench): Promise<Section> {
  const records = LONGER * bench.records
  const load = (partitions: number) => {
    bench.say(`throughput: loading ${thousands(records)} records (${partitions} partitions)`)
    return loadTopic(bench.kafka, `stores-${partitions}`, { records, partitions, codec: 'none', values: 'real' })
  }
  const one = await load(1)
  const four = await load(4)
  const server = await startPostgres()
  const brokers = bench.kafka.brokers
  const runs = {
    sqlite: () => runCounting(one, { brokers }),
    postgres: async () => runCounting(one, { brokers, postgresUrl: await server.createDatabase() }),
    oneOfFour: async () => runCounting(four, { brokers, postgresUrl: await server.createDatabase() }),
    fourOfFour: async () => runCounting(four, { brokers, postgresUrl: await server.createDatabase(), consumers: 4 }),
  }
  const measured = { sqlite: [], postgres: [], oneOfFour: [], fourOfFour: [] } as Record<keyof typeof runs, CountingRun[]>
  try {
    for (let round = 0; round <= bench.runs; round++) {
      bench.say(`throughput: PostgreSQL, ${round === 0 ? 'warming up' : `run ${round} of ${bench.runs}`}`)
      for (const [name, run] of Object.entries(runs) as [keyof typeof runs, () => Promise<CountingRun>][]) {
        const result = await run()
        if (round > 0) measured[name].push(result)
      }
    }
  } finally {
    await server.stop()
  }
  const row = (what: string, ours: readonly CountingRun[], against: readonly CountingRun[]) => [
    what,
    formatSpread(spreadOf(ours.map(({ seconds }) => records / seconds)), thousands),
    formatSpread(spreadOf(against.map(({ seconds }) => records / seconds)), thousands),
    formatSpread(spreadOf(ours.map(({ seconds }, index) => (against[index] as CountingRun).seconds / seconds)), twoDigits),
  ]
  return {
    title: 'Stores and consumers',
    notes: [
      `${thousands(records)} records a topic.`,
      'PostgreSQL on the same machine, `synchronous_commit` on. Several consumers: from the moment all have their partitions to the last commit of any.',
    ],
    columns: ['what', 'records/s', 'against, records/s', 'ratio'],
    rows: [
      row('PostgreSQL against SQLite, 1 partition', measured.postgres, measured.sqlite),
      row('4 consumers against 1, 4 partitions, PostgreSQL', measured.fourOfFour, measured.oneOfFour),
    ],
  }
}

/** Makes each topic once, however many cases read it. */
async function loadCases(bench: Bench): Promise<Map<string, LoadedTopic>> {
  const topics = new Map<string, LoadedTopic>()
  for (const { name, load } of CASES) {
    const key = keyOf(load)
    if (topics.has(key)) continue
    bench.say(`throughput: loading ${thousands(bench.records)} records (${name})`)
    topics.set(key, await loadTopic(bench.kafka, `throughput-${key}`, { ...load, records: bench.records }))
  }
  return topics
}

function keyOf({ partitions, codec, values }: Omit<Load, 'records'>): string {
  return `${partitions}-${codec}-${values}`
}

function microseconds(seconds: number, records: number): number {
  return (seconds * 1e6) / records
}
