/**
 * Reads the record batches of one partition in place, in the buffer of the Fetch response.
 *
 * The cursor shows all records of a batch or none of them: before it shows the first one, it compares the checksum and parses every record up to
 * its last header. It keeps what it finds in columns, a row of numbers for each record, so each byte is read once and nothing is allocated for a
 * record.
 *
 * Formats: https://kafka.apache.org/documentation/#recordbatch, #record, #recordheader, #controlbatch. The checksum does not cover the offset and
 * the leader epoch of a batch; the only check of them is that offsets rise from batch to batch.
 */
import { crc32c } from '@node-rs/crc32'
import type { EventSource, RecordCursor, UnreadableKind } from '../ports.ts'
import { type AbortedTransactions, NONE_ABORTED } from './aborted-transactions.ts'
import {
  ATTRIBUTES,
  BASE_TIMESTAMP,
  CODEC,
  CONTROL,
  CRC,
  int64,
  LAST_OFFSET_DELTA,
  LEADER_EPOCH,
  LENGTH,
  LOG_APPEND_TIME,
  LOG_OVERHEAD,
  MAGIC,
  MAX_TIMESTAMP,
  PRODUCER_ID,
  RECORD_COUNT,
  RECORDS,
  TRANSACTIONAL,
} from './batch-format.ts'
import { type Decompressor, TOO_LARGE } from './decompress.ts'
import { HeaderShape } from './header-shape.ts'
import { type IdentityHeaders, NO_HEADER, SEQUENCE_HEADER, SOURCE_HEADER } from './identity-headers.ts'

/** The type of a control record that aborts its transaction. */
const ABORT = 0

/** The bytes of the smallest record: attributes, two deltas, two lengths and the number of headers take one byte each. */
const SMALLEST_RECORD = 6
/** The most records that have a row at the same time. A larger batch is parsed once to check it, and then again in pieces. */
const MOST_ROWS = 16_384
const FIRST_ROWS = 1024
/** The cursor pauses after this much work, which takes a quarter of a second at the slowest. */
const WORK_BETWEEN_PAUSES = 16 * 1024 * 1024
/** The unit of work is a byte of records; each record counts as this many more. */
const WORK_OF_RECORD = 64

/** Headers up to an identity are compared with those of the record before if they have at most so many words of eight bytes. */
const MAX_PREFIX_WORDS = 128
/** How often the shape of headers is learned while rows are made: records whose shapes alternate are parsed as quickly. */
const MAX_LESSONS = 4

// The columns of places: where the parts of a record begin and end in the bytes.
/** The timestamp. Offset and key follow it, and are parsed only when they are asked for. */
const BODY = 0
const VALUE_START = 1
const VALUE_END = 2
const HEADERS_START = 3
const HEADERS_END = 4
const OFFSET_DELTA = 5
const EVENT_TYPE = 6
/** The places of a row, a power of two. */
const PLACES = 8
// The columns of numbers that need up to 53 bits.
const TIMESTAMP = 0
const SEQUENCE = 1
const NUMBERS = 2

const EVENT_TYPES = ['absent', 'expected', 'foreign'] as const
const ABSENT = 0
const EXPECTED = 1
const FOREIGN = 2

/** The bytes of a cursor that is not on a record. */
const NO_BYTES = Buffer.alloc(0)
const NO_VIEW = viewOf(NO_BYTES)

/**
 * `reset` gives the cursor a response; `next` moves it to the next record and returns true, or returns false where the walk stops.
 *
 *   reset ──▶ before a batch ◀──last record shown── on a record ──enough work──▶ paused (the next `next` goes on)
 *                 ├──batch checked and read through──▶ on its first record
 *                 ├──enough work──▶ paused
 *                 ├──no whole batch left──▶ at the end (the response is released)
 *                 └──batch damaged, too large, or offsets missing──▶ corrupt (`corrupt` says why; only `reset` leaves this state)
 */
export class BatchCursor implements RecordCursor {
  // V8 chooses the layout of a field by its first value. A field that can need more than 32 bits begins as NaN: if it began as a small integer, the
  // first large one would change the layout, and V8 would discard all code that it had optimised by then.
  offset = Number.NaN
  leaderEpoch = -1
  timestamp = Number.NaN
  bytes: Buffer = NO_BYTES
  view: DataView = NO_VIEW
  valueStart = -1
  valueEnd = -1
  headersStart = 0
  headersEnd = 0
  eventType: (typeof EVENT_TYPES)[number] = 'absent'
  source: EventSource | null = null
  sequence = Number.NaN
  nextOffset = Number.NaN
  lastLeaderEpoch = -1
  corrupt: string | null = null
  corruptKind: UnreadableKind = 'corrupt'
  corruptEnd = Number.NaN
  paused = false

  readonly #decompressor: Decompressor
  readonly #identity: IdentityHeaders
  readonly #workBetweenPauses: number
  readonly #onHole: ((from: number, to: number) => void) | null

