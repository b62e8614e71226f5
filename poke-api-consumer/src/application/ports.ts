/**
 * The interfaces between the controller and the outside. Each names its duties and what is not its job. One contract suite of test/contract/ runs against
 * each implementation, doubles of tests included; only the reader of interleavings.test.ts runs none, because it dies and hands over stale responses on purpose.
 */
import type { DataLoss, FetchPosition, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { ServiceError } from '@poke-api-pipeline/service-kit'
import type { DeadLetter } from '../entities/dead-letter.ts'
import type { DeadLetterList } from '../entities/dead-letter-list.ts'
import type { Pokemon } from '../entities/pokemon.ts'
import type { CountSummary, TypeCounts } from '../entities/tally.ts'

export interface PartitionState {
  readonly position: FetchPosition
  /** Proves ownership: each `open` gives a new token, and commits with an older one are fenced (rule S1). */
  readonly token: number
  /** The last sequence of each source (rule C3). */
  readonly lastSequences: ReadonlyMap<string, number>
  /** The topic id that the store knows for the topic's name, if it is another one: the topic was deleted and made again (rule S4). */
  readonly replacedTopicId: string | null
}

/** Everything that a batch of responses changes in a partition. */
export interface PartitionChange {
  readonly partition: TopicPartition
  readonly token: number
  /** The store's position must be this one. */
  readonly from: FetchPosition
  /** The store's position afterwards; greater than `from`. */
  readonly to: { readonly offset: number; readonly leaderEpoch: number }
  /** The offset at which reading began. Equal to `from.offset` unless the partition was never read. */
  readonly firstOffset: number
  /** Added to the counts of types. */
  readonly counts: ReadonlyMap<string, number>
  /** The new last sequence of each source whose last sequence rose. */
  readonly lastSequences: ReadonlyMap<string, number>
  readonly deadLetters: readonly DeadLetter[]
  /** The last event that was counted; null if none was. */
  readonly newest: NewestEvent | null
  /** How many records were counted, and how many were duplicates. */
  readonly counted: number
  readonly duplicates: number
  /** Whether this reaches the end of the log. Only then a source without records is known to be silent: before, its records may still be unread (rule C3). */
  readonly caughtUp: boolean
}

/** `fenced`: somebody else opened the partition or moved its position, so nothing was changed. */
export type CommitOutcome = 'committed' | 'fenced'

export interface Totals {
  readonly counts: TypeCounts
  /** Rises with every commit of the group. */
  readonly revision: number
}

/** The event that was counted last, for the page. */
export interface NewestEvent extends Pokemon {
  /** The timestamp of its record, ms since 1970; null if it is outside what `Date` can show. */
  readonly at: number | null
  /** `ce_origin` of its record; null if it has another value or none. */
  readonly origin: 'live' | 'bundled' | null
}

/** A partition as the page and the commands show it. */
export interface PartitionSummary {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly position: FetchPosition
  readonly counted: number
  readonly duplicates: number
  readonly deadLetters: number
  /** The name of the instance that opened it last; null or absent if it is not known. */
  readonly owner?: string | null
  /** The last event that was counted in it, and when it was committed by the store's clock, ms since 1970; absent if it is not known. */
  readonly newest?: { readonly event: NewestEvent; readonly countedAt: number }
}

/** Keeps positions and counts of one consumer group, and changes them together or not at all. Retrying is not its job. */
export interface TallyStore {
  /** Gives a new owner token, so that every other instance that has the partition open is fenced from now on (rule S1). */
  open(partition: TopicPartition): Promise<PartitionState>
  commit(change: PartitionChange): Promise<CommitOutcome>
  /**
   * Counts and revision of the whole group in one snapshot.
   * @param known the result of an earlier call; it is returned if its revision is still current, because there can be very many types
   */
  totals(known?: Totals | null): Promise<Totals>
  partitions(): Promise<PartitionSummary[]>
  close(): Promise<void>
}

/** Records gaps: records that will never be counted because they are gone. So nothing is skipped in silence. */
export interface GapStore {
  /**
   * Records the loss, moves the position behind it and takes a new owner token, so that the partition must be opened again.
   * For a topic that was made again it accepts the new topic id, whose position is its log's start; the counts of the old topic id stay.
   * @returns `fenced` if the store has another token or position by now; then nothing was changed
   */
  recordGap(gap: Gap): Promise<CommitOutcome>
}

export interface Gap {
  readonly partition: TopicPartition
  readonly token: number
  readonly from: FetchPosition
  readonly loss: DataLoss
}

/**
 * The state of a dead letter. `kept`: it is in the store; `published`: it is in the dead-letter topic too; `counted`: a replay has counted it;
 * `purged`: its bytes were deleted; `superseded`: it is from before a reset, and its record was not read again since, so replaying it could count
 * the record a second time.
 */
export type DeadLetterState = 'kept' | 'published' | 'counted' | 'purged' | 'superseded'

/** A dead letter as the store keeps it. */
export interface KeptDeadLetter extends DeadLetter {
  /** Rises in the order in which dead letters were kept. */
  readonly id: number
  readonly partition: TopicPartition
  readonly state: DeadLetterState
}

/** Reads the dead letters of the group that are neither counted nor purged nor superseded. */
export interface DeadLetterReader {
  /**
   * Dead letters kept before the one with the id `before` (null: before now), newest first.
   * @param limit at most this many; fewer where their bytes add up to more than `maxBytes`, but at least one if there is any
   */
  deadLetters(before: number | null, limit: number, maxBytes?: number): Promise<KeptDeadLetter[]>
  /** How many there are, by reason. */
  deadLetterReasons(): Promise<ReadonlyMap<string, number>>
}

/** Stores which dead letters were published, counted or purged. Publishing and decoding them is not its job. */
export interface DeadLetterStore extends DeadLetterReader {
  /**
   * The dead letters of a partition that are to be published next, by offset.
   * @param limit at most this many; fewer where their bytes add up to more than `maxBytes`, but at least one if there is any
   */
  unpublished(partition: TopicPartition, limit: number, maxBytes: number): Promise<KeptDeadLetter[]>
  /** Call it when the dead-letter topic has acknowledged them. Those that were counted or purged meanwhile keep that state. */
  markPublished(ids: readonly number[]): Promise<void>
  /**
   * Counts a dead letter that can be decoded now. Its state and the counts change in one transaction, so that it is counted once, whoever else
   * tries. Position, last sequences and owner of its partition are neither read nor changed.
   * @returns false if it was counted, purged or superseded before; then nothing was changed
   */
  replay(id: number, counts: ReadonlyMap<string, number>): Promise<boolean>
  /**
   * Deletes the bytes of dead letters for good. Their offsets and reasons stay.
   * @param states only those in one of these states
   * @param keptBefore only those stored before this time of the store's clock, ms since 1970
   * @returns how many
   */
  purge(states: readonly DeadLetterState[], keptBefore: number): Promise<number>
}

/** Publishes dead letters for people and other programs. Retrying is not its job. */
export interface DeadLetterTopic {
  /**
   * Resolves when all in-sync replicas have acknowledged every dead letter, in this order within a partition: with its original key, value and
   * headers, and with added headers for the reason, its origin, and an id by which repeats are recognised. A dead letter that is too large for the
   * topic is published without key, value and headers. For each part that is not complete, headers have its original length and hash.
   * @throws ServiceError; then some may be published, and all must be published again
   */
  publish(deadLetters: readonly KeptDeadLetter[]): Promise<void>
  /**
   * Checks, without publishing, whether the topic would accept dead letters. @returns why it would not; null if no reason is known
   * @throws ServiceError if that cannot be checked now
   */
  refused(): Promise<ServiceError | null>
  close(): Promise<void>
}

/** A partition with everything that `verify` compares. */
export interface PartitionSnapshot extends PartitionSummary {
  /** The offset at which reading began; null if nothing was read. */
  readonly firstOffset: number | null
  /** Includes dead letters that replays have counted. */
  readonly counts: TypeCounts
  /** Oldest first. */
  readonly gaps: readonly RecordedGap[]
  /** All dead letters in any state but `superseded`, by offset. */
  readonly deadLetterList: DeadLetterList<DeadLetterState>
}

export interface RecordedGap {
  readonly kind: DataLoss['kind']
  readonly message: string
  readonly from: number | null
  readonly to: number | null
  /** By the store's clock, ms since 1970. */
  readonly recordedAt: number
}

/** Reads one committed state of the whole group, for `verify`. */
export interface SnapshotStore {
  /** By topic, topic id and partition. `counted + duplicates + deadLetters` of a partition are the records that were read. */
  snapshot(): Promise<PartitionSnapshot[]>
}

/** Resets a group, so that it counts from the beginning. */
export interface ResettableStore {
  /**
   * Deletes positions, counts, last sequences and gaps of the whole group, so that everything is counted again from the start of each log.
   * Every partition gets a new owner token, so that instances that have it open are fenced. Dead letters keep their bytes and become `superseded`.
   */
  reset(): Promise<void>
}

/** Publishes the counts as one document, which is replaced completely or not at all. */
export interface TypeCountsSink {
  write(counts: TypeCounts): Promise<void>
  /** Whether the published document has the bytes that `write(counts)` would publish. */
  matches(counts: TypeCounts): Promise<boolean>
}

/** A record has a new type name, and as many names are known already as `TYPE_MAX_COUNT` allows. */
export interface TooManyTypes {
  readonly kind: 'too-many-types'
  /** What happened, with the offset, for a human. */
  readonly message: string
  /** The record's offset. */
  readonly from: number
  readonly to: null
}

/** Why a partition is not counted any further. */
export type StopReason = DataLoss | TooManyTypes

/** Is told about everything that happens, for metrics, logs and health. Never called for each record. Must not throw. */
export interface CountObserver {
  /** All partitions that the group has ever read. Called at the start, and at most once a second while counts change. */
  partitionsSeen(partitions: readonly PartitionSummary[]): void
  /** The counts of the whole group were read. */
  totals(totals: Totals): void
  opened(partition: TopicPartition, position: FetchPosition): void
  /** A response, or a part of a large one, was counted and committed; or an empty response came. */
  counted(partition: TopicPartition, response: CountedResponse): void
  committed(partition: TopicPartition, seconds: number): void
  fenced(partition: TopicPartition): void
  stopped(partition: TopicPartition, reason: StopReason): void
  /** Records are gone. The gap is recorded, and reading goes on behind it. */
  skipped(partition: TopicPartition, loss: DataLoss): void
  closed(partition: TopicPartition): void
  /** The store failed and is retried. Called at each attempt. */
  storeFailed(error: Error): void
  /** Everything that failed in the store works again. */
  storeWorked(): void
  deadLettersPublished(count: number): void
  /** Dead letters stay in the store, and publishing is retried. */
  deadLetterPublishingFailed(error: Error): void
  /** No failed publication is left here. */
  deadLetterPublishingWorked(): void
  fileWritten(): void
  fileFailed(error: Error): void
}

/** A response, or a part of a large one, after it was counted. */
export interface CountedResponse extends CountSummary {
  /** Bytes of records of the whole response; 0 in every part but its last. */
  readonly bytes: number
  /** The position after it. */
  readonly position: number
  readonly highWatermark: number
  readonly lastStableOffset: number
}
