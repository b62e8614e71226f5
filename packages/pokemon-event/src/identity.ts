/** Rule C1 in its simplest form: reads from a record's headers whether it is this event, its source and its sequence. Fast readers are tested against it. */
import { isUtf8 } from 'node:buffer'
import { CE_TYPE, HEADER, MAX_SOURCE_BYTES, SEQUENCE_DIGITS } from './headers.ts'

export interface Identity {
  /** `ours`: `ce_type` names this event. `other`: there is no `ce_type`. `unknown`: `ce_type` names another event, so the record is a dead letter. */
  readonly kind: 'ours' | 'other' | 'unknown'
  /** Null, with sequence −1, if the record has no identity: duplicates of it cannot be recognised. It is counted nevertheless, unless it is `unknown`. */
  readonly source: string | null
  readonly sequence: number
}

const SEQUENCE = new RegExp(`^[0-9]{${SEQUENCE_DIGITS}}$`)

/**
 * A record has an identity if it has this event's type, a source and a sequence exactly once each, and source and sequence are well-formed.
 * A source is 1 to 256 bytes of UTF-8 without NUL: two sources that differ only in an invalid byte would become the same text, and events of one
 * would be taken for duplicates of the other.
 * @param headers in the record's order, with repeated names
 */
export function readIdentity(headers: readonly (readonly [name: Buffer, value: Buffer | null])[]): Identity {
  const types = valuesOf(headers, HEADER.type)
  if (types.length === 0) return { kind: 'other', source: null, sequence: -1 }
  if (!types.every((type) => type?.toString() === CE_TYPE)) return { kind: 'unknown', source: null, sequence: -1 }

  const unrecognised = { kind: 'ours', source: null, sequence: -1 } as const
  const sources = valuesOf(headers, HEADER.source)
  const sequences = valuesOf(headers, HEADER.sequence)
  if (types.length > 1 || sources.length !== 1 || sequences.length !== 1) return unrecognised
  const [source] = sources
  const digits = sequences[0]?.toString('latin1') ?? ''
  if (!source || source.length === 0 || source.length > MAX_SOURCE_BYTES || source.includes(0) || !isUtf8(source)) return unrecognised
  if (!SEQUENCE.test(digits) || Number(digits) > Number.MAX_SAFE_INTEGER) return unrecognised
  return { kind: 'ours', source: source.toString(), sequence: Number(digits) }
}

function valuesOf(headers: readonly (readonly [name: Buffer, value: Buffer | null])[], name: string): (Buffer | null)[] {
  const wanted = Buffer.from(name)
  return headers.filter(([key]) => key.equals(wanted)).map(([, value]) => value)
}