  // The response: the batches of this partition end at #end, and the next one to enter begins at #nextBatch.
  #response: Buffer = this.bytes
  #responseView: DataView = this.view
  #nextBatch = 0
  #end = 0
  #missing = 0
  #fetchOffset = Number.NaN
  #aborted: AbortedTransactions = NONE_ABORTED

  // The entered batch. The next offset and the epoch become those of the cursor when it leaves the batch.
  #batchNextOffset = Number.NaN
  #batchEpoch = -1
  #baseOffset = Number.NaN
  #lastOffsetDelta = 0
  /**
   * The batch has a record for each of its offsets, as every batch has when a broker appends it. Then the offset of a record follows from its
   * place. The offsets written in the records are not used: brokers compare only the number of records with the last offset, so a producer can
   * write anything in between.
   */
  #isDense = false
  #baseTimestamp = Number.NaN
  /** The timestamp of all records, if the broker set it when it appended the batch. */
  #appendTime = Number.NaN
  #hasAppendTime = false
  /** Where the batch begins in the response. */
  #batch = 0

  // The records of the batch, in `bytes`: the next one to parse begins at #at, and #left of them are not parsed yet.
  #at = 0
  #recordsEnd = 0
  #left = 0
  #lastDelta = -1
  /** The number of records that were shown from earlier rows. */
  #shown = 0
  /** In a batch that is not dense: the offset delta of the next record if none is missing. */
  #expectedDelta = 0
  /** The missing offsets behind the present rows, at which the cursor stops; −1: none. */
  #holeFrom = -1
  #holeTo = -1
  /** The work since the last pause. */
  #work = 0

  // The rows of parsed records: the next one to show, and how many there are.
  #row = 0
  #rows = 0
  #places = new Int32Array(FIRST_ROWS * PLACES)
  #numbers = new Float64Array(FIRST_ROWS * NUMBERS)
  #sources: (EventSource | null)[] = new Array(FIRST_ROWS).fill(null)
  readonly #prefix = new Float64Array(MAX_PREFIX_WORDS)
  readonly #shape = new HeaderShape()

  /**
   * @param decompressor may be shared with other cursors
   * @param identity shared by all cursors whose records are processed together
   * @param workBetweenPauses the cursor pauses after so many bytes of records, where each record counts as 64 more
   * @param onHole called with offsets that have no record, [from, to), which the cursor then skips; null: the cursor stops there
   */
  constructor(
    decompressor: Decompressor,
    identity: IdentityHeaders,
    workBetweenPauses = WORK_BETWEEN_PAUSES,
    onHole: ((from: number, to: number) => void) | null = null,
  ) {
    this.#decompressor = decompressor
    this.#identity = identity
    this.#workBetweenPauses = workBetweenPauses
    this.#onHole = onHole
  }

  /**
   * Moves the cursor before the first record of a response.
   * @param start where the partition's batches begin
   * @param end where they end; the last one can be cut off there
   * @param aborted the aborted transactions that the response lists for the partition
   * @param missing how many bytes of batches the broker sent behind `end` that the connection did not keep
   */
  reset(response: Buffer, start: number, end: number, fetchOffset: number, aborted: AbortedTransactions, missing = 0): this {
    if (response !== this.#response) {
      this.#response = response
      this.#responseView = viewOf(response)
    }
    this.#nextBatch = start
    this.#end = end
    this.#missing = missing
    this.#fetchOffset = fetchOffset
    this.#aborted = aborted.restart()
    this.#batchNextOffset = fetchOffset
    this.#batchEpoch = -1
    this.#left = 0
    this.#row = 0
    this.#rows = 0
    this.#holeFrom = -1
    this.nextOffset = fetchOffset
    this.lastLeaderEpoch = -1
    this.corrupt = null
    this.corruptKind = 'corrupt'
    this.corruptEnd = -1
    this.paused = false
    this.#work = 0
    return this
  }

