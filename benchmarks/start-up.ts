/** How long the consumer takes from its start to its first counts, and how much memory and processor time it takes at rest. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { CountsWatch } from './counts-watch.ts'
import { type LoadedTopic, loadTopic } from './load-topic.ts'
import type { Bench, Section } from './report.ts'
import { CONSUMER, ServiceProcess } from './service-process.ts'
import { formatSpread, spreadOf } from './statistics.ts'

const POKEMON = 1351
/** After this time, in ms, it is at rest. */
const REST = 10_000
const REST_OF_SMOKE = 100

interface StartUp {
  readonly listeningMs: number
  readonly countedMs: number
  readonly restMegabytes: number
}

export async function measureStartUp(bench: Bench): Promise<Section> {
  const topic = await loadTopic(bench.kafka, 'start-up', { records: POKEMON, partitions: 3, codec: 'none', values: 'real' })
  const runs: StartUp[] = []
  for (let run = 1; run <= bench.runs; run++) {
    bench.say(`start-up: run ${run} of ${bench.runs}`)
    runs.push(await startUp(bench, topic, run))
  }
  const row = (what: string, values: readonly number[]) => [what, formatSpread(spreadOf(values), (value) => value.toFixed(0))]
  return {
    title: 'Start-up and rest',
    notes: [`The consumer’s whole service, page included, on a topic of ${POKEMON} records in three partitions, with a new store.`],
    columns: ['what', 'value'],
    rows: [
      row(
        'from the start to probes answered, ms',
        runs.map(({ listeningMs }) => listeningMs),
      ),
      row(
        'from the start to all counts in the file, ms',
        runs.map(({ countedMs }) => countedMs),
      ),
      row(
        `memory ${bench.smoke ? 'soon' : `${REST / 1000} s`} after that, MB`,
        runs.map(({ restMegabytes }) => restMegabytes),
      ),
    ],
  }
}

async function startUp(bench: Bench, { topic, exactCounts }: LoadedTopic, run: number): Promise<StartUp> {
  const folder = join(bench.folder, `start-up-${run}`)
  const outputFile = join(folder, 'output', 'type-counts.json')
  const expected = [...exactCounts.values()].reduce((all, count) => all + count, 0)
  const counted = Promise.withResolvers<number>()
  const watch = new CountsWatch(outputFile, (sum, at) => {
    if (sum === expected) counted.resolve(at)
  })
  const began = performance.now()
  const consumer = new ServiceProcess(CONSUMER, {
    KAFKA_BROKERS: bench.kafka.brokers,
    KAFKA_TOPIC: topic,
    KAFKA_GROUP_ID: `start-up-${run}`,
    STORE_URL: `sqlite:${join(folder, 'type-counts.db')}`,
    OUTPUT_FILE: outputFile,
  })
  try {
    await consumer.listening
    const listeningAt = performance.now()
    const countedAt = await counted.promise
    await sleep(bench.smoke ? REST_OF_SMOKE : REST)
    const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(consumer.pid)])
    await consumer.stop()
    return { listeningMs: listeningAt - began, countedMs: countedAt - began, restMegabytes: Number(stdout) / 1024 }
  } finally {
    watch.close()
    consumer.kill()
  }
}
