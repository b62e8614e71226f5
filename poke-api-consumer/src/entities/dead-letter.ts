/** A record that cannot be counted, kept as it came. */

/** The closed list of reasons, in the words of metrics, headers and the API. */
export type DeadLetterReason =
  | 'null-value'
  | 'empty-value'
  | 'too-large'
  | 'not-utf8'
  | 'not-json'
  | 'wrong-shape'
  | 'bad-type-name'
  | 'unknown-event-type'

export interface DeadLetter {
  readonly offset: number
  readonly leaderEpoch: number
  /** ms since 1970 where its producer meant that: all 64 bits, as the record carries them. */
  readonly timestamp: bigint
  readonly reason: DeadLetterReason
  /** The original bytes; null where the record had null. */
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** As they are in the record: a count, and the headers one behind the other (`record-headers.ts`). */
  readonly headers: Buffer
}
