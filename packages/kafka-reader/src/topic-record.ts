/** A record as an object, for people. */
import type { RecordView } from './ports.ts'
import { copyHeaders, MOST_HEADERS } from './records/record-headers.ts'

/** Key, value and headers are made each time that they are asked for. Key and value share the bytes of the response, and are valid as long as these. */
export class TopicRecord {
  readonly offset: number
  /** ms since 1970, as the producer or the broker wrote it. */
  readonly timestamp: number
  readonly #bytes: Buffer
  readonly #keyStart: number
  readonly #keyEnd: number
  readonly #valueStart: number
  readonly #valueEnd: number
  readonly #headersStart: number
  readonly #headersEnd: number

  /** @param view stands on the record, and may move on afterwards */
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
  }

  get key(): Buffer | null {
    return this.#keyStart < 0 ? null : this.#bytes.subarray(this.#keyStart, this.#keyEnd)
  }

  get value(): Buffer | null {
    return this.#valueStart < 0 ? null : this.#bytes.subarray(this.#valueStart, this.#valueEnd)
  }

  /** Copies, in the record's order; a name may be there more than once. Of more than 10,000 headers the first ones. */
  get headers(): (readonly [name: string, value: Buffer | null])[] {
    const bytes = this.#bytes.subarray(this.#headersStart, this.#headersEnd)
    return copyHeaders(bytes, MOST_HEADERS).map(([name, value]) => [name.toString(), value])
  }

  get time(): Date {
    return new Date(this.timestamp)
  }
}
