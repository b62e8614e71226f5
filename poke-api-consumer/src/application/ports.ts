/** What the controller needs of the world. Each port says its duties and what is not its job; one contract suite runs against each implementation. */

import type { DataLoss, FetchPosition, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { ServiceError } from '@poke-api-pipeline/service-kit'
import type { DeadLetter } from '../entities/dead-letter.ts'
import type { DeadLetterList } from '../entities/dead-letter-list.ts'
import type { Pokemon } from '../entities/pokemon.ts'
import type { CountSummary, TypeCounts } from '../entities/tally.ts'

export interface PartitionState {
  readonly position: FetchPosition
  /** Proof of ownership: the newest `open` wins, and all commits under older tokens are fenced (rule S1). */
  readonly token: number
  /** The highest sequence seen of each source (rule C3). */
  readonly lastSequences: ReadonlyMap<string, number>
  /** Set where this topic's name is known to the store under another topic id (rule S4). */
  readonly replacedTopicId: string | null
}

/** Everything that one response changed in a partition, or a few that followed each other. */
export interface PartitionChange {
  readonly partition: TopicPartition
  readonly token: number
  /** The position must still be here… */
  readonly from: FetchPosition
  /** …and moves to here; beyond `from`. */
  readonly to: { readonly offset: number; readonly leaderEpoch: number }
  /** The offset reading began at, for a partition that was never read; otherwise equal to `from.offset`. */
  readonly firstOffset: number
  /** What is added to the counts of types. */
  readonly counts: ReadonlyMap<string, number>
  /** The sources whose last sequence changed, and their new last sequences. */
  readonly lastSequences: ReadonlyMap<string, number>
  readonly deadLetters: readonly DeadLetter[]
  /** The event counted last by this; null where none was. */
  readonly newest: NewestEvent | null
  /** Records added to: counted, duplicate. (Dead letters are `deadLetters.length`.) */
  readonly counted: number
  readonly duplicates: number
  /**
   * Whether everything that the log had is counted by this. Only then a source that was not heard of is silent: before, what it sent while nobody
   * counted may still be unread (rule C3).
   */
  readonly caughtUp: boolean
}

/** `fenced`: another one opened the partition or moved its position; nothing was changed. */
export type CommitOutcome = 'committed' | 'fenced'

export interface Totals {
  readonly counts: TypeCounts
  /** Rises with every commit of the group. */
  readonly revision: number
}

/** The event that was counted last, for people to see. */
export interface NewestEvent extends Pokemon {
  /** The timestamp of its record, ms since 1970; null where no clock can show it. */
  readonly at: number | null
  /** What its `ce_origin` says; null where it says nothing that we know. */
  readonly origin: 'live' | 'bundled' | null
}

/** One partition as operators see it. */
export interface PartitionSummary {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly position: FetchPosition
  readonly counted: number
  readonly duplicates: number
  readonly deadLetters: number
  /** The instance that opened it last, by the name the store was given; null or absent where it is not known. */
  readonly owner?: string | null
  /** The event counted last in it, and when that was committed, by the store's clock, ms since 1970; absent where it is not known. */
  readonly newest?: { readonly event: NewestEvent; readonly countedAt: number }
}

/** Keeps positions and counts of one consumer group, and moves them together or not at all. It never retries and never decides. */
export interface TallyStore {
  /** Takes a new owner token, so that everybody else who has the partition open is fenced from now on (rule S1). */
  open(partition: TopicPartition): Promise<PartitionState>
  commit(change: PartitionChange): Promise<CommitOutcome>
  /**
   * Counts and revision of the whole group in one snapshot.
   * @param known those of before, which are given back where the revision is still theirs: there may be very many types
   */
  totals(known?: Totals | null): Promise<Totals>
  partitions(): Promise<PartitionSummary[]>
  close(): Promise<void>
}

/** Records that will not be counted because they are gone: recorded, so that nothing is skipped in silence. */
export interface GapStore {
  /**
   * Records the loss, moves the position behind it and takes a new owner token, so that the partition must be opened again.
   * For a topic that was made again, the new topic id is accepted instead and starts at its log's start; the old one's counts stay.
   * @returns `fenced` where the token or the position is not the store's any more; nothing was changed
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
 * What became of a dead letter. `kept`: in the store alone; `published`: in the dead-letter topic too; `counted`: by a replay; `purged`: its
 * bytes were dropped; `superseded`: kept before a reset, and not met again since: replaying it could count its record a second time.
 */
export type DeadLetterState = 'kept' | 'published' | 'counted' | 'purged' | 'superseded'

/** A dead letter as the store keeps it. */
export interface KeptDeadLetter extends DeadLetter {
  /** Rises in the order in which dead letters were kept. */
  readonly id: number
  readonly partition: TopicPartition
  readonly state: DeadLetterState
}

/** Shows the dead letters of the group: those that are neither counted nor purged nor superseded. */
export interface DeadLetterReader {
  /**
   * Dead letters kept before the one with the id `before` (null: before now), newest first.
   * @param limit at most this many; fewer where their bytes add up to more than `maxBytes`, but at least one if there is any
   */
  deadLetters(before: number | null, limit: number, maxBytes?: number): Promise<KeptDeadLetter[]>
  /** How many there are, by reason. */
  deadLetterReasons(): Promise<ReadonlyMap<string, number>>
}

/** Brings dead letters to their end. Publishing and decoding are not its job: it remembers what was done, each thing once. */
export interface DeadLetterStore extends DeadLetterReader {
  /**
   * The dead letters of a partition that are to be published next, by offset.
   * @param limit at most this many; fewer where their bytes add up to more than `maxBytes`, but at least one if there is any
   */
  unpublished(partition: TopicPartition, limit: number, maxBytes: number): Promise<KeptDeadLetter[]>
  /** The dead-letter topic has acknowledged them. Those that were counted or purged meanwhile stay so. */
  markPublished(ids: readonly number[]): Promise<void>
  /**
   * Counts a dead letter that can be counted now: its state and the counts move together, once, whoever else tries. Position, last
   * sequences and owner of its partition are neither read nor moved.
   * @returns false where it was counted, purged or superseded before; nothing was changed
   */
  replay(id: number, counts: ReadonlyMap<string, number>): Promise<boolean>
  /**
   * Drops the bytes of dead letters for good; what remains of them is where they were, and why.
   * @param states only of those in one of these states
   * @param keptBefore only of those kept before this time of the store's clock, ms since 1970
   * @returns how many
   */
  purge(states: readonly DeadLetterState[], keptBefore: number): Promise<number>
}

/** Where dead letters are published for people and programs to look at. It retries nothing and keeps nothing. */
export interface DeadLetterTopic {
  /**
   * Resolves when every letter is acknowledged by all in-sync replicas, in this order within a partition: original key, value and headers, and
   * in headers of its own the reason, where it was, and an id that tells repeats apart. A letter that the topic refuses for its size is
   * published as a stub without key, value and headers. Headers say of each part that is not whole how long it was, and its hash.
   * @throws KafkaError; then some may be published, and all must be published again
   */
  publish(letters: readonly KeptDeadLetter[]): Promise<void>
  /**
   * What would keep letters from being published, found out without publishing any; null where nothing is known that would.
   * @throws KafkaError where that cannot be found out now
   */
  refused(): Promise<ServiceError | null>
  close(): Promise<void>
}

/** One partition with everything that counting it anew must come to. */
export interface PartitionSnapshot extends PartitionSummary {
  /** The offset reading began at; null where nothing was read. */
  readonly firstOffset: number | null
  /** With those that were added by replays. */
  readonly counts: TypeCounts
  /** Oldest first. */
  readonly gaps: readonly RecordedGap[]
  /** Every dead letter, whatever became of it, but for the superseded ones; by offset. */
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

/** Shows one committed state of the whole group, for `verify`. */
export interface SnapshotStore {
  /** By topic, topic id and partition. `counted + duplicates + deadLetters` of a partition are the records that were read. */
  snapshot(): Promise<PartitionSnapshot[]>
}

/** Begins again. */
export interface ResettableStore {
  /**
   * Forgets positions, counts, last sequences and gaps of the whole group, so that everything is counted anew from each log's start.
   * Every partition takes a new owner token: who has it open is fenced. Dead letters keep their bytes and are superseded.
   */
  reset(): Promise<void>
}

/** Replaces the published document: whole, or not at all. */
export interface TypeCountsSink {
  write(counts: TypeCounts): Promise<void>
  /** True where what is published is, byte for byte, what `write(counts)` would publish. */
  matches(counts: TypeCounts): Promise<boolean>
}

/** A record has a type name that is new where as many are known as `TYPE_MAX_COUNT` allows. */
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

/** Hears what happens, for metrics, logs and health. Never called once for each record. Must not throw. */
export interface CountObserver {
  /** All partitions that the group has ever read: at the start, and at most once a second while its counts move. */
  partitionsSeen(partitions: readonly PartitionSummary[]): void
  /** The counts of the whole group moved, or were looked at once more at rest. */
  totals(totals: Totals): void
  opened(partition: TopicPartition, position: FetchPosition): void
  /** What a response came to; said when it is committed, at once where it was empty. */
  counted(partition: TopicPartition, response: CountedResponse): void
  committed(partition: TopicPartition, seconds: number): void
  fenced(partition: TopicPartition): void
  stopped(partition: TopicPartition, reason: StopReason): void
  /** Records are gone, the gap is recorded, and reading goes on behind it. */
  skipped(partition: TopicPartition, loss: DataLoss): void
  closed(partition: TopicPartition): void
  /** The store failed; it is tried again. Said at each attempt. */
  storeFailed(error: Error): void
  /** Everything that it failed at works again. */
  storeWorked(): void
  deadLettersPublished(letters: number): void
  /** They stay in the store; it is tried again. */
  deadLetterPublishingFailed(error: Error): void
  /** Nothing is left here of what could not be published. */
  deadLetterPublishingWorked(): void
  fileWritten(): void
  fileFailed(error: Error): void
}

/** What one response came to. */
export interface CountedResponse extends CountSummary {
  /** Bytes of records. */
  readonly bytes: number
  /** The position after this response. */
  readonly position: number
  readonly highWatermark: number
  readonly lastStableOffset: number
}
