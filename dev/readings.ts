/** Looks at the running services from outside, as an operator would: their metrics, their readiness, and the file of counts. */
import { readFile } from 'node:fs/promises'
import { parseMetrics, type Sample, sumOf } from './prometheus-text.ts'

/** Everything a picture is drawn from. Numbers are null where nobody could be asked. */
export interface Reading {
  /** Since the start, over restarts of the services. */
  readonly captured: number | null
  /** Events that were counted. */
  readonly counted: number | null
  readonly duplicates: number | null
  readonly deadLetters: number | null
  /** Captures that wait in the outbox. */
  readonly waiting: number | null
  /** Records of the topic that are not counted yet. */
  readonly lag: number | null
  readonly sweep: { readonly done: number; readonly total: number; readonly leftOut: number } | null
  /** What the services say is in the way, each with the name of the service. */
  readonly troubles: readonly string[]
  /** What `type-counts.json` says; empty where there is none yet. */
  readonly counts: ReadonlyMap<string, number>
}

export interface Readable {
  readonly name: string
  /** `http://127.0.0.1:PORT`; null while it does not listen. */
  readonly url: string | null
}

export class Readings {
  readonly #producer: Readable
  readonly #consumer: Readable
  readonly #file: string
  readonly #captured = new RisingCount()
  readonly #counted = new RisingCount()
  readonly #duplicates = new RisingCount()
  readonly #deadLetters = new RisingCount()
  #sweep: Reading['sweep'] = null
  #counts: ReadonlyMap<string, number> = new Map()

  /** @param file `type-counts.json` */
  constructor(producer: Readable, consumer: Readable, file: string) {
    this.#producer = producer
    this.#consumer = consumer
    this.#file = file
  }

  async take(): Promise<Reading> {
    const [producer, consumer, counts, ...troubles] = await Promise.all([
      metricsOf(this.#producer),
      metricsOf(this.#consumer),
      readCounts(this.#file),
      troublesOf(this.#producer),
      troublesOf(this.#consumer),
    ])
    if (counts !== null) this.#counts = counts
    const total = sumOf(producer, 'poke_sweep_total_pokemon')
    if (total !== null && total > 0) {
      const [done, leftOut] = [sumOf(producer, 'poke_sweep_done_pokemon') ?? 0, sumOf(producer, 'poke_sweep_left_out_pokemon') ?? 0]
      this.#sweep = { done, total, leftOut }
    }
    return {
      captured: this.#captured.take(sumOf(producer, 'poke_captures_total')),
      counted: this.#counted.take(sumOf(consumer, 'poke_records_counted_total')),
      duplicates: this.#duplicates.take(sumOf(consumer, 'poke_records_duplicate_total')),
      deadLetters: this.#deadLetters.take(sumOf(consumer, 'poke_dead_letters_total')),
      waiting: sumOf(producer, 'poke_outbox_depth_events'),
      lag: sumOf(consumer, 'poke_lag_records'),
      sweep: this.#sweep,
      troubles: troubles.flat(),
      counts: this.#counts,
    }
  }
}

/** A counter of a process that may die and begin at zero again. */
export class RisingCount {
  #before = 0
  #last: number | null = null

  /** @param value as the process says it; null while it cannot be asked. @returns the sum over all processes; null before the first value */
  take(value: number | null): number | null {
    if (value === null) return this.#last === null ? null : this.#before + this.#last
    if (this.#last !== null && value < this.#last) this.#before += this.#last
    this.#last = value
    return this.#before + value
  }
}

/** The counts of a file of the form `{"types":{"bug":106,…}}`; null where there is none. @throws where it is something else */
export async function readCounts(file: string): Promise<Map<string, number> | null> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  return new Map(Object.entries((JSON.parse(text) as { types: Record<string, number> }).types))
}

/** The next offset to count of each partition that the consumer reads; null for one that it has stopped to read. Empty while it does not answer. */
export async function positionsOf(consumer: Readable): Promise<Map<number, number | null>> {
  const metrics = await metricsOf(consumer)
  const positions = new Map<number, number | null>()
  for (const { labels, value } of metrics.get('poke_position_offset') ?? []) positions.set(Number(labels.partition), value)
  for (const { labels, value } of metrics.get('poke_partition_stopped') ?? [])
    if (value === 1) positions.set(Number(labels.partition), null)
  return positions
}

async function metricsOf(service: Readable): Promise<Map<string, Sample[]>> {
  return parseMetrics((await ask(service, '/metrics')) ?? '')
}

async function troublesOf(service: Readable): Promise<string[]> {
  const answer = await ask(service, '/health/ready')
  if (answer === null) return []
  const { reasons } = JSON.parse(answer) as { reasons: string[] }
  return reasons.map((reason) => `${service.name}: ${reason}`)
}

/** What it answers; null where it does not, because it starts, is being stopped or was killed: the one who runs it says so. */
async function ask({ url }: Readable, path: string): Promise<string | null> {
  if (url === null) return null
  try {
    return await (await fetch(`${url}${path}`, { signal: AbortSignal.timeout(2000) })).text()
  } catch {
    return null
  }
}
