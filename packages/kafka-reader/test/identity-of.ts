/** Rule C1 in simple code: the identity that the cursor must find in a record's headers. */
import { isUtf8 } from 'node:buffer'
import type { EventIdentity } from '../src/ports.ts'
import type { SeenRecord } from './walk.ts'

type Header = readonly [name: string | Buffer, value: string | Buffer | null]

/** @param headers in the record's order */
export function identityOf(headers: readonly Header[], identity: EventIdentity): Pick<SeenRecord, 'eventType' | 'source' | 'sequence'> {
  const valuesOf = (wanted: string) =>
    headers
      .filter(([name]) => Buffer.from(name).equals(Buffer.from(wanted)))
      .map(([, value]) => (value === null ? null : Buffer.from(value)))
  const types = valuesOf(identity.typeHeader)
  if (types.length === 0) return { eventType: 'absent', source: null, sequence: -1 }
  if (!types.every((type) => type?.equals(Buffer.from(identity.expectedType)))) return { eventType: 'foreign', source: null, sequence: -1 }
  const unidentified = { eventType: 'expected', source: null, sequence: -1 } as const
  const [sources, sequences] = [valuesOf(identity.sourceHeader), valuesOf(identity.sequenceHeader)]
  const [source, sequence] = [sources[0], sequences[0]]
  if (types.length > 1 || sources.length > 1 || sequences.length > 1 || !source || !sequence) return unidentified
  if (source.length === 0 || source.length > identity.maxSourceBytes || source.includes(0) || !isUtf8(source)) return unidentified
  if (sequence.length !== identity.sequenceDigits || !/^[0-9]+$/.test(sequence.toString('latin1'))) return unidentified
  const number = Number(sequence.toString())
  return number > Number.MAX_SAFE_INTEGER ? unidentified : { eventType: 'expected', source: source.toString(), sequence: number }
}
