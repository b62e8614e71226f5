/** The time from the acknowledgement of an event to its count in the file, with the producer's real publisher and the real consumer service. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KafkaEventPublisher } from '@poke-api-pipeline/poke-api-producer/kafka-producer'
import type { OutboxEvent } from '@poke-api-pipeline/poke-api-producer/ports'
import { encodeValue } from '@poke-api-pipeline/pokemon-event'
import { CountsWatch } from './counts-watch.ts'
import type { Bench, Section } from './report.ts'
import { CONSUMER, ServiceProcess } from './service-process.ts'
import { formatSpread, percentile, spreadOf } from './statistics.ts'

const EVENTS_A_SECOND = 200
const SECONDS = 20
const SECONDS_OF_SMOKE = 1
const PERCENTILES = [50, 90, 99, 100]
/** If an event is not counted after this time, in ms, the run has failed. */
const PATIENCE = 30_000

export async function measureLatency(bench: Bench): Promise<Section> {
  const seconds = bench.smoke ? SECONDS_OF_SMOKE : SECONDS
  const runs: number[][] = []
  for (let run = 1; run <= bench.runs; run++) {
    bench.say(`latency: run ${run} of ${bench.runs}`)
    runs.push(await latencies(bench, `latency-${run}`, seconds * EVENTS_A_SECOND))
  }
  return {
    title: 'Latency',
    notes: [
      `${EVENTS_A_SECOND} events a second for ${seconds} s, one partition, SQLite, ${bench.runs} runs: from the acknowledgement by the broker to the count in the synced file, as another process sees it change.`,
    ],
    columns: ['percentile', 'ms'],
    rows: PERCENTILES.map((percent) => [
      percent === 100 ? 'slowest' : `p${percent}`,
      formatSpread(spreadOf(runs.map((run) => percentile(run, percent))), (ms) => ms.toFixed(1)),
    ]),
  }
}

/** @returns the latency of each event, in ms; 0 if the count was seen before the acknowledgement */
async function latencies(bench: Bench, topic: string, events: number): Promise<number[]> {
  const folder = join(bench.folder, topic)
  const outputFile = join(folder, 'output', 'type-counts.json')
  const brokers = bench.kafka.brokers
  const publisher = new KafkaEventPublisher({ brokers: [brokers], topic, partitions: 1, replication: 1 })
  await publisher.prepare(AbortSignal.timeout(PATIENCE))
  const consumer = new ServiceProcess(CONSUMER, {
    KAFKA_BROKERS: brokers,
    KAFKA_TOPIC: topic,
    KAFKA_GROUP_ID: topic,
    STORE_URL: `sqlite:${join(folder, 'type-counts.db')}`,
    OUTPUT_FILE: outputFile,
  })
  const acknowledged: number[] = []
  const seen: number[] = []
  const all = Promise.withResolvers<void>()
  let warm = () => {}
  // Each event has one type, so the sum of the counts tells how many events are counted, in the order in which they were sent. The first one is not measured.
  const watch = new CountsWatch(outputFile, (sum, at) => {
    if (sum > 0) warm()
    while (seen.length < sum - 1) seen.push(at)
    if (seen.length === events) all.resolve()
  })
  try {
    await consumer.listening
    const isWarm = new Promise<void>((resolve) => {
      warm = resolve
    })
    await publisher.publish([eventOf(0)])
    await within(isWarm, 'the first event')
    await publishSteadily(publisher, events, acknowledged)
    await within(all.promise, `the last of ${events} events`)
    await consumer.stop()
  } finally {
    watch.close()
    consumer.kill()
    await publisher.close()
  }
  return acknowledged.map((at, index) => Math.max(0, (seen[index] as number) - at))
}

/** Makes one send after the other, as the producer does; events that fall due meanwhile go into the next send. */
async function publishSteadily(publisher: KafkaEventPublisher, events: number, acknowledged: number[]): Promise<void> {
  const began = performance.now()
  while (acknowledged.length < events) {
    const due = Math.min(events, 1 + Math.floor(((performance.now() - began) * EVENTS_A_SECOND) / 1000))
    const batch: OutboxEvent[] = []
    for (let number = acknowledged.length + 1; number <= due; number++) batch.push(eventOf(number))
    if (batch.length === 0) {
      await sleep(Math.max(1, began + (acknowledged.length * 1000) / EVENTS_A_SECOND - performance.now()))
      continue
    }
    await publisher.publish(batch)
    const at = performance.now()
    for (const _ of batch) acknowledged.push(at)
  }
}

const SOURCE = `/poke-api-producer/${randomUUID()}`

function eventOf(sequence: number): OutboxEvent {
  const value = encodeValue({ id: 25, name: 'pikachu', types: [{ slot: 1, type: { name: 'electric' } }] })
  return { source: SOURCE, sequence, partition: 0, key: '25', value, time: new Date().toISOString(), origin: 'bundled' }
}

async function within(promise: Promise<void>, what: string): Promise<void> {
  const late = new AbortController()
  const timeout = sleep(PATIENCE, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${what} was not counted within ${PATIENCE / 1000} s`)
  })
  timeout.catch(() => {})
  try {
    await Promise.race([promise, timeout])
  } finally {
    late.abort()
  }
}