  next(): boolean {
    if (this.#row === this.#rows && !this.#refill()) return false
    const row = this.#row++
    const places = this.#places
    const place = row * PLACES
    this.offset = this.#baseOffset + (places[place + OFFSET_DELTA] as number)
    this.valueStart = places[place + VALUE_START] as number
    this.valueEnd = places[place + VALUE_END] as number
    this.headersStart = places[place + HEADERS_START] as number
    this.headersEnd = places[place + HEADERS_END] as number
    this.eventType = EVENT_TYPES[places[place + EVENT_TYPE] as number] as (typeof EVENT_TYPES)[number]
    this.timestamp = this.#numbers[row * NUMBERS + TIMESTAMP] as number
    this.sequence = this.#numbers[row * NUMBERS + SEQUENCE] as number
    this.source = this.#sources[row] as EventSource | null
    return true
  }

  get keyStart(): number {
    const at = this.#keyLengthAt
    return signed(varint(this.bytes, at)) < 0 ? -1 : afterNumber(this.bytes, at)
  }

  get keyEnd(): number {
    const at = this.#keyLengthAt
    const length = signed(varint(this.bytes, at))
    return length < 0 ? -1 : afterNumber(this.bytes, at) + length
  }

  exactTimestamp(): bigint {
    return this.#hasAppendTime ? this.#responseView.getBigInt64(this.#batch + MAX_TIMESTAMP) : this.#createTime(this.#bodyAt)
  }

  /** The exact time of the record whose timestamp delta begins at `body`. The sum wraps at 64 bits, as in the Java client. */
  #createTime(body: number): bigint {
    return BigInt.asIntN(64, this.#responseView.getBigInt64(this.#batch + BASE_TIMESTAMP) + varlong(this.bytes, body))
  }

  get #bodyAt(): number {
    return this.#places[(this.#row - 1) * PLACES + BODY] as number
  }

