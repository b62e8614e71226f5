/** Decodes LZ4 frames (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md), as far as Kafka's clients write them. */
import { type CodecOutput, copyLiteral, copyMatch } from './codec-output.ts'

const MAGIC = 0x184d2204
/** Largest size of a decoded block, by the frame descriptor's block size number. */
const BLOCK_SIZES = [0, 0, 0, 0, 64 << 10, 256 << 10, 1 << 20, 4 << 20]

/**
 * Decodes one frame; whatever follows it is ignored, as the reference client does. Checksums are left alone: the batch has one of its own.
 * @returns how many bytes were written, or what is wrong
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
  if (bound > maxBytes) return `an LZ4 frame that may decode to ${bound} bytes, with ${maxBytes} allowed`
  output.begin(bound)
  let written = 0
  for (let at = firstBlock; ; ) {
    const header = view.getUint32(at, true)
    if (header === 0) return written
    const length = header & 0x7fffffff
    at += 4
    if (header === length) written = decodeBlock(frame, view, at, at + length, output, written, written + blockSize)
    else if (length > blockSize) written = -1
    else {
      copyLiteral(output, written, frame, view, at, length)
      written += length
    }
    if (written < 0) return 'a malformed LZ4 block'
    at += length + blockChecksum
  }
}

/** How many bytes the frame can decode to at most; −1 where its blocks do not fit into it. So a bomb is refused before it goes off. */
function boundOf(view: DataView, firstBlock: number, blockSize: number, blockChecksum: number): number {
  let bound = 0
  for (let at = firstBlock; at + 4 <= view.byteLength; bound += blockSize) {
    const header = view.getUint32(at, true)
    if (header === 0) return bound
    at += 4 + (header & 0x7fffffff) + blockChecksum
  }
  return -1
}

/** Decodes block[start, end) to `to`; gives the place behind what it wrote, or −1 where the block is malformed or goes beyond `limit`. */
function decodeBlock(block: Buffer, view: DataView, start: number, end: number, output: CodecOutput, to: number, limit: number): number {
  let at = start
  while (at < end) {
    const token = block[at++] as number
    let literals = token >> 4
    if (literals === 15) {
      let more = 255
      while (more === 255) {
        if (at >= end) return -1
        more = block[at++] as number
        literals += more
      }
    }
    if (at + literals > end || to + literals > limit) return -1
    copyLiteral(output, to, block, view, at, literals)
    at += literals
    to += literals
    // The last sequence of a block has no match.
    if (at === end) return to
    if (at + 2 > end) return -1
    const distance = (block[at] as number) | ((block[at + 1] as number) << 8)
    at += 2
    let length = (token & 15) + 4
    if (length === 19) {
      let more = 255
      while (more === 255) {
        if (at >= end) return -1
        more = block[at++] as number
        length += more
      }
    }
    if (distance === 0 || distance > to || to + length > limit) return -1
    copyMatch(output, to, distance, length)
    to += length
  }
  return -1
}
