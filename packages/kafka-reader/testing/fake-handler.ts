/** A `PartitionHandler` that keeps what it is called with. It has positions in memory, and the test decides on its answers. */
import type {
  DataLoss,
  FetchedRecords,
  FetchPosition,
  PartitionHandler,
  PartitionSession,
  ReadOutcome,
  RecordView,
  TopicPartition,
} from '../src/ports.ts'

export interface CountedRecord {
  readonly partition: number
  readonly offset: number
  readonly value: string | null
}

export interface CountCall {
  readonly partition: number
  readonly fetchOffset: number
  readonly nextOffset: number
  readonly records: number
  readonly highWatermark: number
  readonly corrupt: string | null
}

export class FakeHandler implements PartitionHandler {
  /** Positions by partition. A partition without one is read from the start of its log. */
  readonly positions = new Map<number, FetchPosition>()
  readonly counted: CountedRecord[] = []
  readonly calls: CountCall[] = []
  readonly losses: { readonly partition: number; readonly loss: DataLoss }[] = []
  /** What happened to sessions, in order. */
  readonly events: string[] = []
  /** Delays each opening. */
  opening: (partition: number) => Promise<void> = async () => {}
  /** The outcome of each response, called after its records were read. */
  decide: (call: CountCall) => ReadOutcome | Promise<ReadOutcome> = () => 'next'
  decideLoss: (partition: number, loss: DataLoss) => ReadOutcome = () => 'stop'
  readonly #seen: (record: RecordView) => void
  #changed: PromiseWithResolvers<void> = Promise.withResolvers()

  /** @param seen called with each record, counted or not */
  constructor(seen: (record: RecordView) => void = () => {}) {
    this.#seen = seen
  }

  storeConfirmed(): void {}

  async open(at: TopicPartition): Promise<PartitionSession> {
    this.#tell(`open ${at.partition}`)
    await this.opening(at.partition)
    return new FakeSession(at, this, (event) => this.#tell(event), this.#seen)
  }

  /** Resolves as soon as the condition holds. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise
  }

  /** The counted values of a partition, in order. */
  values(partition = 0): (string | null)[] {
    return this.counted.filter((record) => record.partition === partition).map(({ value }) => value)
  }

  #tell(event: string): void {
    this.events.push(event)
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}

class FakeSession implements PartitionSession {
  readonly state = 'active'
  readonly #at: TopicPartition
  readonly #handler: FakeHandler
  readonly #tell: (event: string) => void
  readonly #seen: (record: RecordView) => void
  #isDead = false

  constructor(at: TopicPartition, handler: FakeHandler, tell: (event: string) => void, seen: (record: RecordView) => void) {
    this.#at = at
    this.#handler = handler
    this.#tell = tell
    this.#seen = seen
  }

  get position(): FetchPosition {
    return this.#handler.positions.get(this.#at.partition) ?? { offset: 'log-start', leaderEpoch: -1 }
  }

  async process({ fetchOffset, cursor, highWatermark }: FetchedRecords): Promise<ReadOutcome> {
    if (this.#isDead) return 'stop'
    const { partition } = this.#at
    const records: CountedRecord[] = []
    while (cursor.next()) {
      this.#seen(cursor)
      const { offset, bytes, valueStart, valueEnd } = cursor
      records.push({ partition, offset, value: valueStart < 0 ? null : bytes.toString('utf8', valueStart, valueEnd) })
    }
    const { nextOffset, lastLeaderEpoch, corrupt } = cursor
    const call = { partition, fetchOffset, nextOffset, records: records.length, highWatermark, corrupt }
    this.#handler.calls.push(call)
    this.#tell(`count ${partition} from ${fetchOffset}`)
    const outcome = await this.#handler.decide(call)
    if (outcome === 'next' && !this.#isDead) {
      this.#handler.counted.push(...records)
      if (nextOffset > fetchOffset) this.#handler.positions.set(partition, { offset: nextOffset, leaderEpoch: lastLeaderEpoch })
    }
    if (outcome !== 'next') this.#isDead = true
    this.#tell(`counted ${partition}: ${outcome}`)
    return outcome
  }

  async dataLost(loss: DataLoss): Promise<ReadOutcome> {
    const { partition } = this.#at
    this.#handler.losses.push({ partition, loss })
    this.#isDead = true
    const outcome = this.#handler.decideLoss(partition, loss)
    this.#tell(`lost ${partition}`)
    return outcome
  }

  async close(): Promise<void> {
    this.#isDead = true
    this.#tell(`close ${this.#at.partition}`)
  }
}
