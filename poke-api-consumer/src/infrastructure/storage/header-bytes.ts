/** A dead letter's headers as one column of bytes, in the form that they have in a record. */
import { copyHeaders } from '../../entities/record-headers.ts'

type Headers = readonly (readonly [key: Buffer, value: Buffer | null])[]

/**
 * A count, then for each header a length-prefixed key and value, all numbers zigzag varints, −1 for a null value
 * (https://kafka.apache.org/documentation/#recordheader).
 */
export function encodeHeaders(headers: Headers): Buffer {
  const parts: Buffer[] = [varint(headers.length)]
  for (const [key, value] of headers) {
    parts.push(varint(key.length), key)
    if (value === null) parts.push(varint(-1))
    else parts.push(varint(value.length), value)
  }
  return Buffer.concat(parts)
}

export function decodeHeaders(bytes: Buffer): Headers {
  return copyHeaders(bytes, 0, bytes.length)
}

function varint(number: number): Buffer {
  const bytes: number[] = []
  let rest = ((number << 1) ^ (number >> 31)) >>> 0
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  bytes.push(rest)
  return Buffer.from(bytes)
}
