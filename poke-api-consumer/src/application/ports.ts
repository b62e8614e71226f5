/** What the controller needs of the world. Each port says its duties and what is not its job; one contract suite runs against each implementation. */
import type { DeadLetter } from '../entities/dead-letter.ts'
import type { RecordView, TallySummary } from '../entities/tally.ts'
import type { TypeCounts } from '../entities/type-counts.ts'

/** A partition of one incarnation of a topic. Two topics of the same name made one after the other differ in `topicId` (a UUID). */
export interface TopicPartition {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
}

/** Where reading goes on: the next offset, and the leader epoch of the last batch before it (−1: not known). Rule F1. */
export interface FetchPosition {
  /** The next offset to read, or `log-start` for a partition that was never read. */
  readonly offset: number | 'log-start'
  readonly leaderEpoch: number
}

/** One partition's part of a Fetch response. The bytes are only valid until `count` resolves. */
export interface FetchedRecords {
  /** The offset that was asked for. */
  readonly fetchOffset: number
  /** Stands before the first record of this response; one reusable object. */
  readonly cursor: RecordCursor
  /** Bytes of records in the response. */
  readonly bytes: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
}

/** Why records that were not read can no longer be read, or can no longer be trusted. */
export interface DataLoss {
  readonly kind: 'retention' | 'truncated' | 'recreated' | 'corrupt' | 'compacted'
  /** What happened, with offsets, for a human. */
  readonly message: string
  /** First offset that is lost and first offset after it where reading could go on; null where not known. */
  readonly from: number | null
  readonly to: number | null
}

/** Finds out who reads which partition, fetches from the leaders, and hands over the bytes. It keeps no position of its own beyond what it has fetched. */
export interface RecordSource {
  /**
   * Runs until the signal is aborted, through every failure that can be retried. Resolves after the group was left.
   * @throws where it is hopeless: not authorised, a broker that is too old.
   */
  run(handler: FetchHandler, signal: AbortSignal): Promise<void>
}

/** The controller, as the source sees it. */
export interface FetchHandler {
  /** Called for each partition that this member was handed, and again after a `reopen`. Rejects only where the store is hopeless. */
  open(partition: TopicPartition): Promise<PartitionReader>
}

/** What the source does next with a partition: fetch on; open it anew; or leave it alone until it is handed out again. */
export type ReadOutcome = 'next' | 'reopen' | 'stop'

/** One opened partition. Dead after any outcome but `next`, and after `close`: then every call answers `stop` and changes nothing. */
export interface PartitionReader {
  readonly position: FetchPosition
  /** Stopped already when it was opened (data loss seen by the store): nothing is fetched. */
  readonly stopped: boolean
  /** Counts one response, in the order in which responses were asked for. At most one call at a time. */
  count(fetched: FetchedRecords): Promise<ReadOutcome>
  /** The broker says that records are gone or doubtful. */
  lost(loss: DataLoss): Promise<ReadOutcome>
  /** The partition was taken away, or the source shuts down: waits for the commit under way, counts nothing more. */
  close(): Promise<void>
}

/** Walks the records of a response. Control batches, aborted transactions and records before the fetch offset never show. */
export interface RecordCursor extends RecordView {
  /** Moves to the next record; false at the end, and where `corrupt` says why it cannot go on. */
  next(): boolean
  /** After the walk: the offset after the last whole batch, holes and control batches included (rule F2). */
  readonly nextOffset: number
  /** After the walk: the leader epoch of the last whole batch, −1 if there was none. */
  readonly lastLeaderEpoch: number
  /** After the walk: why the bytes from `nextOffset` on cannot be read, or null. */
  readonly corrupt: string | null
}

export interface PartitionState {
  readonly position: FetchPosition
  /** Proof of ownership: the newest `open` wins, and all commits under older tokens are fenced (rule S1). */
  readonly token: number
  /** The highest sequence seen of each source (rule C3). */
  readonly lastSequences: ReadonlyMap<string, number>
  /** Set where this topic's name is known to the store under another topic id (rule S4). */
  readonly replacedTopicId: string | null
}

/** Everything that one response changed in a partition. */
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
  /** Records added to: counted, duplicate. (Dead letters are `deadLetters.length`.) */
  readonly counted: number
  readonly duplicates: number
}

/** `fenced`: another one opened the partition or moved its position; nothing was changed. */
export type CommitOutcome = 'committed' | 'fenced'

export interface Totals {
  readonly counts: TypeCounts
  /** Rises with every commit of the group. */
  readonly revision: number
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
}

/** Keeps positions and counts of one consumer group, and moves them together or not at all. It never retries and never decides. */
export interface TallyStore {
  open(partition: TopicPartition): Promise<PartitionState>
  commit(change: PartitionChange): Promise<CommitOutcome>
  /** Counts and revision of the whole group in one snapshot. */
  totals(): Promise<Totals>
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

/** A dead letter as the store keeps it. */
export interface KeptDeadLetter extends DeadLetter {
  /** Rises in the order in which dead letters were kept. */
  readonly id: number
  readonly partition: TopicPartition
}

/** Shows the dead letters of the group. */
export interface DeadLetterReader {
  /** At most `limit` dead letters kept before the one with the id `before` (null: before now), newest first. */
  deadLetters(before: number | null, limit: number): Promise<KeptDeadLetter[]>
  /** How many there are, by reason. */
  deadLetterReasons(): Promise<ReadonlyMap<string, number>>
}

/** Replaces the published document: whole, or not at all. */
export interface TypeCountsSink {
  write(counts: TypeCounts): Promise<void>
  /** True where what is published is, byte for byte, what `write(counts)` would publish. */
  matches(counts: TypeCounts): Promise<boolean>
}

/** Hears what happens, for metrics, logs and health. Never called once for each record. Must not throw. */
export interface CountObserver {
  /** The counts of the whole group moved, or were looked at once more at rest. */
  totals(totals: Totals): void
  /** The store answered: whatever was said of it by `storeFailed` is over. */
  opened(partition: TopicPartition, position: FetchPosition): void
  /** What a response came to; said when it is committed, at once where it was empty. */
  counted(partition: TopicPartition, response: CountedResponse): void
  committed(partition: TopicPartition, seconds: number): void
  fenced(partition: TopicPartition): void
  stopped(partition: TopicPartition, loss: DataLoss): void
  /** Records are gone, the gap is recorded, and reading goes on behind it. */
  skipped(partition: TopicPartition, loss: DataLoss): void
  closed(partition: TopicPartition): void
  /** An open or a commit failed; it is tried again. */
  storeFailed(error: Error): void
  fileWritten(): void
  fileFailed(error: Error): void
}

/** What one response came to. */
export interface CountedResponse extends TallySummary {
  /** Bytes of records. */
  readonly bytes: number
  /** The position after this response. */
  readonly position: number
  readonly highWatermark: number
  readonly lastStableOffset: number
}