  get #keyLengthAt(): number {
    return afterNumber(this.bytes, afterNumber(this.bytes, this.#bodyAt))
  }

  endBehind(): void {
    this.nextOffset = this.offset + 1
    this.lastLeaderEpoch = this.leaderEpoch
  }

  endBefore(): void {
    // Before the first record of a batch the position is the end of the batch before, which is set already.
    if (this.#shown + this.#row === 1) return
    this.nextOffset = this.offset
    this.lastLeaderEpoch = this.leaderEpoch
  }

  /** Parses until there is a row. @returns false if no record is left, or if it is time for a pause */
  #refill(): boolean {
    this.paused = false
    while (this.#row === this.#rows) {
      if (this.#isTired()) return false
      if (!this.#advance()) {
        this.#letGo()
        return false
      }
    }
    return true
  }

  /** Pauses if enough work was done: between two batches, or within a batch of which records were shown. */
  #isTired(): boolean {
    if (this.#work < this.#workBetweenPauses || this.corrupt !== null || this.#holeFrom >= 0) return false
    if (this.#left === 0) {
      this.#leaveBatch()
      this.bytes = NO_BYTES
      this.view = NO_VIEW
    } else if (this.#shown + this.#rows > 0) this.endBehind()
    else return false
    this.#work = 0
    this.paused = true
    return true
  }

  /** Releases the response, so that its memory can be reused while this cursor waits for the next one. */
  #letGo(): void {
    this.#nextBatch = this.#end
    this.bytes = NO_BYTES
    this.view = NO_VIEW
    this.#response = NO_BYTES
    this.#responseView = NO_VIEW
  }

  #leaveBatch(): void {
    this.nextOffset = this.#batchNextOffset
    this.lastLeaderEpoch = this.#batchEpoch
  }

  /** Parses the next records or enters the next batch. @returns false at the end; true does not promise a row, because a batch can show no record */
  #advance(): boolean {
    if (this.corrupt !== null) return false
    if (this.#holeFrom >= 0) return this.#refuseHole()
    if (this.#left === 0) return this.#enterBatch()
    // The whole batch was checked when it was entered, so parsing cannot fail here.
    this.#shown += this.#rows
    this.#readRecords()
    this.#work += this.#rows * WORK_OF_RECORD
    if (!this.#isDense) this.#findHoles()
    return true
  }

  /**
   * Looks for offsets without a record among the rows of a batch that has fewer records than offsets. Only compaction removes records from within a
   * log: brokers refuse to append a batch whose number of records is not its number of offsets, and the markers and records of an aborted
   * transaction stay in the log.
   */
  #findHoles(): void {
    const places = this.#places
    const base = this.#baseOffset
    let expected = this.#expectedDelta
    for (let row = 0; row < this.#rows; row++) {
      const delta = places[row * PLACES + OFFSET_DELTA] as number
      if (delta > expected && this.#endsAtHole(base + expected, base + delta)) {
        this.#rows = row
        this.#left = 0
        return
      }
      expected = delta + 1
    }
    this.#expectedDelta = expected
    if (this.#left === 0 && expected <= this.#lastOffsetDelta) this.#endsAtHole(base + expected, base + this.#lastOffsetDelta + 1)
  }

  /** Handles offsets [from, to) that have no record. @returns whether the cursor stops there */
  #endsAtHole(from: number, to: number): boolean {
    if (this.#onHole !== null) {
      this.#onHole(from, to)
      return false
    }
    this.#holeFrom = from
    this.#holeTo = to
    return true
  }

  /** Stops at the missing offsets, after all records before them were shown. */
  #refuseHole(): boolean {
    // If the batch showed no record, the position is the end of the batch before, which is set already.
    if (this.#shown + this.#rows > 0 && this.#holeFrom > this.#baseOffset) {
      this.nextOffset = this.#holeFrom
      this.lastLeaderEpoch = this.#batchEpoch
    }
    this.corruptKind = 'missing'
    return this.#refuse('they have no record', this.#holeTo)
  }

  /** Leaves the entered batch, checks the next one as a whole and enters it. @returns false if there is none, or it cannot be read */
  #enterBatch(): boolean {
    this.#leaveBatch()
    const view = this.#responseView
    const batch = this.#nextBatch
    const room = this.#end - batch
    if (room < RECORDS) return this.#cutOff(room)
    const offset = int64(view, batch)
    const length = view.getInt32(batch + LENGTH)
    if (length < RECORDS - LOG_OVERHEAD) return this.#refuse(`the batch at offset ${offset} says that it has ${length} bytes`)
    const isLarge = length + LOG_OVERHEAD > this.#decompressor.maxBytes
    const end = batch + LOG_OVERHEAD + length
    if (end > this.#end) {
      // The broker sent the whole batch, but the connection kept only its beginning. It is too large, whether or not it is damaged.
      const isLeftOut = isLarge && this.#isFirst && end <= this.#end + this.#missing
      return isLeftOut
        ? this.#refuseLarge(`the batch at offset ${offset} has ${length + LOG_OVERHEAD} bytes, more`, batch, end)
        : this.#cutOff(room)
    }
    const magic = view.getInt8(batch + MAGIC)
    if (magic !== 2) return this.#refuse(`the batch at offset ${offset} has the format ${magic}; only 2 is read, Kafka's since 0.11`)
    if (crc32c(this.#response.subarray(batch + ATTRIBUTES, end)) !== view.getUint32(batch + CRC)) {
      return this.#refuse(`the checksum of the batch at offset ${offset} does not match its bytes`, this.#endByItsHead(batch, end))
    }
    if (isLarge) return this.#refuseLarge(`the batch at offset ${offset} has ${length + LOG_OVERHEAD} bytes, more`, batch, end)
    const lastOffsetDelta = view.getInt32(batch + LAST_OFFSET_DELTA)
    const nextOffset = offset + lastOffsetDelta + 1
    const follows = this.#isFirst ? nextOffset > this.#fetchOffset : offset >= this.nextOffset
    if (!follows || offset < 0 || lastOffsetDelta < 0 || nextOffset > Number.MAX_SAFE_INTEGER) {
      return this.#refuse(`a batch of the offsets ${offset} to ${nextOffset - 1} stands where ${this.nextOffset} is expected`)
    }
    if (offset > this.nextOffset && this.#endsAtHole(this.nextOffset, offset)) {
      this.#shown = 0
      this.#rows = 0
      this.#row = 0
      return this.#refuseHole()
    }
    const epoch = view.getInt32(batch + LEADER_EPOCH)
    const attributes = view.getInt16(batch + ATTRIBUTES)
    this.#baseOffset = offset
    this.#lastOffsetDelta = lastOffsetDelta
    this.#baseTimestamp = int64(view, batch + BASE_TIMESTAMP)
    this.#hasAppendTime = (attributes & LOG_APPEND_TIME) !== 0
    this.#appendTime = int64(view, batch + MAX_TIMESTAMP)
    this.#batch = batch
    const isHidden = this.#isHidden(batch, end, attributes, nextOffset - 1)
    const fault = isHidden ? null : this.#openRecords(batch, end, attributes & CODEC)
    if (fault === TOO_LARGE) return this.#refuseLarge(`the batch at offset ${offset} decompresses to more bytes`, batch, end)
    if (fault !== null) {
      this.#rows = this.#row
      this.#left = 0
      return this.#refuse(`the batch at offset ${offset} is intact by its checksum, but has ${fault}`, this.#endByItsHead(batch, end))
    }
    this.leaderEpoch = epoch
    this.#nextBatch = end
    this.#batchNextOffset = nextOffset
    this.#batchEpoch = epoch
    if (!this.#isDense && !isHidden) this.#findHoles()
    return true
  }

  /**
   * The bytes end within a batch. Brokers cut off the last batch at the requested size, but send the first one whole, however large it is. So a
   * first batch that is cut off is damaged: without this check, it would be fetched again for ever.
   */
  #cutOff(room: number): boolean {
    if (room === 0 || !this.#isFirst) return false
    return this.#refuse(`the batch at offset ${this.#fetchOffset} is cut off after ${room} bytes`)
  }

  /** Whether the cursor has entered no batch of this response yet. */
  get #isFirst(): boolean {
    return this.#batchNextOffset === this.#fetchOffset
  }

  /** @param end the offset after the refused batch or offsets; −1: unknown */
  #refuse(why: string, end = -1): boolean {
    this.corrupt = why
    this.corruptEnd = end
    return false
  }

