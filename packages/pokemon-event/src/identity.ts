/** Rule C1, to be read: what a record's headers say of the event and of who numbered it. Fast readers are tested against this one. */
import { isUtf8 } from 'node:buffer'
import { CE_TYPE, HEADER, MAX_SOURCE_BYTES, SEQUENCE_DIGITS } from './headers.ts'

export interface Identity {
  /** `ours`: by `ce_type` this event. `other`: there is no `ce_type`. `unknown`: it is somebody else's, and the record a dead letter. */
  readonly kind: 'ours' | 'other' | 'unknown'
  /** Null, with sequence −1: a record that cannot be recognised when it comes again; it is counted all the same, unless it is `unknown`. */
  readonly source: string | null
  readonly sequence: number
}

const SEQUENCE = new RegExp(`^[0-9]{${SEQUENCE_DIGITS}}$`)

/**
 * There is an identity where our type, a source and a sequence are there exactly once each, and the latter two are well-formed.
 * A source is 1 to 256 bytes of UTF-8 without NUL: two that differ in a bad byte alone would become one text, and one's events the
 * other's duplicates.
 * @param headers in the record's order; repeated names repeated
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
