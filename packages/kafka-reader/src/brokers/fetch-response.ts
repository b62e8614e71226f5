/** Fetch, versions 13 to 17 (https://kafka.apache.org/protocol#The_Messages_Fetch): the response is read here, and the bytes of records stay where they are. */
import { fetchV13, fetchV14, fetchV15, fetchV16, fetchV17, type Writer } from '@platformatic/kafka'
import { AbortedTransactions, NONE_ABORTED } from '../records/aborted-transactions.ts'
import { int64 } from '../records/batch-format.ts'

export interface FetchedPartition {
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
  readonly aborted: AbortedTransactions
  readonly preferredReadReplica: number
  /** Where its record batches stand in `bytes` of the response. */
  readonly recordsStart: number
  readonly recordsEnd: number
  /** How many bytes of them were sent behind that, and not taken from the connection. */
  readonly recordsMissing: number
  /** The end of the part of the log that the broker and we have in common; null: all of it. */
  readonly diverging: { readonly leaderEpoch: number; readonly endOffset: number } | null
}

export interface FetchResponse {
  readonly errorCode: number
  readonly throttleMs: number
  readonly bytes: Buffer
  readonly view: DataView
  /** By topic id. */
  readonly topics: ReadonlyMap<string, readonly FetchedPartition[]>
}

export interface FetchLimits {
  /** Bytes in a response, and of one partition in it; a larger batch comes whole. */
  readonly maxBytes: number
  /** How long the broker waits for records, in ms. */
  readonly maxWait: number
  /** The largest batch that is taken whole from the connection, and what it may decompress to, in bytes. Default: 32 MiB. */
  readonly maxBatchBytes?: number
}

export const DEFAULT_MAX_BATCH_BYTES = 32 * 1024 * 1024

/** The first version that names topics by their ids. */
export const OLDEST_FETCH = 13
export const NEWEST_FETCH = 17
const READ_COMMITTED = 1
const NO_SESSION = 0
const NO_EPOCH = -1

/** Requests are written by the client library. */
const REQUESTS = [fetchV13, fetchV14, fetchV15, fetchV16, fetchV17]

/** What a request asks of one partition. */
export interface RequestedPartition {
  readonly partition: number
  /** As the metadata has it: a broker that does not lead any more refuses the request. */
  readonly currentLeaderEpoch: number
  readonly offset: number
  /** The leader epoch of the last batch before that offset: a log that diverged is reported (rule F1). −1: not known. */
  readonly lastEpoch: number
}

/** A request for records that are committed, without a session and without a rack. @param limits how long to wait, in ms, and bytes */
export function fetchRequest(version: number, topicId: string, requested: readonly RequestedPartition[], limits: FetchLimits): Writer {
  const { maxBytes, maxWait } = limits
  const partitions = requested.map(({ partition, currentLeaderEpoch, offset, lastEpoch }) => ({
    partition,
    currentLeaderEpoch,
    fetchOffset: BigInt(offset),
    lastFetchedEpoch: lastEpoch,
    partitionMaxBytes: maxBytes,
  }))
  const request = REQUESTS[version - OLDEST_FETCH]
  if (request === undefined) throw new RangeError(`there is no version ${version} of Fetch here`)
  return request.createRequest(maxWait, 1, maxBytes, READ_COMMITTED, NO_SESSION, NO_EPOCH, [{ topicId, partitions }], [], '')
}

/**
 * @param missing bytes behind `bytes` that were not taken from the connection: the records that they cut off are shown as far as they go,
 * and what would follow them does not show
 * @throws RangeError where the response ends too early
 */
export function readFetchResponse(bytes: Buffer, missing = 0): FetchResponse {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  const skip = (length: number): number => {
    at += length
    return at - length
  }
  const int16 = () => view.getInt16(skip(2))
  const int32 = () => view.getInt32(skip(4))
  const long = () => int64(view, skip(8))
  const unsigned = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = view.getUint8(at++)
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
      if (shift > 28) throw new RangeError('a number in a Fetch response has more than five bytes')
    }
  }
  /** Calls back for each tagged field, and goes on behind it whatever was read. */
  const tags = (each: (tag: number) => void) => {
    for (let count = unsigned(); count > 0; count--) {
      const tag = unsigned()
      const end = unsigned() + at
      each(tag)
      at = end
    }
  }
  const skipTags = () => tags(() => {})

  const throttleMs = int32()
  const errorCode = int16()
  at += 4
  const topics = new Map<string, FetchedPartition[]>()
  for (let topic = unsigned() - 1; topic > 0; topic--) {
    const id = uuid(bytes, at)
    at += 16
    const partitions: FetchedPartition[] = []
    for (let count = unsigned() - 1; count > 0; count--) {
      const partition = int32()
      const partitionError = int16()
      const highWatermark = long()
      const lastStableOffset = long()
      const logStartOffset = long()
      const transactions = []
      for (let aborted = unsigned() - 1; aborted > 0; aborted--) {
        const producerHigh = int32()
        const producerLow = int32()
        transactions.push({ producerHigh, producerLow, firstOffset: long() })
        skipTags()
      }
      const preferredReadReplica = int32()
      const length = Math.max(0, unsigned() - 1)
      const recordsStart = at
      at += length
      const isCutOff = at > bytes.length && at <= bytes.length + missing
      if (at > bytes.length && !isCutOff) throw new RangeError('a Fetch response ends within its records')
      let diverging: FetchedPartition['diverging'] = null
      if (!isCutOff) {
        tags((tag) => {
          if (tag === 0) diverging = { leaderEpoch: int32(), endOffset: long() }
        })
      }
      partitions.push({
        partition,
        errorCode: partitionError,
        highWatermark,
        lastStableOffset,
        logStartOffset,
        aborted: transactions.length === 0 ? NONE_ABORTED : new AbortedTransactions(transactions),
        preferredReadReplica,
        recordsStart,
        recordsEnd: Math.min(recordsStart + length, bytes.length),
        recordsMissing: Math.max(0, recordsStart + length - bytes.length),
        diverging,
      })
      if (isCutOff) return { errorCode, throttleMs, bytes, view, topics: topics.set(id, partitions) }
    }
    skipTags()
    topics.set(id, partitions)
  }
  skipTags()
  if (at > bytes.length) throw new RangeError(`a Fetch response of ${bytes.length} bytes ends too early`)
  return { errorCode, throttleMs, bytes, view, topics }
}

function uuid(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + 16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
