/** The header of a record batch (https://kafka.apache.org/documentation/#recordbatch). */

// Positions of the fields, counted from the batch's first byte.
export const LENGTH = 8
export const LEADER_EPOCH = 12
export const MAGIC = 16
export const CRC = 17
export const ATTRIBUTES = 21
export const LAST_OFFSET_DELTA = 23
export const BASE_TIMESTAMP = 27
export const MAX_TIMESTAMP = 35
export const PRODUCER_ID = 43
export const RECORD_COUNT = 57
export const RECORDS = 61
/** Bytes of base offset and length: the length field does not include them. */
export const LOG_OVERHEAD = 12

// Bits of the attributes.
export const CODEC = 0b0000_0111
export const LOG_APPEND_TIME = 0b0000_1000
export const TRANSACTIONAL = 0b0001_0000
export const CONTROL = 0b0010_0000

/** A 64-bit number as a double: offsets and times stay below 2^53. */
export function int64(view: DataView, at: number): number {
  return view.getInt32(at) * 0x1_0000_0000 + view.getUint32(at + 4)
}

/** The position after the batches in [start, end), by their headers alone: so the next request can be sent before the records are read (rule F2). */
export function endOfBatches(
  view: DataView,
  start: number,
  end: number,
  fetchOffset: number,
  lastEpoch: number,
): { readonly offset: number; readonly leaderEpoch: number } {
  let offset = fetchOffset
  let leaderEpoch = lastEpoch
  for (let batch = start; end - batch >= RECORDS; ) {
    const whole = LOG_OVERHEAD + view.getInt32(batch + LENGTH)
    const next = int64(view, batch) + view.getInt32(batch + LAST_OFFSET_DELTA) + 1
    if (whole < RECORDS || whole > end - batch || next <= offset || next > Number.MAX_SAFE_INTEGER) break
    offset = next
    leaderEpoch = view.getInt32(batch + LEADER_EPOCH)
    batch += whole
  }
  return { offset, leaderEpoch }
}
