/** One measured run of the consumer over a loaded topic: from the first fetch to the last commit, and the counts must be exact. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { typeCountsDocument } from '@poke-api-pipeline/poke-api-consumer/type-counts-file'
import type { CountCommand, CountMessage, CountOptions } from './count-topic.ts'
import type { LoadedTopic } from './load-topic.ts'

export interface CountingRunOptions {
  readonly brokers: string
  /** An empty database for this run; absent: an SQLite file. */
  readonly postgresUrl?: string
  /** How many processes share the partitions. */
  readonly consumers?: number
  readonly maxBytes?: number
  /** Options of Node for the measured process, `--cpu-prof` for one. */
  readonly nodeOptions?: readonly string[]
}

export interface CountingRun {
  /** The time from the first fetch, directly after the first opening, to the commit of the last record. */
  readonly seconds: number
  /** User and system time of the whole processes, including their start. */
  readonly cpuSeconds: number
  /** Peak memory of the largest process. */
  readonly peakMegabytes: number
}

const COUNT_TOPIC = fileURLToPath(new URL('count-topic.ts', import.meta.url))

/** @throws if a consumer fails, or the counts are not exact: then there is no measurement */
export async function runCounting(loaded: LoadedTopic, options: CountingRunOptions): Promise<CountingRun> {
  const folder = await mkdtemp(join(tmpdir(), 'benchmark-count-'))
  const outputFile = join(folder, 'type-counts.json')
  const shared: Omit<CountOptions, 'outputFile'> = {
    brokers: options.brokers,
    topic: loaded.topic,
    groupId: `benchmark-${randomUUID()}`,
    storeUrl: options.postgresUrl ?? `sqlite:${join(folder, 'type-counts.db')}`,
    maxBytes: options.maxBytes ?? 8 * 1024 * 1024,
    maxWait: 500,
  }
  const consumers = Array.from(
    { length: options.consumers ?? 1 },
    (_, index) =>
      new Consumer({ ...shared, outputFile: index === 0 ? outputFile : join(folder, `other-${index}.json`) }, options.nodeOptions ?? []),
  )
  try {
    const failed = Promise.race(consumers.map((consumer) => consumer.failed))
    await Promise.race([assigned(consumers, loaded.partitions), failed])
    for (const consumer of consumers) consumer.send('go')
    const { began, ended } = await Promise.race([counted(consumers, loaded.records), failed])
    for (const consumer of consumers) consumer.send('stop')
    const ends = await Promise.race([Promise.all(consumers.map((consumer) => consumer.ended)), failed])
    const [published, exact] = [await readFile(outputFile, 'utf8'), typeCountsDocument(loaded.exactCounts)]
    if (published !== exact) throw new Error(`the counts of ${loaded.topic} are not exact:\n${published}${exact}`)
    return {
      seconds: (ended - began) / 1000,
      cpuSeconds: ends.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
      peakMegabytes: Math.max(...ends.map(({ peakMegabytes }) => peakMegabytes)),
    }
  } finally {
    for (const consumer of consumers) consumer.kill()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Resolves when all partitions are handed out and every consumer has some. */
function assigned(consumers: readonly Consumer[], partitions: number): Promise<void> {
  const shares = new Map<Consumer, number>()
  return new Promise((resolve) => {
    for (const consumer of consumers) {
      consumer.onAssigned = (share) => {
        shares.set(consumer, share)
        const handedOut = [...shares.values()].reduce((sum, each) => sum + each, 0)
        if (
          handedOut === partitions &&
          shares.size === consumers.length &&
          !(consumers.length <= partitions && [...shares.values()].includes(0))
        )
          resolve()
      }
    }
  })
}

/** Resolves when so many records are committed, with the times of the first opening and of that commit, in ms since 1970. */
function counted(consumers: readonly Consumer[], records: number): Promise<{ readonly began: number; readonly ended: number }> {
  const positions = new Map<number, number>()
  let sum = 0
  let began = Number.POSITIVE_INFINITY
  return new Promise((resolve) => {
    for (const consumer of consumers) {
      consumer.onOpened = (at) => {
        began = Math.min(began, at)
      }
      consumer.onCommitted = (partition, position, at) => {
        sum += position - (positions.get(partition) ?? 0)
        positions.set(partition, position)
        if (sum === records) resolve({ began, ended: at })
      }
    }
  })
}

class Consumer {
  readonly failed: Promise<never>
  readonly ended: Promise<Extract<CountMessage, { type: 'ended' }>>
  onAssigned: (partitions: number) => void = () => {}
  onOpened: (at: number) => void = () => {}
  onCommitted: (partition: number, position: number, at: number) => void = () => {}
  readonly #process: ChildProcess

  constructor(options: CountOptions, nodeOptions: readonly string[]) {
    this.#process = spawn(process.execPath, [...nodeOptions, COUNT_TOPIC, JSON.stringify(options)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const failed = Promise.withResolvers<never>()
    const ended = Promise.withResolvers<Extract<CountMessage, { type: 'ended' }>>()
    this.failed = failed.promise
    this.failed.catch(() => {})
    this.ended = ended.promise
    this.#process.once('error', failed.reject)
    let end: Extract<CountMessage, { type: 'ended' }> | null = null
    this.#process.once('exit', (code, signal) => {
      if (end !== null) ended.resolve(end)
      else failed.reject(new Error(`the measured consumer ended early (${signal ?? `exit code ${code}`})`))
    })
    this.#process.on('message', (message: CountMessage) => {
      if (message.type === 'assigned') this.onAssigned(message.partitions.length)
      else if (message.type === 'opened') this.onOpened(message.at)
      else if (message.type === 'committed') this.onCommitted(message.partition, message.position, message.at)
      else if (message.type === 'ended') end = message
      else failed.reject(new Error(`the measured consumer failed: ${message.message}`))
    })
  }

  send(command: CountCommand): void {
    this.#process.send(command)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}
