/** A record that cannot be counted, kept as it came (rule D1); of what is longer than anything that could be counted, only the beginning is kept. */
import { createHash } from 'node:crypto'
import { MAX_VALUE_BYTES } from '@poke-api-pipeline/pokemon-event'

/** All reasons, as metrics, headers and the API name them. */
export type DeadLetterReason =
  | 'null-value'
  | 'empty-value'
  | 'too-large'
  | 'not-utf8'
  | 'not-json'
  | 'wrong-shape'
  | 'bad-type-name'
  | 'unknown-event-type'

/** The parts of a record that can have any number of bytes. */
export const DEAD_LETTER_PARTS = ['key', 'value', 'headers'] as const
export type DeadLetterPart = (typeof DEAD_LETTER_PARTS)[number]

/** A part before it was cut. */
export interface WholePart {
  readonly bytes: number
  /** In hex. */
  readonly sha256: string
}
export type CutParts = Readonly<Partial<Record<DeadLetterPart, WholePart>>>

export interface DeadLetter {
  readonly offset: number
  readonly leaderEpoch: number
  /** As the record has it, with all 64 bits: ms since 1970, if its producer kept to that. */
  readonly timestamp: bigint
  readonly reason: DeadLetterReason
  /** The original bytes, or the first of them if `cut` has this part; null where the record had null. */
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** As the record has them: a count, then header after header (`record-headers.ts`). */
  readonly headers: Buffer
  /** The parts that were cut. */
  readonly cut: CutParts
}

/** A longer part is cut. A value with more bytes is `too-large`. */
export const MAX_WHOLE_PART_BYTES = MAX_VALUE_BYTES
/** How many bytes of a cut part are kept. */
export const CUT_PART_BYTES = 64 * 1024

export function wholePart(bytes: Uint8Array): WholePart {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** @returns how many bytes key, value and headers had in the record */
export function bytesOfRecord({ key, value, headers, cut }: DeadLetter): number {
  return (cut.key?.bytes ?? key?.length ?? 0) + (cut.value?.bytes ?? value?.length ?? 0) + (cut.headers?.bytes ?? headers.length)
}
