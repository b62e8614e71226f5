/** A producer process for tests: it sweeps a few Pokémon without any request, and kills itself at a given crash point. Its only argument is a `SweepOrders` as JSON. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Controller } from '@poke-api-pipeline/poke-api-producer/controller'
import { KafkaEventPublisher } from '@poke-api-pipeline/poke-api-producer/kafka-producer'
import { SqliteOutbox } from '@poke-api-pipeline/poke-api-producer/sqlite-outbox'
import type { CrashPoint } from '@poke-api-pipeline/poke-api-producer/testing/crash-points'
import { capture } from '@poke-api-pipeline/poke-api-producer/testing/pokemon'
import { RecordingObserver } from '@poke-api-pipeline/poke-api-producer/testing/recording-observer'
import { systemClock } from '@poke-api-pipeline/service-kit'

export interface SweepOrders {
  readonly dir: string
  readonly brokers: string
  readonly topic: string
  /** The sweep has the Pokémon 1 to this one. */
  readonly last: number
  /** Kills itself by SIGKILL when it passes this crash point for the nth time, counted from when it has passed the point `after`. */
  readonly kill?: { readonly at: CrashPoint; readonly nth: number; readonly after?: CrashPoint }
}

const orders = JSON.parse(process.argv[2] ?? '') as SweepOrders
let passed = 0
let counts = orders.kill?.after === undefined
const controller = new Controller({
  api: {
    list: async () => Array.from({ length: orders.last }, (_, i) => i + 1),
    async capture(id, signal) {
      await sleep(2, undefined, { signal })
      return capture(id)
    },
    async confirm() {},
  },
  outbox: new SqliteOutbox({ dir: orders.dir }),
  publisher: new KafkaEventPublisher({ brokers: orders.brokers.split(','), topic: orders.topic, partitions: 3, replication: 1 }),
  observer: new RecordingObserver(),
  mode: { order: 'sweep' },
  limits: { concurrency: 4, maxEvents: 1000, maxAttempts: 3, drainDeadline: 5000 },
  clock: systemClock(),
  crashPoint(point) {
    if (counts && point === orders.kill?.at && ++passed === orders.kill.nth) process.kill(process.pid, 'SIGKILL')
    if (point === orders.kill?.after) counts = true
  },
})
await controller.run(new AbortController().signal)
