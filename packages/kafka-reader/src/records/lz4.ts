/** Decodes LZ4 frames (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md), with the features that Kafka's clients use. */
import { type CodecOutput, copyLiteral, copyMatch, TOO_LARGE } from './codec-output.ts'

const MAGIC = 0x184d2204
/** Largest size of a decoded block, by the frame descriptor's block size number. */
const BLOCK_SIZES = [0, 0, 0, 0, 64 << 10, 256 << 10, 1 << 20, 4 << 20]
/** The most output bytes for one input byte: those of a byte in the length of a long match. */
const MOST_FROM_A_BYTE = 255

// Returned instead of a number of bytes.
const MALFORMED = -1
const BEYOND = -2

/**
 * Decodes one frame. Bytes after it are ignored, as in the reference client. Checksums are not verified, because the batch has its own.
 * @returns the number of bytes written, or why the frame is refused: `TOO_LARGE` if they are more than `maxBytes`
 */
export function decodeLz4(frame: Buffer, output: CodecOutput, maxBytes: number): number | string {
  if (frame.length < 11) return 'an LZ4 frame that ends before its first block'
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  if (view.getUint32(0, true) !== MAGIC) return 'no LZ4 frame'
  const flags = frame[4] as number
  const blockSize = BLOCK_SIZES[((frame[5] as number) >> 4) & 7] as number
  if (flags >> 6 !== 1 || blockSize === 0) return 'an LZ4 frame of an unknown version'
  if ((flags & 1) !== 0) return 'an LZ4 frame that needs a dictionary'
  const blockChecksum = (flags & 0x10) === 0 ? 0 : 4
  const firstBlock = (flags & 8) === 0 ? 7 : 15
  const bound = boundOf(view, firstBlock, blockSize, blockChecksum)
  if (bound < 0) return 'an LZ4 frame that ends in the middle of a block'
  output.begin(Math.min(bound, maxBytes))
  let written = 0
  for (let at = firstBlock; ; ) {
    const header = view.getUint32(at, true)
    if (header === 0) return written
    const length = header & 0x7fffffff
    at += 4
    const limit = Math.min(written + blockSize, maxBytes)
    if (header === length) written = decodeBlock(frame, view, at, at + length, output, written, limit)
    else if (length > blockSize) written = MALFORMED
    else if (written + length > limit) written = BEYOND
    else {
      copyLiteral(output, written, frame, view, at, length)
      written += length
    }
    if (written === BEYOND && limit === maxBytes) return TOO_LARGE
    if (written < 0) return 'a malformed LZ4 block'
    at += length + blockChecksum
  }
}

/**
 * The most bytes that the frame can decode to; −1 if its blocks do not fit into it. The block size alone would be far too high: a producer that
 * flushes often writes small blocks under a large block size.
 */
function boundOf(view: DataView, firstBlock: number, blockSize: number, blockChecksum: number): number {
  let bound = 0
  for (let at = firstBlock; at + 4 <= view.byteLength; ) {
    const header = view.getUint32(at, true)
    if (header === 0) return bound
    const length = header & 0x7fffffff
    bound += Math.min(blockSize, length * MOST_FROM_A_BYTE)
    at += 4 + length + blockChecksum
  }
  return -1
}

/** Decodes block[start, end) to `to`. @returns the end of the output; or MALFORMED, or BEYOND if the end would be after `limit` */
function decodeBlock(block: Buffer, view: DataView, start: number, end: number, output: CodecOutput, to: number, limit: number): number {
  let at = start
  while (at < end) {
    const token = block[at++] as number
    let literals = token >> 4
    if (literals === 15) {
      let more = 255
      while (more === 255) {
        if (at >= end) return MALFORMED
        more = block[at++] as number
        literals += more
      }
    }
    if (at + literals > end) return MALFORMED
    if (to + literals > limit) return BEYOND
    copyLiteral(output, to, block, view, at, literals)
    at += literals
    to += literals
    // The last sequence of a block has no match.
    if (at === end) return to
    if (at + 2 > end) return MALFORMED
    const distance = (block[at] as number) | ((block[at + 1] as number) << 8)
    at += 2
    let length = (token & 15) + 4
    if (length === 19) {
      let more = 255
      while (more === 255) {
        if (at >= end) return MALFORMED
        more = block[at++] as number
        length += more
      }
    }
    if (distance === 0 || distance > to) return MALFORMED
    if (to + length > limit) return BEYOND
    copyMatch(output, to, distance, length)
    to += length
  }
  return MALFORMED
}
