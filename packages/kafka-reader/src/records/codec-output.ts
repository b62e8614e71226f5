/** The output of LZ4 and Snappy: one growing buffer that every batch reuses, and the two kinds of copies of which both formats consist. */

/** The reason to refuse records that decompress to more bytes than are allowed. */
export const TOO_LARGE = 'too large'

/** Copies write at most so many bytes beyond their end, because they copy whole words. */
const SLACK = 16
/** A buffer larger than this is released after use. */
const LARGEST_KEPT = 8 * 1024 * 1024

export class CodecOutput {
  bytes: Buffer = Buffer.alloc(0)
  view: DataView = new DataView(new ArrayBuffer(0))

  /** Makes room for `capacity` bytes and `SLACK`. */
  begin(capacity: number): void {
    if (this.bytes.length < capacity + SLACK) this.#use(Buffer.allocUnsafeSlow(capacity + SLACK))
  }

  /** The first `length` bytes in a buffer of their own: a copy, or the output buffer itself if it is released anyway. */
  end(length: number): Buffer {
    const { bytes } = this
    const isLarge = bytes.length > LARGEST_KEPT
    if (isLarge) this.#use(Buffer.alloc(0))
    if (isLarge && length > bytes.length / 2) return bytes.subarray(0, length)
    const written = Buffer.allocUnsafeSlow(length)
    bytes.copy(written, 0, 0, length)
    return written
  }

  #use(bytes: Buffer): void {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
}

/** Copies source[from, from + length) to `to`. The range must lie within the source, and the output must have room for it and `SLACK`. */
export function copyLiteral(output: CodecOutput, to: number, source: Buffer, view: DataView, from: number, length: number): void {
  if (length > 64 || from + length + SLACK > source.length) {
    source.copy(output.bytes, to, from, from + length)
    return
  }
  const out = output.view
  for (const end = to + length; to < end; from += 8, to += 8) {
    out.setInt32(to, view.getInt32(from, true), true)
    out.setInt32(to + 4, view.getInt32(from + 4, true), true)
  }
}

/** Copies `length` bytes to `to` from `distance` bytes (1 to `to`) before it. The two ranges may overlap. */
export function copyMatch(output: CodecOutput, to: number, distance: number, length: number): void {
  let from = to - distance
  if (distance < 8) {
    const bytes = output.bytes
    for (const end = to + length; to < end; ) bytes[to++] = bytes[from++] as number
  } else if (length > 256 && distance >= length) output.bytes.copyWithin(to, from, from + length)
  else {
    const view = output.view
    for (const end = to + length; to < end; from += 8, to += 8) {
      const low = view.getInt32(from, true)
      const high = view.getInt32(from + 4, true)
      view.setInt32(to, low, true)
      view.setInt32(to + 4, high, true)
    }
  }
}
