/** A record that cannot be counted, kept as it came (rule D1); of what is longer than anything that could be counted, only the beginning is kept. */
import { createHash } from 'node:crypto'
import { MAX_VALUE_BYTES } from '@poke-api-pipeline/pokemon-event'

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

/** The parts of a record that may have any number of bytes. */
export const DEAD_LETTER_PARTS = ['key', 'value', 'headers'] as const
export type DeadLetterPart = (typeof DEAD_LETTER_PARTS)[number]

/** What a part was before it was cut. */
export interface WholePart {
  readonly bytes: number
  /** In hex. */
  readonly sha256: string
}
export type CutParts = Readonly<Partial<Record<DeadLetterPart, WholePart>>>

export interface DeadLetter {
  readonly offset: number
  readonly leaderEpoch: number
  /** ms since 1970 where its producer meant that: all 64 bits, as the record carries them. */
  readonly timestamp: bigint
  readonly reason: DeadLetterReason
  /** The original bytes, or the first of them where `cut` says so; null where the record had null. */
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** As they are in the record: a count, and the headers one behind the other (`record-headers.ts`). */
  readonly headers: Buffer
  /** The parts that are not whole. */
  readonly cut: CutParts
}

/** A longer part is cut: with so many bytes a value is `too-large`. */
export const MAX_WHOLE_PART_BYTES = MAX_VALUE_BYTES
/** Bytes that are kept of a part that is cut. */
export const CUT_PART_BYTES = 64 * 1024

export function wholePart(bytes: Uint8Array): WholePart {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** How many bytes a letter's parts had in its record. */
export function bytesOfRecord({ key, value, headers, cut }: DeadLetter): number {
  return (cut.key?.bytes ?? key?.length ?? 0) + (cut.value?.bytes ?? value?.length ?? 0) + (cut.headers?.bytes ?? headers.length)
}
