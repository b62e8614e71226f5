/**
 * Reads a topic in batches of records as objects. The program stores each batch together with the position after it, in one transaction of its own
 * database. For more speed, or more than one transaction at a time, implement `PartitionHandler` and run a `GroupReader`.
 *
 * Compare-and-set keeps it exact when a partition moves to another process: `save` changes the position from `from` to `to`, and stores nothing if
 * the position is no longer `from`. If two processes read one partition, only one of them succeeds; the other one loads the position again. So the
 * result depends on no clock, no session and not on the consumer group.
 */
import { createHash } from 'node:crypto'
import { hostname } from 'node:os'
import { systemClock } from '@poke-api-pipeline/service-kit/clock'
import { GroupReader, type GroupReaderOptions, type ReaderObserver } from './group-reader.ts'
import type { DataLoss, FetchedRecords, FetchPosition, PartitionHandler, PartitionSession, ReadOutcome, TopicPartition } from './ports.ts'
import { recordsOf, type TopicRecord } from './records/topic-record.ts'

/** A position in a partition, as two integers for a database. */
export interface SavedPosition {
  /** The offset of the next record to read. */
  readonly offset: number
  /** The leader epoch of the record before it, which shows whether the log was truncated and written again. −1: not known. */
  readonly leaderEpoch: number
}

/** Records and a position to store in one transaction. Their bytes are valid until `save` resolves. */
export interface TopicBatch extends TopicPartition {
  /** In the order of their offsets. May be empty, because transaction markers also move the position. */
  readonly records: readonly TopicRecord[]
  /** The position that the database must still have; null: none. */
  readonly from: SavedPosition | null
  /** The position after the batch. */
  readonly to: SavedPosition
}

export interface BatchOptions {
  /** Returns the saved position of a partition that the group assigned to this process; null: none, so reading starts at the beginning of the log. */
  load(partition: TopicPartition): Promise<SavedPosition | null> | SavedPosition | null
  /**
   * Stores the records and the new position in one transaction. Batches of one partition are saved one after the other, in order; batches of
   * different partitions may be saved at the same time.
   * @returns false if the position was no longer `from`, offset and leader epoch, so nothing was stored: another process reads the partition. After a
   *   log was truncated, the same offset can be another record.
   */
  save(batch: TopicBatch): Promise<boolean> | boolean
  /**
   * Called if records were lost (`retention`, `truncated`, …). `reopen` loads the position again, which may have been moved before: only from `from`,
   * because another process may read the partition by now. `stop` reads no more of the partition. Without this function, `readTopic` rejects with a
   * `DataLostError`.
   */
  dataLost?(partition: TopicPartition, loss: DataLoss, from: SavedPosition | null): Promise<'reopen' | 'stop'> | 'reopen' | 'stop'
}

export interface ReadTopicOptions
  extends BatchOptions,
    Pick<GroupReaderOptions, 'brokers' | 'topic' | 'groupId' | 'clientOptions' | 'sessionTimeout'> {
  /** Called with a sentence for each failure; the reader retries by itself. */
  report?(message: string): void
  /** Names the database. Members of one group that name different ones refuse to run together. */
  readonly database?: string
  /** The most bytes of records in a response, for all partitions of a broker. Default: 1 MiB. */
  readonly maxBytes?: number
}

/** Records were lost before they were read. */
export class DataLostError extends Error {
  override readonly name = 'DataLostError'
  readonly partition: TopicPartition
  readonly loss: DataLoss

  constructor(partition: TopicPartition, loss: DataLoss) {
    super(`partition ${partition.partition} of topic ${partition.topic}: ${loss.message}`)
    this.partition = partition
    this.loss = loss
  }
}

const MAX_BYTES = 1024 * 1024
/** In ms. */
const MAX_WAIT = 500

/**
 * Reads a topic as a member of a group until the signal is aborted, through every failure of Kafka that can be retried.
 * @throws what `load`, `save` and `dataLost` throw, after leaving the group; the batch is not assumed to be stored. Also `KafkaError` if retrying
 *   cannot help (`not-authorised`, `unsupported-broker`, …), and `DataLostError`.
 */
export async function readTopic(options: ReadTopicOptions, signal: AbortSignal): Promise<void> {
  const { brokers, topic, groupId, clientOptions, sessionTimeout, database, maxBytes = MAX_BYTES, report = () => {} } = options
  const name = database ?? `the database of group ${groupId}`
  const reader = new GroupReader({
    brokers,
    topic,
    groupId,
    clientId: groupId,
    ...(clientOptions && { clientOptions }),
    ...(sessionTimeout !== undefined && { sessionTimeout }),
    store: { id: createHash('sha256').update(name).digest('hex').slice(0, 32), name, instance: `${hostname()}/${process.pid}` },
    limits: { maxBytes, maxWait: MAX_WAIT },
    observer: reports(report),
    clock: systemClock(),
  })
  await reader.run(new BatchHandler(options), signal)
}