  /** @param what names the batch and its size */
  #refuseLarge(what: string, batch: number, end: number): boolean {
    this.corruptKind = 'batch-too-large'
    return this.#refuse(`${what} than BATCH_MAX_BYTES allows, which is ${this.#decompressor.maxBytes}`, this.#endByItsHead(batch, end))
  }

  /**
   * The offset after a batch that cannot be read, or −1 if it is unknown. The head can be damaged too, so it must agree with itself and with the
   * next batch: brokers append batches without missing offsets, so the number of records must fit the last offset, and the next batch in the
   * response must begin right behind it.
   */
  #endByItsHead(batch: number, end: number): number {
    const view = this.#responseView
    const first = int64(view, batch)
    const last = first + view.getInt32(batch + LAST_OFFSET_DELTA)
    const count = view.getInt32(batch + RECORD_COUNT)
    const isConsistent = first <= this.nextOffset && last >= this.nextOffset && last - first + 1 === count
    const isFollowed = this.#end - end < LENGTH || int64(view, end) === last + 1
    return isConsistent && isFollowed ? last + 1 : -1
  }

  /** Whether the batch shows no records: a control batch, or one of an aborted transaction. */
  #isHidden(batch: number, end: number, attributes: number, lastOffset: number): boolean {
    if ((attributes & (TRANSACTIONAL | CONTROL)) === 0) return false
    const view = this.#responseView
    const producerHigh = view.getInt32(batch + PRODUCER_ID)
    const producerLow = view.getInt32(batch + PRODUCER_ID + 4)
    const aborted = this.#aborted.covers(producerHigh, producerLow, lastOffset)
    if ((attributes & CONTROL) === 0) return aborted
    if (aborted && this.#isAbortMarker(batch + RECORDS, end)) this.#aborted.end(producerHigh, producerLow)
    return true
  }

  /** Whether the control record that begins at `at` is an abort marker. Its key is a version and a type of two bytes each. */
  #isAbortMarker(at: number, end: number): boolean {
    this.bytes = this.#response
    this.view = this.#responseView
    this.#longVarint(at)
    this.#longVarlong(this.#at + 1)
    this.#longVarint(this.#at)
    const keyLength = signed(this.#longVarint(this.#at))
    return keyLength >= 4 && this.#at + keyLength <= end && this.#responseView.getInt16(this.#at + 2) === ABORT
  }

  /** Decompresses the records of a batch and checks each of them. @returns what is wrong with them; null if nothing is */
  #openRecords(batch: number, end: number, codec: number): string | null {
    const response = this.#response
    const count = this.#responseView.getInt32(batch + RECORD_COUNT)
    let start = batch + RECORDS
    // If compaction removed all records of a batch, only its head is left, whatever its codec.
    if (codec === 0 || (count === 0 && start === end)) {
      this.bytes = response
      this.view = this.#responseView
    } else {
      const records = this.#decompressor.decompress(codec, response.subarray(start, end))
      if (typeof records === 'string') return records
      this.bytes = records
      this.view = viewOf(records)
      start = 0
      end = records.length
    }
    if (count < 0) return `${count} records`
    this.#isDense = count === this.#lastOffsetDelta + 1
    this.#at = start
    this.#recordsEnd = end
    this.#left = count
    this.#lastDelta = -1
    this.#shown = 0
    this.#row = 0
    this.#rows = 0
    this.#expectedDelta = Math.max(0, this.#fetchOffset - this.#baseOffset)
    this.#work += end - start + Math.min(count, MOST_ROWS) * WORK_OF_RECORD
    while (this.#left > 0) if (!this.#readRecords()) return `a malformed record among its ${count}`
    if (this.#at !== end) return `${end - this.#at} bytes behind its last record`
    if (count > MOST_ROWS) {
      this.#at = start
      this.#left = count
      this.#lastDelta = -1
      this.#row = 0
      this.#rows = 0
    }
    return null
  }

  /**
   * Makes rows of the next records, except of those before the requested offset. @returns false if a record is malformed
   *
   * This is one long function over local variables, because it runs for every record: numbers of one and two bytes are decoded inline. It can read
   * past the end of a record, but not unnoticed: `at` only grows, and must equal that end after the last header.
   */
  #readRecords(): boolean {
    const bytes = this.bytes
    const view = this.view
    const recordsEnd = this.#recordsEnd
    const count = Math.min(this.#left, MOST_ROWS)
    if (count * PLACES > this.#places.length) this.#grow(count)
    const places = this.#places
    const numbers = this.#numbers
    const rowSources = this.#sources
    const firstDelta = this.#fetchOffset - this.#baseOffset
    const lastOffsetDelta = this.#lastOffsetDelta
    const baseTimestamp = this.#baseTimestamp
    const appendTime = this.#appendTime
    const hasAppendTime = this.#hasAppendTime
    const isDense = this.#isDense
    const isBaseWide = Math.abs(baseTimestamp) >= 2 ** 52
    const identity = this.#identity
    const { sequenceDigits, isUsual, typeLength, typeTail, sourceLength: sourceNameLength, sourceTail } = identity
    const { sequenceLength: sequenceNameLength, sequenceHead, sequenceBody, sequenceTail } = identity
    // The first headers of an earlier record with an identity, up to its type and source. Most records begin with the same bytes.
    const prefix = this.#prefix
    let prefixLength = 0
    let prefixCount = 0
    let prefixHeaders = 0
    let prefixSource: EventSource | null = null
    const shape = this.#shape
    const { offsets: shapeOffsets, values: shapeValues } = shape
    let lessons = MAX_LESSONS
    // The first half of the last sequence, as bits and as a number. Digits are never zeros, so equal bits are equal digits.
    let highHalf = Number.NaN
    let high = -1
    let lastDelta = this.#lastDelta
    let at = this.#at
    let row = 0
    let byte = 0
    this.#row = 0
    this.#rows = 0
    for (let record = 0; record < count; record++) {
      // 1. Length, attributes, timestamp, offset.
      let length = bytes[at++] as number
      if (length > 0x7f) {
        byte = bytes[at++] as number
        length = byte > 0x7f ? this.#longVarint(at - 2) : (length & 0x7f) | (byte << 7)
        if (byte > 0x7f) at = this.#at
      }
      length = signed(length)
      const end = at + length
      if (length < SMALLEST_RECORD || end > recordsEnd) return false
      const body = ++at
      let isTimeWide = isBaseWide
      let timestampDelta = bytes[at++] as number
      byte = timestampDelta > 0x7f ? (bytes[at++] as number) : 0
      if (byte < 0x80) {
        timestampDelta = (timestampDelta & 0x7f) | (byte << 7)
        timestampDelta = signed(timestampDelta)
      } else {
        timestampDelta = this.#longVarlong(at - 2)
        at = this.#at
        isTimeWide ||= Math.abs(timestampDelta) >= 2 ** 52
      }
      let offsetDelta = bytes[at++] as number
      if (offsetDelta > 0x7f) {
        byte = bytes[at++] as number
        offsetDelta = byte > 0x7f ? this.#longVarint(at - 2) : (offsetDelta & 0x7f) | (byte << 7)
        if (byte > 0x7f) at = this.#at
      }
      offsetDelta = signed(offsetDelta)
      if (offsetDelta !== lastDelta + 1) {
        if (isDense) offsetDelta = lastDelta + 1
        else if (offsetDelta <= lastDelta || offsetDelta > lastOffsetDelta) return false
      }
      lastDelta = offsetDelta

      // 2. Key and value.
      let keyLength = bytes[at++] as number
      if (keyLength > 0x7f) {
        keyLength = this.#longVarint(at - 1)
        at = this.#at
      }
      keyLength = signed(keyLength)
      if (keyLength > end - at) return false
      if (keyLength > 0) at += keyLength
      let valueLength = bytes[at++] as number
      if (valueLength > 0x7f) {
        byte = bytes[at++] as number
        valueLength = byte > 0x7f ? this.#longVarint(at - 2) : (valueLength & 0x7f) | (byte << 7)
        if (byte > 0x7f) at = this.#at
      }
      valueLength = signed(valueLength)
      if (valueLength > end - at) return false
      const valueStart = valueLength < 0 ? -1 : at
      if (valueLength > 0) at += valueLength
      const valueEnd = valueLength < 0 ? -1 : at

      // 3. Headers: type, source and sequence, and how many there are of each (rule C1).
      const headersStart = at
      let headerCount = 0
      let header = 0
      let types = 0
      let expectedTypes = 0
      let sources = 0
      let sourceStart = 0
      let sourceLength = 0
      let sequences = 0
      let sequenceStart = 0
      let sequenceLength = 0
      let source: EventSource | null = null
      let identityEnd = 0
      let identityHeaders = 0
      let hasShape = false
      let begins =
        prefixLength > 0 && prefixLength <= end - at && view.getFloat64(at + prefixLength - 8, true) === prefix[(prefixLength - 1) >> 3]
      for (let word = ((prefixLength - 1) >> 3) - 1; begins && word >= 0; word--) {
        begins = view.getFloat64(at + word * 8, true) === prefix[word]
      }
      if (begins) {
        at += prefixLength
        headerCount = prefixCount
        header = prefixHeaders
        source = prefixSource
        types = 1
        expectedTypes = 1
        sources = 1
        identityEnd = at
        identityHeaders = header
        if (end - at === shape.length && headerCount - header === shape.count) {
          hasShape = true
          for (let word = shape.words - 1; hasShape && word >= 0; word--) {
            hasShape = view.getFloat64(at + (shapeOffsets[word] as number), true) === shapeValues[word]
          }
          if (hasShape) {
            sequences = 1
            sequenceStart = at + shape.sequence
            sequenceLength = sequenceDigits
            header = headerCount
            at = end
          }
        }
      } else {
        headerCount = bytes[at++] as number
        if (headerCount > 0x7f) {
          headerCount = this.#longVarint(at - 1)
          at = this.#at
        }
        headerCount = signed(headerCount)
        if (headerCount < 0) return false
      }
      for (; header < headerCount; header++) {
        if (at >= end) return false
        // Nearly every length is one byte, and that byte is even because the length is not negative (zigzag).
        byte = bytes[at++] as number
        let nameLength = byte >> 1
        if ((byte & 0x81) !== 0) {
          nameLength = this.#longVarint(at - 1)
          nameLength = signed(nameLength)
          at = this.#at
        }
        const name = at
        if (nameLength < 0 || nameLength > end - at) return false
        at += nameLength
        byte = bytes[at++] as number
        let length = byte >> 1
        if ((byte & 0x81) !== 0) {
          length = this.#longVarint(at - 1)
          length = signed(length)
          at = this.#at
        }
        const value = at
        if (length > end - at) return false
        if (length > 0) at += length
        // The name of the sequence header is compared inline: it is the one header that is parsed in nearly every record.
        let role = NO_HEADER
        if (nameLength === sequenceNameLength) {
          if (
            view.getInt32(name, true) === sequenceHead &&
            view.getInt32(name + 4, true) === sequenceBody &&
            view.getInt32(name + sequenceNameLength - 4, true) === sequenceTail
          )
            role = SEQUENCE_HEADER
        }
        if (
          role === NO_HEADER &&
          (!isUsual ||
            (nameLength === typeLength && view.getInt32(name + typeLength - 4, true) === typeTail) ||
            (nameLength === sourceNameLength && view.getInt32(name + sourceNameLength - 4, true) === sourceTail))
        )
          role = identity.roleOf(view, name, nameLength)
        if (role !== NO_HEADER) {
          if (role === SEQUENCE_HEADER) {
            sequences++
            sequenceStart = value
            sequenceLength = length
          } else if (role !== NO_HEADER) {
            if (role === SOURCE_HEADER) {
              sources++
              sourceStart = value
              sourceLength = length
            } else {
              types++
              if (identity.isExpected(view, value, length)) expectedTypes++
            }
            identityEnd = at
            identityHeaders = header + 1
          }
        }
      }
      if (at !== end) return false
      if (offsetDelta < firstDelta) continue

      // 4. The identity (rule C1).
      let sequence = -1
      if (types === 1 && expectedTypes === 1 && sources === 1 && sequences === 1 && sequenceLength === sequenceDigits) {
        // Sixteen digits, the most that a safe integer has, are read in two halves. The first one is mostly that of the record before.
        if (sequenceDigits === 16) {
          const half = view.getFloat64(sequenceStart, true)
          if (half !== highHalf) {
            highHalf = half
            high = digits8(view, sequenceStart)
          }
          const low = digits8(view, sequenceStart + 8)
          if (high >= 0 && low >= 0) sequence = high * 100_000_000 + low
          if (sequence > Number.MAX_SAFE_INTEGER) sequence = -1
        } else sequence = digits(bytes, sequenceStart, sequenceDigits)
        if (source === null && sequence >= 0 && sourceLength > 0) {
          source = identity.sources.find(bytes, view, sourceStart, sourceStart + sourceLength)
          if (source !== null && identityEnd <= sequenceStart && keepWords(view, headersStart, identityEnd, prefix)) {
            prefixLength = identityEnd - headersStart
            prefixCount = headerCount
            prefixHeaders = identityHeaders
            prefixSource = source
          }
        }
      }
      const identified = source !== null && sequence >= 0
      if (!hasShape && lessons > 0 && identified && identityEnd <= sequenceStart) {
        shape.learn(bytes, view, identityEnd, end, headerCount - identityHeaders, sequenceStart)
        lessons--
      }

      const place = row * PLACES
      places[place + BODY] = body
      places[place + VALUE_START] = valueStart
      places[place + VALUE_END] = valueEnd
      places[place + HEADERS_START] = headersStart
      places[place + HEADERS_END] = end
      places[place + OFFSET_DELTA] = offsetDelta
      places[place + EVENT_TYPE] = types === 0 ? ABSENT : types === expectedTypes ? EXPECTED : FOREIGN
      let timestamp = hasAppendTime ? appendTime : baseTimestamp + timestampDelta
      // Beyond 2^53 the base or the delta is rounded, so even a small sum of them can be wrong.
      if (isTimeWide && !hasAppendTime && Math.abs(timestamp) <= 2 ** 54) timestamp = Number(this.#createTime(body))
      numbers[row * NUMBERS + TIMESTAMP] = timestamp
      numbers[row * NUMBERS + SEQUENCE] = identified ? sequence : -1
      rowSources[row] = identified ? source : null
      row++
    }
    // Offset deltas rise, so the last one is the highest.
    if (lastDelta > lastOffsetDelta) return false
    this.#at = at
    this.#lastDelta = lastDelta
    this.#left -= count
    this.#rows = row
    return true
  }

  /**
   * Decodes an unsigned number of at most five bytes at `start` and sets `#at` to the byte after it; if there is no such number, to a place beyond
   * all bytes. Like the Java client, it accepts a number in more bytes than it needs.
   */
  #longVarint(start: number): number {
    const bytes = this.bytes
    let value = 0
    for (let i = 0; i < 5; i++) {
      const byte = bytes[start + i] as number
      value |= (byte & 0x7f) << (7 * i)
      if (byte < 0x80) {
        this.#at = start + i + 1
        return value
      }
    }
    this.#at = Number.MAX_SAFE_INTEGER
    return 0
  }

  /** Decodes a signed number of at most ten bytes in the same way. It is not exact beyond 52 bits (see `exactTimestamp`). */
  #longVarlong(start: number): number {
    const bytes = this.bytes
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      const byte = bytes[start + i] as number
      // Only one bit of the tenth byte fits into 64 bits.
      value += (i < 9 ? byte & 0x7f : byte & 1) * scale
      scale *= 128
      if (byte < 0x80) {
        this.#at = start + i + 1
        return ((bytes[start] as number) & 1) === 0 ? value / 2 : -(value + 1) / 2
      }
    }
    this.#at = Number.MAX_SAFE_INTEGER
    return 0
  }

  #grow(rows: number): void {
    const more = Math.min(2 ** Math.ceil(Math.log2(rows)), MOST_ROWS)
    this.#places = new Int32Array(more * PLACES)
    this.#numbers = new Float64Array(more * NUMBERS)
    this.#sources = new Array(more).fill(null)
  }
}

