/** Finds the three headers that identify an event in a record's bytes, without allocating anything. */
import type { EventIdentity } from '../ports.ts'
import { type ByteWords, wordsOf } from './byte-words.ts'
import { SourceTable } from './source-table.ts'

// Roles of headers.
export const NO_HEADER = 0
export const TYPE_HEADER = 1
export const SOURCE_HEADER = 2
export const SEQUENCE_HEADER = 3

const NO_BYTES = Buffer.alloc(0)

/** For a reader without an identity, in which no header has a role. */
const NONE: EventIdentity = {
  typeHeader: 'type',
  expectedType: '',
  sourceHeader: 'source',
  maxSourceBytes: 1,
  sequenceHeader: 'sequence',
  sequenceDigits: 1,
}

/**
 * An `EventIdentity`, prepared for comparing. Cursors whose records are processed together share one, so that a source is the same object in
 * all of their records.
 */
export class IdentityHeaders {
  /**
   * Whether type and source have names of at least four bytes, and the sequence one of eight to twelve: then the lengths and words below tell most
   * headers without a role apart, and the sequence from all others. Otherwise no header has these lengths, and every one must be asked for its role.
   */
  readonly isUsual: boolean
  readonly typeLength: number
  readonly typeTail: number
  readonly sourceLength: number
  readonly sourceTail: number
  readonly sequenceLength: number
  readonly sequenceHead: number
  readonly sequenceBody: number
  readonly sequenceTail: number
  readonly sequenceDigits: number
  readonly sources: SourceTable
  readonly #type: ByteWords
  readonly #expectedType: ByteWords
  readonly #source: ByteWords
  readonly #sequence: ByteWords
  readonly #isEmpty: boolean

  /**
   * @param identity null: no record has an identity
   * @throws RangeError if two of the headers have the same name, or a number is not a positive integer
   */
  constructor(identity: EventIdentity | null) {
    const { typeHeader, expectedType, sourceHeader, maxSourceBytes, sequenceHeader, sequenceDigits } = identity ?? NONE
    const names = [typeHeader, sourceHeader, sequenceHeader]
    if (new Set(names).size < names.length)
      throw new RangeError(`an event is identified by three different headers, but these are ${names.join(', ')}`)
    for (const [what, value] of Object.entries({ maxSourceBytes, sequenceDigits })) {
      if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${what} must be a positive integer, but is ${value}`)
    }
    this.#isEmpty = identity === null
    this.#type = wordsOf(typeHeader)
    this.#expectedType = wordsOf(expectedType)
    this.#source = wordsOf(sourceHeader)
    this.#sequence = wordsOf(sequenceHeader)
    const [type = NO_BYTES, source = NO_BYTES, sequence = NO_BYTES] = names.map((name) => Buffer.from(name))
    const isUsual = type.length >= 4 && source.length >= 4 && sequence.length >= 8 && sequence.length <= 12
    this.isUsual = isUsual
    this.typeLength = isUsual ? type.length : -1
    this.typeTail = isUsual ? type.readInt32LE(type.length - 4) : 0
    this.sourceLength = isUsual ? source.length : -1
    this.sourceTail = isUsual ? source.readInt32LE(source.length - 4) : 0
    this.sequenceLength = isUsual && identity !== null ? sequence.length : -1
    this.sequenceHead = isUsual ? sequence.readInt32LE(0) : 0
    this.sequenceBody = isUsual ? sequence.readInt32LE(4) : 0
    this.sequenceTail = isUsual ? sequence.readInt32LE(sequence.length - 4) : 0
    this.sequenceDigits = sequenceDigits
    this.sources = new SourceTable(maxSourceBytes)
  }

  /** The role of the header whose name is at `at`. */
  roleOf(view: DataView, at: number, length: number): number {
    if (this.#isEmpty) return NO_HEADER
    if (this.#sequence.equals(view, at, length)) return SEQUENCE_HEADER
    if (this.#source.equals(view, at, length)) return SOURCE_HEADER
    if (this.#type.equals(view, at, length)) return TYPE_HEADER
    return NO_HEADER
  }

  /** Whether the value at `at`, of the type header, is the expected type. */
  isExpected(view: DataView, at: number, length: number): boolean {
    return this.#expectedType.equals(view, at, length)
  }
}
