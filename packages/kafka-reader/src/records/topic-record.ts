/** Records as objects, for readers that prefer convenience to the last bit of speed. */
import type { RecordCursor, RecordView } from '../ports.ts'
import { copyHeaders, countHeaders, MAX_HEADERS } from './record-headers.ts'

/**
 * One record. Its key, value and headers are only looked up when they are read. Keys and values are views of the response: they are valid until
 * `process` (or `save`) resolves; copy them to keep them longer (`Buffer.from(record.value)`).
 */
export class TopicRecord {
  readonly offset: number
  /** ms since 1970, exact up to 2^53. */
  readonly timestamp: number
  readonly #bytes: Buffer
  readonly #keyStart: number
  readonly #keyEnd: number
  readonly #valueStart: number
  readonly #valueEnd: number
  readonly #headersStart: number
  readonly #headersEnd: number
  /** Set only for a timestamp that a number cannot represent. */
  readonly #exactTimestamp: bigint | null
  #headers: readonly (readonly [name: string, value: Buffer | null])[] | null = null

  /** @param view the record in the response; it may move to another record afterwards */
  constructor(view: RecordView) {
    this.offset = view.offset
    this.timestamp = view.timestamp
    this.#bytes = view.bytes
    this.#keyStart = view.keyStart
    this.#keyEnd = view.keyEnd
    this.#valueStart = view.valueStart
    this.#valueEnd = view.valueEnd
    this.#headersStart = view.headersStart
    this.#headersEnd = view.headersEnd
    this.#exactTimestamp = Number.isSafeInteger(view.timestamp) ? null : view.exactTimestamp()
  }

  /** Null if the record has none, which is not the same as an empty one. */
  get key(): Buffer | null {
    return this.#keyStart < 0 ? null : this.#bytes.subarray(this.#keyStart, this.#keyEnd)
  }

  /** Null if the record has none (a tombstone), which is not the same as an empty one. */
  get value(): Buffer | null {
    return this.#valueStart < 0 ? null : this.#bytes.subarray(this.#valueStart, this.#valueEnd)
  }

  /** The timestamp as a date; an invalid one if it is beyond what a `Date` can show. */
  get time(): Date {
    return new Date(this.timestamp)
  }

  /** The timestamp with all its bits: a record may carry any 64. */
  get exactTimestamp(): bigint {
    return this.#exactTimestamp ?? BigInt(this.timestamp)
  }

  /**
   * In the order of the record. A name can occur more than once. Values are copies.
   * @throws RangeError if there are more than 10,000: a batch of two kilobytes can hold thirty million empty ones
   */
  get headers(): readonly (readonly [name: string, value: Buffer | null])[] {
    if (this.#headers === null) {
      const bytes = this.#bytes.subarray(this.#headersStart, this.#headersEnd)
      const count = countHeaders(bytes)
      if (count > MAX_HEADERS) throw new RangeError(`the record at offset ${this.offset} has ${count} headers, more than ${MAX_HEADERS}`)
      this.#headers = copyHeaders(bytes, count).map(([name, value]) => [name.toString(), value] as const)
    }
    return this.#headers
  }

  /** The value of the last header of this name; null if its value is null, undefined if there is no such header. @throws as `headers` */
  header(name: string): Buffer | null | undefined {
    return this.headers.findLast(([each]) => each === name)?.[1]
  }
}

/**
 * The records that the cursor has not passed yet, each as an object. Ends when `cursor.next()` returns false: check `paused` and `corrupt` then.
 *
 *   for (const record of recordsOf(fetched.cursor)) rows.push([record.offset, record.value?.toString()])
 */
export function* recordsOf(cursor: RecordCursor): Generator<TopicRecord, void, void> {
  while (cursor.next()) yield new TopicRecord(cursor)
}
