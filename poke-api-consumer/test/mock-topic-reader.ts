/** A topic in memory for `verify`. Its logs can lack their beginning or end, and partitions can be unreadable. */
import type { RecordView, TopicDescription } from '@poke-api-pipeline/kafka-reader'
import type { ReadableTopic } from '../src/application/verify.ts'
import { MockCursor, type MockEntry } from './mock-kafka-consumer.ts'

export class MockTopicReader implements ReadableTopic {
  topicId: string
  compacted = false
  readonly logs: MockEntry[][]
  /** The start of each log, by partition; default: 0. */
  readonly logStarts: number[] = []
  /** The start of an open transaction, by partition; default: the end of the log. */
  readonly readableEnds: number[] = []
  /** The leader epoch of all records. */
  leaderEpoch = 1
  /** Why a partition cannot be read to its end, by partition. */
  readonly unreadable = new Map<number, string>()
  /** The ranges of offsets without a record: partition, from, to (exclusive). */
  readonly removed: (readonly [partition: number, from: number, to: number])[] = []
  /** The offsets of one response. */
  readonly #step: number

  constructor(topicId: string, logs: MockEntry[][], step = 3) {
    this.topicId = topicId
    this.logs = logs
    this.#step = step
  }

  async describe(): Promise<TopicDescription> {
    const partitions = this.logs.map((log, partition) => ({
      logStartOffset: this.logStarts[partition] ?? 0,
      endOffset: log.length,
      readableEndOffset: this.readableEnds[partition] ?? log.length,
    }))
    return { topicId: this.topicId, compacted: this.compacted, partitions }
  }

  async read(
    partition: number,
    from: number,
    to: number,
    each: (record: RecordView) => void,
    progress: (offset: number) => void,
    missing: (from: number, to: number) => void = () => {},
  ): Promise<string | null> {
    for (const [at, first, end] of this.removed) if (at === partition && first >= from && first < to) missing(first, Math.min(end, to))
    for (let offset = from; offset < to; offset = Math.min(to, offset + this.#step)) {
      const cursor = new MockCursor(this.logs[partition] ?? [], offset, Math.min(to, offset + this.#step), this.leaderEpoch)
      while (cursor.next()) each(cursor)
      progress(cursor.nextOffset)
      const why = this.unreadable.get(partition)
      if (why !== undefined) return why
    }
    return null
  }
}
