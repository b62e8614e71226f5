/** Finds the three headers that identify an event in a record's bytes, without allocating anything. */
import type { EventIdentity } from '../ports.ts'
import { type ByteWords, wordsOf } from './byte-words.ts'
import { SourceTable } from './source-table.ts'

/** A header's name. Its last four bytes are compared first: names of the same length nearly always differ there. */
class HeaderName {
  /** In bytes; −1 matches no header. */
  readonly length: number
  /** Selects the name's bytes in the little-endian word that ends where the name ends: all four, or fewer for a shorter name. */
  readonly mask: number
  readonly tail: number
  readonly words: ByteWords

  /** @param name null matches no header */
  constructor(name: string | null) {
    const bytes = Buffer.from(name ?? '')
    this.length = name === null ? -1 : bytes.length
    this.mask = bytes.length === 0 ? 0 : -1 << (8 * Math.max(4 - bytes.length, 0))
    this.tail = Buffer.concat([Buffer.alloc(4), bytes]).readInt32LE(bytes.length) & this.mask
    this.words = wordsOf(name ?? '')
  }
}

/**
 * An `EventIdentity`, prepared for comparing. Cursors whose records are processed together share one, so that a source is the same object in
 * all of their records.
 */
export class IdentityHeaders {
  readonly type: HeaderName
  readonly expectedType: ByteWords
  readonly source: HeaderName
  readonly sequence: HeaderName
  readonly sequenceDigits: number
  readonly sources: SourceTable

  /**
   * @param identity null: no record has an identity
   * @throws RangeError where two of the headers have the same name, or a number is not a positive integer
   */
  constructor(identity: EventIdentity | null) {
    const names = identity === null ? [] : [identity.typeHeader, identity.sourceHeader, identity.sequenceHeader]
    if (new Set(names).size < names.length)
      throw new RangeError(`three different headers identify an event, but these are ${names.join(', ')}`)
    const { sequenceDigits = 1, maxSourceBytes = 1 } = identity ?? {}
    for (const [what, value] of Object.entries({ sequenceDigits, maxSourceBytes })) {
      if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${what} must be a positive integer, but is ${value}`)
    }
    this.type = new HeaderName(identity?.typeHeader ?? null)
    this.expectedType = wordsOf(identity?.expectedType ?? '')
    this.source = new HeaderName(identity?.sourceHeader ?? null)
    this.sequence = new HeaderName(identity?.sequenceHeader ?? null)
    this.sequenceDigits = sequenceDigits
    this.sources = new SourceTable(maxSourceBytes)
  }
}