/**
 * Copies the bytes in [start, end) to `words`, eight at a time as floating-point numbers, which are the widest values that can be read without
 * allocating. The last word ends with the bytes, and may overlap the one before. Equal numbers have equal bits unless they are zeros. (A NaN equals
 * nothing: that costs time, but gives no wrong result.)
 * @returns whether they can be compared: there are enough of them, not too many, and no word is a zero
 */
function keepWords(view: DataView, start: number, end: number, words: Float64Array): boolean {
  const length = end - start
  if (length < 8 || length > words.length * 8) return false
  for (let word = 0; word * 8 < length; word++) {
    const bits = view.getFloat64(start + Math.min(word * 8, length - 8), true)
    if (bits === 0) return false
    words[word] = bits
  }
  return true
}

/** Eight ASCII digits as a number, or −1 if they are not digits. */
function digits8(view: DataView, start: number): number {
  const a = digits4(view.getInt32(start, true))
  const b = digits4(view.getInt32(start + 4, true))
  return (a | b) < 0 ? -1 : a * 10_000 + b
}

/** `count` ASCII digits as a number, or −1 if they are not digits or the number is above 2^53 − 1. */
function digits(bytes: Buffer, start: number, count: number): number {
  let number = 0
  for (let at = start; at < start + count; at++) {
    const digit = (bytes[at] as number) - 0x30
    if (digit < 0 || digit > 9) return -1
    number = number * 10 + digit
  }
  return number <= Number.MAX_SAFE_INTEGER ? number : -1
}

