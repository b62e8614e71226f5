/** Finds the part of a value behind id and name, so that a consumer has to decode equal lists of types only once. */
import { MAX_NAME_LENGTH } from './limits.ts'

/** `{"id":` as its first four bytes, little-endian, and the two after them. */
const ID_START = 0x6469227b
const ID_END = 0x3a22
/** `,"name":"` as four, four and one. */
const NAME_START = 0x616e222c
const NAME_MIDDLE = 0x3a22656d
const QUOTE = 0x22
const BACKSLASH = 0x5c
const ZERO = 0x30
const NINE = 0x39
/** 1 for each byte that stands for itself in a JSON text and in ASCII: one look instead of four comparisons. */
const PLAIN = Uint8Array.from({ length: 256 }, (_, byte) => Number(byte >= 0x20 && byte <= 0x7e && byte !== QUOTE && byte !== BACKSLASH))
/** Digits of an id that is a safe integer whatever the digits are. */
const SAFE_DIGITS = 15

/**
 * The end of the head of a value that `encodeValue` wrote: `{"id":25,"name":"pikachu`. The types depend only on the rest of the value, because every
 * such head leaves a JSON parser in the same state.
 * @param view of the same bytes
 * @returns the position of the quotation mark behind the name; −1 if bytes[start, end) do not begin with such a head
 */
export function endOfHead(bytes: Uint8Array, view: DataView, start: number, end: number): number {
  // No head is shorter, and the reads below that are not checked stay within this length.
  if (end - start < 17 || view.getInt32(start, true) !== ID_START || view.getUint16(start + 4, true) !== ID_END) return -1
  let at = start + 6
  // JSON knows no leading zeros.
  if (bytes[at] === ZERO) return -1
  while (at < end && isDigit(bytes[at] as number)) at++
  const digits = at - start - 6
  if (digits === 0 || digits > SAFE_DIGITS || end - at < 10) return -1
  if (view.getInt32(at, true) !== NAME_START || view.getInt32(at + 4, true) !== NAME_MIDDLE || bytes[at + 8] !== QUOTE) return -1
  at += 9
  const longest = Math.min(end, at + MAX_NAME_LENGTH + 1)
  while (at < longest && PLAIN[bytes[at] as number] === 1) at++
  return at < longest && bytes[at] === QUOTE ? at : -1
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE
}
