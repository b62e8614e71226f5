/** What reading a topic asks of whoever it reads for, and what it gives: positions are kept by the other side. */

/** Somebody who numbers events: one run of a producer. Interned: while it is in use, equal names are the same object. */
export interface EventSource {
  readonly name: string
}

/**
 * Which headers of a record say that it is an event of a certain type, by whom it was numbered, and its number. A record has an identity
 * where each of the three is there exactly once and well-formed.
 */
export interface EventIdentity {
  readonly typeHeader: string
  /** The value of `typeHeader`, byte for byte. */
  readonly expectedType: string
  /** Its value names whoever numbers the events: UTF-8 without NUL. */
  readonly sourceHeader: string
  /** In bytes: a record with a longer source has no identity. */
  readonly maxSourceBytes: number
  /** Its value is a decimal number from 0 to 2^53 − 1, with leading zeros. */
  readonly sequenceHeader: string
  /** How many digits every sequence has; sixteen are read fastest. */
  readonly sequenceDigits: number
}

/** One record in place: bytes and where its parts are in them. */
export interface RecordView {
  readonly offset: number
  readonly leaderEpoch: number
  /** ms since 1970, exact up to 2^53: a record may carry any 64 bits. */
  readonly timestamp: number
  /** The same, exact. It is made anew at each call. */
  exactTimestamp(): bigint
  readonly bytes: Buffer
  /** Of the same bytes. */
  readonly view: DataView
  /** −1: null key */
  readonly keyStart: number
  readonly keyEnd: number
  /** −1: null value */
  readonly valueStart: number
  readonly valueEnd: number
  /** Where the record's headers begin, at their count (a varint), and end. */
  readonly headersStart: number
  readonly headersEnd: number
  /** By the type header: `ours`: as expected; `other`: there is none; `unknown`: another type. */
  readonly kind: 'ours' | 'other' | 'unknown'
  /** Both by rule C1; null and −1 where the record has no identity. */
  readonly source: EventSource | null
  readonly sequence: number
}

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
}

/** Bytes that are wrong; a batch with more of them than may be read at once; offsets that have no record any more. */
export type Unread = 'corrupt' | 'batch-too-large' | 'missing'

/** Why records that were not read can no longer be read or trusted, or would take more memory than is given to them. */
export interface DataLoss {
  readonly kind: 'retention' | 'truncated' | 'recreated' | Unread | 'compacted'
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
  /** The group is known to count into this store: what the store has may be published, though no partition is read here. Called any number of times. */
  storeIsGroups(): void
  /**
   * Called for each partition that this member was handed, and again after a `reopen`.
   * @param signal aborted when the partition is not needed any more
   * @throws where the store is hopeless, or is away when the signal is aborted
   */
  open(partition: TopicPartition, signal: AbortSignal): Promise<PartitionReader>
}

/** What the source does next with a partition: fetch on; open it anew; or leave it alone until it is handed out again. */
export type ReadOutcome = 'next' | 'reopen' | 'stop'

/** One opened partition. Dead after any outcome but `next`, and after `close`: then every call answers `stop` and changes nothing. */
export interface PartitionReader {
  readonly position: FetchPosition
  /** Stopped already when it was opened (data loss seen by the store): nothing is fetched. */
  readonly stopped: boolean
  /** The store has moved on without it: the next response, an empty one too, must be handed over, and ends it. */
  readonly outdated: boolean
  /** Counts one response, in the order in which responses were asked for. At most one call at a time. */
  count(fetched: FetchedRecords): Promise<ReadOutcome>
  /** The broker says that records are gone or doubtful. */
  lost(loss: DataLoss): Promise<ReadOutcome>
  /** The partition was taken away, or the source shuts down: waits until what was counted is committed, counts nothing more. */
  close(): Promise<void>
}

/** Walks the records of a response. Control batches, aborted transactions and records before the fetch offset never show. */
export interface RecordCursor extends RecordView {
  /** Moves to the next record; false at the end, where `corrupt` says why it cannot go on, and where it has `paused`. */
  next(): boolean
  /** Whether there may be more, and calling `next` again goes on: so much was read that others should have their turn first. */
  readonly paused: boolean
  /** After the walk, or at a pause: the offset after the last whole batch, control batches included (rule F2), or after the last record. */
  readonly nextOffset: number
  /** Then: the leader epoch of the last batch before it, −1 if there was none. */
  readonly lastLeaderEpoch: number
  /** The two are then what they would be if the walk had ended with the record that it stands on, or with the one before it. */
  endBehind(): void
  endBefore(): void
  /** After the walk: why the offsets from `nextOffset` on cannot be read, or null. */
  readonly corrupt: string | null
  readonly corruptKind: Unread
  /** Then: the offset after those that cannot be read, or −1 where a batch's own head is not to be believed. */
  readonly corruptEnd: number
}

/** Reads a topic anew, apart from any group. */
export interface TopicReader {
  /** What of the topic can be read now. @throws where it does not exist or cannot be reached */
  describe(): Promise<TopicDescription>
  /**
   * Walks the records in [from, to) of a partition, in order; control batches and aborted transactions do not show.
   * @param progress the offset reached, after each response
   * @param missing offsets [from, to) that have no record any more, each once, among the records; reading goes on behind them
   * @returns null; or, in a sentence, why they cannot be read to the end: they are gone, or damaged
   * @throws where nobody answers
   */
  read(
    partition: number,
    from: number,
    to: number,
    each: (record: RecordView) => void,
    progress: (offset: number) => void,
    missing?: (from: number, to: number) => void,
  ): Promise<string | null>
}

export interface TopicDescription {
  readonly topicId: string
  readonly compacted: boolean
  /** By partition: the first offset that is still there, the one after the last, and the first one that an open transaction holds back. */
  readonly partitions: readonly { readonly logStartOffset: number; readonly endOffset: number; readonly readableEndOffset: number }[]
}
