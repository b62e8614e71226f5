/** Simulates the Kafka side: a log of records per partition, read by the handler in responses of a few, with the faults that its data asks for. */
import type {
  EventSource,
  FetchedRecords,
  PartitionHandler,
  PartitionSession,
  ReadOutcome,
  RecordCursor,
  RecordReader,
  TopicPartition,
} from '@poke-api-pipeline/kafka-reader'

/** One record of the log. Its offset is its place in the log. */
export interface MockRecord {
  readonly key?: string | null
  readonly value: string | Buffer | null
  readonly headers?: readonly (readonly [string, string | null])[]
  readonly timestamp?: number
  readonly eventType?: 'expected' | 'absent' | 'foreign'
  readonly source?: string
  readonly sequence?: number
}

/** An entry of a log: a record; an offset without a record, as after compaction or of a control batch; or bytes that cannot be read `times` times. */
export type MockEntry = MockRecord | 'hole' | { readonly corrupt: string; times: number; readonly endUnknown?: true }

const sources = new Map<string, EventSource>()
function sourceOf(name: string): EventSource {
  let source = sources.get(name)
  if (source === undefined) {
    source = { name }
    sources.set(name, source)
  }
  return source
}

/** A cursor over a piece of a mock log: it lays the parts of each record into one buffer, as a record batch would. */
export class MockCursor implements RecordCursor {
  offset = -1
  leaderEpoch = 0
  timestamp = -1
  bytes: Buffer = Buffer.alloc(0)
  view = new DataView(this.bytes.buffer)
  keyStart = -1
  keyEnd = -1
  valueStart = -1
  valueEnd = -1
  headersStart = 0
  headersEnd = 0
  eventType: 'expected' | 'absent' | 'foreign' = 'absent'
  source: EventSource | null = null
  sequence = -1
  nextOffset: number
  lastLeaderEpoch: number
  corrupt: string | null = null
  readonly corruptKind = 'corrupt'
  corruptEnd = -1
  readonly paused = false
  readonly #entries: readonly MockEntry[]
  readonly #end: number

  constructor(entries: readonly MockEntry[], from: number, end: number, leaderEpoch: number) {
    this.#entries = entries
    this.#end = Math.min(end, entries.length)
    this.nextOffset = from
    this.lastLeaderEpoch = leaderEpoch
    this.leaderEpoch = leaderEpoch
  }

  exactTimestamp(): bigint {
    return BigInt(this.timestamp)
  }

  next(): boolean {
    while (this.nextOffset < this.#end) {
      const entry = this.#entries[this.nextOffset] as MockEntry
      if (entry === 'hole') {
        this.nextOffset++
        continue
      }
      if ('corrupt' in entry) {
        if (entry.times-- > 0) {
          this.corrupt = entry.corrupt
          this.corruptEnd = entry.endUnknown ? -1 : this.nextOffset + 1
          return false
        }
        this.nextOffset++
        continue
      }
      this.offset = this.nextOffset++
      this.#lay(entry)
      return true
    }
    return false
  }

  endBehind(): void {}

  endBefore(): void {
    this.nextOffset = this.offset
  }

  #lay(record: MockRecord): void {
    const parts: Buffer[] = []
    let at = 0
    const add = (part: Buffer) => {
      parts.push(part)
      at += part.length
    }
    const key = record.key == null ? null : Buffer.from(record.key)
    const value = record.value === null ? null : Buffer.from(record.value)
    this.keyStart = key === null ? -1 : at
    if (key !== null) add(key)
    this.keyEnd = at
    this.valueStart = value === null ? -1 : at
    if (value !== null) add(value)
    this.valueEnd = at
    this.headersStart = at
    const headers = record.headers ?? []
    add(varint(headers.length))
    for (const [name, text] of headers) {
      const bytes = Buffer.from(name)
      add(varint(bytes.length))
      add(bytes)
      const data = text === null ? null : Buffer.from(text)
      add(varint(data === null ? -1 : data.length))
      if (data !== null) add(data)
    }
    this.headersEnd = at
    this.bytes = Buffer.concat(parts)
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
    this.timestamp = record.timestamp ?? 0
    this.eventType = record.eventType ?? (record.source === undefined ? 'absent' : 'expected')
    this.source = record.source === undefined ? null : sourceOf(record.source)
    this.sequence = record.sequence ?? -1
  }
}

/** A zigzag varint of the record format. */
export function varint(value: number): Buffer {
  let rest = (value << 1) ^ (value >> 31)
  const bytes: number[] = []
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest >>>= 7
  } while (rest > 0)
  return Buffer.from(bytes)
}

export interface MockKafkaConsumerOptions {
  readonly topic?: string
  readonly topicId?: string
  /** The most records of a response. */
  readonly fetchSize?: number
  /** Called before each response is handed over. A test can delay it. */
  readonly before?: (partition: number, offset: number) => Promise<void> | void
}

export class MockKafkaConsumer implements RecordReader {
  readonly logs: MockEntry[][]
  /** The outcomes that the handler returned, in order. */
  readonly outcomes: ReadOutcome[] = []
  readonly opened: number[] = []
  readonly #options: MockKafkaConsumerOptions
  #grown: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(logs: MockEntry[][], options: MockKafkaConsumerOptions = {}) {
    this.logs = logs
    this.#options = options
  }

  partition(partition: number): TopicPartition {
    return {
      topic: this.#options.topic ?? 'poke-topic',
      topicId: this.#options.topicId ?? '00000000-0000-4000-8000-000000000001',
      partition,
    }
  }

  /** Appends records to the log. */
  append(partition: number, ...entries: MockEntry[]): void {
    this.logs[partition]?.push(...entries)
    this.#grown.resolve()
    this.#grown = Promise.withResolvers()
  }

  async run(handler: PartitionHandler, signal: AbortSignal): Promise<void> {
    await Promise.all(this.logs.map((log, partition) => this.#read(handler, partition, log, signal)))
  }

  async #read(handler: PartitionHandler, partition: number, log: MockEntry[], signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    let reader: PartitionSession | null = null
    let offset = 0
    while (!signal.aborted) {
      if (reader === null) {
        reader = await handler.open(this.partition(partition), signal)
        this.opened.push(partition)
        offset = reader.position.offset === 'log-start' ? 0 : reader.position.offset
        if (reader.state === 'stopped') return
      }
      const end = log.length
      const cursor = new MockCursor(log, offset, offset + (this.#options.fetchSize ?? 100), 1)
      const fetched: FetchedRecords = {
        fetchOffset: offset,
        cursor,
        bytes: 0,
        highWatermark: end,
        lastStableOffset: end,
      }
      await this.#options.before?.(partition, offset)
      const outcome = await reader.process(fetched)
      this.outcomes.push(outcome)
      if (outcome === 'stop') return
      if (outcome === 'reopen') reader = null
      else {
        const moved = cursor.nextOffset > offset
        offset = cursor.nextOffset
        if (!moved && offset >= log.length) await Promise.race([this.#grown.promise, aborted])
      }
    }
    await reader?.close()
  }
}
