/**
 * Decodes Snappy (https://github.com/google/snappy/blob/main/format_description.txt): raw, or in the blocks of snappy-java ("xerial"),
 * which the reference client writes.
 */
import { type CodecOutput, copyLiteral, copyMatch, TOO_LARGE } from './codec-output.ts'

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
/** Magic, version and compatible version. */
const XERIAL_HEADER = 16

/** @returns the number of bytes written, or why the data is refused: `TOO_LARGE` if they would be more than `maxBytes` */
export function decodeSnappy(bytes: Buffer, output: CodecOutput, maxBytes: number): number | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const xerial = bytes.length >= XERIAL_HEADER && bytes.compare(XERIAL, 0, XERIAL.length, 0, XERIAL.length) === 0
  const total = xerial ? totalOf(bytes, view) : lengthAt(bytes, 0, bytes.length)
  if (total < 0) return 'Snappy data that ends in the middle of a block'
  if (total > maxBytes) return TOO_LARGE
  output.begin(total)
  let written = 0
  if (!xerial) written = decodeBlock(bytes, view, 0, bytes.length, output, 0)
  else {
    for (let at = XERIAL_HEADER; at < bytes.length && written >= 0; ) {
      const end = at + 4 + view.getUint32(at)
      written = decodeBlock(bytes, view, at + 4, end, output, written)
      at = end
    }
  }
  return written < 0 ? 'a malformed Snappy block' : written
}

/** The sum of the decoded lengths that the blocks declare; −1 if the blocks do not fit into the bytes. */
function totalOf(bytes: Buffer, view: DataView): number {
  let total = 0
  for (let at = XERIAL_HEADER; at < bytes.length; ) {
    if (at + 4 > bytes.length) return -1
    const end = at + 4 + view.getUint32(at)
    if (end > bytes.length) return -1
    const length = lengthAt(bytes, at + 4, end)
    if (length < 0) return -1
    total += length
    at = end
  }
  return total
}

/** The decoded length, with which a block begins: an unsigned varint of at most five bytes; −1 if it is missing. */
function lengthAt(bytes: Buffer, start: number, end: number): number {
  let length = 0
  for (let i = 0; i < 5 && start + i < end; i++) {
    const byte = bytes[start + i] as number
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) return length
  }
  return -1
}

/** Decodes bytes[start, end) to `to`. @returns the end of the output; −1 if the block is malformed or has another length than it declares */
function decodeBlock(bytes: Buffer, view: DataView, start: number, end: number, output: CodecOutput, to: number): number {
  const limit = to + lengthAt(bytes, start, end)
  let at = start
  while ((bytes[at++] as number) >= 0x80);
  while (at < end) {
    const tag = bytes[at++] as number
    const kind = tag & 3
    let length = tag >> 2
    if (kind === 0) {
      if (length >= 60) {
        const more = length - 59
        if (at + more > end) return -1
        length = 0
        for (let i = 0; i < more; i++) length += (bytes[at + i] as number) * 2 ** (8 * i)
        at += more
      }
      length++
      if (at + length > end || to + length > limit) return -1
      copyLiteral(output, to, bytes, view, at, length)
      at += length
    } else {
      const more = kind === 3 ? 4 : kind
      if (at + more > end) return -1
      let distance: number
      if (kind === 1) {
        length = (length & 7) + 4
        distance = ((tag >> 5) << 8) | (bytes[at] as number)
      } else {
        length++
        distance = kind === 2 ? view.getUint16(at, true) : view.getUint32(at, true)
      }
      if (distance === 0 || distance > to || to + length > limit) return -1
      copyMatch(output, to, distance, length)
      at += more
    }
    to += length
  }
  return to === limit ? to : -1
}