/** Four ASCII digits as a number, the first one in the lowest byte, or −1. The upper half of a digit is 3, and stays 3 when 6 is added. */
function digits4(word: number): number {
  if ((word & 0xf0f0f0f0) !== 0x30303030 || ((word + 0x06060606) & 0xf0f0f0f0) !== 0x30303030) return -1
  return (word & 15) * 1000 + ((word >> 8) & 15) * 100 + ((word >> 16) & 15) * 10 + ((word >> 24) & 15)
}

/** Decodes the unsigned number of at most five bytes at `at`, which was checked before. */
function varint(bytes: Buffer, at: number): number {
  let value = 0
  for (let i = 0; i < 5; i++) {
    const byte = bytes[at + i] as number
    value |= (byte & 0x7f) << (7 * i)
    if (byte < 0x80) break
  }
  return value
}

/** Decodes the signed number of at most ten bytes at `at` exactly. */
function varlong(bytes: Buffer, at: number): bigint {
  let value = 0n
  for (let i = 0; i < 10; i++) {
    const byte = bytes[at + i] as number
    value |= BigInt(byte & 0x7f) << BigInt(7 * i)
    if (byte < 0x80) break
  }
  const unsigned = BigInt.asUintN(64, value)
  return BigInt.asIntN(64, (unsigned >> 1n) ^ -(unsigned & 1n))
}

/** The place after the number at `at`, whatever its length. */
function afterNumber(bytes: Buffer, at: number): number {
  let end = at
  while ((bytes[end] as number) > 0x7f) end++
  return end + 1
}

/** Undoes the zigzag of signed numbers. */
function signed(number: number): number {
  return (number >>> 1) ^ -(number & 1)
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