/** Makes batches of the responses of a `GroupReader`, for programs that run one with options of their own. */
export class BatchHandler implements PartitionHandler {
  readonly #options: BatchOptions
  /** By partition: the offset whose bytes were unreadable. They are fetched once more before they count as lost (rule F5). */
  readonly #unreadable = new Map<number, number>()

  constructor(options: BatchOptions) {
    this.#options = options
  }

  async open(partition: TopicPartition): Promise<PartitionSession> {
    return new BatchSession(partition, await this.#options.load(partition), this.#options, this.#unreadable)
  }
}

class BatchSession implements PartitionSession {
  readonly #partition: TopicPartition
  readonly #options: BatchOptions
  readonly #unreadable: Map<number, number>
  #saved: SavedPosition | null
  /** Set when nothing more is saved here. */
  #ended: 'reopen' | 'stop' | null = null
  /** Resolves when no batch is being saved. */
  #saving: Promise<unknown> = Promise.resolve()

  constructor(partition: TopicPartition, saved: SavedPosition | null, options: BatchOptions, unreadable: Map<number, number>) {
    this.#partition = partition
    this.#saved = saved
    this.#options = options
    this.#unreadable = unreadable
  }

  get state(): 'active' | 'stale' | 'stopped' {
    if (this.#ended === null) return 'active'
    return this.#ended === 'stop' ? 'stopped' : 'stale'
  }

  get position(): FetchPosition {
    return this.#saved ?? { offset: 'log-start', leaderEpoch: -1 }
  }

  async process({ cursor, fetchOffset }: FetchedRecords): Promise<ReadOutcome> {
    if (this.#ended !== null) return this.#ended
    // A response must begin at the saved position (rule S2).
    if (this.#saved !== null && fetchOffset !== this.#saved.offset) return this.#end('reopen')
    let reached = fetchOffset
    do {
      const records = [...recordsOf(cursor)]
      const to = { offset: cursor.nextOffset, leaderEpoch: cursor.lastLeaderEpoch }
      if (to.offset === reached) continue
      const saving = Promise.resolve(this.#options.save({ ...this.#partition, records, from: this.#saved, to }))
      this.#saving = saving.catch(() => {})
      if (!(await saving)) return this.#end('reopen')
      this.#saved = to
      reached = to.offset
      // It was closed while the batch was being saved.
      if (this.#ended !== null) return this.#ended
    } while (cursor.paused)
    return cursor.corrupt === null ? 'next' : await this.#refetch(cursor.corruptKind, cursor.corrupt, reached, cursor.corruptEnd)
  }

  async dataLost(loss: DataLoss): Promise<ReadOutcome> {
    if (this.#ended !== null) return this.#ended
    if (this.#options.dataLost === undefined) {
      this.#ended = 'stop'
      throw new DataLostError(this.#partition, loss)
    }
    return this.#end(await this.#options.dataLost(this.#partition, loss, this.#saved))
  }

  async close(): Promise<void> {
    this.#ended = 'stop'
    await this.#saving
  }

  /** @returns `stop` where the session was closed meanwhile */
  #end(outcome: 'reopen' | 'stop'): ReadOutcome {
    this.#ended ??= outcome
    return this.#ended
  }

  /** Reopens the partition, because the network may have damaged the bytes; at the second time they are lost. */
  async #refetch(kind: DataLoss['kind'], why: string, from: number, end: number): Promise<ReadOutcome> {
    const { partition } = this.#partition
    if (this.#unreadable.get(partition) === from)
      return await this.dataLost({ kind, message: `offset ${from} cannot be read: ${why}`, from, to: end < 0 ? null : end })
    this.#unreadable.set(partition, from)
    return this.#end('reopen')
  }
}

/** Leaves out repetitions of the last sentence: a failure is reported at each of many retries. */
function reports(report: (message: string) => void): Partial<ReaderObserver> {
  let last = ''
  const reportOnce = (message: string) => {
    if (message !== last) report(message)
    last = message
  }
  const reportError = ({ message }: Error) => reportOnce(message)
  return {
    waitingForTopic: (topic) => reportOnce(`topic ${topic} does not exist yet; reading begins when it does`),
    brokerAway: reportError,
    brokerBack: () => reportOnce('Kafka answers again'),
    throttled: reportError,
    membershipLost: reportError,
    mirrorDiffers: (partition, mirrored, position) =>
      reportOnce(
        `partition ${partition}: the group committed offset ${mirrored}, the database has ${position}; reading goes on from the database`,
      ),
    groupSeen: ({ reasons }) => {
      if (reasons.length > 0) reportOnce(reasons.join('; '))
    },
  }
}
