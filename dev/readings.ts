/** Reads the running services from outside, as an operator would: their metrics and readiness, the totals of the group, and the file of counts. */
import { readFile } from 'node:fs/promises'
import type { Sums } from '@poke-api-pipeline/poke-api-consumer/snapshot'
import { printable } from '@poke-api-pipeline/service-kit'
import { parseMetrics, type Sample, sumOf } from './prometheus-text.ts'

/**
 * Everything that a picture shows. Totals are those of the outbox and of the store, since each was created. Null: not known now. While the consumer
 * does not answer, the counted totals keep their last values, because nobody else counts.
 */
export interface Reading {
  /** Events that were ever stored in the outbox. Null while the producer does not answer: it may have stored more. */
  readonly captured: number | null
  /** Records that the group has counted; duplicates and dead letters among those that it has read. */
  readonly counted: number | null
  readonly duplicates: number | null
  readonly deadLetters: number | null
  /** Captures in the outbox. */
  readonly waiting: number | null
  /** Records of the topic that the group has not counted yet. */
  readonly lag: number | null
  /** Those of them that open transactions hold back. */
  readonly heldBack: number | null
  readonly sweep: { readonly done: number; readonly total: number; readonly leftOut: number } | null
  /** Why the services are not ready, each reason with the name of the service. */
  readonly problems: readonly string[]
  /** The counts of `type-counts.json`; empty where the file does not exist yet. */
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
  #counted: Pick<Reading, 'counted' | 'duplicates' | 'deadLetters'> = { counted: null, duplicates: null, deadLetters: null }
  #sweep: Reading['sweep'] = null
  #counts: ReadonlyMap<string, number> = new Map()

  /** @param file `type-counts.json` */
  constructor(producer: Readable, consumer: Readable, file: string) {
    this.#producer = producer
    this.#consumer = consumer
    this.#file = file
  }

  async read(): Promise<Reading> {
    // The counted total is read before the captured one, so it never exceeds it.
    const group = await groupOf(this.#consumer)
    const [producer, counts, ...problems] = await Promise.all([
      metricsOf(this.#producer),
      readCounts(this.#file),
      problemsOf(this.#producer),
      problemsOf(this.#consumer),
    ])
    if (group !== null) this.#counted = { counted: group.counted, duplicates: group.duplicates, deadLetters: group.deadLetters }
    if (counts !== null) this.#counts = counts
    const total = sumOf(producer, 'poke_sweep_total_pokemon')
    if (total !== null && total > 0) {
      const [done, leftOut] = [sumOf(producer, 'poke_sweep_done_pokemon') ?? 0, sumOf(producer, 'poke_sweep_left_out_pokemon') ?? 0]
      this.#sweep = { done, total, leftOut }
    }
    return {
      captured: sumOf(producer, 'poke_outbox_captured_events'),
      ...this.#counted,
      waiting: sumOf(producer, 'poke_outbox_depth_events'),
      lag: group?.lag ?? null,
      heldBack: group?.heldBack ?? null,
      sweep: this.#sweep,
      problems: problems.flat(),
      counts: this.#counts,
    }
  }
}

/** The counts of a file of the form `{"types":{"bug":106,…}}`; null where it does not exist. @throws where it has another form */
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

/** The next offset to count of each partition that the consumer reads; null for a partition that it has stopped reading. Empty while it does not answer. */
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

/** The totals of the group; null where the consumer does not answer, or has not read its store yet. */
async function groupOf(consumer: Readable): Promise<Sums | null> {
  const answer = await ask(consumer, '/api/partitions')
  return answer === null ? null : ((JSON.parse(answer) as { readonly group?: Sums }).group ?? null)
}

async function problemsOf(service: Readable): Promise<string[]> {
  const answer = await ask(service, '/health/ready')
  if (answer === null) return []
  const { reasons } = JSON.parse(answer) as { reasons: string[] }
  return reasons.map((reason) => `${service.name}: ${printable(reason)}`)
}

/** The body of its answer; null where it does not answer, because it is starting, stopping or was killed. */
async function ask({ url }: Readable, path: string): Promise<string | null> {
  if (url === null) return null
  try {
    return await (await fetch(`${url}${path}`, { signal: AbortSignal.timeout(2000) })).text()
  } catch {
    return null
  }
}
