/**
 * The consumer as a process to be measured: the service's own parts, without its page and its log, started by `counting-run.ts`.
 * It opens its partitions when it is told to, so that neither its own start nor that of the group is measured, and reports each commit.
 */

import { GroupReader, type PartitionSession, type RecordReader } from '@poke-api-pipeline/kafka-reader'
import { Controller } from '@poke-api-pipeline/poke-api-consumer/controller'
import { GroupProgress } from '@poke-api-pipeline/poke-api-consumer/group-progress'
import { ConsumerMetrics } from '@poke-api-pipeline/poke-api-consumer/metrics'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import type { CountObserver } from '@poke-api-pipeline/poke-api-consumer/ports'
import { TypeCountsFile } from '@poke-api-pipeline/poke-api-consumer/type-counts-file'
import { EVENT_IDENTITY } from '@poke-api-pipeline/pokemon-event'
import { createRegistry, fanOut, systemClock } from '@poke-api-pipeline/service-kit'

export interface CountOptions {
  readonly brokers: string
  readonly topic: string
  readonly groupId: string
  readonly storeUrl: string
  readonly outputFile: string
  readonly maxBytes: number
  readonly maxWait: number
}

/** Times are ms since 1970, with fractions. */
export type CountMessage =
  | { readonly type: 'assigned'; readonly partitions: readonly number[] }
  | { readonly type: 'opened'; readonly at: number }
  | { readonly type: 'committed'; readonly partition: number; readonly position: number; readonly at: number }
  | { readonly type: 'ended'; readonly cpuSeconds: number; readonly peakMegabytes: number }
  | { readonly type: 'failed'; readonly message: string }

export type CountCommand = 'go' | 'stop'

const options = JSON.parse(process.argv[2] as string) as CountOptions
const tell = (message: CountMessage) => process.send?.(message)
const clock = systemClock()
const go = Promise.withResolvers<void>()
const stop = new AbortController()
process.on('message', (command: CountCommand) => (command === 'go' ? go.resolve() : stop.abort()))
process.on('disconnect', () => process.exit(1))

const store = await openStore(options.storeUrl, { groupId: options.groupId, owner: String(process.pid) })
const fail = (error: Error) => {
  tell({ type: 'failed', message: error.stack ?? error.message })
}
/** A failure that is retried makes the measured time longer, and nothing else. */
const warn = (error: Error) => console.error(error.message)
const progress = new GroupProgress(clock.now)
const observer = fanOut<CountObserver>([
  progress,
  new ConsumerMetrics({ progress, registry: createRegistry(), timeOfDay: Date.now, anomalousSources: () => 0 }),
  {
    counted: ({ partition }, { position }) =>
      tell({ type: 'committed', partition, position, at: performance.timeOrigin + performance.now() }),
    stopped: (_, loss) => fail(new Error(loss.message)),
    storeFailed: fail,
    fileFailed: fail,
  },
])
let mine: ReadonlySet<number> = new Set()
const goneReader: PartitionSession = {
  position: { offset: 0, leaderEpoch: -1 },
  state: 'stopped',
  process: async () => 'stop',
  dataLost: async () => 'stop',
  close: async () => {},
}
const source = new GroupReader({
  brokers: options.brokers.split(','),
  topic: options.topic,
  groupId: options.groupId,
  store: { id: store.id, name: 'the benchmark’s', instance: `benchmark/${process.pid}` },
  clientId: 'benchmark',
  limits: { maxBytes: options.maxBytes, maxWait: options.maxWait },
  identity: EVENT_IDENTITY,
  observer: {
    brokerAway: warn,
    throttled: warn,
    membershipLost: warn,
    logEnds: (...told) => progress.logEnds(...told),
    rebalanced: (partitions) => {
      mine = new Set(partitions)
      tell({ type: 'assigned', partitions })
    },
  },
  clock,
})
const gated: RecordReader = {
  run: (handler, signal) =>
    source.run(
      {
        storeConfirmed: () => handler.storeConfirmed?.(),
        open: async (partition, needed) => {
          await go.promise
          // The partition was handed to another member meanwhile: opening it now would fence that member.
          if (!mine.has(partition.partition)) return goneReader
          const reader = await handler.open(partition, needed)
          tell({ type: 'opened', at: performance.timeOrigin + performance.now() })
          return reader
        },
      },
      signal,
    ),
}
const controller = new Controller({
  reader: gated,
  store,
  sink: new TypeCountsFile(options.outputFile),
  deadLetterTopic: {
    publish: (deadLetters) => Promise.reject(new Error(`${deadLetters.length} dead letters, where none is`)),
    refused: async () => null,
    close: async () => {},
  },
  observer,
  onDataLoss: 'stop',
  sourceMaxCount: 10_000,
  clock,
})
try {
  await controller.run(stop.signal)
} catch (error) {
  fail(error as Error)
}
await store.close()
const { user, system } = process.cpuUsage()
tell({ type: 'ended', cpuSeconds: (user + system) / 1e6, peakMegabytes: process.resourceUsage().maxRSS / 1024 })
process.removeAllListeners('disconnect')
process.disconnect?.()
