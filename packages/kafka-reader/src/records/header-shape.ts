/** The shape of the headers behind an identity: their names and lengths, which are the same in most records of a producer. */

/** Headers that need more words than this have no shape. */
const MAX_WORDS = 32

/**
 * Learned from one record. Another record has the same shape if its headers are as long in total and equal in every word of `offsets`: then each
 * header begins and ends at the same distance, so nothing has to be parsed. The words cover every byte of names and lengths, and a few bytes of
 * values, which can only make the comparison stricter.
 */
export class HeaderShape {
  /** The length of all these headers in bytes; −1: no shape is known. */
  length = -1
  /** The number of headers. */
  count = 0
  /** The distance from the first header to the value of the sequence. */
  sequence = 0
  /** How many words there are. Each is eight bytes as a floating-point number, which is the widest value that can be read without allocating. */
  words = 0
  /** The distance of each word from the first header. */
  readonly offsets = new Int32Array(MAX_WORDS)
  readonly values = new Float64Array(MAX_WORDS)

  /**
   * Learns the shape of the `count` headers in [start, end), which were checked before; the value of the sequence begins at `sequenceStart`.
   * Headers with long or missing values have no shape.
   */
  learn(bytes: Buffer, view: DataView, start: number, end: number, count: number, sequenceStart: number): void {
    this.length = -1
    this.words = 0
    for (let at = start; at < end; ) {
      const nameLength = bytes[at] as number
      const valueLength = bytes[at + 1 + (nameLength >> 1)] as number
      // Lengths are numbers of one byte, and not negative.
      if (((nameLength | valueLength) & 0x81) !== 0) return
      const value = at + 2 + (nameLength >> 1)
      for (let word = at; word < value; word += 8) {
        const place = word + 8 > value && value - at >= 8 ? value - 8 : word
        if (place + 8 > end || this.words === MAX_WORDS) return
        const bits = view.getFloat64(place, true)
        // Zeros are equal with different bits, and NaN equals nothing.
        if (bits === 0 || Number.isNaN(bits)) return
        this.offsets[this.words] = place - start
        this.values[this.words++] = bits
      }
      at = value + (valueLength >> 1)
    }
    this.length = end - start
    this.count = count
    this.sequence = sequenceStart - start
  }
}
