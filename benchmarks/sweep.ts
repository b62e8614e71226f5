/** A sweep of the whole Pokédex from a local PokeAPI into a topic: the producer's process from its start to its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { TopicReader } from '@poke-api-pipeline/dev/topic-reader'
import { type MeasuredRun, runMeasured } from './measured-process.ts'
import { type Bench, type Section, twoDigits } from './report.ts'
import { PRODUCER, serviceEnvironment } from './service-process.ts'
import { formatSpread, spreadOf } from './statistics.ts'

const POKEMON = 1351
const DELAYS = [0, 20]
const IN_FLIGHT = [8, 32]

/** @param bodies a folder of real bodies to serve; null: the bundled Pokédex, whose bodies have about 150 bytes */
export async function measureSweeps(bench: Bench, bodies: string | null): Promise<Section> {
  const measured = new Map<string, { cold: MeasuredRun[]; warm: MeasuredRun[] }>()
  for (const delay of DELAYS) {
    const api = await serve(bodies, delay)
    try {
      for (let run = 1; run <= bench.runs; run++) {
        for (const inFlight of IN_FLIGHT) {
          const what = `${inFlight} in flight, ${delay} ms a response`
          bench.say(`sweep: ${what}, run ${run} of ${bench.runs}`)
          const runs = measured.get(what) ?? { cold: [], warm: [] }
          measured.set(what, runs)
          const name = `sweep-${delay}-${inFlight}-${run}`
          runs.cold.push(await sweep(bench, api.url, `${name}-cold`, join(bench.folder, name), inFlight))
          runs.warm.push(await sweep(bench, api.url, `${name}-warm`, join(bench.folder, name), inFlight))
        }
      }
    } finally {
      api.process.kill()
    }
  }
  const row = (what: string, runs: readonly MeasuredRun[]) => [
    what,
    formatSpread(spreadOf(runs.map(({ seconds }) => seconds)), twoDigits),
    formatSpread(spreadOf(runs.map(({ cpuSeconds }) => cpuSeconds)), twoDigits),
  ]
  return {
    title: 'Sweep',
    notes: [
      `All ${POKEMON} Pokémon from a local PokeAPI (${bodies === null ? 'the bundled Pokédex' : 'real bodies'}) into a topic, our own limit of the rate lifted; each event is in the synced outbox before it is sent, and acknowledged. The whole process, its start included. Warm: everything is in the cache and fresh.`,
    ],
    columns: ['what', 's', 'CPU s'],
    rows: [...measured].flatMap(([what, { cold, warm }]) => [row(what, cold), row(`${what}, warm`, warm)]),
  }
}

async function sweep(bench: Bench, api: string, topic: string, dataDir: string, inFlight: number): Promise<MeasuredRun> {
  const settings = {
    KAFKA_BROKERS: bench.kafka.brokers,
    KAFKA_TOPIC: topic,
    POKE_API_URL: api,
    POKE_API_MAX_RATE: '0',
    CAPTURE_MODE: 'sweep',
    CAPTURE_CONCURRENCY: String(inFlight),
    DATA_DIR: dataDir,
  }
  const run = await runMeasured(process.execPath, [PRODUCER], serviceEnvironment(settings))
  const reader = new TopicReader([bench.kafka.brokers], topic, {})
  try {
    const ends = await reader.ends()
    const { events } = ends === null ? { events: 0 } : await reader.stretch([], ends)
    if (events !== POKEMON) throw new Error(`a sweep put ${events} events into ${topic}, not ${POKEMON}`)
  } finally {
    await reader.close()
  }
  return run
}

/** Runs in a process of its own, so that it does not share this event loop. */
async function serve(bodies: string | null, delay: number): Promise<{ readonly url: string; readonly process: ChildProcess }> {
  const script = fileURLToPath(import.meta.resolve('@poke-api-pipeline/dev/poke-api-server'))
  const args = [script, '--port', '0', '--delay', String(delay), ...(bodies === null ? [] : ['--bodies', bodies])]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface(child.stdout)) {
    const url = /^POKE_API_URL=(\S+)/.exec(line)?.[1]
    if (url !== undefined) return { url, process: child }
  }
  throw new Error('the local PokeAPI did not start')
}
