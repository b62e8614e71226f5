/** stub: the shape of what is counted (the counting itself is being written) */
/** Somebody who numbers events: one run of a producer. Interned: equal names are the same object. */
export interface EventSource {
  readonly name: string
}

/** One record in place: bytes and where its parts are in them. */
export interface RecordView {
  readonly offset: number
  readonly leaderEpoch: number
  /** ms since 1970 */
  readonly timestamp: number
  readonly bytes: Buffer
  /** −1: null key */
  readonly keyStart: number
  readonly keyEnd: number
  /** −1: null value */
  readonly valueStart: number
  readonly valueEnd: number
  /** Where the record's headers begin, at their count (a varint), and end. */
  readonly headersStart: number
  readonly headersEnd: number
  /** By `ce_type`: `ours`; `other`: there is none; `unknown`: somebody else's. */
  readonly kind: 'ours' | 'other' | 'unknown'
  /** Identity by rule C1, or null and −1. */
  readonly source: EventSource | null
  readonly sequence: number
}
