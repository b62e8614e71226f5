/** Simulates the topic and the way to it: a log for each partition, sends that are held up, fail before or after they were appended, and a Kafka that is away. */
import type { EventPublisher, OutboxEvent } from '../src/application/ports.ts'
import { PublishError, type PublishErrorKind } from '../src/errors.ts'
import { partitionerFor } from '../src/infrastructure/messaging/kafka-producer.ts'

/** What becomes of a send. */
export interface Fate {
  /** The events that are appended: all, none, or those of one partition, as after one of two leaders has failed. */
  readonly appended: 'all' | 'none' | { readonly partition: number }
  /** What the sender hears; null: acknowledged. */
  readonly error: Error | null
}

const ACKNOWLEDGED: Fate = { appended: 'all', error: null }

export class MockKafkaProducer implements EventPublisher {
  /** What each partition holds, as the consumers will read it. */
  logs: OutboxEvent[][]
  /** Every send, in order, whatever became of it. */
  readonly sends: (readonly OutboxEvent[])[] = []
  /** The outcomes of the next sends. A send without an outcome here is acknowledged. */
  readonly fates: Fate[] = []
  /** Kafka is away while it is set. */
  down: Error | null = null
  prepared = 0
  outstanding = 0
  /** Most sends that were outstanding at once. */
  mostOutstanding = 0
  closed = false
  #partitions: number
  #held: PromiseWithResolvers<void> | null = null

  constructor({ partitions = 3 } = {}) {
    this.#partitions = partitions
    this.logs = Array.from({ length: partitions }, () => [])
  }

  get partitionOf(): ((key: string) => number) | null {
    return this.prepared > 0 ? partitionerFor(this.#partitions) : null
  }

  /** All that arrived, partition by partition. */
  get arrived(): OutboxEvent[] {
    return this.logs.flat()
  }

  async prepare(): Promise<void> {
    if (this.down !== null) throw this.down
    this.prepared++
  }

  async publish(events: readonly OutboxEvent[]): Promise<void> {
    for (const { partition, sequence } of events) if (partition === null) throw new TypeError(`event ${sequence} has no partition yet`)
    this.sends.push(events)
    this.mostOutstanding = Math.max(this.mostOutstanding, ++this.outstanding)
    try {
      await this.#held?.promise
      if (this.down !== null) throw this.down
      const { appended, error } = this.fates.shift() ?? ACKNOWLEDGED
      for (const event of events) {
        if (appended === 'all' || (appended !== 'none' && appended.partition === event.partition)) this.append(event)
      }
      if (error !== null) throw error
    } finally {
      this.outstanding--
    }
  }

  /** Puts an event at the end of its partition; also for one that arrives late. */
  append(event: OutboxEvent): void {
    this.logs[event.partition as number]?.push(event)
  }

  /** From now on no send is answered, until the returned function is called. */
  hold(): () => void {
    const held = Promise.withResolvers<void>()
    this.#held = held
    return () => {
      this.#held = null
      held.resolve()
    }
  }

  addPartitions(count: number): void {
    this.#partitions += count
    for (let i = 0; i < count; i++) this.logs.push([])
  }

  async close(): Promise<void> {
    this.closed = true
  }
}

export function publishFailed(kind: PublishErrorKind = 'unreachable'): PublishError {
  return new PublishError(kind, `Kafka: ${kind}`)
}

/** The ids that a consumer counts, by rule C2: of each source a partition's sequences only rise; whatever does not is a duplicate. */
export function countedIds(logs: readonly (readonly Pick<OutboxEvent, 'source' | 'sequence' | 'key'>[])[]): number[] {
  const ids: number[] = []
  for (const log of logs) {
    const last = new Map<string, number>()
    for (const { source, sequence, key } of log) {
      if (sequence <= (last.get(source) ?? 0)) continue
      last.set(source, sequence)
      ids.push(Number(key))
    }
  }
  return ids.sort((a, b) => a - b)
}
