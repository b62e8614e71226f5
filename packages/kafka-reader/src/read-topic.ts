/**
 * The interface for people: records as objects, in batches that their own database takes together with the position after them, in one
 * transaction. Whoever needs more speed, or more than one transaction under way, implements `PartitionHandler` and runs a `GroupReader`.
 *
 * What keeps it exact when a partition moves from one process to another: `save` changes the position in the database from `from` to `to`
 * and stores nothing where it is not `from` any more (compare-and-set). Of two processes that believe to have a partition, only one succeeds;
 * the other one loads the position again. So nobody has to trust clocks, sessions or the consumer group.
 */
import { createHash } from 'node:crypto'
import { hostname } from 'node:os'
import { systemClock } from '@poke-api-pipeline/service-kit/clock'
import { GroupReader, type GroupReaderOptions, type ReaderObserver } from './group-reader.ts'
import type { DataLoss, FetchedRecords, FetchPosition, PartitionHandler, PartitionSession, ReadOutcome, TopicPartition } from './ports.ts'
import { recordsOf, type TopicRecord } from './records/topic-record.ts'

/** A position as a database keeps it: two integers. */
export interface SavedPosition {
  /** The offset of the next record to read. */
  readonly offset: number
  /** Under which leader the record before it was written: by it a log that was cut and written anew is noticed. −1: not known. */
  readonly leaderEpoch: number
}

/** What is to be stored in one transaction. Its bytes are only valid until `save` resolves. */
export interface TopicBatch extends TopicPartition {
  /** In the order of their offsets. May be empty: transaction markers move the position, too. */
  readonly records: readonly TopicRecord[]
  /** The position that the database must still have; null: none. */
  readonly from: SavedPosition | null
  /** The position after the batch. */
  readonly to: SavedPosition
}

export interface BatchOptions {
  /** Says where to go on with a partition, which the group has handed to this process; null: at the beginning. */
  load(partition: TopicPartition): Promise<SavedPosition | null> | SavedPosition | null
  /**
   * Stores the records and the new position in one transaction. Called for one batch of a partition at a time, in order; batches of different
   * partitions may be under way together.
   * @returns false where the position was not `from` any more, and nothing was stored: another process reads the partition
   */
  save(batch: TopicBatch): Promise<boolean> | boolean
  /**
   * Records are lost (`retention`, `truncated`, …). It may move the position in the database, and answer `reopen`; `stop` leaves the
   * partition alone. Without this function, `readTopic` rejects with a `DataLostError`.
   */
  dataLost?(partition: TopicPartition, loss: DataLoss): Promise<'reopen' | 'stop'> | 'reopen' | 'stop'
}

export interface ReadTopicOptions
  extends BatchOptions,
    Pick<GroupReaderOptions, 'brokers' | 'topic' | 'groupId' | 'clientOptions' | 'sessionTimeout'> {
  /** Says what goes wrong, and what is done about it: each is tried again. A sentence each. */
  report?(message: string): void
  /** Names the database. Members of one group that name different ones refuse to run together. */
  readonly database?: string
  /** Bytes of records asked for at a time, for all partitions of a broker. Default: 1 MiB. */
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
 * @throws what `load`, `save` and `dataLost` throw, after the group was left; nothing of that batch is assumed to be stored. Also `KafkaError`
 *   where retrying is hopeless (`not-authorised`, `unsupported-broker`, …), and `DataLostError`.
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

/** Makes batches of what a `GroupReader` reads, for those who run one with options of their own. */
export class BatchHandler implements PartitionHandler {
  readonly #options: BatchOptions
  /** Where bytes of a partition could not be read, by partition: they are fetched once more before they count as lost (rule F5). */
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
  #isOver = false
  /** Resolves when the batch that is being saved is. */
  #saving: Promise<unknown> = Promise.resolve()

  constructor(partition: TopicPartition, saved: SavedPosition | null, options: BatchOptions, unreadable: Map<number, number>) {
    this.#partition = partition
    this.#saved = saved
    this.#options = options
    this.#unreadable = unreadable
  }

  get state(): 'active' | 'stopped' {
    return this.#isOver ? 'stopped' : 'active'
  }

  get position(): FetchPosition {
    return this.#saved ?? { offset: 'log-start', leaderEpoch: -1 }
  }

  async process({ cursor, fetchOffset }: FetchedRecords): Promise<ReadOutcome> {
    if (this.#isOver) return 'stop'
    // Only the response that continues what was saved (rule S2).
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
      if (this.#isOver) return 'stop'
    } while (cursor.paused)
    return cursor.corrupt === null ? 'next' : await this.#refetch(cursor.corruptKind, cursor.corrupt, reached, cursor.corruptEnd)
  }

  async dataLost(loss: DataLoss): Promise<ReadOutcome> {
    if (this.#isOver) return 'stop'
    this.#isOver = true
    if (this.#options.dataLost === undefined) throw new DataLostError(this.#partition, loss)
    return await this.#options.dataLost(this.#partition, loss)
  }

  async close(): Promise<void> {
    this.#isOver = true
    await this.#saving
  }

  #end(outcome: ReadOutcome): ReadOutcome {
    this.#isOver = true
    return outcome
  }

  /** Bytes may be damaged on their way. */
  async #refetch(kind: DataLoss['kind'], why: string, from: number, end: number): Promise<ReadOutcome> {
    const { partition } = this.#partition
    if (this.#unreadable.get(partition) === from)
      return await this.dataLost({ kind, message: `offset ${from} cannot be read: ${why}`, from, to: end < 0 ? null : end })
    this.#unreadable.set(partition, from)
    return this.#end('reopen')
  }
}

/** Reports each sentence once, until another one is reported: what fails is tried again many times. */
function reports(report: (message: string) => void): Partial<ReaderObserver> {
  let last = ''
  const say = (message: string) => {
    if (message !== last) report(message)
    last = message
  }
  const sayError = ({ message }: Error) => say(message)
  return {
    waitingForTopic: (topic) => say(`topic ${topic} does not exist yet; reading begins when it does`),
    brokerAway: sayError,
    brokerBack: () => say('Kafka answers again'),
    throttled: sayError,
    membershipLost: sayError,
    mirrorDiffers: (partition, mirrored, position) =>
      say(
        `partition ${partition}: the group committed offset ${mirrored}, the database has ${position}; reading goes on from the database`,
      ),
    groupSeen: ({ reasons }) => {
      if (reasons.length > 0) say(reasons.join('; '))
    },
  }
}
