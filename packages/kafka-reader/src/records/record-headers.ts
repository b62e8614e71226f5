/** Decodes the headers of a record, for the few records of which all headers are needed. */

/**
 * The headers of a record with more than this are never decoded as a whole: a batch of two kilobytes may hold a record with thirty million empty
 * headers, and each would become objects.
 */
export const MAX_HEADERS = 10_000

/** The number of headers. @param bytes as for `copyHeaders` */
export function countHeaders(bytes: Buffer): number {
  let value = 0
  for (let at = 0, shift = 0; ; at++, shift += 7) {
    const byte = bytes[at] as number
    value |= (byte & 0x7f) << shift
    if (byte < 0x80) return value >>> 1
  }
}

/**
 * @param bytes the headers in the record format v2: a count, then for each a length-prefixed key and value, all numbers zigzag varints
 *   (https://kafka.apache.org/documentation/#recordheader)
 * @param most only the first `most` headers are decoded
 * @param isCut whether the end of the bytes is missing: then the complete headers before it are returned
 * @returns copies, in the order of the record
 * @throws RangeError if the bytes end too early, which cannot happen with the bytes of a cursor
 */
export function copyHeaders(bytes: Buffer, most: number, isCut = false): (readonly [key: Buffer, value: Buffer | null])[] {
  const end = bytes.length
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= end) throw new RangeError(`a record's headers end at byte ${end}, in the middle of a number`)
      const byte = bytes[at++] as number
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    }
    throw new RangeError('a number in a record’s headers has more than five bytes')
  }
  const copy = (length: number): Buffer => {
    if (length < 0 || at + length > end) throw new RangeError(`a header of ${length} bytes does not fit into its record`)
    at += length
    return Buffer.from(bytes.subarray(at - length, at))
  }
  const headers: (readonly [Buffer, Buffer | null])[] = []
  try {
    for (let count = Math.min(varint(), most); count > 0; count--) {
      const key = copy(varint())
      const length = varint()
      headers.push([key, length < 0 ? null : copy(length)])
    }
  } catch (error) {
    if (!isCut) throw error
  }
  return headers
}
