/**
 * What a reader and its user agree on. The reader finds out which partitions to read and fetches their records; its user keeps the positions, and
 * decides what happens to records and to losses.
 */

/** A producer's run that numbers its events. Interned: records in use with the same source have the same object. */
export interface EventSource {
  readonly name: string
}

/**
 * Which headers of a record say that it is an event of a certain type, by which source it was numbered, and its number. A record has an identity
 * if each of the three is there exactly once and well-formed (rule C1).
 */
export interface EventIdentity {
  readonly typeHeader: string
  /** The value of `typeHeader`, byte for byte. */
  readonly expectedType: string
  /** Its value names the source: UTF-8 without NUL. */
  readonly sourceHeader: string
  /** In bytes: a record with a longer source has no identity. */
  readonly maxSourceBytes: number
  /** Its value is a decimal number from 0 to 2^53 − 1, with leading zeros. */
  readonly sequenceHeader: string
  /** How many digits every sequence has; sixteen are read fastest. */
  readonly sequenceDigits: number
}

/** One record where it lies in a response: the bytes, and where its parts begin and end in them. */
export interface RecordView {
  readonly offset: number
  readonly leaderEpoch: number
  /** ms since 1970, exact up to 2^53: a record may carry any 64 bits. */
  readonly timestamp: number
  /** The timestamp with all its bits. Each call allocates a bigint. */
  exactTimestamp(): bigint
  readonly bytes: Buffer
  /** Over `bytes`. */
  readonly view: DataView
  /** −1: the key is null. */
  readonly keyStart: number
  readonly keyEnd: number
  /** −1: the value is null. */
  readonly valueStart: number
  readonly valueEnd: number
  /** Where the headers begin, with their count as a varint, and where they end. */
  readonly headersStart: number
  readonly headersEnd: number
  /** `expected`: every type header has the expected value; `absent`: there is no type header; `foreign`: one of them has another value. */
  readonly eventType: 'expected' | 'absent' | 'foreign'
  /** Null, with sequence −1, if the record has no identity. */
  readonly source: EventSource | null
  readonly sequence: number
}

/** A partition of one incarnation of a topic: topics of the same name that were created one after the other differ in `topicId` (a UUID). */
export interface TopicPartition {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
}

/** Where reading continues (rule F1). */
export interface FetchPosition {
  /** The next offset to read; `log-start` if the partition was never read. */
  readonly offset: number | 'log-start'
  /** Of the last batch before the offset; −1 if it is not known. */
  readonly leaderEpoch: number
}

/** One partition's part of a Fetch response. Its bytes are valid until `process` resolves. */
export interface FetchedRecords {
  /** The offset that was asked for. */
  readonly fetchOffset: number
  /** Stands before the first record of this response. The object is reused for the next one. */
  readonly cursor: RecordCursor
  /** Bytes of records in the response, compressed as they are. */
  readonly bytes: number
  readonly highWatermark: number
  readonly lastStableOffset: number
}

/** Damaged bytes; a batch of more bytes than may be read at once; offsets whose records were removed. */
export type UnreadableKind = 'corrupt' | 'batch-too-large' | 'missing'

/** Why records can no longer be read or trusted, or would take more memory than is allowed. */
export interface DataLoss {
  readonly kind: 'retention' | 'truncated' | 'recreated' | 'compacted' | UnreadableKind
  /** What happened, with offsets, for a human. */
  readonly message: string
  /** The first offset that is lost; null if it is not known. */
  readonly from: number | null
  /** The first offset after the loss at which reading can continue; null if it is not known. */
  readonly to: number | null
}

/** Reads a topic as a member of a consumer group. It keeps no position beyond what it has fetched. */
export interface RecordReader {
  /**
   * Runs until the signal is aborted, and retries every failure that can be retried. Resolves after the member has left the group.
   * @throws KafkaError if retrying cannot help: not authorised, a broker that is too old
   */
  run(handler: PartitionHandler, signal: AbortSignal): Promise<void>
}

/** The reader's user: opens the partitions that the group assigns to this member. */
export interface PartitionHandler {
  /** The group is known to keep its positions in this user's store, so that what the store has may be published. Called any number of times. */
  storeConfirmed?(): void
  /**
   * Called for each partition that the group assigns to this member, and again after the outcome `reopen`.
   * @param signal aborted when the partition is no longer needed
   * @throws if the store cannot be used, or is unreachable when the signal is aborted
   */
  open(partition: TopicPartition, signal: AbortSignal): Promise<PartitionSession>
}

/** What the reader does next with a partition: fetch more; open it again; or not read it until the group assigns it again. */
export type ReadOutcome = 'next' | 'reopen' | 'stop'

/**
 * One opened partition.
 *
 *   active ──fenced, or a commit failed──▶ stale ──`process` or `dataLost` answers `reopen`──▶ (opened again)
 *      └──`process` or `dataLost` answers `stop`, or `close`──▶ stopped
 *
 * A session that is not active changes nothing any more.
 */
export interface PartitionSession {
  readonly position: FetchPosition
  /**
   * `active`: records are fetched and processed. `stale`: the store has another position by now, so that the next response, even an empty one, is
   * handed over and answered with `reopen`. `stopped`: nothing is fetched; a session may be stopped when it is opened.
   */
  readonly state: 'active' | 'stale' | 'stopped'
  /** Processes one response. The reader calls it in the order of its requests, and never before the call before has resolved. */
  process(fetched: FetchedRecords): Promise<ReadOutcome>
  /** Decides what follows from a loss that the broker reported. */
  dataLost(loss: DataLoss): Promise<ReadOutcome>
  /** The partition was assigned to another member, or the reader shuts down. Resolves when everything that was processed is committed or dropped. */
  close(): Promise<void>
}

/** Walks through the records of a response. Control batches, aborted transactions and records before the fetch offset are left out (rule F4). */
export interface RecordCursor extends RecordView {
  /** Moves to the next record. False after the last one, before one that is unreadable (see `corrupt`), and at a pause (see `paused`). */
  next(): boolean
  /** Whether `next` ended only so that other work gets its turn: calling it again continues the walk. */
  readonly paused: boolean
  /** After the walk or at a pause: the offset after the last whole batch, control batches included (rule F2), or after the last record shown. */
  readonly nextOffset: number
  /** After the walk or at a pause: the leader epoch of the last batch before `nextOffset`; −1 if there was none. */
  readonly lastLeaderEpoch: number
  /** Sets `nextOffset` and `lastLeaderEpoch` as if the walk had ended behind the current record. */
  endBehind(): void
  /** Sets `nextOffset` and `lastLeaderEpoch` as if the walk had ended before the current record. */
  endBefore(): void
  /** After the walk: why the offsets from `nextOffset` on cannot be read; null if the walk reached the end. */
  readonly corrupt: string | null
  readonly corruptKind: UnreadableKind
  /** The first offset after the unreadable ones; −1 if a batch's own header cannot be trusted. */
  readonly corruptEnd: number
}

export interface TopicDescription {
  readonly topicId: string
  readonly compacted: boolean
  /** By partition: the first offset that the log has, the one after its last, and the first one that an open transaction holds back. */
  readonly partitions: readonly { readonly logStartOffset: number; readonly endOffset: number; readonly readableEndOffset: number }[]
}
